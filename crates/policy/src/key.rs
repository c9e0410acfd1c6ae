//! What one virtual key is limited to, beside what the bundle says of everybody: what may be asked for with it, of which
//! models, and from where. A limit that names nothing limits nothing. Pure: the gateway says what was asked and from where.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tollgate_interaction::{Dialect, Operation};

use crate::bundle::ModelPattern;
use crate::suggestion;

/// Limits as they are written, stored and handed to sidecars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyLimits {
    /// Operations (`chat`) and surfaces (`anthropic`) it is for. Of each kind that is named, one must fit.
    pub scopes: Vec<String>,
    /// Models as callers write them: exact, or a beginning followed by `*`.
    pub models: Vec<String>,
    /// Addresses it may be used from: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.
    pub sources: Vec<String>,
}

/// Why limits mean nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LimitError {
    /// Neither an operation nor a surface.
    #[error("`{scope}` is neither an operation, such as `chat`, nor a surface, such as `anthropic`{meant}")]
    Scope {
        /// What was written.
        scope: String,
        /// A suggestion, or nothing.
        meant: String,
    },
    /// Not the name of a model or the beginning of some.
    #[error("`{model}` names no models; write a model's name, or its beginning and a `*` at the end")]
    Model {
        /// What was written.
        model: String,
    },
    /// Not an address.
    #[error("`{source_text}` is no address and no range of them; write `192.0.2.7`, `10.0.0.0/8` or `2001:db8::/32`")]
    Source {
        /// What was written.
        source_text: String,
    },
}

/// Why a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    /// From an address that it is not for.
    Source,
    /// For an operation that it is not for.
    Operation,
    /// In a format that it is not for.
    Surface,
    /// Of a model that it is not for.
    Model,
}

impl KeyRefusal {
    /// Stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            KeyRefusal::Source => "key_source_not_allowed",
            KeyRefusal::Operation | KeyRefusal::Surface => "key_scope_insufficient",
            KeyRefusal::Model => "key_model_not_allowed",
        }
    }

    /// The rule that stands in the record.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            KeyRefusal::Source => "builtin/key-sources",
            KeyRefusal::Operation | KeyRefusal::Surface => "builtin/key-scopes",
            KeyRefusal::Model => "builtin/key-models",
        }
    }
}

/// Limits, ready for the request path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    operations: Vec<Operation>,
    surfaces: Vec<Dialect>,
    models: Vec<ModelPattern>,
    sources: Vec<Network>,
}

impl Limits {
    /// Reads limits as they are written.
    ///
    /// # Errors
    /// [`LimitError`] for the first part that means nothing.
    pub fn compile(written: &KeyLimits) -> Result<Limits, LimitError> {
        let mut limits = Limits::default();
        for scope in &written.scopes {
            if let Some(operation) = Operation::ALL.iter().find(|operation| operation.as_str() == scope) {
                limits.operations.push(*operation);
            } else if let Some(dialect) = Dialect::ALL.iter().find(|dialect| dialect.as_str() == scope) {
                limits.surfaces.push(*dialect);
            } else {
                let known = Operation::ALL.iter().map(|operation| operation.as_str());
                let known = known.chain(Dialect::ALL.iter().map(|dialect| dialect.as_str()));
                return Err(LimitError::Scope { scope: scope.clone(), meant: suggestion::phrase(scope, known) });
            }
        }
        for model in &written.models {
            let pattern = ModelPattern::parse(model).ok_or_else(|| LimitError::Model { model: model.clone() })?;
            limits.models.push(pattern);
        }
        for source_text in &written.sources {
            let network =
                Network::parse(source_text).ok_or_else(|| LimitError::Source { source_text: source_text.clone() })?;
            limits.sources.push(network);
        }
        Ok(limits)
    }

    /// Whether a call may be made with it at all: from `source`, of `operation`, in `surface`. An address that is not known
    /// fits no limit.
    ///
    /// # Errors
    /// [`KeyRefusal`] if not.
    pub fn admit(&self, source: Option<IpAddr>, operation: Operation, surface: Dialect) -> Result<(), KeyRefusal> {
        self.admit_source(source)?;
        // Client libraries ask for the list of models before anything else, and it is of the key's own models.
        let is_listing = operation == Operation::Models;
        if !is_listing && !self.operations.is_empty() && !self.operations.contains(&operation) {
            return Err(KeyRefusal::Operation);
        }
        if !self.surfaces.is_empty() && !self.surfaces.contains(&surface) {
            return Err(KeyRefusal::Surface);
        }
        Ok(())
    }

    /// Whether it may be used from there.
    ///
    /// # Errors
    /// [`KeyRefusal::Source`] if not.
    pub fn admit_source(&self, source: Option<IpAddr>) -> Result<(), KeyRefusal> {
        let is_from = |network: &Network| source.is_some_and(|source| network.contains(source));
        let fits = self.sources.is_empty() || self.sources.iter().any(is_from);
        if fits { Ok(()) } else { Err(KeyRefusal::Source) }
    }

    /// Whether this model may be asked for with it. A call that names none leaves the choice to a provider, which a key
    /// that is limited to models does not allow.
    ///
    /// # Errors
    /// [`KeyRefusal::Model`] if not.
    pub fn admit_model(&self, model: &str) -> Result<(), KeyRefusal> {
        let fits = self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(model));
        if fits { Ok(()) } else { Err(KeyRefusal::Model) }
    }

    /// Whether it is limited to some models.
    #[must_use]
    pub fn names_models(&self) -> bool {
        !self.models.is_empty()
    }
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many bits are the same.
    bits: u8,
}

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/BITS`; `None` if it is neither, or has bits set beyond those that count.
    #[must_use]
    pub fn parse(text: &str) -> Option<Network> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => longest,
            // `+8` and `08` are numbers to Rust.
            Some(bits) if bits.len() > 3 || bits.is_empty() || !bits.bytes().all(|digit| digit.is_ascii_digit()) => {
                return None;
            }
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= longest)?,
        };
        let network = Network { address, bits };
        (network.prefix(address) == Some(wide(address))).then_some(network)
    }

    /// Whether `address` is one of them. An IPv4 address in IPv6 clothes counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.prefix(address) == Some(wide(self.address))
    }

    /// `address` with the bits beyond those that count cleared; `None` for one of the other family.
    fn prefix(&self, address: IpAddr) -> Option<u128> {
        let longest: u8 = if self.address.is_ipv4() { 32 } else { 128 };
        if address.is_ipv4() != self.address.is_ipv4() {
            return None;
        }
        let beyond = u32::from(longest - self.bits);
        let cleared = wide(address).checked_shr(beyond).unwrap_or(0);
        Some(cleared.checked_shl(beyond).unwrap_or(0))
    }
}

fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(scopes: &[&str], models: &[&str], sources: &[&str]) -> Result<Limits, LimitError> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Limits::compile(&KeyLimits { scopes: texts(scopes), models: texts(models), sources: texts(sources) })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_without_limits_may_do_anything_from_anywhere() {
        let limits = limits(&[], &[], &[]).unwrap();
        assert_eq!(limits.admit(None, Operation::Chat, Dialect::Openai), Ok(()));
        assert_eq!(limits.admit_model(""), Ok(()));
    }

    #[test]
    fn of_each_kind_of_scope_one_must_fit() {
        let limits = limits(&["chat", "embeddings", "anthropic"], &[], &[]).unwrap();
        let admit = |operation, surface| limits.admit(None, operation, surface);
        assert_eq!(admit(Operation::Chat, Dialect::Anthropic), Ok(()));
        assert_eq!(admit(Operation::Chat, Dialect::Openai), Err(KeyRefusal::Surface));
        assert_eq!(admit(Operation::Images, Dialect::Anthropic), Err(KeyRefusal::Operation));
        assert_eq!(admit(Operation::Models, Dialect::Anthropic), Ok(()));
    }

    #[test]
    fn a_model_is_allowed_by_its_name_or_its_beginning() {
        let limits = limits(&[], &["openai/*", "assistant"], &[]).unwrap();
        for (model, fits) in [("openai/gpt-5", true), ("assistant", true), ("assistant-2", false), ("", false)] {
            assert_eq!(limits.admit_model(model).is_ok(), fits, "{model}");
        }
    }

    #[test]
    fn an_address_is_in_a_network_or_not() {
        for (network, within, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(address(within)), "{within} in {network:?}");
            assert!(!network.contains(address(outside)), "{outside} in {network:?}");
        }
        let limits = limits(&[], &[], &["10.0.0.0/8", "127.0.0.1"]).unwrap();
        let admit = |source| limits.admit(source, Operation::Chat, Dialect::Openai);
        assert_eq!(admit(Some(address("127.0.0.1"))), Ok(()));
        assert_eq!(admit(Some(address("192.0.2.1"))), Err(KeyRefusal::Source));
        assert_eq!(admit(None), Err(KeyRefusal::Source), "what is not known does not fit");
    }

    #[test]
    fn what_means_nothing_is_named() {
        let error = limits(&["chta"], &[], &[]).unwrap_err();
        assert!(error.to_string().contains("`chta`") && error.to_string().contains("`chat`"), "{error}");
        assert!(limits(&[], &["*-mini"], &[]).unwrap_err().to_string().contains("`*-mini`"));
        for wrong in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "localhost", "", "::/129", "10.0.0/8"] {
            let error = limits(&[], &[], &[wrong]).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{wrong}` is no address")), "{error}");
        }
    }
}

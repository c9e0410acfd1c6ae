//! Providers without credentials: refused where no call could ever be answered, mentioned where some could not, and left
//! in peace on the operator's own machines, where servers of open models ask nobody who they are.

use url::Host;

use crate::provider::ProviderDialect;

/// What an entry without credentials comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Keyless {
    /// Nobody is answered there without credentials; the text says so and what to set.
    Hopeless(String),
    /// Somebody may be.
    Doubtful(String),
    /// As it is meant to be.
    Fine,
}

/// An entry without credentials, as far as it matters here.
pub(super) struct Entry<'a> {
    pub(super) dialect: ProviderDialect,
    pub(super) base_url: &'a str,
    /// The address of the preset that it is, where that demands a key.
    pub(super) own: Option<&'a str>,
    /// Whether the file names the address, so that no key of the environment goes there by itself.
    pub(super) is_elsewhere: bool,
    /// The variable in which the provider's key usually stands.
    pub(super) variable: Option<&'a str>,
}

/// Domains whose APIs answer nobody without credentials. With these the gateway's own dialects are reached; the presets'
/// own addresses demand their key where they are filled in.
const DEMANDING: [&str; 8] = [
    "api.openai.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
    "amazonaws.com",
    "amazonaws.com.cn",
    "azure.com",
    "azure.us",
    "azure.cn",
];

/// Endings of names that are known on one network alone.
const NEAR: [&str; 6] = ["localhost", "local", "internal", "lan", "home.arpa", "intranet"];

/// What becomes of an entry that has no credentials.
pub(super) fn judge(entry: &Entry<'_>) -> Keyless {
    if entry.dialect == ProviderDialect::Sandbox {
        return Keyless::Fine;
    }
    // Checked before: an address that is none has been refused.
    let Some(host) = host_of(entry.base_url) else { return Keyless::Fine };
    if is_demanding(&host) || entry.own.and_then(host_of).is_some_and(|own| own == host) {
        return Keyless::Hopeless(format!(
            "has no credentials, and `{host}` answers nobody without: {}",
            entry.remedy()
        ));
    }
    // Every other address is the file's, or that of a preset which needs no key.
    if !entry.is_elsewhere || is_near(&host) {
        return Keyless::Fine;
    }
    Keyless::Doubtful(format!(
        "has no credentials: calls to `{host}` do not say who makes them and may be refused; if so, {}",
        entry.remedy()
    ))
}

impl Entry<'_> {
    /// What to set.
    fn remedy(&self) -> String {
        let from = self.variable.unwrap_or("NAME");
        let key = format!("`api_key: \"${{{from}}}\"`");
        let unsent = match self.variable {
            Some(name) if self.is_elsewhere && self.dialect != ProviderDialect::Azure => {
                format!(" ({name} by itself goes to the provider's own address alone)")
            }
            _ => String::new(),
        };
        match self.dialect {
            ProviderDialect::Azure => {
                "write `api_key` or `azure` (tenant_id, client_id, client_secret), or set AZURE_OPENAI_API_KEY in the \
                 gateway's environment"
                    .to_owned()
            }
            ProviderDialect::Bedrock if self.is_elsewhere => {
                "write `aws` (access_key_id, secret_access_key) or `api_key`; the environment's go to Amazon's own address \
                 alone"
                    .to_owned()
            }
            ProviderDialect::Bedrock => "write `aws` (access_key_id, secret_access_key) or `api_key`, or set \
                                         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_BEARER_TOKEN_BEDROCK, in the \
                                         gateway's environment"
                .to_owned(),
            _ if self.is_elsewhere => format!("write {key}{unsent}"),
            ProviderDialect::Openai => format!(
                "write {key} or set {from} in the gateway's environment; if it is another server that speaks OpenAI's \
                 dialect, write its `base_url`"
            ),
            _ => format!("write {key} or set {from} in the gateway's environment"),
        }
    }
}

fn host_of(url: &str) -> Option<Host<String>> {
    url::Url::parse(url).ok()?.host().map(|host| host.to_owned())
}

fn is_demanding(host: &Host<String>) -> bool {
    let Host::Domain(name) = host else { return false };
    DEMANDING.iter().any(|domain| is_within(name, domain))
}

/// Whether it is on this machine or on a network of the operator's own, as far as its name tells.
fn is_near(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => !name.contains('.') || NEAR.iter().any(|ending| is_within(name, ending)),
        Host::Ipv4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Host::Ipv6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

//! What a verified token says, and what it must say to be taken.

use serde_json::{Map, Value};

use crate::token::TokenError;

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Its issuer, exactly.
    pub issuer: &'a str,
    /// Audiences of which it must have one.
    pub audiences: &'a [String],
    /// Now. Seconds since 1970, UTC.
    pub now_s: i64,
    /// How far clocks may be apart. Seconds.
    pub skew_s: i64,
}

/// The claims of a token that was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    pub(crate) fn check(claims: Map<String, Value>, expected: &Expected<'_>) -> Result<Claims, TokenError> {
        let claims = Claims(claims);
        let issuer = claims.text("iss").unwrap_or_default();
        if issuer != expected.issuer {
            return Err(TokenError::Issuer { issuer: issuer.chars().take(200).collect() });
        }
        if !claims.texts("aud").iter().any(|audience| expected.audiences.iter().any(|one| one == audience)) {
            return Err(TokenError::Audience { expected: expected.audiences.first().cloned().unwrap_or_default() });
        }
        // A token without an end would work for ever once it has leaked.
        let expires_s = claims.time_s("exp")?.ok_or_else(|| missing("exp"))?;
        let ago_s = expected.now_s.saturating_sub(expires_s);
        if ago_s >= expected.skew_s {
            return Err(TokenError::Expired { ago_s });
        }
        if let Some(begins_s) = claims.time_s("nbf")? {
            let in_s = begins_s.saturating_sub(expected.now_s);
            if in_s > expected.skew_s {
                return Err(TokenError::NotYet { in_s });
            }
        }
        Ok(claims)
    }

    /// These, and of `more` what is not among them.
    pub(crate) fn or(mut self, more: Map<String, Value>) -> Claims {
        for (name, value) in more {
            self.0.entry(name).or_insert(value);
        }
        self
    }

    /// A claim: by its name as it is, or else by the path that the dots in `name` lead along.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| {
            let (first, rest) = name.split_once('.')?;
            rest.split('.').try_fold(self.0.get(first)?, |value, part| value.as_object()?.get(part))
        })
    }

    /// A claim that is a text, and not an empty one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// As [`Claims::text`].
    ///
    /// # Errors
    /// [`TokenError::Claim`] if there is none.
    pub fn required(&self, name: &str) -> Result<&str, TokenError> {
        self.text(name).ok_or_else(|| missing(name))
    }

    /// A claim that is a text or a list of texts.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.get(name) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// When the token ends. Seconds since 1970, UTC.
    #[must_use]
    pub fn expires_s(&self) -> i64 {
        self.time_s("exp").ok().flatten().unwrap_or(0)
    }

    /// A claim that is a time. One that is there and is none is an error, not an absent one.
    fn time_s(&self, name: &str) -> Result<Option<i64>, TokenError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        // RFC 7519 allows fractions. Rounded down, an end comes no later and a beginning less than a second early.
        let whole = value.as_i64().or_else(|| value.as_f64().filter(|time| time.abs() < 1e15).map(|time| time as i64));
        whole.map(Some).ok_or_else(|| missing(name))
    }
}

fn missing(claim: &str) -> TokenError {
    TokenError::Claim { claim: claim.to_owned() }
}

//! A sign-in by OpenID Connect (Core 1.0, authorization code flow) with PKCE (RFC 7636): what is sent, and what of the
//! answers is believed. Sending it, and making the random bytes, is the caller's.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64URL};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;

use crate::claims::{Claims, Expected};
use crate::keys::KeySet;
use crate::token::{Signed, TokenError};

/// Where an issuer says what it offers, after its own URL.
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// Why a provider's answer is not believed.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The discovery document is none.
    #[error("`{url}` does not answer with an OpenID Connect configuration")]
    Discovery {
        /// What was asked.
        url: String,
    },
    /// The document is another issuer's.
    #[error(
        "`{url}` says that its issuer is `{found}`; write exactly that as `auth.oidc.issuer`, or ask the right server"
    )]
    OtherIssuer {
        /// What was asked.
        url: String,
        /// The issuer it names.
        found: String,
    },
    /// An address in the document is none, or leaves TLS.
    #[error("the provider's `{name}` is `{found}`, which is no address to trust: it must be https as the issuer is")]
    Endpoint {
        /// Which.
        name: &'static str,
        /// What it says.
        found: String,
    },
    /// The answer to the code is none.
    #[error("the provider refused the sign-in ({code}); try again, or look at `auth.oidc` and the provider's log")]
    Refused {
        /// The provider's own code.
        code: String,
    },
    /// The answer has no ID token, or something else is missing.
    #[error("the provider's answer has no `{what}`")]
    Incomplete {
        /// What is missing.
        what: &'static str,
    },
    /// The ID token is not believed.
    #[error("the provider's ID token is not accepted: {0}")]
    Token(#[from] TokenError),
    /// The ID token belongs to another sign-in, client or person.
    #[error("the provider's answer belongs to another {what}; start again")]
    Mismatch {
        /// What does not match.
        what: &'static str,
    },
}

/// What an issuer says of itself, as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Discovery {
    /// Who it is.
    pub issuer: String,
    /// Where people are sent.
    pub authorization_endpoint: String,
    /// Where a code becomes tokens.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where it says more about a person.
    #[serde(default)]
    pub userinfo_endpoint: Option<String>,
}

impl Discovery {
    /// Where to ask `issuer`.
    #[must_use]
    pub fn url(issuer: &str) -> String {
        format!("{}{DISCOVERY_PATH}", issuer.trim_end_matches('/'))
    }

    /// Reads what `issuer` answered.
    ///
    /// # Errors
    /// [`OidcError`] if it is no such document, names another issuer, or names an address that is less safe than itself.
    pub fn parse(json: &[u8], issuer: &str) -> Result<Discovery, OidcError> {
        let url = Discovery::url(issuer);
        let Ok(found) = serde_json::from_slice::<Discovery>(json) else { return Err(OidcError::Discovery { url }) };
        // Core, section 4.3: exactly, or whoever answers could speak for somebody else.
        if found.issuer != issuer {
            return Err(OidcError::OtherIssuer { url, found: found.issuer });
        }
        let userinfo = found.userinfo_endpoint.as_deref().map(|address| ("userinfo_endpoint", address));
        for (name, address) in [
            ("authorization_endpoint", found.authorization_endpoint.as_str()),
            ("token_endpoint", &found.token_endpoint),
            ("jwks_uri", &found.jwks_uri),
        ]
        .into_iter()
        .chain(userinfo)
        {
            let is_safe = address.starts_with("https://") || issuer.starts_with("http://");
            if !is_safe || Url::parse(address).is_err() {
                return Err(OidcError::Endpoint { name, found: address.to_owned() });
            }
        }
        Ok(found)
    }
}

/// Whoever asks a provider to have people signed in.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    /// As registered with the provider.
    pub id: String,
    /// As registered with the provider.
    pub secret: String,
    /// Where people come back to, as registered with the provider.
    pub redirect_uri: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}

/// One sign-in that has begun. Its parts are secrets until it ends.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Comes back with the code: whoever brings it began this sign-in.
    pub state: String,
    /// Comes back in the ID token: it was made for this sign-in.
    pub nonce: String,
    /// Shown with the code: whoever redeems it began this sign-in.
    pub verifier: String,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attempt(…)")
    }
}

impl Attempt {
    /// Makes one of random bytes.
    #[must_use]
    pub fn of(random: &[u8; 96]) -> Attempt {
        let part = |at: usize| BASE64URL.encode(&random[at * 32..(at + 1) * 32]);
        Attempt { state: part(0), nonce: part(1), verifier: part(2) }
    }

    /// Where to send the person. `scopes` are asked for beside `openid`.
    ///
    /// # Errors
    /// [`OidcError::Endpoint`] if the provider's address is none.
    pub fn authorization_url(
        &self,
        provider: &Discovery,
        client: &Client,
        scopes: &[String],
    ) -> Result<String, OidcError> {
        let address = &provider.authorization_endpoint;
        let Ok(mut url) = Url::parse(address) else {
            return Err(OidcError::Endpoint { name: "authorization_endpoint", found: address.clone() });
        };
        let scope = std::iter::once("openid").chain(scopes.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.id)
            .append_pair("redirect_uri", &client.redirect_uri)
            .append_pair("scope", &scope)
            .append_pair("state", &self.state)
            .append_pair("nonce", &self.nonce)
            .append_pair("code_challenge", &BASE64URL.encode(Sha256::digest(self.verifier.as_bytes())))
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// The form that redeems `code`, and the value of `authorization` to send with it.
    #[must_use]
    pub fn redemption(&self, client: &Client, code: &str) -> (String, String) {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &client.redirect_uri)
            .append_pair("code_verifier", &self.verifier)
            .finish();
        // RFC 6749, section 2.3.1: both are encoded as in a form before they are joined.
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = STANDARD.encode(format!("{}:{}", encode(&client.id), encode(&client.secret)));
        (form, format!("Basic {basic}"))
    }

    /// Reads who signed in from the answer to the redemption.
    ///
    /// # Errors
    /// [`OidcError`] if the ID token is not the provider's, not for this client, or not for this sign-in.
    pub fn person(
        &self,
        answer: &Answer,
        provider: &Discovery,
        client: &Client,
        keys: &KeySet,
        now_s: i64,
    ) -> Result<Claims, OidcError> {
        const SKEW_S: i64 = 60;
        let audiences = [client.id.clone()];
        let expected = Expected { issuer: &provider.issuer, audiences: &audiences, now_s, skew_s: SKEW_S };
        let claims = Signed::parse(&answer.id_token)?.verify(keys, &expected)?;
        if claims.text("nonce") != Some(&self.nonce) {
            return Err(OidcError::Mismatch { what: "sign-in" });
        }
        let is_for_several = claims.texts("aud").len() > 1;
        let authorized = claims.text("azp");
        if authorized.is_some_and(|party| party != client.id) || (is_for_several && authorized.is_none()) {
            return Err(OidcError::Mismatch { what: "client" });
        }
        claims.required("sub")?;
        Ok(claims)
    }
}

/// The answer to a redemption.
#[derive(Clone)]
pub struct Answer {
    /// Who signed in.
    pub id_token: String,
    /// With which more can be asked about them.
    pub access_token: Option<String>,
}

impl Answer {
    /// Reads it.
    ///
    /// # Errors
    /// [`OidcError::Refused`] in the provider's code, or [`OidcError::Incomplete`].
    pub fn parse(json: &[u8]) -> Result<Answer, OidcError> {
        #[derive(Deserialize)]
        struct Written {
            id_token: Option<String>,
            access_token: Option<String>,
            error: Option<String>,
        }
        let Ok(written) = serde_json::from_slice::<Written>(json) else {
            return Err(OidcError::Incomplete { what: "JSON" });
        };
        if let Some(code) = written.error {
            return Err(OidcError::Refused { code: code.chars().take(64).collect() });
        }
        let id_token = written.id_token.ok_or(OidcError::Incomplete { what: "id_token" })?;
        Ok(Answer { id_token, access_token: written.access_token })
    }
}

/// Adds to `claims` what the userinfo endpoint says of the same person. What the signed token says stays as it is.
///
/// # Errors
/// [`OidcError::Mismatch`] if it is about somebody else (Core, section 5.3.2).
pub fn with_userinfo(claims: Claims, json: &[u8]) -> Result<Claims, OidcError> {
    let Ok(more) = serde_json::from_slice::<Map<String, Value>>(json) else {
        return Err(OidcError::Incomplete { what: "userinfo" });
    };
    if more.get("sub").and_then(Value::as_str) != claims.text("sub") {
        return Err(OidcError::Mismatch { what: "person" });
    }
    Ok(claims.or(more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ISSUER: &str = "https://id.acme.test/realm";

    fn discovery(changed: &[(&str, &str)]) -> Vec<u8> {
        let mut document = json!({
            "issuer": ISSUER, "authorization_endpoint": "https://id.acme.test/auth?tenant=1",
            "token_endpoint": "https://id.acme.test/token", "jwks_uri": "https://id.acme.test/jwks",
        });
        for (name, value) in changed {
            document[*name] = json!(value);
        }
        document.to_string().into_bytes()
    }

    fn client() -> Client {
        let redirect_uri = "https://books.acme.test/login/oidc/callback".to_owned();
        Client { id: "tollgate".into(), secret: "s:cret/1".into(), redirect_uri }
    }

    #[test]
    fn a_document_speaks_for_its_own_issuer_and_stays_with_tls() {
        assert!(Discovery::parse(&discovery(&[]), ISSUER).is_ok());
        assert_eq!(Discovery::url(&format!("{ISSUER}/")), format!("{ISSUER}{DISCOVERY_PATH}"));
        let other = Discovery::parse(&discovery(&[("issuer", "https://evil.test")]), ISSUER).unwrap_err();
        assert!(other.to_string().contains("`https://evil.test`"), "{other}");
        for (name, value) in [("token_endpoint", "http://id.acme.test/token"), ("jwks_uri", "https://")] {
            let error = Discovery::parse(&discovery(&[(name, value)]), ISSUER).unwrap_err();
            assert!(matches!(error, OidcError::Endpoint { .. }), "{error}");
        }
        assert!(matches!(Discovery::parse(b"<html>", ISSUER), Err(OidcError::Discovery { .. })));
    }

    #[test]
    fn a_person_is_sent_with_state_nonce_and_the_hash_of_the_verifier() {
        let provider = Discovery::parse(&discovery(&[]), ISSUER).unwrap();
        let attempt = Attempt::of(&std::array::from_fn(|at| u8::try_from(at).unwrap()));
        let url = attempt.authorization_url(&provider, &client(), &["groups".to_owned()]).unwrap();
        let url = Url::parse(&url).unwrap();
        let get = |name: &str| url.query_pairs().find(|(found, _)| found == name).unwrap().1.into_owned();
        assert_eq!((get("tenant").as_str(), get("scope").as_str()), ("1", "openid groups"));
        assert_eq!((get("state"), get("nonce")), (attempt.state.clone(), attempt.nonce.clone()));
        assert_eq!(get("code_challenge"), BASE64URL.encode(Sha256::digest(attempt.verifier.as_bytes())));
        assert!(!url.as_str().contains(&attempt.verifier) && get("code_challenge_method") == "S256");
        assert_eq!(format!("{attempt:?} {:?}", client()), "Attempt(…) Client { id: \"tollgate\", .. }");
        let (form, basic) = attempt.redemption(&client(), "c&1");
        assert!(form.contains("code=c%261") && form.contains(&format!("code_verifier={}", attempt.verifier)));
        assert_eq!(basic, format!("Basic {}", STANDARD.encode("tollgate:s%3Acret%2F1")));
    }

    #[test]
    fn the_examples_of_rfc_7636_come_out() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = BASE64URL.encode(Sha256::digest(verifier.as_bytes()));
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_refusal_keeps_the_provider_s_code() {
        let refused = Answer::parse(br#"{"error":"invalid_grant","error_description":"x"}"#).err().unwrap();
        assert!(refused.to_string().contains("(invalid_grant)"), "{refused}");
        assert!(matches!(Answer::parse(br#"{"access_token":"a"}"#), Err(OidcError::Incomplete { what: "id_token" })));
    }
}

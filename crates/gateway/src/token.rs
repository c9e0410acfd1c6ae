//! Access tokens of providers that want one: fetched when first needed, kept, and fetched anew before they expire. Calls
//! share one; of those that need a new one at the same moment, one fetches it and the others wait. Where tokens come from,
//! and in which words they are asked for, is [`grant`]'s. A token is never logged, and neither is what it is got with.

pub(crate) mod google;
mod grant;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;

use crate::settings::TokenSource;
use crate::upstream::{Connector, ExchangeError, Pool};
use grant::Grant;
pub use grant::GrantError;

/// For the whole exchange that gives a token.
const WAIT: Duration = Duration::from_secs(10);
/// Longest answer of an authority; tokens have a few thousand bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// A token is fetched anew this long before its end, or after three quarters of its life.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);
/// No call sets out with a token that ends sooner, or that is older than nine tenths of its life.
const LEAST_REST: Duration = Duration::from_secs(30);
/// How long a token that could not be renewed is used before it is tried again.
const NEXT_TRY: Duration = Duration::from_secs(10);

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// The authority cannot be reached.
    #[error("it cannot be reached")]
    Unreachable,
    /// It took too long.
    #[error("it did not answer within {} seconds", WAIT.as_secs())]
    Late,
    /// It refused, with the code it gave.
    #[error("it refused with status {status} (`{code}`)")]
    Refused {
        /// Status of its answer.
        status: u16,
        /// Its code for the reason, such as `invalid_grant`.
        code: String,
    },
    /// Its answer holds no token.
    #[error("its answer holds no access token")]
    Unreadable,
    /// The request could not be signed.
    #[error("the private key cannot sign")]
    Unsigned,
}

/// The access token of one provider.
pub(crate) struct Tokens {
    provider: String,
    grant: Grant,
    pool: Arc<Pool>,
    state: Mutex<State>,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Tokens {
    /// Says whose they are and no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("provider", &self.provider).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Why the last attempt failed, and when.
    failure: Option<(Instant, TokenError)>,
}

struct Token {
    value: HeaderValue,
    renew_at: Instant,
    ends_at: Instant,
}

/// What there is.
enum Held {
    Good(HeaderValue),
    /// Good for a while, and due to be renewed.
    Due(HeaderValue),
    None,
}

impl Tokens {
    /// # Errors
    /// [`GrantError`] if the source makes no sense.
    pub(crate) fn new(provider: &str, source: &TokenSource, connector: &Connector) -> Result<Self, GrantError> {
        let grant = Grant::new(source)?;
        // One connection in an hour is not worth keeping.
        let pool = Arc::new(Pool::new(connector.clone(), grant.origin()?, 0, Duration::ZERO));
        Ok(Tokens {
            provider: provider.to_owned(),
            grant,
            pool,
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::new(()),
        })
    }

    /// Where the tokens come from, for messages.
    pub(crate) fn authority(&self) -> String {
        self.grant.authority()
    }

    /// The value of `authorization` for a call that is about to be made. `now_us` is now, for a signature.
    ///
    /// # Errors
    /// [`TokenError`] if there is none and none is to be had.
    pub(crate) async fn bearer(&self, now_us: i64) -> Result<HeaderValue, TokenError> {
        let asked_at = Instant::now();
        match self.held(asked_at) {
            Held::Good(value) => Ok(value),
            Held::Due(value) => {
                let Ok(_turn) = self.fetching.try_lock() else { return Ok(value) };
                Ok(self.fetch(now_us).await.unwrap_or(value))
            }
            Held::None => {
                let _turn = self.fetching.lock().await;
                if let Held::Good(value) | Held::Due(value) = self.held(Instant::now()) {
                    return Ok(value);
                }
                // Whoever fetched while this call waited has failed for it, too.
                let failed = self.state.lock().failure.clone().filter(|(failed_at, _)| *failed_at >= asked_at);
                match failed {
                    Some((_, error)) => Err(error),
                    None => self.fetch(now_us).await,
                }
            }
        }
    }

    /// Lets go of a token that the provider has refused.
    pub(crate) fn forget(&self) {
        self.state.lock().token = None;
    }

    fn held(&self, now: Instant) -> Held {
        match &self.state.lock().token {
            Some(token) if now < token.renew_at => Held::Good(token.value.clone()),
            Some(token) if now < token.ends_at => Held::Due(token.value.clone()),
            _ => Held::None,
        }
    }

    async fn fetch(&self, now_us: i64) -> Result<HeaderValue, TokenError> {
        let fetched = match tokio::time::timeout(WAIT, self.exchange(now_us)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(TokenError::Late),
        };
        let now = Instant::now();
        let mut state = self.state.lock();
        match fetched {
            Ok((value, life)) => {
                let token = Token {
                    value: value.clone(),
                    renew_at: now + life.saturating_sub(REFRESH_BEFORE.min(life / 4)),
                    ends_at: now + life.saturating_sub(LEAST_REST.min(life / 10)),
                };
                *state = State { token: Some(token), failure: None };
                Ok(value)
            }
            Err(error) => {
                let (provider, authority) = (&self.provider, self.authority());
                tracing::error!(%provider, %authority, %error, "no access token for provider `{provider}` from `{authority}`");
                state.failure = Some((now, error.clone()));
                if let Some(token) = &mut state.token {
                    token.renew_at = now + NEXT_TRY;
                }
                Err(error)
            }
        }
    }

    /// Asks the authority for a token, over a connection of its own.
    async fn exchange(&self, now_us: i64) -> Result<(HeaderValue, Duration), TokenError> {
        let request = self.grant.request(now_us)?;
        let lease = self.pool.connect().await.map_err(unreachable)?;
        let mut exchange = lease.send(request);
        let head = poll_fn(|cx| exchange.poll_head(cx)).await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(piece) = poll_fn(|cx| exchange.poll_chunk(cx)).await {
            body.extend_from_slice(&piece.map_err(unreachable)?);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(TokenError::Unreadable);
            }
        }
        read(head.status, &Bytes::from(body))
    }
}

fn unreachable(error: ExchangeError) -> TokenError {
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    tracing::warn!(%error, cause, "an exchange for an access token failed");
    TokenError::Unreachable
}

/// An authority's answer (RFC 6749 §5).
#[derive(serde::Deserialize)]
struct Answer {
    access_token: Option<String>,
    /// Seconds; Entra's older endpoints write it as a text.
    expires_in: Option<serde_json::Value>,
    error: Option<serde_json::Value>,
    error_description: Option<String>,
}

fn read(status: StatusCode, body: &[u8]) -> Result<(HeaderValue, Duration), TokenError> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    if !status.is_success() {
        return Err(refusal(status, answer));
    }
    let Some(answer) = answer else { return Err(TokenError::Unreadable) };
    let Some(token) = answer.access_token.filter(|token| !token.is_empty()) else { return Err(TokenError::Unreadable) };
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| TokenError::Unreadable)?;
    value.set_sensitive(true);
    let seconds = match &answer.expires_in {
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64(),
        None => None,
    };
    // RFC 6749 lets it out; an authority that does so is asked again soon rather than late.
    const UNSTATED_S: u64 = 300;
    Ok((value, Duration::from_secs(seconds.unwrap_or(UNSTATED_S))))
}

/// The authority's own words go to the log of the operator, whose configuration they are about; a caller gets the code.
fn refusal(status: StatusCode, answer: Option<Answer>) -> TokenError {
    const MAX_CODE_CHARS: usize = 64;
    let (code, words) = answer.map_or((None, None), |answer| (answer.error, answer.error_description));
    let code = code.as_ref().and_then(|code| code.as_str()).unwrap_or("no code");
    if let Some(words) = words {
        tracing::warn!(status = status.as_u16(), code, words, "an authority refused an access token");
    }
    TokenError::Refused { status: status.as_u16(), code: code.chars().take(MAX_CODE_CHARS).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: StatusCode = StatusCode::OK;

    #[test]
    fn a_token_and_its_life_are_read_as_numbers_or_texts() {
        for (life, seconds) in [("3599", 3_599), ("\"86399\"", 86_399), ("null", 300)] {
            let body = format!(r#"{{"access_token":"ya29.x","expires_in":{life},"token_type":"Bearer"}}"#);
            let (value, life) = read(OK, body.as_bytes()).unwrap();
            assert_eq!((value.to_str().unwrap(), life.as_secs()), ("Bearer ya29.x", seconds));
            assert!(value.is_sensitive() && !format!("{value:?}").contains("ya29"));
        }
        assert_eq!(read(OK, b"{}").unwrap_err(), TokenError::Unreadable);
        assert_eq!(read(OK, b"<html>").unwrap_err(), TokenError::Unreadable);
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_renewed_is_used_to_its_end() {
        let source = TokenSource::MetadataServer { url: "http://127.0.0.1:1".into() };
        let tokens = Tokens::new("vertex", &source, &Connector::new(None).unwrap()).unwrap();
        assert_eq!(tokens.bearer(0).await.unwrap_err(), TokenError::Unreachable);
        let now = Instant::now();
        let value = HeaderValue::from_static("Bearer old");
        let token = Token { value: value.clone(), renew_at: now, ends_at: now + Duration::from_secs(60) };
        tokens.state.lock().token = Some(token);
        assert_eq!(tokens.bearer(0).await.unwrap(), value);
        let renew_at = tokens.state.lock().token.as_ref().map(|token| token.renew_at);
        assert!(renew_at > Some(Instant::now()), "it is not tried again at once");
        assert!(matches!(tokens.held(now + Duration::from_secs(30)), Held::Due(_)));
        assert!(matches!(tokens.held(now + Duration::from_secs(60)), Held::None));
        tokens.forget();
        assert!(matches!(tokens.held(Instant::now()), Held::None));
    }

    #[test]
    fn a_refusal_keeps_its_code() {
        let body = br#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
        let refused = |code: &str| TokenError::Refused { status: 400, code: code.to_owned() };
        assert_eq!(read(StatusCode::BAD_REQUEST, body).unwrap_err(), refused("invalid_grant"));
        assert_eq!(read(StatusCode::BAD_REQUEST, b"no").unwrap_err(), refused("no code"));
    }
}

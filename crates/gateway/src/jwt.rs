//! Callers who come with a token of their own identity provider instead of a virtual key. The provider's keys are fetched
//! when first needed, kept, and fetched anew in the background; a key nobody knows is looked for once and not again for a
//! while. Keys that cannot be renewed serve until they are too old, and then nobody comes in by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio_util::task::TaskTracker;
use tollgate_identity::{Claims, Expected, KeySet, Signed, TokenError};
use tollgate_policy::control::Principal;
use tollgate_policy::key::{KeyLimits, LimitError, Limits};

use crate::error::CallError;
use crate::fetch::Place;
use crate::upstream::Connector;

/// How far the clocks of issuer and gateway may be apart. Seconds.
const SKEW_S: i64 = 60;
/// Longest name taken from a claim.
const MAX_NAME_CHARS: usize = 100;

/// An issuer whose tokens are taken.
#[derive(Clone, Debug)]
pub struct JwtIssuer {
    /// Its name, exactly as `iss` has it.
    pub issuer: String,
    /// Where its keys are.
    pub keys: JwtKeys,
    /// Audiences of which a token must have one.
    pub audiences: Vec<String>,
    /// Which claims say for whom a call is.
    pub claims: JwtClaims,
    /// Organisation of callers whose tokens name none.
    pub tenant: String,
    /// Team of callers, where no claim names one.
    pub team: Option<String>,
    /// What its tokens are for.
    pub limits: KeyLimits,
    /// Keys are fetched anew once they are this old.
    pub refresh: Duration,
    /// Between two attempts to fetch them.
    pub pause: Duration,
    /// Keys that are older and cannot be renewed are not used any more.
    pub max_stale: Duration,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum JwtKeys {
    /// At a URL.
    Url(String),
    /// Here: a key set as JSON, which does not change.
    Document(Bytes),
}

/// Names of claims; a name that is none is a path of names with dots between them.
#[derive(Clone, Debug, Default)]
pub struct JwtClaims {
    /// Organisation.
    pub tenant: Option<String>,
    /// Team.
    pub team: Option<String>,
    /// Person.
    pub user: Option<String>,
    /// Project; a token may do without.
    pub project: Option<String>,
}

/// Why an issuer makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// The place of its keys is none.
    #[error("`{url}`, which should give the keys of `{issuer}`, is not an http or https URL")]
    Url {
        /// The issuer.
        issuer: String,
        /// As configured.
        url: String,
    },
    /// Its keys cannot be read.
    #[error("the keys of `{issuer}` cannot be used")]
    Keys {
        /// The issuer.
        issuer: String,
        /// What is wrong with them.
        #[source]
        source: tollgate_identity::KeySetError,
    },
    /// Its limits mean nothing.
    #[error("the tokens of `{issuer}` cannot be limited in this way")]
    Limits {
        /// The issuer.
        issuer: String,
        /// Which limit.
        #[source]
        source: LimitError,
    },
}

/// All issuers.
#[derive(Debug, Default)]
pub(crate) struct Issuers(Vec<Arc<Issuer>>);

#[derive(Debug)]
struct Issuer {
    settings: JwtIssuer,
    limits: Limits,
    /// `None` for keys that do not change.
    place: Option<Place>,
    held: ArcSwapOption<Held>,
    /// When they were last fetched, or tried to be; held by whoever fetches.
    attempted: tokio::sync::Mutex<Option<Instant>>,
    /// Somebody renews them in the background.
    is_renewing: AtomicBool,
}

#[derive(Debug)]
struct Held {
    keys: KeySet,
    fetched: Instant,
}

impl Issuers {
    /// # Errors
    /// [`JwtError`] names the part that makes no sense.
    pub(crate) fn new(settings: &[JwtIssuer], connector: &Connector) -> Result<Issuers, JwtError> {
        let issuers = settings.iter().map(|settings| Issuer::new(settings, connector).map(Arc::new));
        issuers.collect::<Result<_, _>>().map(Issuers)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whom a token belongs to.
    ///
    /// # Errors
    /// [`CallError::Token`] if it is not accepted, [`CallError::TokenKeys`] if that cannot be told.
    pub(crate) async fn principal(
        &self,
        token: &str,
        now_us: i64,
        tasks: &TaskTracker,
    ) -> Result<Arc<Principal>, CallError> {
        let stated = Signed::parse(token)?.stated_issuer().chars().take(200).collect::<String>();
        let issuer = self.0.iter().find(|issuer| issuer.settings.issuer == stated);
        let issuer = issuer.ok_or(TokenError::Issuer { issuer: stated })?;
        let claims = issuer.verify(token, now_us.div_euclid(1_000_000), tasks).await?;
        Ok(Arc::new(issuer.principal(&claims)?))
    }
}

impl Issuer {
    fn new(settings: &JwtIssuer, connector: &Connector) -> Result<Issuer, JwtError> {
        let issuer = || settings.issuer.clone();
        let limits =
            Limits::compile(&settings.limits).map_err(|source| JwtError::Limits { issuer: issuer(), source })?;
        let (place, keys) = match &settings.keys {
            JwtKeys::Url(url) => {
                let wrong = || JwtError::Url { issuer: issuer(), url: url.clone() };
                (Some(Place::new(url, connector).ok_or_else(wrong)?), None)
            }
            JwtKeys::Document(json) => {
                let keys = KeySet::parse(json).map_err(|source| JwtError::Keys { issuer: issuer(), source })?;
                (None, Some(Arc::new(Held { keys, fetched: Instant::now() })))
            }
        };
        Ok(Issuer {
            settings: settings.clone(),
            limits,
            place,
            held: ArcSwapOption::new(keys),
            attempted: tokio::sync::Mutex::default(),
            is_renewing: AtomicBool::new(false),
        })
    }

    async fn verify(self: &Arc<Self>, token: &str, now_s: i64, tasks: &TaskTracker) -> Result<Claims, CallError> {
        let JwtIssuer { issuer, audiences, .. } = &self.settings;
        let expected = Expected { issuer, audiences, now_s, skew_s: SKEW_S };
        let held = self.current(tasks).await?;
        match Signed::parse(token)?.verify(&held.keys, &expected) {
            // Perhaps a key that is newer than what is held.
            Err(TokenError::UnknownKey) => match self.newer_than(held.fetched).await {
                Some(held) => Ok(Signed::parse(token)?.verify(&held.keys, &expected)?),
                None => Err(TokenError::UnknownKey.into()),
            },
            verified => Ok(verified?),
        }
    }

    /// Keys that are not too old.
    async fn current(self: &Arc<Self>, tasks: &TaskTracker) -> Result<Arc<Held>, CallError> {
        let held = self.held.load_full();
        let (Some(held), Some(_)) = (&held, &self.place) else {
            return match held {
                Some(held) => Ok(held),
                None => self.newer_than(Instant::now()).await.ok_or_else(|| self.unavailable()),
            };
        };
        let age = held.fetched.elapsed();
        if age >= self.settings.max_stale {
            return self.newer_than(held.fetched).await.ok_or_else(|| self.unavailable());
        }
        if age >= self.settings.refresh && !self.is_renewing.swap(true, Ordering::Relaxed) {
            let (issuer, fetched) = (Arc::clone(self), held.fetched);
            tasks.spawn(async move {
                issuer.newer_than(fetched).await;
                issuer.is_renewing.store(false, Ordering::Relaxed);
            });
        }
        Ok(Arc::clone(held))
    }

    /// Keys fetched after `known`: by this call, by another that did so meanwhile, or none if it is too soon to ask again or
    /// the place does not give any.
    async fn newer_than(&self, known: Instant) -> Option<Arc<Held>> {
        let place = self.place.as_ref()?;
        let mut attempted = self.attempted.lock().await;
        if let Some(held) = self.held.load_full().filter(|held| held.fetched > known) {
            return Some(held);
        }
        if attempted.is_some_and(|at| at.elapsed() < self.settings.pause) {
            return None;
        }
        let fetched = place.fetch().await;
        *attempted = Some(Instant::now());
        let issuer = &self.settings.issuer;
        let keys = match fetched {
            Ok(json) => KeySet::parse(&json).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match keys {
            Ok(keys) => {
                let held = Arc::new(Held { keys, fetched: Instant::now() });
                self.held.store(Some(Arc::clone(&held)));
                Some(held)
            }
            Err(error) => {
                tracing::warn!(%issuer, %error, "the keys of `{issuer}` could not be fetched; those held serve until they are too old");
                None
            }
        }
    }

    fn unavailable(&self) -> CallError {
        CallError::TokenKeys { issuer: self.settings.issuer.clone() }
    }

    fn principal(&self, claims: &Claims) -> Result<Principal, TokenError> {
        let JwtIssuer { claims: names, tenant, team, issuer, .. } = &self.settings;
        let read = |claim: &str| usable(claim, claims.required(claim)?);
        let optional = |claim: &Option<String>| claim.as_deref().map(read).transpose();
        let team = match (&names.team, team) {
            (Some(claim), _) => read(claim)?,
            (None, Some(team)) => team.clone(),
            (None, None) => return Err(TokenError::Claim { claim: "team".to_owned() }),
        };
        let project = names.project.as_deref().filter(|claim| claims.get(claim).is_some());
        Ok(Principal {
            key_id: format!("{KEY_ID_PREFIX}{issuer}"),
            tenant: optional(&names.tenant)?.unwrap_or_else(|| tenant.clone()),
            project: project.map(read).transpose()?,
            team,
            user: optional(&names.user)?,
            expires_at_us: Some(claims.expires_s().saturating_add(SKEW_S).saturating_mul(1_000_000)),
            limits: self.limits.clone(),
            ..Principal::default()
        })
    }
}

/// How the key's id of whoever comes with a token begins; the issuer follows, so all its bearers have the same.
const KEY_ID_PREFIX: &str = "jwt:";

/// Whether a key's id stands for the bearers of an issuer's tokens and not for one key.
pub(crate) fn is_of_issuer(key_id: &str) -> bool {
    key_id.starts_with(KEY_ID_PREFIX)
}

/// Names stand in rows, in paths and on pages.
fn usable(claim: &str, name: &str) -> Result<String, TokenError> {
    let is_plain = name.chars().count() <= MAX_NAME_CHARS && !name.chars().any(char::is_control) && name.trim() == name;
    if is_plain { Ok(name.to_owned()) } else { Err(TokenError::Claim { claim: claim.to_owned() }) }
}

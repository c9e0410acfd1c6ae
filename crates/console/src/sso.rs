//! Signing in through an identity provider (OpenID Connect). What a sign-in needs to remember travels in a cookie of ten
//! minutes that only this browser has, so any process can finish what another began. The provider being away closes this
//! door and no other: links and tokens go on working, and so do the sessions that there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, header};
use tollgate_identity::oidc::{Answer, Attempt, Client, Discovery, OidcError, with_userinfo};
use tollgate_identity::{Claims, KeySet};
use tollgate_metastore::{Metastore, Profile, Reach, Role, Session, SignIn, TeamName, UserFilter};

use crate::error::ConsoleError;

/// How long what a provider says of itself is kept. Microseconds.
const KEPT_US: i64 = 300_000_000;
/// How long nobody asks a provider that did not answer. Microseconds.
const PAUSE_US: i64 = 5_000_000;
/// Addresses kept of one person.
const MAX_NAME_CHARS: usize = 100;

/// What the operator says of the provider.
#[derive(Clone, Debug)]
pub struct SsoSettings {
    /// Its issuer URL.
    pub issuer: String,
    /// Who we are to it.
    pub client: Client,
    /// What the button says.
    pub name: String,
    /// Asked for beside `openid`.
    pub scopes: Vec<String>,
    /// Claim with a person's groups.
    pub groups_claim: String,
    /// Organisation of its people.
    pub organisation: String,
    /// How far what its people may do reaches, of those whom the directory does not know yet.
    pub reach: Reach,
    /// What each group makes its members.
    pub roles: BTreeMap<String, Role>,
    /// The team that each group makes its members part of.
    pub teams: BTreeMap<String, TeamName>,
    /// What somebody is of whom no group says anything.
    pub default_role: Option<Role>,
}

/// Sends a request to the provider.
pub trait Http: Send + Sync {
    /// The body of the answer, whatever its status.
    ///
    /// # Errors
    /// Says why there is none.
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Bytes, String>>;
}

/// The door.
pub struct Sso {
    settings: SsoSettings,
    http: Arc<dyn Http>,
    provider: Mutex<Provider>,
}

#[derive(Default)]
struct Provider {
    known: Option<(Arc<Known>, i64)>,
    /// When it last did not answer.
    failed_at_us: Option<i64>,
}

struct Known {
    discovery: Discovery,
    keys: KeySet,
}

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum SsoError {
    /// The provider does not answer.
    #[error(
        "the identity provider `{issuer}` does not answer; try again shortly, or sign in with a link or an API token"
    )]
    Away {
        /// Which.
        issuer: String,
    },
    /// Its answer is not believed.
    #[error(transparent)]
    Answer(#[from] OidcError),
    /// Its keys cannot be used.
    #[error("the keys of the identity provider cannot be used: {0}")]
    Keys(#[from] tollgate_identity::KeySetError),
    /// The browser did not begin this sign-in, or too long ago.
    #[error("this sign-in was not begun in this browser, or more than ten minutes ago; start again")]
    NotBegun,
    /// The provider, or the person, refused.
    #[error("the identity provider refused ({code}); try again or ask whoever runs it")]
    Refused {
        /// Its code.
        code: String,
    },
    /// No random bytes, or the control plane does not take the person.
    #[error(transparent)]
    Here(#[from] Box<ConsoleError>),
}

impl Sso {
    /// A door to the provider of `settings`, which is asked through `http`.
    #[must_use]
    pub fn new(settings: SsoSettings, http: Arc<dyn Http>) -> Self {
        Sso { settings, http, provider: Mutex::default() }
    }

    /// What the button says.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Organisation of its people.
    #[must_use]
    pub fn organisation(&self) -> &str {
        &self.settings.organisation
    }

    /// Begins a sign-in: where to send the person, and what their browser has to keep.
    ///
    /// # Errors
    /// [`SsoError::Away`] if the provider does not answer.
    pub async fn begin(&self, now_us: i64) -> Result<(String, Attempt), SsoError> {
        let known = self.known(now_us).await?;
        let mut random = [0; 96];
        getrandom::fill(&mut random).map_err(|source| {
            Box::new(ConsoleError::Internal { what: "the secrets of a sign-in", source: source.into() })
        })?;
        let attempt = Attempt::of(&random);
        let SsoSettings { client, scopes, .. } = &self.settings;
        Ok((attempt.authorization_url(&known.discovery, client, scopes)?, attempt))
    }

    /// Whether the provider answers, for the page on which its button is.
    ///
    /// # Errors
    /// Says what is wrong.
    pub async fn check(&self, now_us: i64) -> Result<(), SsoError> {
        self.known(now_us).await.map(|_| ())
    }

    /// Its issuer URL.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// That the provider did not answer when it was last asked, for every page; `None` if it did.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let provider = self.provider.lock().unwrap_or_else(PoisonError::into_inner);
        provider.failed_at_us.map(|_| {
            format!(
                "The identity provider `{}` does not answer: nobody can sign in through it. Whoever is signed in stays so, and links and API tokens go on working.",
                self.settings.issuer
            )
        })
    }

    /// Ends a sign-in with the code that the provider sent: redeems it, believes what can be believed, and opens a session.
    ///
    /// # Errors
    /// [`SsoError`] says why there is none.
    pub async fn finish(
        &self,
        attempt: &Attempt,
        code: &str,
        stated_issuer: Option<&str>,
        metastore: &dyn Metastore,
        now_us: i64,
    ) -> Result<Session, SsoError> {
        // RFC 9207: a code of another provider is not for this one's eyes.
        if stated_issuer.is_some_and(|issuer| issuer != self.settings.issuer) {
            return Err(OidcError::Mismatch { what: "provider" }.into());
        }
        let known = self.known(now_us).await?;
        let client = &self.settings.client;
        let (form, authorization) = attempt.redemption(client, code);
        let request = Request::builder()
            .method(Method::POST)
            .uri(&known.discovery.token_endpoint)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::AUTHORIZATION, authorization)
            .header(header::ACCEPT, "application/json");
        let answer = Answer::parse(&self.send(request, form.into(), now_us).await?)?;
        let now_s = now_us.div_euclid(1_000_000);
        let person = match attempt.person(&answer, &known.discovery, client, &known.keys, now_s) {
            // Perhaps a key that is newer than what is kept.
            Err(OidcError::Token(tollgate_identity::TokenError::UnknownKey)) => {
                self.forget();
                let known = self.known(now_us).await?;
                attempt.person(&answer, &known.discovery, client, &known.keys, now_s)?
            }
            person => person?,
        };
        let person = self.with_more(person, &answer, &known.discovery, now_us).await?;
        let who = self.sign_in(&person, metastore).await.map_err(Box::new)?;
        let subject = who.profile.external_id.clone().unwrap_or_default();
        match metastore.sign_in(who).await {
            Ok(session) => Ok(session),
            Err(error) => {
                if error.is_callers() {
                    // Somebody the provider knows and we do not let in: the log has it.
                    let recorded = metastore.record_change("login.refused", &subject, &error.to_string(), "oidc").await;
                    recorded.map_err(|error| Box::new(error.into()))?;
                }
                Err(Box::new(ConsoleError::from(error)).into())
            }
        }
    }

    /// What the userinfo endpoint adds, if the groups are not in the token.
    async fn with_more(
        &self,
        person: Claims,
        answer: &Answer,
        discovery: &Discovery,
        now_us: i64,
    ) -> Result<Claims, SsoError> {
        let has_groups = person.get(&self.settings.groups_claim).is_some();
        let (Some(endpoint), Some(token)) = (&discovery.userinfo_endpoint, &answer.access_token) else {
            return Ok(person);
        };
        if has_groups {
            return Ok(person);
        }
        let request = Request::builder()
            .uri(endpoint)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::ACCEPT, "application/json");
        let more = self.send(request, Bytes::new(), now_us).await?;
        Ok(with_userinfo(person, &more)?)
    }

    /// What the provider's words make somebody here.
    async fn sign_in(&self, person: &Claims, metastore: &dyn Metastore) -> Result<SignIn, ConsoleError> {
        let SsoSettings { groups_claim, organisation, roles, teams, default_role, reach, .. } = &self.settings;
        let subject = person.text("sub").unwrap_or_default().to_owned();
        let mut groups: Vec<String> = person.texts(groups_claim).into_iter().map(str::to_owned).collect();
        // Groups that the provider keeps here by SCIM count as those it sends along.
        let filter = UserFilter { external_id: Some(subject.clone()), ..UserFilter::default() };
        let known = metastore.list_users(Some(organisation), &filter, 0, 1).await?;
        groups.extend(known.items.into_iter().flat_map(|user| user.groups));
        let of_groups = groups.iter().filter_map(|group| roles.get(group).copied());
        let email = person.text("email").map(short);
        let name = person.text("preferred_username").map(short).or_else(|| email.clone());
        Ok(SignIn {
            organisation: organisation.clone(),
            profile: Profile {
                user_name: name.unwrap_or_else(|| short(&subject)),
                external_id: Some(subject),
                display_name: person.text("name").map(short).unwrap_or_default(),
                emails: email.into_iter().collect(),
                active: true,
            },
            role: of_groups.min().or(*default_role),
            reach: reach.clone(),
            teams: groups.iter().filter_map(|group| teams.get(group).cloned()).collect(),
            until_us: None,
        })
    }

    async fn known(&self, now_us: i64) -> Result<Arc<Known>, SsoError> {
        if let Some(kept) = self.kept(now_us)? {
            return Ok(kept);
        }
        let issuer = &self.settings.issuer;
        let get = |url: &str| Request::builder().uri(url).header(header::ACCEPT, "application/json");
        let discovery =
            Discovery::parse(&self.send(get(&Discovery::url(issuer)), Bytes::new(), now_us).await?, issuer)?;
        let keys = KeySet::parse(&self.send(get(&discovery.jwks_uri), Bytes::new(), now_us).await?)?;
        let known = Arc::new(Known { discovery, keys });
        let mut provider = self.provider.lock().unwrap_or_else(PoisonError::into_inner);
        *provider = Provider { known: Some((Arc::clone(&known), now_us)), failed_at_us: None };
        Ok(known)
    }

    fn kept(&self, now_us: i64) -> Result<Option<Arc<Known>>, SsoError> {
        let provider = self.provider.lock().unwrap_or_else(PoisonError::into_inner);
        if provider.failed_at_us.is_some_and(|at_us| (0..PAUSE_US).contains(&(now_us - at_us))) {
            return Err(self.away());
        }
        let fresh = provider.known.as_ref().filter(|(_, at_us)| (0..KEPT_US).contains(&(now_us - at_us)));
        Ok(fresh.map(|(known, _)| Arc::clone(known)))
    }

    fn forget(&self) {
        self.provider.lock().unwrap_or_else(PoisonError::into_inner).known = None;
    }

    fn away(&self) -> SsoError {
        SsoError::Away { issuer: self.settings.issuer.clone() }
    }

    async fn send(&self, request: http::request::Builder, body: Bytes, now_us: i64) -> Result<Bytes, SsoError> {
        let Ok(request) = request.body(body) else { return Err(self.away()) };
        self.http.send(request).await.map_err(|why| {
            let issuer = &self.settings.issuer;
            tracing::warn!(%issuer, %why, "the identity provider `{issuer}` does not answer");
            self.provider.lock().unwrap_or_else(PoisonError::into_inner).failed_at_us = Some(now_us);
            self.away()
        })
    }
}

/// What a provider says of a person, as far as it is kept: one line of some length.
fn short(text: &str) -> String {
    let line: String = text.trim().chars().filter(|one| !one.is_control()).take(MAX_NAME_CHARS).collect();
    line.trim().to_owned()
}

/// What a browser keeps of a sign-in that has begun.
#[must_use]
pub fn to_cookie(attempt: &Attempt) -> String {
    format!("{}.{}.{}", attempt.state, attempt.nonce, attempt.verifier)
}

/// Reads what [`to_cookie`] wrote.
///
/// # Errors
/// [`SsoError::NotBegun`] if it is something else, or another state came back than was sent.
pub fn from_cookie(cookie: Option<&str>, state: Option<&str>) -> Result<Attempt, SsoError> {
    let mut parts = cookie.unwrap_or_default().split('.');
    let (Some(sent), Some(nonce), Some(verifier), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SsoError::NotBegun);
    };
    if sent.is_empty() || nonce.is_empty() || verifier.is_empty() || state != Some(sent) {
        return Err(SsoError::NotBegun);
    }
    Ok(Attempt { state: sent.to_owned(), nonce: nonce.to_owned(), verifier: verifier.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_browser_that_began_a_sign_in_can_end_it() {
        let attempt = Attempt { state: "s".into(), nonce: "n".into(), verifier: "v".into() };
        let cookie = to_cookie(&attempt);
        assert_eq!(from_cookie(Some(&cookie), Some("s")).unwrap(), attempt);
        for (cookie, state) in [
            (None, Some("s")),
            (Some(cookie.as_str()), Some("other")),
            (Some(cookie.as_str()), None),
            (Some("s.n"), Some("s")),
            (Some(".n.v"), Some("")),
            (Some("s.n.v.x"), Some("s")),
        ] {
            assert!(matches!(from_cookie(cookie, state), Err(SsoError::NotBegun)), "{cookie:?} {state:?}");
        }
    }
}

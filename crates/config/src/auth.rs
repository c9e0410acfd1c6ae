//! Who may come in beside those with a virtual key, a link or a token of ours: people through an identity provider
//! (OpenID Connect), programs with tokens of their own (JWT).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_gateway::{JwtClaims, JwtIssuer, JwtKeys};
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_policy::key::{KeyLimits, Limits};
use tollgate_policy::suggestion;

use super::{Confidential, expand, mistake};

/// Roles that a person can have. The metastore's own list is held against this one by a test of the all-in-one.
pub const ROLES: [&str; 6] = ["owner", "admin", "auditor", "finance", "developer", "viewer"];
/// Organisation of those who are not said to belong to another.
const DEFAULT_ORGANISATION: &str = "default";

/// The `auth` section.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The identity provider through which people sign in to the console.
    pub oidc: Option<Oidc>,
    /// Issuers whose tokens the gateway takes in place of virtual keys.
    pub jwt: Vec<Jwt>,
}

/// An OpenID Connect provider.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// Its issuer URL, exactly as its configuration document has it.
    #[schemars(with = "String")]
    pub issuer: Spanned<String>,
    /// What it knows this console by.
    #[schemars(with = "String")]
    pub client_id: Spanned<String>,
    /// What this console proves itself with; `${NAME}` takes it from the environment.
    #[schemars(with = "String")]
    pub client_secret: Confidential,
    /// What the button says.
    #[serde(default = "button")]
    pub name: String,
    /// Asked for beside `openid`.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// Claim with the groups of a person.
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
    /// Organisation that its people belong to.
    #[serde(default = "organisation")]
    pub organisation: String,
    /// How far what they may do reaches, unless somebody says otherwise of one of them: the whole installation, or their
    /// organisation alone, beyond which they then see and change nothing.
    #[serde(default)]
    pub reach: OidcReach,
    /// What each group makes its members: `owner`, `admin`, `auditor`, `finance`, `developer` or `viewer`. Of several, the
    /// one that stands first in this list.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub roles: BTreeMap<String, Spanned<String>>,
    /// The team that each group makes its members part of.
    #[serde(default)]
    pub teams: BTreeMap<String, String>,
    /// What somebody is of whom no group says anything. Default: they may not come in.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub default_role: Option<Spanned<String>>,
}

/// How far what somebody may do reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OidcReach {
    /// Everywhere.
    #[default]
    Installation,
    /// Their organisation.
    Organisation,
}

/// An issuer of tokens.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// Exactly as `iss` of its tokens has it.
    #[schemars(with = "String")]
    pub issuer: Spanned<String>,
    /// Where its keys are.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub jwks_url: Option<Spanned<String>>,
    /// File with its keys, read at the start; a path relative to this file.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub jwks_file: Option<Spanned<String>>,
    /// Audiences of which a token must have one.
    #[schemars(with = "OneOrMore")]
    pub audience: OneOrMore,
    /// Which claims say whose call it is.
    #[serde(default)]
    pub claims: Claims,
    /// Organisation of callers, where no claim names one.
    #[serde(default = "organisation")]
    pub tenant: String,
    /// Team of callers, where no claim names one.
    #[serde(default)]
    pub team: Option<String>,
    /// Operations and surfaces its tokens are for; default: all.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Models its tokens are for; default: all that the policy allows.
    #[serde(default)]
    pub models: Vec<String>,
    /// Addresses its tokens may be used from; default: any.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Age at which its keys are fetched anew, in seconds.
    #[serde(default = "refresh_seconds")]
    pub refresh_seconds: u64,
    /// Age at which keys that cannot be renewed are used no longer, in seconds.
    #[serde(default = "max_stale_seconds")]
    pub max_stale_seconds: u64,
}

/// Names of claims, or paths to them with dots.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Claims {
    /// Organisation.
    pub tenant: Option<String>,
    /// Team whose budget calls draw on.
    pub team: Option<String>,
    /// Person; stands in the log as a keyed hash.
    pub user: Option<String>,
    /// Project; a token may do without.
    pub project: Option<String>,
}

/// A text or a list of texts.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Several.
    More(Vec<String>),
}

fn button() -> String {
    "single sign-on".to_owned()
}

fn scopes() -> Vec<String> {
    ["profile", "email"].map(str::to_owned).to_vec()
}

fn groups_claim() -> String {
    "groups".to_owned()
}

fn organisation() -> String {
    DEFAULT_ORGANISATION.to_owned()
}

fn refresh_seconds() -> u64 {
    600
}

fn max_stale_seconds() -> u64 {
    86_400
}

impl Auth {
    pub(super) fn expand(&mut self, environment: &impl Fn(&str) -> Option<String>) -> Result<(), SourceError> {
        let Some(oidc) = &mut self.oidc else { return Ok(()) };
        expand(&mut oidc.issuer, environment)?;
        expand(&mut oidc.client_id, environment)?;
        expand(&mut oidc.client_secret, environment)
    }

    pub(super) fn check(&self) -> Result<(), SourceError> {
        if let Some(oidc) = &self.oidc {
            oidc.check()?;
        }
        self.jwt.iter().enumerate().try_for_each(|(at, jwt)| {
            let twice = self.jwt.iter().take(at).any(|other| other.issuer.value == jwt.issuer.value);
            if twice {
                let message = format!("the issuer `{}` is written twice; keep one of them", jwt.issuer.value);
                return Err(mistake(jwt.issuer.referenced, message));
            }
            jwt.check()
        })
    }

    /// Issuers as the gateway takes them. `folder` is the configuration file's.
    ///
    /// # Errors
    /// [`SourceError`] if a file of keys cannot be read or holds none.
    pub(super) fn issuers(&self, folder: &Path) -> Result<Vec<JwtIssuer>, SourceError> {
        self.jwt.iter().map(|jwt| jwt.issuer(folder)).collect()
    }
}

impl Oidc {
    fn check(&self) -> Result<(), SourceError> {
        must_be_a_server(&self.issuer)?;
        for (what, text) in [("client_id", &self.client_id), ("client_secret", &self.client_secret)] {
            if text.value.is_empty() {
                return Err(mistake(text.referenced, format!("`auth.oidc.{what}` is empty")));
            }
        }
        for role in self.roles.values().chain(&self.default_role) {
            if !ROLES.contains(&role.value.as_str()) {
                let meant = suggestion::phrase(&role.value, ROLES);
                let message =
                    format!("`{}` is no role of a person{meant}; it is one of {}", role.value, ROLES.join(", "));
                return Err(mistake(role.referenced, message));
            }
        }
        Ok(())
    }
}

impl Jwt {
    fn check(&self) -> Result<(), SourceError> {
        let at = self.issuer.referenced;
        let (issuer, refuse) = (&self.issuer.value, |message: String| Err(mistake(at, message)));
        if issuer.is_empty() {
            return refuse("an issuer of tokens has no name; write what `iss` of its tokens says".to_owned());
        }
        match (&self.jwks_url, &self.jwks_file) {
            (Some(url), None) => must_be_a_server(url)?,
            (None, Some(_)) => {}
            _ => return refuse(format!("the issuer `{issuer}` needs either `jwks_url` or `jwks_file`, for its keys")),
        }
        if self.audiences().iter().all(String::is_empty) {
            return refuse(format!(
                "the issuer `{issuer}` has no `audience`; without one, tokens it gives others would be taken"
            ));
        }
        if self.claims.team.is_none() && self.team.is_none() {
            return refuse(format!(
                "the issuer `{issuer}` needs `claims.team` or `team`: whose budget do calls draw on?"
            ));
        }
        if self.max_stale_seconds < self.refresh_seconds {
            return refuse(format!("`max_stale_seconds` of the issuer `{issuer}` is less than its `refresh_seconds`"));
        }
        match Limits::compile(&self.limits()) {
            Ok(_) => Ok(()),
            Err(error) => refuse(error.to_string()),
        }
    }

    fn audiences(&self) -> Vec<String> {
        match &self.audience {
            OneOrMore::One(audience) => vec![audience.clone()],
            OneOrMore::More(audiences) => audiences.clone(),
        }
    }

    fn limits(&self) -> KeyLimits {
        KeyLimits { scopes: self.scopes.clone(), models: self.models.clone(), sources: self.sources.clone() }
    }

    fn issuer(&self, folder: &Path) -> Result<JwtIssuer, SourceError> {
        /// Between two looks for a key that nobody knows.
        const PAUSE: Duration = Duration::from_secs(10);
        let keys = match (&self.jwks_url, &self.jwks_file) {
            (Some(url), _) => JwtKeys::Url(url.value.clone()),
            (None, Some(file)) => {
                let read = fs::read(folder.join(&file.value));
                JwtKeys::Document(read.map_err(|error| mistake(file.referenced, error.to_string()))?.into())
            }
            (None, None) => return Err(mistake(self.issuer.referenced, "this issuer has no keys")),
        };
        let Claims { tenant, team, user, project } = self.claims.clone();
        Ok(JwtIssuer {
            issuer: self.issuer.value.clone(),
            keys,
            audiences: self.audiences(),
            claims: JwtClaims { tenant, team, user, project },
            tenant: self.tenant.clone(),
            team: self.team.clone(),
            limits: self.limits(),
            refresh: Duration::from_secs(self.refresh_seconds),
            pause: PAUSE,
            max_stale: Duration::from_secs(self.max_stale_seconds),
        })
    }
}

/// Plain HTTP is for servers on this machine: whoever can read along elsewhere could put their own keys in place.
fn must_be_a_server(url: &Spanned<String>) -> Result<(), SourceError> {
    let parsed = url::Url::parse(&url.value).ok();
    let is_local = |host: &str| host == "localhost" || host == "[::1]" || host.starts_with("127.");
    let is_safe = parsed.is_some_and(|url| match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => true,
        ("http", Some(host)) => is_local(host),
        _ => false,
    });
    if is_safe {
        return Ok(());
    }
    let message = format!("`{}` is not an https URL (http is taken for this machine only)", url.value);
    Err(mistake(url.referenced, message))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::Config;

    fn parse(text: &str) -> Result<Config, SourceError> {
        Config::parse(text, PathBuf::from("/etc/tollgate"), |name| (name == "SECRET").then(|| "s3cret".to_owned()))
    }

    const OIDC: &str = "auth:\n  oidc: {issuer: \"https://id.acme.test\", client_id: tollgate, client_secret: \"${SECRET}\",\n    \
                        roles: {platform: admin, eng: developer}, teams: {eng: core}}\n";

    #[test]
    fn a_provider_is_read_with_its_secret_from_the_environment() {
        let config = parse(OIDC).unwrap();
        let oidc = config.auth.oidc.clone().unwrap();
        assert_eq!((oidc.client_secret.value.as_str(), oidc.groups_claim.as_str()), ("s3cret", "groups"));
        assert_eq!(oidc.roles["eng"].value, "developer");
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn a_role_that_is_none_and_an_issuer_in_the_clear_are_located() {
        let error = parse(&OIDC.replace("eng: developer", "eng: devloper")).unwrap_err();
        assert_eq!(error.line, 3);
        assert!(error.message.contains("`devloper`") && error.message.contains("`developer`"), "{error}");
        let error = parse(&OIDC.replace("https://id", "http://id")).unwrap_err();
        assert!(error.line == 2 && error.message.contains("`http://id.acme.test`"), "{error}");
        assert!(parse(&OIDC.replace("https://id.acme.test", "http://127.0.0.1:9")).is_ok());
        assert!(parse(&OIDC.replace("platform: admin", "platform: sidecar")).is_err(), "a person is no sidecar");
    }

    #[test]
    fn an_issuer_without_keys_audience_or_team_is_refused() {
        let with = |fields: &str| parse(&format!("auth:\n  jwt:\n    - {{issuer: \"https://id\", {fields}}}\n"));
        let good = "jwks_url: \"https://id/keys\", audience: tollgate, claims: {team: org.team}";
        assert!(with(good).is_ok());
        for (fields, what) in [
            (good.replace("jwks_url", "jwks_uri"), "jwks_url"),
            (good.replace("jwks_url: \"https://id/keys\", ", ""), "`jwks_url` or `jwks_file`"),
            (good.replace("tollgate", "\"\""), "no `audience`"),
            (good.replace("claims: {team: org.team}", "tenant: acme"), "`claims.team` or `team`"),
            (format!("{good}, sources: [10.0.0.1/8]"), "`10.0.0.1/8`"),
            (format!("{good}, refresh_seconds: 60, max_stale_seconds: 59"), "max_stale_seconds"),
        ] {
            let error = with(&fields).unwrap_err();
            assert!(error.message.contains(what) && error.line == 3, "{fields}: {error}");
        }
        let twice = "auth: {jwt: [{issuer: a, jwks_file: k, audience: [x], team: t}, {issuer: a, jwks_file: k, audience: [x], team: t}]}";
        assert!(parse(twice).unwrap_err().message.contains("twice"));
    }

    #[test]
    fn a_file_of_keys_that_is_not_there_is_named() {
        let error = parse("auth: {jwt: [{issuer: a, jwks_file: none.json, audience: x, team: t}]}").unwrap_err();
        assert!(error.message.contains("/etc/tollgate/none.json"), "{error}");
    }
}

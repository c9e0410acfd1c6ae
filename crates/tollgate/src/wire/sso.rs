//! The identity provider of the configuration, and how it is asked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tollgate_config::{Config, Oidc, OidcReach};
use tollgate_console::sso::{Http, Sso, SsoSettings};
use tollgate_identity::oidc;
use tollgate_metastore::{Reach, TeamName};

/// For one exchange.
const WAIT: Duration = Duration::from_secs(5);
/// Largest answer of a provider.
const MAX_ANSWER_BYTES: usize = 512 * 1024;

/// The door to the configured provider; `None` if there is none. People come back to the console at `console_url`.
///
/// # Errors
/// If a role is none, which the configuration has been checked for.
pub(super) fn door(config: &Config, console_url: &str) -> anyhow::Result<Option<Arc<Sso>>> {
    let Some(written) = &config.auth.oidc else { return Ok(None) };
    let settings = settings(written, console_url)?;
    Ok(Some(Arc::new(Sso::new(settings, Arc::new(Exchange::new())))))
}

fn settings(written: &Oidc, console_url: &str) -> anyhow::Result<SsoSettings> {
    let mut roles = std::collections::BTreeMap::new();
    for (group, role) in &written.roles {
        roles.insert(group.clone(), role.value.parse().context("reading `auth.oidc.roles`")?);
    }
    let mut teams = std::collections::BTreeMap::new();
    for (group, team) in &written.teams {
        let team = TeamName::within(&written.organisation, team).context("reading `auth.oidc.teams`")?;
        teams.insert(group.clone(), team);
    }
    let default_role = written.default_role.as_ref().map(|role| role.value.parse());
    Ok(SsoSettings {
        issuer: written.issuer.value.clone(),
        client: oidc::Client {
            id: written.client_id.value.clone(),
            secret: written.client_secret.value.clone(),
            redirect_uri: format!("{console_url}/login/oidc/callback"),
        },
        name: written.name.clone(),
        scopes: written.scopes.clone(),
        groups_claim: written.groups_claim.clone(),
        organisation: written.organisation.clone(),
        reach: match written.reach {
            OidcReach::Installation => Reach::Installation,
            OidcReach::Organisation => Reach::Organisation(written.organisation.clone()),
        },
        roles,
        teams,
        default_role: default_role.transpose().context("reading `auth.oidc.default_role`")?,
    })
}

/// Requests to the provider. Redirects are not followed.
struct Exchange {
    client: Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Exchange {
    fn new() -> Self {
        let connector =
            hyper_rustls::HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        Exchange { client: Client::builder(TokioExecutor::new()).build(connector) }
    }
}

impl Http for Exchange {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Bytes, String>> {
        let client = self.client.clone();
        async move {
            let exchange = async {
                let response = client.request(request.map(Full::new)).await.map_err(|error| error.to_string())?;
                let status = response.status();
                let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
                let body = body.map_err(|error| error.to_string())?.to_bytes();
                // A refusal of the code is an answer, with the reason in it.
                if status.is_server_error() { Err(format!("it answered {status}")) } else { Ok(body) }
            };
            let waited = tokio::time::timeout(WAIT, exchange).await;
            waited.unwrap_or_else(|_| Err(format!("it did not answer within {} seconds", WAIT.as_secs())))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use tollgate_metastore::Role;

    #[test]
    fn the_configuration_knows_the_roles_that_people_can_have() {
        let people: Vec<&str> = Role::ALL.into_iter().filter(|role| role.is_for_people()).map(Role::as_str).collect();
        assert_eq!(people, tollgate_config::ROLES);
    }
}

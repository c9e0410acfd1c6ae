//! Asks the identity provider once in a while whether it is there, so that every page can say so before somebody needs it, and
//! writes into the log from when to when it was not.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tollgate_console::sso::Sso;
use tollgate_interaction::{ControlEvent, Governance};
use tollgate_wal::Appender;

use super::feedback::pause;

/// What it says of itself is kept for five minutes; a provider that was away is asked at once.
const INTERVAL: Duration = Duration::from_secs(10);

/// Watches until it is time to stop.
pub(super) async fn watch(sso: Arc<Sso>, appender: Appender, shutdown: CancellationToken) {
    let mut was_away = false;
    let mut next = Duration::from_secs(1);
    while pause(next, &shutdown).await {
        next = INTERVAL;
        let at_us = chrono::Utc::now().timestamp_micros();
        if let Err(error) = sso.check(at_us).await {
            tracing::debug!(%error, "the identity provider was asked");
        }
        let trouble = sso.trouble();
        if trouble.is_some() == was_away {
            continue;
        }
        let (action, detail) = match trouble {
            Some(why) => ("oidc.unreachable", why),
            None => ("oidc.reachable", "people can sign in through it again".to_owned()),
        };
        let event = ControlEvent {
            event_id: format!("{action}-{at_us}"),
            at_us,
            tenant: String::new(),
            actor: "console".to_owned(),
            action: action.to_owned(),
            subject: sso.issuer().to_owned(),
            detail,
        };
        match appender.append_durable(&Governance::Control(event).into()).await {
            Ok(_) => was_away = !was_away,
            Err(error) => tracing::warn!(%error, action, "the log took no record of this yet; trying again"),
        }
    }
}

//! Writes into the log from when to when the ledger that gateways share could not be reached, and what calls did meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tollgate_interaction::{ControlEvent, Governance};

use crate::{Gateway, clock};

const INTERVAL: Duration = Duration::from_secs(1);

/// Watches until it is time to stop.
pub(crate) async fn watch(gateway: Arc<Gateway>, shutdown: CancellationToken) {
    let mut was_away = false;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let trouble = gateway.ledger_trouble();
        if trouble.is_some() == was_away {
            continue;
        }
        let (action, detail) = match trouble {
            Some((why, mode)) => ("ledger.unreachable", format!("{why} (`on_ledger_down: {}`)", mode.as_str())),
            None => ("ledger.reachable", "budgets and limits are kept with the other gateways again".to_owned()),
        };
        let at_us = clock::now_us();
        let position = gateway.log_position().to_owned();
        let event = ControlEvent {
            event_id: format!("{action}-{position}-{at_us}"),
            at_us,
            tenant: String::new(),
            actor: format!("gateway {position}"),
            action: action.to_owned(),
            subject: "the shared ledger".to_owned(),
            detail,
        };
        match gateway.appender.append_durable(&Governance::Control(event).into()).await {
            Ok(_) => was_away = !was_away,
            Err(error) => tracing::warn!(%error, action, "the log took no record of this yet; trying again"),
        }
    }
}

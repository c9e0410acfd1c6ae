//! The answers that the gateway keeps, for the console and the command line.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use tollgate_console::answers::{Answers, PurgeOrder};
use tollgate_gateway::Gateway;
use tollgate_gateway::cache::Purge;
use tollgate_interaction::{ControlEvent, Governance};
use tollgate_wal::Appender;

/// The answers of a running node.
pub(super) struct NodeAnswers {
    pub(super) gateway: Arc<Gateway>,
    pub(super) appender: Appender,
}

impl Answers for NodeAnswers {
    fn look(&self) -> Value {
        // Plain counts always have a JSON form.
        serde_json::to_value(self.gateway.cache_stats()).unwrap_or(Value::Null)
    }

    fn purge(&self, order: PurgeOrder) -> BoxFuture<'static, Result<u64, String>> {
        let (gateway, appender) = (Arc::clone(&self.gateway), self.appender.clone());
        async move {
            let about = about(&order);
            let actor = order.actor.clone();
            let tenant = order.tenant.clone();
            let purged = gateway.purge_cache(which(order)).await;
            let purged = purged.map_err(|error| with_causes(&error))?;
            let at_us = chrono::Utc::now().timestamp_micros();
            let event = ControlEvent {
                event_id: format!("cache.purged-{at_us}"),
                at_us,
                tenant: tenant.unwrap_or_default(),
                actor,
                action: "cache.purged".to_owned(),
                subject: "cache".to_owned(),
                detail: format!("{purged} answers: {about}"),
            };
            let told = appender.append_durable(&Governance::Control(event).into()).await;
            told.map_err(|error| format!("{purged} answers are gone, but the log took no record of it: {error}"))?;
            Ok(purged)
        }
        .boxed()
    }
}

/// Which answers are meant.
pub(crate) fn which(order: PurgeOrder) -> Purge {
    let PurgeOrder { tenant, team, subject, model, interaction, all: _, actor: _ } = order;
    Purge { tenant, team, subject, model, interaction }
}

/// Which answers are meant, in words.
pub(crate) fn about(order: &PurgeOrder) -> String {
    let named = [
        ("tenant", &order.tenant),
        ("team", &order.team),
        ("subject", &order.subject),
        ("model", &order.model),
        ("interaction", &order.interaction),
    ];
    let named: Vec<String> =
        named.into_iter().filter_map(|(name, value)| Some(format!("{name} `{}`", value.as_ref()?))).collect();
    if named.is_empty() { "all of them".to_owned() } else { named.join(", ") }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

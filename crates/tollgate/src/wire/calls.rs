//! Which calls there are, for the gateway: somebody judges one that it does not remember.

use std::sync::Arc;

use tollgate_analytics::Analytics;
use tollgate_analytics::report::Whereabouts;
use tollgate_gateway::Standing;
use tollgate_interaction::InteractionId;
use tollgate_metastore::{Metastore, Role};

/// The log, and who else may have calls to hand over to it.
pub(super) struct CallBook {
    pub(super) analytics: Arc<Analytics>,
    pub(super) metastore: Arc<dyn Metastore>,
    /// The log of this process.
    pub(super) writer: String,
}

impl CallBook {
    /// Whether the organisation has such a call. What cannot be read is left open: a judgement is not lost for that.
    pub(super) async fn standing(&self, tenant: &str, id: InteractionId) -> Standing {
        let now_us = chrono::Utc::now().timestamp_micros();
        match self.analytics.reading().whereabouts(id, tenant, &self.writer, now_us).await {
            Ok(Whereabouts::Here) => Standing::Known,
            Ok(Whereabouts::Outstanding(_)) => Standing::Unsure,
            Ok(Whereabouts::Nowhere) if self.may_be_a_new_sidecars(id, now_us).await => Standing::Unsure,
            Ok(Whereabouts::Nowhere) => Standing::Unknown,
            Err(error) => {
                tracing::warn!(%error, "it could not be looked up whether a call that was judged is in the log");
                Standing::Unsure
            }
        }
    }

    /// Whether a sidecar may have it of which the log has nothing yet: one was let in before the call began, and the call is so
    /// recent that a sidecar that had just started would not have handed it over.
    async fn may_be_a_new_sidecars(&self, id: InteractionId, now_us: i64) -> bool {
        const RECENT_US: i64 = 3_600_000_000;
        let began_us = i64::try_from(id.unix_ms()).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000);
        if began_us < now_us - RECENT_US {
            return false;
        }
        let Ok(tokens) = self.metastore.list_api_tokens().await else { return true };
        let is_in_use = |revoked_at_us: Option<i64>| revoked_at_us.is_none_or(|at_us| at_us > began_us);
        tokens.iter().any(|token| token.role == Role::Sidecar && is_in_use(token.revoked_at_us))
    }
}

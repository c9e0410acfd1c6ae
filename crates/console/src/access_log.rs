//! Reading what was said leaves a record: who, what, when and why. It is durable before the content is shown; content
//! whose reading cannot be recorded is not shown.

use axum::http::HeaderMap;
use futures::future::BoxFuture;
use tollgate_interaction::AccessEvent;

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::params::Params;
use crate::state::ConsoleState;

/// Header by which a program says why it reads.
pub const PURPOSE_HEADER: &str = "x-tollgate-purpose";
/// Parameter by which a page says why somebody reads.
pub const PURPOSE: &str = "purpose";

/// Where readings are recorded.
pub trait AccessLog: Send + Sync {
    /// Returns when the event is durable.
    ///
    /// # Errors
    /// Says why it is not.
    fn record(&self, event: AccessEvent) -> BoxFuture<'static, Result<(), String>>;
}

/// Why somebody reads: the header, else the parameter, else nothing.
#[must_use]
pub fn purpose(headers: &HeaderMap, params: &Params) -> String {
    let header = headers.get(PURPOSE_HEADER).and_then(|value| value.to_str().ok());
    header.map_or_else(|| params.text(PURPOSE), |header| header.trim().to_owned())
}

impl ConsoleState {
    /// Records that `reader` is about to be shown content.
    ///
    /// # Errors
    /// [`ConsoleError::NotRecorded`] if that cannot be recorded; the content must then not be shown.
    pub async fn record_access(
        &self,
        reader: &Reader,
        action: &'static str,
        subject: impl Into<String>,
        purpose: String,
        rows: Option<u64>,
    ) -> Result<(), ConsoleError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|source| ConsoleError::Internal {
            what: "an id for the record of access",
            source: source.into(),
        })?;
        let event = AccessEvent {
            event_id: random.iter().map(|byte| format!("{byte:02x}")).collect(),
            at_us: self.now_us(),
            tenant: reader.reach.organisation().unwrap_or_default().to_owned(),
            actor: reader.author.clone(),
            action: action.to_owned(),
            subject: subject.into(),
            purpose,
            rows,
        };
        self.access_log.record(event).await.map_err(|why| ConsoleError::NotRecorded { why })
    }
}

//! The dashboard and its JSON API: pages rendered on the server from the reports of `analytics` and `search`. It shows
//! and never decides; the only thing it changes is the control plane, through `metastore`. It does not link the gateway,
//! the log or the lake: what it needs to know of them comes in through [`state::Instruments`].

pub mod access;
pub mod access_log;
pub mod answers;
pub mod api;
pub mod assets;
mod bounds;
pub mod budgets;
pub mod chart;
pub mod clients;
pub mod edge;
pub mod error;
pub mod format;
pub mod html;
pub mod integrity;
pub mod ledger;
pub mod metrics;
pub mod pages;
pub mod params;
pub mod people;
#[cfg(test)]
mod preview;
pub mod prices;
pub mod range;
pub mod refill;
pub mod replicas;
mod routes;
#[cfg(test)]
mod sample;
pub mod scim;
pub mod shell;
pub mod simulation;
pub mod sso;
pub mod standing;
pub mod state;
pub mod tenancy;
#[cfg(test)]
mod tests;
pub mod unpriced;

use tokio::net::TcpListener;

pub use access_log::AccessLog;
pub use ledger::{Ledger, LiveLedger};
pub use routes::router;
pub use shell::Books;
pub use state::{ConsoleSettings, ConsoleState, Instruments, Sample, SampleKind};

/// Answers on `listener` until the state's `shutdown` is cancelled and the requests then running have ended.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, state: ConsoleState) -> std::io::Result<()> {
    let shutdown = state.shutdown.clone();
    axum::serve(listener, router(state)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

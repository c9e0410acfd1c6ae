//! Whom we measure: each is started with the smallest configuration that makes it forward the call, as its own
//! documentation says, and with nothing on that costs it time without need. Ours has everything on.

mod litellm;
mod nginx;
mod ours;
mod portkey;

use std::time::Duration;

use clap::ValueEnum;

use crate::call::Target;
use crate::server::Server;
use crate::stage::Stage;

pub(crate) use ours::{Ledger, Reader};

/// Work that a server without a log may still have on its hands after the last answer.
const SHORT_SETTLE: Duration = Duration::from_millis(500);

/// Who stands between caller and provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Nobody: the ceiling of load generator and provider.
    Direct,
    /// nginx as a plain reverse proxy: the floor.
    Nginx,
    /// Our all-in-one.
    Tollgate,
    /// The same with `ack: async`.
    Async,
    /// Our proxy-only binary.
    Sidecar,
    /// Portkey's gateway, on Node.
    Portkey,
    /// LiteLLM's proxy, on Python.
    Litellm,
}

impl Peer {
    /// In the order in which they are measured.
    pub(crate) const ALL: [Peer; 7] =
        [Peer::Direct, Peer::Nginx, Peer::Tollgate, Peer::Async, Peer::Sidecar, Peer::Portkey, Peer::Litellm];
    /// Those that the budgets are about.
    pub(crate) const OURS: [Peer; 2] = [Peer::Tollgate, Peer::Sidecar];

    /// As written on the command line and in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Direct => "direct",
            Peer::Nginx => "nginx",
            Peer::Tollgate => "tollgate",
            Peer::Async => "async",
            Peer::Sidecar => "sidecar",
            Peer::Portkey => "portkey",
            Peer::Litellm => "litellm",
        }
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// If it is not installed or does not come up.
    pub(crate) async fn start(self, stage: &Stage) -> anyhow::Result<Running> {
        match self {
            Peer::Direct => direct(stage).await,
            Peer::Nginx => nginx::start(stage).await,
            Peer::Tollgate => ours::start_tollgate(stage, ours::Ack::Intent).await,
            Peer::Async => ours::start_tollgate(stage, ours::Ack::Async).await,
            Peer::Sidecar => ours::start_sidecar(stage).await,
            Peer::Portkey => portkey::start(stage).await,
            Peer::Litellm => litellm::start(stage).await,
        }
    }
}

/// A peer that answers.
pub(crate) struct Running {
    /// Which version it is, as far as it says.
    pub(crate) version: String,
    /// The call as it wants it.
    pub(crate) target: Target,
    /// Its processes; nobody if calls go directly to the provider.
    pub(crate) server: Option<Server>,
    /// How long after the last answer its work is done.
    pub(crate) settle: Duration,
    /// Calls it has answered since it was started.
    pub(crate) answered: u64,
    /// Where its rows can be counted, if it keeps any.
    pub(crate) ledger: Option<Ledger>,
}

impl Running {
    fn without_log(version: String, target: Target, server: Server) -> Running {
        Running { version, target, server: Some(server), settle: SHORT_SETTLE, answered: 1, ledger: None }
    }
}

async fn direct(stage: &Stage) -> anyhow::Result<Running> {
    let target = Target::new(stage.provider(), &[]);
    target.probe().await?;
    let settle = Duration::ZERO;
    Ok(Running { version: String::new(), target, server: None, settle, answered: 1, ledger: None })
}

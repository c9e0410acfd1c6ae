//! Other gateways of this installation: slices of budgets that are lent to them, and what they report of themselves.
//!
//! Who holds slices stands in a file, so that this process, should it end without an order, waits at its next start until each
//! of them has said what it holds. What they hold does not: they know it themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fs_err as fs;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tollgate_console::replicas::{NotLent, Replicas, SidecarReport};
use tollgate_gateway::{Gateway, LeaseError};
use tollgate_interaction::{ControlEvent, Governance};
use tollgate_policy::ledger::lease::{LeaseAnswer, LeaseRequest};
use tollgate_wal::Appender;

use super::feedback::pause;

/// A sidecar reports its trouble every two seconds for as long as it has any.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);
/// Sidecars remembered at once; a token of role `sidecar` makes up no more of them.
const MOST_SIDECARS: usize = 10_000;
/// How often it is looked who has gone.
const INTERVAL: Duration = Duration::from_secs(1);

/// What this process knows of other gateways.
pub(super) struct NodeReplicas {
    gateway: Arc<Gateway>,
    appender: Appender,
    file: PathBuf,
    /// As the file names them.
    written: Mutex<BTreeSet<String>>,
    /// By the names of their logs.
    troubled: Mutex<BTreeMap<String, Troubled>>,
    /// For `control_events`.
    untold: Mutex<Vec<ControlEvent>>,
}

struct Troubled {
    why: String,
    heard: Instant,
}

impl NodeReplicas {
    /// Reads who may hold slices from before, and has the gateway wait for them.
    ///
    /// # Errors
    /// If the file is there and cannot be read: what is lent would not be known.
    pub(super) fn open(gateway: Arc<Gateway>, appender: Appender, file: PathBuf) -> anyhow::Result<Arc<NodeReplicas>> {
        let holders: BTreeSet<String> = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("`{}` does not name the gateways that hold slices", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(error.into()),
        };
        if !holders.is_empty() {
            let gateways = holders.iter().cloned().collect::<Vec<_>>().join(", ");
            tracing::info!(gateways, "slices of budgets were lent before: waiting for what their holders say");
            gateway.await_lease_holders(holders.iter().cloned().collect());
        }
        Ok(Arc::new(NodeReplicas {
            gateway,
            appender,
            file,
            written: Mutex::new(holders),
            troubled: Mutex::default(),
            untold: Mutex::default(),
        }))
    }

    /// Sidecars that do not decide by the active bundle, and why.
    pub(super) fn alarms(&self) -> Vec<String> {
        let troubled = self.troubled.lock();
        troubled.iter().map(|(name, troubled)| format!("sidecar {name} {}", troubled.why)).collect()
    }

    /// How many sidecars do not decide by the active bundle.
    pub(super) fn troubled(&self) -> u64 {
        self.troubled.lock().len() as u64
    }

    /// How many gateways hold slices.
    pub(super) fn holders(&self) -> u64 {
        self.gateway.lease_holders().len() as u64
    }

    /// Keeps the file and the control events until it is time to stop.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        while pause(INTERVAL, &shutdown).await {
            if let Err(error) = self.write() {
                tracing::warn!(error = format!("{error:#}"), "who holds slices of budgets could not be noted");
            }
            self.troubled.lock().retain(|_, troubled| troubled.heard.elapsed() < FORGOTTEN_AFTER);
            let untold = std::mem::take(&mut *self.untold.lock());
            for event in untold {
                let entry = Governance::Control(event.clone()).into();
                if let Err(error) = self.appender.append_durable(&entry).await {
                    tracing::warn!(%error, "what a sidecar reported could not be logged yet; trying again");
                    self.untold.lock().push(event);
                }
            }
        }
    }

    /// Brings the file up to who holds slices.
    fn write(&self) -> anyhow::Result<()> {
        use std::io::Write as _;
        let mut written = self.written.lock();
        let holders: BTreeSet<String> =
            self.gateway.lease_holders().into_iter().map(|holder| holder.position).collect();
        if *written == holders {
            return Ok(());
        }
        let new = self.file.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec(&holders)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.file)?;
        *written = holders;
        Ok(())
    }

    fn event(&self, action: &str, name: &str, detail: String) {
        let at_us = chrono::Utc::now().timestamp_micros();
        self.untold.lock().push(ControlEvent {
            event_id: format!("{action}-{name}-{at_us}"),
            at_us,
            tenant: String::new(),
            actor: format!("sidecar {name}"),
            action: action.to_owned(),
            subject: name.to_owned(),
            detail,
        });
    }
}

impl Replicas for NodeReplicas {
    fn lend(&self, request: &LeaseRequest) -> Result<LeaseAnswer, NotLent> {
        let answer = self.gateway.lend(request).map_err(|error| match error {
            LeaseError::UnknownSession => NotLent::UnknownSession,
            LeaseError::Failed(why) => NotLent::Refused(why),
        })?;
        // Before anything is spent: a few bytes, when a gateway comes or goes.
        self.write().map_err(|error| NotLent::Refused(format!("{error:#}")))?;
        Ok(answer)
    }

    fn note(&self, report: SidecarReport) {
        let SidecarReport { position, bundle, trouble } = report;
        // A sidecar that has started again is the same one.
        let name = position.split('/').next().unwrap_or_default().to_owned();
        let mut troubled = self.troubled.lock();
        match trouble {
            None => {
                if troubled.remove(&name).is_some() {
                    tracing::info!(sidecar = name, "a sidecar decides by the active bundle again");
                    self.event("sidecar.bundle_taken", &name, format!("decides by bundle {bundle}"));
                }
            }
            Some(why) => {
                let is_new = troubled.get(&name).is_none_or(|known| known.why != why);
                if is_new && troubled.len() < MOST_SIDECARS {
                    tracing::error!(sidecar = name, "a sidecar {why}");
                    self.event("sidecar.bundle_refused", &name, why.clone());
                }
                if !is_new || troubled.len() < MOST_SIDECARS {
                    troubled.insert(name, Troubled { why, heard: Instant::now() });
                }
            }
        }
    }
}

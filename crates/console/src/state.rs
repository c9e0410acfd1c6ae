//! What the console is given by the process it runs in.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tollgate_metastore::Metastore;
use tollgate_policy::route::ModelsSnapshot;
use tollgate_policy::signals::SignalsSnapshot;

use crate::access::Reader;
use crate::access_log::AccessLog;
use crate::answers::Answers;
use crate::budgets::BudgetBooks;
use crate::integrity::Integrity;
use crate::ledger::Ledger;
use crate::prices::Prices;
use crate::replicas::Replicas;
use crate::shell::Books;
use crate::sso::Sso;
use crate::standing::Standing;
use crate::unpriced::Explainer;

/// Fixed facts about this process.
#[derive(Clone, Debug)]
pub struct ConsoleSettings {
    /// Address that clients reach the gateway at, without a path: `http://127.0.0.1:8080`.
    pub gateway_url: String,
    /// How a command on the gateway's machine begins, with the options this process was started with:
    /// `tollgate --config tollgate.yaml`.
    pub program: String,
    /// Tenant of keys that are created here.
    pub tenant: String,
    /// Whether the session cookie may only travel over TLS. Set it where TLS ends in front of the console.
    pub secure_cookies: bool,
    /// Where a report pack is put together before it is sent.
    pub scratch_dir: PathBuf,
    /// Tells the time in microseconds since 1970, UTC.
    pub clock: fn() -> i64,
}

/// One measured value, for `/metrics`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name of the metric, with its unit last: `tollgate_gateway_calls_total`.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: SampleKind,
    /// Names and values that tell samples of one metric apart.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleKind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// What the process knows about itself and the console cannot see: it does not link the gateway, the log or the lake.
pub trait Instruments: Send + Sync {
    /// How the books stand.
    fn books(&self) -> Option<Books>;
    /// Values for `/metrics`. Samples of the same name stand together.
    fn samples(&self) -> Vec<Sample>;
    /// The snapshot that routing and policy read at the moment.
    fn signals(&self) -> Option<Arc<SignalsSnapshot>>;
    /// Where calls go and how each target is doing; `None` if this process routes none.
    fn routing(&self) -> Option<ModelsSnapshot>;
    /// Models that a client may name, the best for a first try first.
    fn models(&self) -> Vec<String>;
    /// Of these, aliases with `on_unsupported: drop`, which take what a target's format cannot express.
    fn tolerant_models(&self) -> Vec<String>;
    /// What scopes have used up of their budgets and limits; `None` in a process that decides nothing.
    fn budgets(&self) -> Option<BudgetBooks>;
    /// Why the ledger that gateways share cannot be reached, and what calls do meanwhile; `None` while it can.
    fn budget_trouble(&self) -> Option<String>;
    /// What else every page has to say of this process and of its sidecars; a sentence each.
    fn alarms(&self) -> Vec<String>;
    /// Providers that list no models: they are asked for any, as `provider/model`.
    fn open_providers(&self) -> Vec<String>;
}

/// Everything a handler may use. Cheap to clone.
#[derive(Clone)]
pub struct ConsoleState {
    /// What the log says.
    pub ledger: Arc<dyn Ledger>,
    /// Where it is recorded that somebody read content.
    pub access_log: Arc<dyn AccessLog>,
    /// The state of the log and of its proof.
    pub integrity: Arc<dyn Integrity>,
    /// Keys, sessions, tokens, policy.
    pub metastore: Arc<dyn Metastore>,
    /// Prices and places, for back-tests.
    pub market: Arc<dyn tollgate_analytics::backtest::Market>,
    /// Sessions and tokens for the time that the metastore is away.
    pub standing: Arc<Standing<Reader>>,
    /// The identity provider through which people sign in, if there is one.
    pub sso: Option<Arc<Sso>>,
    /// What is done for other gateways.
    pub replicas: Arc<dyn Replicas>,
    /// What calls are priced by.
    pub prices: Arc<dyn Prices>,
    /// Answers that are kept to be given again.
    pub answers: Arc<dyn Answers>,
    /// What the process says about itself.
    pub instruments: Arc<dyn Instruments>,
    /// Fixed facts.
    pub settings: Arc<ConsoleSettings>,
    /// Ends the streams of live rows when the process stops.
    pub shutdown: CancellationToken,
}

impl ConsoleState {
    /// What says why a call has no cost.
    #[must_use]
    pub fn explainer(&self) -> Explainer<'_> {
        Explainer { prices: self.prices.as_ref(), program: &self.settings.program }
    }

    /// Microseconds since 1970, UTC.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        (self.settings.clock)()
    }
}

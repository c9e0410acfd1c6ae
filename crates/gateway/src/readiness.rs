//! What `/health/ready` says: whether calls are taken, and what is wrong. The gateway knows of itself only whether it is
//! starting or stopping; the process it runs in tells the rest, from wherever it shows it to people too.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

/// Whether calls are taken, and what is wrong. There can be problems while calls are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether a load balancer should send calls here.
    pub ready: bool,
    /// What is wrong and what is being done about it.
    pub problems: Vec<String>,
}

type Source = Box<dyn Fn() -> Readiness + Send + Sync>;

/// See the module.
pub(crate) struct Ready {
    is_serving: AtomicBool,
    source: OnceLock<Source>,
}

impl Ready {
    pub(crate) fn new() -> Self {
        Ready { is_serving: AtomicBool::new(true), source: OnceLock::new() }
    }

    pub(crate) fn set_serving(&self, is_serving: bool) {
        self.is_serving.store(is_serving, Ordering::Relaxed);
    }

    /// Whoever comes second is not asked: a process has one view of itself.
    pub(crate) fn ask(&self, source: Source) {
        if self.source.set(source).is_err() {
            tracing::warn!("a second source of `/health/ready` was given and is left out");
        }
    }

    pub(crate) fn tell(&self) -> Readiness {
        let told = self.source.get().map_or(Readiness { ready: true, problems: Vec::new() }, |source| source());
        if self.is_serving.load(Ordering::Relaxed) {
            return told;
        }
        let mut problems =
            vec!["the gateway is starting or stopping: calls in flight may end, others go elsewhere".to_owned()];
        problems.extend(told.problems);
        Readiness { ready: false, problems }
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("is_serving", &self.is_serving).finish_non_exhaustive()
    }
}

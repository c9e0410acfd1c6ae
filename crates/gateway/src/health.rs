//! Whether a target deserves the next call, from what the last ones met: a circuit breaker, a cooldown, and how busy and how
//! quick the target is. Local to this process and forgotten with it; what the whole fleet saw comes through the signals
//! snapshot.
//!
//! Closed, calls go through. Too many failures in a row, too large a part of the last calls, or credentials that were refused
//! open the circuit: calls go elsewhere. After a while one call may try (half-open): if it is answered the circuit closes, if
//! not it stays open for twice as long. A provider that asks to be left alone is left alone until then.

mod window;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tollgate_interaction::Share;
use tollgate_policy::route::{CircuitState, Rest, RestReason, TargetHealth};

use self::window::Window;
use crate::route::Target;

/// Longest rest a provider can ask for with `retry-after`.
const LONGEST_COOLDOWN: Duration = Duration::from_secs(300);
/// Rest of a provider that asks for one and does not say how long.
const UNSTATED_COOLDOWN: Duration = Duration::from_secs(1);
/// Longest time that a circuit stays open before the next try.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// How fast a measured latency is forgotten: after this time a new one counts for two thirds.
const DECAY_US: f64 = 10_000_000.0;

/// When a circuit opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row.
    pub failures: u32,
    /// Or this part of the calls in the window,
    pub error_rate: Share,
    /// if there were at least so many.
    pub min_calls: u32,
    /// The last calls that are looked at.
    pub window: Duration,
    /// How long calls go elsewhere before one may try.
    pub cooldown: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker {
            failures: 5,
            error_rate: Share::new(500_000),
            min_calls: 20,
            window: Duration::from_secs(30),
            cooldown: Duration::from_secs(10),
        }
    }
}

/// What is remembered of one target.
#[derive(Debug)]
pub(crate) struct Health {
    breaker: Breaker,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    circuit: Circuit,
    /// In a row.
    failures: u32,
    /// Times it has opened without having closed since.
    openings: u32,
    window: Window,
    in_flight: u32,
    /// Peak-sensitive moving average of the time to the head of an answer, and when it was last fed. Microseconds.
    latency: Option<(f64, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    Closed,
    Open {
        until_us: i64,
        why: RestReason,
        is_probed: bool,
    },
    /// Closes by itself.
    Cooling {
        until_us: i64,
        is_stated: bool,
    },
}

/// The right to call a target, for as long as the call lasts.
#[derive(Debug)]
pub(crate) struct Permit {
    target: Arc<Target>,
    is_probe: bool,
}

impl Health {
    pub(crate) fn new(breaker: Breaker) -> Health {
        let state = State {
            circuit: Circuit::Closed,
            failures: 0,
            openings: 0,
            window: Window::new(breaker.window),
            in_flight: 0,
            latency: None,
        };
        Health { breaker, state: Mutex::new(state) }
    }

    /// It answered, after `latency`.
    pub(crate) fn succeeded(&self, now_us: i64, latency: Duration) {
        let mut state = self.state.lock();
        state.window.count(now_us, false);
        state.measure(now_us, latency);
        (state.failures, state.openings) = (0, 0);
        // Who asked to be left alone has not taken that back by answering an earlier call.
        if matches!(state.circuit, Circuit::Open { .. }) {
            state.circuit = Circuit::Closed;
            state.window.forget();
        }
    }

    /// It failed in a way that another request would meet too.
    pub(crate) fn failed(&self, now_us: i64) {
        let mut state = self.state.lock();
        state.window.count(now_us, true);
        state.failures = state.failures.saturating_add(1);
        let (calls, errors) = state.window.sums(now_us);
        let rate = Share::of(errors.into(), calls.into()).unwrap_or_default();
        let is_bad = calls >= self.breaker.min_calls && rate >= self.breaker.error_rate;
        match state.circuit {
            // The one that tried.
            Circuit::Open { until_us, why, .. } if until_us <= now_us => state.open(&self.breaker, now_us, why),
            Circuit::Open { .. } | Circuit::Cooling { .. } => {}
            Circuit::Closed if is_bad || state.failures >= self.breaker.failures => {
                state.open(&self.breaker, now_us, RestReason::Failures);
            }
            Circuit::Closed => {}
        }
    }

    /// It does not take the gateway's credentials, and will not the next time.
    pub(crate) fn refused_credentials(&self, now_us: i64) {
        let mut state = self.state.lock();
        state.window.count(now_us, true);
        state.open(&self.breaker, now_us, RestReason::Credentials);
    }

    /// It asked to be left alone.
    pub(crate) fn throttled(&self, now_us: i64, wanted: Option<Duration>) {
        let until_us = after(now_us, wanted.unwrap_or(UNSTATED_COOLDOWN).min(LONGEST_COOLDOWN));
        let mut state = self.state.lock();
        state.window.count(now_us, true);
        match state.circuit {
            Circuit::Open { until_us: open_until_us, .. } if open_until_us >= until_us => {}
            Circuit::Cooling { until_us: cooling_until_us, .. } if cooling_until_us >= until_us => {}
            Circuit::Closed | Circuit::Open { .. } | Circuit::Cooling { .. } => {
                state.circuit = Circuit::Cooling { until_us, is_stated: wanted.is_some() };
            }
        }
    }

    /// The answer it had begun broke off.
    pub(crate) fn broke_off(&self, now_us: i64) {
        self.failed(now_us);
    }

    /// Whether it is left alone now, why and until when.
    pub(crate) fn rest(&self, now_us: i64) -> (Rest, Option<(RestReason, i64)>) {
        self.state.lock().rest(now_us)
    }

    /// Measured latency times one more than the calls in flight; `seed` stands in where nothing was measured.
    pub(crate) fn load_us(&self, now_us: i64, seed: Option<Duration>) -> Option<u64> {
        let state = self.state.lock();
        let latency = match (state.latency, seed) {
            (Some((latency_us, fed_us)), Some(seed)) => {
                // What was measured long ago gives way to what the log shows.
                let kept = kept(now_us, fed_us);
                latency_us * kept + seed.as_micros() as f64 * (1.0 - kept)
            }
            (Some((latency_us, _)), None) => latency_us,
            (None, Some(seed)) => seed.as_micros() as f64,
            (None, None) => return None,
        };
        Some((latency * f64::from(state.in_flight.saturating_add(1))) as u64)
    }

    /// How it stands.
    pub(crate) fn look(&self, now_us: i64) -> TargetHealth {
        let state = self.state.lock();
        let (window_calls, window_errors) = state.window.sums(now_us);
        let resting = state.rest(now_us).1;
        let circuit = match state.circuit {
            Circuit::Closed => CircuitState::Closed,
            Circuit::Open { until_us, .. } if until_us <= now_us => CircuitState::HalfOpen,
            Circuit::Cooling { until_us, .. } if until_us <= now_us => CircuitState::Closed,
            Circuit::Open { .. } | Circuit::Cooling { .. } => CircuitState::Open,
        };
        TargetHealth {
            circuit,
            resting_because: resting.map(|(why, _)| why),
            resting_until_us: resting.map(|(_, until_us)| until_us),
            in_flight: state.in_flight,
            window_calls,
            window_errors,
            latency_us: state.latency.map(|(latency_us, _)| latency_us as u64),
        }
    }
}

impl State {
    fn open(&mut self, breaker: &Breaker, now_us: i64, why: RestReason) {
        let rest = breaker.cooldown.saturating_mul(2_u32.saturating_pow(self.openings.min(16))).min(LONGEST_REST);
        self.openings = self.openings.saturating_add(1);
        self.failures = 0;
        self.circuit = Circuit::Open { until_us: after(now_us, rest), why, is_probed: false };
    }

    fn rest(&self, now_us: i64) -> (Rest, Option<(RestReason, i64)>) {
        match self.circuit {
            Circuit::Closed => (Rest::No, None),
            Circuit::Open { until_us, why, .. } if until_us > now_us => (Rest::Failing, Some((why, until_us))),
            Circuit::Open { why, until_us, is_probed: true } => (Rest::Failing, Some((why, until_us))),
            Circuit::Open { is_probed: false, .. } => (Rest::No, None),
            Circuit::Cooling { until_us, is_stated } if until_us > now_us => {
                let rest = if is_stated { Rest::Strict } else { Rest::Failing };
                (rest, Some((RestReason::Throttled, until_us)))
            }
            Circuit::Cooling { .. } => (Rest::No, None),
        }
    }

    /// A latency above the average is taken at once, one below it little by little: a target that has become slow must not
    /// look quick for the sake of its past (Finagle's `PeakEwma`).
    fn measure(&mut self, now_us: i64, latency: Duration) {
        let sample_us = latency.as_micros() as f64;
        let next = match self.latency {
            Some((average_us, fed_us)) if sample_us < average_us => {
                let kept = kept(now_us, fed_us);
                average_us * kept + sample_us * (1.0 - kept)
            }
            _ => sample_us,
        };
        self.latency = Some((next, now_us));
    }
}

impl Permit {
    /// The right to call `target`, unless it rests and `may_force` is not set: the last resort.
    pub(crate) fn take(target: &Arc<Target>, now_us: i64, may_force: bool) -> Option<Permit> {
        let mut state = target.health.state.lock();
        let mut is_probe = false;
        if state.rest(now_us).0 != Rest::No && !may_force {
            return None;
        }
        if let Circuit::Open { until_us, is_probed, .. } = &mut state.circuit
            && *until_us <= now_us
            && !*is_probed
        {
            (*is_probed, is_probe) = (true, true);
        }
        state.in_flight = state.in_flight.saturating_add(1);
        drop(state);
        Some(Permit { target: Arc::clone(target), is_probe })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.target.health.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        // A call that was given up says nothing: the next one may try.
        if self.is_probe
            && let Circuit::Open { is_probed, .. } = &mut state.circuit
        {
            *is_probed = false;
        }
    }
}

fn after(now_us: i64, wait: Duration) -> i64 {
    now_us.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
}

/// Which part of an average fed at `fed_us` is left of it.
fn kept(now_us: i64, fed_us: i64) -> f64 {
    let elapsed_us = now_us.saturating_sub(fed_us).max(0) as f64;
    (-elapsed_us / DECAY_US).exp()
}

#[cfg(test)]
mod tests;

//! A decision and the reservation that makes it good. The bundle decides by what the books say; between that and the
//! reservation other calls go on, so the caps that the decision rests on are checked once more while the money is set aside.
//! If one has been reached meanwhile, the bundle decides again by the figures of that moment. A shared ledger is asked
//! last, and its figures decide.

use std::sync::Arc;

use tollgate_interaction::{Decision, Reason};
use tollgate_policy::decide::{Verdict, code};
use tollgate_policy::ledger::lease::Want;
use tollgate_policy::ledger::{Account, Amounts, Posting, Reading, Reservation};
use tollgate_policy::scope::Attributes;
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_policy::{Bundle, Facts, Recorded, decide};

use crate::Gateway;
use crate::settings::OnLedgerDown;
use crate::shared::{Incarnation, Shared};
use crate::signals::Standing;

/// How often a call decides anew. Each time but the last a cap was reached between decision and reservation.
const MAX_ROUNDS: usize = 8;
/// Ends of calls are carried to the shared ledger within milliseconds.
const SURELY_ENDED_US: i64 = 500_000;
/// Rule of what the gateway itself says about the shared ledger.
const SHARED: &str = "builtin/shared-ledger";
/// Code of a call that was denied because the shared ledger does not answer.
pub(crate) const LEDGER_UNAVAILABLE: &str = "ledger_unavailable";

/// What is held back for one call. Given back when it is dropped, unless it was settled.
pub(crate) struct Held {
    gateway: Arc<Gateway>,
    local: Option<Reservation>,
    /// Under which name it is held in the shared ledger as well.
    shared: Option<Incarnation>,
}

/// What became of a call's budgets.
pub(crate) struct Reserved {
    pub(crate) verdict: Verdict,
    /// The reading of the log that it rests on.
    pub(crate) signals: Arc<SignalsSnapshot>,
    /// What is held back, if the call may go ahead.
    pub(crate) held: Option<Held>,
    /// What the decision went by, for the row.
    pub(crate) readings: Recorded,
}

/// Decides a call, and holds its estimate back in every account it draws on if it may go ahead.
pub(crate) async fn decide_and_reserve(gateway: &Arc<Gateway>, bundle: &Bundle, facts: &Facts<'_>) -> Reserved {
    let accounts = bundle.accounts(facts);
    let Standing { mut readings, signals } = gateway.ledger.read(bundle, &accounts, facts.now_us);
    let facts = Facts { accounts: &accounts, signals_id: &signals.id, ..*facts };
    let (mut verdict, mut held) = reserve_here(gateway, bundle, &facts, &mut readings);
    if let Some(mine) = held.as_mut().filter(|_| !accounts.is_empty()) {
        if let Some(shared) = &gateway.shared {
            let logged_at_us = signals.taken_at_us;
            reserve_everywhere(shared, mine, bundle, &facts, logged_at_us, &mut readings, &mut verdict).await;
        } else if let Some(trouble) = gateway.ledger.waiting() {
            without(gateway.settings.on_ledger_down, &trouble, &mut verdict);
        }
        if verdict.decision == Decision::Deny {
            held = None;
        }
    }
    let readings = bundle.record_readings(&accounts, &readings);
    Reserved { verdict, signals: Arc::clone(&signals), held, readings }
}

/// Holds an amount back whatever the caps say: for copies of calls, which nobody asked for and somebody pays for.
pub(crate) fn hold(gateway: &Arc<Gateway>, attributes: &dyn Attributes, amounts: Amounts, now_us: i64) -> Held {
    let bundle = gateway.bundle();
    let accounts = bundle.accounts(attributes);
    let local = gateway.ledger.reserve(&bundle, &accounts, amounts, &[], now_us).ok();
    Held { gateway: Arc::clone(gateway), local, shared: None }
}

/// By the books of this process.
fn reserve_here(
    gateway: &Arc<Gateway>,
    bundle: &Bundle,
    facts: &Facts<'_>,
    readings: &mut Vec<Reading>,
) -> (Verdict, Option<Held>) {
    for _ in 0..MAX_ROUNDS {
        let verdict = decide(bundle, &Facts { readings, ..*facts });
        if verdict.decision == Decision::Deny {
            return (verdict, None);
        }
        match gateway.ledger.reserve(bundle, facts.accounts, facts.estimate, &verdict.caps, facts.now_us) {
            Ok(local) => {
                return (verdict, Some(Held { gateway: Arc::clone(gateway), local: Some(local), shared: None }));
            }
            Err(refused) => *readings = refused.readings,
        }
    }
    let mut verdict = decide(bundle, &Facts { readings, ..*facts });
    if verdict.decision != Decision::Deny {
        give_up(&mut verdict);
    }
    (verdict, None)
}

/// By the ledger that is shared with other processes.
async fn reserve_everywhere(
    shared: &Shared,
    held: &mut Held,
    bundle: &Bundle,
    facts: &Facts<'_>,
    logged_at_us: i64,
    readings: &mut Vec<Reading>,
    verdict: &mut Verdict,
) {
    // What the log held when it was last read, if the ends of those calls have surely reached the server: otherwise they
    // would count there twice.
    let is_old = facts.now_us.saturating_sub(logged_at_us) >= SURELY_ENDED_US;
    let floors: Vec<Amounts> =
        readings.iter().map(|reading| if is_old { reading.logged } else { Amounts::ZERO }).collect();
    for _ in 0..MAX_ROUNDS {
        let (tallies, caps) = (bundle.tallies(), &verdict.caps);
        let answer = match shared {
            Shared::Server(server) => {
                server.reserve(tallies, facts.accounts, readings, &floors, facts.estimate, caps, facts.now_us).await
            }
            Shared::Slices(slices) => {
                let want = Want {
                    accounts: facts.accounts.to_vec(),
                    floors: readings.iter().map(|reading| reading.logged).collect(),
                    amounts: facts.estimate,
                    caps: caps.clone(),
                    steps: bundle.steps(facts.accounts),
                };
                slices.reserve(tallies, want, readings, facts.now_us).await
            }
        };
        match answer {
            Ok(answer) => {
                held.shared = answer.held_as;
                *readings = answer.readings;
                *verdict = decide(bundle, &Facts { readings, ..*facts });
                if let Some(detail) = answer.note {
                    verdict.reasons.push(Reason { rule: SHARED.to_owned(), effect: "allow".to_owned(), detail });
                }
            }
            Err(trouble) => return without(shared.on_down(), &trouble, verdict),
        }
        if held.shared.is_some() || verdict.decision == Decision::Deny {
            return;
        }
    }
    give_up(verdict);
}

/// The shared ledger does not answer: denied, or by this process's own books, and the row says so.
fn without(mode: OnLedgerDown, trouble: &str, verdict: &mut Verdict) {
    if mode == OnLedgerDown::Local {
        let detail = format!("{trouble}; going by what the log and this process know (`on_ledger_down: local`)");
        verdict.reasons.push(Reason { rule: SHARED.to_owned(), effect: "allow".to_owned(), detail });
        return;
    }
    let detail = format!("{trouble}; calls that budgets or limits are about are denied (`on_ledger_down: deny`)");
    deny(verdict, SHARED, LEDGER_UNAVAILABLE, detail);
    "the ledger that the gateways share cannot be reached".clone_into(&mut verdict.message);
    "try again in a few seconds; if it lasts, tell whoever runs the gateway".clone_into(&mut verdict.hint);
    verdict.retry_after_s = Some(5);
}

/// Denies where figures change faster than they can be decided by: never in silence, and never open.
fn give_up(verdict: &mut Verdict) {
    let detail = format!("a limit was reached and freed again {MAX_ROUNDS} times while this call was decided");
    deny(verdict, "builtin/contention", code::RATE_LIMITED, detail.clone());
    verdict.message = detail;
    "try again in a second".clone_into(&mut verdict.hint);
    verdict.retry_after_s = Some(1);
}

fn deny(verdict: &mut Verdict, rule: &str, code: &'static str, detail: String) {
    verdict.reasons.push(Reason { rule: rule.to_owned(), effect: "deny".to_owned(), detail });
    verdict.decision = Decision::Deny;
    (verdict.prefer, verdict.min_quality) = (None, None);
    verdict.caps.clear();
    verdict.code = code;
}

impl Held {
    /// Turns it into what the row with sequence number `seq` used up.
    pub(crate) fn settle(mut self, seq: u64, posting: &Posting<'_>) {
        self.end_elsewhere(Some((seq, posting)));
        if let Some(local) = self.local.take() {
            self.gateway.ledger.settle(local, seq, posting);
        }
    }

    fn end_elsewhere(&mut self, used: Option<(u64, &Posting<'_>)>) {
        let (Some(shared), Some(local)) = (&self.gateway.shared, &self.local) else { return };
        let (tallies, accounts): (_, &[Account]) = local.accounts();
        let held_as = self.shared.take();
        if held_as.is_some() || used.is_some() {
            shared.end(tallies, accounts, &local.amounts(), held_as, used);
        }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("local", &self.local).field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.end_elsewhere(None);
        if let Some(local) = self.local.take() {
            self.gateway.ledger.release(local);
        }
    }
}

//! A decision and the reservation that makes it good. The bundle decides by what the books say; between that and the
//! reservation other calls go on, so the caps that the decision rests on are checked once more while the money is set aside.
//! If one has been reached meanwhile, the bundle decides again by the figures of that moment.

use std::sync::Arc;

use tollgate_interaction::{Decision, Reason};
use tollgate_policy::decide::{Verdict, code};
use tollgate_policy::ledger::Reservation;
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_policy::{Bundle, Facts, Recorded, decide};

use crate::signals::{SpendLedger, Standing};

/// How often a call decides anew. Each time but the last a cap was reached between decision and reservation.
const MAX_ROUNDS: usize = 8;

/// What became of a call's budgets.
pub(crate) struct Reserved {
    pub(crate) verdict: Verdict,
    /// The reading of the log that it rests on.
    pub(crate) signals: Arc<SignalsSnapshot>,
    /// What is held back, if the call may go ahead.
    pub(crate) reservation: Option<Reservation>,
    /// What the decision went by, for the row.
    pub(crate) readings: Recorded,
}

/// Decides a call, and holds its estimate back in every account it draws on if it may go ahead.
pub(crate) fn decide_and_reserve(ledger: &SpendLedger, bundle: &Bundle, facts: &Facts<'_>) -> Reserved {
    let accounts = bundle.accounts(facts);
    let Standing { mut readings, signals } = ledger.read(bundle, &accounts, facts.now_us);
    let mut rounds = 0;
    let (verdict, reservation) = loop {
        let facts = Facts { accounts: &accounts, readings: &readings, signals_id: &signals.id, ..*facts };
        let mut verdict = decide(bundle, &facts);
        if verdict.decision == Decision::Deny {
            break (verdict, None);
        }
        match ledger.reserve(bundle, &accounts, facts.estimate, &verdict.caps, facts.now_us) {
            Ok(reservation) => break (verdict, Some(reservation)),
            Err(refused) if rounds < MAX_ROUNDS => readings = refused.readings,
            Err(_) => {
                give_up(&mut verdict);
                break (verdict, None);
            }
        }
        rounds += 1;
    };
    let readings = bundle.record_readings(&accounts, &readings);
    Reserved { verdict, signals, reservation, readings }
}

/// Denies where figures change faster than they can be decided by: never in silence, and never open.
fn give_up(verdict: &mut Verdict) {
    let detail = format!("a limit was reached and freed again {MAX_ROUNDS} times while this call was decided");
    verdict.reasons.push(Reason {
        rule: "builtin/contention".to_owned(),
        effect: "deny".to_owned(),
        detail: detail.clone(),
    });
    verdict.decision = Decision::Deny;
    verdict.prefer = None;
    verdict.code = code::RATE_LIMITED;
    verdict.message = detail;
    "try again in a second".clone_into(&mut verdict.hint);
    verdict.retry_after_s = Some(1);
}

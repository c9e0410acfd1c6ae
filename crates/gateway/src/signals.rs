//! What scopes have spent, to the last call: [`tollgate_policy::ledger::Books`] behind a lock, which take up the latest
//! reading of the log and the tallies of the active bundle before they say anything. A call in flight holds a reservation
//! of what it may cost, so that many calls at once cannot overrun a budget that each alone would keep.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tollgate_policy::Bundle;
use tollgate_policy::ledger::lease::{Holder, LeaseAnswer, LeaseRequest, UnknownSession};
use tollgate_policy::ledger::{Account, Amounts, Books, Cap, Posting, Reading, Refused, Reservation, Tally};
use tollgate_policy::signals::SignalsSnapshot;

/// The books of this process.
#[derive(Debug)]
pub(crate) struct SpendLedger {
    snapshots: Arc<ArcSwap<SignalsSnapshot>>,
    books: Mutex<Books>,
    /// Terms of what is lent are measured from here.
    started: Instant,
}

/// What the books say at the start of a call.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// Of each account asked for.
    pub(crate) readings: Vec<Reading>,
    /// The reading of the log that they rest on.
    pub(crate) signals: Arc<SignalsSnapshot>,
}

impl SpendLedger {
    /// Books of the log at `position` (`writer/epoch`).
    pub(crate) fn new(position: String, snapshots: Arc<ArcSwap<SignalsSnapshot>>) -> Self {
        let mut books = Books::new(position);
        books.advance(&snapshots.load());
        SpendLedger { snapshots, books: Mutex::new(books), started: Instant::now() }
    }

    /// What the books say of accounts of `bundle`.
    pub(crate) fn read(&self, bundle: &Bundle, accounts: &[Account], now_us: i64) -> Standing {
        let books = self.books(bundle.tallies());
        Standing { readings: books.read(accounts, now_us), signals: Arc::clone(books.base()) }
    }

    /// What the books say of one account.
    pub(crate) fn reading_of(&self, bundle: &Bundle, tally: &Tally, scope: &str, now_us: i64) -> Reading {
        self.books(bundle.tallies()).reading_of(tally, scope, now_us)
    }

    /// Every account of the tallies of `bundle` that is known of.
    pub(crate) fn accounts(&self, bundle: &Bundle) -> Vec<Account> {
        let books = self.books(bundle.tallies());
        let of_tally = |(place, tally): (usize, &Tally)| {
            let scopes = books.scopes(tally);
            scopes.into_iter().map(move |scope| Account { tally: place, scope })
        };
        bundle.tallies().iter().enumerate().flat_map(of_tally).collect()
    }

    /// The latest snapshot there is.
    pub(crate) fn latest(&self) -> Arc<SignalsSnapshot> {
        self.snapshots.load_full()
    }

    /// Holds `amounts` back in every account as long as all caps hold: of two calls at the same moment one sees the other's
    /// reservation.
    ///
    /// # Errors
    /// [`Refused`] if a cap does not hold any more.
    pub(crate) fn reserve(
        &self,
        bundle: &Bundle,
        accounts: &[Account],
        amounts: Amounts,
        caps: &[Cap],
        now_us: i64,
    ) -> Result<Reservation, Refused> {
        self.books(bundle.tallies()).reserve(accounts, amounts, caps, now_us)
    }

    /// Gives a reservation back without a cost: there is no row, or none that counts.
    pub(crate) fn release(&self, reservation: Reservation) {
        self.books.lock().release(reservation);
    }

    /// Turns a reservation into what the row with sequence number `seq` used up.
    pub(crate) fn settle(&self, reservation: Reservation, seq: u64, posting: &Posting<'_>) {
        self.books.lock().settle(reservation, seq, posting);
    }

    /// Lends slices to another gateway.
    ///
    /// # Errors
    /// [`UnknownSession`] if that gateway has to open another.
    pub(crate) fn lend(
        &self,
        bundle: &Bundle,
        request: &LeaseRequest,
        now_us: i64,
    ) -> Result<LeaseAnswer, UnknownSession> {
        self.books(bundle.tallies()).lease(request, now_us, self.uptime_us())
    }

    /// Who holds slices.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        let mut books = self.books.lock();
        books.reclaim(self.uptime_us());
        books.holders()
    }

    /// Waits for those who were lent something before this process started.
    pub(crate) fn await_holders(&self, positions: Vec<String>) {
        self.books.lock().await_holders(positions, self.uptime_us());
    }

    /// Why nothing can be decided at the moment: it is not known what is lent.
    pub(crate) fn waiting(&self) -> Option<String> {
        let mut books = self.books.lock();
        books.reclaim(self.uptime_us());
        books.waiting(self.uptime_us())
    }

    fn uptime_us(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    fn books(&self, tallies: &Arc<[Tally]>) -> parking_lot::MutexGuard<'_, Books> {
        let latest = self.snapshots.load();
        let mut books = self.books.lock();
        books.follow(tallies);
        books.reclaim(self.uptime_us());
        if !books.advance(&latest) {
            let (new, old) = (&latest.id, &books.base().id);
            tracing::warn!(signals.id = %new, "signals snapshot `{new}` counts less of this log than `{old}` did: not used");
        }
        books
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use tollgate_interaction::Usd;
    use tollgate_policy::ledger::{Sums, Unit};
    use tollgate_policy::scope::{Attributes, Dimension};

    /// 2026-11-23T16:00:00Z.
    const NOW_US: i64 = 1_795_449_600_000_000;

    struct Kyc;

    impl Attributes for Kyc {
        fn value(&self, dimension: &Dimension) -> Option<&str> {
            (*dimension == Dimension::Team).then_some("kyc")
        }
    }

    fn one() -> Posting<'static> {
        Posting { at_us: NOW_US, attributes: &Kyc, amounts: Amounts { usd: Usd::new(1), ..Amounts::ZERO } }
    }

    fn snapshot(bundle: &Bundle, round: usize, counted: usize) -> Arc<SignalsSnapshot> {
        let mut budgets = Sums::of(bundle.tallies());
        (0..counted).for_each(|_| budgets.apply(bundle.tallies(), &one()));
        Arc::new(SignalsSnapshot {
            id: format!("s{round}"),
            taken_at_us: NOW_US,
            watermarks: BTreeMap::from([("w/1".into(), counted as u64)]),
            budgets,
            ..SignalsSnapshot::default()
        })
    }

    /// Threads settle while readings that really count the rows appear: the sum seen never falls below what has been
    /// settled, and ends exactly at it.
    #[test]
    fn the_sum_is_exact_when_readings_race_with_calls() {
        let bundle = tollgate_policy::bundle::builtin_default().unwrap();
        let accounts = bundle.accounts(&Kyc);
        let snapshots = Arc::new(ArcSwap::new(snapshot(&bundle, 0, 0)));
        let ledger = SpendLedger::new("w/1".into(), Arc::clone(&snapshots));
        let spent = || ledger.read(&bundle, &accounts, NOW_US).readings[0].used(Unit::Usd);
        let rows = Mutex::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let held = ledger.reserve(&bundle, &accounts, one().amounts, &[], NOW_US).unwrap();
                        let seq = {
                            let mut rows = rows.lock();
                            *rows += 1;
                            *rows
                        };
                        ledger.settle(held, seq, &one());
                    }
                });
            }
            scope.spawn(|| {
                for round in 0..200 {
                    let counted = *rows.lock();
                    snapshots.store(snapshot(&bundle, round, usize::try_from(counted).unwrap()));
                    let seen = spent();
                    assert!(seen >= i128::from(counted), "{seen} < {counted}");
                    std::thread::yield_now();
                }
            });
        });
        assert_eq!(spent(), 4_000);
    }
}

//! What a team has spent, to the last call: the signals snapshot plus what this process settled since. Nothing is counted
//! twice and nothing is missed, whatever the moment at which a new snapshot arrives: a settled call carries its sequence
//! number, a snapshot says up to which number of this log it has counted, and both are compared under one lock.
//!
//! A call in flight holds a reservation of what it may cost, so that many calls at once cannot overrun a budget that each
//! alone would keep. For the instant between the append of a row and [`SpendLedger::settle`] a snapshot may hold the row
//! while its reservation still stands: the sum is then too high by one estimate, never too low.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tollgate_interaction::Usd;
use tollgate_policy::Spend;
use tollgate_policy::signals::{SignalsSnapshot, month_of, month_start_us};

/// Settled calls remembered one by one per team. Beyond that, neighbours are merged: they then count until a snapshot has
/// passed the later one, which errs on the high side.
const MAX_ENTRIES: usize = 65_536;

/// Costs this process knows of and the signals snapshot may not.
#[derive(Debug)]
pub(crate) struct SpendLedger {
    /// `writer/epoch` of this process's log.
    position: String,
    snapshots: Arc<ArcSwap<SignalsSnapshot>>,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    /// The snapshot that the teams' entries are relative to.
    base: Arc<SignalsSnapshot>,
    /// How much of this log `base` holds.
    watermark: u64,
    /// The calendar month (UTC) that sums are for.
    month: Month,
    teams: HashMap<String, Team>,
}

#[derive(Clone, Copy, Debug)]
struct Month {
    first_us: i64,
    next_us: i64,
    /// Whether the base is about this month.
    in_base: bool,
}

#[derive(Debug, Default)]
struct Team {
    /// Of calls settled after the watermark.
    settled: Vec<Entry>,
    /// Of those, the cost of the ones that started this month.
    settled_this_month: Usd,
    reserved: Usd,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    /// Decides the month it is filed under, as in the lake.
    started_at_us: i64,
    cost: Usd,
}

/// What the ledger says at the start of a call.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// Known spend of the team, without the call's own reservation; `None` if no snapshot was ever taken.
    pub(crate) spend: Option<Spend>,
    /// The snapshot it rests on.
    pub(crate) signals: Arc<SignalsSnapshot>,
}

impl SpendLedger {
    pub(crate) fn new(position: String, snapshots: Arc<ArcSwap<SignalsSnapshot>>) -> Self {
        let base = snapshots.load_full();
        let watermark = watermark(&base, &position);
        let month = Month { first_us: 0, next_us: 0, in_base: false };
        SpendLedger { position, snapshots, books: Mutex::new(Books { base, watermark, month, teams: HashMap::new() }) }
    }

    /// Reserves `estimate` for a call of `team` and says what the team had spent before it, in one step: of two calls at
    /// the same moment one sees the other's reservation.
    pub(crate) fn reserve(&self, team: &str, estimate: Usd, now_us: i64) -> Standing {
        let mut books = self.books.lock();
        self.advance(&mut books, now_us);
        let standing = books.standing(team, now_us);
        match books.teams.get_mut(team) {
            Some(known) => known.reserved += estimate,
            None => {
                books.teams.insert(team.to_owned(), Team { reserved: estimate, ..Team::default() });
            }
        }
        standing
    }

    /// What the team has spent, reservations included.
    pub(crate) fn standing(&self, team: &str, now_us: i64) -> Standing {
        let mut books = self.books.lock();
        self.advance(&mut books, now_us);
        books.standing(team, now_us)
    }

    /// The latest snapshot there is.
    pub(crate) fn latest(&self) -> Arc<SignalsSnapshot> {
        self.snapshots.load_full()
    }

    /// Gives a reservation back without a cost: the call never reached a provider, or its cost is unknown.
    pub(crate) fn release(&self, team: &str, estimate: Usd) {
        if let Some(team) = self.books.lock().teams.get_mut(team) {
            team.reserved = team.reserved - estimate;
        }
    }

    /// Turns a reservation into the cost of the row with sequence number `seq`, of a call that began at `started_at_us`.
    pub(crate) fn settle(&self, team: &str, estimate: Usd, seq: u64, started_at_us: i64, cost: Usd) {
        let mut books = self.books.lock();
        let is_new = seq > books.watermark && cost != Usd::ZERO;
        let month = books.month;
        if !books.teams.contains_key(team) {
            books.teams.insert(team.to_owned(), Team::default());
        }
        let Some(team) = books.teams.get_mut(team) else { return };
        team.reserved = team.reserved - estimate;
        if is_new {
            team.settled.push(Entry { seq, started_at_us, cost });
            if month.holds(started_at_us) {
                team.settled_this_month += cost;
            }
        }
        if team.settled.len() > MAX_ENTRIES {
            team.merge_neighbours();
        }
    }

    /// Takes up the latest snapshot and the present month, and forgets what the snapshot has counted. A snapshot that has
    /// counted less of this log than the one before it is left alone: what was forgotten would be missed.
    fn advance(&self, books: &mut Books, now_us: i64) {
        let latest = self.snapshots.load();
        let is_same = Arc::ptr_eq(&latest, &books.base);
        if is_same && books.month.holds(now_us) {
            return;
        }
        let watermark = watermark(&latest, &self.position);
        if watermark >= books.watermark {
            books.base = Arc::clone(&latest);
            books.watermark = watermark;
        } else if !is_same {
            let (new, old) = (&latest.id, &books.base.id);
            tracing::warn!(signals.id = %new, "signals snapshot `{new}` counts less of this log than `{old}` did: not used");
        }
        books.month = Month::of(now_us, &books.base);
        let (month, watermark) = (books.month, books.watermark);
        for team in books.teams.values_mut() {
            team.settled.retain(|entry| entry.seq > watermark);
            let this_month = team.settled.iter().filter(|entry| month.holds(entry.started_at_us));
            team.settled_this_month = this_month.map(|entry| entry.cost).sum();
        }
        books.teams.retain(|_, team| !team.settled.is_empty() || team.reserved != Usd::ZERO);
    }
}

impl Books {
    fn standing(&self, team: &str, now_us: i64) -> Standing {
        let signals = Arc::clone(&self.base);
        if signals.id.is_empty() {
            return Standing { spend: None, signals };
        }
        let counted = self.base.team_spend.get(team).filter(|_| self.month.in_base).copied().unwrap_or(Usd::ZERO);
        let since = self.teams.get(team).map_or(Usd::ZERO, |team| team.settled_this_month + team.reserved);
        let spend = Spend { month_to_date: counted + since, age_s: self.base.age_s(now_us) };
        Standing { spend: Some(spend), signals }
    }
}

impl Month {
    fn of(now_us: i64, base: &SignalsSnapshot) -> Month {
        const THIRTY_TWO_DAYS_US: i64 = 32 * 86_400_000_000;
        let first_us = month_start_us(now_us);
        let next_us = month_start_us(first_us.saturating_add(THIRTY_TWO_DAYS_US));
        Month { first_us, next_us, in_base: base.month == month_of(now_us) }
    }

    fn holds(&self, time_us: i64) -> bool {
        (self.first_us..self.next_us).contains(&time_us)
    }
}

impl Team {
    fn merge_neighbours(&mut self) {
        self.settled.sort_unstable_by_key(|entry| entry.seq);
        let merged = self.settled.chunks(2).filter_map(|pair| {
            let last = pair.last()?;
            Some(Entry { cost: pair.iter().map(|entry| entry.cost).sum(), ..*last })
        });
        self.settled = merged.collect();
    }
}

fn watermark(snapshot: &SignalsSnapshot, position: &str) -> u64 {
    snapshot.watermarks.get(position).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// 2026-11-23T16:00:00Z.
    const NOW_US: i64 = 1_795_449_600_000_000;
    /// 2026-12-01T00:00:00Z.
    const DECEMBER_US: i64 = 1_796_083_200_000_000;

    fn snapshot(id: &str, dollars: i64, watermark: u64) -> SignalsSnapshot {
        SignalsSnapshot {
            id: id.into(),
            taken_at_us: NOW_US,
            month: "2026-11".into(),
            team_spend: BTreeMap::from([("kyc".into(), Usd::from_dollars(dollars))]),
            watermarks: BTreeMap::from([("w/1".into(), watermark)]),
            ..SignalsSnapshot::default()
        }
    }

    fn ledger(first: SignalsSnapshot) -> (SpendLedger, Arc<ArcSwap<SignalsSnapshot>>) {
        let snapshots = Arc::new(ArcSwap::from_pointee(first));
        (SpendLedger::new("w/1".into(), Arc::clone(&snapshots)), snapshots)
    }

    fn spent(ledger: &SpendLedger) -> Usd {
        ledger.standing("kyc", NOW_US).spend.unwrap().month_to_date
    }

    fn call(ledger: &SpendLedger, seq: u64, dollars: i64) {
        ledger.reserve("kyc", Usd::from_dollars(9), NOW_US);
        ledger.settle("kyc", Usd::from_dollars(9), seq, NOW_US, Usd::from_dollars(dollars));
    }

    #[test]
    fn settled_calls_count_until_a_snapshot_holds_them() {
        let (ledger, snapshots) = ledger(snapshot("a", 10, 5));
        call(&ledger, 6, 1);
        call(&ledger, 7, 2);
        assert_eq!(spent(&ledger), Usd::from_dollars(13));
        snapshots.store(Arc::new(snapshot("b", 11, 6)));
        assert_eq!(spent(&ledger), Usd::from_dollars(13));
        snapshots.store(Arc::new(snapshot("c", 13, 7)));
        assert_eq!(spent(&ledger), Usd::from_dollars(13));
    }

    #[test]
    fn a_row_that_a_snapshot_holds_before_the_ledger_hears_of_it_counts_once() {
        let (ledger, snapshots) = ledger(snapshot("a", 10, 5));
        ledger.reserve("kyc", Usd::from_dollars(9), NOW_US);
        snapshots.store(Arc::new(snapshot("b", 11, 6)));
        assert_eq!(spent(&ledger), Usd::from_dollars(20));
        ledger.settle("kyc", Usd::from_dollars(9), 6, NOW_US, Usd::from_dollars(1));
        assert_eq!(spent(&ledger), Usd::from_dollars(11));
    }

    #[test]
    fn rows_that_settle_out_of_order_are_neither_lost_nor_doubled() {
        let (ledger, snapshots) = ledger(snapshot("a", 0, 0));
        call(&ledger, 8, 4);
        call(&ledger, 7, 2);
        call(&ledger, 9, 1);
        snapshots.store(Arc::new(snapshot("b", 6, 8)));
        assert_eq!(spent(&ledger), Usd::from_dollars(7));
    }

    #[test]
    fn a_snapshot_that_has_counted_less_is_not_used() {
        let (ledger, snapshots) = ledger(snapshot("a", 10, 7));
        assert_eq!(spent(&ledger), Usd::from_dollars(10));
        snapshots.store(Arc::new(snapshot("b", 8, 6)));
        assert_eq!(spent(&ledger), Usd::from_dollars(10));
        assert_eq!(ledger.standing("kyc", NOW_US).signals.id, "a");
    }

    #[test]
    fn a_call_sees_the_reservations_of_others_but_not_its_own() {
        let (ledger, _) = ledger(snapshot("a", 10, 5));
        let first = ledger.reserve("kyc", Usd::from_dollars(3), NOW_US).spend.unwrap();
        let second = ledger.reserve("kyc", Usd::from_dollars(3), NOW_US).spend.unwrap();
        assert_eq!((first.month_to_date, second.month_to_date), (Usd::from_dollars(10), Usd::from_dollars(13)));
        ledger.release("kyc", Usd::from_dollars(3));
        assert_eq!(spent(&ledger), Usd::from_dollars(13));
    }

    #[test]
    fn a_new_month_starts_at_what_was_started_in_it() {
        let (ledger, _) = ledger(snapshot("a", 10, 5));
        call(&ledger, 6, 1);
        ledger.reserve("kyc", Usd::ZERO, DECEMBER_US);
        ledger.settle("kyc", Usd::ZERO, 7, DECEMBER_US, Usd::from_dollars(2));
        let december = ledger.standing("kyc", DECEMBER_US + 1).spend.unwrap();
        assert_eq!(december.month_to_date, Usd::from_dollars(2));
    }

    #[test]
    fn without_a_snapshot_nothing_is_known() {
        let (ledger, _) = ledger(SignalsSnapshot::default());
        assert_eq!(ledger.reserve("kyc", Usd::ZERO, NOW_US).spend, None);
    }

    #[test]
    fn merging_neighbours_keeps_the_sum() {
        let (ledger, snapshots) = ledger(snapshot("a", 0, 0));
        ledger.reserve("kyc", Usd::ZERO, NOW_US);
        let calls = MAX_ENTRIES as u64 + 2;
        (1..=calls).for_each(|seq| ledger.settle("kyc", Usd::ZERO, seq, NOW_US, Usd::new(1)));
        assert_eq!(spent(&ledger), Usd::new(i128::from(calls)));
        snapshots.store(Arc::new(snapshot("b", 0, calls)));
        assert_eq!(spent(&ledger), Usd::ZERO);
    }

    /// Threads settle while snapshots that really count the rows appear: the sum seen never falls below what has been
    /// settled, and ends exactly at it.
    #[test]
    fn the_sum_is_exact_when_snapshots_race_with_calls() {
        let (ledger, snapshots) = ledger(snapshot("s0", 0, 0));
        let next_seq = std::sync::atomic::AtomicU64::new(1);
        let rows = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        ledger.reserve("kyc", Usd::new(1), NOW_US);
                        let seq = {
                            let mut rows = rows.lock();
                            let seq = next_seq.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            rows.push(seq);
                            seq
                        };
                        ledger.settle("kyc", Usd::new(1), seq, NOW_US, Usd::new(1));
                    }
                });
            }
            scope.spawn(|| {
                for round in 0..200 {
                    let counted = rows.lock().len();
                    let mut taken = snapshot(&format!("s{round}"), 0, counted as u64);
                    taken.team_spend.insert("kyc".into(), Usd::new(counted as i128));
                    snapshots.store(Arc::new(taken));
                    let seen = spent(&ledger);
                    assert!(seen >= Usd::new(counted as i128), "{seen} < {counted}");
                    std::thread::yield_now();
                }
            });
        });
        assert_eq!(spent(&ledger), Usd::new(4_000));
    }
}

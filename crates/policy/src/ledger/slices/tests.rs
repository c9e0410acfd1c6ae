//! Gateways that spend from slices, a process that lends them, and messages that are lost on either way: whatever the order, all
//! together stay under the cap, and in the end the books hold what was spent.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;
use proptest::prelude::*;
use tollgate_interaction::Usd;

use super::*;
use crate::ledger::lease::{ALLOWANCE_MS, TERM_MS, UnknownSession};
use crate::ledger::{Books, Sums, Unit};
use crate::scope::{Attributes, Dimension};
use crate::signals::SignalsSnapshot;
use crate::window::{Period, Window};

/// 2026-11-23T16:00:00Z.
const NOW_US: i64 = 1_795_449_600_000_000;
/// 2026-12-01T00:00:00Z.
const DECEMBER_US: i64 = 1_796_083_200_000_000;
const GATEWAYS: usize = 3;
const CAP: i64 = 40;

struct Kyc;

impl Attributes for Kyc {
    fn value(&self, dimension: &Dimension) -> Option<&str> {
        (*dimension == Dimension::Team).then_some("kyc")
    }
}

fn tallies() -> Arc<[Tally]> {
    Arc::new([
        Tally::new(vec![Dimension::Team], Window::Calendar { per: Period::Month, zone: Tz::UTC }),
        Tally::new(vec![Dimension::Team], Window::InFlight),
        Tally::new(vec![Dimension::Team], Window::Rolling { length_s: 3_600 }),
    ])
}

fn accounts() -> Vec<Account> {
    (0..3).map(|tally| Account { tally, scope: "kyc".to_owned() }).collect()
}

fn dollars(dollars: i64) -> Amounts {
    Amounts { usd: Usd::from_dollars(dollars), tokens: 0, calls: 1 }
}

fn cap(account: usize, unit: Unit, ceiling: i128) -> Cap {
    Cap { account, unit, ceiling, fits: true }
}

fn caps() -> Vec<Cap> {
    let usd = Usd::from_dollars(CAP).get();
    vec![cap(0, Unit::Usd, usd), cap(1, Unit::Concurrency, 12), cap(2, Unit::Calls, 30)]
}

struct World {
    books: Books,
    uptime_us: i64,
    gateways: Vec<Slices>,
    /// Estimates of calls in flight, by gateway.
    flying: Vec<Vec<Amounts>>,
    /// Rows of each gateway: what they used up.
    rows: Vec<Vec<Amounts>>,
    rounds: usize,
}

impl World {
    fn new() -> World {
        let mut books = Books::new("lender/1".into());
        books.follow(&tallies());
        let mut world = World {
            books,
            uptime_us: 0,
            gateways: (0..GATEWAYS).map(|at| Slices::new(format!("g{at}/1"))).collect(),
            flying: vec![Vec::new(); GATEWAYS],
            rows: vec![Vec::new(); GATEWAYS],
            rounds: 0,
        };
        world.read_log();
        world
    }

    /// The log has counted every row.
    fn read_log(&mut self) {
        self.rounds += 1;
        let mut budgets = Sums::of(&tallies());
        for amounts in self.rows.iter().flatten() {
            budgets.apply(&tallies(), &Posting { at_us: NOW_US, attributes: &Kyc, amounts: *amounts });
        }
        let watermarks: BTreeMap<String, u64> =
            (0..GATEWAYS).map(|at| (format!("g{at}/1"), self.rows[at].len() as u64)).collect();
        let id = format!("s{}", self.rounds);
        let latest = SignalsSnapshot { id, taken_at_us: NOW_US, watermarks, budgets, ..SignalsSnapshot::default() };
        assert!(self.books.advance(&Arc::new(latest)));
    }

    fn take(&mut self, at: usize, amounts: Amounts) -> bool {
        let took = self.gateways[at].take(&tallies(), &accounts(), amounts, &caps(), NOW_US).is_some();
        if took {
            self.flying[at].push(amounts);
        }
        took
    }

    /// What is granted to a call whose caller has gone is given back.
    fn exchange(&mut self, at: usize, wanted: Option<Amounts>, is_round: bool, fate: Fate) {
        let want = |amounts| Want {
            accounts: accounts(),
            floors: vec![Amounts::ZERO; 3],
            amounts,
            caps: caps(),
            steps: caps(),
        };
        let again = self.gateways[at].pending();
        let is_again = again.is_some();
        let request = match again {
            Some(request) => request,
            None => self.gateways[at].request(&tallies(), wanted.map(want).into_iter().collect(), is_round),
        };
        if fate == Fate::RequestLost {
            return;
        }
        let answer = self.books.lease(&request, NOW_US, self.uptime_us);
        if fate == Fate::AnswerLost {
            return;
        }
        match answer {
            Ok(answer) => {
                for grant in self.gateways[at].accept(&answer, NOW_US).into_iter().flatten() {
                    let amounts = request.wants[0].amounts;
                    if grant.times == 0 {
                        continue;
                    }
                    if is_again {
                        self.gateways[at].end(&tallies(), &accounts(), &amounts, None);
                    } else {
                        self.flying[at].push(amounts);
                    }
                }
            }
            Err(UnknownSession) => self.gateways[at].begin_anew(true),
        }
    }

    fn end(&mut self, at: usize, actual: Option<i64>) {
        let Some(held) = self.flying[at].pop() else { return };
        let actual = actual.map(|actual| dollars(actual.min(held.usd.get() as i64 / 1_000_000_000_000)));
        if let Some(amounts) = actual {
            self.rows[at].push(amounts);
        }
        let posting = actual.map(|amounts| Posting { at_us: NOW_US, attributes: &Kyc, amounts });
        let seq = self.rows[at].len() as u64;
        self.gateways[at].end(&tallies(), &accounts(), &held, posting.as_ref().map(|posting| (seq, posting)));
    }

    fn sum(&self) -> (Amounts, Amounts) {
        let (mut spent, mut flying) = (Amounts::ZERO, Amounts::ZERO);
        self.rows.iter().flatten().for_each(|amounts| spent += *amounts);
        self.flying.iter().flatten().for_each(|amounts| flying += *amounts);
        (spent, flying)
    }

    fn check(&self) {
        let (spent, flying) = self.sum();
        assert!(spent.usd + flying.usd <= Usd::from_dollars(CAP), "{spent:?} {flying:?}");
        assert!(flying.calls <= 12, "{flying:?}");
        assert!(spent.calls + flying.calls <= 30, "{spent:?} {flying:?}");
        let reading = self.books.reading_of(&tallies()[0], "kyc", NOW_US);
        // What a gateway has not said it spent still counts as lent to it.
        assert!(
            reading.used(Unit::Usd) >= (spent.usd + flying.usd).get() || self.books.waiting(0).is_some(),
            "{reading:?}"
        );
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    RequestLost,
    AnswerLost,
}

#[derive(Clone, Debug)]
enum Event {
    Call {
        at: usize,
        dollars: i64,
        fate: Fate,
    },
    End {
        at: usize,
        actual: Option<i64>,
    },
    Round {
        at: usize,
        fate: Fate,
    },
    ReadLog,
    /// The lender has lost all it knew and waits for everybody before it lends.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let fate = || prop_oneof![6 => Just(Fate::Arrives), 1 => Just(Fate::RequestLost), 1 => Just(Fate::AnswerLost)];
    prop_oneof![
        6 => (0..GATEWAYS, 1..4_i64, fate()).prop_map(|(at, dollars, fate)| Event::Call { at, dollars, fate }),
        4 => (0..GATEWAYS, prop::option::of(0..4_i64)).prop_map(|(at, actual)| Event::End { at, actual }),
        2 => (0..GATEWAYS, fate()).prop_map(|(at, fate)| Event::Round { at, fate }),
        1 => Just(Event::ReadLog),
        1 => Just(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn all_gateways_together_stay_under_every_cap(events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        for event in events {
            match event {
                Event::Call { at, dollars: amount, fate } => {
                    if !world.take(at, dollars(amount)) {
                        world.exchange(at, Some(dollars(amount)), false, fate);
                    }
                }
                Event::End { at, actual } => world.end(at, actual),
                Event::Round { at, fate } => world.exchange(at, None, true, fate),
                Event::ReadLog => world.read_log(),
                Event::Restart => {
                    let holders: Vec<String> =
                        world.books.holders().into_iter().map(|holder| holder.position).collect();
                    world.books = Books::new("lender/2".into());
                    world.books.follow(&tallies());
                    world.books.await_holders(holders, world.uptime_us);
                    world.read_log();
                }
            }
            world.check();
        }
        // All calls end, everybody gives back what is idle, and the log is read.
        for at in 0..GATEWAYS {
            while !world.flying[at].is_empty() {
                world.end(at, Some(1));
            }
            for _ in 0..6 {
                world.exchange(at, None, true, Fate::Arrives);
            }
        }
        world.read_log();
        let (spent, _) = world.sum();
        for tally in [0, 2] {
            let reading = world.books.reading_of(&tallies()[tally], "kyc", NOW_US);
            prop_assert_eq!((reading.settled, reading.reserved), (spent, Amounts::ZERO));
        }
        prop_assert!(world.gateways.iter().all(Slices::is_empty));
    }
}

fn asks(world: &mut World, at: usize, amount: i64) -> bool {
    let before = world.flying[at].len();
    if !world.take(at, dollars(amount)) {
        world.exchange(at, Some(dollars(amount)), false, Fate::Arrives);
        // A session that was lost is opened in the second exchange.
        if world.flying[at].len() == before && world.gateways[at].pending().is_none() && world.gateways[at].number == 0
        {
            world.exchange(at, Some(dollars(amount)), false, Fate::Arrives);
        }
    }
    world.flying[at].len() > before
}

#[test]
fn a_slice_serves_further_calls_without_asking_and_leaves_room_for_others() {
    let mut world = World::new();
    assert!(asks(&mut world, 0, 1));
    // Of 12 calls at once, half, divided by this gateway and the lender.
    assert!(world.take(0, dollars(1)) && world.take(0, dollars(1)));
    assert!(!world.take(0, dollars(1)), "the slice is used up");
    assert!(asks(&mut world, 1, 1));
    let reading = world.books.reading_of(&tallies()[0], "kyc", NOW_US);
    assert!(reading.reserved.usd < Usd::from_dollars(CAP / 2), "{reading:?}");
}

#[test]
fn a_cap_smaller_than_the_number_of_gateways_is_kept_by_single_calls() {
    let mut world = World::new();
    let two = vec![cap(0, Unit::Calls, 2)];
    let mut served = 0;
    for at in 0..GATEWAYS {
        let want = Want {
            accounts: accounts(),
            floors: Vec::new(),
            amounts: dollars(1),
            caps: two.clone(),
            steps: two.clone(),
        };
        let request = world.gateways[at].request(&tallies(), vec![want], false);
        let answer = world.books.lease(&request, NOW_US, 0).unwrap();
        assert!(answer.grants[0].times <= 1);
        served += answer.grants[0].times;
    }
    assert_eq!(served, 2);
}

#[test]
fn the_slices_of_a_gateway_that_is_gone_come_back_after_the_term_and_what_it_had_said_stays() {
    let mut world = World::new();
    assert!(asks(&mut world, 0, 3));
    assert!(asks(&mut world, 0, 3));
    world.end(0, Some(2));
    world.exchange(0, None, false, Fate::Arrives);
    let used = |world: &World| world.books.reading_of(&tallies()[0], "kyc", NOW_US);
    assert!(used(&world).reserved.usd > Usd::ZERO);
    world.uptime_us = (TERM_MS + ALLOWANCE_MS) as i64 * 1_000 - 1;
    world.books.reclaim(world.uptime_us);
    assert!(used(&world).reserved.usd > Usd::ZERO, "a moment too early");
    world.uptime_us += 1;
    world.books.reclaim(world.uptime_us);
    assert_eq!(used(&world).reserved, Amounts::ZERO);
    assert_eq!(used(&world).settled.usd, Usd::from_dollars(2));
    assert!(world.books.holders().is_empty());
}

#[test]
fn a_lender_that_has_restarted_lends_nothing_until_it_knows_what_is_lent() {
    let mut world = World::new();
    assert!(asks(&mut world, 0, 3) && asks(&mut world, 1, 3));
    world.books = Books::new("lender/2".into());
    world.books.follow(&tallies());
    world.read_log();
    world.books.await_holders(["g0/1".to_owned(), "g1/1".to_owned()], 0);
    assert!(world.books.waiting(0).unwrap().contains("g0/1, g1/1"));
    let before = world.flying[0].len();
    // The session is not known any more; the next exchange opens another.
    world.exchange(0, Some(dollars(3)), false, Fate::Arrives);
    world.exchange(0, Some(dollars(3)), false, Fate::Arrives);
    assert_eq!(world.flying[0].len(), before, "nothing is lent");
    assert!(world.books.waiting(0).unwrap().contains("before this process started, and g1/1 has not"));
    world.exchange(1, None, false, Fate::Arrives);
    world.exchange(1, None, false, Fate::Arrives);
    assert_eq!(world.books.waiting(0), None);
    // Both hold what they held.
    let reading = world.books.reading_of(&tallies()[0], "kyc", NOW_US);
    assert!(reading.reserved.usd >= Usd::from_dollars(6), "{reading:?}");
}

#[test]
fn a_slice_of_last_month_says_nothing_about_this_one() {
    let mut world = World::new();
    assert!(asks(&mut world, 0, 1));
    let take = |world: &mut World, now_us| world.gateways[0].take(&tallies(), &accounts(), dollars(1), &caps(), now_us);
    assert!(take(&mut world, DECEMBER_US).is_none(), "the lender is asked how December stands");
    assert!(take(&mut world, NOW_US).is_some());
}

#[test]
fn a_call_that_costs_more_than_its_estimate_is_entered_in_full() {
    let mut world = World::new();
    assert!(asks(&mut world, 0, 1));
    let held = world.flying[0].pop().unwrap();
    world.rows[0].push(dollars(5));
    let posting = Posting { at_us: NOW_US, attributes: &Kyc, amounts: dollars(5) };
    world.gateways[0].end(&tallies(), &accounts(), &held, Some((1, &posting)));
    for _ in 0..3 {
        world.exchange(0, None, true, Fate::Arrives);
    }
    let reading = world.books.reading_of(&tallies()[0], "kyc", NOW_US);
    assert_eq!((reading.settled.usd, reading.reserved), (Usd::from_dollars(5), Amounts::ZERO));
}

#[test]
fn ten_thousand_accounts_cost_a_gateway_those_that_it_uses() {
    let team = || Tally::new(vec![Dimension::Team], Window::UTC_MONTH);
    let mut books = Books::new("lender/1".into());
    let known: Arc<[Tally]> = Arc::new([team()]);
    books.follow(&known);
    let mut slices = Slices::new("g/1".into());
    for at in [7, 4_711, 9_999] {
        let accounts = vec![Account { tally: 0, scope: format!("team-{at}") }];
        let caps = vec![cap(0, Unit::Calls, 100)];
        let want = Want { accounts, floors: Vec::new(), amounts: dollars(1), caps: caps.clone(), steps: caps };
        let request = slices.request(&[team()], vec![want], false);
        slices.accept(&books.lease(&request, NOW_US, 0).unwrap(), NOW_US);
    }
    assert_eq!((slices.len(), books.holders()[0].accounts), (3, 3));
}

#[test]
fn while_nobody_listens_what_was_spent_is_summed_up_and_not_heaped_up() {
    let mut slices = Slices::new("g/1".into());
    for seq in 0..150_000 {
        let posting = Posting { at_us: NOW_US, attributes: &Kyc, amounts: dollars(1) };
        slices.end(&tallies(), &[], &Amounts::ZERO, Some((seq, &posting)));
    }
    assert!(slices.unsent.list.len() <= MAX_ENTRIES, "{}", slices.unsent.list.len());
    let request = slices.request(&[], Vec::new(), true);
    let sums: Vec<u64> = request.spent.iter().map(|spent| spent.amounts.calls).collect();
    assert_eq!(sums, [150_000, 150_000]);
    assert_eq!(request.spent[0].seq, 149_999);
}

#[test]
fn exchanges_survive_the_wire() {
    let mut world = World::new();
    let big = Cap { ceiling: i128::from(u64::MAX) * 1_000, ..cap(0, Unit::Usd, 0) };
    let want =
        Want { accounts: accounts(), floors: vec![dollars(1)], amounts: dollars(2), caps: vec![big], steps: vec![] };
    let request = world.gateways[0].request(&tallies(), vec![want], true);
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<LeaseRequest>(&text).unwrap(), request);
    let answer = world.books.lease(&request, NOW_US, 0).unwrap();
    let text = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<LeaseAnswer>(&text).unwrap(), answer);
}

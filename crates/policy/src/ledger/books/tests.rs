use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;
use proptest::prelude::*;
use tollgate_interaction::Usd;

use super::*;
use crate::ledger::{Sums, Unit};
use crate::scope::{Attributes, Dimension, scope_of};
use crate::window::Period;

/// 2026-11-23T16:00:00Z.
const NOW_US: i64 = 1_795_449_600_000_000;
/// 2026-12-01T00:00:00Z.
const DECEMBER_US: i64 = 1_796_083_200_000_000;

struct Caller {
    team: &'static str,
    user: Option<&'static str>,
}

impl Attributes for Caller {
    fn value(&self, dimension: &Dimension) -> Option<&str> {
        match dimension {
            Dimension::Tenant => Some("acme"),
            Dimension::Team => Some(self.team),
            Dimension::User => self.user,
            _ => None,
        }
    }
}

const KYC: Caller = Caller { team: "kyc", user: None };

fn tallies() -> Arc<[Tally]> {
    let month = Window::Calendar { per: Period::Month, zone: Tz::UTC };
    Arc::new([
        Tally::new(vec![Dimension::Team], month),
        Tally::new(vec![Dimension::Team, Dimension::User], Window::Rolling { length_s: 86_400 }),
        Tally::new(vec![Dimension::Tenant], Window::Calendar { per: Period::Day, zone: Tz::Europe__Berlin }),
        Tally::new(vec![Dimension::Team], Window::InFlight),
    ])
}

fn team(name: &str) -> [Account; 1] {
    [Account { tally: 0, scope: name.to_owned() }]
}

fn dollars(dollars: i64) -> Amounts {
    Amounts { usd: Usd::from_dollars(dollars), tokens: 10, calls: 1 }
}

fn posting(caller: &Caller, at_us: i64, amounts: Amounts) -> Posting<'_> {
    Posting { at_us, attributes: caller, amounts }
}

/// A reading of the log that has counted up to `watermark` and found `spent` by team `kyc` in November.
fn reading_of_log(id: &str, spent: i64, watermark: u64) -> Arc<SignalsSnapshot> {
    let mut budgets = Sums::of(&tallies());
    if spent > 0 {
        budgets.apply(&tallies(), &posting(&KYC, NOW_US, Amounts { usd: Usd::from_dollars(spent), ..Amounts::ZERO }));
    }
    Arc::new(SignalsSnapshot {
        id: id.into(),
        taken_at_us: NOW_US,
        watermarks: BTreeMap::from([("w/1".into(), watermark)]),
        budgets,
        ..SignalsSnapshot::default()
    })
}

fn books(first: &Arc<SignalsSnapshot>) -> Books {
    let mut books = Books::new("w/1".into());
    books.follow(&tallies());
    assert!(books.advance(first));
    books
}

fn spent(books: &Books) -> Usd {
    let reading = books.read(&team("kyc"), NOW_US)[0];
    Usd::new(reading.used(Unit::Usd))
}

fn hold(books: &mut Books, estimate: i64) -> Reservation {
    books.reserve(&team("kyc"), dollars(estimate), &[], NOW_US).unwrap()
}

fn call(books: &mut Books, seq: u64, cost: i64) {
    let held = hold(books, 9);
    books.settle(held, seq, &posting(&KYC, NOW_US, dollars(cost)));
}

#[test]
fn settled_calls_count_until_a_reading_holds_them() {
    let mut books = books(&reading_of_log("a", 10, 5));
    call(&mut books, 6, 1);
    call(&mut books, 7, 2);
    assert_eq!(spent(&books), Usd::from_dollars(13));
    assert!(books.advance(&reading_of_log("b", 11, 6)));
    assert_eq!(spent(&books), Usd::from_dollars(13));
    assert!(books.advance(&reading_of_log("c", 13, 7)));
    assert_eq!(spent(&books), Usd::from_dollars(13));
}

#[test]
fn a_row_that_a_reading_holds_before_the_books_hear_of_it_counts_once() {
    let mut books = books(&reading_of_log("a", 10, 5));
    let held = hold(&mut books, 9);
    books.advance(&reading_of_log("b", 11, 6));
    assert_eq!(spent(&books), Usd::from_dollars(20));
    books.settle(held, 6, &posting(&KYC, NOW_US, dollars(1)));
    assert_eq!(spent(&books), Usd::from_dollars(11));
}

#[test]
fn a_reading_that_has_counted_less_is_not_used() {
    let mut books = books(&reading_of_log("a", 10, 7));
    assert!(!books.advance(&reading_of_log("b", 8, 6)));
    assert_eq!((spent(&books), books.base().id.as_str()), (Usd::from_dollars(10), "a"));
}

#[test]
fn a_cap_lets_through_what_fits_and_not_one_more() {
    let mut books = books(&reading_of_log("a", 10, 5));
    let fits = [Cap { account: 0, unit: Unit::Usd, ceiling: Usd::from_dollars(16).get(), fits: true }];
    let open = [Cap { fits: false, ..fits[0] }];
    let reserve = |books: &mut Books, estimate, caps: &[Cap]| {
        books.reserve(&team("kyc"), dollars(estimate), caps, NOW_US).map_err(|refused| refused.readings[0])
    };
    let first = reserve(&mut books, 6, &fits).unwrap();
    let full = reserve(&mut books, 1, &fits).unwrap_err();
    assert_eq!((full.settled.usd, full.reserved.usd), (Usd::from_dollars(10), Usd::from_dollars(6)));
    assert!(reserve(&mut books, 1, &open).is_err());
    books.release(first);
    let over = reserve(&mut books, 60, &open).unwrap();
    assert!(reserve(&mut books, 1, &open).is_err(), "what is held back counts");
    books.release(over);
    assert_eq!(spent(&books), Usd::from_dollars(10));
}

#[test]
fn all_accounts_of_a_call_are_held_or_none() {
    let mut books = books(&reading_of_log("a", 0, 0));
    let accounts = [Account { tally: 0, scope: "kyc".into() }, Account { tally: 3, scope: "kyc".into() }];
    let one_at_once = [Cap { account: 1, unit: Unit::Concurrency, ceiling: 1, fits: true }];
    let first = books.reserve(&accounts, dollars(1), &one_at_once, NOW_US).unwrap();
    books.reserve(&accounts, dollars(1), &one_at_once, NOW_US).unwrap_err();
    assert_eq!(spent(&books), Usd::from_dollars(1), "the refused call holds nothing anywhere");
    books.settle(first, 1, &posting(&KYC, NOW_US, dollars(1)));
    let readings = books.read(&accounts, NOW_US);
    assert_eq!((readings[1].used(Unit::Concurrency), readings[1].age_s), (0, Some(0)));
}

#[test]
fn a_new_month_starts_at_what_was_started_in_it() {
    let mut books = books(&reading_of_log("a", 10, 5));
    call(&mut books, 6, 1);
    let held = books.reserve(&team("kyc"), Amounts::ZERO, &[], DECEMBER_US).unwrap();
    books.settle(held, 7, &posting(&KYC, DECEMBER_US, dollars(2)));
    let december = books.read(&team("kyc"), DECEMBER_US + 1)[0];
    assert_eq!(december.settled.usd, Usd::from_dollars(2));
    assert_eq!(books.read(&team("kyc"), DECEMBER_US - 1)[0].settled.usd, Usd::from_dollars(11));
}

#[test]
fn without_a_reading_of_the_log_nothing_is_known() {
    let mut books = Books::new("w/1".into());
    books.follow(&tallies());
    call(&mut books, 1, 3);
    let reading = books.read(&team("kyc"), NOW_US)[0];
    assert_eq!((reading.age_s, reading.settled.usd), (None, Usd::from_dollars(3)));
}

#[test]
fn a_budget_that_a_reading_does_not_speak_of_is_not_known() {
    let mut only_month = SignalsSnapshot { id: "a".into(), taken_at_us: NOW_US, ..SignalsSnapshot::default() };
    only_month.budgets = Sums::of(&tallies()[..1]);
    let books = books(&Arc::new(only_month));
    let accounts = [Account { tally: 0, scope: "kyc".into() }, Account { tally: 2, scope: "acme".into() }];
    let ages: Vec<_> = books.read(&accounts, NOW_US).iter().map(|reading| reading.age_s).collect();
    assert_eq!(ages, [Some(0), None]);
}

#[test]
fn merging_neighbours_keeps_the_sum() {
    let mut books = books(&reading_of_log("a", 0, 0));
    let calls = MAX_ENTRIES as u64 + 2;
    for seq in 1..=calls {
        let held = books.reserve(&team("kyc"), Amounts::ZERO, &[], NOW_US).unwrap();
        books.settle(held, seq, &posting(&KYC, NOW_US, Amounts { usd: Usd::new(1), ..Amounts::ZERO }));
    }
    assert_eq!(spent(&books), Usd::new(i128::from(calls)));
    books.advance(&reading_of_log("b", 0, calls));
    assert_eq!(spent(&books), Usd::ZERO);
    assert!(books.live.values().all(HashMap::is_empty), "what is counted is forgotten");
}

/// What may happen to the books.
#[derive(Clone, Debug)]
enum Act {
    /// A call begins: by which team and user, how long ago, how much it may cost.
    Begin { team: usize, user: usize, ago_s: u32, estimate: u32 },
    /// One of the calls in flight ends with a cost, or without one, having been appended to the log or not.
    End { which: usize, cost: Option<u32> },
    /// The log is read, up to a share of what is in it.
    Read { share: u8 },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let begin = (0..3_usize, 0..3_usize, 0..200_000_u32, 0..1_000_u32)
        .prop_map(|(team, user, ago_s, estimate)| Act::Begin { team, user, ago_s, estimate });
    let end = (any::<usize>(), prop::option::of(0..1_000_u32)).prop_map(|(which, cost)| Act::End { which, cost });
    let read = any::<u8>().prop_map(|share| Act::Read { share });
    prop::collection::vec(prop_oneof![4 => begin, 4 => end, 1 => read], 1..120)
}

const TEAMS: [&str; 3] = ["kyc", "red", "blue"];
const USERS: [Option<&str>; 3] = [None, Some("ann"), Some("bob")];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Calls begin, end in any order and are read from the log at any time: what the books say is at every moment what
    /// the log says, and nothing is held back once nothing is in flight.
    #[test]
    fn live_figures_are_the_fold_of_the_log_in_whatever_order_calls_end(acts in acts()) {
        let tallies = tallies();
        let mut books = Books::new("w/1".into());
        books.follow(&tallies);
        let mut log: Vec<(Caller, i64, Amounts)> = Vec::new();
        let mut in_flight = Vec::new();
        let mut read_up_to = 0;
        let fold = |log: &[(Caller, i64, Amounts)]| {
            let mut sums = Sums::of(&tallies);
            log.iter().for_each(|(caller, at_us, amounts)| sums.apply(&tallies, &posting(caller, *at_us, *amounts)));
            sums
        };
        for act in acts {
            match act {
                Act::Begin { team, user, ago_s, estimate } => {
                    let caller = Caller { team: TEAMS[team], user: USERS[user] };
                    let accounts: Vec<Account> = tallies.iter().enumerate().filter_map(|(place, tally)| {
                        Some(Account { tally: place, scope: scope_of(&tally.dimensions, &caller)? })
                    }).collect();
                    let estimate = Amounts { usd: Usd::new(estimate.into()), tokens: estimate.into(), calls: 1 };
                    let held = books.reserve(&accounts, estimate, &[], NOW_US).unwrap();
                    in_flight.push((caller, NOW_US - i64::from(ago_s) * 1_000_000, held));
                }
                Act::End { which, cost } if !in_flight.is_empty() => {
                    let (caller, at_us, held) = in_flight.swap_remove(which % in_flight.len());
                    match cost {
                        Some(cost) => {
                            let amounts = Amounts { usd: Usd::new(cost.into()), tokens: cost.into(), calls: 1 };
                            let seq = log.len() as u64 + 1;
                            books.settle(held, seq, &posting(&caller, at_us, amounts));
                            log.push((caller, at_us, amounts));
                        }
                        None => books.release(held),
                    }
                }
                Act::End { .. } => {}
                Act::Read { share } => {
                    read_up_to = read_up_to.max(log.len() * usize::from(share) / 255);
                    books.advance(&Arc::new(SignalsSnapshot {
                        id: "sig".into(),
                        taken_at_us: NOW_US,
                        watermarks: BTreeMap::from([("w/1".into(), read_up_to as u64)]),
                        budgets: fold(&log[..read_up_to]),
                        ..SignalsSnapshot::default()
                    }));
                }
            }
            let whole = fold(&log);
            for tally in tallies.iter().filter(|tally| tally.window != Window::InFlight) {
                for scope in TEAMS.iter().flat_map(|team| [(*team).to_owned(), format!("{team}\u{1f}ann")]).chain(["acme".to_owned()]) {
                    let live = books.reading_of(tally, &scope, NOW_US);
                    prop_assert_eq!(live.settled, whole.spent(tally, &scope, NOW_US).unwrap(), "{} {}", tally, scope);
                }
            }
        }
        for (_, _, held) in in_flight {
            books.release(held);
        }
        for tally in tallies.iter() {
            for scope in books.scopes(tally) {
                prop_assert_eq!(books.reading_of(tally, &scope, NOW_US).reserved, Amounts::ZERO);
            }
        }
    }
}

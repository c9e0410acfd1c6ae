//! Budget: with 10,000 scopes in the books, checking a call against its caps and reserving for it takes at most 5 µs, and
//! giving the reservation back as much.
//!
//! A call draws on six accounts (organisation, team, user, key, a label, and calls in flight), of which those by user and
//! by key are different for every call. The bundle's conditions are not part of it: they are measured with the decision.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use serde_json::json;
use tollgate_interaction::Usd;
use tollgate_policy::ledger::{Account, Amounts, Books, Cap, Posting, Sums, Tally, Unit};
use tollgate_policy::scope::{Attributes, Dimension};
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_policy::window::{Period, Window};

use crate::kept;
use crate::report::{Budget, Report, short};

const BUDGET_NS: f64 = 5_000.0;
const GROUP: &str = "budgets";
const SCOPES: usize = 10_000;
/// 2026-11-23.
const NOW_US: i64 = 1_795_392_000_000_000;

struct Caller {
    user: String,
    key: String,
}

impl Attributes for Caller {
    fn value(&self, dimension: &Dimension) -> Option<&str> {
        Some(match dimension {
            Dimension::Tenant => "acme",
            Dimension::Team => "kyc",
            Dimension::User => &self.user,
            Dimension::Key => &self.key,
            _ => "4711",
        })
    }
}

fn tallies() -> anyhow::Result<Arc<[Tally]>> {
    let zone = "Europe/Berlin".parse().map_err(|_| anyhow::anyhow!("the time zone is not known"))?;
    let per = |per| Window::Calendar { per, zone };
    Ok(Arc::new([
        Tally::new(vec![Dimension::Tenant], per(Period::Year)),
        Tally::new(vec![Dimension::Team], per(Period::Month)),
        Tally::new(vec![Dimension::User], Window::Rolling { length_s: 86_400 }),
        Tally::new(vec![Dimension::Key], per(Period::Minute)),
        Tally::new(vec![Dimension::Tag("cost_centre".to_owned())], per(Period::Day)),
        Tally::new(vec![Dimension::Team], Window::InFlight),
    ]))
}

fn callers() -> Vec<Caller> {
    (0..SCOPES / 2).map(|n| Caller { user: format!("{n:032x}"), key: format!("key-{n}") }).collect()
}

/// Those of every tally: a caller of the bench has a value in each dimension.
fn accounts(tallies: &[Tally], caller: &Caller) -> Vec<Account> {
    let scope = |tally: &Tally| tollgate_policy::scope::scope_of(&tally.dimensions, caller);
    let places = tallies.iter().enumerate();
    places.filter_map(|(place, tally)| Some(Account { tally: place, scope: scope(tally)? })).collect()
}

/// Measures and compares.
///
/// # Errors
/// If something cannot be measured.
pub(crate) fn run() -> anyhow::Result<Report> {
    let (tallies, callers) = (tallies()?, callers());
    let spent = Amounts { usd: Usd::new(1_500_000_000), tokens: 900, calls: 1 };
    let mut sums = Sums::of(&tallies);
    for caller in &callers {
        for ago in 0..40 {
            let at_us = NOW_US - ago * 2_000_000_000;
            sums.apply(&tallies, &Posting { at_us, attributes: caller, amounts: spent });
        }
    }
    let scopes: usize = sums.tallies.values().map(HashMap::len).sum();
    anyhow::ensure!(scopes >= SCOPES, "only {scopes} scopes were made");
    let mut books = Books::new("bench/1".to_owned());
    books.follow(&tallies);
    let snapshot = SignalsSnapshot { id: "sig".to_owned(), taken_at_us: NOW_US, budgets: sums, ..Default::default() };
    books.advance(&Arc::new(snapshot));
    let caps: Vec<Cap> = [Unit::Usd, Unit::Usd, Unit::Tokens, Unit::Calls, Unit::Usd, Unit::Concurrency]
        .into_iter()
        .enumerate()
        .map(|(account, unit)| Cap { account, unit, ceiling: i128::MAX, fits: true })
        .collect();
    let drawn: Vec<Vec<Account>> = callers.iter().map(|caller| accounts(&tallies, caller)).collect();
    let mut criterion = kept::criterion()?;
    let mut group = criterion.benchmark_group(GROUP);
    let mut at = 0;
    let mut next = || {
        at = (at + 4_099) % drawn.len();
        at
    };
    group.bench_function("check", |bencher| bencher.iter(|| black_box(books.read(&drawn[next()], NOW_US))));
    group.bench_function("reserve_and_release", |bencher| {
        bencher.iter(|| {
            if let Ok(held) = books.reserve(&drawn[next()], spent, &caps, NOW_US) {
                books.release(held);
            }
        });
    });
    let mut seq = 0;
    group.bench_function("reserve_and_settle", |bencher| {
        bencher.iter(|| {
            let place = next();
            seq += 1;
            if let Ok(held) = books.reserve(&drawn[place], spent, &caps, NOW_US) {
                books.settle(held, seq, &Posting { at_us: NOW_US, attributes: &callers[place], amounts: spent });
            }
        });
    });
    group.finish();
    criterion.final_summary();
    let mut report = Report::start(GROUP, format!("{scopes} scopes, six accounts a call"), vec!["what", "ns"]);
    for (name, limit) in
        [("check", BUDGET_NS), ("reserve_and_release", BUDGET_NS), ("reserve_and_settle", 2.0 * BUDGET_NS)]
    {
        let ns = kept::median_ns(GROUP, name)?;
        report.row(vec![name.to_owned(), short(ns)], json!({"what": name, "ns": ns}));
        report.budget(Budget::at_most(format!("{name}, ns"), ns, limit));
    }
    Ok(report)
}

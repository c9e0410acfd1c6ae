use tollgate_interaction::{BudgetReading, Decision, Dialect, Operation, Usd};

use crate::bundle::{Bundle, load, run_tests};
use crate::control::Principal;
use crate::decide::{Prefer, Verdict, code, decide};
use crate::facts::Facts;
use crate::ledger::{Amounts, Reading, Unit};

const HEAD: &str = "apiVersion: tollgate/v1\nbundle: {name: test}\naccess:\n  - {id: all, when: 'true', allow: {}}\n";

fn bundle(rest: &str) -> Bundle {
    load(&format!("{HEAD}{rest}")).unwrap_or_else(|error| panic!("{error}\n{rest}"))
}

fn refused(rest: &str) -> String {
    load(&format!("{HEAD}{rest}")).map(|bundle| bundle.name).unwrap_err().to_string()
}

fn caller() -> Principal {
    Principal {
        key_id: "key-1".into(),
        tenant: "acme".into(),
        project: Some("onboarding".into()),
        team: "kyc".into(),
        ..Principal::default()
    }
}

/// 2026-11-18T11:06:40Z, a Wednesday.
const NOW_US: i64 = 1_795_000_000_000_000;

/// Decides a call of `caller` where every account it draws on has used up the amounts that `used` gives for its tally.
fn decided(bundle: &Bundle, estimate: Amounts, used: impl Fn(&str) -> Reading) -> Verdict {
    let (principal, tags) = (caller(), [("cost_centre".to_owned(), "4711".to_owned())]);
    let facts = Facts {
        metadata: &tags,
        estimate,
        ..Facts::new(&principal, Operation::Chat, Dialect::Openai, "assistant", NOW_US)
    };
    let accounts = bundle.accounts(&facts);
    let readings: Vec<Reading> = accounts.iter().map(|account| used(&bundle.tallies()[account.tally].id)).collect();
    decide(bundle, &Facts { accounts: &accounts, readings: &readings, ..facts })
}

fn used(usd: i64, tokens: u64, calls: u64) -> Reading {
    let settled = Amounts { usd: Usd::from_dollars(usd), tokens, calls };
    Reading { settled, age_s: Some(0), ..Reading::default() }
}

fn one_call() -> Amounts {
    Amounts { usd: Usd::ZERO, tokens: 100, calls: 1 }
}

const HIERARCHY: &str = r#"
budgets:
  - {id: org, scope: {organisation: "*"}, limit: {usd: 1000, per: year, timezone: Europe/Berlin}, steps: [{at: 1, deny: "the year is over"}]}
  - {id: project, scope: {project: "*"}, limit: {usd: 50, per: quarter}, steps: [{at: 0.5, prefer: {tag: small}, min_quality: 0.92}]}
  - {id: team, scope: {team: "*"}, limit: {usd: 20, per: month}, steps: [{at: 0.5, prefer: cheapest}, {at: 1, deny_unless: "false"}]}
  - {id: user, scope: {user: "*"}, limit: {tokens: 1000, rolling: 24h}, steps: [{at: 1, deny: "come back tomorrow"}]}
  - {id: key, scope: {key: "*"}, limit: {calls: 500, per: week}, steps: [{at: 1, deny: "enough"}]}
  - {id: centre, scope: {tag.cost_centre: "*"}, limit: {usd: 5, per: day}, steps: [{at: 1, deny: "ask finance"}]}
limits:
  - {id: rpm, scope: {key: "*"}, limit: {calls: 60, per: minute}}
  - {id: tpm, scope: {team: "*"}, limit: {tokens: 1000, rolling: 1m}}
  - {id: at-once, scope: {team: "*"}, limit: {concurrency: 3}}
"#;

#[test]
fn every_budget_of_the_hierarchy_applies_and_a_user_who_is_not_named_has_none() {
    let bundle = bundle(HIERARCHY);
    let ids: Vec<_> = bundle.tallies().iter().map(|tally| tally.id.as_str()).collect();
    let expected = [
        "tenant/year/Europe/Berlin",
        "project/quarter/UTC",
        "team/month/UTC",
        "user/rolling/24h",
        "key/week/UTC",
        "tag.cost_centre/day/UTC",
        "key/minute/UTC",
        "team/rolling/1m",
        "team/in-flight",
    ];
    assert_eq!(ids, expected);
    let nothing = decided(&bundle, one_call(), |_| used(0, 0, 0));
    assert_eq!((nothing.decision, nothing.prefer.clone()), (Decision::Allow, None));
    // Walls of organisation, team, key and label, and three limits; the project has none and the user is not there.
    assert_eq!(nothing.caps.len(), 7, "{:?}", nothing.caps);

    // Two deny: both are named, the first is told.
    let spent = |tally: &str| if tally.contains("year") { used(1_000, 0, 0) } else { used(20, 0, 0) };
    let verdict = decided(&bundle, one_call(), spent);
    let denied: Vec<_> = verdict.reasons.iter().filter(|reason| reason.effect == "deny").map(|r| &r.rule).collect();
    assert_eq!(denied, ["org", "team", "centre"]);
    assert_eq!(verdict.code, code::BUDGET_EXCEEDED);
    let message = "organisation `acme` has spent 1000.00 of its 1000.00 USD for this year (Europe/Berlin) (budget `org`): \
                   the year is over";
    assert_eq!(verdict.message, message);
    assert_eq!(verdict.hint, "wait for 2027-01-01 (Europe/Berlin) or ask for a larger budget");
    assert!(verdict.caps.is_empty());
}

#[test]
fn what_is_held_back_for_others_is_told_from_what_was_spent_and_passes_soon() {
    let bundle = bundle(HIERARCHY);
    let year = |spent: i64, held: i64| {
        decided(&bundle, one_call(), move |tally| {
            let reserved = Amounts { usd: Usd::from_dollars(held), ..Amounts::ZERO };
            if tally.contains("year") { Reading { reserved, ..used(spent, 0, 0) } } else { used(0, 0, 0) }
        })
    };
    let held = year(700, 300);
    let message = "organisation `acme` has spent 700.00 of its 1000.00 USD this year (Europe/Berlin), and 300.00 are held back \
                   for calls under way (budget `org`): the year is over";
    assert_eq!((held.code, held.message.as_str()), (code::BUDGET_EXCEEDED, message));
    assert_eq!(
        (held.hint.as_str(), held.retry_after_s),
        ("wait for calls under way to end or ask for a larger budget", Some(5))
    );
    let spent = year(1_000, 300);
    assert!(spent.retry_after_s.is_some_and(|wait| wait > 86_400), "{:?}", spent.retry_after_s);
}

#[test]
fn of_two_preferences_that_of_the_budget_nearer_to_its_end_holds() {
    let bundle = bundle(HIERARCHY);
    let spent = |team: i64, project: i64| {
        decided(&bundle, one_call(), move |tally| match tally {
            "team/month/UTC" => used(team, 0, 0),
            "project/quarter/UTC" => used(project, 0, 0),
            _ => used(0, 0, 0),
        })
    };
    let verdict = spent(11, 40);
    assert_eq!(verdict.prefer, Some(Prefer::Tag("small".into())));
    assert_eq!(verdict.min_quality.map(|floor| floor.to_string()).as_deref(), Some("0.92"));
    let verdict = spent(19, 30);
    assert_eq!(verdict.prefer, Some(Prefer::Cheapest));
    assert!(verdict.min_quality.is_some(), "the floor of quality holds whoever prefers");
    let named: Vec<_> = verdict.reasons.iter().map(|reason| reason.rule.as_str()).collect();
    assert_eq!(named, ["all", "project", "team"]);
}

#[test]
fn a_limit_has_room_for_the_whole_call_or_says_when_to_come_back() {
    let bundle = bundle(HIERARCHY);
    let at = |tokens: u64, calls: u64| {
        decided(&bundle, one_call(), move |tally| match tally {
            "team/rolling/1m" => Reading { frees_at_us: Some(NOW_US + 12_300_000), ..used(0, tokens, 0) },
            "key/minute/UTC" => used(0, 0, calls),
            _ => used(0, 0, 0),
        })
    };
    assert_eq!(at(900, 59).decision, Decision::Allow);
    let tokens = at(901, 0);
    assert_eq!((tokens.code, tokens.retry_after_s), (code::RATE_LIMITED, Some(13)));
    let expected =
        "team `kyc` has used 901 of its 1000 tokens in the last 1m, and this call may take 100 tokens (limit `tpm`)";
    assert_eq!(tokens.message, expected);
    let calls = at(0, 60);
    // 11:06:40 is twenty seconds before the next minute.
    assert_eq!((calls.code, calls.retry_after_s), (code::RATE_LIMITED, Some(20)));
    assert_eq!(calls.message, "key `key-1` has made 60 of its 60 calls for this minute (limit `rpm`)");
    let too_large = decided(&bundle, Amounts { tokens: 1_001, ..one_call() }, |_| used(0, 0, 0));
    assert_eq!((too_large.code, too_large.retry_after_s), (code::RATE_LIMITED, None));
    assert!(too_large.message.starts_with("this call alone may take 1001 tokens"), "{}", too_large.message);
}

#[test]
fn calls_at_once_are_counted_while_they_last() {
    let bundle = bundle(HIERARCHY);
    let busy = |calls: u64| {
        decided(&bundle, one_call(), move |_| {
            let reserved = Amounts { calls, ..Amounts::ZERO };
            Reading { reserved, age_s: Some(0), ..Reading::default() }
        })
    };
    assert_eq!(busy(2).decision, Decision::Allow);
    let full = busy(3);
    assert_eq!((full.code, full.retry_after_s), (code::RATE_LIMITED, Some(1)));
    assert_eq!(full.message, "team `kyc` has made 3 of its 3 calls at the same time (limit `at-once`)");
}

#[test]
fn limits_go_by_what_this_process_has_seen_until_the_log_has_been_read() {
    let with = |words: &str| {
        bundle(&format!("limits:\n  - {{id: rpm, scope: {{key: '*'}}, limit: {{calls: 2, per: minute}}{words}}}\n"))
    };
    let unknown = |calls: u64| move |_: &str| Reading { age_s: None, ..used(0, 0, calls) };
    assert_eq!(decided(&with(""), one_call(), unknown(1)).decision, Decision::Allow);
    assert_eq!(decided(&with(""), one_call(), unknown(2)).code, code::RATE_LIMITED);
    assert_eq!(decided(&with(", on_missing: deny"), one_call(), unknown(0)).code, code::SPEND_UNKNOWN);
}

#[test]
fn the_narrower_of_two_scopes_holds_in_place_of_the_wider() {
    let bundle = bundle(
        "limits:\n  - {id: others, scope: {team: '*', key: '*'}, limit: {calls: 1, per: day}}\n  - {id: kyc, scope: {team: kyc, key: '*'}, limit: {calls: 5, per: day}}\n  - {id: one, scope: {team: kyc, key: key-1}, limit: {calls: 9, per: day}}\n",
    );
    assert_eq!(bundle.tallies().len(), 1);
    assert_eq!(decided(&bundle, one_call(), |_| used(0, 0, 8)).decision, Decision::Allow);
    let verdict = decided(&bundle, one_call(), |_| used(0, 0, 9));
    assert_eq!(verdict.reasons.last().unwrap().rule, "one");
}

#[test]
fn what_is_recorded_decides_the_same_again() {
    let bundle = bundle(HIERARCHY);
    let (principal, tags) = (caller(), [("cost_centre".to_owned(), "4711".to_owned())]);
    let facts = Facts {
        metadata: &tags,
        estimate: one_call(),
        ..Facts::new(&principal, Operation::Chat, Dialect::Openai, "assistant", NOW_US)
    };
    let accounts = bundle.accounts(&facts);
    let reserved = Amounts { usd: Usd::from_dollars(1), tokens: 0, calls: 2 };
    let readings = vec![Reading { reserved, age_s: Some(3), ..used(12, 700, 40) }; accounts.len()];
    let (budgets, limits) = bundle.record_readings(&accounts, &readings);
    let team = BudgetReading {
        budget: "team".into(),
        scope: "team=kyc".into(),
        spent_usd: Usd::from_dollars(12),
        reserved_usd: Usd::from_dollars(1),
        age_s: Some(3),
    };
    assert!(budgets.contains(&team), "{budgets:?}");
    let names: Vec<_> = limits.iter().map(|limit| (limit.limit.as_str(), limit.used)).collect();
    assert_eq!(names, [("key", 42), ("rpm", 42), ("tpm", 700), ("at-once", 2)]);
    let again = bundle.recorded_readings(&accounts, &budgets, &limits);
    let verdict = |readings: &[Reading]| decide(&bundle, &Facts { accounts: &accounts, readings, ..facts });
    assert_eq!(verdict(&again), verdict(&readings));
    assert_eq!(verdict(&readings).code, code::BUDGET_EXCEEDED, "the label's five dollars are spent");
    assert!(
        again
            .iter()
            .zip(&readings)
            .all(|(one, other)| one.used(Unit::Usd) == other.used(Unit::Usd) || one.settled.usd == Usd::ZERO)
    );
}

#[test]
fn tests_inside_a_bundle_give_figures_by_name() {
    let tests = "tests:\n  - {name: full, given: {spent: {rpm: 60}}, expect: {decision: deny, code: rate_limited, rule: rpm}}\n  - {name: room, given: {spent: {rpm: 59}}, expect: {decision: allow}}\n";
    for result in run_tests(&bundle(&format!("{HIERARCHY}{tests}"))) {
        assert_eq!(result.failure, None, "{}", result.name);
    }
    let unknown = HIERARCHY.to_owned() + "tests:\n  - {given: {spent: {at-onze: 60}}, expect: {decision: deny}}\n";
    assert!(
        refused(&unknown).ends_with("no budget or limit has the id `at-onze`; did you mean `at-once`?"),
        "{}",
        refused(&unknown)
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    let limit =
        |scope: &str, limit: &str| refused(&format!("limits:\n  - {{id: x, scope: {scope}, limit: {limit}}}\n"));
    let cases = [
        ("{taem: '*'}", "{calls: 1, per: day}", "unknown field `taem`; did you mean `team`?"),
        ("{team: 'a*'}", "{calls: 1, per: day}", "`a*` is not a scope; name one team"),
        ("{user: ann}", "{calls: 1, per: day}", "`ann` is not a user's reference"),
        ("{tenant: a, organisation: b}", "{calls: 1, per: day}", "the scope names `tenant` twice"),
        ("{team: '*'}", "{per: day}", "the limit says no amount"),
        ("{team: '*'}", "{calls: 1, tokens: 1, per: day}", "a limit has one amount"),
        ("{team: '*'}", "{calls: 1}", "the limit says no window"),
        ("{team: '*'}", "{calls: 1, per: day, rolling: 24h}", "a limit has either `per` or `rolling`"),
        ("{team: '*'}", "{calls: 1, rolling: 24h, timezone: UTC}", "a rolling window is the same in every time zone"),
        ("{team: '*'}", "{calls: 1, per: day, timezone: Europe/Berln}", "did you mean `Europe/Berlin`?"),
        ("{team: '*'}", "{calls: 1, per: dai}", "unknown value `dai`"),
        ("{team: '*'}", "{concurrency: 1, per: day}", "calls at once have no window"),
    ];
    for (scope, amount, expected) in cases {
        let message = limit(scope, amount);
        assert!(message.contains(expected) && message.starts_with("line 6, column "), "{message}");
    }
    let twice = "limits:\n  - {id: a, scope: {team: '*'}, limit: {calls: 1, per: day}}\n  - {id: b, scope: {team: '*'}, limit: {calls: 2, per: day}}\n";
    assert!(
        refused(twice).ends_with("`team=*` already has a limit of this kind and window, `a`; remove one"),
        "{}",
        refused(twice)
    );
    let at_once = "budgets:\n  - {id: a, scope: {team: '*'}, limit: {concurrency: 1}, steps: [{at: 1, deny: no}]}\n";
    assert!(refused(at_once).contains("calls at once are not spent"), "{}", refused(at_once));
    let both = "budgets:\n  - {id: a, scope: {team: '*'}, limit: {usd: 1, per: day}, steps: [{at: 1, deny: no, prefer: cheapest}]}\n";
    assert!(refused(both).contains("a step has either `prefer`"), "{}", refused(both));
}

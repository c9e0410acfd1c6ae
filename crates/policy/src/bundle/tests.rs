mod messages;

use tollgate_interaction::{Decision, Dialect, Operation, Usd};

use super::*;
use crate::control::Principal;
use crate::decide::{Prefer, Verdict, code};
use crate::facts::Facts;
use crate::ledger::{Amounts, Reading};

const HEAD: &str = "apiVersion: tollgate/v1\nbundle: {name: test}\n";
const ALLOW_ALL: &str = "access:\n  - id: all\n    when: 'true'\n    allow: {}\n";

fn refusal(yaml: &str) -> String {
    load(yaml).map(|bundle| bundle.name).unwrap_err().to_string()
}

/// Loads `rest` below a head of two lines, and says why that failed.
fn refused(rest: &str) -> String {
    refusal(&format!("{HEAD}{rest}"))
}

fn bundle(rest: &str) -> Bundle {
    load(&format!("{HEAD}{rest}")).unwrap_or_else(|error| panic!("{error}\n{rest}"))
}

fn team(name: &str) -> Principal {
    Principal { key_id: "key-1".into(), tenant: "acme".into(), team: name.into(), ..Principal::default() }
}

/// What a team has spent this month, and how old the word of it is.
#[derive(Clone, Copy, Default)]
struct Spend {
    month_to_date: Usd,
    age_s: u64,
}

/// A call, and what was spent before it in every account.
#[derive(Clone, Copy)]
struct Given<'a> {
    facts: Facts<'a>,
    spend: Option<Spend>,
}

fn facts<'a>(principal: &'a Principal, spent_cents: i128) -> Given<'a> {
    let facts = Facts {
        signals_id: "sig-7",
        ..Facts::new(principal, Operation::Chat, Dialect::Openai, "openai/gpt-5", 1_795_000_000_000_000)
    };
    Given { facts, spend: Some(Spend { month_to_date: Usd::new(spent_cents * 10_000_000_000), age_s: 1 }) }
}

fn decide(bundle: &Bundle, given: &Given<'_>) -> Verdict {
    let settled = Amounts { usd: given.spend.unwrap_or_default().month_to_date, ..Amounts::ZERO };
    let reading = Reading { settled, age_s: given.spend.map(|spend| spend.age_s), ..Reading::default() };
    let accounts = bundle.accounts(&given.facts);
    let readings = vec![reading; accounts.len()];
    crate::decide(bundle, &Facts { accounts: &accounts, readings: &readings, ..given.facts })
}

fn details(verdict: &Verdict) -> Vec<&str> {
    verdict.reasons.iter().map(|reason| reason.detail.as_str()).collect()
}

/// Every bundle of the folder `policies`, by its file.
fn shipped() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let examples = std::fs::read_dir(folder.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let files = examples.filter(|path| path.extension().is_some_and(|kind| kind == "yaml"));
    let files = files.chain(std::iter::once(folder.join("default.yaml")));
    files.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn every_bundle_we_ship_loads_and_passes_its_own_tests() {
    let shipped = shipped();
    assert!(shipped.len() >= 10, "{} bundles", shipped.len());
    for (file, yaml) in shipped {
        let bundle = load(&yaml).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(bundle.remarks(0), [], "{file}");
        let results = run_tests(&bundle);
        assert!(results.len() > 5, "{file} has {} tests", results.len());
        let failures = results.into_iter().filter_map(|result| {
            let why = result.failure?;
            Some(format!("{file}:{}: {}: {why}", result.line, result.name))
        });
        let failures: Vec<String> = failures.collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}

#[test]
fn a_failing_test_says_what_was_different() {
    let tests = "tests:\n  - name: hope\n    expect: {decision: deny}\n";
    let results = run_tests(&bundle(&format!("{ALLOW_ALL}{tests}")));
    assert_eq!((results[0].name.as_str(), results[0].line), ("hope", 8));
    assert_eq!(results[0].failure.as_deref(), Some("expected `deny`, got `allow`: access rule `all` allows the call"));
}

#[test]
fn the_hash_is_over_the_exact_text() {
    let (one, other) = (load(DEFAULT_YAML).unwrap(), load(&format!("{DEFAULT_YAML}\n")).unwrap());
    assert_ne!(one.hash, other.hash);
    assert_eq!(one.hash.len(), 64);
    assert_eq!(hash_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn an_empty_bundle_is_refused_rather_than_denying_everything() {
    for yaml in ["", "\n\n", "# nothing\n", "---\n"] {
        assert!(refusal(yaml).contains("the bundle is empty"), "{}", refusal(yaml));
    }
    assert!(refusal(HEAD).contains("has no `access` rule"), "{}", refusal(HEAD));
}

#[test]
fn a_misspelt_field_is_named_with_its_place_and_the_right_word() {
    let error = refused("acess: []\n");
    assert_eq!(error, "line 3, column 1: unknown field `acess`; did you mean `access`?");
    let error = refused("access:\n  - id: x\n    when: 'true'\n    alow: {}\n");
    assert_eq!(error, "line 6, column 5: unknown field `alow`; did you mean `allow`?");
    let error = refused(&format!(
        "{ALLOW_ALL}budgets:\n  - id: b\n    scope: {{team: a}}\n    limit: {{usd: 1, per: mnth}}\n    steps: []\n"
    ));
    assert!(error.contains("unknown value `mnth`; did you mean `month`?"), "{error}");
    let error =
        refused(&format!("{ALLOW_ALL}tests:\n  - given: {{request.modle: x}}\n    expect: {{decision: allow}}\n"));
    assert!(error.contains("unknown field `request.modle`; did you mean `request.model`?"), "{error}");
}

#[test]
fn an_unknown_variable_is_found_within_its_condition() {
    let error =
        refused("access:\n  - id: x\n    when: 'principal.team == \"a\" && request.modell == \"b\"'\n    allow: {}\n");
    assert_eq!(error, "line 5, column 37: unknown variable `request.modell`; did you mean `request.model`?");
}

#[test]
fn a_condition_in_a_list_is_found_too() {
    let error = refused("access:\n  - id: x\n    when:\n      - 'true'\n      - reqest.stream\n    allow: {}\n");
    assert_eq!(error, "line 7, column 9: unknown variable `reqest.stream`; did you mean `request.stream`?");
}

#[test]
fn a_variable_of_a_later_phase_is_refused() {
    let error = refused("access:\n  - id: x\n    when: 'budget.used_percent < 50'\n    allow: {}\n");
    let expected = "the variable `budget.used_percent` is not known in `access`; it exists in `budgets`";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn broken_yaml_and_missing_fields_say_where() {
    assert!(refusal("apiVersion: [").starts_with("line 1, column "), "{}", refusal("apiVersion: ["));
    assert!(refused("access:\n  - when: 'true'\n    allow: {}\n").contains("the field `id` is missing"));
    let error = refused(&format!("{ALLOW_ALL}{}", ALLOW_ALL.replace("access:\n", "")));
    assert_eq!(error, "line 7, column 9: two rules have the id `all`");
    let error = refused("access:\n  - id: x\n    when: 'true'\n");
    assert!(error.starts_with("line 4, column 9: rule `x` does nothing"), "{error}");
}

#[test]
fn a_rule_that_no_call_will_feel_is_refused() {
    let error = refused(
        "access:\n  - id: x\n    when: ['principal.team == \"a\"', 'principal.team == \"b\"']\n    allow: {}\n",
    );
    let expected = "line 5, column 11: the rule can never match: `principal.team` cannot be everything that is asked of it \
                    at once; correct it, or remove the rule";
    assert_eq!(error, expected);
    let error = refused(&format!("{ALLOW_ALL}  - {{id: stop, when: 'true', deny: no}}\n"));
    assert!(error.contains("rule `stop` denies every call"), "{error}");
    let red = "when: 'principal.team == \"red\"'";
    let error = refused(&format!("{ALLOW_ALL}  - {{id: a, {red}, deny: no}}\n  - {{id: b, {red}, allow: {{}}}}\n"));
    assert!(error.starts_with("line 8, column 10: rule `b` can never allow a call: rule `a` denies"), "{error}");
}

#[test]
fn what_is_allowed_and_hardly_meant_is_remarked_upon() {
    let rules = format!("{ALLOW_ALL}  - {{id: red, when: 'principal.team == \"red\"', allow: {{}}}}\n");
    let remarks = bundle(&rules).remarks(0);
    assert_eq!(remarks.len(), 1);
    assert_eq!(
        remarks[0].to_string(),
        "line 7, column 10: rule `red` changes nothing: rule `all` allows all that it would"
    );
    let yaml = format!("apiVersion: tollgate/v1\nbundle: {{name: old, review_by: 2026-01-31}}\n{ALLOW_ALL}");
    let old = load(&yaml).unwrap();
    let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
    assert_eq!(old.remarks(at("2026-01-31T23:59:59Z")), []);
    let remark = old.remarks(at("2026-02-01T00:00:00Z")).remove(0).to_string();
    assert!(remark.starts_with("line 2, column 32: the bundle was to be reviewed by 2026-01-31"), "{remark}");
    let error = refusal(&yaml.replace("2026-01-31", "soon"));
    assert!(error.ends_with("`soon` is not a day; write it as `2027-02-01`"), "{error}");
}

#[test]
fn lists_mean_and_unless_they_say_any() {
    let rule = |when: &str| bundle(&format!("access:\n  - id: x\n    when: {when}\n    allow: {{}}\n"));
    let red = team("red");
    let of = |when: &str| decide(&rule(when), &facts(&red, 0)).decision;
    let both = "['principal.team == \"red\"', 'request.stream']";
    assert_eq!(of(both), Decision::Deny);
    assert_eq!(of(&format!("{{any: {both}}}")), Decision::Allow);
    assert_eq!(of(&format!("{{all: {both}}}")), Decision::Deny);
    assert!(refused("access:\n  - id: x\n    when: []\n    allow: {}\n").contains("may not be empty"));
}

#[test]
fn a_deny_wins_over_an_allow_before_it() {
    let rules =
        format!("{ALLOW_ALL}  - id: stop\n    when: request.model.startsWith(\"openai/\")\n    deny: not today\n");
    let red = team("red");
    let verdict = decide(&bundle(&rules), &facts(&red, 0));
    assert_eq!((verdict.decision, verdict.code), (Decision::Deny, code::ACCESS_DENIED));
    assert_eq!(verdict.message, "not today");
    assert_eq!(verdict.reasons.last().unwrap().rule, "stop");
}

#[test]
fn a_condition_that_fails_denies_with_the_reason() {
    let rules = "access:\n  - id: env\n    when: 'request.metadata.env == \"prod\"'\n    allow: {}\n";
    let red = team("red");
    let verdict = decide(&bundle(rules), &facts(&red, 0));
    assert_eq!((verdict.decision, verdict.code), (Decision::Deny, code::POLICY_ERROR));
    assert_eq!(verdict.reasons[0].rule, "env");
    assert!(verdict.message.contains("No such key: env"), "{}", verdict.message);
}

#[test]
fn an_expired_key_is_denied_whatever_the_bundle_says() {
    let red = Principal { expires_at_us: Some(1_795_000_000_000_000), ..team("red") };
    let verdict = decide(&builtin_default().unwrap(), &facts(&red, 0));
    assert_eq!((verdict.decision, verdict.code), (Decision::Deny, code::KEY_EXPIRED));
}

#[test]
fn every_step_applied_gives_its_figures() {
    let kyc = team("kyc");
    let verdict = decide(&builtin_default().unwrap(), &facts(&kyc, 8_120));
    assert_eq!(verdict.prefer, Some(Prefer::Cheapest));
    assert_eq!(
        details(&verdict),
        [
            "access rule `known-keys` allows the call",
            "team `kyc` has spent 81.20 of 100.00 USD this month (81 %), as of signals sig-7; \
             preferring the cheapest target"
        ]
    );
}

#[test]
fn spend_exactly_at_a_threshold_counts_as_over() {
    let (default, kyc) = (builtin_default().unwrap(), team("kyc"));
    let at = |spent: Usd| {
        let spend = Some(Spend { month_to_date: spent, age_s: 0 });
        decide(&default, &Given { spend, ..facts(&kyc, 0) })
    };
    let just_below = |dollars: i64| Usd::from_dollars(dollars) - Usd::new(1);
    assert_eq!(at(just_below(80)).prefer, None);
    assert_eq!(at(Usd::from_dollars(80)).prefer, Some(Prefer::Cheapest));
    assert_eq!(at(just_below(100)).decision, Decision::Allow);
    let over = at(Usd::from_dollars(100));
    assert_eq!((over.decision, over.code, over.prefer), (Decision::Deny, code::BUDGET_EXCEEDED, None));
    assert_eq!(over.message, "team `kyc` has spent 100.00 of its 100.00 USD for this month (budget `team-month`)");
    assert_eq!(over.hint, "wait for 2026-12-01 (UTC) or ask for a larger budget");
}

#[test]
fn unknown_spend_is_what_the_budget_says_it_is() {
    let with = |words: &str| {
        bundle(&format!(
            "{ALLOW_ALL}budgets:\n  - id: b\n    scope: {{team: '*'}}\n    limit: {{usd: 1, per: month}}\n    steps:\n      - {{at: 0.5, prefer: {{tag: small}}}}\n      - {{at: 1, deny_unless: 'request.stream'}}\n    {words}\n"
        ))
    };
    let red = team("red");
    let missing = Given { spend: None, ..facts(&red, 0) };
    let old = Given { spend: Some(Spend { month_to_date: Usd::ZERO, age_s: 61 }), ..facts(&red, 0) };
    for unsure in [missing, old] {
        let careful = decide(&with("on_stale: conservative"), &unsure);
        assert_eq!((careful.decision, careful.prefer), (Decision::Allow, Some(Prefer::Tag("small".into()))));
        assert!(careful.reasons.iter().any(|reason| reason.rule == "b"));
        let lax = decide(&with("on_stale: allow"), &unsure);
        assert_eq!((lax.decision, lax.prefer), (Decision::Allow, None));
        assert!(lax.reasons.iter().any(|reason| reason.rule == "b"), "even `allow` leaves a reason");
        let strict = decide(&with("on_stale: deny"), &unsure);
        assert_eq!((strict.decision, strict.code), (Decision::Deny, code::SPEND_UNKNOWN));
        let exempt =
            decide(&with("on_stale: deny"), &Given { facts: Facts { stream: true, ..unsure.facts }, ..unsure });
        assert_eq!(exempt.decision, Decision::Allow);
    }
    let lenient_at_start = decide(&with("on_stale: deny\n    on_missing: allow"), &missing);
    assert_eq!(lenient_at_start.decision, Decision::Allow);
    let fresh = Given { spend: Some(Spend { month_to_date: Usd::ZERO, age_s: 60 }), ..facts(&red, 0) };
    assert_eq!(decide(&with("on_stale: deny"), &fresh).decision, Decision::Allow);
}

#[test]
fn a_team_with_its_own_budget_is_not_held_to_that_of_the_others() {
    let budget = |id: &str, team: &str, usd: u32| {
        format!(
            "  - id: {id}\n    scope: {{team: '{team}'}}\n    limit: {{usd: {usd}, per: month}}\n    steps: [{{at: 1.0, deny_unless: 'false'}}]\n"
        )
    };
    let rules = format!("{ALLOW_ALL}budgets:\n{}{}", budget("others", "*", 1), budget("kyc", "kyc", 10));
    let (rules, kyc, red) = (bundle(&rules), team("kyc"), team("red"));
    assert_eq!(decide(&rules, &facts(&kyc, 500)).decision, Decision::Allow);
    assert_eq!(decide(&rules, &facts(&red, 500)).reasons.last().unwrap().rule, "others");
    assert_eq!(decide(&rules, &facts(&kyc, 1_000)).reasons.last().unwrap().rule, "kyc");
}

#[test]
fn a_budget_of_nothing_allows_nothing() {
    let rules = format!(
        "{ALLOW_ALL}budgets:\n  - id: none\n    scope: {{team: '*'}}\n    limit: {{usd: 0, per: month}}\n    steps: [{{at: 1.0, deny_unless: 'budget.used_percent == null && request.stream'}}]\n"
    );
    let red = team("red");
    assert_eq!(decide(&bundle(&rules), &facts(&red, 0)).code, code::BUDGET_EXCEEDED);
}

#[test]
fn a_model_outside_the_list_is_named() {
    let rules = "access:\n  - id: gpt\n    when: 'true'\n    allow: {models: ['openai/gpt-4*', assistant], operations: [chat]}\n";
    let red = team("red");
    let verdict = decide(&bundle(rules), &facts(&red, 0));
    assert_eq!((verdict.code, verdict.reasons[0].rule.as_str()), (code::MODEL_NOT_ALLOWED, "gpt"));
    assert_eq!(verdict.message, "team `red` may not use the model `openai/gpt-5`");
    let verdict = decide(
        &bundle(rules),
        &Given { facts: Facts { operation: Operation::Embeddings, ..facts(&red, 0).facts }, spend: None },
    );
    assert_eq!(verdict.code, code::OPERATION_NOT_ALLOWED);
}

#[test]
fn a_decision_costs_a_fraction_of_building_the_interpreter() {
    let (default, kyc) = (builtin_default().unwrap(), team("kyc"));
    let time_ns = |run: &dyn Fn()| {
        let started = std::time::Instant::now();
        (0..1_000).for_each(|_| run());
        started.elapsed().as_nanos() / 1_000
    };
    let cheap = facts(&kyc, 10);
    let evaluating = facts(&kyc, 20_000);
    let evaluating = Given { facts: Facts { priority: Some("critical"), ..evaluating.facts }, ..evaluating };
    let decide_ns = time_ns(&|| drop(std::hint::black_box(decide(&default, std::hint::black_box(&cheap)))));
    let evaluate_ns = time_ns(&|| drop(std::hint::black_box(decide(&default, std::hint::black_box(&evaluating)))));
    let build_ns = time_ns(&|| drop(std::hint::black_box(Env::stdlib())));
    assert!(decide_ns * 10 < build_ns, "decide {decide_ns} ns, build {build_ns} ns");
    assert!(evaluate_ns < build_ns, "evaluate {evaluate_ns} ns, build {build_ns} ns");
}

fn refused_route(entry: &str) -> String {
    refused(&format!("{ALLOW_ALL}{entry}"))
}

#[test]
fn what_is_wrong_with_a_route_is_said_with_its_place() {
    let route = |rest: &str| refused_route(&format!("routes:\n  - id: r\n    alias: assistant\n{rest}"));
    let cases = [
        ("    targets: [a/1, b/2]\n    strategy: single\n", "line 10", "has 2 targets"),
        ("    targets: []\n", "line 10", "has 0 targets"),
        ("    targets: [a/1]\n    strategy: wieghted\n", "line 11", "did you mean `weighted`?"),
        ("    targets: [a/1, {target: b/2, weight: 3}]\n", "line 10", "not `strategy: weighted`"),
        ("    targets: [a/1]\n    strategy: quality\n", "line 8", "no `floor`"),
        ("    targets: [a/1]\n    floor: 0.5\n", "line 11", "`strategy: quality` alone"),
        ("    targets: [a/1]\n    hedge: {after: p96}\n", "line 11", "`p96` is not when to hedge"),
        ("    targets: [a/1]\n    timeouts: {per_try: 3}\n", "line 11", "`3` is not a length of time"),
        ("    targets: [a/1]\n    shadow: {to: b/2, share: 1.5}\n", "line 11", "`1.5` is not a share"),
        ("    targets: [a/1, a/1]\n", "line 10", "names the target `a/1` twice"),
        ("    targets: [assistant]\n", "line 10, column 15", "leads to `assistant` itself"),
        ("    targets: ['a/*']\n", "line 10", "is not a target"),
        (
            "    targets: [a/1]\n    when: 'request.estimated_input_token > 3'\n",
            "line 11",
            "did you mean `request.estimated_input_tokens`?",
        ),
        ("    targets: [a/1]\n  - {id: s, alias: assistant, targets: [b/2]}\n", "line 11", "can never match"),
    ];
    for (rest, place, message) in cases {
        let said = route(rest);
        assert!(said.starts_with(place) && said.contains(message), "{rest}{said}");
    }
}

#[test]
fn a_circle_of_routes_is_refused_where_it_closes() {
    let circle = "routes:\n  - {id: r, alias: a, targets: [x/1, b]}\n  - {id: s, alias: b, targets: [c]}\n  - {id: t, alias: c, targets: [a]}\n";
    let said = refused_route(circle);
    assert!(said.starts_with("line 8, column 38"), "{said}");
    assert!(said.contains("route `r` leads from `a` to `b` and from there back to `a`"), "{said}");
}

#[test]
fn what_is_wrong_with_an_experiment_is_said_with_its_place() {
    let with = |unit: &str, arms: &str| {
        refused_route(&format!("experiments:\n  - id: e\n    alias: assistant\n    unit: {unit}\n    arms: [{arms}]\n"))
    };
    let two = "{name: a, weight: 1, target: a/1}, {name: b, weight: 1, target: b/2}";
    assert!(with("usr", two).contains("did you mean `user`?"));
    assert!(with("user", "{name: a, weight: 1, target: a/1}").contains("has 1 arms"));
    assert!(with("user", &two.replace("name: b", "name: a")).contains("two arms `a`"));
    assert!(with("user", &two.replace("weight: 1", "weight: 0")).contains("are zero"));
    assert!(with("user", &two.replace("target: b/2", "route: nowhere")).contains("no route has the id `nowhere`"));
    assert!(with("user", &two.replace("target: b/2", "target: assistant")).contains("leads back to `assistant`"));
}

#[test]
fn targets_are_checked_against_what_the_gateway_has() {
    let routes = format!("{ALLOW_ALL}routes:\n  - {{id: r, alias: assistant, targets: [openai/gpt-5, fast]}}\n");
    let bundle = bundle(&routes);
    let names = ["openai/gpt-5".to_owned(), "fats".to_owned()];
    let none = std::collections::BTreeMap::new();
    let error = bundle.check_targets(|name| names.iter().any(|known| known == name), &names, &none).unwrap_err();
    assert_eq!((error.line, error.column), (8, 55));
    assert!(error.message.contains("`fast` is neither") && error.message.contains("did you mean `fats`?"), "{error}");
    let circle = [("fast".to_owned(), vec!["assistant".to_owned()])].into();
    let error = bundle.check_targets(|_| true, &names, &circle).unwrap_err();
    assert!(error.message.contains("back to `assistant`"), "{error}");
    assert_eq!(bundle.check_targets(|_| true, &names, &none), Ok(()));
}

#[test]
fn a_test_can_say_which_way_a_call_goes() {
    let with = |expect: &str| {
        let yaml = format!(
            "{ALLOW_ALL}routes:\n  - {{id: gold, alias: assistant, when: 'request.segment == \"gold\"', targets: [a/1]}}\n\
             experiments:\n  - id: tone\n    alias: assistant\n    unit: conversation\n    salt: s1\n    arms: [{{name: x, weight: 1, \
             target: a/1}}, {{name: y, weight: 0, target: b/2}}]\n\
             tests:\n  - given: {{request.model: assistant, request.metadata: {{segment: gold}}, request.conversation: c}}\n    \
             expect: {{{expect}}}\n"
        );
        run_tests(&bundle(&yaml)).remove(0).failure
    };
    assert_eq!(with("route: gold, arm: x"), None);
    assert_eq!(with("arm: none").as_deref(), Some("expected the arm `none`, got `x`"));
    assert_eq!(with("route: none").as_deref(), Some("expected the route `none`, got `gold`"));
}

#[test]
fn the_schema_has_every_section_that_a_bundle_may_have() {
    let schema = json_schema();
    let properties = schema.get("properties").and_then(|found| found.as_object()).unwrap();
    let mut described: Vec<&str> = properties.keys().map(String::as_str).collect();
    described.sort_unstable();
    let mut sections = SECTIONS.to_vec();
    sections.sort_unstable();
    assert_eq!(described, sections);
    let read = names_in(&refusal("zzzzzz: []\n"));
    assert!(read.len() > 5, "{read:?}");
    assert!(read.iter().all(|section| sections.contains(&section.as_str())), "{read:?}");
}

/// The names that a complaint about an unknown one lists: those that the reader itself knows.
fn names_in(complaint: &str) -> Vec<String> {
    complaint.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_schema_has_every_field_that_a_rule_may_have() {
    let schema = json_schema();
    let mut compared = 0;
    for section in ["data_classes", "access", "residency", "guardrails", "limits", "budgets", "routes", "experiments"] {
        let rule = schema.pointer(&format!("/properties/{section}/items/$ref")).and_then(|name| name.as_str()).unwrap();
        let fields = schema.pointer(&format!("{}/properties", rule.trim_start_matches('#'))).unwrap();
        let mut described: Vec<String> = fields.as_object().unwrap().keys().cloned().collect();
        described.sort_unstable();
        let complaint = refused(&format!("{section}:\n  - {{zzzzzz: 1}}\n"));
        if complaint.contains("not known to this version") {
            continue;
        }
        let mut read = names_in(&complaint);
        read.sort_unstable();
        assert_eq!(described, read, "{section}: {complaint}");
        compared += 1;
    }
    assert!(compared >= 6, "{compared} sections");
}

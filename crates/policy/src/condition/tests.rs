use tollgate_interaction::{Dialect, Operation};

use super::*;
use crate::bundle;
use crate::control::Principal;

fn outcome(text: &str, facts: &Facts<'_>) -> Result<bool, String> {
    let bundle = bundle::builtin_default().unwrap();
    let grammar = Grammar { env: &bundle.env, classes: &["personal".to_owned(), "public".to_owned()] };
    let conditions =
        Conditions::compile(&[text], false, Phase::Access, &grammar).map_err(|(_, error)| error.message)?;
    conditions.hold(&Scope::of_request(&bundle, facts)).map_err(|error| error.to_string())
}

fn holds(text: &str) -> Result<bool, String> {
    let principal = Principal { team: "kyc".into(), tenant: "acme".into(), ..Principal::default() };
    let metadata = [("env".to_owned(), "prod".to_owned()), ("case".to_owned(), "7".to_owned())];
    // 2026-11-18T11:06:40Z, a Wednesday.
    let now_us = 1_795_000_000_000_000;
    let facts = Facts {
        stream: true,
        metadata: &metadata,
        data_class: Some("personal"),
        capabilities: &["tools".to_owned()],
        ..Facts::new(&principal, Operation::Chat, Dialect::Anthropic, "openai/gpt-5-mini", now_us)
    };
    outcome(text, &facts)
}

#[test]
fn conditions_mean_what_they_say() {
    for text in [
        "principal.team == 'kyc' && request.stream",
        "principal.team in ['kyc', 'red']",
        "request.model.startsWith('openai/') && !request.model.endsWith('-pro')",
        "request.metadata.env == 'prod' && request.metadata['case'] == '7'",
        "'env' in request.metadata && has(request.metadata.env) && !has(request.metadata.region)",
        "['a', 'openai/gpt-5-mini'].exists(model, model == request.model)",
        "request.metadata.all(name, size(name) <= 4)",
        "request.priority == null && principal.project == null && !has(request.priority)",
        "request.priority != 'critical'",
        "request.weekday == 3 && request.hour + 1 == 12 && request.day * 2 == 36",
        "int(request.metadata.case) < 8 && request.hour < 11.5",
        "'tools' in request.capabilities && !('vision' in request.capabilities) && size(request.capabilities) == 1",
        "request.data_class in ['personal'] && has(request.data_class) && !has(request.region)",
        "request.estimated_input_tokens == null && principal.role != 'admin' && size(principal.scopes) == 0",
        "request.operation == 'chat' ? request.dialect == 'anthropic' : false",
    ] {
        assert_eq!(holds(text), Ok(true), "{text}");
    }
}

#[test]
fn what_cannot_be_known_or_fit_is_refused_at_load() {
    for (text, complaint) in [
        ("principal.teem == 'kyc'", "unknown variable `principal.teem`; did you mean `principal.team`?"),
        ("team == 'kyc'", "unknown variable `team`; did you mean `principal.team`?"),
        ("request == 'x'", "`request` is a group of variables"),
        ("request.model.name == 'x'", "`request.model` has no fields"),
        ("request.stream == 'yes'", "true or false never equals a text"),
        ("request.model", "a condition is true or false; this is a text"),
        ("request.model && request.stream", "need true or false"),
        ("request.model > 3", "have no order"),
        ("request.hour + 1.5 > 2.0", "cannot calculate with a whole number and a decimal number"),
        ("request.hour in ['a']", "the list never holds a whole number"),
        ("request.model.startWith('x')", "unknown function `startWith`; did you mean `startsWith`?"),
        ("request.model.matches('x')", "`matches` is not offered"),
        ("request.model.startsWith(3)", "`startsWith` cannot be called like this"),
        ("has(request.model)", "`request.model` is always present"),
        ("request.operation == 'chatt'", "`request.operation` is never `chatt`; did you mean `chat`?"),
        (
            "request.data_class in ['public', 'persnal']",
            "`request.data_class` is never `persnal`; did you mean `personal`?",
        ),
        ("target.self_hosted", "not known in `access`; it exists in `guardrails`"),
        ("request.capabilities == 'tools'", "a list never equals a text"),
        ("request.estimated_input_tokens > '1000'", "have no order"),
        ("request.estimated_input_tokens == '1000'", "a whole number never equals a text"),
        ("request.estimated_input_tokens", "a condition is true or false; this is a whole number"),
        ("principal.role == 'admn'", "`principal.role` is never `admn`; did you mean `admin`?"),
        ("{'a': 1}['a'] == 1", "cannot hold maps"),
        ("request.hour == 3u", "without `u`"),
        ("request.?model == 'x'", "cannot be read"),
        ("request.model ==", "cannot be read"),
        ("", "the condition is empty"),
        ("[1].exists(a, [1].exists(b, [1].exists(c, a == b)))", "nested 2 deep"),
        ("[1].map(x, x)", "a condition is true or false; this is a list"),
    ] {
        let found = holds(text).unwrap_err();
        assert!(found.contains(complaint), "{text}: {found}");
    }
}

#[test]
fn an_endless_condition_is_refused() {
    assert!(holds(&format!("'{}' == ''", "x".repeat(3_000))).unwrap_err().contains("the limit is 2000"));
    assert!(holds(&["true"; 250].join("||")).unwrap_err().contains("parts; split it"));
}

#[test]
fn a_failure_at_run_time_is_not_false() {
    for text in ["request.metadata.nothing == ''", "!(request.metadata.nothing == '')", "request.hour / 0 == 1"] {
        assert!(holds(text).is_err(), "{text}");
    }
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
    let nested = [
        format!("{}true{}", "(".repeat(900), ")".repeat(900)),
        format!("{}true{}", "[".repeat(900), "]".repeat(900)),
        format!("{}true", "!(".repeat(900)),
        "-".repeat(1_900),
        format!("request{}", ".a".repeat(900)),
        format!("1{}", "+1".repeat(900)),
        format!("true{}", "?true:true".repeat(180)),
        format!("'a'{}", ".size()".repeat(250)),
    ];
    for deepest_accepted in [
        format!("{}true{}", "(".repeat(40), ")".repeat(40)),
        format!("{}true", "!".repeat(1_900)),
        format!("1{} == 48", "+1".repeat(47)),
        format!("true{}", "&&true".repeat(190)),
        format!("!(request.model in ['{}'])", ["gpt-5-mini-2026-11-01"; 50].join("', '")),
        format!("{}request.stream{}", "(request.stream&&".repeat(40), ")".repeat(40)),
    ] {
        assert_eq!(holds(&deepest_accepted), Ok(true), "{}", &deepest_accepted[..40]);
    }
    for text in nested {
        assert!(holds(&text).is_err(), "{}", &text[..40]);
    }
}

#[test]
fn no_prefix_of_a_condition_makes_the_loader_panic() {
    let text = "request.metadata.all(n, n in ['a', \"b\"] && has(request.priority)) || int('7') % 2 == -1 ? true : [1][0] > 2.5";
    for (end, _) in text.char_indices() {
        let _ = holds(&text[..end]);
    }
}

#[test]
fn what_is_recalled_is_what_an_evaluation_gives() {
    let bundle = bundle::builtin_default().unwrap();
    let grammar = Grammar { env: &bundle.env, classes: &[] };
    let texts = [
        "principal.team == 'kyc' && request.stream",
        "principal.project == null || has(request.priority)",
        "request.metadata.env == 'prod'",
        "has(request.metadata.env) && request.metadata.env == 'prod'",
        "request.metadata.all(name, size(name) <= 4)",
        "'env' in request.metadata && request.metadata['case'] != '7'",
        "request.hour < 12 && request.weekday <= 5 || request.day == 1",
        "size(request.capabilities) == 1 && !('vision' in request.capabilities)",
        "['a', 'b'].exists(model, model == request.model)",
        "request.estimated_input_tokens == null || request.estimated_input_tokens > 4",
        "int(request.metadata.case) < 8",
        "request.operation == 'chat' ? request.dialect == 'anthropic' : principal.role != 'admin'",
    ];
    let conditions = texts.map(|text| Conditions::compile(&[text], false, Phase::Access, &grammar).unwrap());
    let recall = RefCell::new(Recall::default());
    let mut number = 17_u64;
    let mut below = |limit: u64| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 33) % limit
    };
    let mut found = [0; 3];
    for _ in 0..3_000 {
        let team = ["kyc", "red"][below(2) as usize].to_owned();
        let project = (below(2) == 0).then(|| "p".to_owned());
        let principal = Principal { team, project, ..Principal::default() };
        let mut metadata = Vec::new();
        for (name, value) in [("env", ["prod", "test"]), ("case", ["7", "x"]), ("longer", ["1", "2"])] {
            if below(2) == 0 {
                metadata.push((name.to_owned(), value[below(2) as usize].to_owned()));
            }
        }
        let capabilities = [["tools"].as_slice(), &["vision"], &["tools", "vision"], &[]][below(4) as usize];
        let capabilities: Vec<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
        let facts = Facts {
            stream: below(2) == 0,
            metadata: &metadata,
            capabilities: &capabilities,
            priority: (below(2) == 0).then_some("high"),
            estimated_input_tokens: (below(2) == 0).then(|| below(9)),
            ..Facts::new(
                &principal,
                [Operation::Chat, Operation::Embeddings][below(2) as usize],
                [Dialect::Anthropic, Dialect::Openai][below(2) as usize],
                ["a", "c"][below(2) as usize],
                1_795_000_000_000_000 + i64::try_from(below(40)).unwrap() * 3_600_000_000,
            )
        };
        for (conditions, text) in conditions.iter().zip(texts) {
            let told = |result: Result<bool, EvaluationError>| result.map_err(|error| error.to_string());
            let direct = told(conditions.hold(&Scope::of_request(&bundle, &facts)));
            let recalled = told(conditions.hold(&Scope::of_request(&bundle, &facts).recalling(&recall)));
            assert_eq!(direct, recalled, "{text}");
            found[direct.map_or(2, usize::from)] += 1;
        }
    }
    assert!(found.iter().all(|count| *count > 1_000), "{found:?}");
}

#[test]
fn a_condition_that_is_seldom_the_same_is_given_up_on() {
    let bundle = bundle::builtin_default().unwrap();
    let grammar = Grammar { env: &bundle.env, classes: &[] };
    let conditions = Conditions::compile(&["request.model == 'a'"], false, Phase::Access, &grammar).unwrap();
    let recall = RefCell::new(Recall::default());
    let principal = Principal::default();
    for number in 0..10_000 {
        let model = format!("model-{number}");
        let facts = Facts::new(&principal, Operation::Chat, Dialect::Openai, &model, 0);
        assert!(!conditions.hold(&Scope::of_request(&bundle, &facts).recalling(&recall)).unwrap());
    }
    assert!(recall.borrow().len() <= 1_000);
}

use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as AnyValue;
use tollgate_interaction::{Dialect, Operation, Share, Usd};

use super::*;
use crate::Prefer;
use crate::bundle;
use crate::control::Principal;
use crate::facts::Facts;

const NAMES: [&str; 4] = ["a/1", "b/2", "c/3", "d/4"];

fn candidate(at: usize) -> Candidate<'static> {
    Candidate {
        target: NAMES[at],
        weight: 1,
        excluded: None,
        rest: Rest::No,
        cost: None,
        load_us: None,
        p50_ms: None,
        quality_lower: None,
        has_preferred_tag: false,
        stands_by: false,
    }
}

fn question<'a>(strategy: Strategy, candidates: &'a [Candidate<'a>], draw: u32) -> Question<'a> {
    Question {
        route: "assistant",
        is_of_bundle: false,
        strategy,
        floor: None,
        when_all_rest: WhenAllRest::Try,
        candidates,
        prefer: None,
        min_quality: None,
        assignment: None,
        draw: Share::new(draw),
    }
}

fn names(question: &Question<'_>) -> Vec<&'static str> {
    choose(question).order.into_iter().map(|at| NAMES[at]).collect()
}

fn quality(millionths: u32) -> Option<Share> {
    Some(Share::new(millionths))
}

#[test]
fn a_fallback_chain_is_tried_as_it_is_written() {
    let candidates = [candidate(0), candidate(1), candidate(2)];
    assert_eq!(names(&question(Strategy::Fallback, &candidates, 999_999)), ["a/1", "b/2", "c/3"]);
    assert_eq!(names(&question(Strategy::Single, &candidates, 0)), ["a/1"]);
}

#[test]
fn round_robin_starts_where_the_turn_says_and_goes_on_from_there() {
    let candidates = [candidate(0), candidate(1), candidate(2)];
    assert_eq!(names(&question(Strategy::RoundRobin, &candidates, 0)), ["a/1", "b/2", "c/3"]);
    assert_eq!(names(&question(Strategy::RoundRobin, &candidates, 500_000)), ["b/2", "c/3", "a/1"]);
    assert_eq!(names(&question(Strategy::RoundRobin, &candidates, 999_999)), ["c/3", "a/1", "b/2"]);
}

#[test]
fn every_draw_falls_on_a_target_as_often_as_its_weight_says() {
    let weights = [50, 30, 0, 20];
    let candidates: Vec<Candidate<'_>> = (0..4).map(|at| Candidate { weight: weights[at], ..candidate(at) }).collect();
    let mut firsts = [0_u32; 4];
    for draw in (0..1_000_000).step_by(100) {
        let choice = choose(&question(Strategy::Weighted, &candidates, draw));
        let first = choice.order[0];
        firsts[first] += 1;
        assert_eq!(choice.propensity, Share::of(u64::from(weights[first]), 100));
        assert_eq!(choice.order.len(), 4, "those not drawn stand by");
    }
    assert_eq!(firsts, [5_000, 3_000, 0, 2_000]);
}

#[test]
fn weights_of_targets_that_are_left_out_go_to_the_others() {
    let mut candidates = [candidate(0), candidate(1), candidate(2)];
    (candidates[0].weight, candidates[1].weight, candidates[2].weight) = (98, 1, 1);
    candidates[0].excluded = Some("no_region");
    let choice = choose(&question(Strategy::Weighted, &candidates, 499_999));
    assert_eq!((choice.order.as_slice(), choice.propensity), (&[1, 2][..], Some(Share::new(500_000))));
}

#[test]
fn the_cheapest_target_is_the_one_that_this_call_is_cheapest_at() {
    let mut candidates = [candidate(0), candidate(1), candidate(2)];
    candidates[1].cost = Some(Usd::from_dollars(2));
    candidates[2].cost = Some(Usd::from_dollars(1));
    assert_eq!(names(&question(Strategy::Cost, &candidates, 0)), ["c/3", "b/2", "a/1"]);
}

#[test]
fn of_two_drawn_targets_the_less_busy_one_comes_first_and_the_busiest_never_does() {
    let mut candidates = [candidate(0), candidate(1), candidate(2)];
    for (at, load_us) in [30, 20, 10].into_iter().enumerate() {
        candidates[at].load_us = Some(load_us);
    }
    let mut firsts = [0_u32; 3];
    for draw in (0..1_000_000).step_by(1_000) {
        let choice = choose(&question(Strategy::Latency, &candidates, draw));
        firsts[choice.order[0]] += 1;
        assert_eq!(choice.order.len(), 3);
    }
    // Of the three pairs two hold the least busy one, and the busiest wins none.
    assert_eq!(firsts[0], 0);
    assert!((330..=336).contains(&firsts[1]), "{firsts:?}");
    let choice = choose(&question(Strategy::Latency, &candidates, 0));
    assert_eq!((choice.order.as_slice(), choice.propensity), (&[2, 1, 0][..], Some(Share::new(666_666))));
    assert_eq!(names(&question(Strategy::Latency, &candidates, 999_999)), ["b/2", "a/1", "c/3"]);
}

#[test]
fn two_targets_are_not_drawn_from() {
    let mut candidates = [candidate(0), candidate(1)];
    (candidates[0].load_us, candidates[1].load_us) = (Some(2), Some(1));
    let choice = choose(&question(Strategy::Latency, &candidates, 999_999));
    assert_eq!((choice.order.as_slice(), choice.used_draw, choice.propensity), (&[1, 0][..], false, None));
}

#[test]
fn the_cheapest_of_those_good_enough_comes_before_what_is_cheaper_and_worse() {
    let mut candidates = [candidate(0), candidate(1), candidate(2), candidate(3)];
    let known = [(1, quality(100_000)), (9, quality(900_000)), (5, quality(800_000)), (2, None)];
    for (at, (dollars, lower)) in known.into_iter().enumerate() {
        (candidates[at].cost, candidates[at].quality_lower) = (Some(Usd::from_dollars(dollars)), lower);
    }
    let asked = |on_unknown| {
        let floor = Some(Floor { at: Share::new(700_000), on_unknown });
        Question { floor, ..question(Strategy::Quality, &candidates, 0) }
    };
    assert_eq!(names(&asked(OnUnknown::Last)), ["c/3", "b/2", "d/4", "a/1"]);
    assert_eq!(names(&asked(OnUnknown::Accept)), ["d/4", "c/3", "b/2", "a/1"]);
    assert_eq!(names(&asked(OnUnknown::Exclude)), ["c/3", "b/2", "a/1"]);
    assert_eq!(choose(&asked(OnUnknown::Exclude)).left_out, [(3, "quality_unknown")]);
}

/// Cost in dollars, and the lower bound of the quality.
fn judged(known: [(i64, Option<u32>); 3]) -> [Candidate<'static>; 3] {
    std::array::from_fn(|at| {
        let (dollars, lower) = known[at];
        Candidate { cost: Some(Usd::from_dollars(dollars)), quality_lower: lower.map(Share::new), ..candidate(at) }
    })
}

#[test]
fn a_budget_that_wants_quality_has_the_good_tried_first_whatever_the_strategy() {
    let candidates = judged([(1, Some(300_000)), (5, None), (9, Some(950_000))]);
    let asked = |strategy| Question { min_quality: quality(920_000), ..question(strategy, &candidates, 0) };
    for strategy in [Strategy::Fallback, Strategy::Cost, Strategy::Weighted, Strategy::RoundRobin] {
        assert_eq!(
            names(&asked(strategy)),
            ["c/3", "b/2", "a/1"],
            "{strategy:?}: who is known to fall short comes last"
        );
    }
    let choice = choose(&asked(Strategy::Weighted));
    assert_eq!(choice.propensity, None, "no chance put it first");
    assert!(choice.reasons[0].detail.ends_with(", then with a quality of at least 0.92"), "{:?}", choice.reasons);
    let unknown = judged([(1, None), (5, None), (9, None)]);
    let asked = Question { min_quality: quality(920_000), ..question(Strategy::Fallback, &unknown, 0) };
    assert_eq!(names(&asked), ["a/1", "b/2", "c/3"], "where nothing is known it changes nothing");
}

#[test]
fn a_budget_that_wants_quality_and_the_cheapest_gets_the_cheapest_of_the_good() {
    let candidates = judged([(9, Some(950_000)), (5, Some(930_000)), (1, Some(300_000))]);
    let (prefer, min_quality) = (Some(&Prefer::Cheapest), quality(920_000));
    let asked = Question { prefer, min_quality, ..question(Strategy::Fallback, &candidates, 0) };
    assert_eq!(names(&asked), ["b/2", "a/1", "c/3"]);
    // A route that goes by quality itself: the higher floor holds.
    let floor = Some(Floor { at: Share::new(200_000), on_unknown: OnUnknown::Last });
    let route = Question { floor, ..question(Strategy::Quality, &candidates, 0) };
    assert_eq!(names(&route), ["c/3", "b/2", "a/1"]);
    assert_eq!(names(&Question { min_quality, ..route }), ["b/2", "a/1", "c/3"]);
    assert_eq!(names(&Question { min_quality: quality(100_000), ..route }), ["c/3", "b/2", "a/1"]);
}

#[test]
fn the_sentence_on_a_choice_reads_back() {
    let candidates = [candidate(0), candidate(1), candidate(2)];
    for strategy in Strategy::ALL {
        for (is_of_bundle, prefer) in [(false, None), (true, None), (true, Some(Prefer::Tag("by `cost`".into())))] {
            let asked = Question { is_of_bundle, prefer: prefer.as_ref(), ..question(strategy, &candidates, 500_000) };
            let detail = choose(&asked).reasons.remove(0).detail;
            let expected = Noted { strategy, among: 3, is_of_bundle, has_preference: prefer.is_some() };
            assert_eq!(Noted::read(&detail), Some(expected), "{detail}");
        }
    }
    let alone = [candidate(0)];
    assert_eq!(choose(&question(Strategy::Fallback, &alone, 0)).reasons, []);
    let of_bundle = Question { is_of_bundle: true, ..question(Strategy::Single, &alone, 0) };
    assert_eq!(choose(&of_bundle).reasons[0].detail, "`a/1` first of 1 by `single` of the bundle");
    assert_eq!(Noted::read("access rule `all` allows the call"), None);
}

#[test]
fn targets_that_rest_are_left_out_as_long_as_one_does_not() {
    let mut candidates = [candidate(0), candidate(1), candidate(2)];
    (candidates[0].rest, candidates[1].rest) = (Rest::Failing, Rest::Strict);
    let asked = question(Strategy::Fallback, &candidates, 0);
    assert_eq!(names(&asked), ["c/3"]);
    let mut all_rest = candidates;
    all_rest[2].rest = Rest::Strict;
    let asked = question(Strategy::Fallback, &all_rest, 0);
    assert_eq!(names(&asked), ["a/1"], "the last resort");
    assert_eq!(names(&Question { when_all_rest: WhenAllRest::Refuse, ..asked }), [""; 0]);
}

#[test]
fn what_a_budget_prefers_comes_before_the_strategy() {
    let mut candidates = [candidate(0), candidate(1)];
    candidates[1].has_preferred_tag = true;
    let tag = Prefer::Tag("open-weights".into());
    let asked = Question { prefer: Some(&tag), ..question(Strategy::Fallback, &candidates, 0) };
    assert_eq!(names(&asked), ["b/2", "a/1"]);
    let choice = choose(&asked);
    assert!(choice.reasons[0].detail.contains("`b/2` first of 2 by `fallback`"), "{:?}", choice.reasons);
}

#[test]
fn an_arms_target_comes_first_and_the_others_stand_by() {
    let mut candidates = [candidate(0), candidate(1), candidate(2)];
    (candidates[1].stands_by, candidates[2].stands_by) = (true, true);
    candidates[1].cost = Some(Usd::ZERO);
    let assignment = Assignment {
        experiment: "tone".into(),
        arm: "new".into(),
        propensity: Share::new(250_000),
        unit: "user".into(),
    };
    let asked = Question { assignment: Some(&assignment), ..question(Strategy::Cost, &candidates, 0) };
    let choice = choose(&asked);
    assert_eq!(choice.order, [0, 1, 2]);
    assert_eq!((choice.experiment.as_deref(), choice.arm.as_deref()), (Some("tone"), Some("new")));
    assert_eq!(choice.propensity, Some(Share::new(250_000)));
}

fn experiment(yaml: &str) -> bundle::Bundle {
    let head = "apiVersion: tollgate/v1\nbundle: {name: t}\naccess: [{id: all, when: 'true', allow: {}}]\n";
    bundle::load(&format!("{head}{yaml}")).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

const TONE: &str = "experiments:\n  - id: tone\n    alias: assistant\n    unit: user\n    salt: s1\n    arms:\n      \
                    - {name: control, weight: 60, target: a/1}\n      - {name: new, weight: 40, target: b/2}\n";

/// Chi-square of how ten thousand units fall, against the 0.1 % point of one degree of freedom: what is wrong by a tenth of
/// the arm fails by far. The hash is fixed, so it passes always or never.
#[test]
fn ten_thousand_units_are_divided_as_the_weights_say() {
    let bundle = experiment(TONE);
    let mut counts = [0.0_f64; 2];
    for number in 0..10_000 {
        let (arm, _) = bundle.experiments()[0].arm_of(&format!("user-{number}")).unwrap();
        counts[usize::from(arm.name == "new")] += 1.0;
    }
    let expected = [6_000.0, 4_000.0];
    let chi_square: f64 =
        counts.iter().zip(expected).map(|(seen, expected)| (seen - expected).powi(2) / expected).sum();
    assert!(chi_square < 10.83, "{counts:?} gives {chi_square}");
}

/// Pinned, as Python's `hashlib` has them: another version that assigned otherwise would tear every running experiment apart.
#[test]
fn a_unit_stays_in_its_arm_and_another_salt_divides_anew() {
    let first = experiment(TONE);
    let (arm, propensity) = first.experiments()[0].arm_of("user-1").unwrap();
    assert_eq!((arm.name.as_str(), propensity), ("new", Share::new(400_000)));
    let placed = |bundle: &bundle::Bundle| -> Vec<String> {
        (0..50).map(|at| bundle.experiments()[0].arm_of(&format!("user-{at}")).unwrap().0.name.clone()).collect()
    };
    let again = experiment(&TONE.replace("id: tone", "id: voice"));
    assert_eq!(placed(&first), placed(&again), "the salt decides, not the id");
    assert_ne!(placed(&first), placed(&experiment(&TONE.replace("s1", "s2"))));
    let news: Vec<usize> = (0..12).filter(|at| placed(&first)[*at] == "new").collect();
    assert_eq!(news, [0, 1, 3, 7, 10, 11]);
}

fn planned(
    yaml: &str,
    metadata: &[(String, String)],
    user: Option<&str>,
    tokens: u64,
) -> (Option<String>, Option<String>) {
    let bundle = experiment(yaml);
    let principal = Principal { key_id: "key-1".into(), ..Principal::default() };
    let capabilities = ["vision".to_owned()];
    let request = Facts {
        metadata,
        user_ref: user,
        estimated_input_tokens: Some(tokens),
        capabilities: &capabilities,
        ..Facts::new(&principal, Operation::Chat, Dialect::Openai, "assistant", 0)
    };
    let facts = RouteFacts { request, conversation: None };
    let planned = plan(&bundle, &facts).unwrap();
    let route = planned.route.map(|(_, route)| route.id.clone());
    (route, planned.arm.map(|(_, arm, _)| arm.name.clone()))
}

#[test]
fn the_first_route_whose_condition_holds_is_taken() {
    let yaml = "routes:\n  - {id: long, alias: assistant, when: 'request.estimated_input_tokens > 1000', targets: [a/1]}\n  \
                - {id: gold, alias: assistant, when: 'request.segment == \"gold\"', targets: [a/1]}\n  \
                - {id: eyes, alias: assistant, when: '\"vision\" in request.capabilities', targets: [b/2]}\n  \
                - {id: other, alias: elsewhere, targets: [c/3]}\n";
    let gold = [("segment".to_owned(), "gold".to_owned())];
    assert_eq!(planned(yaml, &gold, None, 5_000).0.as_deref(), Some("long"));
    assert_eq!(planned(yaml, &gold, None, 5).0.as_deref(), Some("gold"));
    assert_eq!(planned(yaml, &[], None, 5).0.as_deref(), Some("eyes"));
}

#[test]
fn a_call_without_the_unit_takes_no_part() {
    assert_eq!(planned(TONE, &[], Some("user-1"), 1), (None, Some("new".to_owned())));
    assert_eq!(planned(TONE, &[], None, 1), (None, None));
}

#[test]
fn a_time_reads_back_as_it_is_written() {
    for text in ["800ms", "10s", "90s"] {
        assert_eq!(Span::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Span::parse("5m"), Some(Span::from_ms(300_000)));
    for wrong in ["", "10", "s", "-1s", "0s", "1.5s", "25h", "10 s"] {
        assert_eq!(Span::parse(wrong), None, "{wrong}");
    }
    let retries = Retries { max: 9, ..Retries::NONE };
    let pauses: Vec<u128> = [1, 2, 3, 9].map(|round| retries.longest_pause(round).as_millis()).into();
    assert_eq!(pauses, [250, 500, 1_000, 8_000]);
}

fn any_candidate() -> impl AnyValue<Value = Candidate<'static>> {
    let rest = prop_oneof![Just(Rest::No), Just(Rest::Failing), Just(Rest::Strict)];
    let dollars = proptest::option::of(0_i64..5);
    let quality = proptest::option::of(0..=1_000_000_u32);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (0..4_usize, 0..3_u32, rest, dollars, proptest::option::of(0..9_u64), quality, flags).prop_map(
        |(at, weight, rest, dollars, number, quality, (is_excluded, has_preferred_tag, stands_by))| Candidate {
            weight,
            excluded: is_excluded.then_some("residency"),
            rest,
            cost: dollars.map(Usd::from_dollars),
            load_us: number,
            p50_ms: number,
            quality_lower: quality.map(Share::new),
            has_preferred_tag,
            stands_by,
            ..candidate(at)
        },
    )
}

proptest! {
    #[test]
    fn no_order_ever_holds_an_excluded_target_or_one_twice(
        candidates in proptest::collection::vec(any_candidate(), 0..7),
        strategy in prop::sample::select(vec![
            Strategy::Single, Strategy::Fallback, Strategy::RoundRobin, Strategy::Weighted,
            Strategy::Cost, Strategy::Latency, Strategy::Fastest, Strategy::Quality,
        ]),
        draw in 0..1_000_000_u32,
        refuse in any::<bool>(),
        prefer in prop_oneof![Just(None), Just(Some(Prefer::Cheapest)), Just(Some(Prefer::Tag("t".into())))],
        on_unknown in prop::sample::select(vec![OnUnknown::Accept, OnUnknown::Last, OnUnknown::Exclude]),
    ) {
        let when_all_rest = if refuse { WhenAllRest::Refuse } else { WhenAllRest::Try };
        let floor = Some(Floor { at: Share::new(500_000), on_unknown });
        let asked = Question {
            floor, when_all_rest, prefer: prefer.as_ref(), ..question(strategy, &candidates, draw)
        };
        let choice = choose(&asked);
        for at in &choice.order {
            prop_assert!(candidates[*at].excluded.is_none());
            prop_assert!(candidates[*at].rest != Rest::Strict);
            prop_assert!(!choice.left_out.iter().any(|(out, _)| out == at));
        }
        let mut once = choice.order.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), choice.order.len());
        // Whoever may be called is in it, unless one target is all there is.
        let may_be_called = |candidate: &&Candidate<'_>| candidate.excluded.is_none() && candidate.rest == Rest::No;
        let awake = candidates.iter().filter(may_be_called).count() - choice.left_out.iter()
            .filter(|(at, _)| candidates[*at].rest == Rest::No).count();
        if awake > 0 && strategy != Strategy::Single {
            prop_assert_eq!(choice.order.len(), awake);
        }
        prop_assert_eq!(choose(&asked), choice);
    }
}

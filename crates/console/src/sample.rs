//! Made-up reports for tests and for looking at pages: deterministic, with every kind of outcome, long names and gaps.

mod routing;

use crate::integrity::{
    CheckpointLine, IntegrityStatus, ProblemLine, VerificationView, WalLine, WitnessLine, WriterLine,
};
use serde_json::json;
use tollgate_interaction::{InteractionId, Usage, Usd};

use tollgate_analytics::backtest::BacktestReport;
use tollgate_analytics::report::{
    Arm, AsOf, AttemptView, Body, Bucket, CandidateView, CorrectionView, Corrections, CostDay, CostGroup, CostRow,
    Costs, Experiment, Experiments, FilterValues, Group, InteractionDetail, InteractionPage, InteractionRow,
    Judgements, Message, Metric, MetricKind, Overview, ReasonView, ReconciliationRow, RecordedCall, SeriesPoint,
    TimeRange, Totals, UnpricedRow, Verdict,
};
use tollgate_analytics::statistics::{Confidence, Interval, SampleRatio};

pub(crate) use routing::{routing, routing_at_first};

/// 2026-11-23T15:52:03.123456Z.
pub(crate) const NOW_US: i64 = 1_795_449_123_123_456;

const MODELS: [&str; 7] = [
    "claude-sonnet-4-5-20250929",
    "gpt-5-mini",
    "gpt-5",
    "sandbox-large",
    "text-embedding-3-small",
    "llama-4-maverick",
    "claude-haiku-4-5",
];
const TEAMS: [&str; 7] = ["payments", "kyc", "claims-automation", "support", "research", "fraud", "marketing"];
const PROVIDERS: [&str; 4] = ["claude-eu", "openai", "sandbox", "local"];

/// A wave between 0 and 1 that repeats every day, with some noise.
fn wave(step: i64, per_day: i64) -> f64 {
    let turn = (step % per_day) as f64 / per_day as f64 * std::f64::consts::TAU;
    let noise = ((step * 7919) % 97) as f64 / 97.0;
    (0.55 - 0.4 * turn.cos()) * (0.8 + 0.4 * noise)
}

fn totals(calls: u64, cost_millionths: i128) -> Totals {
    Totals {
        calls,
        success: calls * 93 / 100,
        denied: calls * 3 / 100,
        failed: calls * 2 / 100,
        cancelled: calls / 100,
        interrupted: calls / 500,
        cached: calls / 200,
        cost_usd: Usd::new(cost_millionths * 1_000_000),
        unpriced: calls / 4_000,
        input_tokens: calls * 1_830,
        output_tokens: calls * 412,
        cache_read_input_tokens: calls * 640,
        latency_p50_us: Some(842_000),
        latency_p95_us: Some(4_310_000),
        ttft_p50_us: Some(210_000),
        ttft_p95_us: Some(930_000),
        overhead_p50_us: Some(184),
        overhead_p95_us: Some(410),
    }
}

/// A day in quarters of an hour.
pub(crate) fn overview(range: TimeRange, bucket: Bucket) -> Overview {
    let width_us = bucket.width_us();
    let steps = range.length_us() / width_us;
    let per_day = 86_400_000_000 / width_us;
    let point = |step: i64| {
        let at_us = range.from_us + step * width_us;
        let height = wave(at_us / width_us, per_day);
        let calls = (height * 420.0) as u64;
        let quiet = calls < 60;
        SeriesPoint {
            at_us,
            calls,
            errors: calls * ((step % 11) as u64) / 220,
            denied: calls / 31,
            cost_usd: Usd::new((height * 3.1e12) as i128),
            input_tokens: calls * 1_830,
            output_tokens: calls * 412,
            latency_p50_us: (!quiet).then(|| 620_000 + (height * 300_000.0) as u64),
            latency_p95_us: (!quiet).then(|| 2_300_000 + (height * 2_400_000.0) as u64),
        }
    };
    let group = |keys: &[&str]| {
        keys.iter()
            .enumerate()
            .map(|(index, key)| Group {
                key: (*key).to_owned(),
                totals: totals(18_000 / (index as u64 + 1).pow(2), 180_000_000 / (index as i128 + 1).pow(2)),
            })
            .collect::<Vec<_>>()
    };
    let mut by_provider = group(&PROVIDERS);
    by_provider[3].totals.failed = by_provider[3].totals.calls / 9;
    Overview {
        range,
        bucket,
        totals: totals(24_318, 231_482_917),
        previous: totals(21_900, 204_000_000),
        series: (0..steps).map(point).collect(),
        by_model: group(&MODELS),
        by_team: group(&TEAMS),
        by_provider,
        as_of: AsOf { lake_version: 128, hot_rows: 43 },
    }
}

/// A back-test in which a twentieth of the calls would be denied.
pub(crate) fn backtest(hash: &str, range: TimeRange) -> BacktestReport {
    let row = |number: u64, change, rule: Option<&str>, targets: Option<(&str, &str)>, why: &str| {
        json!({
            "interaction_id": rows(1)[0].interaction_id, "started_at_us": NOW_US - number as i64 * 1_000_000,
            "team": TEAMS[number as usize % TEAMS.len()], "model": "assistant", "change": change, "rule_before": null,
            "rule_after": rule, "target_before": targets.map(|(from, _)| from), "target_after": targets.map(|(_, to)| to),
            "arm_after": null, "cost_before": "0.012", "cost_after": "0.004", "why": why,
        })
    };
    let report = json!({
        "bundle_hash": hash, "bundle_name": "cost-cap", "bundle_version": "2026.11.2", "range": range, "decided_by": null,
        "is_exact": false, "replayed": 24_318, "undecided": 12, "kept": 3, "own": 1_200, "own_agreed": 1_200,
        "decisions": [{"change": "same", "calls": 20_000}, {"change": "denied", "calls": 1_218},
            {"change": "allowed", "calls": 40}, {"change": "other_rule", "calls": 10}, {"change": "rerouted", "calls": 3_050}],
        "denials": [{"rule": "team-month", "before": 50, "after": 1_228}, {"rule": "builtin/default-deny", "before": 10, "after": 10}],
        "teams": [
            {"team": "payments", "calls": 18_000, "denied_before": 50, "denied_after": 1_100, "cost_before": "812.10", "cost_after": "431.02"},
            {"team": "claims-automation", "calls": 6_318, "denied_before": 10, "denied_after": 138, "cost_before": "91.4", "cost_after": "60.1"},
        ],
        "routes": [{"from": "openai/gpt-5", "to": "openai/gpt-5-mini", "calls": 3_050}],
        "own_routed": 1_150, "own_routes_agreed": 1_150,
        "routing": {"planned": 4_010, "kept": [["live_health", 310]], "unknown": [], "drawn_anew": 120, "assumed_ready": 700,
            "priced_now": 0, "has_drifted": 0, "unknown_targets": []},
        "guardrails": {"chosen": 200, "looked_at": 157, "without_texts": 12, "altered": 31, "failed": 0, "blocked_before": 1,
            "blocked_after": 4, "redacted_after": 21, "asks_services": true, "rules": [
            {"rule": "pii-out-of-prompts", "action": "redact", "before": 0, "after": 21},
            {"rule": "moderation", "action": "flag", "before": 3, "after": 0, "asks_service": true},
            {"rule": "no-code-names", "action": "block", "before": 1, "after": 4}]},
        "arms": [{"experiment": "tone", "arm": "control", "before": 0, "after": 508}, {"experiment": "tone", "arm": "new", "before": 0, "after": 492}],
        "violations": [["personal-stays-in-the-eu", 7]],
        "cost": {"logged_usd": "903.50", "would_usd": "491.12", "estimated": 3_090, "unknown": 4},
        "latency": {"calls": 22_900, "unknown": 4, "logged_mean_us": 1_840_000, "would_mean_us": 1_310_000},
        "sample": [
            row(1, "denied", Some("team-month"), None, "team `payments` has spent 100.02 of 100.00 USD this month (100 %)"),
            row(2, "rerouted", None, Some(("openai/gpt-5", "openai/gpt-5-mini")), "the cheapest target is preferred"),
        ],
        "as_of": {"lake_version": 128, "hot_rows": 43},
    });
    serde_json::from_value(report).unwrap()
}

/// What a bundle says otherwise than the active one: a rule of each kind of change.
pub(crate) fn changes() -> Vec<tollgate_policy::bundle::Change> {
    let head = "apiVersion: tollgate/v1\nbundle: {name: cost-cap}\n";
    let old = "access:\n  - {id: all, when: 'true', allow: {}}\n  - {id: no-night-jobs, when: 'request.hour < 6', deny: at night}\n\
               budgets:\n  - {id: team-month, scope: {team: \"*\"}, limit: {usd: 100, per: month}, steps: [{at: 1, deny: spent}]}\n\
               routes:\n  - {id: gold, alias: assistant, targets: [openai/gpt-5]}\n  - {id: rest, alias: other, targets: [openai/gpt-5]}\n";
    let new = "access:\n  - {id: all, when: 'true', allow: {models: [\"openai/*\", \"claude-eu/*\", assistant]}}\n\
               budgets:\n  - {id: team-month, scope: {team: \"*\"}, limit: {usd: 80, per: month}, steps: [{at: 0.8, prefer: {tag: open-weights}, \
               min_quality: 0.92}, {at: 1, deny_unless: 'request.priority == \"critical\"'}]}\n\
               routes:\n  - {id: rest, alias: other, targets: [openai/gpt-5]}\n  - {id: gold, alias: assistant, strategy: weighted, targets: \
               [{target: openai/gpt-5, weight: 80}, {target: claude-eu/claude-sonnet-4-5, weight: 20}]}\n\
               experiments:\n  - {id: tone, alias: other, unit: user, arms: [{name: control, weight: 50, target: openai/gpt-5}, \
               {name: new, weight: 50, target: openai/gpt-5-mini}]}\n";
    tollgate_policy::bundle::diff(&format!("{head}{old}"), &format!("{head}{new}")).unwrap()
}

/// One experiment with a clear result, and one that only began.
pub(crate) fn experiments(range: TimeRange) -> Experiments {
    let interval =
        |estimate: f64, radius: f64| Interval { estimate, lower: estimate - radius, upper: estimate + radius };
    let metric = |kind, mean: f64, difference: Option<(f64, f64)>, verdict| Metric {
        kind,
        observations: 5_120,
        mean: Some(mean),
        interval: Some(interval(mean, mean / 20.0)),
        difference: difference.map(|(estimate, radius)| interval(estimate, radius)),
        verdict,
    };
    let control = MetricKind::ALL.into_iter().zip([0.0123, 1_840.0, 0.021, 0.004, 0.62]);
    let cheaper = vec![
        metric(MetricKind::CostUsd, 0.0041, Some((-0.0082, 0.0011)), Verdict::Better),
        metric(MetricKind::LatencyMs, 2_310.0, Some((470.0, 190.0)), Verdict::Worse),
        metric(MetricKind::ErrorRate, 0.023, Some((0.002, 0.012)), Verdict::NoDifference),
        metric(MetricKind::RefusalRate, 0.004, Some((0.0, 0.006)), Verdict::NoDifference),
        Metric { mean: None, ..metric(MetricKind::Feedback, 0.6, None, Verdict::TooFew) },
    ];
    let arm = |name: &str, units, share, metrics| Arm {
        name: name.to_owned(),
        calls: units * 3,
        units,
        expected_share: Some(0.5),
        share,
        metrics,
    };
    let experiment = |name: &str, is_mismatch, arms| Experiment {
        name: name.to_owned(),
        first_at_us: NOW_US - 6 * 86_400_000_000,
        last_at_us: NOW_US - 60_000_000,
        calls: 10_312,
        control: "control".to_owned(),
        sample_ratio: Some(SampleRatio {
            chi_square: if is_mismatch { 36.0 } else { 0.61 },
            p: if is_mismatch { 2e-9 } else { 0.435 },
            is_mismatch,
        }),
        ratio_unknown: None,
        crossed_units: if is_mismatch { 12 } else { 0 },
        arms,
    };
    let control: Vec<Metric> = control.map(|(kind, mean)| metric(kind, mean, None, Verdict::Control)).collect();
    Experiments {
        range,
        experiments: vec![
            experiment(
                "assistant-cheaper-model-for-retail-customers",
                false,
                vec![arm("control", 1_720, 0.504, control.clone()), arm("cheaper", 1_692, 0.496, cheaper.clone())],
            ),
            experiment(
                "long-prompts",
                true,
                vec![arm("control", 2_000, 0.57, control), arm("other", 1_500, 0.43, cheaper)],
            ),
        ],
        judgements: Some(Judgements {
            count: 1_412,
            of_no_call: 3,
            not_looked_up: 0,
            calls_since_us: range.from_us - 30 * 86_400_000_000,
        }),
        alpha: Confidence::default().alpha,
        min_units: tollgate_analytics::statistics::MIN_UNITS,
        as_of: AsOf { lake_version: 128, hot_rows: 43 },
    }
}

/// A list of calls of every kind.
pub(crate) fn rows(count: usize) -> Vec<InteractionRow> {
    (0..count).map(row).collect()
}

fn row(index: usize) -> InteractionRow {
    let outcome = match index % 13 {
        3 => "denied",
        7 => "failed",
        9 => "cancelled",
        11 => "cached",
        12 => "interrupted",
        _ => "success",
    };
    let started_at_us = NOW_US - index as i64 * 7_311_000;
    let answered = !matches!(outcome, "denied" | "failed" | "interrupted");
    let model = MODELS[index % MODELS.len()];
    InteractionRow {
        interaction_id: InteractionId::new((started_at_us / 1_000) as u64, &[index as u8; 10]),
        started_at_us,
        tenant: "acme".to_owned(),
        team: if index == 5 { String::new() } else { TEAMS[index % TEAMS.len()].to_owned() },
        project: Some("claims-2026".to_owned()),
        api_key_id: Some("key_01j9x3".to_owned()),
        operation: if model.contains("embedding") { "embeddings" } else { "chat" }.to_owned(),
        dialect: "openai".to_owned(),
        upstream_dialect: answered.then(|| if index.is_multiple_of(4) { "anthropic" } else { "openai" }.to_owned()),
        stream: index.is_multiple_of(2),
        model_requested: if index.is_multiple_of(3) { "assistant".to_owned() } else { format!("openai/{model}") },
        model_served: answered.then(|| model.to_owned()),
        provider: (outcome != "denied").then(|| PROVIDERS[index % PROVIDERS.len()].to_owned()),
        decision: if outcome == "denied" { "deny" } else { "allow" }.to_owned(),
        outcome: outcome.to_owned(),
        http_status: match outcome {
            "denied" => Some(403),
            "failed" => Some(502),
            "interrupted" => None,
            _ => Some(200),
        },
        error_type: match outcome {
            "denied" => Some("budget_exceeded".to_owned()),
            "failed" => Some("upstream_timeout".to_owned()),
            _ => None,
        },
        latency_us: 312_000 + (index as u64 * 977_123) % 6_000_000,
        ttft_us: answered.then_some(204_000),
        input_tokens: answered.then_some(1_204 + index as u64 * 91),
        output_tokens: answered.then_some(212 + index as u64 * 7),
        cost_usd: answered.then(|| Usd::new(4_213_000_000 + index as i128 * 311_000_000)),
    }
}

/// A page of the list with more to come.
pub(crate) fn page() -> InteractionPage {
    InteractionPage {
        rows: rows(40),
        next: Some("1795449123123456.019ab1c2-0000-7000-8000-000000000000".to_owned()),
        as_of: AsOf { lake_version: 128, hot_rows: 43 },
    }
}

/// What the filter offers.
pub(crate) fn values() -> FilterValues {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    FilterValues {
        teams: owned(&TEAMS),
        models: owned(&MODELS),
        providers: owned(&PROVIDERS),
        outcomes: owned(&["cached", "cancelled", "denied", "failed", "interrupted", "success"]),
    }
}

/// A call that failed at one provider and was answered by another.
pub(crate) fn detail() -> InteractionDetail {
    let row =
        InteractionRow { latency_us: 2_412_000, ttft_us: Some(1_320_000), provider: Some("openai".into()), ..row(6) };
    let serde_json::Value::Object(columns) = json!({
        "writer": "gw-eu-1", "epoch": 7, "seq": 102_417, "gateway_overhead_us": 212, "usage_source": "provider",
        "cost_source": "catalog", "price_id": "openai/gpt-5@2026-08-07", "finish_reasons": ["stop"],
        "policy_bundle_hash": "5f1e9b0c7a3d4e2f8899aabbccddeeff00112233445566778899aabbccddeeff",
        "signals_id": "sig-019ab1c2", "route_id": "assistant", "conversation_id": "conv-8841", "source": "proxy",
        "dialect": "anthropic", "upstream_dialect": "openai", "dropped": ["thinking", "tools[1].cache_control"],
        "service_tier": "priority", "provider_cost_usd": "0.006101000000", "web_search_calls": 2,
        "region": "eu-central-1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "cache_read_input_tokens": 1_024, "reasoning_output_tokens": 128,
        "record_commitment": "a3f5e1d2c4b6978869504132a3f5e1d2c4b6978869504132a3f5e1d2c4b69788",
    }) else {
        return detail();
    };
    let attempt = |provider: &str, model: &str, at: &str, us, error: Option<&str>, status| AttemptView {
        provider: provider.to_owned(),
        model: model.to_owned(),
        http_status: status,
        error_class: error.map(str::to_owned),
        started_at: Some(at.to_owned()),
        duration_us: Some(us),
        ..AttemptView::default()
    };
    let body = |content_type: &str, text: &str| Body {
        content_type: content_type.to_owned(),
        size_bytes: text.len() as u64,
        bytes: text.as_bytes().to_vec(),
        text: Some(text.to_owned()),
        base64: None,
    };
    let message = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    let candidate = |provider: &str, model: &str, why: Option<&str>| CandidateView {
        provider: provider.to_owned(),
        model: model.to_owned(),
        rejected_because: why.map(str::to_owned),
    };
    let reason = |rule: &str, effect: &str, detail: &str| ReasonView {
        rule: rule.to_owned(),
        effect: effect.to_owned(),
        detail: detail.to_owned(),
    };
    InteractionDetail {
        columns,
        reasons: vec![
            reason("access/known-teams", "allow", "team `marketing` may use `assistant`"),
            reason(
                "budget/team-monthly",
                "prefer",
                "team `marketing` has spent $83.12 of $100.00 this month (83 %): the cheaper target is preferred",
            ),
        ],
        candidates: vec![
            candidate("claude-eu", "claude-haiku-4-5", None),
            candidate("openai", "gpt-5-mini", None),
            candidate("openai", "gpt-5", Some("dearer than openai/gpt-5-mini, which the budget prefers")),
            candidate("local", "llama-4-maverick", Some("unhealthy: 5 failures in a row")),
        ],
        attempts: vec![
            attempt(
                "claude-eu",
                "claude-haiku-4-5",
                "2026-11-23T15:51:19.257668Z",
                904_000,
                Some("rate_limited"),
                Some(429),
            ),
            attempt("openai", "gpt-5-mini", "2026-11-23T15:51:20.190000Z", 1_480_000, None, Some(200)),
        ],
        tags: vec![("priority".into(), "critical".into()), ("ticket".into(), "CLM-20931".into())],
        corrections: vec![CorrectionView {
            at_us: NOW_US - 60_000_000,
            actor: "console:admin:token-7f3a".into(),
            reason: "the price of cached input was missing".into(),
            old_cost_usd: Some(Usd::new(1_280_000_000)),
            new_cost_usd: Some(Usd::new(1_114_200_000)),
            price_id: "openai/gpt-5-mini@release".into(),
        }],
        messages: vec![
            message("system", "You are a claims assistant. Answer in one paragraph and name the clause you rely on."),
            message(
                "user",
                "The policyholder says the leak began in March, but the plumber's invoice is from May.\nIs the notice still in time under clause 7.2? <script>alert(1)</script>",
            ),
            message(
                "assistant",
                "Under clause 7.2 notice must be given within 30 days of discovery, not of the damage itself. If the policyholder first noticed the leak in May, the notice is in time; the March date matters only if there is evidence that it was already visible then.",
            ),
        ],
        request: Some(body(
            "application/json",
            r#"{"model":"assistant","stream":true,"messages":[{"role":"system","content":"You are a claims assistant."},{"role":"user","content":"The policyholder says the leak began in March…"}]}"#,
        )),
        response: Some(body(
            "text/event-stream",
            "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"content\":\"Under\"}}]}\n\ndata: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"content\":\" clause\"}}]}\n\ndata: [DONE]\n\n",
        )),
        hot: true,
        row,
    }
}

/// A call without a cost, as a price is looked up for it.
pub(crate) fn recorded() -> RecordedCall {
    RecordedCall {
        interaction_id: InteractionId::new((NOW_US / 1_000) as u64, &[7; 10]),
        started_at_us: NOW_US,
        tenant: "acme".to_owned(),
        team: "kyc".to_owned(),
        provider: "mine".to_owned(),
        model_asked: "m".to_owned(),
        model_served: None,
        region: None,
        service_tier: Some("flex".to_owned()),
        usage: Usage { input_tokens: Some(120), output_tokens: Some(8), ..Usage::default() },
        beside: Default::default(),
        earlier_usd: Usd::ZERO,
        cost_usd: None,
        price_id: None,
    }
}

/// A month of spend.
pub(crate) fn costs(range: TimeRange, group_by: CostGroup) -> Costs {
    let line = |index: usize, key: &str| CostRow {
        key: key.to_owned(),
        calls: 81_000 / (index as u64 + 1),
        cost_usd: Usd::new(812_417_331_000_000 / (index as i128 + 1).pow(2)),
        priced: 78_000 / (index as u64 + 1),
        priced_tokens: 181_000_000 / (index as u64 + 1),
        unpriced: if index == 2 { 14 } else { 0 },
        input_tokens: 148_000_000 / (index as u64 + 1),
        cache_read_input_tokens: 51_000_000 / (index as u64 + 1),
        output_tokens: 33_000_000 / (index as u64 + 1),
        cached: 2_400 / (index as u64 + 1),
        saved_usd: Usd::new(24_000_000_000_000 / (index as i128 + 1)),
        previous_cost_usd: Usd::new(700_000_000_000_000 / (index as i128 + 1)),
        share_basis_points: 6_400 / (index as i64 + 1).pow(2),
    };
    let rows: Vec<CostRow> = TEAMS.iter().enumerate().map(|(index, team)| line(index, team)).collect();
    let total = CostRow { cost_usd: rows.iter().map(|row| row.cost_usd).sum(), ..line(0, "") };
    let days = (0..30)
        .map(|day| CostDay {
            day: format!("2026-11-{day:02}"),
            at_us: range.to_us.div_euclid(86_400_000_000) * 86_400_000_000 - (29 - day) * 86_400_000_000,
            calls: 8_000,
            cost_usd: Usd::new(if day % 7 > 4 {
                9_000_000_000_000
            } else {
                31_000_000_000_000 + day as i128 * 300_000_000_000
            }),
            unpriced: 0,
        })
        .collect();
    Costs {
        range,
        group_by,
        total: CostRow { unpriced: 14, ..total },
        rows,
        days,
        unpriced: vec![
            UnpricedRow {
                provider: "llama-home".to_owned(),
                model: "llama-3.3-70b-instruct-fp8".to_owned(),
                region: Some("on-premises".to_owned()),
                calls: 11,
                input_tokens: 48_210,
                output_tokens: 9_120,
                newest: Some(RecordedCall {
                    provider: "llama-home".to_owned(),
                    model_asked: "llama-3.3-70b-instruct-fp8".to_owned(),
                    region: Some("on-premises".to_owned()),
                    service_tier: None,
                    ..recorded()
                }),
                ..UnpricedRow::default()
            },
            UnpricedRow {
                provider: "openai".to_owned(),
                model: "gpt-5".to_owned(),
                service_tier: Some("scale".to_owned()),
                calls: 3,
                uncounted: 3,
                newest: Some(RecordedCall {
                    provider: "openai".to_owned(),
                    model_asked: "gpt-5".to_owned(),
                    service_tier: Some("scale".to_owned()),
                    usage: Usage::default(),
                    ..recorded()
                }),
                ..UnpricedRow::default()
            },
        ],
        reconciliation: vec![
            ReconciliationRow {
                provider: "openrouter".to_owned(),
                calls: 18_204,
                differing: 41,
                catalog_usd: Usd::new(91_204_117_000_000),
                provider_usd: Usd::new(91_239_640_500_000),
            },
            ReconciliationRow {
                provider: "perplexity".to_owned(),
                calls: 310,
                differing: 0,
                catalog_usd: Usd::new(4_120_000_000_000),
                provider_usd: Usd::new(4_120_000_000_000),
            },
        ],
        corrections: Corrections {
            calls: 212,
            priced_since: 40,
            recorded_usd: Usd::new(18_400_000_000_000),
            corrected_usd: Usd::new(16_120_000_000_000),
        },
        as_of: AsOf { lake_version: 128, hot_rows: 43 },
    }
}

/// A log in order, with one witness that is late.
pub(crate) fn integrity() -> IntegrityStatus {
    let writer = |writer: &str, epoch, committed_seq, last_seq: Option<u64>| WriterLine {
        writer: writer.to_owned(),
        epoch,
        committed_seq,
        last_seq,
        is_here: last_seq.is_some(),
    };
    IntegrityStatus {
        healthy: true,
        recording: true,
        problems: Vec::new(),
        writers: vec![writer("gw-7f3a91", 12, 48_211, Some(48_297)), writer("edge-frankfurt-2", 3, 9_120, None)],
        wal: WalLine { size_bytes: 12 << 20, quota_bytes: 8 << 30, dropped: 0, gaps: 0, failure: None },
        lake_version: 128,
        lake_rows: 1_204_331,
        hot_rows: 43,
        last_commit_at_us: Some(NOW_US - 4_000_000),
        log_size: 2_212,
        checkpoint: Some(CheckpointLine {
            size: 2_211,
            root: "tRQ0mFyBEk9n0PV8ZVNOv7gqW8fqj0QzPM7nqmXJ0nA=".to_owned(),
            at_us: NOW_US - 21_000_000,
        }),
        public_key: "tollgate.log/5d1e2f30aa41bc09+9a3c11fe+AVu0kE0V8ZVNOv7gqW8fqj0QzPM7nqmXJ0nAtRQ0mFyB".to_owned(),
        witnesses: vec![
            WitnessLine {
                name: "audit.bank.example/witness".to_owned(),
                cosigned_at_us: Some(NOW_US - 21_000_000),
                problem: None,
            },
            WitnessLine {
                name: "regulator.example/witness".to_owned(),
                cosigned_at_us: None,
                problem: Some("it did not answer within 10 s".to_owned()),
            },
        ],
    }
}

/// A log that takes no calls, with everything at its longest.
pub(crate) fn troubled() -> IntegrityStatus {
    let mut status = integrity();
    status.healthy = false;
    status.recording = false;
    status.problems = vec![
        "the disk of the write-ahead log is full: calls are refused until it has room again, which is tried every second"
            .to_owned(),
        "1 file set aside from the inbox, foreign, damaged or in contradiction to what is committed: \
         `inbox/rejected/w-1ddd62af4d31b070/0000000012-0000000000000481.json`. Why is in the log of this process; repair \
         and move them back, or delete them"
            .to_owned(),
    ];
    for (writer, seq) in status.writers.iter_mut().zip([1_204_331_907_u64, 88_120_411_002]) {
        writer.writer = "production-frankfurt-claims-automation-gateway-0000000000000017".to_owned();
        writer.committed_seq = seq;
        writer.last_seq = writer.last_seq.map(|_| seq + 97);
    }
    (status.checkpoint, status.witnesses, status.last_commit_at_us) = (None, Vec::new(), None);
    status.wal.gaps = 3;
    status.wal.dropped = 12_412;
    status
}

/// A verification that found something.
pub(crate) fn verification() -> VerificationView {
    VerificationView {
        ok: false,
        records: 1_204_331,
        batches: 2_212,
        checkpoint_size: 2_211,
        uncovered_batches: 1,
        payloads: 1_180_002,
        payloads_missing: 24_329,
        problems: vec![ProblemLine {
            kind: "record-changed".to_owned(),
            subject: "record gw-7f3a91/12/40117 (019aab2e-7b1a-7c3d-9e4f-0123456789ab)".to_owned(),
            detail: "its values are not those of its record_commitment".to_owned(),
        }],
        elapsed_ms: 9_120,
        ..VerificationView::default()
    }
}

const BUDGETS: &str = r#"
apiVersion: tollgate/v1
bundle: {name: acme-2026-11}
access: [{id: known-keys, when: "true", allow: {}}]
budgets:
  - {id: organisation, scope: {tenant: "*"}, limit: {usd: 4000, per: month, timezone: Europe/Berlin}, steps: [{at: 0.9, prefer: {tag: open-weights}, min_quality: 0.92}]}
  - {id: team-month, scope: {team: "*"}, limit: {usd: "100.00", per: month}, steps: [{at: 0.80, prefer: cheapest}, {at: 1, deny_unless: 'request.priority == "critical"'}]}
  - {id: centre-day, scope: {tag.cost_centre: "*"}, limit: {usd: "0.25", rolling: 24h}, steps: [{at: 1, deny: "ask finance"}]}
limits:
  - {id: key-minute, scope: {key: "*"}, limit: {calls: 60, per: minute}}
  - {id: team-tokens, scope: {team: "*"}, limit: {tokens: 2000000, per: hour}}
  - {id: at-once, scope: {team: "*"}, limit: {concurrency: 8}}
"#;

/// Budgets of every state, some with a forecast, and alerts.
pub(crate) fn budgets() -> crate::budgets::BudgetBooks {
    use tollgate_policy::forecast::{Forecast, Method};
    use tollgate_policy::ledger::{Account, Amounts, Reading};

    let bundle = std::sync::Arc::new(tollgate_policy::bundle::load(BUDGETS).unwrap());
    let cents = |cents: i128| Usd::new(cents * 10_000_000_000);
    let place = |id: &str| bundle.tallies().iter().position(|tally| tally.id == id).unwrap();
    let mut readings = Vec::new();
    let mut used = |tally: &str, scope: &str, usd: Usd, tokens: u64, calls: u64, held: u64, age_s: Option<u64>| {
        let settled = Amounts { usd, tokens, calls };
        let reserved = Amounts { usd: cents(i128::from(held)), tokens: held * 400, calls: held };
        let reading = Reading { settled, reserved, age_s, ..Reading::default() };
        readings.push((Account { tally: place(tally), scope: scope.to_owned() }, reading));
    };
    used("tenant/month/Europe/Berlin", "acme", cents(302_117), 0, 0, 3, Some(1));
    for (team, spent) in [("kyc", 8_120), ("claims-automation", 10_431), ("payments", 3_300), ("support", 0)] {
        used("team/month/UTC", team, cents(spent), 0, 0, 2, Some(1));
    }
    used("team/month/UTC", "research", Usd::ZERO, 0, 0, 0, None);
    used("tag.cost_centre/rolling/24h", "4711", cents(25), 0, 0, 0, Some(1));
    used("key/minute/UTC", "key-0192f3a4c5d6", Usd::ZERO, 0, 41, 2, Some(1));
    used("team/hour/UTC", "kyc", Usd::ZERO, 1_912_000, 0, 1, Some(1));
    used("team/in-flight", "kyc", Usd::ZERO, 0, 0, 8, Some(0));
    let ends_at_us = NOW_US + 8 * 86_400_000_000;
    let weekdays = Forecast {
        expected_usd: cents(10_890),
        interval_usd: Some((cents(9_720), cents(12_060))),
        method: Method::Weekdays,
        days: 28,
        ends_at_us,
    };
    let early =
        Forecast { expected_usd: cents(4_100), interval_usd: None, method: Method::RunRate, days: 3, ends_at_us };
    let of_team = |team: &str, forecast| (("team/month/UTC".to_owned(), team.to_owned()), forecast);
    let forecasts = [of_team("kyc", weekdays), of_team("payments", early)].into_iter().collect();
    let alert = |minutes: i64, scope: &str, text: &str, delivery| crate::budgets::AlertLine {
        at_us: NOW_US - minutes * 60_000_000,
        budget: "team-month".to_owned(),
        scope: scope.to_owned(),
        text: text.to_owned(),
        delivery,
    };
    let alerts = vec![
        alert(
            3,
            "team=kyc",
            "team=kyc has used 81 % of 100.00 USD this month: prefers the cheapest target",
            "delivered",
        ),
        alert(95, "team=claims-automation", "team=claims-automation has used 100 % of 100.00 USD this month", "failed"),
    ];
    crate::budgets::BudgetBooks {
        bundle,
        readings,
        forecasts: std::sync::Arc::new(forecasts),
        alerts,
        organisation: None,
    }
}

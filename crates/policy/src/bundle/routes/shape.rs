//! How the sections look in the JSON Schema of bundles.
#![expect(dead_code, reason = "these stand in the schema for types whose values know their place in the text")]

use schemars::JsonSchema;

use crate::bundle::source::WhenSource;

/// One entry of `routes`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::bundle) struct RouteShape {
    /// Unique in the bundle.
    id: String,
    /// What callers write as the model.
    alias: String,
    /// For which calls; all, if it is left out.
    when: Option<WhenSource>,
    strategy: Option<StrategyShape>,
    /// Where calls go.
    targets: Vec<TargetShape>,
    /// Least quality, from 0 to 1, for `strategy: quality`.
    floor: Option<f64>,
    on_unknown: Option<OnUnknownShape>,
    hedge: Option<HedgeShape>,
    shadow: Option<ShadowShape>,
    retries: Option<RetriesShape>,
    timeouts: Option<TimeoutsShape>,
    when_all_rest: Option<WhenAllRestShape>,
    description: Option<String>,
}

/// `provider/model` or an alias, with a weight for `strategy: weighted`.
#[derive(JsonSchema)]
#[serde(untagged)]
enum TargetShape {
    Name(String),
    Weighted { target: String, weight: u32 },
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StrategyShape {
    Single,
    Fallback,
    RoundRobin,
    Weighted,
    Cost,
    Cheapest,
    Latency,
    Fastest,
    Quality,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnUnknownShape {
    Accept,
    Last,
    Exclude,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WhenAllRestShape {
    Try,
    Refuse,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct HedgeShape {
    /// `p95`, or a time such as `800ms`.
    after: String,
    /// Second attempts at most, 1 to 3.
    max: Option<u32>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct ShadowShape {
    /// `provider/model`, or an alias.
    to: String,
    /// Which part of the calls, from 0 to 1.
    share: f64,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetriesShape {
    /// Rounds after the first.
    max: u32,
    /// Longest pause before the first of them.
    base: Option<String>,
    /// Longest pause of all.
    cap: Option<String>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct TimeoutsShape {
    total: Option<String>,
    per_try: Option<String>,
    idle_stream: Option<String>,
}

/// One entry of `experiments`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::bundle) struct ExperimentShape {
    /// Unique in the bundle.
    id: String,
    /// What callers write as the model.
    alias: String,
    /// For which calls; all, if it is left out.
    when: Option<WhenSource>,
    /// `user`, `conversation`, `key` or `metadata.NAME`.
    unit: String,
    /// Another salt is another division; the id, if it is left out.
    salt: Option<String>,
    /// At least two.
    arms: Vec<ArmShape>,
    description: Option<String>,
}

/// One side of an experiment: a target or a route of the bundle.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct ArmShape {
    name: String,
    weight: u32,
    target: Option<String>,
    route: Option<String>,
}

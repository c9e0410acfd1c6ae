//! How settings of other crates look in the published schema of the configuration.
#![expect(dead_code, reason = "these stand in the schema for types of other crates, and nothing is made of them")]

/// A target, or a target with a weight.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
pub(super) enum Target {
    Name(String),
    Weighted { target: String, weight: u32 },
}

#[derive(schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Strategy {
    /// One target and no other.
    Single,
    /// The first that answers, in the order written. The default.
    Fallback,
    /// Each call starts one target further along.
    RoundRobin,
    /// By chance, each as often as its weight says.
    Weighted,
    /// The cheapest for this very call first, by the price catalogue.
    Cost,
    /// The same.
    Cheapest,
    /// The less busy of two taken by chance.
    Latency,
    /// Lowest median latency first.
    Fastest,
    /// The cheapest of those that are surely good enough.
    Quality,
}

#[derive(schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnUnknown {
    /// They count as good enough.
    Accept,
    /// They are tried when those that are good enough fail.
    Last,
    /// They are not called.
    Exclude,
}

#[derive(schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum WhenAllRest {
    /// Those that rest because they failed are tried all the same.
    Try,
    /// The call is refused at once.
    Refuse,
}

#[derive(schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Hedge {
    /// `p95`, or a time such as `800ms`.
    after: String,
    /// Second attempts at most, 1 to 3. Default: 1.
    max: Option<u32>,
}

#[derive(schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Shadow {
    /// `PROVIDER/MODEL`, or an alias, of which the first target counts.
    to: String,
    /// Which part of the calls, from 0 to 1.
    share: f64,
}

#[derive(schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retries {
    /// Rounds after the first, at most 10.
    max: u32,
    /// Longest pause before the first of them; it doubles with each. Default: `250ms`.
    base: Option<String>,
    /// No pause is longer, unless the provider asks for it. Default: `8s`.
    cap: Option<String>,
}

#[derive(schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeLimits {
    /// For the whole call, attempts and pauses together, as `60s`.
    total: Option<String>,
    /// For the beginning of an answer, in each attempt.
    per_try: Option<String>,
    /// Between two pieces of an answer.
    idle_stream: Option<String>,
}

#[derive(schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unsupported {
    Refuse,
    Drop,
}

#[derive(schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Disconnect {
    Drain,
    Cancel,
}

#[derive(schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    /// How long an answer is given again: `90s`, `15m`, `12h` or `7d`, at most 30 days.
    ttl: String,
    /// Whose answers one caller is given. Default: `tenant`.
    per: Option<Per>,
    /// Answers to questions that mean nearly the same, within one end user or key.
    semantic: Option<Semantic>,
    /// Whether a call waits for the answer to the same request of another that is under way. Default: no.
    coalesce: Option<bool>,
}

#[derive(schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Per {
    /// Everybody's of the tenant.
    Tenant,
    /// The team's.
    Team,
    /// Those of the same virtual key.
    Key,
    /// Those of the same end user or, where a call names none, of the same virtual key.
    User,
}

#[derive(schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Semantic {
    /// The embedding model: `PROVIDER/MODEL`, or an alias.
    model: String,
    /// Least cosine of the angle between two questions, from 0.5 to 1.
    threshold: f64,
    /// How long the embedding is waited for. Default: `2s`.
    timeout: Option<String>,
}

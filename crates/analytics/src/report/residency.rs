//! Residency, from the log: which targets were kept from which calls, and whether any call went where the bundle that decided
//! on it does not let it go. Each attempt of each call is judged anew, by the rules of that bundle and the call's own record; what
//! cannot be judged is counted, never taken for harmless.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use serde::Serialize;
use serde_json::{Map, Value};
use tollgate_interaction::{Dialect, Operation};
use tollgate_policy::control::Principal;
use tollgate_policy::residency::{Eligibility, NO_ELIGIBLE_TARGET, NOT_EVALUATED, Places, TargetFacts, eligible};
use tollgate_policy::{Bundle, Facts};

use super::shape::TimeRange;
use crate::error::ReportError;
use crate::output;
use crate::view::Reading;

const REPORT: &str = "residency";

const COLUMNS: &str = "interaction_id, started_at, decided_at, tenant, project, team, api_key_id, user_ref, operation, \
    dialect, stream, model_requested, tags, data_class, capabilities, estimated_input_tokens, pii_counts, \
    policy_bundle_hash, candidates, attempts, error_type";

/// Leaks that are listed one by one; further ones are counted.
const MAX_LISTED: usize = 1_000;

/// A target as the configuration has it.
#[derive(Clone, Debug)]
pub struct PlacedTarget {
    /// Where it is.
    pub places: Places,
    /// The provider's labels.
    pub tags: Vec<String>,
    /// Whether it runs on machines of whoever runs the gateway.
    pub self_hosted: bool,
}

/// What decides: the bundles by their hash, and the targets by provider and model.
pub struct Judges<'a> {
    /// Every bundle that was in force, by its hash.
    pub bundles: &'a BTreeMap<String, Bundle>,
    /// The target of a provider and a model; `None` if it is configured no more.
    pub target: &'a (dyn Fn(&str, &str) -> Option<PlacedTarget> + Send + Sync),
}

/// How often a rule kept calls of one class from one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blocked {
    /// Class of the data; empty if nothing classified the call.
    pub class: String,
    /// The rule.
    pub rule: String,
    /// `provider/model`.
    pub target: String,
    /// Calls.
    pub calls: u64,
}

/// An attempt that the rules do not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leak {
    /// The call.
    pub interaction_id: String,
    /// When it started, as it stands in the log.
    pub started_at: String,
    /// Class of the data; empty if nothing classified the call.
    pub class: String,
    /// `provider/model`.
    pub target: String,
    /// The rule that forbids it.
    pub rule: String,
    /// What is missing.
    pub why: String,
}

/// What the log shows of residency in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResidencyReport {
    /// Calls that a bundle decided on.
    pub calls: u64,
    /// Of those, calls whose bundle has residency rules.
    pub governed: u64,
    /// Attempts of these that were judged.
    pub attempts_judged: u64,
    /// Calls that were denied because no target was left.
    pub denied: u64,
    /// Targets that were left out, by class, rule and target.
    pub blocked: Vec<Blocked>,
    /// Attempts that the rules do not allow: the first thousand.
    pub leaks: Vec<Leak>,
    /// All of them.
    pub leaked: u64,
    /// Attempts that could not be judged, by the reason.
    pub unjudged: BTreeMap<String, u64>,
}

/// Reads and judges the calls of `range`.
///
/// # Errors
/// [`ReportError`] if the log cannot be read.
pub async fn residency(
    reading: &Reading,
    range: TimeRange,
    judges: &Judges<'_>,
) -> Result<ResidencyReport, ReportError> {
    // A stream takes no parameters; these are numbers of ours.
    let moment = |time_us: i64| format!("arrow_cast({time_us}, 'Timestamp(Microsecond, Some(\"UTC\"))')");
    let sql = format!(
        "SELECT {COLUMNS} FROM interactions WHERE started_at >= {} AND started_at < {} AND policy_bundle_hash IS NOT NULL",
        moment(range.from_us),
        moment(range.to_us)
    );
    let mut folded = Folded::default();
    let mut batches = reading.stream(REPORT, &sql);
    while let Some(batch) = batches.next().await {
        for row in output::to_json(&[batch?]) {
            folded.call(&Row(row), judges);
        }
    }
    let Folded { mut report, blocked } = folded;
    let entries = blocked.into_iter().map(|((class, rule, target), calls)| Blocked { class, rule, target, calls });
    report.blocked = entries.collect();
    Ok(report)
}

#[derive(Default)]
struct Folded {
    report: ResidencyReport,
    blocked: BTreeMap<(String, String, String), u64>,
}

impl Folded {
    fn call(&mut self, row: &Row, judges: &Judges<'_>) {
        self.report.calls += 1;
        let attempts: Vec<(String, String)> = row.list("attempts").map(target_of).collect();
        let Some(bundle) = judges.bundles.get(row.text("policy_bundle_hash")) else {
            self.unjudged("the bundle that decided is not in the metastore", attempts.len());
            return;
        };
        if bundle.residency_rules().next().is_none() {
            return;
        }
        self.report.governed += 1;
        self.report.denied += u64::from(row.text("error_type") == NO_ELIGIBLE_TARGET);
        for candidate in row.list("candidates") {
            let why_not = candidate.get("rejected_because").and_then(Value::as_str).unwrap_or_default();
            let rule = why_not.split_once(": ").map_or("", |(rule, _)| rule);
            if bundle.residency_rules().any(|known| known == rule) {
                let key = (row.text("data_class").to_owned(), rule.to_owned(), name(&target_of(candidate)));
                *self.blocked.entry(key).or_default() += 1;
            }
        }
        for attempt in &attempts {
            self.attempt(row, bundle, attempt, judges);
        }
    }

    fn attempt(&mut self, row: &Row, bundle: &Bundle, attempt: &(String, String), judges: &Judges<'_>) {
        let (provider, model) = attempt;
        let Some(target) = (judges.target)(provider, model) else {
            return self.unjudged("the provider is configured no more", 1);
        };
        let target = TargetFacts {
            provider,
            model,
            tags: &target.tags,
            places: &target.places,
            self_hosted: target.self_hosted,
        };
        let Some(verdict) = row.judge(bundle, &target) else {
            return self.unjudged("the record is of an operation or a format that this version does not know", 1);
        };
        match verdict {
            Eligibility::Excluded { why, .. } if why.starts_with(NOT_EVALUATED) => {
                self.unjudged("a rule asks for more than the record holds", 1);
            }
            Eligibility::Eligible => self.report.attempts_judged += 1,
            Eligibility::Excluded { rule, why } => {
                self.report.attempts_judged += 1;
                self.report.leaked += 1;
                if self.report.leaks.len() < MAX_LISTED {
                    self.report.leaks.push(Leak {
                        interaction_id: row.text("interaction_id").to_owned(),
                        started_at: row.text("started_at").to_owned(),
                        class: row.text("data_class").to_owned(),
                        target: name(attempt),
                        rule,
                        why,
                    });
                }
            }
        }
    }

    fn unjudged(&mut self, why: &str, attempts: usize) {
        if attempts > 0 {
            *self.report.unjudged.entry(why.to_owned()).or_default() += attempts as u64;
        }
    }
}

/// One row of the log.
struct Row(Map<String, Value>);

impl Row {
    fn text(&self, column: &str) -> &str {
        self.0.get(column).and_then(Value::as_str).unwrap_or_default()
    }

    fn optional(&self, column: &str) -> Option<&str> {
        self.0.get(column).and_then(Value::as_str)
    }

    fn list(&self, column: &str) -> impl Iterator<Item = &Value> {
        self.0.get(column).and_then(Value::as_array).into_iter().flatten()
    }

    fn map(&self, column: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.0.get(column).and_then(Value::as_object).into_iter().flatten()
    }

    /// Microseconds since 1970 of a time in ISO 8601.
    fn time_us(&self, column: &str) -> Option<i64> {
        let parsed = chrono::DateTime::parse_from_rfc3339(self.optional(column)?);
        parsed.ok().map(|time| time.timestamp_micros())
    }

    /// Whether the bundle lets the call go to the target; `None` if the record is of something unknown.
    fn judge(&self, bundle: &Bundle, target: &TargetFacts<'_>) -> Option<Eligibility> {
        let principal = Principal {
            key_id: self.text("api_key_id").to_owned(),
            tenant: self.text("tenant").to_owned(),
            project: self.optional("project").map(str::to_owned),
            team: self.text("team").to_owned(),
            ..Principal::default()
        };
        let tags: Vec<(String, String)> =
            self.map("tags").filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
        let capabilities: Vec<String> =
            self.list("capabilities").filter_map(|text| Some(text.as_str()?.to_owned())).collect();
        let pii_counts: Vec<(String, u32)> = self
            .map("pii_counts")
            .filter_map(|(entity, count)| Some((entity.clone(), u32::try_from(count.as_u64()?).ok()?)))
            .collect();
        let now_us = self.time_us("decided_at").or_else(|| self.time_us("started_at"))?;
        let (operation, dialect) =
            (Operation::from_text(self.text("operation"))?, Dialect::from_text(self.text("dialect"))?);
        let facts = Facts {
            stream: self.0.get("stream").and_then(Value::as_bool).unwrap_or_default(),
            metadata: &tags,
            user_ref: self.optional("user_ref"),
            data_class: self.optional("data_class"),
            estimated_input_tokens: self.0.get("estimated_input_tokens").and_then(Value::as_u64),
            capabilities: &capabilities,
            pii_counts: self.0.get("pii_counts").is_some_and(Value::is_object).then_some(pii_counts.as_slice()),
            ..Facts::new(&principal, operation, dialect, self.text("model_requested"), now_us)
        };
        let facts = Facts { priority: facts.label("priority"), ..facts };
        Some(eligible(bundle, &facts, target))
    }
}

fn target_of(entry: &Value) -> (String, String) {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("provider"), text("model"))
}

fn name((provider, model): &(String, String)) -> String {
    if model.is_empty() { provider.clone() } else { format!("{provider}/{model}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tollgate_policy::bundle;
    use tollgate_policy::residency::Place;

    use super::*;

    const RULES: &str = r#"
apiVersion: tollgate/v1
bundle: {name: r}
access: [{id: all, when: "true", allow: {}}]
residency:
  - {id: eu, when: 'request.data_class == "personal"', require: {inference: eu}}
  - {id: odd, when: 'guard.pii_count > 0', exclude: never}
"#;

    #[expect(clippy::type_complexity, reason = "a test takes it apart at once")]
    fn fold(rows: &[Value]) -> (ResidencyReport, Vec<((String, String, String), u64)>) {
        let bundle = bundle::load(RULES).unwrap();
        let hash = bundle.hash.clone();
        let bundles = BTreeMap::from([(hash.clone(), bundle)]);
        let target = |provider: &str, _: &str| {
            let place = match provider {
                "fra" => "eu-central-1",
                "iad" => "us-east-1",
                _ => return None,
            };
            let places = Places { inference: Place::parse(place).ok(), ..Places::default() };
            Some(PlacedTarget { places, tags: Vec::new(), self_hosted: false })
        };
        let judges = Judges { bundles: &bundles, target: &target };
        let mut folded = Folded::default();
        for row in rows {
            let mut row = row.as_object().unwrap().clone();
            row.entry("policy_bundle_hash").or_insert_with(|| json!(hash));
            let fixed = json!({"interaction_id": "i", "started_at": "2026-11-26T12:00:00Z", "operation": "chat", "dialect": "openai"});
            row.extend(fixed.as_object().unwrap().clone());
            folded.call(&Row(row), &judges);
        }
        (folded.report, folded.blocked.into_iter().collect())
    }

    #[test]
    fn an_attempt_abroad_is_a_leak_and_one_that_was_kept_back_is_not() {
        let kept = json!({"data_class": "personal", "pii_counts": {}, "attempts": [{"provider": "fra", "model": "m"}],
            "candidates": [{"provider": "fra", "model": "m", "rejected_because": null},
                           {"provider": "iad", "model": "m", "rejected_because": "eu: the place of inference is `us-east-1`, not `eu`"},
                           {"provider": "iad", "model": "n", "rejected_because": "operation_not_supported"}]});
        let denied =
            json!({"data_class": "personal", "error_type": "no_eligible_target", "attempts": [], "candidates": []});
        let (report, blocked) = fold(&[kept, denied]);
        assert_eq!((report.calls, report.governed, report.attempts_judged, report.denied), (2, 2, 1, 1));
        assert_eq!((report.leaked, report.unjudged.len()), (0, 0));
        assert_eq!(blocked, [(("personal".into(), "eu".into(), "iad/m".into()), 1)]);

        let leaked = json!({"data_class": "personal", "pii_counts": {}, "attempts": [{"provider": "fra", "model": "m"}, {"provider": "iad", "model": "m"}]});
        let (report, _) = fold(&[leaked]);
        assert_eq!((report.leaked, report.attempts_judged), (1, 2));
        assert_eq!((report.leaks[0].rule.as_str(), report.leaks[0].target.as_str()), ("eu", "iad/m"));
        let found =
            json!({"data_class": "public", "pii_counts": {"iban": 2}, "attempts": [{"provider": "fra", "model": "m"}]});
        assert_eq!(fold(&[found]).0.leaks[0].rule, "odd");
    }

    #[test]
    fn what_cannot_be_judged_is_counted() {
        let attempts = json!([{"provider": "fra", "model": "m"}]);
        let (report, _) = fold(&[
            json!({"policy_bundle_hash": "other", "attempts": attempts}),
            json!({"data_class": "public", "attempts": attempts}),
            json!({"data_class": "public", "pii_counts": {}, "attempts": [{"provider": "gone", "model": "m"}]}),
        ]);
        assert_eq!((report.leaked, report.attempts_judged), (0, 0));
        assert_eq!(report.unjudged.values().copied().collect::<Vec<_>>(), [1, 1, 1], "{:?}", report.unjudged);
    }
}

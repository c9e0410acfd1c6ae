//! One AI call, whole: what was asked, what policy decided, what was tried, how it ended, what it cost.

use minicbor::{Decode, Encode};

use crate::attempt::{Attempt, Candidate, Reason};
use crate::governed::{BudgetReading, GuardVerdict, LimitReading, TargetReading};
use crate::id::InteractionId;
use crate::money::Usd;
use crate::outcome::{CacheKind, CostSource, Decision, Dialect, Operation, Outcome, Source, UsageSource};
use crate::schema::SCHEMA_VERSION;
use crate::share::Share;
use crate::usage::Usage;

/// The facts of one call. Its place in the log, an [`EventId`](crate::EventId), is given by the write-ahead log and is
/// not part of it. Encoded as a CBOR map with integer keys: deterministic (RFC 8949 §4.2) because every field is
/// written once, in the order of its key, at its shortest, and absent fields are left out.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Interaction {
    /// Version of this record's meaning; see [`crate::schema::SCHEMA_VERSION`].
    #[n(0)]
    pub schema_version: u16,
    /// Identifies the call everywhere, the response header included.
    #[n(1)]
    pub interaction_id: InteractionId,
    /// When the request head had been read. Microseconds since 1970, UTC.
    #[n(2)]
    pub started_at_us: i64,
    /// When the last byte was sent or the call was given up. Microseconds since 1970, UTC.
    #[n(3)]
    pub ended_at_us: i64,
    /// Organisation the key belongs to.
    #[n(4)]
    pub tenant: String,
    /// Project of the key, if it has one.
    #[n(5)]
    pub project: Option<String>,
    /// Team of the key. Empty if the caller was never identified.
    #[n(6)]
    pub team: String,
    /// Keyed hash of the end user the caller named; never the name itself.
    #[n(7)]
    pub user_ref: Option<String>,
    /// Id of the virtual key (not the key).
    #[n(8)]
    pub api_key_id: Option<String>,
    /// Groups the turns of one conversation.
    #[n(9)]
    pub conversation_id: Option<String>,
    /// W3C trace id, 32 hexadecimal digits.
    #[n(10)]
    pub trace_id: Option<String>,
    /// W3C span id of the caller, 16 hexadecimal digits.
    #[n(11)]
    pub span_id: Option<String>,
    /// Which door the record came in by.
    #[n(12)]
    pub source: Source,
    /// What was asked for.
    #[n(13)]
    pub operation: Operation,
    /// The caller's wire format.
    #[n(14)]
    pub dialect: Dialect,
    /// Whether the caller asked for a stream.
    #[n(15)]
    pub stream: bool,
    /// As the caller wrote it; empty if the request could not be read so far.
    #[n(16)]
    pub model_requested: String,
    /// As the provider reported it.
    #[n(17)]
    pub model_served: Option<String>,
    /// Name, in the configuration, of the provider that answered or was tried last.
    #[n(18)]
    pub provider: Option<String>,
    /// Region of that provider, as configured.
    #[n(19)]
    pub region: Option<String>,
    /// Alias the model was resolved through.
    #[n(20)]
    pub route_id: Option<String>,
    /// SHA-256 of the policy bundle that decided, hexadecimal.
    #[n(21)]
    pub policy_bundle_hash: Option<String>,
    /// Id of the signals snapshot the decision read.
    #[n(22)]
    pub signals_id: Option<String>,
    /// What policy said.
    #[n(23)]
    pub decision: Decision,
    /// Why, rule by rule.
    #[n(24)]
    pub decision_reasons: Vec<Reason>,
    /// Targets considered, in the order they were preferred.
    #[n(25)]
    pub candidates: Vec<Candidate>,
    /// Upstream calls made.
    #[n(26)]
    pub attempts: Vec<Attempt>,
    /// How the call ended for its caller.
    #[n(27)]
    pub outcome: Outcome,
    /// HTTP status sent to the caller; `None` if the caller had left before one was sent.
    #[n(28)]
    pub http_status: Option<u16>,
    /// Stable code of the error the caller saw or would have seen.
    #[n(29)]
    pub error_type: Option<String>,
    /// One sentence on that error, for a person; no prompt text and no secrets.
    #[n(30)]
    pub error_message: Option<String>,
    /// Why the model stopped, per choice, in the provider's words.
    #[n(31)]
    pub finish_reasons: Vec<String>,
    /// From the first byte of the request to the last byte of the answer.
    #[n(32)]
    pub latency_us: u64,
    /// From the first byte of the request to the first content of the answer.
    #[n(33)]
    pub ttft_us: Option<u64>,
    /// Part of the latency that the gateway itself caused before the upstream was called.
    #[n(34)]
    pub gateway_overhead_us: Option<u64>,
    /// Tokens of the answering attempt.
    #[n(35)]
    pub usage: Usage,
    /// Who counted them.
    #[n(36)]
    pub usage_source: UsageSource,
    /// Cost of every attempt together; `None` if unknown.
    #[n(37)]
    pub cost_usd: Option<Usd>,
    /// Where that cost comes from.
    #[n(38)]
    pub cost_source: CostSource,
    /// Row of the price catalogue that was applied.
    #[n(39)]
    pub price_id: Option<String>,
    /// Bytes of the request body as received.
    #[n(40)]
    pub request_bytes: u64,
    /// Bytes of the response body as sent.
    #[n(41)]
    pub response_bytes: u64,
    /// The caller's own labels, sorted by name, each name once.
    #[n(42)]
    pub tags: Vec<(String, String)>,
    /// Tier of service that answered, in the provider's words.
    #[n(43)]
    pub service_tier: Option<String>,
    /// Wire format spoken with the provider that answered or was tried last; the caller's own unless the call was
    /// translated.
    #[n(44)]
    pub upstream_dialect: Option<Dialect>,
    /// Paths in the request of what that format cannot express and the route let be dropped.
    #[n(45)]
    #[cbor(default)]
    pub dropped: Vec<String>,
    /// What the provider itself says the call costs.
    #[n(46)]
    pub provider_cost_usd: Option<Usd>,
    /// Experiment of the policy bundle that the call took part in.
    #[n(47)]
    pub experiment: Option<String>,
    /// Its arm in that experiment.
    #[n(48)]
    pub arm: Option<String>,
    /// How likely that arm, or the target that a random choice fell on, was to be chosen.
    #[n(49)]
    pub propensity: Option<Share>,
    /// What guards said, in the order they ran.
    #[n(50)]
    #[cbor(default)]
    pub guards: Vec<GuardVerdict>,
    /// Personal data found, by kind of entity, sorted by it; never the data.
    #[n(51)]
    #[cbor(default)]
    pub pii_counts: Vec<(String, u32)>,
    /// How the call was answered without a provider, if it was.
    #[n(52)]
    pub cache_kind: Option<CacheKind>,
    /// How near the request was to the one answered before; of an exact hit, one.
    #[n(53)]
    pub cache_similarity: Option<Share>,
    /// The call whose answer was given again.
    #[n(54)]
    pub cached_from: Option<InteractionId>,
    /// What the call would have cost, had it not been answered from the cache.
    #[n(55)]
    pub cost_saved_usd: Option<Usd>,
    /// The call that this one is a shadow of: its answer reached nobody.
    #[n(56)]
    pub shadow_of: Option<InteractionId>,
    /// Class of the data in the request, as policy knew it.
    #[n(57)]
    pub data_class: Option<String>,
    /// How well it is known where the call was served: `declared`, `contract`, `header`.
    #[n(58)]
    pub region_evidence: Option<String>,
    /// What the request needs of a target: `tools`, `vision`, `audio`, `documents`, `json_schema`, `reasoning`, `stream`.
    #[n(59)]
    #[cbor(default)]
    pub capabilities: Vec<String>,
    /// Tokens of the request as estimated before any provider counted them.
    #[n(60)]
    pub estimated_input_tokens: Option<u64>,
    /// What the budgets stood at that the decision went by.
    #[n(61)]
    #[cbor(default)]
    pub budget_readings: Vec<BudgetReading>,
    /// The number that a random choice of route went by, from 0 (included) to 1 (excluded).
    #[n(62)]
    pub route_draw: Option<Share>,
    /// What the limits stood at that the decision went by.
    #[n(63)]
    #[cbor(default)]
    pub limit_readings: Vec<LimitReading>,
    /// What the targets stood at that the route went by, in the order the route names them.
    #[n(64)]
    #[cbor(default)]
    pub target_readings: Vec<TargetReading>,
    /// When policy was asked. Microseconds since 1970, UTC; `None` if it never was.
    #[n(65)]
    pub decided_at_us: Option<i64>,
    /// Tokens that the answer was taken to have at most, when the call was admitted.
    #[n(66)]
    pub estimated_output_tokens: Option<u64>,
    /// What the call was taken to cost at most, and what budgets held back for it.
    #[n(67)]
    pub estimated_cost_usd: Option<Usd>,
}

impl Interaction {
    /// The day (days since 1970, UTC) the record is filed under: that of its start.
    #[must_use]
    pub fn day(&self) -> i32 {
        day_of(self.started_at_us)
    }
}

/// Days since 1970 (UTC) of a time in microseconds.
#[must_use]
pub fn day_of(time_us: i64) -> i32 {
    const US_PER_DAY: i64 = 86_400_000_000;
    i32::try_from(time_us.div_euclid(US_PER_DAY)).unwrap_or(i32::MAX)
}

impl Interaction {
    /// A record of which nothing is known yet: what is built from it names what it knows.
    #[must_use]
    pub fn blank() -> Interaction {
        Interaction {
            schema_version: SCHEMA_VERSION,
            interaction_id: InteractionId::new(0, &[0; 10]),
            started_at_us: 0,
            ended_at_us: 0,
            tenant: String::new(),
            project: None,
            team: String::new(),
            user_ref: None,
            api_key_id: None,
            conversation_id: None,
            trace_id: None,
            span_id: None,
            source: Source::Proxy,
            operation: Operation::Chat,
            dialect: Dialect::Openai,
            stream: false,
            model_requested: String::new(),
            model_served: None,
            provider: None,
            region: None,
            route_id: None,
            policy_bundle_hash: None,
            signals_id: None,
            decision: Decision::Allow,
            decision_reasons: Vec::new(),
            candidates: Vec::new(),
            attempts: Vec::new(),
            outcome: Outcome::Interrupted,
            http_status: None,
            error_type: None,
            error_message: None,
            finish_reasons: Vec::new(),
            latency_us: 0,
            ttft_us: None,
            gateway_overhead_us: None,
            usage: Usage::default(),
            usage_source: UsageSource::None,
            cost_usd: None,
            cost_source: CostSource::None,
            price_id: None,
            request_bytes: 0,
            response_bytes: 0,
            tags: Vec::new(),
            service_tier: None,
            upstream_dialect: None,
            dropped: Vec::new(),
            provider_cost_usd: None,
            experiment: None,
            arm: None,
            propensity: None,
            guards: Vec::new(),
            pii_counts: Vec::new(),
            cache_kind: None,
            cache_similarity: None,
            cached_from: None,
            cost_saved_usd: None,
            shadow_of: None,
            data_class: None,
            region_evidence: None,
            capabilities: Vec::new(),
            estimated_input_tokens: None,
            budget_readings: Vec::new(),
            route_draw: None,
            limit_readings: Vec::new(),
            target_readings: Vec::new(),
            decided_at_us: None,
            estimated_output_tokens: None,
            estimated_cost_usd: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(number: u64) -> Interaction {
        let started_at_us = 1_795_000_000_000_000;
        Interaction {
            schema_version: crate::schema::SCHEMA_VERSION,
            interaction_id: InteractionId::new(1_795_000_000_000 + number, &[3; 10]),
            started_at_us,
            ended_at_us: started_at_us + 1_200,
            tenant: "acme".to_owned(),
            team: "kyc".to_owned(),
            api_key_id: Some("key-1".to_owned()),
            model_requested: "sandbox/small".to_owned(),
            model_served: Some("small".to_owned()),
            provider: Some("sandbox".to_owned()),
            policy_bundle_hash: Some("ab".repeat(32)),
            decision_reasons: vec![Reason {
                rule: "default".to_owned(),
                effect: "allow".to_owned(),
                detail: "every known key may call every model".to_owned(),
            }],
            attempts: vec![Attempt {
                provider: "sandbox".to_owned(),
                model: "small".to_owned(),
                http_status: Some(200),
                error_class: None,
                started_at_us,
                duration_us: 900,
                input_tokens: Some(10),
                output_tokens: Some(20),
                cost_usd: Some(Usd::new(1_500_000_000)),
            }],
            outcome: Outcome::Success,
            http_status: Some(200),
            finish_reasons: vec!["stop".to_owned()],
            latency_us: 1_200,
            ttft_us: Some(1_100),
            gateway_overhead_us: Some(40),
            usage: Usage { input_tokens: Some(10), output_tokens: Some(20), ..Usage::default() },
            usage_source: UsageSource::Provider,
            cost_usd: Some(Usd::new(1_500_000_000)),
            cost_source: CostSource::Catalog,
            price_id: Some("sandbox/small@2026-11-01".to_owned()),
            request_bytes: 120,
            response_bytes: 300,
            tags: vec![("env".to_owned(), "test".to_owned())],
            upstream_dialect: Some(Dialect::Openai),
            ..Interaction::blank()
        }
    }

    #[test]
    fn a_record_reads_back_from_its_cbor_and_encodes_to_the_same_bytes() {
        let record = sample(1);
        let bytes = minicbor::to_vec(&record).unwrap();
        let read: Interaction = minicbor::decode(&bytes).unwrap();
        assert_eq!(read, record);
        assert_eq!(minicbor::to_vec(&read).unwrap(), bytes);
    }

    #[test]
    fn a_call_is_filed_under_the_utc_day_of_its_start() {
        let mut record = sample(1);
        record.started_at_us = 86_400_000_000 - 1;
        assert_eq!(record.day(), 0);
        record.started_at_us = -1;
        assert_eq!(record.day(), -1);
    }
}

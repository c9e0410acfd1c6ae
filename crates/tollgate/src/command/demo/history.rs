//! A month of plausible calls, written through the same log as real ones. The same seed gives the same month.

use anyhow::Context as _;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tollgate_interaction::event::{Payload, Settled};
use tollgate_interaction::{
    Attempt, CacheKind, Candidate, CostSource, Decision, Dialect, Event, Interaction, InteractionId, Operation,
    Outcome, Reason, Share, Source, Usage, UsageSource, Usd,
};
use tollgate_provider::price::{self, Catalog};
use tollgate_provider::sandbox::{self, Script};
use tollgate_provider::translate::Address;
use tollgate_wal::Appender;

use super::scene::{TEAMS, TENANT, Team};

const SEED: u64 = 20_261_123;
const US_PER_MINUTE: i64 = 60_000_000;
const MINUTES_PER_DAY: i64 = 1_440;
/// Calls of a whole working day, all teams together.
const CALLS_PER_DAY: f64 = 420.0;
/// The day, counted back from today, on whose afternoon one provider failed.
const BAD_DAY: i64 = 9;

/// Appends `days` days of calls that end at `now_us` and returns how many there are.
///
/// # Errors
/// If the price catalogue does not load or the log cannot take a record.
pub(super) fn write(appender: &Appender, days: u32, now_us: i64) -> anyhow::Result<usize> {
    let catalog = Catalog::builtin()?;
    let mut random = StdRng::seed_from_u64(SEED);
    let mut written = 0;
    for minutes_ago in (1..=i64::from(days) * MINUTES_PER_DAY).rev() {
        let minute_us = now_us - minutes_ago * US_PER_MINUTE;
        for _ in 0..calls_in(&mut random, minute_us) {
            let started_at_us = minute_us + random.random_range(0..US_PER_MINUTE);
            let call = Call::imagine(&mut random, started_at_us, minutes_ago / MINUTES_PER_DAY);
            appender.append_written(&call.event(&mut random, &catalog)).context("writing the demo's history")?;
            written += 1;
        }
    }
    Ok(written)
}

/// How many calls start in a minute: busy mornings and afternoons, a lunch dip, quiet nights and weekends.
fn calls_in(random: &mut StdRng, minute_us: i64) -> u32 {
    let minute_of_day = minute_us.div_euclid(US_PER_MINUTE).rem_euclid(MINUTES_PER_DAY) as f64;
    let weekday = (minute_us.div_euclid(US_PER_MINUTE * MINUTES_PER_DAY) + 4).rem_euclid(7);
    let hill = |centre: f64, width: f64| (-((minute_of_day - centre) / width).powi(2)).exp();
    let weekend = if weekday == 0 || weekday == 6 { 0.18 } else { 1.0 };
    let rhythm = 0.06 + hill(10.2 * 60.0, 130.0) + 0.9 * hill(15.1 * 60.0, 150.0);
    let expected = CALLS_PER_DAY / 560.0 * rhythm * weekend;
    let whole = expected.floor();
    whole as u32 + u32::from(random.random_bool((expected - whole).clamp(0.0, 1.0)))
}

/// One imagined call, before it is made a record.
struct Call {
    started_at_us: i64,
    team: &'static Team,
    provider: &'static str,
    model: &'static str,
    prompt: &'static str,
    stream: bool,
    outcome: Outcome,
    user: u32,
}

impl Call {
    fn imagine(random: &mut StdRng, started_at_us: i64, days_ago: i64) -> Call {
        let team = &TEAMS[pick(random, TEAMS.iter().map(|team| team.weight))];
        let (provider, model, _) = team.models[pick(random, team.models.iter().map(|(_, _, weight)| *weight))];
        let hour = started_at_us.div_euclid(60 * US_PER_MINUTE).rem_euclid(24);
        let bad_afternoon = days_ago == BAD_DAY && provider == "openai" && (13..16).contains(&hour);
        let failing = if bad_afternoon { 450 } else { 9 };
        let outcome = match random.random_range(0..1_000) {
            roll if roll < failing => Outcome::Failed,
            roll if roll < failing + 12 => Outcome::Cancelled,
            roll if roll < failing + 24 => Outcome::Denied,
            roll if roll < failing + 54 => Outcome::Cached,
            _ => Outcome::Success,
        };
        let prompt = team.prompts[random.random_range(0..team.prompts.len())];
        let stream = !is_embedding(model) && random.random_bool(0.55);
        Call { started_at_us, team, provider, model, prompt, stream, outcome, user: random.random_range(0..40) }
    }

    fn event(&self, random: &mut StdRng, catalog: &Catalog) -> Event {
        let operation = if is_embedding(self.model) { Operation::Embeddings } else { Operation::Chat };
        let request = self.request(operation);
        let answered = matches!(self.outcome, Outcome::Success | Outcome::Cached | Outcome::Cancelled);
        let response = if answered { self.response(random, operation, &request) } else { self.refusal() };
        let usage = self.usage(random, operation);
        let priced = usage.and_then(|usage| {
            catalog
                .cost(&price::Call {
                    provider: self.price_list(),
                    model: self.model,
                    region: None,
                    service_tier: None,
                    usage: &usage,
                    at_us: self.started_at_us,
                })
                .ok()
        });
        let billed = self.outcome != Outcome::Cached;
        let latency_us = self.latency_us(random, usage.and_then(|usage| usage.output_tokens));
        let worth = priced.as_ref().map(|priced| priced.cost);
        let cost_usd = if billed { worth } else { Some(Usd::ZERO) };
        let called = matches!(self.outcome, Outcome::Success | Outcome::Cancelled | Outcome::Failed);
        let http_status = match self.outcome {
            Outcome::Failed => Some(502),
            Outcome::Denied => Some(403),
            _ => Some(200),
        };
        let attempt = Attempt {
            provider: self.provider.to_owned(),
            model: self.model.to_owned(),
            http_status: if self.outcome == Outcome::Failed { Some(503) } else { Some(200) },
            error_class: (self.outcome == Outcome::Failed).then(|| "server_error".to_owned()),
            started_at_us: self.started_at_us + 300,
            duration_us: latency_us.saturating_sub(400),
            input_tokens: usage.and_then(|usage| usage.input_tokens),
            output_tokens: usage.and_then(|usage| usage.output_tokens),
            cost_usd,
        };
        let interaction = Interaction {
            interaction_id: InteractionId::new((self.started_at_us / 1_000).unsigned_abs(), &random.random()),
            started_at_us: self.started_at_us,
            ended_at_us: self.started_at_us + i64::try_from(latency_us).unwrap_or(i64::MAX),
            tenant: TENANT.to_owned(),
            project: Some(self.team.project.to_owned()),
            team: self.team.name.to_owned(),
            user_ref: Some(format!("{:016x}", u64::from(self.user).wrapping_mul(0x9e37_79b9_7f4a_7c15))),
            api_key_id: Some(format!("key_demo_{}", self.team.name)),
            source: Source::Demo,
            operation,
            stream: self.stream,
            model_requested: format!("{}/{}", self.provider, self.model),
            model_served: answered.then(|| self.model.to_owned()),
            provider: called.then(|| self.provider.to_owned()),
            region: called.then(|| self.region().to_owned()),
            decision: if self.outcome == Outcome::Denied { Decision::Deny } else { Decision::Allow },
            decision_reasons: vec![self.reason()],
            candidates: vec![Candidate {
                provider: self.provider.to_owned(),
                model: self.model.to_owned(),
                rejected_because: None,
            }],
            attempts: if called { vec![attempt] } else { Vec::new() },
            outcome: self.outcome,
            http_status,
            error_type: self.error_type().map(str::to_owned),
            finish_reasons: if answered { vec!["stop".to_owned()] } else { Vec::new() },
            latency_us,
            ttft_us: answered.then_some(if self.stream { latency_us / 5 } else { latency_us }),
            gateway_overhead_us: Some(random.random_range(60..240)),
            usage: usage.filter(|_| billed).unwrap_or_default(),
            usage_source: match self.outcome {
                Outcome::Success => UsageSource::Provider,
                Outcome::Cancelled => UsageSource::Partial,
                _ => UsageSource::None,
            },
            cost_usd,
            cost_source: match cost_usd {
                _ if !billed => CostSource::Cache,
                Some(_) => CostSource::Catalog,
                None => CostSource::None,
            },
            cache_kind: (!billed).then_some(CacheKind::Exact),
            cache_similarity: (!billed).then_some(Share::ONE),
            cost_saved_usd: worth.filter(|_| !billed),
            price_id: priced.filter(|_| billed).map(|priced| priced.price_id),
            request_bytes: request.len() as u64,
            response_bytes: response.len() as u64,
            tags: vec![(
                "channel".to_owned(),
                if self.user.is_multiple_of(3) { "batch" } else { "interactive" }.to_owned(),
            )],
            upstream_dialect: Some(Dialect::Openai),
            ..Interaction::blank()
        };
        let payload = |body: Bytes, content_type: &str| Payload { content_type: content_type.to_owned(), body };
        let answered_as = if self.stream && answered { "text/event-stream" } else { "application/json" };
        Event::Settled(Box::new(Settled {
            interaction,
            request: Some(payload(request, "application/json")),
            response: payload(response, answered_as),
            salt: None,
        }))
    }

    fn request(&self, operation: Operation) -> Bytes {
        let body = match operation {
            Operation::Embeddings => serde_json::json!({"model": self.model, "input": self.prompt}),
            _ => serde_json::json!({
                "model": self.model,
                "stream": self.stream,
                "messages": [{"role": "user", "content": self.prompt}],
            }),
        };
        Bytes::from(body.to_string())
    }

    fn response(&self, random: &mut StdRng, operation: Operation, request: &Bytes) -> Bytes {
        let script = Script { created_at_s: self.started_at_us / 1_000_000, ..Script::default() };
        sandbox::respond(Dialect::Openai, operation, Address::default(), request, &script, random.random()).body()
    }

    fn refusal(&self) -> Bytes {
        let code = self.error_type().unwrap_or("internal");
        Bytes::from(serde_json::json!({"error": {"code": code, "message": code, "type": "error"}}).to_string())
    }

    fn error_type(&self) -> Option<&'static str> {
        match self.outcome {
            Outcome::Failed => Some("upstream_error"),
            Outcome::Denied => Some("model_not_allowed"),
            _ => None,
        }
    }

    fn reason(&self) -> Reason {
        let (rule, effect, detail) = match self.outcome {
            Outcome::Denied => ("approved-models", "deny", "the model is not on this team's list"),
            _ => ("known-keys", "allow", "known keys may call every model"),
        };
        Reason { rule: rule.to_owned(), effect: effect.to_owned(), detail: detail.to_owned() }
    }

    /// Tokens around the team's typical call, skewed towards long ones as real traffic is.
    fn usage(&self, random: &mut StdRng, operation: Operation) -> Option<Usage> {
        if matches!(self.outcome, Outcome::Failed | Outcome::Denied) {
            return None;
        }
        let mut around = |typical: u64| {
            let factor = random.random_range(0.25_f64..1.0) * random.random_range(1.0_f64..2.6);
            (typical as f64 * factor) as u64 + 1
        };
        let (typical_input, typical_output) = self.team.tokens;
        let input = around(typical_input);
        let output = (operation == Operation::Chat).then(|| around(typical_output));
        let cached = (operation == Operation::Chat && input > 2_000).then_some(input / 3);
        Some(Usage {
            input_tokens: Some(input),
            output_tokens: output,
            cache_read_input_tokens: cached,
            ..Usage::default()
        })
    }

    fn latency_us(&self, random: &mut StdRng, output_tokens: Option<u64>) -> u64 {
        let per_token_us = match self.provider {
            "llama-home" => 11_000,
            "mistral-eu" => 7_500,
            "anthropic" => 9_000,
            _ => 6_500,
        };
        match self.outcome {
            Outcome::Denied => random.random_range(150..600),
            Outcome::Cached => random.random_range(300..1_500),
            Outcome::Failed => random.random_range(200_000..30_000_000),
            _ => random.random_range(180_000..700_000) + output_tokens.unwrap_or(1) * per_token_us,
        }
    }

    fn region(&self) -> &'static str {
        match self.provider {
            "openai" => "us-east-1",
            "anthropic" => "us-west-2",
            "mistral-eu" => "eu-west-3",
            _ => "on-premises",
        }
    }

    fn price_list(&self) -> &'static str {
        match self.provider {
            "mistral-eu" => "mistral",
            "llama-home" => "groq",
            provider => provider,
        }
    }
}

fn is_embedding(model: &str) -> bool {
    model.starts_with("text-embedding")
}

/// An index, each as likely as its weight.
fn pick(random: &mut StdRng, weights: impl Iterator<Item = u32> + Clone) -> usize {
    let mut left = random.random_range(0..weights.clone().sum::<u32>());
    for (index, weight) in weights.enumerate() {
        if left < weight {
            return index;
        }
        left -= weight;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_month() {
        let imagine = || {
            let mut random = StdRng::seed_from_u64(SEED);
            let call = Call::imagine(&mut random, 1_795_000_000_000_000, 3);
            call.event(&mut random, &Catalog::builtin().unwrap())
        };
        assert_eq!(imagine(), imagine());
    }

    #[test]
    fn every_model_of_the_demo_has_a_price() {
        let catalog = Catalog::builtin().unwrap();
        for team in TEAMS {
            for (provider, model, _) in team.models {
                let output_tokens = (!is_embedding(model)).then_some(10);
                let usage = Usage { input_tokens: Some(10), output_tokens, ..Usage::default() };
                let list = match *provider {
                    "mistral-eu" => "mistral",
                    "llama-home" => "groq",
                    provider => provider,
                };
                let at_us = 1_795_000_000_000_000;
                let usage = &usage;
                catalog
                    .cost(&price::Call { provider: list, model, region: None, service_tier: None, usage, at_us })
                    .unwrap();
            }
        }
    }

    #[test]
    fn a_monday_morning_is_busier_than_a_sunday_night() {
        let monday_ten = 1_795_428_000_000_000;
        let mut random = StdRng::seed_from_u64(1);
        let mut sum =
            |start: i64| (0..240).map(|minute| calls_in(&mut random, start + minute * US_PER_MINUTE)).sum::<u32>();
        let (busy, quiet) = (sum(monday_ten), sum(monday_ten - 36 * 60 * US_PER_MINUTE));
        assert!(busy > 2 * quiet, "{busy} calls against {quiet}");
    }
}

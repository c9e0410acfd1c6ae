//! Prices recorded calls again. A call whose cost is another by these prices gets a correction in the log; its own row stays
//! as it is. A call that these prices do not know keeps what it has.

use std::collections::BTreeMap;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::future::try_join_all;
use tollgate_analytics::Reading;
use tollgate_analytics::report::{RecordedCall, TimeRange, recorded_calls};
use tollgate_config::PriceBook;
use tollgate_console::prices::{ModelRepricing, RepriceOrder, Repricing};
use tollgate_interaction::{Event, Governance, PriceCorrection, Usd};
use tollgate_provider::price::{Beside, Call, Catalog, PriceError, Priced};
use tollgate_wal::Appender;

/// What calls are priced by.
pub(crate) struct PriceAgain<'a> {
    /// The prices.
    pub(crate) book: &'a PriceBook,
    /// Under which name the catalogue knows each provider, by the provider's own name.
    pub(crate) names: &'a BTreeMap<String, String>,
    /// When that is. Microseconds since 1970, UTC.
    pub(crate) now_us: i64,
}

impl PriceAgain<'_> {
    /// Prices what `reading` holds of the calls of `order`; with an `appender`, each other cost becomes a correction. Gives
    /// the result and the sequence number of the last correction.
    ///
    /// # Errors
    /// If the log cannot be read or takes no corrections; those that were appended before stay.
    pub(crate) async fn run(
        &self,
        reading: &Reading,
        order: &RepriceOrder,
        appender: Option<&Appender>,
    ) -> anyhow::Result<(Repricing, Option<u64>)> {
        let mut tally = Tally::new(order, self.book.id());
        let mut last_seq = None;
        let mut batches = recorded_calls(reading, TimeRange::new(order.from_us, order.to_us));
        while let Some(calls) = batches.next().await {
            let mut corrections: Vec<Event> = Vec::new();
            for call in calls.context("reading the calls")? {
                let price = self.price(&call);
                if let Some(priced) = tally.add(&call, price)
                    && appender.is_some()
                {
                    corrections.push(self.correction(call, priced, order, &tally.result.catalog_id));
                }
            }
            let Some(appender) = appender else { continue };
            // All of them share a few groups of the log.
            let appended = try_join_all(corrections.iter().map(|event| appender.append_durable(event))).await;
            let seqs = appended.with_context(|| format!("appending corrections; {} were", tally.result.appended))?;
            tally.result.appended += seqs.len() as u64;
            last_seq = seqs.into_iter().max().max(last_seq);
        }
        Ok((tally.finish(), last_seq))
    }

    fn price(&self, call: &RecordedCall) -> Result<Priced, PriceError> {
        let catalog: &Catalog = &self.book.catalog;
        let priced = catalog.cost_as_served(&self.asked(call), call.model_served.as_deref(), &beside(call))?;
        // The attempts before the last were other models, of other lists: what they cost stays.
        Ok(Priced { cost: priced.cost + call.earlier_usd, ..priced })
    }

    /// The call with the model that was asked for, as the catalogue is asked.
    pub(super) fn asked<'call>(&'call self, call: &'call RecordedCall) -> Call<'call> {
        // A provider that is not configured any more is the one whose price was applied.
        let recorded_list = || call.price_id.as_deref().and_then(|id| id.split_once('/')).map(|(list, _)| list);
        let list = self.names.get(&call.provider).map(String::as_str).or_else(recorded_list);
        Call {
            provider: list.unwrap_or(&call.provider),
            model: &call.model_asked,
            region: call.region.as_deref(),
            service_tier: call.service_tier.as_deref(),
            usage: &call.usage,
            at_us: call.started_at_us,
        }
    }

    fn correction(&self, call: RecordedCall, priced: Priced, order: &RepriceOrder, catalog_id: &str) -> Event {
        Governance::Price(PriceCorrection {
            event_id: format!("price-{}-{:x}", call.interaction_id, self.now_us),
            at_us: self.now_us,
            tenant: call.tenant,
            actor: order.actor.clone(),
            reason: order.reason.clone(),
            interaction_id: call.interaction_id,
            call_started_at_us: call.started_at_us,
            team: call.team,
            old_cost_usd: call.cost_usd,
            new_cost_usd: priced.cost,
            price_id: priced.price_id,
            catalog_id: catalog_id.to_owned(),
        })
        .into()
    }
}

/// What a call used beside tokens.
pub(super) fn beside(call: &RecordedCall) -> Beside {
    Beside::read(call.beside.each_ref().map(Option::as_deref))
}

/// What it comes to.
struct Tally {
    result: Repricing,
    models: BTreeMap<(String, String), ModelRepricing>,
}

impl Tally {
    fn new(order: &RepriceOrder, catalog_id: String) -> Tally {
        let result = Repricing {
            mode: order.mode,
            catalog_id,
            calls: 0,
            unchanged: 0,
            changed: 0,
            newly_priced: 0,
            still_unpriced: 0,
            no_longer_priced: 0,
            old_usd: Usd::ZERO,
            new_usd: Usd::ZERO,
            appended: 0,
            by_model: Vec::new(),
        };
        Tally { result, models: BTreeMap::new() }
    }

    /// Counts a call; gives back the price if it makes the cost another.
    fn add(&mut self, call: &RecordedCall, price: Result<Priced, PriceError>) -> Option<Priced> {
        self.result.calls += 1;
        if let (Some(old), Ok(priced)) = (call.cost_usd, &price)
            && old == priced.cost
        {
            self.result.unchanged += 1;
            return None;
        }
        let model = call.model_served.as_ref().unwrap_or(&call.model_asked);
        let of_model = self.models.entry((call.provider.clone(), model.clone())).or_default();
        let priced = match price {
            Ok(priced) => priced,
            Err(problem) => {
                let (total, part) = match call.cost_usd {
                    Some(_) => (&mut self.result.no_longer_priced, &mut of_model.no_longer_priced),
                    None => (&mut self.result.still_unpriced, &mut of_model.still_unpriced),
                };
                *total += 1;
                *part += 1;
                of_model.problem.get_or_insert_with(|| problem.to_string());
                return None;
            }
        };
        let (total, part) = match call.cost_usd {
            Some(_) => (&mut self.result.changed, &mut of_model.changed),
            None => (&mut self.result.newly_priced, &mut of_model.newly_priced),
        };
        *total += 1;
        *part += 1;
        let old = call.cost_usd.unwrap_or(Usd::ZERO);
        self.result.old_usd += old;
        self.result.new_usd += priced.cost;
        of_model.old_usd += old;
        of_model.new_usd += priced.cost;
        Some(priced)
    }

    fn finish(self) -> Repricing {
        let named = |((provider, model), sums)| ModelRepricing { provider, model, ..sums };
        let mut by_model: Vec<ModelRepricing> = self.models.into_iter().map(named).collect();
        // Stable: equal differences stay in the order of the names.
        by_model.sort_by_key(|sums| std::cmp::Reverse((sums.new_usd - sums.old_usd).get().abs()));
        Repricing { by_model, ..self.result }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_config::Config;
    use tollgate_console::prices::RepriceMode;
    use tollgate_interaction::{InteractionId, Usage};

    use super::*;

    fn call(model: &str, cost: Option<&str>) -> RecordedCall {
        RecordedCall {
            interaction_id: InteractionId::new(1, &[3; 10]),
            started_at_us: 1_795_000_000_000_000,
            tenant: "acme".to_owned(),
            team: "kyc".to_owned(),
            provider: "mine".to_owned(),
            model_asked: model.to_owned(),
            model_served: None,
            region: None,
            service_tier: None,
            usage: Usage { input_tokens: Some(1_000), output_tokens: Some(0), ..Usage::default() },
            beside: [None, None, None],
            earlier_usd: Usd::ZERO,
            cost_usd: cost.map(|cost| cost.parse().unwrap()),
            price_id: None,
        }
    }

    #[test]
    fn a_call_is_changed_priced_kept_or_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let rows = "provider: mine-list\nsource: s\nchecked: 2026-11-01\nmodels:\n  - {id: m, prices: [{from: release, input: \"3\"}]}\n";
        std::fs::write(dir.path().join("own.yaml"), rows).unwrap();
        let config = Config::parse("catalog: {prices: own.yaml}", dir.path().to_owned(), |_| None).unwrap();
        let book = config.price_book(dir.path()).unwrap();
        let names = BTreeMap::from([("mine".to_owned(), "mine-list".to_owned())]);
        let again = PriceAgain { book: &book, names: &names, now_us: 0 };
        let (from_us, to_us) = (0, 1);
        let order =
            RepriceOrder { from_us, to_us, mode: RepriceMode::DryRun, reason: String::new(), actor: String::new() };
        let mut tally = Tally::new(&order, book.id());
        let calls = [
            call("m", Some("0.003")),
            call("m", Some("0.002")),
            call("m", None),
            call("x", Some("1")),
            call("x", None),
        ];
        let costs: Vec<Option<String>> =
            calls.iter().map(|call| tally.add(call, again.price(call)).map(|priced| priced.cost.to_string())).collect();
        assert_eq!(costs, [None, Some("0.003".to_owned()), Some("0.003".to_owned()), None, None]);
        let result = tally.finish();
        let counts =
            (result.unchanged, result.changed, result.newly_priced, result.no_longer_priced, result.still_unpriced);
        assert_eq!(counts, (1, 1, 1, 1, 1));
        assert_eq!((result.old_usd.to_string(), result.new_usd.to_string()), ("0.002".to_owned(), "0.006".to_owned()));
        let problem = result.by_model[1].problem.as_deref().unwrap();
        assert!(result.by_model[0].model == "m" && problem.contains("`x`"), "{problem}");
    }

    #[test]
    fn what_earlier_attempts_cost_and_what_was_used_beside_tokens_count_again() {
        let book = Config::default().price_book(std::path::Path::new("/nonexistent")).unwrap();
        let names = BTreeMap::from([("mine".to_owned(), "openai".to_owned())]);
        let again = PriceAgain { book: &book, names: &names, now_us: 0 };
        let heard = RecordedCall {
            usage: Usage::default(),
            beside: [Some("10".to_owned()), None, None],
            earlier_usd: "0.5".parse().unwrap(),
            ..call("whisper-1", None)
        };
        assert_eq!(again.price(&heard).unwrap().cost.to_string(), "0.501");
    }

    #[test]
    fn a_provider_that_is_gone_is_priced_by_the_list_it_was_priced_by() {
        let book = Config::default().price_book(std::path::Path::new("/nonexistent")).unwrap();
        let again = PriceAgain { book: &book, names: &BTreeMap::new(), now_us: 0 };
        let gone = RecordedCall { price_id: Some("openai/gpt-5@release".to_owned()), ..call("gpt-5", Some("1")) };
        assert!(again.price(&gone).is_ok());
        assert!(matches!(again.price(&call("gpt-5", None)), Err(PriceError::UnknownModel { .. })));
    }
}

//! Why a recorded call has no cost: the catalogue's own reason, for the model it is about.

use tollgate_analytics::report::RecordedCall;
use tollgate_console::prices::{Missing, PriceGap};
use tollgate_provider::price::{Beside, Call, PriceError};

use super::reprice::{PriceAgain, beside};

impl PriceAgain<'_> {
    /// Why `call` has no cost by these prices; `None` if it has one.
    pub(crate) fn gap(&self, call: &RecordedCall) -> Option<PriceGap> {
        let beside = beside(call);
        if call.usage.is_empty() && beside.is_empty() {
            let model = call.model_served.as_ref().unwrap_or(&call.model_asked).clone();
            let sentence = "nobody counted what was used, so no price can be applied; see `usage_source`".to_owned();
            return Some(PriceGap { missing: Missing::Usage, model, sentence });
        }
        let asked = self.asked(call);
        let gap = |error: PriceError, model: &str| PriceGap {
            missing: missing(&error),
            model: model.to_owned(),
            sentence: error.to_string(),
        };
        // The model that answered comes first, and that it has no row says nothing where the one asked for has one.
        if let Some(served) = call.model_served.as_deref().filter(|served| *served != call.model_asked) {
            match self.book.catalog.cost_beside(&Call { model: served, ..asked }, &beside) {
                Ok(_) => return None,
                Err(PriceError::UnknownModel { .. }) if self.knows(&asked) => {}
                Err(error) => return (!self.has_cost(&asked, &beside)).then(|| gap(error, served)),
            }
        }
        self.book.catalog.cost_beside(&asked, &beside).err().map(|error| gap(error, &call.model_asked))
    }

    fn has_cost(&self, asked: &Call<'_>, beside: &Beside) -> bool {
        self.book.catalog.cost_beside(asked, beside).is_ok()
    }

    fn knows(&self, asked: &Call<'_>) -> bool {
        self.book.catalog.limits(asked.provider, asked.model).is_some()
    }
}

fn missing(error: &PriceError) -> Missing {
    match error {
        PriceError::UnknownModel { .. } | PriceError::UnknownTier { .. } | PriceError::UnknownRegion { .. } => {
            Missing::Price
        }
        PriceError::NotYetPriced { .. } => Missing::PriceThen,
        PriceError::UnpricedClass { .. } => Missing::PriceOfClass,
        PriceError::UnknownUsage { .. } | PriceError::Inconsistent { .. } => Missing::Usage,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tollgate_config::Config;
    use tollgate_interaction::{InteractionId, Usage};

    use super::*;

    const ROWS: &str = "provider: mine-list\nsource: s\nchecked: 2026-11-01\nmodels:\n  \
        - {id: m, prices: [{from: 2026-11-01, input: \"3\", output: \"4\"}]}\n";

    fn call(asked: &str, served: Option<&str>, usage: Usage) -> RecordedCall {
        RecordedCall {
            interaction_id: InteractionId::new(1, &[3; 10]),
            started_at_us: 1_795_000_000_000_000,
            tenant: "acme".to_owned(),
            team: "kyc".to_owned(),
            provider: "mine".to_owned(),
            model_asked: asked.to_owned(),
            model_served: served.map(str::to_owned),
            region: None,
            service_tier: None,
            usage,
            beside: Default::default(),
            earlier_usd: Default::default(),
            cost_usd: None,
            price_id: None,
        }
    }

    #[test]
    fn the_reason_is_the_catalogues_and_names_the_model_it_is_about() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("own.yaml"), ROWS).unwrap();
        let config = Config::parse("catalog: {prices: own.yaml}", dir.path().to_owned(), |_| None).unwrap();
        let book = config.price_book(dir.path()).unwrap();
        let names = BTreeMap::from([("mine".to_owned(), "mine-list".to_owned())]);
        let again = PriceAgain { book: &book, names: &names, now_us: 0 };
        let counted = Usage { input_tokens: Some(9), output_tokens: Some(1), ..Usage::default() };
        let heard = Usage { audio_input_tokens: Some(5), ..counted };
        let half = Usage { output_tokens: None, ..counted };
        let told = |call: RecordedCall| again.gap(&call).map(|gap| (gap.missing, gap.model));
        let gap = |missing, model: &str| Some((missing, model.to_owned()));
        assert_eq!(told(call("m", None, counted)), None);
        assert_eq!(told(call("alias-of-theirs", Some("m"), counted)), None, "the one that answered has a price");
        assert_eq!(told(call("m", Some("m-2026"), counted)), None, "the one asked for has a price");
        assert_eq!(told(call("x", Some("y"), counted)), gap(Missing::Price, "y"));
        assert_eq!(told(call("x", None, counted)), gap(Missing::Price, "x"));
        assert_eq!(told(call("m", Some("m-2026"), heard)), gap(Missing::PriceOfClass, "m"));
        assert_eq!(told(call("x", None, Usage::default())), gap(Missing::Usage, "x"));
        assert_eq!(told(call("m", None, half)), gap(Missing::Usage, "m"));
        let early = RecordedCall { started_at_us: 1_700_000_000_000_000, ..call("m", None, counted) };
        assert_eq!(told(early), gap(Missing::PriceThen, "m"));
        let sentence = again.gap(&call("x", None, counted)).unwrap().sentence;
        assert!(sentence.starts_with("no price for model `x` at `mine-list`"), "{sentence}");
    }
}

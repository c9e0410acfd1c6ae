//! Why a call has no cost, in words, and the command that says so on the gateway's machine. The reason is the catalogue's
//! own, and the command names the model as the provider does, not as an alias does.

use chrono::DateTime;
use tollgate_analytics::report::{Costs, RecordedCall};
use tollgate_interaction::Usage;

use crate::prices::{Missing, PriceGap, Prices};

/// A call without a cost, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// `Price unknown`, `Tokens unknown`, `Has a price by now`.
    pub label: &'static str,
    /// One sentence; names between backticks.
    pub sentence: String,
    /// The command that says the same; `None` where prices are not the matter.
    pub command: Option<String>,
}

/// Explains.
#[derive(Clone, Copy)]
pub struct Explainer<'a> {
    /// What calls are priced by.
    pub prices: &'a dyn Prices,
    /// How commands begin: the program, with the options the server was started with.
    pub program: &'a str,
}

impl Explainer<'_> {
    /// Why `call` has no cost.
    #[must_use]
    pub fn why(&self, call: &RecordedCall) -> Why {
        let Some(gap) = self.prices.gap(call) else {
            return Why {
                label: "Has a price by now",
                sentence: "the catalogue in force prices it; `tollgate prices reprice` gives recorded calls their cost"
                    .to_owned(),
                command: None,
            };
        };
        let label = if gap.missing == Missing::Usage { "Tokens unknown" } else { "Price unknown" };
        let command = (gap.missing != Missing::Usage).then(|| command(call, &gap, self.program));
        Why { label, sentence: gap.sentence, command }
    }

    /// Enters into the lines of `report` why their calls have no cost.
    pub fn enter_reasons(&self, report: &mut Costs) {
        for row in &mut report.unpriced {
            row.reason = row.newest.as_ref().map(|call| self.why(call).sentence);
        }
    }
}

fn command(call: &RecordedCall, gap: &PriceGap, program: &str) -> String {
    let mut command = format!("{program} prices explain {} --provider {}", word(&gap.model), word(&call.provider));
    for (option, value) in [("--region", &call.region), ("--tier", &call.service_tier)] {
        if let Some(value) = value {
            command.push_str(&format!(" {option} {}", word(value)));
        }
    }
    if gap.missing == Missing::PriceThen {
        let at = DateTime::from_timestamp_micros(call.started_at_us).unwrap_or_default();
        command.push_str(&format!(" --at {}", at.format("%Y-%m-%dT%H:%M:%SZ")));
    }
    // The rows of the catalogue are explained without a usage; what is missing in one shows with it.
    if gap.missing == Missing::PriceOfClass {
        for (option, count) in used(&call.usage) {
            command.push_str(&format!(" {option} {count}"));
        }
    }
    command
}

/// What was used, as the command is told.
fn used(usage: &Usage) -> Vec<(&'static str, u64)> {
    let options = [
        ("--input", usage.input_tokens),
        ("--output", usage.output_tokens),
        ("--cached", usage.cache_read_input_tokens),
        ("--cache-write-5m", usage.cache_write_5m_input_tokens),
        ("--cache-write-1h", usage.cache_write_1h_input_tokens),
        ("--audio-input", usage.audio_input_tokens),
        ("--image-input", usage.image_input_tokens),
        ("--reasoning", usage.reasoning_output_tokens),
        ("--audio-output", usage.audio_output_tokens),
        ("--image-output", usage.image_output_tokens),
        ("--web-searches", usage.web_search_calls),
        ("--other-tools", usage.other_tool_calls),
    ];
    options.into_iter().filter_map(|(option, count)| count.map(|count| (option, count))).collect()
}

/// A word of a command line, in quotes where a shell would read more into it.
#[must_use]
pub fn word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@+=".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    /// Says of every call that this is missing.
    struct Lacking(Option<Missing>);

    impl Prices for Lacking {
        fn update_id(&self) -> String {
            crate::prices::BUILTIN.to_owned()
        }
        fn update(&self) -> Result<Option<bytes::Bytes>, String> {
            Ok(None)
        }
        fn gap(&self, call: &RecordedCall) -> Option<PriceGap> {
            let (model, sentence) = (call.model_asked.clone(), "no `audio_input`".to_owned());
            self.0.map(|missing| PriceGap { missing, model, sentence })
        }
        fn reprice(
            &self,
            _: crate::prices::RepriceOrder,
        ) -> futures::future::BoxFuture<'static, Result<crate::prices::Repricing, String>> {
            Box::pin(async { Err("not here".to_owned()) })
        }
    }

    fn call() -> RecordedCall {
        let usage = Usage { input_tokens: Some(7), audio_input_tokens: Some(5), ..Usage::default() };
        RecordedCall { model_asked: "a b'; rm".to_owned(), usage, ..sample::recorded() }
    }

    fn why(call: &RecordedCall, prices: &Lacking, program: &str) -> Why {
        Explainer { prices, program }.why(call)
    }

    #[test]
    fn the_command_can_be_pasted_whatever_a_model_is_called() {
        let said = why(&call(), &Lacking(Some(Missing::Price)), "tollgate --config 'my own.yaml'");
        assert_eq!(said.label, "Price unknown");
        let expected = r"tollgate --config 'my own.yaml' prices explain 'a b'\''; rm' --provider mine --tier flex";
        assert_eq!(said.command.as_deref(), Some(expected));
    }

    #[test]
    fn the_command_asks_what_the_reason_depends_on() {
        let command = |missing| why(&call(), &Lacking(Some(missing)), "tollgate").command.unwrap();
        assert!(command(Missing::PriceThen).ends_with(" --tier flex --at 2026-11-23T15:52:03Z"));
        assert!(command(Missing::PriceOfClass).ends_with(" --tier flex --input 7 --audio-input 5"));
    }

    #[test]
    fn where_no_price_is_missing_no_command_is_offered() {
        let uncounted = why(&call(), &Lacking(Some(Missing::Usage)), "tollgate");
        assert_eq!((uncounted.label, uncounted.command), ("Tokens unknown", None));
        let priced = why(&call(), &Lacking(None), "tollgate");
        assert_eq!((priced.label, priced.command), ("Has a price by now", None));
    }
}

//! Token counts as each dialect reports them, brought to one meaning: input includes cached tokens, output includes
//! reasoning. A class the provider did not mention stays unknown.

use tollgate_interaction::{Usage, Usd};

use crate::scan::{Cursor, Kind, ScanError, Text};

/// What has been reported so far, still in the words of its dialect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UsageReading {
    Openai(OpenaiUsage),
    Anthropic(AnthropicUsage),
    /// Brought to the record's meaning by whoever read it.
    Normal(Usage),
}

impl Default for UsageReading {
    fn default() -> Self {
        UsageReading::Openai(OpenaiUsage::default())
    }
}

impl UsageReading {
    /// The counts in the record's meaning.
    pub(crate) fn normalise(&self) -> Usage {
        match self {
            UsageReading::Openai(usage) => usage.normalise(),
            UsageReading::Anthropic(usage) => usage.normalise(),
            UsageReading::Normal(usage) => *usage,
        }
    }
}

/// Names that copies of OpenAI give to tokens read from a cache, beside `prompt_tokens_details`: DeepSeek
/// (<https://api-docs.deepseek.com/guides/kv_cache>), Moonshot and Together
/// (<https://platform.moonshot.ai/docs/api/chat>), Mistral and vLLM's metrics (<https://docs.mistral.ai/api>); 2026-11-26.
const CACHED: [&str; 3] = ["prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens"];

/// `usage` of Chat Completions and Embeddings, and of those who copy them.
/// Source: <https://platform.openai.com/docs/api-reference/chat/object> (2026-11-23).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenaiUsage {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    prompt_audio: Option<u64>,
    prompt_image: Option<u64>,
    reasoning: Option<u64>,
    completion_audio: Option<u64>,
    completion_image: Option<u64>,
    searches: Option<u64>,
    /// What the provider itself says it costs.
    pub(crate) cost: Option<Usd>,
}

impl OpenaiUsage {
    /// Reads a `usage` object; `None` if something else stands there, as `null` does in every chunk but the last.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Self>, ScanError> {
        if cursor.kind()? != Kind::Object {
            cursor.skip()?;
            return Ok(None);
        }
        let mut usage = OpenaiUsage::default();
        cursor.fields(|key, cursor| {
            if key.is("prompt_tokens") {
                usage.prompt = cursor.count_or_skip()?;
            } else if key.is("completion_tokens") {
                usage.completion = cursor.count_or_skip()?;
            } else if key.is("total_tokens") {
                usage.total = cursor.count_or_skip()?;
            } else if key.is("prompt_tokens_details") {
                usage.read_prompt_details(cursor)?;
            } else if key.is("completion_tokens_details") {
                usage.read_completion_details(cursor)?;
            } else if CACHED.iter().any(|name| key.is(name)) {
                usage.cached = usage.cached.or(cursor.count_or_skip()?);
            } else if key.is("reasoning_tokens") {
                // Where there are no details: Perplexity's Sonar, Together.
                usage.reasoning = usage.reasoning.or(cursor.count_or_skip()?);
            } else if key.is("server_tool_use") {
                usage.read_server_tools(cursor)?;
            } else if let Some(read) = Cost::named(key) {
                usage.cost = read.read(cursor)?.or(usage.cost);
            } else {
                cursor.skip()?;
            }
            Ok::<(), ScanError>(())
        })?;
        Ok(Some(usage))
    }

    fn read_prompt_details(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
        if cursor.kind()? != Kind::Object {
            return cursor.skip().map(drop);
        }
        cursor.fields(|key, cursor| {
            if key.is("cached_tokens") {
                self.cached = cursor.count_or_skip()?.or(self.cached);
            } else if key.is("cache_write_tokens") {
                self.cache_write = cursor.count_or_skip()?;
            } else if key.is("audio_tokens") {
                self.prompt_audio = cursor.count_or_skip()?;
            } else if key.is("image_tokens") {
                self.prompt_image = cursor.count_or_skip()?;
            } else {
                cursor.skip()?;
            }
            Ok(())
        })
    }

    fn read_completion_details(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
        if cursor.kind()? != Kind::Object {
            return cursor.skip().map(drop);
        }
        cursor.fields(|key, cursor| {
            if key.is("reasoning_tokens") {
                self.reasoning = cursor.count_or_skip()?.or(self.reasoning);
            } else if key.is("audio_tokens") {
                self.completion_audio = cursor.count_or_skip()?;
            } else if key.is("image_tokens") {
                self.completion_image = cursor.count_or_skip()?;
            } else {
                cursor.skip()?;
            }
            Ok(())
        })
    }

    /// OpenRouter's count of searches: <https://openrouter.ai/docs/use-cases/usage-accounting> (2026-11-26).
    fn read_server_tools(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
        if cursor.kind()? != Kind::Object {
            return cursor.skip().map(drop);
        }
        cursor.fields(|key, cursor| {
            if key.is("web_search_requests") {
                self.searches = cursor.count_or_skip()?;
            } else {
                cursor.skip()?;
            }
            Ok(())
        })
    }

    fn normalise(&self) -> Usage {
        Usage {
            input_tokens: self.prompt,
            output_tokens: self
                .completion
                .map(|completion| completion.saturating_add(self.reasoning_apart(completion))),
            cache_read_input_tokens: self.cached,
            cache_write_5m_input_tokens: self.cache_write,
            cache_write_1h_input_tokens: None,
            reasoning_output_tokens: self.reasoning,
            audio_input_tokens: self.prompt_audio,
            audio_output_tokens: self.completion_audio,
            image_input_tokens: self.prompt_image,
            image_output_tokens: self.completion_image,
            web_search_calls: self.searches,
            ..Usage::default()
        }
    }

    /// Reasoning that `completion_tokens` leaves out. xAI and Gemini's compatible endpoint count it only in the total;
    /// where the three do not add up to exactly that, it is taken to be included, as OpenAI does.
    fn reasoning_apart(&self, completion: u64) -> u64 {
        match (self.prompt, self.total, self.reasoning) {
            (Some(prompt), Some(total), Some(reasoning)) => {
                let sum = prompt.checked_add(completion).and_then(|sum| sum.checked_add(reasoning));
                if sum == Some(total) { reasoning } else { 0 }
            }
            _ => 0,
        }
    }
}

/// `usage` of the Messages API. In a stream it comes twice and is cumulative, so the larger count stands.
/// Source: <https://platform.claude.com/docs/en/build-with-claude/streaming> (2026-11-23).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnthropicUsage {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_creation: Option<u64>,
    creation_5m: Option<u64>,
    creation_1h: Option<u64>,
    thinking: Option<u64>,
    web_searches: Option<u64>,
}

impl AnthropicUsage {
    /// Reads a `usage` object over what is known already; the tier of service stands in it, too.
    pub(crate) fn read_over(&mut self, cursor: &mut Cursor<'_>, tier: &mut Option<String>) -> Result<(), ScanError> {
        if cursor.kind()? != Kind::Object {
            return cursor.skip().map(drop);
        }
        cursor.fields(|key, cursor| {
            if key.is("service_tier") {
                *tier = cursor.text_or_skip()?.map(|text| text.decode().into_owned()).or(tier.take());
            } else if key.is("input_tokens") {
                raise(&mut self.input, cursor.count_or_skip()?);
            } else if key.is("output_tokens") {
                raise(&mut self.output, cursor.count_or_skip()?);
            } else if key.is("cache_read_input_tokens") {
                raise(&mut self.cache_read, cursor.count_or_skip()?);
            } else if key.is("cache_creation_input_tokens") {
                raise(&mut self.cache_creation, cursor.count_or_skip()?);
            } else if key.is("cache_creation") {
                self.read_creation(cursor)?;
            } else if key.is("output_tokens_details") {
                self.read_output_details(cursor)?;
            } else if key.is("server_tool_use") {
                self.read_server_tools(cursor)?;
            } else {
                cursor.skip()?;
            }
            Ok(())
        })
    }

    /// Searches alone: a fetched page is paid for by its tokens, and code by its time.
    /// <https://platform.claude.com/docs/en/about-claude/pricing> (2026-11-26).
    fn read_server_tools(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
        if cursor.kind()? != Kind::Object {
            return cursor.skip().map(drop);
        }
        cursor.fields(|key, cursor| {
            if key.is("web_search_requests") {
                raise(&mut self.web_searches, cursor.count_or_skip()?);
            } else {
                cursor.skip()?;
            }
            Ok(())
        })
    }

    fn read_creation(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
        if cursor.kind()? != Kind::Object {
            return cursor.skip().map(drop);
        }
        cursor.fields(|key, cursor| {
            if key.is("ephemeral_5m_input_tokens") {
                raise(&mut self.creation_5m, cursor.count_or_skip()?);
            } else if key.is("ephemeral_1h_input_tokens") {
                raise(&mut self.creation_1h, cursor.count_or_skip()?);
            } else {
                cursor.skip()?;
            }
            Ok(())
        })
    }

    fn read_output_details(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ScanError> {
        if cursor.kind()? != Kind::Object {
            return cursor.skip().map(drop);
        }
        cursor.fields(|key, cursor| {
            if key.is("thinking_tokens") {
                raise(&mut self.thinking, cursor.count_or_skip()?);
            } else {
                cursor.skip()?;
            }
            Ok(())
        })
    }

    fn normalise(&self) -> Usage {
        let created =
            self.cache_creation.or_else(|| Some(self.creation_5m?.saturating_add(self.creation_1h.unwrap_or(0))));
        let cached = self.cache_read.unwrap_or(0).saturating_add(created.unwrap_or(0));
        // Where only the sum is told, it was written to the five-minute cache: the default lifetime.
        let five_minutes = self.creation_5m.or_else(|| Some(created?.saturating_sub(self.creation_1h.unwrap_or(0))));
        Usage {
            input_tokens: self.input.map(|input| input.saturating_add(cached)),
            output_tokens: self.output,
            cache_read_input_tokens: self.cache_read,
            cache_write_5m_input_tokens: five_minutes,
            cache_write_1h_input_tokens: self.creation_1h,
            reasoning_output_tokens: self.thinking,
            web_search_calls: self.web_searches,
            ..Usage::default()
        }
    }
}

/// How a provider says what a call costs, within its `usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// Dollars as a number (OpenRouter's `cost`: <https://openrouter.ai/docs/use-cases/usage-accounting>; DeepInfra's
    /// `estimated_cost`: <https://docs.deepinfra.com/chat/overview>), or an object with `total_cost` (Perplexity's `cost`:
    /// <https://docs.perplexity.ai/docs/agent-api>), 2026-11-26.
    Dollars,
    /// A whole number of units of 10⁻¹⁰ dollars (xAI: <https://docs.x.ai/developers/cost-tracking>, 2026-11-26).
    Ticks,
}

impl Cost {
    /// The way in which a field of this name says it; `None` if it is no cost.
    pub(crate) fn named(key: Text<'_>) -> Option<Cost> {
        if key.is("cost") || key.is("estimated_cost") {
            return Some(Cost::Dollars);
        }
        key.is("cost_in_usd_ticks").then_some(Cost::Ticks)
    }

    /// Reads the field's value; `None` if something else stands there.
    pub(crate) fn read(self, cursor: &mut Cursor<'_>) -> Result<Option<Usd>, ScanError> {
        const UNITS_PER_TICK: i128 = 100;
        match (self, cursor.kind()?) {
            (Cost::Ticks, Kind::Number) => {
                Ok(cursor.count_or_skip()?.map(|ticks| Usd::new(i128::from(ticks) * UNITS_PER_TICK)))
            }
            (Cost::Dollars, Kind::Number) => Ok(cursor.raw()?.and_then(dollars)),
            (Cost::Dollars, Kind::Object) => {
                let mut total = None;
                cursor.fields(|key, cursor| {
                    if key.is("total_cost") {
                        total = cursor.raw()?.and_then(dollars);
                        return Ok(());
                    }
                    cursor.skip().map(drop)
                })?;
                Ok(total)
            }
            _ => cursor.skip().map(|_| None),
        }
    }
}

/// Dollars written as a JSON number, `1.4e-05` included; beyond the twelfth decimal it is cut. `None` if it is no such
/// number or not a cost.
fn dollars(number: &str) -> Option<Usd> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i32 = exponent.parse().ok().filter(|exponent| (-64..=16).contains(exponent))?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let padded = match usize::try_from(point) {
        Ok(point) => format!("{digits:0<point$}"),
        Err(_) => format!("{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
    };
    let (whole, fraction) = padded.split_at(usize::try_from(point).unwrap_or(0));
    let fraction = fraction.get(..12).unwrap_or(fraction);
    format!("{}.{fraction}", if whole.is_empty() { "0" } else { whole }).parse().ok()
}

/// A cumulative count never falls: some relays repeat it as zero in the last event.
fn raise(known: &mut Option<u64>, reported: Option<u64>) {
    *known = (*known).max(reported);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openai(text: &str) -> Usage {
        OpenaiUsage::read(&mut Cursor::new(text.as_bytes())).unwrap().unwrap().normalise()
    }

    #[test]
    fn a_cost_is_read_exactly_however_it_is_written() {
        let cases = [
            ("0.00014", Some("0.00014")),
            ("1.4e-05", Some("0.000014")),
            ("14E-6", Some("0.000014")),
            ("1.25e1", Some("12.5")),
            ("3", Some("3")),
            ("0.1234567890129", Some("0.123456789012")),
            ("-1", None),
            ("1e99", None),
        ];
        for (text, expected) in cases {
            assert_eq!(dollars(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
        for (usage, cost) in [
            (r#"{"prompt_tokens":1,"cost":{"total_cost":0.25,"request_cost":0.1}}"#, "0.25"),
            (r#"{"prompt_tokens":1,"cost":0.00014,"cost_details":{"upstream_inference_cost":0.1}}"#, "0.00014"),
            (r#"{"prompt_tokens":1,"estimated_cost":1.4e-05}"#, "0.000014"),
            (r#"{"prompt_tokens":1,"cost_in_usd_ticks":37756000}"#, "0.0037756"),
        ] {
            let read = OpenaiUsage::read(&mut Cursor::new(usage.as_bytes())).unwrap().unwrap();
            assert_eq!(read.cost, Some(cost.parse().unwrap()), "{usage}");
        }
    }

    #[test]
    fn cached_tokens_go_by_many_names() {
        for cached in [
            r#""prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36"#,
            r#""cached_tokens":64"#,
            r#""num_cached_tokens":64"#,
            r#""num_cached_tokens":64,"prompt_tokens_details":null"#,
            r#""cached_tokens":64,"prompt_tokens_details":{"cached_tokens":null}"#,
            r#""prompt_tokens_details":{"cached_tokens":64},"cached_tokens":0"#,
        ] {
            let usage =
                openai(&format!(r#"{{"prompt_tokens":100,{cached},"completion_tokens":5,"reasoning_tokens":3}}"#));
            assert_eq!((usage.input_tokens, usage.cache_read_input_tokens), (Some(100), Some(64)), "{cached}");
            assert_eq!(usage.reasoning_output_tokens, Some(3));
        }
    }

    #[test]
    fn openai_input_includes_cached_tokens_already() {
        let usage = openai(
            r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,
               "prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0},
               "completion_tokens_details":{"reasoning_tokens":192,"audio_tokens":0,"accepted_prediction_tokens":0}}"#,
        );
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(2006), Some(300)));
        assert_eq!((usage.cache_read_input_tokens, usage.reasoning_output_tokens), (Some(1920), Some(192)));
        assert_eq!(usage.cache_write_5m_input_tokens, None);
    }

    #[test]
    fn reasoning_that_only_the_total_counts_is_output_too() {
        let usage = openai(
            r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,
               "completion_tokens_details":{"reasoning_tokens":94}}"#,
        );
        assert_eq!(usage.output_tokens, Some(103));
    }

    #[test]
    fn anthropic_input_is_brought_to_include_the_cache() {
        let mut usage = AnthropicUsage::default();
        let text = br#"{"input_tokens":21,"cache_creation_input_tokens":188086,"cache_read_input_tokens":1000,
            "cache_creation":{"ephemeral_5m_input_tokens":188000,"ephemeral_1h_input_tokens":86},"output_tokens":393}"#;
        usage.read_over(&mut Cursor::new(text), &mut None).unwrap();
        let usage = usage.normalise();
        assert_eq!(usage.input_tokens, Some(21 + 188_086 + 1_000));
        assert_eq!(usage.cache_write_5m_input_tokens, Some(188_000));
        assert_eq!(usage.cache_write_1h_input_tokens, Some(86));
    }

    #[test]
    fn the_last_of_two_cumulative_counts_is_not_added_to_the_first() {
        let mut usage = AnthropicUsage::default();
        usage.read_over(&mut Cursor::new(br#"{"input_tokens":25,"output_tokens":1}"#), &mut None).unwrap();
        usage.read_over(&mut Cursor::new(br#"{"input_tokens":0,"output_tokens":15}"#), &mut None).unwrap();
        let usage = usage.normalise();
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(25), Some(15)));
    }
}

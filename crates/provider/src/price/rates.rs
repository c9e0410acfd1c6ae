//! Rates of one row, and what a usage costs by them. Refuses to leave out what it has no rate for: a class is billed at
//! its own rate, at that of the ordinary class it is part of, or not at all, and then the cost is unknown.

use tollgate_interaction::{Usage, Usd};

use super::beside::Beside;

const TOKENS_PER_MTOK: u64 = 1_000_000;
const CALLS_PER_THOUSAND: u64 = 1_000;
const MILLISECONDS_PER_SECOND: u64 = 1_000;

/// What has a rate of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Input,
    Output,
    CacheRead,
    CacheWrite5m,
    CacheWrite1h,
    AudioInput,
    AudioOutput,
    ImageInput,
    ImageOutput,
    Reasoning,
    WebSearch,
    OtherTool,
    PerRequest,
    AudioSecond,
    Image,
    Characters,
}

impl Class {
    const COUNT: usize = 16;

    pub(super) const ALL: [Class; Class::COUNT] = [
        Class::Input,
        Class::Output,
        Class::CacheRead,
        Class::CacheWrite5m,
        Class::CacheWrite1h,
        Class::AudioInput,
        Class::AudioOutput,
        Class::ImageInput,
        Class::ImageOutput,
        Class::Reasoning,
        Class::WebSearch,
        Class::OtherTool,
        Class::PerRequest,
        Class::AudioSecond,
        Class::Image,
        Class::Characters,
    ];

    /// As a row writes it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Class::Input => "input",
            Class::Output => "output",
            Class::CacheRead => "cache_read",
            Class::CacheWrite5m => "cache_write_5m",
            Class::CacheWrite1h => "cache_write_1h",
            Class::AudioInput => "audio_input",
            Class::AudioOutput => "audio_output",
            Class::ImageInput => "image_input",
            Class::ImageOutput => "image_output",
            Class::Reasoning => "reasoning",
            Class::WebSearch => "web_search",
            Class::OtherTool => "other_tool",
            Class::PerRequest => "per_request",
            Class::AudioSecond => "audio_second",
            Class::Image => "image",
            Class::Characters => "characters",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }

    /// How many of it the rate is for.
    pub(super) const fn per(self) -> u64 {
        match self {
            Class::WebSearch | Class::OtherTool | Class::PerRequest => CALLS_PER_THOUSAND,
            Class::AudioSecond => MILLISECONDS_PER_SECOND,
            Class::Image => 1,
            _ => TOKENS_PER_MTOK,
        }
    }

    /// What the rate is for, in words.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Class::WebSearch | Class::OtherTool | Class::PerRequest => "per thousand calls",
            Class::AudioSecond => "per second of audio",
            Class::Image => "per image",
            Class::Characters => "per million characters",
            _ => "per million tokens",
        }
    }
}

/// A rate of every class, or none. 64 bits hold nine million dollars in units of 10⁻¹²; a thousand rows of the wider
/// type would be half a megabyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rates([i64; Class::COUNT]);

/// No rate.
const NONE: i64 = -1;

impl Default for Rates {
    fn default() -> Rates {
        Rates([NONE; Class::COUNT])
    }
}

/// One class of a bill.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// As the catalogue calls it: `input`, `cache_read`, `web_search`.
    pub class: &'static str,
    /// Tokens, calls, milliseconds of sound, pictures or characters.
    pub quantity: u64,
    /// Dollars for [`Line::per`] of them.
    pub rate: Usd,
    /// A million for tokens and characters, a thousand for calls and milliseconds, one for pictures.
    pub per: u64,
    /// Class whose rate it is, if it has none of its own.
    pub billed_as: Option<&'static str>,
}

/// Why a usage has no cost by a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// The provider did not say how many there were.
    Unknown(Class),
    /// There were some, and there is no rate for them.
    Unpriced(Class),
    /// The parts exceed the whole.
    Inconsistent(Class),
}

impl Rates {
    pub(super) fn get(&self, class: Class) -> Option<Usd> {
        let units = self.0[class as usize];
        (units != NONE).then(|| Usd::new(units.into()))
    }

    /// Whether the amount can be a rate: not negative and not beyond what a rate holds.
    #[must_use]
    pub(super) fn set(&mut self, class: Class, amount: Usd) -> bool {
        let units = i64::try_from(amount.get()).ok().filter(|units| *units >= 0);
        self.0[class as usize] = units.unwrap_or(NONE);
        units.is_some()
    }

    /// Classes with a rate, in the order of [`Class::ALL`].
    pub(super) fn iter(&self) -> impl Iterator<Item = (Class, Usd)> + '_ {
        Class::ALL.into_iter().filter_map(|class| Some((class, self.get(class)?)))
    }

    /// What `usage`, and what was used `beside` it, costs, rounded once, half to even; `note` sees each class of it.
    pub(super) fn bill(&self, usage: &Usage, beside: &Beside, note: impl FnMut(Line)) -> Result<Usd, Gap> {
        let mut meter = Meter { rates: self, units: 0, note };
        meter.input(usage)?;
        meter.output(usage)?;
        meter.must(Class::WebSearch, usage.web_search_calls)?;
        meter.must(Class::OtherTool, usage.other_tool_calls)?;
        if self.get(Class::PerRequest).is_some() {
            meter.must(Class::PerRequest, Some(1))?;
        }
        let Beside { audio_ms, images, characters } = *beside;
        for (class, quantity) in
            [(Class::AudioSecond, audio_ms), (Class::Image, images), (Class::Characters, characters)]
        {
            if self.get(class).is_some() {
                meter.must(class, Some(quantity.ok_or(Gap::Unknown(class))?))?;
            }
        }
        Ok(Usd::new(round_half_even(meter.units, TOKENS_PER_MTOK.into())))
    }
}

/// Adds up quantity times rate, not yet divided by a million.
struct Meter<'a, F> {
    rates: &'a Rates,
    units: i128,
    note: F,
}

impl<F: FnMut(Line)> Meter<'_, F> {
    fn input(&mut self, usage: &Usage) -> Result<(), Gap> {
        if self.rates.get(Class::Input).is_none() && usage.input_tokens.is_none() {
            return Ok(());
        }
        let input = usage.input_tokens.ok_or(Gap::Unknown(Class::Input))?;
        let written_5m = usage.cache_write_5m_input_tokens.unwrap_or(0);
        let written_1h = usage.cache_write_1h_input_tokens.unwrap_or(0);
        let mut ordinary = input;
        for part in [usage.cache_read_input_tokens.unwrap_or(0), written_5m, written_1h] {
            ordinary = ordinary.checked_sub(part).ok_or(Gap::Inconsistent(Class::Input))?;
        }
        self.own_or(Class::CacheRead, usage.cache_read_input_tokens, Class::Input)?;
        self.own_or(Class::CacheWrite5m, usage.cache_write_5m_input_tokens, Class::Input)?;
        if self.rates.get(Class::CacheWrite5m).is_some() {
            // Who asks more for a short write asks more yet for a long one: its price is not that of ordinary input.
            self.must(Class::CacheWrite1h, usage.cache_write_1h_input_tokens)?;
        } else {
            self.own_or(Class::CacheWrite1h, usage.cache_write_1h_input_tokens, Class::Input)?;
        }
        // Audio and images may be cached as well; the provider does not say which part, so at most the rest is theirs.
        let audio = usage.audio_input_tokens.unwrap_or(0).min(ordinary);
        ordinary -= audio;
        self.must(Class::AudioInput, Some(audio))?;
        let images = usage.image_input_tokens.unwrap_or(0).min(ordinary);
        ordinary -= images;
        self.own_or(Class::ImageInput, Some(images), Class::Input)?;
        self.must(Class::Input, Some(ordinary))
    }

    fn output(&mut self, usage: &Usage) -> Result<(), Gap> {
        if self.rates.get(Class::Output).is_none() && usage.output_tokens.is_none() {
            return Ok(());
        }
        let output = usage.output_tokens.ok_or(Gap::Unknown(Class::Output))?;
        let audio = usage.audio_output_tokens.unwrap_or(0);
        // Reasoning and images at the ordinary rate need not be told apart, and some providers count them twice.
        let apart = |class: Class, tokens: Option<u64>| self.rates.get(class).and(tokens).unwrap_or(0);
        let images = apart(Class::ImageOutput, usage.image_output_tokens);
        let reasoning = apart(Class::Reasoning, usage.reasoning_output_tokens);
        let mut text = output;
        for part in [audio, images, reasoning] {
            text = text.checked_sub(part).ok_or(Gap::Inconsistent(Class::Output))?;
        }
        self.must(Class::AudioOutput, Some(audio))?;
        self.must(Class::ImageOutput, Some(images))?;
        self.must(Class::Reasoning, Some(reasoning))?;
        self.must(Class::Output, Some(text))
    }

    /// At the rate of the class, which must have one.
    fn must(&mut self, class: Class, quantity: Option<u64>) -> Result<(), Gap> {
        match (quantity.unwrap_or(0), self.rates.get(class)) {
            (0, _) => Ok(()),
            (_, None) => Err(Gap::Unpriced(class)),
            (quantity, Some(rate)) => {
                self.add(class, quantity, rate, None);
                Ok(())
            }
        }
    }

    /// At the rate of the class, or else at that of the class it is part of.
    fn own_or(&mut self, class: Class, quantity: Option<u64>, parent: Class) -> Result<(), Gap> {
        match (quantity.unwrap_or(0), self.rates.get(class), self.rates.get(parent)) {
            (0, _, _) => Ok(()),
            (quantity, None, Some(rate)) => {
                self.add(class, quantity, rate, Some(parent.name()));
                Ok(())
            }
            (quantity, _, _) => self.must(class, Some(quantity)),
        }
    }

    fn add(&mut self, class: Class, quantity: u64, rate: Usd, billed_as: Option<&'static str>) {
        let weight = TOKENS_PER_MTOK / class.per();
        let units = i128::from(quantity).saturating_mul(rate.get()).saturating_mul(weight.into());
        self.units = self.units.saturating_add(units);
        (self.note)(Line { class: class.name(), quantity, rate, per: class.per(), billed_as });
    }
}

/// `dividend / divisor`, rounded to the nearest whole number and, when two are equally near, to the even one.
fn round_half_even(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    match (rest * 2).cmp(&divisor) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient.rem_euclid(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(list: &[(Class, &str)]) -> Rates {
        let mut rates = Rates::default();
        for (class, amount) in list {
            assert!(rates.set(*class, amount.parse().unwrap()));
        }
        rates
    }

    fn tokens(input: u64, output: u64) -> Usage {
        Usage { input_tokens: Some(input), output_tokens: Some(output), ..Usage::default() }
    }

    #[test]
    fn halves_are_rounded_to_even() {
        assert_eq!([5, 15, 25, 14, 16, -5, -15].map(|units| round_half_even(units, 10)), [0, 2, 2, 1, 2, 0, -2]);
    }

    #[test]
    fn every_class_has_its_own_name() {
        for class in Class::ALL {
            assert_eq!(Class::from_name(class.name()), Some(class));
        }
    }

    #[test]
    fn searches_and_tools_without_a_price_make_the_cost_unknown_and_a_stated_zero_makes_them_free() {
        let plain = rates(&[(Class::Input, "1"), (Class::Output, "2")]);
        let searching = Usage { web_search_calls: Some(3), ..tokens(10, 10) };
        let tools = Usage { other_tool_calls: Some(1), ..tokens(10, 10) };
        assert_eq!(plain.bill(&searching, &Beside::default(), |_| ()), Err(Gap::Unpriced(Class::WebSearch)));
        assert_eq!(plain.bill(&tools, &Beside::default(), |_| ()), Err(Gap::Unpriced(Class::OtherTool)));
        let none = Usage { web_search_calls: Some(0), other_tool_calls: Some(0), ..tokens(10, 10) };
        assert_eq!(plain.bill(&none, &Beside::default(), |_| ()), Ok("0.00003".parse().unwrap()));
        let priced =
            rates(&[(Class::Input, "1"), (Class::Output, "2"), (Class::WebSearch, "10"), (Class::OtherTool, "0")]);
        assert_eq!(priced.bill(&searching, &Beside::default(), |_| ()), Ok("0.03003".parse().unwrap()));
        assert_eq!(priced.bill(&tools, &Beside::default(), |_| ()), Ok("0.00003".parse().unwrap()));
    }

    #[test]
    fn images_and_reasoning_are_apart_only_where_they_have_a_price() {
        let usage = Usage {
            image_input_tokens: Some(400),
            image_output_tokens: Some(30),
            reasoning_output_tokens: Some(50),
            ..tokens(1_000, 100)
        };
        let plain = rates(&[(Class::Input, "1"), (Class::Output, "2")]);
        assert_eq!(plain.bill(&usage, &Beside::default(), |_| ()), Ok("0.0012".parse().unwrap()));
        let mut apart = plain;
        for (class, amount) in [(Class::ImageInput, "5"), (Class::ImageOutput, "40"), (Class::Reasoning, "3")] {
            assert!(apart.set(class, amount.parse().unwrap()));
        }
        // 600 × 1 + 400 × 5 + 20 × 2 + 30 × 40 + 50 × 3, per million.
        assert_eq!(apart.bill(&usage, &Beside::default(), |_| ()), Ok("0.00399".parse().unwrap()));
    }

    #[test]
    fn a_long_write_is_not_billed_as_a_short_one_or_as_input() {
        let usage = Usage { cache_write_1h_input_tokens: Some(100), ..tokens(100, 0) };
        let short_only = rates(&[(Class::Input, "1"), (Class::Output, "2"), (Class::CacheWrite5m, "1.25")]);
        assert_eq!(short_only.bill(&usage, &Beside::default(), |_| ()), Err(Gap::Unpriced(Class::CacheWrite1h)));
        let neither = rates(&[(Class::Input, "1"), (Class::Output, "2")]);
        assert_eq!(neither.bill(&usage, &Beside::default(), |_| ()), Ok("0.0001".parse().unwrap()));
    }

    #[test]
    fn a_price_by_the_request_is_added_to_every_call() {
        let row = rates(&[(Class::Input, "1"), (Class::Output, "1"), (Class::PerRequest, "12")]);
        assert_eq!(row.bill(&tokens(0, 0), &Beside::default(), |_| ()), Ok("0.012".parse().unwrap()));
    }

    #[test]
    fn sounds_pictures_and_characters_are_billed_where_they_have_a_price_and_unknown_where_nobody_counted_them() {
        let none = Usage::default();
        let heard = Beside { audio_ms: Some(9_500), ..Beside::default() };
        let whisper = rates(&[(Class::AudioSecond, "0.0001")]);
        assert_eq!(whisper.bill(&none, &heard, |_| ()), Ok("0.00095".parse().unwrap()));
        assert_eq!(whisper.bill(&none, &Beside::default(), |_| ()), Err(Gap::Unknown(Class::AudioSecond)));
        let drawn = Beside { images: Some(2), ..Beside::default() };
        assert_eq!(rates(&[(Class::Image, "0.02")]).bill(&none, &drawn, |_| ()), Ok("0.04".parse().unwrap()));
        let spoken = Beside { characters: Some(1_200), ..Beside::default() };
        assert_eq!(rates(&[(Class::Characters, "15")]).bill(&none, &spoken, |_| ()), Ok("0.018".parse().unwrap()));
        let by_tokens = rates(&[(Class::Input, "1"), (Class::Output, "2")]);
        assert_eq!(by_tokens.bill(&tokens(10, 0), &heard, |_| ()), Ok("0.00001".parse().unwrap()));
    }
}

//! Charts drawn on the server as SVG. A chart stretches to the width of the page without stretching its text: axes are
//! laid out in percent, lines in a box of their own. Every chart carries the table it was drawn from, for readers who
//! cannot or do not want to look at pictures; the script reads its tooltips from that table. No inline style is used,
//! so the content security policy can forbid it; colours are classes.

mod axis;
mod bar;
mod spark;
mod time;

pub use bar::bar;
pub use spark::spark;
pub use time::{Shape, TimeChart};

use crate::format;

/// What the values of a chart are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Whole things.
    Count,
    /// US dollars.
    Usd,
    /// Milliseconds.
    Millis,
    /// A share, 0 to 1.
    Share,
}

impl Unit {
    /// A value in a table or a tooltip.
    #[must_use]
    pub fn value(self, value: f64) -> String {
        match self {
            Unit::Count => format::count(value.max(0.0).round() as u64),
            Unit::Usd => dollars(value),
            Unit::Millis => format::duration_us((value.max(0.0) * 1e3).round() as u64),
            Unit::Share => format::percent(value),
        }
    }

    /// A value on an axis.
    #[must_use]
    pub fn tick(self, value: f64) -> String {
        match self {
            Unit::Count => format::compact(value),
            Unit::Usd => dollars_short(value),
            Unit::Millis if value == 0.0 => "0".to_owned(),
            Unit::Millis => format::duration_us((value * 1e3).round() as u64),
            Unit::Share => format::percent(value),
        }
    }
}

fn dollars(value: f64) -> String {
    format::usd(tollgate_interaction::Usd::new((value * 1e12).round() as i128))
}

fn dollars_short(value: f64) -> String {
    match value {
        0.0 => "$0".to_owned(),
        _ if value >= 10_000.0 => format!("${}", format::compact(value)),
        _ => {
            let text = dollars(value);
            if text.contains('×') {
                return text;
            }
            let short = text.trim_end_matches('0');
            // `$3`, `$0.05`, but `$0.20` and not `$0.2`: cents have two places.
            match short.len() - short.find('.').unwrap_or(0) {
                1 => short.trim_end_matches('.').to_owned(),
                2 => format!("{short}0"),
                _ => short.to_owned(),
            }
        }
    }
}

/// Which colour a series has; the sheet decides what that is in light and in dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// What went as it should.
    Good,
    /// What policy refused.
    Denied,
    /// What went wrong.
    Bad,
    /// One of eight that are told apart, by rank.
    Rank(u8),
    /// Everything else together.
    Rest,
}

impl Tone {
    /// Its class in the style sheet.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Tone::Good => "t-good",
            Tone::Denied => "t-denied",
            Tone::Bad => "t-bad",
            Tone::Rest => "t-rest",
            Tone::Rank(rank) => match rank % 8 {
                0 => "t-0",
                1 => "t-1",
                2 => "t-2",
                3 => "t-3",
                4 => "t-4",
                5 => "t-5",
                6 => "t-6",
                _ => "t-7",
            },
        }
    }
}

/// One line or one layer of bars.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What the legend says.
    pub label: String,
    /// Its colour.
    pub tone: Tone,
    /// One value per step; `None` where there is nothing to say, which is a gap in a line.
    pub values: Vec<Option<f64>>,
}

impl Series {
    /// A series of values that are all known.
    #[must_use]
    pub fn known(label: &str, tone: Tone, values: impl Iterator<Item = f64>) -> Self {
        Series { label: label.to_owned(), tone, values: values.map(Some).collect() }
    }
}

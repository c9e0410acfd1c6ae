//! Spans of time that pages offer, and how an address names them.

use tollgate_analytics::report::{Bucket, TimeRange};

use tollgate_policy::signals::month_start_us;

/// A span that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The last sixty minutes.
    Hour,
    /// The last 24 hours.
    Day,
    /// The last seven days.
    Week,
    /// The last thirty days.
    Month,
    /// Since the first of this calendar month, UTC.
    ThisMonth,
    /// The calendar month before this one, UTC.
    LastMonth,
}

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

impl Range {
    /// What the first page and the list of calls offer.
    pub const RECENT: &[Range] = &[Range::Hour, Range::Day, Range::Week, Range::Month];
    /// What the cost page offers.
    pub const ACCOUNTING: &[Range] = &[Range::Day, Range::Week, Range::Month, Range::ThisMonth, Range::LastMonth];

    /// The word for it in an address.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Range::Hour => "1h",
            Range::Day => "24h",
            Range::Week => "7d",
            Range::Month => "30d",
            Range::ThisMonth => "this-month",
            Range::LastMonth => "last-month",
        }
    }

    /// The word for it on a button.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Range::ThisMonth => "This month",
            Range::LastMonth => "Last month",
            _ => self.as_str(),
        }
    }

    /// `Last 24 hours`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Range::Hour => "Last hour",
            Range::Day => "Last 24 hours",
            Range::Week => "Last 7 days",
            Range::Month => "Last 30 days",
            Range::ThisMonth => "This month",
            Range::LastMonth => "Last month",
        }
    }

    /// `24 hours`, for "compared with the … before".
    #[must_use]
    pub const fn length(self) -> &'static str {
        match self {
            Range::Hour => "hour",
            Range::Day => "24 hours",
            Range::Week => "7 days",
            Range::Month => "30 days",
            Range::ThisMonth | Range::LastMonth => "same length",
        }
    }

    /// The span with this word, if there is one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let all = [Range::Hour, Range::Day, Range::Week, Range::Month, Range::ThisMonth, Range::LastMonth];
        all.into_iter().find(|range| range.as_str() == text)
    }

    /// When it is, seen from `now_us`. The current moment is inside.
    #[must_use]
    pub fn at(self, now_us: i64) -> TimeRange {
        let end_us = now_us.saturating_add(1);
        match self {
            Range::Hour => TimeRange::last(HOUR_US, end_us),
            Range::Day => TimeRange::last(DAY_US, end_us),
            Range::Week => TimeRange::last(7 * DAY_US, end_us),
            Range::Month => TimeRange::last(30 * DAY_US, end_us),
            Range::ThisMonth => TimeRange::new(month_start_us(now_us), end_us),
            Range::LastMonth => {
                let end_us = month_start_us(now_us);
                TimeRange::new(month_start_us(end_us - 1), end_us)
            }
        }
    }

    /// Like [`Range::at`], but widened to whole steps, so that the bars of a chart stand still while time goes on.
    #[must_use]
    pub fn in_steps(self, now_us: i64) -> (TimeRange, Bucket) {
        let bucket = match self {
            Range::Hour => Bucket::Minute,
            Range::Day => Bucket::QuarterHour,
            Range::Week => Bucket::Hour,
            _ => Bucket::SixHours,
        };
        let (range, width_us) = (self.at(now_us), bucket.width_us());
        let end_us = (range.to_us + width_us - 1).div_euclid(width_us) * width_us;
        (TimeRange::last((range.length_us() + width_us - 1) / width_us * width_us, end_us), bucket)
    }
}

/// A link that changes one choice of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What it says.
    pub label: String,
    /// Where it leads.
    pub href: String,
    /// Whether it is the present choice.
    pub current: bool,
}

/// Links to `path` with each of `ranges`; `rest` holds the other parameters, each as `&name=value`.
#[must_use]
pub fn choices(ranges: &[Range], current: Range, path: &str, rest: &str) -> Vec<Choice> {
    let choice = |range: &Range| Choice {
        label: range.short().to_owned(),
        href: format!("{path}?range={}{rest}", range.as_str()),
        current: *range == current,
    };
    ranges.iter().map(choice).collect()
}

/// `&name=value` with the value made safe for an address; nothing for an empty value.
#[must_use]
pub fn parameter(name: &str, value: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    let mut text = format!("&{name}=");
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_ends_with_the_step_that_holds_now() {
        let now_us = 1_795_392_000_000_000 + 123;
        for range in Range::RECENT {
            let (steps, bucket) = range.in_steps(now_us);
            assert!(steps.from_us < now_us && now_us < steps.to_us);
            assert_eq!(steps.length_us() % bucket.width_us(), 0);
            assert!(steps.length_us() / bucket.width_us() <= 169);
        }
    }

    #[test]
    fn a_value_in_an_address_cannot_add_a_parameter() {
        assert_eq!(parameter("team", "a&b=c d/ü"), "&team=a%26b%3Dc%20d%2F%C3%BC");
        assert_eq!(parameter("team", ""), "");
    }
}

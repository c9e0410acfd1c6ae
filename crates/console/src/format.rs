//! Figures as people read them: money, counts, durations, sizes and times, always with their unit. Everything here
//! rounds for the eye only; a sum is never made of what this module wrote. An unknown figure is an em dash, never zero.
//! Arguments may be borrowed because templates hand over references to fields.

mod money;

use std::borrow::Borrow;

use chrono::{DateTime, Utc};

pub use money::{Dollars, dollars, dollars_and_cents, dollars_or_unknown, exact, usd};

/// What stands for a figure nobody knows.
pub const UNKNOWN: &str = "—";

/// `1234567` as `1,234,567`.
#[must_use]
pub fn count(number: impl Borrow<u64>) -> String {
    let number = *number.borrow();
    grouped(&number.to_string())
}

/// `1 row`, `43 rows`, `2 batches`; for nouns that only take an `s` or, after `ch`, an `es`.
#[must_use]
pub fn counted(number: impl Borrow<u64>, noun: &str) -> String {
    let number = *number.borrow();
    let ending = match number {
        1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", count(number))
}

/// Like [`count`], or a dash.
#[must_use]
pub fn count_or_unknown(number: impl Borrow<Option<u64>>) -> String {
    let number = *number.borrow();
    number.map_or_else(|| UNKNOWN.to_owned(), count)
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count that must stay short: `950`, `4,500`, `12.3k`, `4.56M`.
#[must_use]
pub fn compact(number: impl Borrow<f64>) -> String {
    let number = *number.borrow();
    let magnitude = number.abs();
    let (scaled, suffix) = match magnitude {
        _ if magnitude >= 1e9 => (number / 1e9, "B"),
        _ if magnitude >= 1e6 => (number / 1e6, "M"),
        _ if magnitude >= 1e4 => (number / 1e3, "k"),
        _ if magnitude >= 1e3 => return count(number.round() as u64),
        _ => (number, ""),
    };
    format!("{}{suffix}", three_digits(scaled))
}

/// At most three significant digits and no trailing zeros after the point.
fn three_digits(number: f64) -> String {
    let magnitude = number.abs();
    let places = if magnitude >= 100.0 {
        0
    } else if magnitude >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{number:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A duration at three digits: `420 µs`, `12.3 ms`, `1.24 s`, `2 m 03 s`.
#[must_use]
pub fn duration_us(duration_us: impl Borrow<u64>) -> String {
    let duration_us = *duration_us.borrow();
    let us = duration_us as f64;
    match duration_us {
        0..1_000 => format!("{duration_us} µs"),
        1_000..1_000_000 => format!("{} ms", three_digits(us / 1e3)),
        1_000_000..60_000_000 => format!("{} s", three_digits(us / 1e6)),
        _ => format!("{} m {:02} s", duration_us / 60_000_000, duration_us / 1_000_000 % 60),
    }
}

/// A latency in a column of milliseconds: as [`duration_us`], and what is below one still in milliseconds, `0.4 ms`.
#[must_use]
pub fn latency_us(duration_us: impl Borrow<u64>) -> String {
    match *duration_us.borrow() {
        us @ 0..10 => format!("{:.3} ms", us as f64 / 1e3),
        us @ 10..1_000 => format!("{} ms", three_digits(us as f64 / 1e3)),
        us => self::duration_us(us),
    }
}

/// Like [`duration_us`], or a dash.
#[must_use]
pub fn duration_us_or_unknown<B: Borrow<Option<u64>>>(us: B) -> String {
    let us = *us.borrow();
    us.map_or_else(|| UNKNOWN.to_owned(), duration_us)
}

/// How long ago something was: `4 s ago`, `3 min ago`, `2 h ago`, `5 d ago`.
#[must_use]
pub fn age(age_us: impl Borrow<i64>) -> String {
    let seconds = age_us.borrow().max(&0) / 1_000_000;
    match seconds {
        0..=89 => format!("{seconds} s ago"),
        90..=5_399 => format!("{} min ago", seconds / 60),
        5_400..=172_799 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// A size in decimal units: `812 B`, `1.2 kB`, `3.4 MB`.
#[must_use]
pub fn bytes(size_bytes: impl Borrow<u64>) -> String {
    let size_bytes = *size_bytes.borrow();
    let size = size_bytes as f64;
    match size_bytes {
        0..1_000 => format!("{size_bytes} B"),
        1_000..1_000_000 => format!("{} kB", three_digits(size / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", three_digits(size / 1e6)),
        _ => format!("{} GB", three_digits(size / 1e9)),
    }
}

/// A share: `0.0124` as `1.24 %`.
#[must_use]
pub fn percent(share: impl Borrow<f64>) -> String {
    let share = *share.borrow();
    format!("{} %", three_digits(share * 100.0))
}

/// Like [`percent`], or a dash.
#[must_use]
pub fn percent_or_unknown(share: impl Borrow<Option<f64>>) -> String {
    let share = *share.borrow();
    share.map_or_else(|| UNKNOWN.to_owned(), percent)
}

fn utc(time_us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time_us).unwrap_or_default()
}

/// `2026-11-23 15:52:03.123`, UTC.
#[must_use]
pub fn timestamp(time_us: impl Borrow<i64>) -> String {
    let time_us = *time_us.borrow();
    utc(time_us).format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// RFC 3339 with microseconds, for `datetime` attributes.
#[must_use]
pub fn rfc3339(time_us: impl Borrow<i64>) -> String {
    let time_us = *time_us.borrow();
    utc(time_us).format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// `15:52:03`, UTC.
#[must_use]
pub fn clock(time_us: impl Borrow<i64>) -> String {
    let time_us = *time_us.borrow();
    utc(time_us).format("%H:%M:%S").to_string()
}

/// `23 Nov`, UTC.
#[must_use]
pub fn day(time_us: impl Borrow<i64>) -> String {
    let time_us = *time_us.borrow();
    utc(time_us).format("%-d %b").to_string()
}

/// `23 Nov 15:52`, UTC.
#[must_use]
pub fn minute(time_us: impl Borrow<i64>) -> String {
    let time_us = *time_us.borrow();
    utc(time_us).format("%-d %b %H:%M").to_string()
}

/// `15:52`, UTC.
#[must_use]
pub fn hour_minute(time_us: impl Borrow<i64>) -> String {
    let time_us = *time_us.borrow();
    utc(time_us).format("%H:%M").to_string()
}

/// `2026-11-23`, UTC.
#[must_use]
pub fn date(time_us: impl Borrow<i64>) -> String {
    let time_us = *time_us.borrow();
    utc(time_us).format("%Y-%m-%d").to_string()
}

/// How a figure moved against the range before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// `+12 %`, `−3.4 %`, `new`, `no change`.
    pub text: String,
    /// `good`, `bad` or `flat`: whether a reader should be glad of it.
    pub tone: &'static str,
}

/// Whether a rise of a figure is welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rise {
    /// More calls: neither good nor bad.
    Neutral,
    /// More errors, more latency, more cost.
    Unwelcome,
}

/// The change from `before` to `now`; `None` if there is nothing to compare.
#[must_use]
pub fn delta(before: Option<f64>, now: Option<f64>, rise: Rise) -> Option<Delta> {
    let (before, now) = (before?, now?);
    if before <= 0.0 {
        let text = if now > 0.0 { "new" } else { return None };
        return Some(Delta { text: text.to_owned(), tone: "flat" });
    }
    let change = (now - before) / before;
    if change.abs() < 0.0005 {
        return Some(Delta { text: "no change".to_owned(), tone: "flat" });
    }
    let sign = if change > 0.0 { "+" } else { "−" };
    let text = match change.abs() {
        large if large >= 99.0 => "over ×100".to_owned(),
        large if large >= 9.0 => format!("×{}", three_digits(now / before)),
        change => format!("{sign}{}", percent(change)),
    };
    let tone = match (rise, change > 0.0) {
        (Rise::Neutral, _) => "flat",
        (Rise::Unwelcome, true) => "bad",
        (Rise::Unwelcome, false) => "good",
    };
    Some(Delta { text, tone })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_at_three_digits() {
        for (us, shown) in [(420_u64, "420 µs"), (12_340, "12.3 ms"), (1_240_000, "1.24 s"), (123_000_000, "2 m 03 s")]
        {
            assert_eq!(duration_us(us), shown);
        }
    }

    #[test]
    fn a_latency_below_a_millisecond_is_a_part_of_one_and_never_nothing() {
        for (us, shown) in
            [(3_u64, "0.003 ms"), (40, "0.04 ms"), (400, "0.4 ms"), (432, "0.43 ms"), (12_340, "12.3 ms")]
        {
            assert_eq!(latency_us(us), shown);
        }
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!(
            (count(0_u64), count(999_u64), count(1_234_567_u64)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        assert_eq!(
            (compact(950.0), compact(12_345.0), compact(4.56e6)),
            ("950".into(), "12.3k".into(), "4.56M".into())
        );
    }

    #[test]
    fn a_rise_of_cost_is_marked_as_unwelcome() {
        let rise = delta(Some(100.0), Some(112.0), Rise::Unwelcome).unwrap();
        assert_eq!((rise.text.as_str(), rise.tone), ("+12 %", "bad"));
        assert_eq!(delta(None, Some(1.0), Rise::Neutral), None);
        assert_eq!(delta(Some(0.0), Some(0.0), Rise::Neutral), None);
    }
}

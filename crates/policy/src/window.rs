//! Windows of time that spend is counted in: calendar ones in a named time zone, and rolling ones in slices. A window is a
//! function of an instant alone, so that a row is filed the same way when it happens and when the log is read again.
//!
//! Days begin at the local midnight, or at the first instant after it where a change of the clocks leaves it out; hours and
//! minutes follow the local clock, and the hour that a change of the clocks repeats is two hours.

use std::fmt;

use chrono::{DateTime, Datelike, Days, LocalResult, Months, NaiveDate, NaiveDateTime, TimeZone as _, Timelike, Utc};
use chrono_tz::Tz;

const US_PER_S: i64 = 1_000_000;
/// Slices that a rolling window is cut into: what it counts reaches back between its length and a sixtieth more.
const SLICES: i64 = 60;

/// Length of a calendar window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Of the clock.
    Minute,
    /// Of the clock.
    Hour,
    /// From midnight to midnight: 23 to 25 hours.
    Day,
    /// From Monday on (ISO 8601).
    Week,
    /// Of the calendar.
    Month,
    /// Three months from January, April, July or October on.
    Quarter,
    /// Of the calendar.
    Year,
}

/// What a sum is a sum over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// The present one of consecutive windows.
    Calendar {
        /// Their length.
        per: Period,
        /// Whose calendar.
        zone: Tz,
    },
    /// The last so many seconds.
    Rolling {
        /// At least one.
        length_s: u64,
    },
    /// Calls that have begun and not ended; nothing that has ended counts.
    InFlight,
}

/// An interval of time: microseconds since 1970, UTC; the end does not belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First instant.
    pub from_us: i64,
    /// First instant after it.
    pub to_us: i64,
}

impl Span {
    /// Whether an instant is in it.
    #[must_use]
    pub const fn holds(&self, at_us: i64) -> bool {
        self.from_us <= at_us && at_us < self.to_us
    }
}

impl Period {
    /// As a bundle writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Period::Minute => "minute",
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
            Period::Quarter => "quarter",
            Period::Year => "year",
        }
    }
}

impl Window {
    /// The calendar's months in UTC.
    pub const UTC_MONTH: Window = Window::Calendar { per: Period::Month, zone: Tz::UTC };

    /// The bucket that something at `at_us` is counted in. Those of a calendar window are the windows themselves; those of
    /// a rolling one are its slices. No buckets overlap.
    #[must_use]
    pub fn bucket(&self, at_us: i64) -> Span {
        match *self {
            Window::Calendar { per, zone } => calendar(per, zone, at_us),
            Window::Rolling { length_s } => {
                let slice_us = slice_us(length_s);
                let from_us = at_us.div_euclid(slice_us) * slice_us;
                Span { from_us, to_us: from_us.saturating_add(slice_us) }
            }
            Window::InFlight => Span { from_us: i64::MIN, to_us: i64::MAX },
        }
    }

    /// The window at `now_us`: it is made of the buckets that begin in it. A rolling window begins with the slice that the
    /// instant its length ago is in, and ends with the present slice.
    #[must_use]
    pub fn at(&self, now_us: i64) -> Span {
        let present = self.bucket(now_us);
        match *self {
            Window::Calendar { .. } | Window::InFlight => present,
            Window::Rolling { length_s } => {
                let oldest = self.bucket(now_us.saturating_sub(micros(length_s)));
                Span { from_us: oldest.from_us, to_us: present.to_us }
            }
        }
    }

    /// When what was counted in the bucket beginning at `bucket_us` counts no more.
    #[must_use]
    pub fn forgets_at(&self, bucket_us: i64) -> i64 {
        match *self {
            Window::Calendar { .. } | Window::InFlight => self.bucket(bucket_us).to_us,
            Window::Rolling { length_s } => self.bucket(bucket_us).to_us.saturating_add(micros(length_s)),
        }
    }

    /// Whether it is a window of the calendar, which begins anew.
    #[must_use]
    pub const fn is_calendar(&self) -> bool {
        matches!(self, Window::Calendar { .. })
    }

    /// Whether it is a minute, an hour or a day of the calendar.
    #[must_use]
    pub const fn is_shorter_than_a_week(&self) -> bool {
        matches!(self, Window::Calendar { per: Period::Minute | Period::Hour | Period::Day, .. })
    }

    /// For a sentence: `this month`, `this day (Europe/Berlin)`, `in the last 24h`, `at the same time`.
    #[must_use]
    pub fn phrase(&self) -> String {
        match self {
            Window::Calendar { per, zone: Tz::UTC } => format!("this {}", per.as_str()),
            Window::Calendar { per, zone } => format!("this {} ({})", per.as_str(), zone.name()),
            Window::Rolling { length_s } => format!("in the last {}", length(*length_s)),
            Window::InFlight => "at the same time".to_owned(),
        }
    }
}

impl Window {
    /// Reads what [`Window`] is written as; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Window> {
        const ALL: [Period; 7] =
            [Period::Minute, Period::Hour, Period::Day, Period::Week, Period::Month, Period::Quarter, Period::Year];
        match text.split_once('/') {
            None => (text == "in-flight").then_some(Window::InFlight),
            Some(("rolling", length)) => {
                let (digits, unit) = length.split_at(length.len().checked_sub(1)?);
                let unit_s = match unit {
                    "s" => 1,
                    "m" => 60,
                    "h" => 3_600,
                    "d" => 86_400,
                    _ => return None,
                };
                Some(Window::Rolling { length_s: digits.parse::<u64>().ok()?.checked_mul(unit_s)? })
            }
            Some((per, zone)) => {
                let per = ALL.into_iter().find(|period| period.as_str() == per)?;
                Some(Window::Calendar { per, zone: zone.parse().ok()? })
            }
        }
    }
}

/// Names the window within a tally's name: `month/UTC`, `rolling/24h`, `in-flight`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Window::Calendar { per, zone } => write!(f, "{}/{}", per.as_str(), zone.name()),
            Window::Rolling { length_s } => write!(f, "rolling/{}", length(*length_s)),
            Window::InFlight => f.write_str("in-flight"),
        }
    }
}

/// A length of time in the largest unit that it is a whole number of: `24h`, `90s`.
#[must_use]
pub fn length(length_s: u64) -> String {
    for (unit_s, unit) in [(86_400, "d"), (3_600, "h"), (60, "m")] {
        if length_s >= unit_s && length_s.is_multiple_of(unit_s) && (unit != "d" || length_s > unit_s) {
            return format!("{}{unit}", length_s / unit_s);
        }
    }
    format!("{length_s}s")
}

/// An instant as a person in `zone` would write it, as finely as a window of length `per` needs.
#[must_use]
pub fn instant_text(at_us: i64, per: Period, zone: Tz) -> String {
    let local = utc(at_us).with_timezone(&zone);
    match per {
        Period::Minute | Period::Hour => format!("{} ({})", local.format("%H:%M"), zone.name()),
        _ => format!("{} ({})", local.format("%Y-%m-%d"), zone.name()),
    }
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(US_PER_S)
}

fn slice_us(length_s: u64) -> i64 {
    (micros(length_s) / SLICES).max(1)
}

fn utc(at_us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at_us).unwrap_or_default()
}

fn calendar(per: Period, zone: Tz, at_us: i64) -> Span {
    let local = utc(at_us).with_timezone(&zone);
    let since_minute_us = i64::from(local.second()) * US_PER_S + at_us.rem_euclid(US_PER_S);
    let of_clock = |since_us: i64, length_s: i64| {
        let from_us = at_us - since_us;
        Span { from_us, to_us: from_us + length_s * US_PER_S }
    };
    let date = local.date_naive();
    let first = match per {
        Period::Minute => return of_clock(since_minute_us, 60),
        Period::Hour => return of_clock(i64::from(local.minute()) * 60 * US_PER_S + since_minute_us, 3_600),
        Period::Day => date,
        Period::Week => date - Days::new(u64::from(date.weekday().num_days_from_monday())),
        Period::Month => date.with_day(1).unwrap_or(date),
        Period::Quarter => NaiveDate::from_ymd_opt(date.year(), date.month0() / 3 * 3 + 1, 1).unwrap_or(date),
        Period::Year => NaiveDate::from_ymd_opt(date.year(), 1, 1).unwrap_or(date),
    };
    let next = match per {
        Period::Week => first.checked_add_days(Days::new(7)),
        Period::Month => first.checked_add_months(Months::new(1)),
        Period::Quarter => first.checked_add_months(Months::new(3)),
        Period::Year => first.checked_add_months(Months::new(12)),
        Period::Minute | Period::Hour | Period::Day => first.checked_add_days(Days::new(1)),
    };
    let to_us = next.map_or(i64::MAX, |next| midnight_us(next, zone));
    Span { from_us: midnight_us(first, zone), to_us }
}

/// The first instant of a local day.
fn midnight_us(date: NaiveDate, zone: Tz) -> i64 {
    // Zones have skipped up to a whole day (Samoa, 30 December 2011).
    const STEPS: u64 = 100;
    const STEP_S: u64 = 900;
    let midnight = NaiveDateTime::from(date);
    if zone == Tz::UTC {
        // Most windows, at every call: nothing is skipped there.
        return midnight.and_utc().timestamp_micros();
    }
    for step in 0..STEPS {
        let wanted = midnight + std::time::Duration::from_secs(step * STEP_S);
        match zone.from_local_datetime(&wanted) {
            LocalResult::Single(found) | LocalResult::Ambiguous(found, _) => return found.timestamp_micros(),
            LocalResult::None => {}
        }
    }
    midnight.and_utc().timestamp_micros()
}

#[cfg(test)]
mod tests;

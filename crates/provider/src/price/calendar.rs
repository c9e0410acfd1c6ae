//! Days and hours of the catalogue, in UTC. There are no other zones here: providers state theirs in UTC.

use std::fmt;

/// Year, month and day (proleptic Gregorian) of a number of days since 1970.
pub(crate) fn civil_date(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    // Years that begin in March put the leap day last; 719 468 days lie between 0000-03-01 and 1970-01-01.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// Days since 1970 of a date, the inverse of [`civil_date`].
pub(crate) fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Whether there is such a day.
pub(super) fn in_the_calendar(year: i64, month: i64, day: i64) -> bool {
    (1..=12).contains(&month)
        && (1..=9_999).contains(&year)
        && civil_date(days_since_1970(year, month, day)) == (year, month, day)
}

/// A part of every day, from a minute up to and without another; over midnight where the second is the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hours {
    from_minute: u16,
    to_minute: u16,
}

impl Hours {
    /// `16:30-00:30`; `None` if it is not of this form or empty.
    pub(super) fn parse(text: &str) -> Option<Hours> {
        let (from, to) = text.split_once('-')?;
        let hours = Hours { from_minute: minute(from)?, to_minute: minute(to)? };
        (hours.from_minute != hours.to_minute).then_some(hours)
    }

    /// Whether the moment is in it. Microseconds since 1970.
    pub(super) fn contain(self, at_us: i64) -> bool {
        const US_PER_MINUTE: i64 = 60_000_000;
        let minute = at_us.div_euclid(US_PER_MINUTE).rem_euclid(24 * 60);
        let (from, to) = (i64::from(self.from_minute), i64::from(self.to_minute));
        if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
    }

    /// Whether two parts of the day share a minute.
    pub(super) fn overlap(self, other: Hours) -> bool {
        let starts = |hours: Hours| i64::from(hours.from_minute) * 60_000_000;
        self.contain(starts(other)) || other.contain(starts(self))
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hours { from_minute: from, to_minute: to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
    let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_are_inverse() {
        for days in [-719_468, -1, 0, 59, 11_016, 20_780, 100_000] {
            let (year, month, day) = civil_date(days);
            assert_eq!(days_since_1970(year, month, day), days);
        }
        assert_eq!(civil_date(20_780), (2026, 11, 23));
        assert!(!in_the_calendar(2026, 2, 29) && !in_the_calendar(2026, 13, 1) && in_the_calendar(2028, 2, 29));
    }

    #[test]
    fn hours_begin_with_their_first_minute_end_before_their_last_and_may_pass_midnight() {
        let at = |hour: i64, minute: i64, us: i64| ((20_780 * 24 + hour) * 60 + minute) * 60_000_000 + us;
        let night = Hours::parse("16:30-00:30").unwrap();
        for (moment, is_in) in [
            (at(16, 29, 59_999_999), false),
            (at(16, 30, 0), true),
            (at(23, 59, 59_999_999), true),
            (at(0, 0, 0), true),
            (at(0, 29, 59_999_999), true),
            (at(0, 30, 0), false),
        ] {
            assert_eq!(night.contain(moment), is_in, "{moment}");
        }
        assert_eq!(night.to_string(), "16:30-00:30");
        assert!(night.overlap(Hours::parse("00:00-01:00").unwrap()));
        assert!(!night.overlap(Hours::parse("00:30-16:30").unwrap()));
        for text in ["16:30", "16:30-16:30", "24:00-01:00", "1:00-02:00", "01:00-02:60"] {
            assert_eq!(Hours::parse(text), None, "{text}");
        }
    }
}

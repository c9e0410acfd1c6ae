//! What a budget will have spent when its window ends: spent so far, and for each day that remains what its weekday cost
//! on average in the last four weeks. Simple on purpose: it knows no trend, no holidays and no plans, and says how far off
//! days have been from their weekday's average, as an interval that holds four times in five if they go on so.
//!
//! With less than a week of history there is no weekday to go by: then the rate so far is carried on, without an interval.
//!
//! A rolling window never ends. Of it is said how much it will hold at its fullest, looked at once a day until the month is over:
//! what was spent on the days that it still reaches back to, and what the others cost on average.

use tollgate_interaction::Usd;

use crate::window::Span;

const DAY_US: i64 = 86_400_000_000;
/// Days looked back at, today not included.
pub const HISTORY_DAYS: i64 = 28;
/// Variances are taken in millionths of a dollar, so that squares of billions fit.
const TRILLIONTHS_PER_MILLIONTH: i128 = 1_000_000;
/// Quantile of the normal distribution for an interval of 80 %, in hundredths.
const Z_PERCENT: i128 = 128;

/// How a forecast was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// What each weekday cost on average.
    Weekdays,
    /// The rate so far, carried on.
    RunRate,
}

/// Spend at the end of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Forecast {
    /// The middle.
    pub expected_usd: Usd,
    /// The ends of an interval of 80 %; `None` if the history is too short for one.
    pub interval_usd: Option<(Usd, Usd)>,
    /// How it was made.
    pub method: Method,
    /// Days of history behind it.
    pub days: u64,
    /// When the window ends. Microseconds since 1970, UTC.
    pub ends_at_us: i64,
}

/// Forecasts the spend of `window` at `now_us`. `history` holds the spend of UTC days (days since 1970), in any order; days
/// without an entry after the first one had none. `None` if the window has passed or has no end.
#[must_use]
pub fn forecast(history: &[(i32, Usd)], spent: Usd, window: Span, now_us: i64) -> Option<Forecast> {
    if !window.holds(now_us) || window.to_us == i64::MAX {
        return None;
    }
    let today = now_us.div_euclid(DAY_US);
    let past = Past::of(history, today);
    let ends_at_us = window.to_us;
    let days = past.days.len() as u64;
    if past.days.len() < 7 {
        let elapsed_us = i128::from((now_us - window.from_us).max(1));
        let expected = spent.get().saturating_mul(i128::from(window.to_us - window.from_us)) / elapsed_us;
        let expected_usd = Usd::new(expected);
        return Some(Forecast { expected_usd, interval_usd: None, method: Method::RunRate, days, ends_at_us });
    }
    let expected = spent.get() + past.expected(now_us, window.to_us);
    let spread = past.spread(window.to_us - now_us);
    let low = Usd::new((expected - spread).max(spent.get()));
    Some(Forecast {
        expected_usd: Usd::new(expected),
        interval_usd: Some((low, Usd::new(expected + spread))),
        method: Method::Weekdays,
        days,
        ends_at_us,
    })
}

/// Forecasts how much a rolling window of `length_us` will hold at its fullest, at the end of any UTC day until `until_us`.
/// `history` holds the spend of UTC days (days since 1970), today and the whole length of the window included. `None` if there is no
/// history or nothing to come.
#[must_use]
pub fn forecast_rolling(history: &[(i32, Usd)], length_us: i64, until_us: i64, now_us: i64) -> Option<Forecast> {
    let today = now_us.div_euclid(DAY_US);
    let first = history.iter().map(|(day, _)| i64::from(*day)).min()?;
    if until_us <= now_us || length_us <= 0 {
        return None;
    }
    let past = Past::of(history, today);
    let days = past.days.len() as u64;
    if past.days.len() < 7 {
        let spent: i128 = history.iter().map(|(_, spent)| spent.get()).sum();
        let elapsed_us = i128::from((now_us - first * DAY_US).max(1));
        let expected_usd = Usd::new(spent.saturating_mul(i128::from(length_us)) / elapsed_us);
        return Some(Forecast {
            expected_usd,
            interval_usd: None,
            method: Method::RunRate,
            days,
            ends_at_us: until_us,
        });
    }
    let held = |at_us: i64| -> i128 {
        let from_us = at_us - length_us;
        let known = history.iter().map(|(day, spent)| {
            let begins_us = i64::from(*day) * DAY_US;
            // What was spent today was spent by now.
            let ends_us = (begins_us + DAY_US).min(now_us.max(begins_us + 1));
            let within_us = (ends_us - begins_us.max(from_us)).clamp(0, ends_us - begins_us);
            spent.get() * i128::from(within_us) / i128::from(ends_us - begins_us)
        });
        known.sum::<i128>() + past.expected(from_us.max(now_us), at_us)
    };
    let ends = (today..=(until_us - 1).div_euclid(DAY_US)).map(|day| ((day + 1) * DAY_US).min(until_us));
    let (expected, fullest_us) = ends.map(|at_us| (held(at_us), at_us)).max_by_key(|(held, at_us)| (*held, -at_us))?;
    let spread = past.spread((fullest_us - now_us).min(length_us));
    let low = Usd::new((expected - spread).max(0));
    Some(Forecast {
        expected_usd: Usd::new(expected),
        interval_usd: Some((low, Usd::new(expected + spread))),
        method: Method::Weekdays,
        days,
        ends_at_us: fullest_us,
    })
}

/// Spend of past days, without a gap, the oldest first.
struct Past {
    days: Vec<(i64, i128)>,
}

impl Past {
    fn of(history: &[(i32, Usd)], today: i64) -> Past {
        let spent = |day: i64| -> i128 {
            history.iter().filter(|(known, _)| i64::from(*known) == day).map(|(_, spent)| spent.get()).sum()
        };
        let first = history.iter().map(|(day, _)| i64::from(*day)).min().unwrap_or(today).max(today - HISTORY_DAYS);
        Past { days: (first..today).map(|day| (day, spent(day))).collect() }
    }

    /// What is spent between two instants, if days cost what their weekdays do.
    fn expected(&self, from_us: i64, to_us: i64) -> i128 {
        let days = from_us.div_euclid(DAY_US)..=(to_us - 1).div_euclid(DAY_US);
        let part = |day: i64| {
            let length_us = ((day + 1) * DAY_US).min(to_us) - (day * DAY_US).max(from_us);
            self.mean(day) * i128::from(length_us.max(0)) / i128::from(DAY_US)
        };
        days.map(part).sum()
    }

    /// What the weekday of `day` cost on average.
    fn mean(&self, day: i64) -> i128 {
        let (mut sum, mut count) = (0, 0);
        for (known, spent) in &self.days {
            if (day - known) % 7 == 0 {
                sum += spent;
                count += 1;
            }
        }
        if count == 0 { 0 } else { sum / count }
    }

    /// Half the interval for what is spent in `rest_us`: how far days were off, for the days to come and for the averages.
    fn spread(&self, rest_us: i64) -> i128 {
        let count = self.days.len() as i128;
        // Each weekday's average takes one degree of freedom, as long as there is more than one week.
        let freedom = (count - 7).max(1);
        let off = |(day, spent): &(i64, i128)| (spent - self.mean(*day)) / TRILLIONTHS_PER_MILLIONTH;
        let squares: i128 = self.days.iter().map(|day| off(day).pow(2)).sum();
        let rest_hours = i128::from(rest_us / 3_600_000_000);
        // variance × (rest + rest² / count), with the rest in hours to keep parts of days.
        let variance = squares / freedom;
        let scaled = variance.saturating_mul(rest_hours * 24 + rest_hours * rest_hours / count) / (24 * 24);
        scaled.isqrt() * Z_PERCENT / 100 * TRILLIONTHS_PER_MILLIONTH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-16T12:00:00Z, a Monday.
    const NOW_US: i64 = 1_794_830_400_000_000;
    const NOVEMBER: Span = Span { from_us: 1_793_491_200_000_000, to_us: 1_796_083_200_000_000 };

    fn today() -> i64 {
        NOW_US.div_euclid(DAY_US)
    }

    /// Ten dollars on weekdays and none on Saturdays and Sundays, plus what `noise` says.
    fn weeks(days: i64, noise: impl Fn(i64) -> i64) -> Vec<(i32, Usd)> {
        let day = |back: i64| {
            let day = today() - back;
            // 1970-01-01 was a Thursday.
            let is_weekend = matches!((day + 3).rem_euclid(7), 5 | 6);
            let dollars = if is_weekend { 0 } else { 10 } + noise(back);
            (i32::try_from(day).unwrap(), Usd::from_dollars(dollars))
        };
        (1..=days).map(day).collect()
    }

    #[test]
    fn weekdays_go_on_as_they_were_and_weekends_cost_nothing() {
        let found = forecast(&weeks(28, |_| 0), Usd::from_dollars(100), NOVEMBER, NOW_US).unwrap();
        // Half of this Monday, then 17 to 30 November: ten weekdays.
        assert_eq!(found.expected_usd, Usd::from_dollars(205));
        assert_eq!(found.interval_usd, Some((Usd::from_dollars(205), Usd::from_dollars(205))));
        assert_eq!((found.method, found.days, found.ends_at_us), (Method::Weekdays, 28, NOVEMBER.to_us));
    }

    #[test]
    fn days_that_differ_widen_the_interval_which_never_goes_below_what_is_spent() {
        let noisy = forecast(&weeks(28, |back| (back / 7) % 2 * 8), Usd::from_dollars(100), NOVEMBER, NOW_US).unwrap();
        let (low, high) = noisy.interval_usd.unwrap();
        assert!(low < noisy.expected_usd && noisy.expected_usd < high && low >= Usd::from_dollars(100), "{noisy:?}");
        // About 4.6 dollars off a day for 14.5 days: sqrt(14.5 + 14.5²/28) × 4.6 × 1.28 = 28.
        let half = (high - noisy.expected_usd).get() / Usd::from_dollars(1).get();
        assert!((24..=32).contains(&half), "{half}");
    }

    #[test]
    fn a_short_history_carries_the_rate_on_and_claims_no_interval() {
        let found = forecast(&weeks(3, |_| 0), Usd::from_dollars(31), NOVEMBER, NOW_US).unwrap();
        // Half of the month has passed, to the hour.
        assert_eq!((found.expected_usd, found.interval_usd), (Usd::from_dollars(60), None));
        assert_eq!(found.method, Method::RunRate);
    }

    const WEEK_US: i64 = 7 * DAY_US;

    #[test]
    fn a_rolling_week_holds_five_weekdays_whenever_it_is_looked_at() {
        let found = forecast_rolling(&weeks(28, |_| 0), WEEK_US, NOVEMBER.to_us, NOW_US).unwrap();
        assert_eq!(found.expected_usd, Usd::from_dollars(50));
        assert_eq!((found.method, found.days), (Method::Weekdays, 28));
    }

    #[test]
    fn a_rolling_window_is_fullest_before_a_dear_day_leaves_it() {
        // Last Friday cost a hundred dollars more: a week later that is gone.
        let history = weeks(28, |back| if back == 3 { 100 } else { 0 });
        let found = forecast_rolling(&history, WEEK_US, NOVEMBER.to_us, NOW_US).unwrap();
        let dollars = found.expected_usd.get() / Usd::from_dollars(1).get();
        assert!((145..=160).contains(&dollars), "{dollars}");
        let days_on = (found.ends_at_us - NOW_US).div_euclid(DAY_US);
        assert!(days_on <= 4, "{days_on}");
        let (low, high) = found.interval_usd.unwrap();
        assert!(low < found.expected_usd && found.expected_usd < high);
    }

    #[test]
    fn a_rolling_window_with_a_short_history_carries_the_rate_on() {
        // Two and a half days, today included.
        let mut history = vec![(i32::try_from(today() - 2).unwrap(), Usd::from_dollars(10))];
        history.push((i32::try_from(today()).unwrap(), Usd::from_dollars(10)));
        let found = forecast_rolling(&history, WEEK_US, NOVEMBER.to_us, NOW_US).unwrap();
        assert_eq!((found.expected_usd, found.interval_usd), (Usd::from_dollars(56), None));
        assert_eq!(forecast_rolling(&[], WEEK_US, NOVEMBER.to_us, NOW_US), None);
        assert_eq!(forecast_rolling(&history, WEEK_US, NOW_US, NOW_US), None);
    }

    #[test]
    fn what_has_no_end_or_is_over_is_not_forecast() {
        let past = Span { from_us: 0, to_us: 1 };
        assert_eq!(forecast(&[], Usd::ZERO, past, NOW_US), None);
        assert_eq!(forecast(&[], Usd::ZERO, Span { from_us: 0, to_us: i64::MAX }, NOW_US), None);
    }
}

//! Where the ticks go: round values upwards, round times along. Knows nothing of pixels.

use crate::format;

/// Values of the horizontal grid, from zero to the top of the chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ValueAxis {
    /// Ascending, the first is zero, the last is the top.
    pub(super) ticks: Vec<f64>,
}

impl ValueAxis {
    /// About four steps of 1, 2, 2.5 or 5 times a power of ten that hold `largest`. `whole` keeps steps at 1 or more.
    pub(super) fn covering(largest: f64, whole: bool) -> Self {
        const STEPS: f64 = 4.0;
        let largest = if largest.is_finite() && largest > 0.0 { largest } else { 1.0 };
        let rough = largest / STEPS;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|factor| factor * power).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let step = if whole { step.max(1.0).ceil() } else { step };
        let count = (largest / step - 1e-9).ceil().max(1.0) as usize;
        ValueAxis { ticks: (0..=count).map(|index| index as f64 * step).collect() }
    }

    /// The value at the top edge.
    pub(super) fn top(&self) -> f64 {
        self.ticks.last().copied().unwrap_or(1.0)
    }
}

/// A labelled moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TimeTick {
    /// Its place, 0 at the left edge to 1 at the right.
    pub(super) at: f64,
    /// `15:00` or `23 Nov`.
    pub(super) label: String,
}

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// Steps between labels, narrowest first.
const STEPS_US: [i64; 16] = [
    MINUTE_US,
    2 * MINUTE_US,
    5 * MINUTE_US,
    10 * MINUTE_US,
    15 * MINUTE_US,
    30 * MINUTE_US,
    HOUR_US,
    2 * HOUR_US,
    3 * HOUR_US,
    4 * HOUR_US,
    6 * HOUR_US,
    12 * HOUR_US,
    DAY_US,
    2 * DAY_US,
    5 * DAY_US,
    7 * DAY_US,
];

/// At most eight labels at round times between `from_us` and `to_us`.
pub(super) fn time_ticks(from_us: i64, to_us: i64) -> Vec<TimeTick> {
    const MOST: i64 = 8;
    let span_us = (to_us - from_us).max(1);
    let step_us = STEPS_US.iter().copied().find(|step| span_us / step <= MOST).unwrap_or(span_us / MOST);
    let first_us = from_us.div_euclid(step_us) * step_us;
    let label = |time_us: i64| match step_us >= DAY_US || time_us.rem_euclid(DAY_US) == 0 {
        true => format::day(time_us),
        false => format::hour_minute(time_us),
    };
    (0..)
        .map(|index| first_us + index * step_us)
        .skip_while(|time_us| *time_us < from_us)
        .take_while(|time_us| *time_us <= to_us)
        .map(|time_us| TimeTick { at: (time_us - from_us) as f64 / span_us as f64, label: label(time_us) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_the_largest_value() {
        for largest in [0.0007, 0.9, 3.0, 17.0, 999.0, 12_345.0] {
            let axis = ValueAxis::covering(largest, false);
            assert!(axis.top() >= largest, "{largest} is above {axis:?}");
            assert!((3..=6).contains(&axis.ticks.len()), "{axis:?}");
        }
        assert_eq!(ValueAxis::covering(3.0, true).ticks, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(ValueAxis::covering(0.0, true).ticks, [0.0, 1.0]);
    }

    #[test]
    fn a_day_is_labelled_by_hours_and_its_midnight_by_date() {
        let midnight_us = 1_795_392_000_000_000;
        let ticks = time_ticks(midnight_us - 12 * HOUR_US, midnight_us + 12 * HOUR_US);
        let labels: Vec<&str> = ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["12:00", "15:00", "18:00", "21:00", "23 Nov", "03:00", "06:00", "09:00", "12:00"]);
    }
}

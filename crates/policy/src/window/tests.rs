use chrono_tz::Tz;

use super::*;

fn us(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

fn window(per: Period, zone: &str) -> Window {
    Window::Calendar { per, zone: zone.parse().unwrap() }
}

fn span_of(window: Window, at: &str) -> (String, String) {
    let span = window.at(us(at));
    assert!(span.holds(us(at)), "{at} is not in its own window");
    let text = |at_us| utc(at_us).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    (text(span.from_us), text(span.to_us))
}

fn is(window: Window, at: &str, from: &str, to: &str) {
    assert_eq!(span_of(window, at), (from.to_owned(), to.to_owned()), "{window} at {at}");
}

#[test]
fn a_day_in_berlin_has_23_hours_when_clocks_go_forward_and_25_when_they_go_back() {
    let day = window(Period::Day, "Europe/Berlin");
    is(day, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
    is(day, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    is(day, "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
}

#[test]
fn the_hour_that_is_repeated_is_two_hours() {
    let hour = window(Period::Hour, "Europe/Berlin");
    is(hour, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z");
    is(hour, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z");
    // India is half an hour off.
    is(window(Period::Hour, "Asia/Kolkata"), "2026-11-26T10:45:10Z", "2026-11-26T10:30:00Z", "2026-11-26T11:30:00Z");
    is(window(Period::Minute, "UTC"), "2026-11-26T10:45:59.999999Z", "2026-11-26T10:45:00Z", "2026-11-26T10:46:00Z");
}

#[test]
fn months_end_where_they_end_leap_years_included() {
    let month = window(Period::Month, "UTC");
    is(month, "2028-02-29T23:59:59.999999Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z");
    is(month, "2027-02-28T23:59:59Z", "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z");
    is(month, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
    // 1 December has begun in Tokyo and not in UTC.
    is(window(Period::Month, "Asia/Tokyo"), "2026-11-30T15:00:00Z", "2026-11-30T15:00:00Z", "2026-12-31T15:00:00Z");
    is(window(Period::Year, "UTC"), "2028-12-31T00:00:00Z", "2028-01-01T00:00:00Z", "2029-01-01T00:00:00Z");
    is(window(Period::Quarter, "UTC"), "2026-09-30T23:59:59Z", "2026-07-01T00:00:00Z", "2026-10-01T00:00:00Z");
    is(window(Period::Day, "UTC"), "2028-02-29T12:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z");
}

#[test]
fn weeks_begin_on_monday_over_the_turn_of_a_year_too() {
    let week = window(Period::Week, "UTC");
    is(week, "2026-11-26T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z");
    is(week, "2027-01-01T12:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z");
}

#[test]
fn a_midnight_that_does_not_exist_is_the_first_instant_after_it() {
    // Clocks in Cairo went from 00:00 to 01:00 on 24 April 2026.
    is(window(Period::Day, "Africa/Cairo"), "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z");
    // Samoa went from the end of 29 December 2011 to 31 December.
    is(window(Period::Day, "Pacific/Apia"), "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z");
    is(window(Period::Day, "Pacific/Apia"), "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z");
}

#[test]
fn a_rolling_window_reaches_back_its_length_and_at_most_a_sixtieth_more() {
    let day = Window::Rolling { length_s: 86_400 };
    let now_us = us("2026-11-26T10:45:10Z");
    let span = day.at(now_us);
    let back_us = now_us - span.from_us;
    assert!((86_400 * US_PER_S..86_400 * US_PER_S * 61 / 60).contains(&back_us), "{back_us}");
    let bucket = day.bucket(now_us);
    assert!(day.forgets_at(bucket.from_us) >= now_us + 86_400 * US_PER_S);
    assert_eq!(day.to_string(), "rolling/24h");
    assert_eq!((length(90), length(7 * 86_400), length(3_600)), ("90s".into(), "7d".into(), "1h".into()));
}

/// Every quarter of an hour of a leap year in zones with odd rules: windows follow each other without a gap, and an instant
/// is in the window it is counted in.
#[test]
fn windows_follow_each_other_without_a_gap_in_every_zone() {
    let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu"];
    for zone in zones.map(|zone| zone.parse::<Tz>().unwrap()) {
        for per in [Period::Day, Period::Week, Period::Month, Period::Quarter, Period::Year] {
            let window = Window::Calendar { per, zone };
            let mut known = window.bucket(us("2027-12-31T00:00:00Z"));
            let end_us = us("2028-12-02T00:00:00Z");
            let mut at_us = known.from_us;
            while at_us < end_us {
                if !known.holds(at_us) {
                    let next = window.bucket(at_us);
                    assert_eq!(next.from_us, known.to_us, "{window}: a gap before {}", utc(at_us));
                    known = next;
                }
                assert_eq!(window.bucket(at_us), known, "{window} at {}", utc(at_us));
                at_us += 900 * US_PER_S;
            }
        }
    }
}

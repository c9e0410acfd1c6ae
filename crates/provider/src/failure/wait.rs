//! How long a provider wants to be left alone, by what its answer says: `retry-after` in its three forms, or the moment at
//! which a limit that is used up begins anew. Every provider has its own names and its own notion of a moment.

use crate::price::days_since_1970;
use crate::scan::Tree;

const MS_PER_SECOND: u64 = 1_000;

/// Headers that say how much of a limit is left, and those that say when it begins anew.
/// Groq and OpenAI <https://console.groq.com/docs/rate-limits>, Anthropic <https://platform.claude.com/docs/en/api/rate-limits>,
/// Cerebras <https://inference-docs.cerebras.ai/support/rate-limits>, OpenRouter, Together and Fireworks; 2026-11-26.
const LIMITS: [(&str, &str); 9] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
    ("x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"),
    ("x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"),
];

/// Milliseconds to wait by the headers of an answer, which `header` looks up by lower-case name. `now_us` is now.
#[must_use]
pub fn wait_by_headers_ms<'a>(header: impl Fn(&str) -> Option<&'a str>, now_us: i64) -> Option<u64> {
    let in_ms = header("retry-after-ms").and_then(|text| text.trim().parse().ok());
    if let Some(wait_ms) = in_ms.or_else(|| retry_after(header("retry-after")?.trim(), now_us)) {
        return Some(wait_ms);
    }
    let used_up = LIMITS.iter().filter(|(left, _)| header(left).is_some_and(|left| left.trim() == "0"));
    used_up.filter_map(|(_, reset)| moment(header(reset)?.trim(), now_us)).max()
}

/// Milliseconds to wait by the body of an error: Google says it there and in no header, as `RetryInfo` among the details
/// (<https://google.aip.dev/193>, 2026-11-26).
#[must_use]
pub fn wait_by_body_ms(body: &[u8]) -> Option<u64> {
    let body = Tree::read(body).ok()?;
    // Errors of a stream stand in a list.
    let body = body.items().map_or(Some(&body), <[_]>::first)?;
    let details = body.get("error")?.get("details")?.items()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.text())?;
    seconds(delay.strip_suffix('s')?)
}

/// Seconds or a date (RFC 9110 §10.2.3); a date that has passed is no wait.
fn retry_after(text: &str, now_us: i64) -> Option<u64> {
    seconds(text).or_else(|| Some(until(http_date_us(text)?, now_us)))
}

/// A span (`6m0.5s`, `120ms`), seconds, seconds or milliseconds since 1970, or a date and time.
fn moment(text: &str, now_us: i64) -> Option<u64> {
    const LEAST_MOMENT_S: u64 = 1_000_000_000;
    let Some(wait_ms) = seconds(text) else {
        return span(text).or_else(|| Some(until(date_time_us(text)?, now_us)));
    };
    let number = wait_ms / MS_PER_SECOND;
    if number < LEAST_MOMENT_S {
        return Some(wait_ms);
    }
    let at_ms = if number < LEAST_MOMENT_S * MS_PER_SECOND { wait_ms } else { number };
    Some(until(i64::try_from(at_ms).ok()?.checked_mul(1_000)?, now_us))
}

fn until(at_us: i64, now_us: i64) -> u64 {
    u64::try_from(at_us.saturating_sub(now_us) / 1_000).unwrap_or(0)
}

/// Milliseconds of `1`, `1.5` or `34.074824224` seconds.
fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let thousandths: u64 = if fraction.is_empty() { 0 } else { format!("{fraction:0<3}").get(..3)?.parse().ok()? };
    whole.parse::<u64>().ok()?.checked_mul(MS_PER_SECOND)?.checked_add(thousandths)
}

/// Milliseconds of a span as the language Go writes it, such as `1h2m3.5s`.
fn span(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let number_ms = seconds(number)?;
        total = total.checked_add(match unit {
            "d" => number_ms.checked_mul(86_400)?,
            "h" => number_ms.checked_mul(3_600)?,
            "m" => number_ms.checked_mul(60)?,
            "s" => number_ms,
            "ms" => number_ms / MS_PER_SECOND,
            "us" | "µs" | "ns" => 0,
            _ => return None,
        })?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// `Wed, 21 Oct 2015 07:28:00 GMT`, in microseconds since 1970.
fn http_date_us(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split_once(", ")?.1.strip_suffix(" GMT")?.split(' ');
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)?;
    moment_us(year.parse().ok()?, i64::try_from(month).ok()? + 1, day.parse().ok()?, time)
}

/// `2026-11-26T15:04:05Z`, with or without a fraction; in microseconds since 1970.
fn date_time_us(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let time = time.strip_suffix('Z').or_else(|| time.strip_suffix("+00:00"))?;
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    moment_us(parts.next()??, parts.next()??, parts.next()??, time)
}

fn moment_us(year: i64, month: i64, day: i64, time: &str) -> Option<i64> {
    let mut parts = time.splitn(3, ':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    let is_real = (1..=12).contains(&month) && (1..=31).contains(&day) && (1_970..10_000).contains(&year);
    if !is_real || !(0..24).contains(&hour) || !(0..60).contains(&minute) {
        return None;
    }
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute;
    Some(minutes * 60_000_000 + i64::try_from(seconds(second)?).ok()? * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-26T15:04:05Z.
    const NOW_US: i64 = 1_795_705_445_000_000;

    fn wait(headers: &[(&str, &'static str)]) -> Option<u64> {
        let headers = headers.to_vec();
        wait_by_headers_ms(|name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value), NOW_US)
    }

    #[test]
    fn retry_after_is_read_in_each_of_its_forms() {
        assert_eq!(wait(&[("retry-after-ms", "250"), ("retry-after", "3")]), Some(250));
        assert_eq!(wait(&[("retry-after", "3")]), Some(3_000));
        assert_eq!(wait(&[("retry-after", "1.5")]), Some(1_500));
        assert_eq!(wait(&[("retry-after", "Thu, 26 Nov 2026 15:04:35 GMT")]), Some(30_000));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]), Some(0));
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_limit_that_is_used_up_says_when_it_begins_anew() {
        let openai = [
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "6m0s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "7.66s"),
        ];
        assert_eq!(wait(&openai), Some(7_660));
        let anthropic = [
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-11-26T15:05:05Z"),
        ];
        assert_eq!(wait(&anthropic), Some(60_000));
        let cerebras = [
            ("x-ratelimit-remaining-requests-day", "0"),
            ("x-ratelimit-reset-requests-day", "33011.382867"),
            ("x-ratelimit-remaining-tokens-minute", "0"),
            ("x-ratelimit-reset-tokens-minute", "11.38"),
        ];
        assert_eq!(wait(&cerebras), Some(33_011_382));
        for (who, reset) in [("OpenRouter", "1795705450000"), ("SambaNova", "1795705450"), ("Together", "5")] {
            let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)];
            assert_eq!(wait(&headers), Some(5_000), "{who}");
        }
        assert_eq!(wait(&[("x-ratelimit-remaining-tokens", "0")]), None);
    }

    #[test]
    fn spans_are_those_of_the_language_go() {
        for (text, wait_ms) in [
            ("1s", Some(1_000)),
            ("20ms", Some(20)),
            ("2m59.56s", Some(179_560)),
            ("1h0m1s", Some(3_601_000)),
            ("1d", Some(86_400_000)),
            ("150µs", Some(0)),
            ("5 minutes", None),
            ("", None),
        ] {
            assert_eq!(span(text), wait_ms, "{text}");
        }
    }

    #[test]
    fn googles_wait_is_read_from_the_body() {
        let error = r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[]},
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.074824224s"}]}}"#;
        assert_eq!(wait_by_body_ms(error.as_bytes()), Some(34_074));
        assert_eq!(wait_by_body_ms(format!("[{error}]").as_bytes()), Some(34_074));
        assert_eq!(wait_by_body_ms(error.replace("34.074824224s", "7s").as_bytes()), Some(7_000));
        assert_eq!(wait_by_body_ms(b"[]"), None);
    }
}

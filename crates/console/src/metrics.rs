//! `GET /metrics` in the Prometheus text format (version 0.0.4). Totals of the process only: no team, no key, nothing
//! that was said; so it needs no login, as scrapers expect.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::state::{ConsoleState, Sample, SampleKind};

/// Every sample of the process.
pub async fn show(State(state): State<ConsoleState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text(&state.instruments.samples()))
}

fn text(samples: &[Sample]) -> String {
    let mut text = String::new();
    let mut last_name = "";
    for sample in samples {
        // Writing to a String cannot fail.
        if sample.name != last_name {
            let kind = if sample.kind == SampleKind::Counter { "counter" } else { "gauge" };
            let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {kind}", sample.name, sample.help, sample.name);
            last_name = sample.name;
        }
        let labels: Vec<String> =
            sample.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(text, "{}{labels} {}", sample.name, sample.value);
    }
    text
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_share_their_help() {
        let sample = |outcome: &str, value| Sample {
            name: "tollgate_calls_total",
            help: "Calls by outcome.",
            kind: SampleKind::Counter,
            labels: vec![("outcome", outcome.to_owned())],
            value,
        };
        let text = text(&[sample("success", 3.0), sample("a\"b", 1.0)]);
        let expected = "# HELP tollgate_calls_total Calls by outcome.\n# TYPE tollgate_calls_total counter\n\
             tollgate_calls_total{outcome=\"success\"} 3\ntollgate_calls_total{outcome=\"a\\\"b\"} 1\n";
        assert_eq!(text, expected);
    }
}

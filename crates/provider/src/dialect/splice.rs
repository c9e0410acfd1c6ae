//! Changes a request without reading it again: the model's name is replaced where it stands, and a stream is asked for
//! its usage. Every other byte reaches the provider as the caller sent it.

use std::ops::Range;

use bytes::Bytes;

use super::head::{RequestHead, UsageAt};

/// `body` with `new_model` in place of its model and, for an OpenAI stream, with a request for its usage. `head` must
/// have been read from this very `body`. If nothing changes, no byte is copied. Where
/// [`RequestHead::hides_usage`] is true, the answer holds one chunk more than the caller asked for: pass it through a
/// [`UsageFilter`](super::UsageFilter).
#[must_use]
pub fn with_model(body: &Bytes, head: &RequestHead, new_model: &str) -> Bytes {
    let mut edits: Vec<(Range<usize>, String)> = Vec::with_capacity(2);
    if let Some(model_at) = head.model_at.clone().filter(|_| new_model != head.model) {
        let written = if head.is_form { in_form(new_model) } else { serde_json::Value::from(new_model).to_string() };
        edits.push((model_at, written));
    }
    edits.extend(usage_edit(&head.usage_at));
    if edits.is_empty() {
        return body.clone();
    }
    edits.sort_by_key(|(at, _)| at.start);
    apply(body, &edits)
}

/// The value of a form's field. A line break would begin the next part; no model's name has one.
fn in_form(model: &str) -> String {
    model.replace(['\r', '\n'], " ")
}

fn usage_edit(usage_at: &UsageAt) -> Option<(Range<usize>, String)> {
    let text = |text: &str| text.to_owned();
    match usage_at {
        UsageAt::Settled => None,
        UsageAt::AddOptions(at) => Some((*at..*at, text(r#""stream_options":{"include_usage":true},"#))),
        UsageAt::AddFlag { at, alone: true } => Some((*at..*at, text(r#""include_usage":true"#))),
        UsageAt::AddFlag { at, alone: false } => Some((*at..*at, text(r#""include_usage":true,"#))),
        UsageAt::ReplaceFlag(at) => Some((at.clone(), text("true"))),
        UsageAt::ReplaceOptions(at) => Some((at.clone(), text(r#"{"include_usage":true}"#))),
    }
}

fn apply(body: &[u8], edits: &[(Range<usize>, String)]) -> Bytes {
    let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut spliced = Vec::with_capacity(body.len() + added);
    let mut copied = 0;
    for (at, text) in edits {
        spliced.extend_from_slice(body.get(copied..at.start).unwrap_or_default());
        spliced.extend_from_slice(text.as_bytes());
        copied = at.end;
    }
    spliced.extend_from_slice(body.get(copied..).unwrap_or_default());
    Bytes::from(spliced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::parse_head;
    use tollgate_interaction::{Dialect, Operation};

    fn spliced(dialect: Dialect, body: &'static str, model: &str) -> (String, bool) {
        let body = Bytes::from_static(body.as_bytes());
        let head = parse_head(dialect, Operation::Chat, &body).unwrap();
        let after = String::from_utf8(with_model(&body, &head, model).to_vec()).unwrap();
        parse_head(dialect, Operation::Chat, after.as_bytes()).unwrap();
        (after, head.hides_usage())
    }

    #[test]
    fn only_the_model_changes() {
        let body = r#"{ "temperature":0.10, "model" : "a/b" ,"messages":[ {"role":"user","content":"say \"model\""} ], "x":1e2}"#;
        let (after, hides) = spliced(Dialect::Openai, body, "q\"uote");
        assert_eq!(after, body.replace(r#""a/b""#, r#""q\"uote""#));
        assert!(!hides);
    }

    #[test]
    fn an_unchanged_body_is_not_copied() {
        let body = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
        let head = parse_head(Dialect::Openai, Operation::Chat, &body).unwrap();
        assert_eq!(with_model(&body, &head, "m").as_ptr(), body.as_ptr());
    }

    #[test]
    fn a_stream_is_asked_for_its_usage_however_the_options_stand() {
        let cases = [
            (
                r#"{"model":"m","stream":true,"messages":[]}"#,
                r#"{"stream_options":{"include_usage":true},"model":"n","stream":true,"messages":[]}"#,
            ),
            (
                r#"{"stream_options":{},"model":"m","stream":true,"messages":[]}"#,
                r#"{"stream_options":{"include_usage":true},"model":"n","stream":true,"messages":[]}"#,
            ),
            (
                r#"{"stream_options":{"x":1},"model":"m","stream":true,"messages":[]}"#,
                r#"{"stream_options":{"include_usage":true,"x":1},"model":"n","stream":true,"messages":[]}"#,
            ),
            (
                r#"{"model":"m","stream":true,"messages":[],"stream_options":{"include_usage":false}}"#,
                r#"{"model":"n","stream":true,"messages":[],"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"model":"m","stream":true,"messages":[],"stream_options":null}"#,
                r#"{"model":"n","stream":true,"messages":[],"stream_options":{"include_usage":true}}"#,
            ),
        ];
        for (before, expected) in cases {
            assert_eq!(spliced(Dialect::Openai, before, "n"), (expected.to_owned(), true));
        }
        let asked = r#"{"model":"m","stream":true,"messages":[],"stream_options":{"include_usage":true}}"#;
        assert_eq!(spliced(Dialect::Openai, asked, "m"), (asked.to_owned(), false));
        let anthropic = r#"{"model":"m","stream":true,"messages":[]}"#;
        assert_eq!(spliced(Dialect::Anthropic, anthropic, "m"), (anthropic.to_owned(), false));
    }
}

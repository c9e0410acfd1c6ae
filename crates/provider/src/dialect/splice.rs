//! Changes a request without reading it again: the model's name is replaced where it stands, or gives way to what Vertex AI
//! wants there, and a stream is asked for its usage. Every other byte reaches the provider as the caller sent it.

use std::ops::Range;

use bytes::Bytes;

use super::head::{RequestHead, UsageAt};
use crate::preset::Quirks;
use crate::served::Publisher;

/// What Vertex AI wants in place of the model, which its path names.
/// Source: <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude> (2026-11-26).
const VERTEX_VERSION: &str = r#""anthropic_version":"vertex-2023-10-16""#;

/// `body` with `new_model` in place of its model and, for an OpenAI stream, with a request for its usage. `head` must
/// have been read from this very `body`. If nothing changes, no byte is copied. Where
/// [`RequestHead::hides_usage`] is true, the answer holds one chunk more than the caller asked for: pass it through a
/// [`UsageFilter`](super::UsageFilter).
#[must_use]
pub fn with_model(body: &Bytes, head: &RequestHead, new_model: &str) -> Bytes {
    forwarded(body, head, new_model, &Quirks::default())
}

/// As [`with_model`], for a provider with `quirks`: one whose streams end with their usage anyway is not asked for it.
#[must_use]
pub fn forwarded(body: &Bytes, head: &RequestHead, new_model: &str, quirks: &Quirks) -> Bytes {
    let mut edits: Vec<(Range<usize>, String)> = Vec::with_capacity(2);
    if let Some(model_at) = head.model_at.clone().filter(|_| new_model != head.model) {
        let written = if head.is_form { in_form(new_model) } else { serde_json::Value::from(new_model).to_string() };
        edits.push((model_at, written));
    }
    edits.extend(usage_edit(&head.usage_at).filter(|_| quirks.asks_for_usage()));
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

/// `body`, a request of the Messages API, as Vertex AI wants it: without its model, and with the version of the API in
/// place of that. `head` must have been read from this very `body`.
#[must_use]
pub fn for_vertex(body: &Bytes, head: &RequestHead) -> Bytes {
    let Some(value) = head.model_at.clone() else { return body.clone() };
    let member = name_of_member(body, value.start)..value.end;
    apply(body, &[(member, VERTEX_VERSION.to_owned())])
}

/// `body`, a request to count tokens, as Vertex AI wants it for Claude: with the name that the model has there, and with the
/// version of the API before it. `head` must have been read from this very `body`.
/// Source: <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/count-tokens> and the official
/// client `anthropic` (2026-11-26).
#[must_use]
pub fn for_vertex_count(body: &Bytes, head: &RequestHead, model: &str) -> Bytes {
    let Some(value) = head.model_at.clone() else { return body.clone() };
    let (_, name) = Publisher::of(model);
    let member = name_of_member(body, value.start);
    let name = serde_json::Value::from(name).to_string();
    apply(body, &[(member..member, format!("{VERTEX_VERSION},")), (value, name)])
}

/// Where the name of the member begins whose value begins at `value_at`. A name that reads `model` holds no quote, however
/// it is escaped.
fn name_of_member(body: &[u8], value_at: usize) -> usize {
    let quote_before = |end: usize| memchr::memrchr(b'"', body.get(..end).unwrap_or_default());
    quote_before(value_at).and_then(quote_before).unwrap_or(value_at)
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

/// `body` with other bytes at these places, which are in order and apart.
pub(crate) fn apply(body: &[u8], edits: &[(Range<usize>, String)]) -> Bytes {
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
    fn vertex_counts_for_the_model_that_the_body_names() {
        let body = Bytes::from_static(br#"{"messages":[], "model" : "v/claude"}"#);
        let head = parse_head(Dialect::Anthropic, Operation::CountTokens, &body).unwrap();
        let counted = for_vertex_count(&body, &head, "anthropic/claude-opus-5");
        assert_eq!(
            String::from_utf8(counted.to_vec()).unwrap(),
            r#"{"messages":[], "anthropic_version":"vertex-2023-10-16","model" : "claude-opus-5"}"#
        );
    }

    #[test]
    fn vertex_gets_the_version_in_place_of_the_model_and_every_other_byte() {
        for (model, before) in
            [(r#""mod\u0065l" :  "claude-sonnet-4-5@20250929""#, r#"{ "max_tokens":7, "#), (r#""model":"c""#, "{")]
        {
            let after = r#","messages":[{"role":"user","content":"\"model\":\"x\""}],"stream":true}"#;
            let body = Bytes::from([before, model, after].concat());
            let head = parse_head(Dialect::Anthropic, Operation::Chat, &body).unwrap();
            let expected = [before, r#""anthropic_version":"vertex-2023-10-16""#, after].concat();
            assert_eq!(for_vertex(&body, &head), expected.as_bytes());
        }
    }

    #[test]
    fn a_provider_that_refuses_to_be_asked_for_usage_is_not() {
        let mistral = crate::preset::Presets::builtin().find("mistral").unwrap().quirks();
        let body = Bytes::from_static(br#"{"model":"m","stream":true,"messages":[]}"#);
        let head = parse_head(Dialect::Openai, Operation::Chat, &body).unwrap();
        assert_eq!(forwarded(&body, &head, "m", &mistral).as_ptr(), body.as_ptr());
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

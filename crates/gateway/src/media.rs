//! What the body of an answer is, by its media type: a stream of events, JSON to be read, or something that is not for
//! reading here, such as sound.

use http::{HeaderMap, header};
use tollgate_interaction::Operation;

const EVENTS: &str = "text/event-stream";
pub(crate) const AMAZON_EVENTS: &str = "application/vnd.amazon.eventstream";
/// Subtitles.
const SUBTITLES: &str = "application/x-subrip";
const JSON: &str = "application/json";
const HTML: &str = "text/html";

/// Whether the body is a stream of events.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    is(headers, EVENTS) || is(headers, AMAZON_EVENTS)
}

/// Whether a whole answer to `operation` is to be passed on unread. `is_content` says that it is a file somebody stored,
/// which may be anything. A page of HTML is what a broken proxy answers, and never what was asked for.
pub(crate) fn is_opaque(operation: Operation, is_content: bool, headers: &HeaderMap) -> bool {
    let is_other = !is(headers, JSON) && !is(headers, HTML);
    match operation {
        Operation::Files | Operation::Batches => is_content,
        Operation::Speech => is_other,
        // Subtitles and plain texts.
        Operation::Transcription | Operation::Translation => {
            is_other && (is(headers, "text/") || is(headers, SUBTITLES))
        }
        _ => false,
    }
}

/// What an answer to `operation` should have been, for the message about one that is not.
pub(crate) fn expected(operation: Operation) -> &'static str {
    match operation {
        Operation::Speech => "sound",
        Operation::Transcription | Operation::Translation => "JSON or text",
        _ => "JSON",
    }
}

fn is(headers: &HeaderMap, kind: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    value.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_an_operation_promises_passes_unread() {
        let opaque = |operation, kind: &'static str| {
            is_opaque(operation, false, &HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]))
        };
        assert!(opaque(Operation::Speech, "audio/mpeg") && opaque(Operation::Speech, "application/octet-stream"));
        assert!(opaque(Operation::Transcription, "text/plain; charset=utf-8"));
        for (operation, kind) in [
            (Operation::Speech, "text/html"),
            (Operation::Speech, "application/json"),
            (Operation::Transcription, "Text/HTML; charset=utf-8"),
            (Operation::Transcription, "application/octet-stream"),
            (Operation::Chat, "audio/mpeg"),
            (Operation::Files, "application/octet-stream"),
        ] {
            assert!(!opaque(operation, kind), "{operation} {kind}");
        }
        assert!(is_opaque(Operation::Files, true, &HeaderMap::new()));
    }
}

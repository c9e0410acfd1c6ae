//! Where the model says it found something: a place in a document of the request, a search result of the request, or a page
//! of the web. <https://platform.claude.com/docs/en/build-with-claude/citations> (2026-11-26). The `encrypted_index` of a page
//! has no place in any other dialect, so a citation of a page cannot be sent back.

use serde_json::{Map, Value, json};

use crate::chat::{Citation, CitedDocument, CitedPlace};

/// Reads one citation; `None` if it is of a kind that says nothing any other dialect could.
pub(super) fn read(value: Value) -> Option<Citation> {
    let Value::Object(mut fields) = value else { return None };
    let kind = text(&mut fields, "type")?;
    let place = place(&kind, &fields);
    let document = place.map(|place| CitedDocument { index: count(&fields, "document_index"), place });
    let title = text(&mut fields, "document_title").or_else(|| text(&mut fields, "title"));
    // A search result of the request names its source freely; most are addresses.
    let url = text(&mut fields, "url").or_else(|| text(&mut fields, "source"));
    Some(Citation { url, title, quote: text(&mut fields, "cited_text"), span: None, document })
}

fn place(kind: &str, fields: &Map<String, Value>) -> Option<CitedPlace> {
    let between = |start: &str, end: &str| (count(fields, start), count(fields, end));
    match kind {
        "char_location" => {
            let (start, end) = between("start_char_index", "end_char_index");
            Some(CitedPlace::Chars(start, end))
        }
        "page_location" => {
            let (start, end) = between("start_page_number", "end_page_number");
            Some(CitedPlace::Pages(start, end))
        }
        "content_block_location" => {
            let (start, end) = between("start_block_index", "end_block_index");
            Some(CitedPlace::Blocks(start, end))
        }
        _ => None,
    }
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    match fields.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn count(fields: &Map<String, Value>, name: &str) -> u64 {
    fields.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// Writes a citation of an answer; `None` if it names neither a document nor a page.
pub(super) fn write(citation: Citation) -> Option<Value> {
    let Citation { url, title, quote, span: _, document } = citation;
    let cited_text = quote.unwrap_or_default();
    let Some(CitedDocument { index, place }) = document else {
        let url = url?;
        return Some(json!({
            "type": "web_search_result_location", "cited_text": cited_text, "url": url, "title": title,
            "encrypted_index": "",
        }));
    };
    let (kind, start, end) = match place {
        CitedPlace::Chars(start, end) => ("char_location", ("start_char_index", start), ("end_char_index", end)),
        CitedPlace::Pages(start, end) => ("page_location", ("start_page_number", start), ("end_page_number", end)),
        CitedPlace::Blocks(start, end) => {
            ("content_block_location", ("start_block_index", start), ("end_block_index", end))
        }
    };
    Some(json!({
        "type": kind, "cited_text": cited_text, "document_index": index, "document_title": title,
        start.0: start.1, end.0: end.1,
    }))
}

/// Writes a citation of an earlier answer that is sent back; `None` if it cannot be: a page of the web goes back only with
/// the index its provider encrypted.
pub(super) fn write_back(citation: Citation) -> Option<Value> {
    citation.document.is_some().then(|| write(citation)).flatten()
}

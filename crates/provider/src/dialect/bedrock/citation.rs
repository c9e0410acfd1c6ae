//! Where the model says it found something, in Converse's words. A citation says what it cites and not which letters of
//! the answer it belongs to: those are the block it stands in.

use serde_json::{Map, Value, json};

use crate::chat::{Citation, CitedDocument, CitedPlace};

/// Reads a citation of a whole answer or of a stream.
pub(super) fn read(citation: &Value) -> Citation {
    let text = |name: &str| citation.get(name).and_then(Value::as_str).map(str::to_owned);
    let location = citation.get("location");
    let place = |name: &str| location.and_then(|location| location.get(name));
    let web = place("web").and_then(|web| web.get("url")).and_then(Value::as_str).map(str::to_owned);
    // The source of a search result is an address or a name of the caller's.
    let source = text("source").filter(|source| source.starts_with("http"));
    let quote: String = citation
        .get("sourceContent")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|part| part.get("text").and_then(Value::as_str))
        .collect();
    Citation {
        url: web.or(source),
        title: text("title"),
        quote: Some(quote).filter(|quote| !quote.is_empty()),
        span: None,
        document: location.and_then(read_document),
    }
}

fn read_document(location: &Value) -> Option<CitedDocument> {
    for name in ["documentChar", "documentPage", "documentChunk"] {
        let Some(place) = location.get(name) else { continue };
        let count = |name: &str| place.get(name).and_then(Value::as_u64);
        let (start, end) = (count("start")?, count("end")?);
        let place = match name {
            "documentChar" => CitedPlace::Chars(start, end),
            "documentPage" => CitedPlace::Pages(start, end),
            _ => CitedPlace::Blocks(start, end),
        };
        return Some(CitedDocument { index: count("documentIndex").unwrap_or(0), place });
    }
    None
}

/// Writes a citation, for an answer as for a stream.
pub(super) fn write(citation: Citation) -> Value {
    let Citation { url, title, quote, span: _, document } = citation;
    let mut written = Map::new();
    if let Some(title) = title {
        written.insert("title".to_owned(), title.into());
    }
    if let Some(quote) = quote {
        written.insert("sourceContent".to_owned(), json!([{ "text": quote }]));
    }
    if let Some(location) = location(url, document) {
        written.insert("location".to_owned(), location);
    }
    Value::Object(written)
}

/// A place can be told in one way only; an address is worth more to a person than a number.
fn location(url: Option<String>, document: Option<CitedDocument>) -> Option<Value> {
    if let Some(url) = url {
        let domain = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
        let domain = domain.unwrap_or_default().to_owned();
        return Some(json!({ "web": { "url": url, "domain": domain } }));
    }
    let CitedDocument { index, place } = document?;
    let (name, start, end) = match place {
        CitedPlace::Chars(start, end) => ("documentChar", start, end),
        CitedPlace::Pages(start, end) => ("documentPage", start, end),
        CitedPlace::Blocks(start, end) => ("documentChunk", start, end),
    };
    Some(json!({ name: { "documentIndex": index, "start": start, "end": end } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_read_and_written() {
        let locations = [
            json!({"web": {"url": "https://example.com/a?b", "domain": "example.com"}}),
            json!({"documentChar": {"documentIndex": 1, "start": 20, "end": 36}}),
            json!({"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}),
            json!({"documentChunk": {"documentIndex": 0, "start": 0, "end": 1}}),
        ];
        for location in locations {
            let citation =
                json!({"title": "Facts", "sourceContent": [{"text": "The sky is blue."}], "location": location});
            assert_eq!(write(read(&citation)), citation);
        }
    }
}

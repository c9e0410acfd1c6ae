//! Where an answer says it found something: `groundingMetadata` of Google's searches and `citationMetadata` of what the model
//! recites. Both count bytes; we count characters.
//! Sources: <https://ai.google.dev/api/generate-content#GroundingMetadata>,
//! <https://ai.google.dev/api/generate-content#CitationMetadata> (2026-11-26).

use serde_json::{Map, Value, json};

use crate::chat::{Citation, Content, Part};
use crate::dialect::gemini::object;
use crate::dialect::gemini::proto::{take, take_count, take_items, take_text};

/// What a candidate cites.
#[derive(Debug, Default)]
pub(in crate::dialect::gemini) struct Grounding {
    cited: Vec<Cited>,
    queries: u64,
}

/// A citation by Google's count.
#[derive(Debug)]
struct Cited {
    /// Index of Google's part; `None` counts over the whole text.
    part: Option<usize>,
    /// From and to, in bytes.
    bytes: Option<(usize, usize)>,
    citation: Citation,
}

impl Grounding {
    pub(super) fn take(candidate: &mut Value) -> Grounding {
        let mut grounding = Grounding::default();
        if let Some(metadata) = take(candidate, "groundingMetadata") {
            grounding.read_searches(metadata);
        }
        if let Some(mut metadata) = take(candidate, "citationMetadata") {
            // The Gemini API has another name for it than Vertex AI.
            for list in ["citationSources", "citations"] {
                let cited = take_items(&mut metadata, list);
                grounding.cited.extend(cited.into_iter().map(read_recited));
            }
        }
        grounding
    }

    fn read_searches(&mut self, mut metadata: Value) {
        let queries = take_items(&mut metadata, "webSearchQueries");
        // An empty query is not billed.
        self.queries =
            queries.iter().filter(|query| query.as_str().is_some_and(|query| !query.is_empty())).count() as u64;
        let chunks = take_items(&mut metadata, "groundingChunks").into_iter().map(read_chunk).collect::<Vec<_>>();
        for mut support in take_items(&mut metadata, "groundingSupports") {
            let mut segment = take(&mut support, "segment").unwrap_or_default();
            let part = take_count(&mut segment, "partIndex").and_then(|part| usize::try_from(part).ok());
            let bytes = span(&mut segment);
            for index in take_items(&mut support, "groundingChunkIndices") {
                let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
                let Some(citation) = index.and_then(|index| chunks.get(index)) else { continue };
                self.cited.push(Cited { part: Some(part.unwrap_or(0)), bytes, citation: citation.clone() });
            }
        }
    }

    /// Searches of the web that were made.
    pub(in crate::dialect::gemini) fn queries(&self) -> u64 {
        self.queries
    }

    pub(in crate::dialect::gemini) fn is_empty(&self) -> bool {
        self.cited.is_empty() && self.queries == 0
    }

    /// The citations of one text, all of them taken to be its own.
    pub(in crate::dialect::gemini) fn of_text(self, text: &str) -> Vec<Citation> {
        self.cited.into_iter().map(|cited| with_span(cited.citation, cited.bytes, text)).collect()
    }

    /// Puts each citation to the text it belongs to. `places` says where each of Google's parts ended up.
    pub(super) fn cite(self, parts: &mut [Part], places: &[usize]) {
        for Cited { part, bytes, citation } in self.cited {
            let place = part.and_then(|part| places.get(part).copied());
            let is_text = |place: &usize| matches!(parts.get(*place), Some(Part { content: Content::Text { .. }, .. }));
            // Those that name no part, or one of thoughts, mean the first text there is.
            let Some(place) = place.filter(is_text).or_else(|| (0..parts.len()).find(is_text)) else { return };
            if let Some(Part { content: Content::Text { text, citations }, .. }) = parts.get_mut(place) {
                citations.push(with_span(citation, bytes, text));
            }
        }
    }
}

fn read_chunk(mut chunk: Value) -> Citation {
    let mut of = |kind: &str| take(&mut chunk, kind);
    let mut source = of("web").or_else(|| of("retrievedContext")).or_else(|| of("maps")).unwrap_or_default();
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    Citation {
        url: text(take_text(&mut source, "uri")),
        title: text(take_text(&mut source, "title")),
        quote: text(take_text(&mut source, "text")),
        span: None,
        document: None,
    }
}

fn read_recited(mut cited: Value) -> Cited {
    let bytes = span(&mut cited);
    let citation = Citation {
        url: take_text(&mut cited, "uri"),
        title: take_text(&mut cited, "title"),
        quote: None,
        span: None,
        document: None,
    };
    Cited { part: None, bytes, citation }
}

/// From and to in bytes; a start of zero is left out.
fn span(segment: &mut Value) -> Option<(usize, usize)> {
    let mut at = |name: &str| take_count(segment, name).and_then(|at| usize::try_from(at).ok());
    let start = at("startIndex").unwrap_or(0);
    Some((start, at("endIndex")?)).filter(|(start, end)| start <= end)
}

fn with_span(mut citation: Citation, bytes: Option<(usize, usize)>, text: &str) -> Citation {
    citation.span = bytes.map(|(start, end)| (chars_before(text, start), chars_before(text, end)));
    citation
}

/// Characters that begin before the byte `end`.
fn chars_before(text: &str, end: usize) -> u64 {
    text.char_indices().take_while(|(at, _)| *at < end).count() as u64
}

/// Byte at which the character `index` begins; the end of the text if there are not as many.
fn byte_of(text: &str, index: u64) -> usize {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

/// Gathers citations for the `groundingMetadata` of a candidate.
#[derive(Debug, Default)]
pub(in crate::dialect::gemini) struct WrittenCitations {
    chunks: Vec<Value>,
    supports: Vec<Value>,
}

impl WrittenCitations {
    /// Adds what `text`, Google's part `part`, cites. Without a span, all of it does.
    pub(in crate::dialect::gemini) fn add(&mut self, part: usize, text: &str, citations: Vec<Citation>) {
        for Citation { url, title, quote, span, document } in citations {
            // Pages of the web have no words; what was sent along has.
            let kind = if quote.is_some() || document.is_some() { "retrievedContext" } else { "web" };
            let fields = [("uri", url), ("title", title), ("text", quote)];
            let told = fields.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
            self.chunks.push(object([(kind, Value::Object(told.collect()))]));
            let (start, end) = span.map_or((0, text.len()), |(start, end)| (byte_of(text, start), byte_of(text, end)));
            let mut segment = Map::new();
            if part > 0 {
                segment.insert("partIndex".to_owned(), part.into());
            }
            if start > 0 {
                segment.insert("startIndex".to_owned(), start.into());
            }
            segment.insert("endIndex".to_owned(), end.into());
            segment.insert("text".to_owned(), text.get(start..end).unwrap_or_default().into());
            self.supports.push(json!({"segment": segment, "groundingChunkIndices": [self.chunks.len() - 1]}));
        }
    }

    /// The metadata, if anything is cited.
    pub(in crate::dialect::gemini) fn into_metadata(self) -> Option<Value> {
        (!self.chunks.is_empty()).then(|| {
            object([("groundingChunks", Value::Array(self.chunks)), ("groundingSupports", Value::Array(self.supports))])
        })
    }
}

//! What a conversation needs of a model, by what stands in the request: pictures, sound, documents, a schema to answer by,
//! reasoning. Found by looking for the words of each format in the raw bytes, where they can only be structure: within a JSON
//! text a quotation mark has a backslash before it. It errs where a caller's own JSON Schema has the very same structure.

use memchr::memmem;
use tollgate_interaction::{Dialect, Operation};

use super::RequestHead;

/// Everything a request can need, in the order in which it is listed.
pub const CAPABILITIES: [&str; 7] = ["tools", "vision", "audio", "documents", "json_schema", "reasoning", "stream"];

/// What a request with this head and body needs of a model, of [`CAPABILITIES`] and in their order.
#[must_use]
pub fn needs(dialect: Dialect, operation: Operation, head: &RequestHead, body: &[u8]) -> Vec<&'static str> {
    let is_conversation = operation == Operation::Chat && !body.is_empty();
    let asks = |capability: &str| match capability {
        "tools" => head.tools,
        "stream" => head.stream,
        _ if !is_conversation => false,
        "vision" => has_pictures(dialect, body),
        "audio" => has_sound(dialect, body),
        "documents" => has_documents(dialect, body),
        "json_schema" => has_schema(dialect, body),
        _ => asks_to_reason(dialect, body),
    };
    CAPABILITIES.into_iter().filter(|capability| asks(capability)).collect()
}

fn has_pictures(dialect: Dialect, body: &[u8]) -> bool {
    match dialect {
        Dialect::Openai => has_type(body, b"\"image_url\""),
        Dialect::Responses => has_type(body, b"\"input_image\""),
        Dialect::Anthropic => has_type(body, b"\"image\""),
        Dialect::Gemini => has_media(body, b"\"image/"),
        Dialect::Bedrock => has_block(body, b"\"image\""),
    }
}

fn has_sound(dialect: Dialect, body: &[u8]) -> bool {
    match dialect {
        Dialect::Openai | Dialect::Responses => has_type(body, b"\"input_audio\""),
        Dialect::Gemini => has_media(body, b"\"audio/"),
        Dialect::Anthropic | Dialect::Bedrock => false,
    }
}

fn has_documents(dialect: Dialect, body: &[u8]) -> bool {
    match dialect {
        Dialect::Openai => has_type(body, b"\"file\""),
        Dialect::Responses => has_type(body, b"\"input_file\""),
        Dialect::Anthropic => has_type(body, b"\"document\""),
        Dialect::Gemini => has_media(body, b"\"application/pdf\""),
        Dialect::Bedrock => has_block(body, b"\"document\""),
    }
}

fn has_schema(dialect: Dialect, body: &[u8]) -> bool {
    match dialect {
        Dialect::Openai | Dialect::Responses | Dialect::Anthropic => has_type(body, b"\"json_schema\""),
        Dialect::Gemini => [&b"\"responseSchema\""[..], b"\"responseJsonSchema\"", b"\"response_schema\""]
            .iter()
            .any(|key| has_key(body, key)),
        Dialect::Bedrock => false,
    }
}

fn asks_to_reason(dialect: Dialect, body: &[u8]) -> bool {
    match dialect {
        Dialect::Openai => values(body, b"\"reasoning_effort\"").any(|value| !starts(value, b"\"none\"")),
        Dialect::Responses => values(body, b"\"reasoning\"").any(|value| value.first() == Some(&b'{')),
        Dialect::Anthropic => {
            let thinking = || values(body, b"\"thinking\"").filter(|value| value.first() == Some(&b'{'));
            thinking().any(|value| memmem::find(&value[..value.len().min(200)], b"\"disabled\"").is_none())
        }
        Dialect::Gemini => has_key(body, b"\"thinkingConfig\"") || has_key(body, b"\"thinking_config\""),
        Dialect::Bedrock => has_key(body, b"\"reasoning_config\"") || has_key(body, b"\"thinking\""),
    }
}

/// What stands behind `key` and its colon, wherever it is a key.
fn values<'a>(body: &'a [u8], key: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    memmem::find_iter(body, key).filter_map(move |at| {
        let behind = body.get(at + key.len()..)?.trim_ascii_start();
        Some(behind.strip_prefix(b":")?.trim_ascii_start())
    })
}

fn has_key(body: &[u8], key: &[u8]) -> bool {
    values(body, key).next().is_some()
}

/// Whether `"type": name` stands anywhere; `name` has its quotation marks.
fn has_type(body: &[u8], name: &[u8]) -> bool {
    memmem::find_iter(body, name).any(|at| {
        let before = body.get(..at).unwrap_or_default().trim_ascii_end();
        before.strip_suffix(b":").is_some_and(|before| before.trim_ascii_end().ends_with(b"\"type\""))
    })
}

/// Whether a block of Amazon's is of this kind: an object with a format or a source.
fn has_block(body: &[u8], key: &[u8]) -> bool {
    values(body, key).any(|value| {
        let inside = value.strip_prefix(b"{").unwrap_or_default().trim_ascii_start();
        [&b"\"format\""[..], b"\"source\"", b"\"name\""].iter().any(|field| inside.starts_with(field))
    })
}

/// Whether Google's `mimeType` begins like this anywhere.
fn has_media(body: &[u8], start: &[u8]) -> bool {
    let of = |key| values(body, key).any(|value| starts(value, start));
    of(b"\"mimeType\"") || of(b"\"mime_type\"")
}

fn starts(value: &[u8], start: &[u8]) -> bool {
    value.starts_with(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::parse_head;

    fn of(dialect: Dialect, fields: &str) -> Vec<&'static str> {
        let body = format!("{{\"model\":\"m\",{fields}}}");
        let head = parse_head(dialect, Operation::Chat, body.as_bytes()).unwrap();
        needs(dialect, Operation::Chat, &head, body.as_bytes())
    }

    #[test]
    fn a_plain_conversation_needs_nothing() {
        assert_eq!(of(Dialect::Openai, r#""messages":[{"role":"user","content":"hi"}]"#), [""; 0]);
    }

    #[test]
    fn pictures_are_seen_in_the_words_of_openai_and_anthropic() {
        let openai = r#""messages":[{"role":"user","content":[{"type" : "image_url","image_url":{"url":"data:"}}]}]"#;
        assert_eq!(of(Dialect::Openai, openai), ["vision"]);
        let anthropic = r#""max_tokens":9,"messages":[{"role":"user","content":[{"type":"image","source":{}},{"type":"document"}]}]"#;
        assert_eq!(of(Dialect::Anthropic, anthropic), ["vision", "documents"]);
    }

    #[test]
    fn what_a_caller_says_about_pictures_is_no_picture() {
        let quoted = r#""messages":[{"role":"user","content":"{\"type\":\"image_url\"}"}]"#;
        assert_eq!(of(Dialect::Openai, quoted), [""; 0]);
        let tool = r#""max_tokens":9,"messages":[],"tools":[{"name":"t","input_schema":{"type":"object","properties":{"image":{"type":"string"}}}}]"#;
        assert_eq!(of(Dialect::Anthropic, tool), ["tools"]);
    }

    #[test]
    fn streams_schemas_and_reasoning_are_listed_in_order() {
        let all = r#""stream":true,"reasoning_effort":"high","response_format":{"type":"json_schema"},"tools":[{"type":"function"}],"messages":[]"#;
        assert_eq!(of(Dialect::Openai, all), ["tools", "json_schema", "reasoning", "stream"]);
        assert_eq!(of(Dialect::Openai, r#""reasoning_effort":"none","messages":[]"#), [""; 0]);
        let thinking = r#""max_tokens":9,"thinking":{"type":"enabled","budget_tokens":1},"messages":[]"#;
        assert_eq!(of(Dialect::Anthropic, thinking), ["reasoning"]);
        assert_eq!(of(Dialect::Anthropic, r#""max_tokens":9,"thinking":{"type":"disabled"},"messages":[]"#), [""; 0]);
    }
}

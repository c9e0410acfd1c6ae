//! Whether what a caller sent is what it says it is, as far as a translation has to know: base64 that can be decoded, a
//! picture whose first bytes are those of its media type, a tool whose schema is one of an object. A caller of the
//! provider's own dialect is not checked: there it is the provider who judges.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::chat::{Content, Part, Request, Source, Tool};
use crate::dialect::RequestError;

/// Letters of base64 that hold the first twelve bytes: enough to tell every picture below.
const FIRST_LETTERS: usize = 16;

/// A kind of picture that every provider takes.
struct Picture {
    media_type: &'static str,
    /// Whether the first bytes are those of one.
    is_one: fn(&[u8]) -> bool,
    /// The refusal of what is none.
    expected: &'static str,
}

const PICTURES: [Picture; 4] = [
    Picture {
        media_type: "image/png",
        is_one: |bytes| bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        expected: "its bytes are no PNG image; send one, or state the media type it has",
    },
    Picture {
        media_type: "image/jpeg",
        is_one: |bytes| bytes.starts_with(b"\xff\xd8\xff"),
        expected: "its bytes are no JPEG image; send one, or state the media type it has",
    },
    Picture {
        media_type: "image/gif",
        is_one: |bytes| bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a"),
        expected: "its bytes are no GIF image; send one, or state the media type it has",
    },
    Picture {
        media_type: "image/webp",
        is_one: |bytes| bytes.starts_with(b"RIFF") && bytes.ends_with(b"WEBP"),
        expected: "its bytes are no WebP image; send one, or state the media type it has",
    },
];

/// Messages and their parts in one request. Each becomes some hundreds of bytes of ours, whatever it has of its own: of a
/// million of them, which fit into a body, nobody would wait for the end.
const MAX_PARTS: usize = 20_000;

/// Refuses a conversation of more messages and parts than anybody holds.
///
/// # Errors
/// [`RequestError::Malformed`] with the name of the member.
pub(super) fn check_length(body: &Value) -> Result<(), RequestError> {
    let length = |value: &Value| value.as_array().map_or(0, Vec::len);
    let parts =
        |message: &Value| 1 + message.as_object().map_or(0, |message| message.values().map(length).sum::<usize>());
    for member in ["messages", "input", "contents", "system", "tools"] {
        let members = body.get(member).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if members.iter().map(parts).sum::<usize>() > MAX_PARTS {
            let expected = "send at most 20000 messages and parts of messages to a provider of another format";
            return Err(RequestError::Malformed { field: member.to_owned(), expected });
        }
    }
    Ok(())
}

/// Checks everything in `request` that can be checked without asking a provider.
///
/// # Errors
/// [`RequestError::Malformed`] with the path of the part or tool.
pub(super) fn check(request: &Request) -> Result<(), RequestError> {
    let said = request.messages.iter().flat_map(|message| &message.parts);
    request.system.iter().chain(said).try_for_each(check_part)?;
    request.tools.iter().try_for_each(check_tool)
}

fn check_part(part: &Part) -> Result<(), RequestError> {
    let malformed = |expected| Err(RequestError::Malformed { field: part.at.clone(), expected });
    let source = match &part.content {
        Content::Image { source, .. } | Content::Document { source, .. } => source,
        Content::Audio(source) | Content::Video(source) => source,
        Content::ToolResult(result) => return result.parts.iter().try_for_each(check_part),
        _ => return Ok(()),
    };
    let Source::Base64 { media_type, base64 } = source else { return Ok(()) };
    if !is_base64(base64) {
        return malformed("its data is not standard base64; encode the bytes of the file");
    }
    let picture = PICTURES.iter().find(|picture| media_type.eq_ignore_ascii_case(picture.media_type));
    match picture {
        Some(picture) if !(picture.is_one)(&first_bytes(base64)) => malformed(picture.expected),
        _ => Ok(()),
    }
}

fn check_tool(tool: &Tool) -> Result<(), RequestError> {
    let kind = tool.parameters.get("type");
    let is_other = kind.and_then(Value::as_str).is_some_and(|kind| kind != "object");
    if tool.parameters.is_object() && !is_other {
        return Ok(());
    }
    let expected = "the schema of its parameters has to be a JSON object that describes an object";
    Err(RequestError::Malformed { field: tool.at.clone(), expected })
}

/// Whether `text` can be decoded; providers forgive padding that is left out.
fn is_base64(text: &str) -> bool {
    let letters = text.trim_end_matches('=');
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    !letters.is_empty()
        && letters.len() % 4 != 1
        && text.len() - letters.len() <= 2
        && letters.as_bytes().iter().all(|byte| is_letter(*byte))
}

fn first_bytes(base64: &str) -> Vec<u8> {
    let whole = base64.len().min(FIRST_LETTERS) / 4 * 4;
    // Checked to be base64 by now; what is shorter than four letters is no picture anyway.
    base64.get(..whole).and_then(|first| STANDARD.decode(first).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &str = "iVBORw0KGgoAAAANSUhEUg==";

    fn part(media_type: &str, base64: &str) -> Part {
        let source = Source::Base64 { media_type: media_type.to_owned(), base64: base64.to_owned() };
        Part::new(Content::Image { source, detail: None }, "messages[0].content[1]")
    }

    #[test]
    fn a_conversation_longer_than_anybody_holds_is_refused_before_it_is_read() {
        let turn =
            serde_json::json!({"role": "user", "content": vec![serde_json::json!({"type": "text", "text": "a"}); 9]});
        let of = |turns: usize| serde_json::json!({"model": "m", "messages": vec![turn.clone(); turns]});
        assert!(check_length(&of(2_000)).is_ok());
        let refused = check_length(&of(2_001));
        assert!(matches!(refused, Err(RequestError::Malformed { field, .. }) if field == "messages"));
    }

    #[test]
    fn a_picture_is_told_by_its_first_bytes() {
        let webp = STANDARD.encode(b"RIFF\x24\0\0\0WEBPVP8 ");
        let jpeg = STANDARD.encode(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01");
        let gif = STANDARD.encode(b"GIF89a\x01\0\x01\0\x80\0\0");
        for (media_type, base64) in [
            ("image/png", PNG),
            ("image/webp", &webp),
            ("image/jpeg", &jpeg),
            ("IMAGE/GIF", &gif),
            ("image/tiff", "SUkqAA=="),
        ] {
            assert_eq!(check_part(&part(media_type, base64)), Ok(()), "{media_type}");
        }
        for (media_type, base64) in
            [("image/jpeg", PNG), ("image/png", "aGVsbG8="), ("image/png", ""), ("image/png", "a!b?")]
        {
            let error = check_part(&part(media_type, base64)).unwrap_err();
            assert!(
                error.to_string().starts_with("`messages[0].content[1]` of the body is not valid; its "),
                "{error}"
            );
        }
    }

    #[test]
    fn base64_may_lack_its_padding_but_nothing_else() {
        assert!(["YQ==", "YQ", "YWI=", "YWJj", "+/+/"].into_iter().all(is_base64));
        assert!(["", "=", "Y", "YQ===", "Y=Q=", "Y Q=", "-_-_", "é"].into_iter().all(|text| !is_base64(text)));
    }

    #[test]
    fn a_schema_describes_an_object() {
        let tool = |parameters: Value| Tool {
            name: "look".to_owned(),
            description: None,
            parameters,
            strict: None,
            cache: None,
            at: "tools[0]".to_owned(),
        };
        for good in [serde_json::json!({"type": "object"}), serde_json::json!({})] {
            assert_eq!(check_tool(&tool(good)), Ok(()));
        }
        for bad in [serde_json::json!("object"), serde_json::json!([]), serde_json::json!({"type": "string"})] {
            assert!(check_tool(&tool(bad)).is_err());
        }
    }
}

//! Pictures, sound, moving pictures and documents in requests: `inlineData` holds them, `fileData` says where they are, and
//! the media type says which they are.
//! Sources: <https://ai.google.dev/api/caching#Part>, <https://ai.google.dev/gemini-api/docs/media-resolution>
//! (2026-11-26).

use serde_json::{Map, Value};
use tollgate_interaction::Dialect;

use crate::chat::{Content, Part, Request, Said, Source};
use crate::dialect::RequestError;
use crate::dialect::gemini::proto::Proto;
use crate::dialect::gemini::{bytes, object};
use crate::translate::{Losses, Unsupported};

/// Where Google's own file store keeps what callers upload.
const FILE_STORE: &str = "generativelanguage.googleapis.com/";
/// Media types by the end of an address, for dialects that do not tell them. Google wants to be told.
const BY_EXTENSION: [(&str, &str); 18] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("bmp", "image/bmp"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("webm", "video/webm"),
];

/// Takes `inlineData` or `fileData` out of a part.
pub(super) fn take(part: &mut Proto, request: &mut Request) -> Result<Option<Content>, RequestError> {
    let (source, name, media_type) = if let Some(mut data) = part.message("inlineData")? {
        let media_type = data.text("mimeType")?.map(|said| said.value).unwrap_or_default();
        let base64 = data.text("data")?.map(|said| bytes::standard(said.value)).unwrap_or_default();
        let name = data.text("displayName")?.map(|said| said.value);
        request.others.extend(data.rest());
        (Source::Base64 { media_type: media_type.clone(), base64 }, name, Some(media_type))
    } else if let Some(mut file) = part.message("fileData")? {
        let url = file.text("fileUri")?.map(|said| said.value).unwrap_or_default();
        let media_type = file.text("mimeType")?.map(|said| said.value);
        let name = file.text("displayName")?.map(|said| said.value);
        request.others.extend(file.rest());
        let known = media_type.clone().or_else(|| guessed(&url).map(str::to_owned));
        (located(url, media_type), name, known)
    } else {
        return Ok(None);
    };
    let detail = take_detail(part, request)?;
    Ok(Some(content(source, name, media_type.as_deref().unwrap_or_default(), detail)))
}

fn located(url: String, media_type: Option<String>) -> Source {
    if url.starts_with("files/") || url.contains(FILE_STORE) {
        return Source::File { dialect: Dialect::Gemini, id: url };
    }
    Source::Url { url, media_type }
}

fn content(source: Source, name: Option<String>, media_type: &str, detail: Option<String>) -> Content {
    let is_video_page = matches!(&source, Source::Url { url, .. } if is_video_page(url));
    match media_type.split('/').next() {
        Some("image") => Content::Image { source, detail },
        Some("audio") => Content::Audio(source),
        Some("video") => Content::Video(source),
        _ if is_video_page => Content::Video(source),
        _ => {
            let source = match source {
                Source::Base64 { media_type, base64 } if media_type == "text/plain" => {
                    bytes::decoded_text(&base64).map_or(Source::Base64 { media_type, base64 }, Source::Text)
                }
                source => source,
            };
            Content::Document { source, name, context: None, citations: false }
        }
    }
}

/// Google watches these without being told what they are.
fn is_video_page(url: &str) -> bool {
    ["https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/"].iter().any(|site| url.starts_with(site))
}

fn take_detail(part: &mut Proto, request: &mut Request) -> Result<Option<String>, RequestError> {
    let Some(mut resolution) = part.message("mediaResolution")? else { return Ok(None) };
    let level = resolution.text("level")?;
    request.others.extend(resolution.rest());
    let Some(Said { value, at }) = level else { return Ok(None) };
    match value.as_str() {
        "MEDIA_RESOLUTION_LOW" => Ok(Some("low".to_owned())),
        "MEDIA_RESOLUTION_HIGH" => Ok(Some("high".to_owned())),
        "MEDIA_RESOLUTION_UNSPECIFIED" => Ok(None),
        _ => {
            request.others.push(Said::new(value.into(), at));
            Ok(None)
        }
    }
}

fn guessed(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let (_, extension) = path.rsplit_once('.')?;
    BY_EXTENSION.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known)).map(|(_, media_type)| *media_type)
}

/// The part's `inlineData` or `fileData`; `None` if it was lost.
pub(super) fn write(
    source: Source,
    name: Option<String>,
    at: &str,
    losses: &mut Losses,
) -> Result<Option<(&'static str, Value)>, Unsupported> {
    let named = |mut fields: Map<String, Value>| {
        if let Some(name) = name {
            fields.insert("displayName".to_owned(), name.into());
        }
        Value::Object(fields)
    };
    let inline = |media_type: String, base64: String| {
        Map::from_iter([("mimeType".to_owned(), media_type.into()), ("data".to_owned(), base64.into())])
    };
    match source {
        Source::Base64 { media_type, base64 } => Ok(Some(("inlineData", named(inline(media_type, base64))))),
        Source::Text(text) => {
            let base64 = bytes::encoded(text.as_bytes());
            Ok(Some(("inlineData", named(inline("text/plain".to_owned(), base64)))))
        }
        Source::Url { url, .. } if url.starts_with("s3:") => {
            losses.lose(at, "an address in Amazon's store")?;
            Ok(None)
        }
        Source::Url { url, media_type } => {
            let media_type = media_type.or_else(|| guessed(&url).map(str::to_owned));
            let mut fields = Map::new();
            if let Some(media_type) = media_type {
                fields.insert("mimeType".to_owned(), media_type.into());
            }
            fields.insert("fileUri".to_owned(), url.into());
            Ok(Some(("fileData", named(fields))))
        }
        Source::File { dialect: Dialect::Gemini, id } => {
            Ok(Some(("fileData", named(Map::from_iter([("fileUri".to_owned(), id.into())])))))
        }
        Source::File { .. } => {
            losses.lose(at, "a file uploaded to another provider")?;
            Ok(None)
        }
    }
}

/// A part that holds a picture, sound, moving picture or document; `None` if it was lost.
pub(super) fn write_part(
    part: Part,
    third_generation: bool,
    losses: &mut Losses,
) -> Result<Option<Value>, Unsupported> {
    let Part { content, at, .. } = part;
    let mut resolution = None;
    let written = match content {
        Content::Image { source, detail } => {
            resolution = match detail.as_deref() {
                Some("low") => Some("MEDIA_RESOLUTION_LOW"),
                Some("high") => Some("MEDIA_RESOLUTION_HIGH"),
                Some("auto") | None => None,
                Some(other) => {
                    losses.lose_beside(&at, format!("the detail `{other}`"))?;
                    None
                }
            };
            if resolution.is_some() && !third_generation {
                losses.lose_beside(&at, "a picture's detail, which only Gemini 3 can be told")?;
                resolution = None;
            }
            write(source, None, &at, losses)?
        }
        Content::Audio(source) | Content::Video(source) => write(source, None, &at, losses)?,
        Content::Document { source, name, context, citations } => {
            if context.is_some() {
                losses.lose_beside(&at, "the context of a document")?;
            }
            if citations {
                losses.lose_beside(&at, "citations of a document")?;
            }
            write(source, name, &at, losses)?
        }
        Content::Text { .. }
        | Content::Refusal(_)
        | Content::ToolCall(_)
        | Content::ToolResult(_)
        | Content::Thinking { .. }
        | Content::Redacted(_)
        | Content::CustomCall(_)
        | Content::Native { .. } => {
            losses.lose(&at, content.described())?;
            None
        }
    };
    Ok(written.map(|(name, value)| match resolution {
        Some(level) => object([(name, value), ("mediaResolution", object([("level", level.into())]))]),
        None => object([(name, value)]),
    }))
}

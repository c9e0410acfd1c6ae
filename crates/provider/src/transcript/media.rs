//! What is not text, in words: `[image: image/png, 12.3 kB, detail high]`, `[document at files.example]`. Only what the part
//! says of itself is told. Nothing is fetched, nothing is decoded, and of an address no more than the host is named: the rest of
//! it may be a secret.

use super::{either, text};
use crate::scan::Tree;

/// A part of a message in one of the shapes of OpenAI or Anthropic; `None` if it holds no media.
pub(super) fn part(kind: &str, part: &Tree<'_>) -> Option<String> {
    let inner = |name: &str| part.get(name);
    Some(match kind {
        "image_url" | "input_image" => {
            // Chat Completions nests what Responses does not.
            let image = inner("image_url").filter(|image| image.text().is_none()).unwrap_or(part);
            let url = ["url", "image_url"].into_iter().find_map(|name| image.get(name)?.text());
            let mut media = Media::of("image");
            media.url(url.as_deref().unwrap_or_default());
            media.file_id(part);
            media.fact("detail ", &text(image, "detail"));
            media.words()
        }
        "input_audio" => {
            let audio = inner("input_audio").unwrap_or(part);
            let mut media = Media::of("audio");
            media.fact("", &text(audio, "format"));
            media.base64(&text(audio, "data"));
            media.words()
        }
        "file" | "input_file" => {
            let file = inner("file").unwrap_or(part);
            let mut media = Media::of("file");
            media.fact("", &text(file, "filename"));
            media.url(&text(file, "file_data"));
            media.url(&text(file, "file_url"));
            media.file_id(file);
            media.words()
        }
        "image" | "document" => {
            let source = inner("source")?;
            let mut media = Media::of(if kind == "image" { "image" } else { "document" });
            media.fact("", &text(part, "title"));
            media.fact("", &text(source, "media_type"));
            media.base64(&text(source, "data"));
            media.url(&text(source, "url"));
            media.file_id(source);
            media.words()
        }
        "image_generation_call" => {
            let mut media = Media::of("image");
            media.fact("", &text(part, "output_format"));
            media.base64(&text(part, "result"));
            media.words()
        }
        _ => return None,
    })
}

/// A part of one of Gemini's contents; `None` if it holds no media.
pub(super) fn gemini(part: &Tree<'_>) -> Option<String> {
    let mut found = None;
    for (camel, snake) in [("inlineData", "inline_data"), ("fileData", "file_data")] {
        let Some(data) = either(part, camel, snake) else { continue };
        let media_type = either(data, "mimeType", "mime_type").and_then(Tree::text).unwrap_or_default();
        let mut media = Media::of(noun(&media_type));
        media.fact("", &media_type);
        media.base64(&text(data, "data"));
        media.url(&either(data, "fileUri", "file_uri").and_then(Tree::text).unwrap_or_default());
        found = Some(media.words());
    }
    found
}

/// A block of Bedrock's that is named by its field; `None` if it holds no media.
pub(super) fn block(block: &Tree<'_>) -> Option<String> {
    let names = ["image", "document", "video", "audio"];
    let (name, inner) = names.into_iter().find_map(|name| Some((name, block.get(name)?)))?;
    let mut media = Media::of(name);
    media.fact("", &text(inner, "name"));
    media.fact("", &text(inner, "format"));
    if let Some(source) = inner.get("source") {
        media.base64(&text(source, "bytes"));
        media.url(&source.get("s3Location").map(|place| text(place, "uri")).unwrap_or_default());
    }
    Some(media.words())
}

/// What a thing of this media type is called.
fn noun(media_type: &str) -> &'static str {
    match media_type.split('/').next() {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        _ => "document",
    }
}

struct Media {
    noun: &'static str,
    facts: Vec<String>,
    host: Option<String>,
}

impl Media {
    fn of(noun: &'static str) -> Media {
        Media { noun, facts: Vec::new(), host: None }
    }

    /// A short text that the part says of itself; what is longer is cut, and line breaks would look like another part.
    fn fact(&mut self, before: &str, fact: &str) {
        const MAX_CHARS: usize = 80;
        let plain: String = fact.chars().filter(|letter| !letter.is_control()).take(MAX_CHARS).collect();
        if !plain.is_empty() {
            self.facts.push(format!("{before}{plain}"));
        }
    }

    fn base64(&mut self, data: &str) {
        if let Some(size_bytes) = decoded_bytes(data) {
            self.facts.push(bytes(size_bytes));
        }
    }

    /// An address, or the thing itself as a `data:` URL.
    fn url(&mut self, url: &str) {
        if let Some(data) = url.strip_prefix("data:") {
            let (head, body) = data.split_once(',').unwrap_or((data, ""));
            let (media_type, is_base64) = match head.strip_suffix(";base64") {
                Some(media_type) => (media_type, true),
                None => (head, false),
            };
            self.fact("", media_type);
            match is_base64 {
                true => self.base64(body),
                false if !body.is_empty() => self.facts.push(bytes(body.len() as u64)),
                false => {}
            }
        } else if let Some((scheme, rest)) = url.split_once("://") {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host: String = authority.rsplit('@').next().unwrap_or_default().chars().take(255).collect();
            let host = host.replace(char::is_control, "");
            self.host = Some(if matches!(scheme, "http" | "https") { host } else { format!("{scheme}://{host}") });
        } else if let Some(size_bytes) = decoded_bytes(url) {
            // Some send the bare base64.
            self.facts.push(bytes(size_bytes));
        }
    }

    fn file_id(&mut self, holder: &Tree<'_>) {
        self.fact("file ", &text(holder, "file_id"));
    }

    fn words(self) -> String {
        let Media { noun, facts, host } = self;
        let facts = facts.join(", ");
        match (host.filter(|host| !host.is_empty()), facts.is_empty()) {
            (Some(host), true) => format!("[{noun} at {host}]"),
            (Some(host), false) => format!("[{noun} at {host}: {facts}]"),
            (None, true) => format!("[{noun}]"),
            (None, false) => format!("[{noun}: {facts}]"),
        }
    }
}

/// Bytes that a base64 text stands for; `None` of an empty one.
fn decoded_bytes(base64: &str) -> Option<u64> {
    let digits = base64.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').count() as u64;
    (digits > 0).then_some(digits * 3 / 4)
}

/// A size in decimal units, at three digits.
fn bytes(size_bytes: u64) -> String {
    let (unit, name) = match size_bytes {
        0..1_000 => return format!("{size_bytes} B"),
        1_000..1_000_000 => (1_000, "kB"),
        _ => (1_000_000, "MB"),
    };
    let (whole, tenth) = (size_bytes / unit, size_bytes % unit * 10 / unit);
    if whole >= 100 || tenth == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenth} {name}") }
}

#[cfg(test)]
mod tests {
    use super::super::messages;

    /// What the only message of the user reads as.
    fn said(request: &str) -> String {
        messages(request.as_bytes(), b"").into_iter().map(|message| message.content).collect::<Vec<_>>().join("|")
    }

    fn chat(part: &str) -> String {
        said(&format!(r#"{{"messages":[{{"role":"user","content":[{part}]}}]}}"#))
    }

    #[test]
    fn a_picture_is_told_by_its_type_its_size_and_its_detail() {
        let part = r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo=","detail":"high"}}"#;
        assert_eq!(chat(part), "[image: image/png, 8 B, detail high]");
        let responses = said(
            r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/jpeg;base64,AAAA","detail":"low"},
               {"type":"input_image","file_id":"file-7"}]}]}"#,
        );
        assert_eq!(responses, "[image: image/jpeg, 3 B, detail low]\n[image: file file-7]");
        let long = "A".repeat(16_400);
        let anthropic =
            format!(r#"{{"type":"image","source":{{"type":"base64","media_type":"image/webp","data":"{long}"}}}}"#);
        assert_eq!(chat(&anthropic), "[image: image/webp, 12.3 kB]");
    }

    #[test]
    fn of_an_address_no_more_than_the_host_is_told() {
        let part = r#"{"type":"image_url","image_url":{"url":"https://me:pw@pics.example:8443/a/b.png?sig=secret#x"}}"#;
        assert_eq!(chat(part), "[image at pics.example:8443]");
        let anthropic =
            r#"{"type":"document","title":"Offer","source":{"type":"url","url":"https://files.example/o.pdf"}}"#;
        assert_eq!(chat(anthropic), "[document at files.example: Offer]");
    }

    #[test]
    fn gemini_and_bedrock_say_it_in_their_own_words() {
        let gemini = said(
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"audio/wav","data":"AAAAAAAA"}},
               {"file_data":{"mime_type":"application/pdf","file_uri":"gs://bucket/a.pdf"}}]}]}"#,
        );
        assert_eq!(gemini, "[audio: audio/wav, 6 B]\n[document at gs://bucket: application/pdf]");
        let bedrock = chat(
            r#"{"image":{"format":"png","source":{"bytes":"AAAA"}}},{"document":{"name":"a","format":"pdf",
               "source":{"s3Location":{"uri":"s3://bucket/a.pdf"}}}}"#,
        );
        assert_eq!(bedrock, "[image: png, 3 B]\n[document at s3://bucket: a, pdf]");
    }

    #[test]
    fn sound_files_and_what_says_nothing_of_itself_are_named() {
        let audio = r#"{"type":"input_audio","input_audio":{"data":"AAAA","format":"mp3"}}"#;
        assert_eq!(chat(audio), "[audio: mp3, 3 B]");
        let file = r#"{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"}}"#;
        assert_eq!(chat(file), "[file: a.pdf, application/pdf, 3 B]");
        assert_eq!(chat(r#"{"type":"image_url","image_url":{"url":"data:"}}"#), "[image]");
        assert_eq!(chat(r#"{"type":"container_upload","file_id":"f"}"#), "[container_upload]");
    }
}

//! Pictures: a small square of one colour, which the words decide. A picture all the same: any viewer shows it.
//! Sources: <https://platform.openai.com/docs/api-reference/images>, <https://www.w3.org/TR/png-3/> (2026-11-26).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::perform::Stage;
use super::prose::mix;
use super::{MAX_CHOICES, SandboxReply, estimate_tokens};
use crate::dialect::form_texts;

/// Pixels of a side.
const SIDE: u8 = 16;
/// Tokens that OpenAI counts for a square of medium quality.
const TOKENS_PER_PICTURE: u64 = 1_056;
/// Tokens it counts for a picture that is shown to the model.
const TOKENS_PER_PICTURE_SEEN: u64 = 323;

pub(super) fn pictures(stage: &Stage<'_>) -> SandboxReply {
    let form = form_texts(stage.sent.content_type, stage.sent.body);
    let prompt = form.iter().find(|(name, _)| name == "prompt").map_or(stage.text("prompt"), |(_, prompt)| prompt);
    let is_seen = stage.sent.method != "images/generations";
    if prompt.is_empty() && !stage.sent.method.ends_with("variations") {
        return stage.refuse("`prompt` must say what the picture is to show");
    }
    let count = stage.head.choices.min(MAX_CHOICES);
    let texts = estimate_tokens(prompt);
    let seen = if is_seen { TOKENS_PER_PICTURE_SEEN } else { 0 };
    let drawn = TOKENS_PER_PICTURE * count;
    let usage = json!({
        "input_tokens": texts + seen,
        "input_tokens_details": { "text_tokens": texts, "image_tokens": seen },
        "output_tokens": drawn,
        "output_tokens_details": { "text_tokens": 0, "image_tokens": drawn },
        "total_tokens": texts + seen + drawn,
    });
    let pictures: Vec<String> =
        (0..count).map(|index| STANDARD.encode(png(mix(stage.key.wrapping_add(index))))).collect();
    if stage.head.stream {
        let kind = if is_seen { "image_edit" } else { "image_generation" };
        let event = |end: &str, picture: &String| {
            json!({
                "type": format!("{kind}.{end}"),
                "b64_json": picture,
                "created_at": stage.script.created_at_s,
                "size": "1024x1024",
                "quality": "medium",
                "background": "opaque",
                "output_format": "png",
            })
        };
        let Some(picture) = pictures.first() else { return stage.events(&[]) };
        let mut first = event("partial_image", picture);
        let mut last = event("completed", picture);
        first["partial_image_index"] = 0.into();
        last["usage"] = usage;
        return stage.events(&[first, last]);
    }
    let data: Vec<Value> = pictures.into_iter().map(|picture| json!({ "b64_json": picture })).collect();
    stage.whole(&json!({ "created": stage.script.created_at_s, "data": data, "output_format": "png", "usage": usage }))
}

/// A square of the colour that `seed` means.
fn png(seed: u64) -> Vec<u8> {
    let [red, green, blue, ..] = seed.to_le_bytes();
    let mut rows = Vec::new();
    for _ in 0..SIDE {
        // No filter.
        rows.push(0);
        rows.extend((0..SIDE).flat_map(|_| [red, green, blue]));
    }
    let length = u16::try_from(rows.len()).unwrap_or(u16::MAX).to_le_bytes();
    // A block that is the last one and not compressed, in the wrapping of zlib.
    let mut packed = vec![0x78, 0x01, 0x01, length[0], length[1], !length[0], !length[1]];
    packed.extend_from_slice(&rows);
    packed.extend_from_slice(&adler32(&rows).to_be_bytes());
    let size = u32::from(SIDE).to_be_bytes();
    // Eight bits for each of three colours.
    let header = [size.as_slice(), &size, &[8, 2, 0, 0, 0]].concat();
    let mut picture = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header.as_slice()), (b"IDAT", &packed), (b"IEND", &[])] {
        let named = [kind.as_slice(), data].concat();
        picture.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
        picture.extend_from_slice(&named);
        picture.extend_from_slice(&crc32fast::hash(&named).to_be_bytes());
    }
    picture
}

/// The checksum of zlib (RFC 1950 §8.2).
fn adler32(bytes: &[u8]) -> u32 {
    let add = |(low, high): (u32, u32), byte: &u8| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    };
    let (low, high) = bytes.iter().fold((1, 0), add);
    (high << 16) | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
        assert!(png(7).starts_with(b"\x89PNG") && png(7) != png(8));
    }
}

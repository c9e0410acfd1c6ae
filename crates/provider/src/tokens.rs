//! How many tokens a call had whose provider did not say: counted with the vocabulary of the model where it is known, and
//! roughly otherwise. An estimate may be wrong by a few per cent and is always recorded as one. It does a bounded amount of
//! work, whatever the length of the bodies.

mod vocabulary;

use crate::scan::Tree;
use crate::transcript;

pub use vocabulary::Vocabulary;

/// Characters of text that make one token, roughly, as in English.
const CHARS_PER_TOKEN: u64 = 4;
/// What stands around each message in the form a model reads, and before its answer. As OpenAI counts it for its chat
/// models: <https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken> (2026-11-26).
const TOKENS_AROUND_MESSAGE: u64 = 3;
const TOKENS_BEFORE_ANSWER: u64 = 3;
/// Bodies longer than this are not taken apart: their rough count will do.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Text that is counted at most; of more, samples are.
const MAX_COUNTED_BYTES: usize = 256 * 1024;
/// Length of a sample.
const SAMPLE_BYTES: usize = 4 * 1024;

/// Tokens that a call had, as far as its bytes tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Read by the model.
    pub input_tokens: u64,
    /// Written by it.
    pub output_tokens: u64,
}

/// Tokens in `chars` characters of text in an unknown vocabulary.
#[must_use]
pub fn of_chars(chars: u64) -> u64 {
    chars.div_ceil(CHARS_PER_TOKEN)
}

impl Estimate {
    /// Counts both bodies of a call in `vocabulary`. What cannot be read as a conversation keeps the count of `rough`.
    ///
    /// Instructions, messages, calls of tools and their definitions are counted; pictures and sound are not, since their
    /// tokens are not in any text.
    #[must_use]
    pub fn counted(vocabulary: Vocabulary, request: &[u8], response: &[u8], rough: Estimate) -> Estimate {
        Estimate {
            input_tokens: input_tokens(vocabulary, request).unwrap_or(rough.input_tokens),
            output_tokens: output_tokens(vocabulary, response).unwrap_or(rough.output_tokens),
        }
    }
}

fn input_tokens(vocabulary: Vocabulary, request: &[u8]) -> Option<u64> {
    if request.len() > MAX_BODY_BYTES {
        return None;
    }
    let messages = transcript::messages(request, b"");
    if messages.is_empty() {
        return None;
    }
    let around = TOKENS_BEFORE_ANSWER + TOKENS_AROUND_MESSAGE * messages.len() as u64;
    let tools = Tree::read(request).ok()?.get("tools").map(|tools| tools.raw().into_owned());
    let texts: Vec<&str> = messages.iter().map(|message| message.content.as_str()).chain(tools.as_deref()).collect();
    Some(around + count(vocabulary, &texts))
}

fn output_tokens(vocabulary: Vocabulary, response: &[u8]) -> Option<u64> {
    if response.len() > MAX_BODY_BYTES {
        return None;
    }
    let messages = transcript::messages(b"", response);
    let texts: Vec<&str> = messages.iter().map(|message| message.content.as_str()).collect();
    (!texts.is_empty()).then(|| count(vocabulary, &texts))
}

/// Tokens of all `texts`, each on its own. Of more than [`MAX_COUNTED_BYTES`], samples spread over all of them are
/// counted and stand for the rest.
fn count(vocabulary: Vocabulary, texts: &[&str]) -> u64 {
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    if bytes <= MAX_COUNTED_BYTES {
        return texts.iter().map(|text| vocabulary.count(text)).sum();
    }
    let (mut counted, mut seen, mut offset) = (0, 0, 0_usize);
    // A sample at each multiple of this in the texts put end to end.
    let stride = bytes.div_ceil(MAX_COUNTED_BYTES / SAMPLE_BYTES);
    for text in texts {
        let first = offset.next_multiple_of(stride) - offset;
        for start in (first..text.len()).step_by(stride) {
            // A short text is taken whole: half of one would have more tokens than half of them.
            let start = if text.len() <= SAMPLE_BYTES { 0 } else { start };
            let (start, end) = (text.floor_char_boundary(start), text.floor_char_boundary(start + SAMPLE_BYTES));
            let sample = text.get(start..end).unwrap_or_default();
            counted += vocabulary.count(sample);
            seen += sample.len();
        }
        offset += text.len();
    }
    scaled(counted, bytes, seen)
}

/// `counted` tokens in `seen` bytes, for `bytes` of them.
fn scaled(counted: u64, bytes: usize, seen: usize) -> u64 {
    let scaled = u128::from(counted) * bytes as u128 / seen.max(1) as u128;
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUGH: Estimate = Estimate { input_tokens: 1_001, output_tokens: 1_002 };

    #[test]
    fn both_bodies_are_counted_with_what_stands_around_messages() {
        let request = br#"{"model":"gpt-4o","messages":[{"role":"system","content":"hello world"},{"role":"user","content":"2 + 2 = 4"}]}"#;
        let response = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"tiktoken is\"}}]}\n\n\
            data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" great!\"}}]}\n\ndata: {\"cho";
        let counted = Estimate::counted(Vocabulary::O200k, request, response, ROUGH);
        assert_eq!(counted, Estimate { input_tokens: 2 + 7 + 2 * 3 + 3, output_tokens: 6 });
        let tools = br#"{"messages":[{"role":"user","content":"hello world"}],"tools":[{"type":"function"}]}"#;
        let tools = Estimate::counted(Vocabulary::O200k, tools, b"", ROUGH);
        assert_eq!(tools.input_tokens, 2 + 3 + 3 + Vocabulary::O200k.count(r#"[{"type":"function"}]"#));
    }

    #[test]
    fn what_cannot_be_read_keeps_its_rough_count() {
        for body in [&b""[..], b"{\"messages\":[{\"role\":\"us", &[b' '; MAX_BODY_BYTES + 1]] {
            assert_eq!(Estimate::counted(Vocabulary::Cl100k, body, body, ROUGH), ROUGH);
        }
    }

    #[test]
    fn samples_stand_for_a_long_conversation_however_it_is_divided() {
        let sentence = "The auditors ask for evidence of who approved what, and when. Zwölf Prüfer fragen danach. ";
        for (length, texts) in [(12_000, 1), (500, 24), (1, 12_000)] {
            let text = sentence.repeat(length);
            let texts = vec![text.as_str(); texts];
            assert!(text.len() * texts.len() > 4 * MAX_COUNTED_BYTES);
            let some = length.min(100);
            let each = Vocabulary::O200k.count(&sentence.repeat(some)) as f64 / some as f64;
            let estimated = count(Vocabulary::O200k, &texts) as f64;
            let exact = each * (length * texts.len()) as f64;
            assert!((estimated / exact - 1.0).abs() < 0.02, "{length} × {}: {estimated} of {exact}", texts.len());
        }
    }
}

//! Speech and what is heard in it: as long as the words would take, and silent; transcripts are prose about nothing that
//! was said.
//! Sources: <https://platform.openai.com/docs/api-reference/audio> (2026-11-26).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_interaction::Operation;

use super::ask::Ask;
use super::perform::Stage;
use super::{SandboxReply, estimate_tokens, prose};
use crate::dialect::form_texts;

/// Samples in a second of OpenAI's `pcm` and `wav`, of two bytes each.
const SAMPLES_PER_SECOND: usize = 24_000;
/// A frame of MPEG-1 layer III at 128 kbit/s and 44.1 kHz, all zeros but its header: 26 ms of silence.
const MP3_FRAME_BYTES: usize = 417;
const MP3_HEADER: [u8; 4] = [0xFF, 0xFB, 0x90, 0x00];
const MP3_FRAMES_PER_TOKEN: usize = 12;
/// Most tokens that are spoken.
const MAX_TOKENS: u64 = 400;
/// Tokens OpenAI counts for what a token of text sounds like.
const AUDIO_TOKENS_PER_TOKEN: u64 = 6;
/// Bytes of an upload that pass for a token of sound.
const BYTES_PER_AUDIO_TOKEN: u64 = 1_600;
/// Tokens of a transcript.
const TRANSCRIPT_TOKENS: u64 = 24;

pub(super) fn speech(stage: &Stage<'_>) -> SandboxReply {
    let spoken = estimate_tokens(stage.text("input")).clamp(1, MAX_TOKENS);
    let tokens = usize::try_from(spoken).unwrap_or(1);
    let format = if stage.text("response_format").is_empty() { "mp3" } else { stage.text("response_format") };
    let silence = vec![0; SAMPLES_PER_SECOND * 2 * MP3_FRAMES_PER_TOKEN * 26 / 1_000];
    let (kind, mut pieces): (_, Vec<Vec<u8>>) = match format {
        "mp3" => {
            let mut frame = vec![0; MP3_FRAME_BYTES];
            frame[..MP3_HEADER.len()].copy_from_slice(&MP3_HEADER);
            ("audio/mpeg", vec![frame.repeat(MP3_FRAMES_PER_TOKEN); tokens])
        }
        "pcm" => ("audio/pcm", vec![silence; tokens]),
        "wav" => ("audio/wav", vec![silence; tokens]),
        _ => return stage.refuse("the sandbox speaks `mp3`, `wav` and `pcm`; choose one as `response_format`"),
    };
    if format == "wav" {
        let bytes: usize = pieces.iter().map(Vec::len).sum();
        pieces.insert(0, wav_header(u32::try_from(bytes).unwrap_or(u32::MAX)));
    }
    if !stage.head.stream {
        return stage.pieces(kind, pieces);
    }
    let delta = |piece: Vec<u8>| json!({ "type": "speech.audio.delta", "audio": STANDARD.encode(piece) });
    let (heard, said) = (spoken, spoken * AUDIO_TOKENS_PER_TOKEN);
    let usage = json!({ "input_tokens": heard, "output_tokens": said, "total_tokens": heard + said });
    let last = json!({ "type": "speech.audio.done", "usage": usage });
    let events: Vec<Value> = pieces.into_iter().map(delta).chain([last]).collect();
    stage.events(&events)
}

/// The header of a WAVE file of one channel (<http://soundfile.sapp.org/doc/WaveFormat/>).
fn wav_header(data_bytes: u32) -> Vec<u8> {
    const FORMAT_BYTES: u32 = 16;
    let rate = u32::try_from(SAMPLES_PER_SECOND).unwrap_or(u32::MAX);
    let mut header = b"RIFF".to_vec();
    header.extend_from_slice(&data_bytes.saturating_add(36).to_le_bytes());
    header.extend_from_slice(b"WAVEfmt ");
    header.extend_from_slice(&FORMAT_BYTES.to_le_bytes());
    header.extend_from_slice(&[1, 0, 1, 0]);
    header.extend_from_slice(&rate.to_le_bytes());
    header.extend_from_slice(&(rate * 2).to_le_bytes());
    header.extend_from_slice(&[2, 0, 16, 0]);
    header.extend_from_slice(b"data");
    header.extend_from_slice(&data_bytes.to_le_bytes());
    header
}

pub(super) fn transcript(stage: &Stage<'_>) -> SandboxReply {
    let form = form_texts(stage.sent.content_type, stage.sent.body);
    let said = |name: &str| form.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.as_str());
    let ask = Ask::read(stage.sent.operation, stage.head.clone(), b"{}");
    let tokens = prose::tokens(&ask, stage.key, TRANSCRIPT_TOKENS);
    let text = tokens.concat();
    let heard = (stage.sent.body.len() as u64).div_ceil(BYTES_PER_AUDIO_TOKEN);
    let seconds = heard.div_ceil(10);
    let written = tokens.len() as u64;
    let usage = json!({
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": { "text_tokens": 0, "audio_tokens": heard },
        "output_tokens": written,
        "total_tokens": heard + written,
    });
    if stage.head.stream {
        let delta = |token: &String| json!({ "type": "transcript.text.delta", "delta": token });
        let last = json!({ "type": "transcript.text.done", "text": text, "usage": usage });
        let events: Vec<Value> = tokens.iter().map(delta).chain([last]).collect();
        return stage.events(&events);
    }
    let plain = |text: String| stage.pieces("text/plain; charset=utf-8", vec![text.into_bytes()]);
    match said("response_format") {
        "" | "json" if stage.sent.operation == Operation::Translation => stage.whole(&json!({ "text": text })),
        "" | "json" => stage.whole(&json!({ "text": text, "usage": usage })),
        "verbose_json" => {
            let usage = json!({ "type": "duration", "seconds": seconds });
            let segment = json!({ "id": 0, "start": 0.0, "end": seconds, "text": text });
            let task = if stage.sent.operation == Operation::Translation { "translate" } else { "transcribe" };
            let segments = json!([segment]);
            stage.whole(&json!({
                "task": task, "language": "english", "duration": seconds, "text": text, "segments": segments, "usage": usage
            }))
        }
        "text" => plain(format!("{text}\n")),
        "srt" => plain(format!("1\n00:00:00,000 --> 00:00:{:02},000\n{text}\n\n", seconds.min(59))),
        "vtt" => plain(format!("WEBVTT\n\n00:00:00.000 --> 00:00:{:02}.000\n{text}\n", seconds.min(59))),
        _ => stage.refuse("`response_format` must be `json`, `verbose_json`, `text`, `srt` or `vtt`"),
    }
}

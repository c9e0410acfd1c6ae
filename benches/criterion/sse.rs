//! Budget: server-sent events are decoded at 500 MB/s or more on one processor.
//!
//! A stream as OpenAI sends it, an event for each token, in pieces of 16 KiB as they come from a socket. What the observer
//! makes of the same bytes, for each dialect, is printed beside it without a budget.

use std::hint::black_box;

use criterion::Throughput;
use serde_json::json;
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::observe::Observer;
use tollgate_provider::sse::Decoder;

use crate::kept;
use crate::report::{Budget, Report, short};

const BUDGET_MB_PER_S: f64 = 500.0;
const STREAM_BYTES: usize = 4_000_000;
const PIECE_BYTES: usize = 16 * 1024;
const GROUP: &str = "sse";

/// Measures and compares.
///
/// # Errors
/// If something cannot be measured.
pub(crate) fn run() -> anyhow::Result<Report> {
    let mut criterion = kept::criterion()?;
    let streams = [(Dialect::Openai, openai()), (Dialect::Anthropic, anthropic()), (Dialect::Responses, responses())];
    let mut group = criterion.benchmark_group(GROUP);
    for (dialect, stream) in &streams {
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(format!("decode_{dialect}"), |bencher| {
            bencher.iter(|| {
                let (mut decoder, mut bytes) = (Decoder::default(), 0);
                for piece in black_box(stream).chunks(PIECE_BYTES) {
                    decoder.push(piece, |event| bytes += black_box(event).data.len());
                }
                bytes
            });
        });
        group.bench_function(format!("observe_{dialect}"), |bencher| {
            bencher.iter(|| {
                let mut observer = Observer::new(*dialect, Operation::Chat, true);
                black_box(stream).chunks(PIECE_BYTES).for_each(|piece| observer.push(piece));
                observer.finish(true)
            });
        });
    }
    group.finish();
    criterion.final_summary();
    let title = format!("streams of an event for each token, in pieces of {PIECE_BYTES} bytes, one processor");
    let mut report = Report::start(GROUP, title, vec!["stream of", "bytes an event", "decoded MB/s", "observed MB/s"]);
    for (dialect, stream) in &streams {
        let rate = |what: &str| -> anyhow::Result<f64> {
            Ok(stream.len() as f64 * 1e3 / kept::median_ns(GROUP, &format!("{what}_{dialect}"))?)
        };
        let (decoded, observed) = (rate("decode")?, rate("observe")?);
        let events = memchr::memmem::find_iter(stream, b"\n\n").count();
        let each = (stream.len() / events.max(1)).to_string();
        let kept = json!({"dialect": dialect, "bytes": stream.len(), "events": events, "decoded_mb_per_s": decoded,
            "observed_mb_per_s": observed});
        report.row(vec![dialect.to_string(), each, short(decoded), short(observed)], kept);
        report.budget(Budget::at_least(format!("decoding a stream of {dialect}, MB/s"), decoded, BUDGET_MB_PER_S));
    }
    Ok(report)
}

fn repeated(event: &str, end: &str) -> Vec<u8> {
    let mut stream = event.repeat(STREAM_BYTES / event.len());
    stream.push_str(end);
    stream.into_bytes()
}

fn openai() -> Vec<u8> {
    let delta = json!({"content": " evidence"});
    let chunk = json!({"id": "chatcmpl-CbenchCbenchCbenchCbenchCbe", "object": "chat.completion.chunk",
        "created": 1_767_225_600, "model": "gpt-5.1-2025-11-13", "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb", "choices": [{"index": 0, "delta": delta, "finish_reason": null}],
        "usage": null});
    repeated(&format!("data: {chunk}\n\n"), "data: [DONE]\n\n")
}

fn anthropic() -> Vec<u8> {
    let delta =
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " evidence"}});
    repeated(
        &format!("event: content_block_delta\ndata: {delta}\n\n"),
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    )
}

fn responses() -> Vec<u8> {
    let delta = json!({"type": "response.output_text.delta", "sequence_number": 40, "output_index": 0,
        "item_id": "msg_0a1b2c3d4e5f60718293a4b5c6d7e8f9", "content_index": 0, "delta": " evidence", "logprobs": [],
        "obfuscation": "a1b2c3d4"});
    repeated(&format!("event: response.output_text.delta\ndata: {delta}\n\n"), "")
}

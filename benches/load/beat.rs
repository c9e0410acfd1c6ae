//! A stream whose pieces say when they were sent, so that whoever reads them knows how long they took. Both ends are this
//! process and read one clock.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::call::MODEL;

/// As fast as a quick model writes.
pub(crate) const INTERVAL: Duration = Duration::from_millis(20);
/// Pieces of one stream: two seconds.
pub(crate) const BEATS: u32 = 100;

/// The beginning of the clock.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
/// What stands before the time in a piece.
const STAMP: &str = "\"content\":\"t";

/// Whether a request's body asks for a stream; those of the benchmarks say so at once.
pub(crate) fn asks_for_stream(body: &str) -> bool {
    body.starts_with("{\"stream\":true")
}

/// The body of a small request for a stream, with its usage.
pub(crate) fn request_body() -> String {
    let options = serde_json::json!({"include_usage": true});
    let messages = serde_json::json!([{"role": "user", "content": "Summarise the quarterly report."}]);
    format!("{{\"stream\":true,\"stream_options\":{options},\"model\":\"{MODEL}\",\"messages\":{messages}}}")
}

/// Answers one request with a stream, a piece at each beat.
///
/// # Errors
/// If the other side is gone.
pub(crate) async fn answer(stream: &mut TcpStream) -> std::io::Result<()> {
    // nginx would otherwise wait for more.
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let begun = tokio::time::Instant::now();
    for beat in 1..=BEATS {
        tokio::time::sleep_until(begun + INTERVAL * beat).await;
        let now_ns = EPOCH.elapsed().as_nanos();
        let choice = format!("{{\"index\":0,\"delta\":{{{STAMP}{now_ns} \"}},\"finish_reason\":null}}");
        send(stream, &chunk(&choice, "null")).await?;
    }
    let stop = chunk("{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}", "null");
    let usage =
        chunk("", &format!("{{\"prompt_tokens\":9,\"completion_tokens\":{BEATS},\"total_tokens\":{}}}", BEATS + 9));
    send(stream, &format!("{stop}{usage}data: [DONE]\n\n")).await?;
    stream.write_all(b"0\r\n\r\n").await
}

fn chunk(choice: &str, usage: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\
         \"model\":\"{MODEL}\",\"choices\":[{choice}],\"usage\":{usage}}}\n\n"
    )
}

async fn send(stream: &mut TcpStream, piece: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await
}

/// Reads the times out of a stream that arrives in pieces.
pub(crate) struct Reader {
    pending: Vec<u8>,
    stamp: Finder<'static>,
}

impl Default for Reader {
    fn default() -> Self {
        Reader { pending: Vec::new(), stamp: Finder::new(STAMP) }
    }
}

impl Reader {
    /// Reads what has arrived just now; calls `each` with how long each piece took that ends in it. True at the end of
    /// the stream.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Duration)) -> bool {
        let now_ns = EPOCH.elapsed().as_nanos();
        self.pending.extend_from_slice(bytes);
        let mut read = 0;
        while let Some(at) = self.stamp.find(&self.pending[read..]) {
            let digits = &self.pending[read + at + STAMP.len()..];
            let Some(end) = digits.iter().position(|byte| !byte.is_ascii_digit()) else { break };
            let sent_ns = digits[..end].iter().fold(0_u128, |number, digit| number * 10 + u128::from(digit - b'0'));
            each(Duration::from_nanos(u64::try_from(now_ns.saturating_sub(sent_ns)).unwrap_or(u64::MAX)));
            read += at + STAMP.len() + end;
        }
        self.pending.drain(..read);
        self.pending.ends_with(b"0\r\n\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_pieces_cut_anywhere() {
        let choice = |time_ns: u128| chunk(&format!("{{\"delta\":{{{STAMP}{time_ns} \"}}}}"), "null");
        let stream = format!("{}{}0\r\n\r\n", choice(EPOCH.elapsed().as_nanos()), choice(EPOCH.elapsed().as_nanos()));
        for size in [1, 7, stream.len()] {
            let (mut reader, mut seen, mut has_ended) = (Reader::default(), Vec::new(), false);
            for piece in stream.as_bytes().chunks(size) {
                has_ended = reader.push(piece, |took| seen.push(took));
            }
            assert!(has_ended && seen.len() == 2, "{seen:?}");
            assert!(seen.iter().all(|took| *took < Duration::from_secs(60)), "{seen:?}");
        }
    }

    #[test]
    fn the_request_asks_for_a_stream() {
        let body: serde_json::Value = serde_json::from_str(&request_body()).unwrap();
        assert_eq!(body["stream"], true);
        assert!(asks_for_stream(&request_body()) && !asks_for_stream("{\"model\":\"m\"}"));
    }
}

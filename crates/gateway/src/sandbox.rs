//! The built-in provider that calls nobody: it plays [`tollgate_provider::sandbox`]'s answer in its own time, through the
//! same two questions an HTTP exchange answers. Nothing leaves the process.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Sleep;
use tollgate_provider::sandbox::{self, Script, Sent};

use crate::upstream::AnswerHead;

/// How the built-in provider paces itself: brisk enough for a first try, slow enough to watch a stream arrive.
fn script(now_us: i64) -> Script {
    Script { inter_chunk_ms: 4, chunk_tokens: 4, created_at_s: now_us / 1_000_000, ..Script::default() }
}

/// One answer being played.
pub(crate) struct Play {
    status: u16,
    headers: Vec<(String, String)>,
    frames: std::vec::IntoIter<(u64, Bytes)>,
    /// The next piece and the wait before it.
    next: Option<(Option<Pin<Box<Sleep>>>, Bytes)>,
}

impl Play {
    pub(crate) fn start(sent: &Sent<'_>, seed: u64, now_us: i64) -> Self {
        let reply = sandbox::perform(sent, &script(now_us), seed);
        let mut play =
            Play { status: reply.status, headers: reply.headers, frames: reply.frames.into_iter(), next: None };
        play.advance();
        play
    }

    /// The head comes when the first piece is due.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<AnswerHead> {
        if self.poll_due(cx).is_pending() {
            return Poll::Pending;
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in self.headers.drain(..) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.append(name, value);
            }
        }
        Poll::Ready(AnswerHead { status, headers })
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.poll_due(cx).is_pending() {
            return Poll::Pending;
        }
        let piece = self.next.take().map(|(_, piece)| piece);
        self.advance();
        Poll::Ready(piece)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.next.is_none()
    }

    fn advance(&mut self) {
        self.next = self.frames.next().map(|(wait_ms, piece)| {
            let wait = (wait_ms > 0).then(|| Box::pin(tokio::time::sleep(Duration::from_millis(wait_ms))));
            (wait, piece)
        });
    }

    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.next {
            Some((Some(wait), _)) => wait.as_mut().poll(cx),
            _ => Poll::Ready(()),
        }
    }
}

//! The socket under a connection. It passes bytes through, with two duties: it tells the connection's [`Pulse`] when the
//! caller takes nothing any more, and it gives a request head that is too large for hyper the answer that every other
//! refused call gets. Hyper answers such a head by itself, with an empty body and before any of our code runs; those bytes
//! are replaced on their way out, and the call gets its row.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tollgate_interaction::Dialect;

use crate::error::HYPER_HEADERS_TOO_LARGE;
use crate::listener::Pulse;
use crate::{Gateway, unread};

/// Bytes that are read and forgotten behind such a head, so that its sender gets to see the answer.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// A caller's socket.
pub(crate) struct Socket {
    stream: TokioIo<TcpStream>,
    gateway: Arc<Gateway>,
    pulse: Arc<Pulse>,
    /// As the first request line suggests; a client library keeps to one on its connections. `None` before it has come.
    dialect: Option<Dialect>,
    replacement: Option<Replacement>,
}

struct Replacement {
    bytes: Vec<u8>,
    written: usize,
    lingered: usize,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, gateway: Arc<Gateway>, pulse: Arc<Pulse>) -> Self {
        Socket { stream: TokioIo::new(stream), gateway, pulse, dialect: None, replacement: None }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.wrote(written.is_pending());
        written
    }

    /// Whether hyper is about to answer for us.
    fn is_hypers_own(bytes: &[u8]) -> bool {
        bytes.starts_with(HYPER_HEADERS_TOO_LARGE) && memchr::memmem::find(bytes, b"content-length: 0\r\n").is_some()
    }

    /// Writes the replacement instead of `length` bytes of hyper's.
    fn poll_replace(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        if let Some(replacement) = &mut self.replacement {
            while let Some(rest) = replacement.bytes.get(replacement.written..).filter(|rest| !rest.is_empty()) {
                replacement.written += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            }
        }
        Poll::Ready(Ok(length))
    }

    fn replace(&mut self) {
        let bytes = unread::refuse(&self.gateway, self.dialect.unwrap_or(Dialect::Openai));
        self.replacement = Some(Replacement { bytes, written: 0, lingered: 0 });
    }
}

impl Read for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.dialect.is_some() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let mut scratch = [0_u8; 4 * 1024];
        let room = scratch.len().min(buf.remaining());
        let mut first = ReadBuf::new(&mut scratch[..room]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, first.unfilled()))?;
        let is_anthropic = first.filled().starts_with(b"POST /v1/messages");
        self.dialect = Some(if is_anthropic { Dialect::Anthropic } else { Dialect::Openai });
        buf.put_slice(first.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.replacement.is_none() && !Socket::is_hypers_own(bytes) {
            let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
            return self.note(written);
        }
        if self.replacement.is_none() {
            self.replace();
        }
        self.poll_replace(cx, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first: &[u8] = pieces.first().map_or(&[], |piece| piece);
        if self.replacement.is_none() && !Socket::is_hypers_own(first) {
            let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
            return self.note(written);
        }
        if self.replacement.is_none() {
            self.replace();
        }
        self.poll_replace(cx, pieces.iter().map(|piece| piece.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let Socket { stream, replacement: Some(replacement), .. } = &mut *self else { return Poll::Ready(Ok(())) };
        // Closing a socket that has unread bytes resets it, and the answer would be lost with it.
        let mut scratch = [0_u8; 16 * 1024];
        while replacement.lingered < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut *stream).poll_read(cx, buf.unfilled()))?;
            if buf.filled().is_empty() {
                break;
            }
            replacement.lingered += buf.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

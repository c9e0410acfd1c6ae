//! Just enough HTTP/1.1 to tell where a message ends, for both sides of a benchmark, at next to no cost. It trusts its
//! peers: this is no parser for strangers.

use std::io;
use std::ops::Range;

use memchr::{memchr, memmem};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

const READ_BYTES: usize = 16 * 1024;

/// Where the parts of a message are in the buffer of its [`Wire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The body as it was sent, chunk sizes included if it came in chunks.
    pub(crate) body: Range<usize>,
    /// Whether the sender closes the connection after it.
    pub(crate) last: bool,
}

/// One end of a connection and what was read from it.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    taken: usize,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Wire {
        Wire { stream, buffer: Vec::with_capacity(READ_BYTES), taken: 0 }
    }

    /// Reads the next message; `None` if the other side has closed the connection between two messages.
    ///
    /// # Errors
    /// If the connection breaks or what arrives is not HTTP/1.1.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Message>> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        loop {
            if let Some(message) = parse(&self.buffer)? {
                self.taken = message.body.end;
                return Ok(Some(message));
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within a message"));
            }
        }
    }

    /// Status code in the message that was read last, if that was a response.
    pub(crate) fn status(&self) -> Option<u16> {
        let digits = self.buffer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The message that was read last, head and body.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.taken]).into_owned()
    }

    /// The body of the message that was read last.
    pub(crate) fn body(&self, message: &Message) -> String {
        String::from_utf8_lossy(&self.buffer[message.body.clone()]).into_owned()
    }
}

/// The first message in `bytes`, if all of it is there.
fn parse(bytes: &[u8]) -> io::Result<Option<Message>> {
    let Some(head_end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let (mut length, mut chunked, mut last) = (0, false, false);
    let mut rest = &bytes[..head_end + 2];
    while let Some(line_end) = memchr(b'\n', rest) {
        let (line, after) = (&rest[..line_end], &rest[line_end + 1..]);
        rest = after;
        let Some(colon) = memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value).map_err(|_| malformed("content-length"))?;
            length = digits.parse().map_err(|_| malformed("content-length"))?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"connection") {
            last = value.eq_ignore_ascii_case(b"close");
        }
    }
    let body_start = head_end + 4;
    let body_end = if chunked {
        let Some(end) = end_of_chunks(bytes, body_start)? else { return Ok(None) };
        end
    } else {
        body_start + length
    };
    Ok((body_end <= bytes.len()).then_some(Message { body: body_start..body_end, last }))
}

/// Where a body in chunks that starts at `start` ends; no trailers are expected.
fn end_of_chunks(bytes: &[u8], start: usize) -> io::Result<Option<usize>> {
    let mut at = start;
    loop {
        let Some(rest) = bytes.get(at..) else { return Ok(None) };
        let Some(line_end) = memmem::find(rest, b"\r\n") else { return Ok(None) };
        let digits = std::str::from_utf8(&rest[..line_end]).map_err(|_| malformed("chunk size"))?;
        let size = usize::from_str_radix(digits, 16).map_err(|_| malformed("chunk size"))?;
        at += line_end + 2 + size + 2;
        if size == 0 {
            return Ok((at <= bytes.len()).then_some(at));
        }
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the {what} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(text: &str) -> Option<String> {
        let message = parse(text.as_bytes()).unwrap()?;
        Some(text[message.body].to_owned())
    }

    #[test]
    fn a_body_is_as_long_as_its_header_says_in_any_case() {
        let text = "HTTP/1.1 200 OK\r\nContent-LENGTH: 5\r\n\r\nhelloHTTP/1.1 200";
        assert_eq!(body_of(text).unwrap(), "hello");
    }

    #[test]
    fn a_message_without_a_length_has_no_body() {
        assert_eq!(body_of("GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap(), "");
    }

    #[test]
    fn a_chunked_body_ends_with_its_empty_chunk() {
        let text =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\nHTTP";
        assert_eq!(body_of(text).unwrap(), "5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n");
    }

    #[test]
    fn no_prefix_of_a_message_is_taken_for_the_whole() {
        for text in [
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ] {
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end]).unwrap(), None, "{end} bytes of {text:?}");
            }
            assert!(parse(text.as_bytes()).unwrap().is_some());
        }
    }

    #[test]
    fn the_last_message_of_a_connection_is_known() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap().unwrap().last);
        assert!(!parse(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n").unwrap().unwrap().last);
    }
}

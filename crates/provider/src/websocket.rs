//! WebSocket frames (RFC 6455 §5) as they pass by: where each ends, what the messages say, when one side takes its leave.
//! Nothing is changed or held up, so frames and fragments reach the other side as they were sent. A message longer than
//! allowed, or bytes that are no frames, are an error: from there on nobody knows where a frame begins. No extension is
//! known here; whoever passes the handshake on must not pass one on.

/// Longest payload of a control frame.
const MAX_CONTROL_BYTES: u64 = 125;
/// Two bytes, a length of eight, a mask of four.
const MAX_HEAD_BYTES: usize = 14;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Which side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The side that asked for the connection. Its frames are masked.
    Client,
    /// The side that was asked.
    Server,
}

/// What has been said, once it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text.
    Text(&'a [u8]),
    /// Bytes.
    Binary(&'a [u8]),
    /// A farewell: the code, if there is one, and why.
    Close(Option<u16>, &'a [u8]),
}

/// Why frames cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A message is too long.
    #[error("a message is longer than {limit} bytes")]
    TooLong {
        /// The most that is read.
        limit: usize,
    },
    /// The bytes break the protocol.
    #[error("{0}")]
    Protocol(&'static str),
}

/// Reads the frames that one side sends. Feed it every byte in order, in pieces of any size.
#[derive(Debug)]
pub struct FrameReader {
    sender: Sender,
    max_message_bytes: usize,
    head: [u8; MAX_HEAD_BYTES],
    head_bytes: usize,
    frame: Option<Frame>,
    /// Kind of the message whose fragments are coming.
    kind: Option<u8>,
    message: Vec<u8>,
    control: Vec<u8>,
    /// Bytes of the last piece that belong to whole frames; `None` while the first frame in it goes on.
    whole_bytes: Option<usize>,
    failed: Option<FrameError>,
}

/// A frame whose head has been read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    is_last: bool,
    left: u64,
    mask: [u8; 4],
    /// Bytes of the payload read so far: where in the mask the next one falls.
    read: usize,
}

impl Frame {
    fn is_control(self) -> bool {
        self.opcode >= CLOSE
    }
}

impl FrameReader {
    /// Reads what `sender` sends, in messages of at most `max_message_bytes`.
    #[must_use]
    pub fn new(sender: Sender, max_message_bytes: usize) -> Self {
        FrameReader {
            sender,
            max_message_bytes,
            head: [0; MAX_HEAD_BYTES],
            head_bytes: 0,
            frame: None,
            kind: None,
            message: Vec::new(),
            control: Vec::new(),
            whole_bytes: Some(0),
            failed: None,
        }
    }

    /// Reads the next bytes and hands out every message that ends in them.
    ///
    /// # Errors
    /// [`FrameError`] if they make no sense; then, and from then on, the rest is not read.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Message<'_>)) -> Result<(), FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.whole_bytes = self.is_between_frames().then_some(0);
        self.read(bytes, &mut each).inspect_err(|error| self.failed = Some(*error))
    }

    /// Whether a frame of one's own may be put behind what has been read; after an error, behind [`Self::whole_bytes`].
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        match self.failed {
            None => self.head_bytes == 0 && self.frame.is_none(),
            Some(_) => self.whole_bytes.is_some(),
        }
    }

    /// How many of the bytes read last belong to whole frames: what may be passed on when the rest is an error.
    #[must_use]
    pub fn whole_bytes(&self) -> usize {
        self.whole_bytes.unwrap_or(0)
    }

    fn read(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Message<'_>)) -> Result<(), FrameError> {
        let all_bytes = bytes.len();
        loop {
            let Some(mut frame) = self.frame else {
                let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
                self.head[self.head_bytes] = *first;
                self.head_bytes += 1;
                bytes = rest;
                if self.head_bytes == self.wanted_head_bytes() {
                    self.frame = Some(self.begin()?);
                    self.head_bytes = 0;
                }
                // A frame without a payload has ended, even if nothing follows.
                if self.frame.is_none_or(|frame| frame.left > 0) {
                    continue;
                }
                self.end(each)?;
                self.whole_bytes = Some(all_bytes - bytes.len());
                continue;
            };
            if bytes.is_empty() {
                return Ok(());
            }
            let here = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(here);
            bytes = rest;
            let into = if frame.is_control() { &mut self.control } else { &mut self.message };
            let mask = frame.mask;
            into.extend(payload.iter().zip(frame.read..).map(|(byte, place)| byte ^ mask[place % 4]));
            frame.read += here;
            frame.left -= here as u64;
            self.frame = Some(frame);
            if frame.left == 0 {
                self.end(each)?;
                self.whole_bytes = Some(all_bytes - bytes.len());
            }
        }
    }

    /// Length of the head that has begun, as far as what is there of it tells.
    fn wanted_head_bytes(&self) -> usize {
        let Some(second) = self.head.get(1).filter(|_| self.head_bytes > 1) else { return 2 };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + mask
    }

    /// Makes sense of a whole head.
    fn begin(&mut self) -> Result<Frame, FrameError> {
        let [first, second, ..] = self.head;
        let refuse = |why| Err(FrameError::Protocol(why));
        let (opcode, is_last) = (first & 0x0f, first & 0x80 != 0);
        if first & 0x70 != 0 {
            return refuse("a frame uses an extension that was not agreed on");
        }
        if (second & 0x80 != 0) != (self.sender == Sender::Client) {
            return refuse("the frames of a client have to be masked, and only those");
        }
        let mut at = 2;
        let length = match second & 0x7f {
            126 => self.number(&mut at, 2),
            127 => self.number(&mut at, 8),
            short => u64::from(short),
        };
        let mask = if second & 0x80 == 0 { [0; 4] } else { [at, at + 1, at + 2, at + 3].map(|at| self.head[at]) };
        match opcode {
            CLOSE | PING | PONG if !is_last || length > MAX_CONTROL_BYTES => {
                return refuse("a control frame is too long or comes in pieces");
            }
            CLOSE | PING | PONG => {}
            TEXT | BINARY if self.kind.is_none() => self.kind = Some(opcode),
            CONTINUATION if self.kind.is_some() => {}
            TEXT | BINARY | CONTINUATION => return refuse("the fragments of a message are out of order"),
            _ => return refuse("a frame is of a kind that does not exist"),
        }
        let has_room = length <= self.max_message_bytes.saturating_sub(self.message.len()) as u64;
        if opcode < CLOSE && !has_room {
            return Err(FrameError::TooLong { limit: self.max_message_bytes });
        }
        Ok(Frame { opcode, is_last, left: length, mask, read: 0 })
    }

    fn number(&self, at: &mut usize, bytes: usize) -> u64 {
        let end = *at + bytes;
        let number = self.head[*at..end].iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        *at = end;
        number
    }

    /// Hands out what has become whole with the frame just read.
    fn end(&mut self, each: &mut impl FnMut(Message<'_>)) -> Result<(), FrameError> {
        let Some(frame) = self.frame.take() else { return Ok(()) };
        if frame.opcode == CLOSE {
            let (code, why) = match self.control.split_first_chunk::<2>() {
                Some((code, why)) => (Some(u16::from_be_bytes(*code)), why),
                None if self.control.is_empty() => (None, &[][..]),
                None => return Err(FrameError::Protocol("a close frame holds half a code")),
            };
            each(Message::Close(code, why));
        }
        self.control.clear();
        if frame.is_control() || !frame.is_last {
            return Ok(());
        }
        match self.kind.take() {
            Some(TEXT) => each(Message::Text(&self.message)),
            Some(_) => each(Message::Binary(&self.message)),
            None => {}
        }
        self.message.clear();
        Ok(())
    }
}

/// A close frame that `sender` may send. `why` is cut to what a control frame can hold. A client masks with zeros: the mask
/// protects proxies from a page's script, and nothing of a script's is in it.
#[must_use]
pub fn close_frame(sender: Sender, code: u16, why: &str) -> Vec<u8> {
    let longest = usize::try_from(MAX_CONTROL_BYTES).unwrap_or(0) - 2;
    let end = (0..=why.len().min(longest)).rev().find(|end| why.is_char_boundary(*end)).unwrap_or(0);
    let payload = [&code.to_be_bytes(), &why.as_bytes()[..end]].concat();
    frame(sender, CLOSE, &payload)
}

/// A frame that `sender` may send and that holds a whole text.
#[must_use]
pub fn text_frame(sender: Sender, text: &str) -> Vec<u8> {
    frame(sender, TEXT, text.as_bytes())
}

fn frame(sender: Sender, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let masked = if sender == Sender::Client { 0x80 } else { 0 };
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..=125 => out.push(masked | u8::try_from(short).unwrap_or(125)),
        long => match u16::try_from(long) {
            Ok(long) => {
                out.push(masked | 126);
                out.extend_from_slice(&long.to_be_bytes());
            }
            Err(_) => {
                out.push(masked | 127);
                out.extend_from_slice(&(long as u64).to_be_bytes());
            }
        },
    }
    if masked != 0 {
        out.extend_from_slice(&[0; 4]);
    }
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `bytes`, as text.
    fn read(sender: Sender, pieces: &[&[u8]]) -> Result<Vec<String>, FrameError> {
        let mut reader = FrameReader::new(sender, 1_000);
        let mut said = Vec::new();
        for piece in pieces {
            reader.push(piece, |message| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                said.push(match message {
                    Message::Text(words) => text(words),
                    Message::Binary(bytes) => format!("{} bytes", bytes.len()),
                    Message::Close(code, why) => format!("close {code:?} {}", text(why)),
                });
            })?;
        }
        Ok(said)
    }

    /// The examples of RFC 6455 §5.7.
    #[test]
    fn frames_are_read_as_the_standard_writes_them() {
        let hello: &[u8] = &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        assert_eq!(read(Sender::Server, &[hello]).unwrap(), ["Hello"]);
        let masked: &[u8] = &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read(Sender::Client, &[masked]).unwrap(), ["Hello"]);
        let fragments: &[u8] = &[0x01, 0x03, 0x48, 0x65, 0x6c, 0x89, 0x02, 0x48, 0x65, 0x80, 0x02, 0x6c, 0x6f];
        assert_eq!(read(Sender::Server, &[fragments]).unwrap(), ["Hello"], "with a ping between them");
        let long = [&[0x82, 0x7e, 0x01, 0x00][..], &[7; 256]].concat();
        assert_eq!(read(Sender::Server, &[&long]).unwrap(), ["256 bytes"]);
        assert_eq!(read(Sender::Server, &[&[0x88, 0x02, 0x03, 0xe8]]).unwrap(), ["close Some(1000) "]);
        assert_eq!(read(Sender::Server, &[&[0x88, 0x00]]).unwrap(), ["close None "]);
        assert_eq!(read(Sender::Server, &[&[0x81, 0x00]]).unwrap(), [""]);
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        for sender in [Sender::Client, Sender::Server] {
            let long = "x".repeat(300);
            let bytes = [
                text_frame(sender, "héllo"),
                text_frame(sender, ""),
                text_frame(sender, &long),
                close_frame(sender, 1000, "bye"),
            ]
            .concat();
            let expected = ["héllo", "", &long, "close Some(1000) bye"];
            for size in 1..bytes.len() {
                assert_eq!(read(sender, &bytes.chunks(size).collect::<Vec<_>>()).unwrap(), expected, "by {size}");
            }
            let mut reader = FrameReader::new(sender, 1_000);
            let ends: Vec<usize> = (0..bytes.len())
                .filter(|at| {
                    reader.push(&bytes[*at..=*at], |_| {}).unwrap();
                    reader.is_between_frames()
                })
                .collect();
            assert_eq!(ends.len(), 4);
        }
    }

    #[test]
    fn what_is_no_frame_or_too_long_is_an_error_and_stays_one() {
        let wrong: [&[u8]; 9] = [
            &[0xc1, 0x00],
            &[0x83, 0x00],
            &[0x80, 0x00],
            &[0x01, 0x01, 0x61, 0x81, 0x00],
            &[0x08, 0x00],
            &[0x89, 0x7e, 0x00, 0x7e],
            &[0x88, 0x01, 0x03],
            &[0x81, 0x80, 0, 0, 0, 0],
            &[0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ];
        for bytes in wrong {
            assert!(read(Sender::Server, &[bytes]).is_err(), "{bytes:02x?}");
        }
        assert!(read(Sender::Client, &[&text_frame(Sender::Server, "unmasked")]).is_err());
        let mut reader = FrameReader::new(Sender::Server, 4);
        assert_eq!(reader.push(&text_frame(Sender::Server, "long"), |_| {}), Ok(()));
        let too_long = Err(FrameError::TooLong { limit: 4 });
        assert_eq!(reader.push(&[0x01, 0x03, 0x61, 0x61, 0x61, 0x80, 0x02], |_| {}), too_long);
        assert_eq!(reader.push(b"\x81\x00", |_| {}), too_long);
    }

    #[test]
    fn what_came_before_an_error_is_told_from_it() {
        let good = text_frame(Sender::Server, "good");
        let piece = [good.as_slice(), &[0xff; 20]].concat();
        let mut reader = FrameReader::new(Sender::Server, 100);
        assert!(reader.push(&piece, |_| {}).is_err());
        assert_eq!((reader.whole_bytes(), reader.is_between_frames()), (good.len(), true));
        // A frame that began in another piece has been passed on in part.
        let mut reader = FrameReader::new(Sender::Server, 100);
        assert!(reader.push(&piece[..good.len() + 1], |_| {}).is_ok());
        assert!(reader.push(&piece[good.len() + 1..], |_| {}).is_err());
        assert_eq!((reader.whole_bytes(), reader.is_between_frames()), (0, false));
    }

    #[test]
    fn a_long_farewell_is_cut_between_characters() {
        let frame = close_frame(Sender::Server, 1011, &"é".repeat(100));
        assert_eq!((frame.len(), frame[1]), (126, 124));
        assert_eq!(read(Sender::Server, &[&frame]).unwrap(), [format!("close Some(1011) {}", "é".repeat(61))]);
    }
}

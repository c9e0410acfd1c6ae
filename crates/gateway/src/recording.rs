//! The bytes of an answer as they are kept for the record. Bounded; what does not fit is counted, so that a record which
//! is not whole says so. An answer that came in one piece is kept without a copy.

use bytes::{Bytes, BytesMut};

/// An answer being recorded.
#[derive(Debug)]
pub(crate) struct Recording {
    first: Bytes,
    more: BytesMut,
    received_bytes: u64,
    limit: usize,
}

impl Recording {
    pub(crate) fn new(limit: usize) -> Self {
        Recording { first: Bytes::new(), more: BytesMut::new(), received_bytes: 0, limit }
    }

    pub(crate) fn push(&mut self, piece: &Bytes) {
        let is_first = self.received_bytes == 0;
        self.received_bytes += piece.len() as u64;
        if is_first && piece.len() <= self.limit {
            self.first = piece.clone();
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&std::mem::take(&mut self.first));
        }
        let room = self.limit.saturating_sub(self.more.len());
        self.more.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// All bytes that came, kept or not.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The bytes kept so far.
    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.more.is_empty() { &self.first } else { &self.more }
    }

    /// The bytes kept; the recording starts anew.
    pub(crate) fn take(&mut self) -> Bytes {
        self.received_bytes = 0;
        let first = std::mem::take(&mut self.first);
        if self.more.is_empty() { first } else { std::mem::take(&mut self.more).freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_is_kept_without_a_copy_and_many_are_joined() {
        let piece = Bytes::from_static(b"abc");
        let mut recording = Recording::new(8);
        recording.push(&piece);
        assert_eq!(recording.as_slice().as_ptr(), piece.as_ptr());
        recording.push(&piece);
        assert_eq!(recording.take(), Bytes::from_static(b"abcabc"));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut recording = Recording::new(4);
        (0..3).for_each(|_| recording.push(&Bytes::from_static(b"abc")));
        assert_eq!((recording.as_slice(), recording.received_bytes()), (&b"abca"[..], 9));
        let mut recording = Recording::new(2);
        recording.push(&Bytes::from_static(b"abc"));
        assert_eq!(recording.as_slice(), b"ab");
    }
}

//! Identifiers. An [`InteractionId`] names a call for people; an [`EventId`] names its place in the log for machines.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use minicbor::{Decode, Decoder, Encode, Encoder};
use uuid::Uuid;

/// UUIDv7 (RFC 9562 §5.7) of one call: sorts by start time, so the day can be told from the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct InteractionId(Uuid);

impl InteractionId {
    /// Builds the id from its time (milliseconds since 1970) and ten random bytes.
    #[must_use]
    pub fn new(unix_ms: u64, random: &[u8; 10]) -> Self {
        InteractionId(uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid())
    }

    /// The id as text, written into `buffer`: what `to_string` gives, without an allocation.
    pub fn write_into(self, buffer: &mut [u8; 36]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// Whether it has the form that [`InteractionId::new`] gives it.
    #[must_use]
    pub fn is_version_7(self) -> bool {
        self.0.get_version() == Some(uuid::Version::SortRand)
    }

    /// Milliseconds since 1970 at which the call started, read from the id.
    #[must_use]
    pub fn unix_ms(self) -> u64 {
        let bytes = self.0.as_bytes();
        bytes[..6].iter().fold(0, |time, byte| time << 8 | u64::from(*byte))
    }
}

impl fmt::Display for InteractionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A text that is not an interaction id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an interaction id; it has the form `01938c2e-7b1a-7c3d-9e4f-0123456789ab`")]
pub struct ParseInteractionIdError {
    /// What was given.
    pub text: String,
}

impl FromStr for InteractionId {
    type Err = ParseInteractionIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(InteractionId).map_err(|_| ParseInteractionIdError { text: text.to_owned() })
    }
}

impl<C> Encode<C> for InteractionId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(self.0.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for InteractionId {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Uuid::from_slice(decoder.bytes()?)
            .map(InteractionId)
            .map_err(|_| minicbor::decode::Error::message("an interaction id has sixteen bytes"))
    }
}

/// Name of one write-ahead log: chosen once per data directory and kept there. Lower-case letters, digits, `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WriterId(Arc<str>);

/// A text that cannot name a writer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` cannot name a writer; use 1 to 64 lower-case letters, digits and `-`")]
pub struct ParseWriterIdError {
    /// What was given.
    pub text: String,
}

impl WriterId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WriterId {
    type Err = ParseWriterIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
            return Err(ParseWriterIdError { text: text.to_owned() });
        }
        Ok(WriterId(text.into()))
    }
}

impl TryFrom<String> for WriterId {
    type Error = ParseWriterIdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<WriterId> for String {
    fn from(writer: WriterId) -> String {
        writer.0.as_ref().to_owned()
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an event stands in the log: no two events share one, and a writer's sequence has no holes within an epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The write-ahead log it was appended to.
    pub writer: WriterId,
    /// Boot counter of that writer, from 1.
    pub epoch: u64,
    /// Position within the epoch, from 1.
    pub seq: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.writer, self.epoch, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interaction_id_tells_when_its_call_started() {
        let id = InteractionId::new(1_795_000_000_123, &[7; 10]);
        assert_eq!(id.unix_ms(), 1_795_000_000_123);
        assert_eq!(id.to_string().parse::<InteractionId>().unwrap(), id);
    }

    #[test]
    fn a_writer_name_that_could_leave_its_folder_is_refused() {
        for text in ["", "../up", "A", "a/b"] {
            assert_eq!(text.parse::<WriterId>().unwrap_err().text, text);
        }
    }
}

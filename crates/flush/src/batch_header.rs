//! The header of a batch: which records a flush hands over, the Merkle root of their commitments, the batch before, and
//! the writer's signature. It becomes an entry of the log. `docs/proof.md` specifies it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use signed_note::{Note, NoteError, Signer, StandardVerifier, Verifier, VerifierList};
use tlog_tiles::tlog::{self, Hash, HashReader};
use tollgate_interaction::WriterId;
use tollgate_interaction::commitment::Commitment;

/// First line of a header.
const FORMAT: &str = "tollgate-batch/v1";
/// Stands for the batch before of a writer's first.
const NONE: &str = "none";

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The log.
    pub writer: WriterId,
    /// Its boot counter.
    pub epoch: u64,
    /// First number of the range.
    pub first_seq: u64,
    /// Last number of the range.
    pub last_seq: u64,
    /// Records in it; at least 1.
    pub rows: u64,
    /// Earliest time of a record. Microseconds since 1970, UTC.
    pub min_time_us: i64,
    /// Latest time of a record. Microseconds since 1970, UTC.
    pub max_time_us: i64,
    /// When the batch was made. Microseconds since 1970, UTC.
    pub created_at_us: i64,
    /// RFC 6962 root over the records' commitments, by number.
    pub root: Commitment,
    /// Leaf hash of this writer's batch before; `None` for its first.
    pub previous: Option<Commitment>,
    /// The writer's public key, as a note verifier key.
    pub key: String,
}

/// Why bytes are not a batch header, or not one to be believed.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// Not a signed note.
    #[error("it is not a signed note")]
    Note(#[source] NoteError),
    /// A line is not what it must be.
    #[error("its line {line} is not `{expected}`")]
    Line {
        /// Counted from 1.
        line: usize,
        /// Form of the line.
        expected: &'static str,
    },
    /// The key is not a verifier key of the writer's name.
    #[error("its key `{key}` is not a verifier key of writer `{writer}`")]
    Key {
        /// As written.
        key: String,
        /// Whose it should be.
        writer: WriterId,
    },
    /// A signature that must be there is missing or wrong.
    #[error("it is not signed with the key `{key}`")]
    Signature {
        /// The verifier key.
        key: String,
    },
}

/// The hash of an entry of the log.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Commitment {
    tlog::record_hash(entry).0
}

/// The RFC 6962 root over entries of 32 bytes.
#[must_use]
pub fn root_of(commitments: &[Commitment]) -> Commitment {
    // Roots of complete subtrees, each at most half as large as the one before.
    let mut subtrees: Vec<(u64, Hash)> = Vec::with_capacity(32);
    for commitment in commitments {
        let (mut size, mut hash) = (1, tlog::record_hash(commitment));
        while let Some((left_size, left)) = subtrees.last().copied().filter(|(left_size, _)| *left_size == size) {
            subtrees.pop();
            (size, hash) = (left_size + size, tlog::node_hash(left, hash));
        }
        subtrees.push((size, hash));
    }
    let root = subtrees.into_iter().map(|(_, hash)| hash).rev().reduce(|right, left| tlog::node_hash(left, right));
    root.map_or_else(|| Sha256::digest([]).into(), |hash| hash.0)
}

/// The inclusion path of one of these entries, lowest first. `None` if there is no such entry.
#[must_use]
pub fn path_of(commitments: &[Commitment], index: usize) -> Option<Vec<Commitment>> {
    let mut stored = Stored::default();
    for (number, commitment) in (0..).zip(commitments) {
        stored.push(number, commitment);
    }
    let proof = tlog::prove_record(commitments.len() as u64, index as u64, &stored).ok()?;
    Some(proof.into_iter().map(|hash| hash.0).collect())
}

/// Every hash of a small tree, in the order in which `tlog_tiles` numbers them.
#[derive(Default)]
struct Stored(Vec<Hash>);

impl Stored {
    fn push(&mut self, number: u64, entry: &[u8]) {
        let hashes = tlog::stored_hashes(number, entry, self).unwrap_or_default();
        self.0.extend(hashes);
    }
}

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        let hash = |index: &u64| usize::try_from(*index).ok().and_then(|index| self.0.get(index)).copied();
        indexes.iter().map(|index| hash(index).ok_or(tlog::Error::IndexesNotInTree)).collect()
    }
}

impl BatchHeader {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let BatchHeader { writer, epoch, first_seq, last_seq, rows, min_time_us, max_time_us, .. } = self;
        let mut text = format!("{FORMAT}\nwriter {writer}\nepoch {epoch}\nseq {first_seq} {last_seq}\nrows {rows}\n");
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "time {min_time_us} {max_time_us}\ncreated {}\nroot {}\nprevious {}\nkey {}\n",
            self.created_at_us,
            BASE64_STANDARD.encode(self.root),
            self.previous.map_or_else(|| NONE.to_owned(), |hash| BASE64_STANDARD.encode(hash)),
            self.key
        );
        text
    }

    /// The signed note: an entry of the log.
    ///
    /// # Errors
    /// [`NoteError`] if a key cannot sign.
    pub fn sign(&self, signers: &[&dyn Signer]) -> Result<String, NoteError> {
        let mut note = Note::new(self.text().as_bytes(), &[])?;
        note.add_sigs(signers)?;
        Ok(String::from_utf8_lossy(&note.to_bytes()).into_owned())
    }

    /// Reads an entry and checks that it is signed with the key it names.
    ///
    /// # Errors
    /// [`HeaderError`] says what is wrong with it.
    pub fn read(entry: &[u8]) -> Result<BatchHeader, HeaderError> {
        let note = Note::from_bytes(entry).map_err(HeaderError::Note)?;
        let header = BatchHeader::parse(note.text())?;
        let verifier = StandardVerifier::new(&header.key).ok().filter(|key| key.name() == header.writer.as_str());
        if verifier.is_none() {
            return Err(HeaderError::Key { key: header.key.clone(), writer: header.writer.clone() });
        }
        check_signature(&note, &header.key)?;
        Ok(header)
    }

    /// Whether an entry calls itself a batch header.
    #[must_use]
    pub fn is_header(entry: &[u8]) -> bool {
        entry.strip_prefix(FORMAT.as_bytes()).is_some_and(|rest| rest.starts_with(b"\n"))
    }

    /// Checks that an entry is also signed with the key of the batch before.
    ///
    /// # Errors
    /// [`HeaderError::Signature`] if it is not.
    pub fn check_handed_on(entry: &[u8], former_key: &str) -> Result<(), HeaderError> {
        check_signature(&Note::from_bytes(entry).map_err(HeaderError::Note)?, former_key)
    }

    fn parse(text: &[u8]) -> Result<BatchHeader, HeaderError> {
        let text = String::from_utf8_lossy(text);
        let mut lines = Lines { lines: text.lines(), number: 0 };
        lines.is(FORMAT)?;
        let writer = lines.after("writer ", "writer NAME", |name| name.parse().ok())?;
        let epoch = lines.after("epoch ", "epoch N", number)?;
        let (first_seq, last_seq) = lines.after("seq ", "seq FIRST LAST", pair)?;
        let rows = lines.after("rows ", "rows N", number)?;
        let (min_time_us, max_time_us) = lines.after("time ", "time FIRST LAST", |text| {
            let (first, last) = text.split_once(' ')?;
            Some((number(first)?, number(last)?))
        })?;
        let created_at_us = lines.after("created ", "created MICROSECONDS", number)?;
        let root = lines.after("root ", "root BASE64", hash)?;
        let previous = lines.after("previous ", "previous BASE64 or `none`", |text| {
            if text == NONE { Some(None) } else { hash(text).map(Some) }
        })?;
        let key = lines.after("key ", "key VERIFIER-KEY", |text| Some(text.to_owned()))?;
        lines.end()?;
        Ok(BatchHeader {
            writer,
            epoch,
            first_seq,
            last_seq,
            rows,
            min_time_us,
            max_time_us,
            created_at_us,
            root,
            previous,
            key,
        })
    }
}

fn check_signature(note: &Note, key: &str) -> Result<(), HeaderError> {
    let missing = || HeaderError::Signature { key: key.to_owned() };
    let verifier = StandardVerifier::new(key).map_err(|_| missing())?;
    note.verify(&VerifierList::new(vec![Box::new(verifier)])).map_err(|_| missing())?;
    Ok(())
}

/// A number in the one form it has: no sign before a positive one, no leading zeros.
fn number<N: std::str::FromStr + ToString>(text: &str) -> Option<N> {
    text.parse::<N>().ok().filter(|number| number.to_string() == text)
}

fn pair(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once(' ')?;
    let (first, last) = (number(first)?, number(last)?);
    (0 < first && first <= last).then_some((first, last))
}

fn hash(text: &str) -> Option<Commitment> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

struct Lines<'a> {
    lines: std::str::Lines<'a>,
    number: usize,
}

impl Lines<'_> {
    fn next(&mut self, expected: &'static str) -> Result<&str, HeaderError> {
        self.number += 1;
        self.lines.next().ok_or(HeaderError::Line { line: self.number, expected })
    }

    fn is(&mut self, wanted: &'static str) -> Result<(), HeaderError> {
        let line = self.number + 1;
        if self.next(wanted)? == wanted { Ok(()) } else { Err(HeaderError::Line { line, expected: wanted }) }
    }

    fn after<T>(
        &mut self,
        prefix: &str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, HeaderError> {
        let line = self.number + 1;
        let rest = self.next(expected)?.strip_prefix(prefix);
        rest.and_then(read).ok_or(HeaderError::Line { line, expected })
    }

    fn end(&mut self) -> Result<(), HeaderError> {
        match self.lines.next() {
            None => Ok(()),
            Some(_) => Err(HeaderError::Line { line: self.number + 1, expected: "the end" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use signed_note::StandardSigner;

    use super::*;
    use crate::keys::generate;

    fn header(key: &str) -> BatchHeader {
        BatchHeader {
            writer: "gw-1".parse().unwrap(),
            epoch: 3,
            first_seq: 1,
            last_seq: 40,
            rows: 20,
            min_time_us: -5,
            max_time_us: 1_795_000_000_000_000,
            created_at_us: 1_795_000_000_000_001,
            root: [7; 32],
            previous: None,
            key: key.to_owned(),
        }
    }

    #[test]
    fn a_signed_header_reads_back_and_one_changed_digit_is_noticed() {
        let key = generate("gw-1").unwrap();
        let signer = StandardSigner::new(&key.secret).unwrap();
        let entry = header(&key.public).sign(&[&signer]).unwrap();
        assert!(BatchHeader::is_header(entry.as_bytes()));
        assert_eq!(BatchHeader::read(entry.as_bytes()).unwrap(), header(&key.public));
        let changed = entry.replace("rows 20", "rows 21");
        assert!(matches!(BatchHeader::read(changed.as_bytes()), Err(HeaderError::Signature { .. })));
        let padded = entry.replace("rows 20", "rows 020");
        assert!(matches!(BatchHeader::read(padded.as_bytes()), Err(HeaderError::Line { line: 5, .. })));
    }

    #[test]
    fn a_header_of_another_name_than_its_keys_is_refused() {
        let key = generate("gw-2").unwrap();
        let signer = StandardSigner::new(&key.secret).unwrap();
        let entry = header(&key.public).sign(&[&signer]).unwrap();
        assert!(matches!(BatchHeader::read(entry.as_bytes()), Err(HeaderError::Key { .. })));
    }

    #[test]
    fn roots_and_paths_are_those_of_rfc_6962() {
        let hash = |parts: &[&[u8]]| -> Commitment {
            let mut hash = Sha256::new();
            parts.iter().for_each(|part| hash.update(part));
            hash.finalize().into()
        };
        let entries = [[1; 32], [2; 32], [3; 32]];
        let leaves = entries.map(|entry| hash(&[&[0], &entry]));
        let left = hash(&[&[1], &leaves[0], &leaves[1]]);
        assert_eq!(root_of(&entries), hash(&[&[1], &left, &leaves[2]]));
        assert_eq!(root_of(&entries[..1]), leaves[0]);
        assert_eq!(path_of(&entries, 1).unwrap(), [leaves[0], leaves[2]]);
        assert_eq!(leaf_hash(&entries[0]), leaves[0]);
    }
}

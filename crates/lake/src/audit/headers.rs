//! The entries of the log: whose signatures they carry, and whether each batch follows the one before.

use std::collections::HashMap;

use bytes::Bytes;
use signed_note::{Note, StandardVerifier, Verifier, VerifierList};
use tollgate_flush::batch_header::{BatchHeader, HeaderError, leaf_hash};
use tollgate_interaction::WriterId;
use tollgate_interaction::commitment::Commitment;

use super::{ProblemKind, Problems};
use crate::proof::KEY_NOTE;

/// A text that is no public key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{key}` is not a public key of the form `name+hash+base64`; `tollgate audit key` prints that of a running log"
)]
pub struct VerifyKeyError {
    /// As given.
    pub key: String,
}

/// The log's name: that of its keys.
pub(super) fn name_of(key: &str) -> Result<String, VerifyKeyError> {
    let verifier = StandardVerifier::new(key).map_err(|_| VerifyKeyError { key: key.to_owned() })?;
    Ok(verifier.name().to_owned())
}

/// A batch header with its place in the log.
pub(super) struct Placed {
    pub(super) place: u64,
    pub(super) header: BatchHeader,
}

impl Placed {
    /// How it is named in a report.
    pub(super) fn subject(&self) -> String {
        let BatchHeader { writer, epoch, first_seq, last_seq, .. } = &self.header;
        format!("batch {writer}/{epoch}/{first_seq}-{last_seq} (entry {})", self.place)
    }
}

/// What was learnt of a writer from its headers so far.
struct Writer {
    leaf: Commitment,
    key: String,
    epoch: u64,
    last_seq: u64,
}

/// Reads the entries in order: headers are checked against the one before, key notes widen `keys`.
pub(super) fn read(entries: &[(u64, Bytes)], keys: &mut Vec<String>, problems: &mut Problems) -> Vec<Placed> {
    let mut writers: HashMap<WriterId, Writer> = HashMap::new();
    let mut headers = Vec::with_capacity(entries.len());
    for (place, entry) in entries {
        let subject = format!("entry {place}");
        if !BatchHeader::is_header(entry) {
            if let Err(why) = take_key(entry, keys) {
                problems.add(ProblemKind::TreeEntry, subject, why);
            }
            continue;
        }
        let header = match BatchHeader::read(entry) {
            Ok(header) => header,
            Err(error @ (HeaderError::Signature { .. } | HeaderError::Key { .. })) => {
                problems.add(ProblemKind::HeaderSignature, subject, error.to_string());
                continue;
            }
            Err(error) => {
                problems.add(ProblemKind::TreeEntry, subject, error.to_string());
                continue;
            }
        };
        let placed = Placed { place: *place, header };
        let former = writers.get(&placed.header.writer);
        follow(&placed, entry, former, problems);
        let BatchHeader { writer, key, epoch, last_seq, .. } = &placed.header;
        let now = Writer { leaf: leaf_hash(entry), key: key.clone(), epoch: *epoch, last_seq: *last_seq };
        writers.insert(writer.clone(), now);
        headers.push(placed);
    }
    headers
}

fn follow(placed: &Placed, entry: &Bytes, former: Option<&Writer>, problems: &mut Problems) {
    let header = &placed.header;
    if header.previous != former.map(|former| former.leaf) {
        let expected = match former {
            Some(_) => "it does not name the batch of its writer that stands before it in the log",
            None => "it names a batch before it, but the log has none of its writer",
        };
        problems.add(ProblemKind::HeaderChain, placed.subject(), expected);
    }
    let first_due = match former {
        Some(former) if former.epoch == header.epoch => former.last_seq + 1,
        Some(former) if former.epoch > header.epoch => {
            let detail = format!("it is of epoch {} but epoch {} had begun", header.epoch, former.epoch);
            problems.add(ProblemKind::HeaderSequence, placed.subject(), detail);
            return;
        }
        _ => 1,
    };
    if header.first_seq != first_due {
        let detail = format!("it begins at {} but {first_due} was due", header.first_seq);
        problems.add(ProblemKind::HeaderSequence, placed.subject(), detail);
    }
    if let Some(former) = former.filter(|former| former.key != header.key)
        && let Err(error) = BatchHeader::check_handed_on(entry, &former.key)
    {
        let detail = format!("its writer has a new key that the former one did not sign: {error}");
        problems.add(ProblemKind::HeaderSignature, placed.subject(), detail);
    }
}

/// Takes the key of a key note that one of `keys` signed.
fn take_key(entry: &Bytes, keys: &mut Vec<String>) -> Result<(), String> {
    let note = Note::from_bytes(entry).map_err(|error| format!("it is not a signed note ({error})"))?;
    let text = String::from_utf8_lossy(note.text());
    let mut lines = text.lines();
    if lines.next() != Some(KEY_NOTE) {
        return Err("it is neither a batch header nor a key note".to_owned());
    }
    let key = lines.find_map(|line| line.strip_prefix("key ")).ok_or("it names no key")?;
    let signed_by = |key: &str| {
        let Ok(verifier) = StandardVerifier::new(key) else { return false };
        note.verify(&VerifierList::new(vec![Box::new(verifier)])).is_ok()
    };
    if !signed_by(key) {
        return Err("the new key has not signed it".to_owned());
    }
    if !keys.iter().any(|known| signed_by(known)) {
        return Err("no key that was the log's has signed it".to_owned());
    }
    keys.push(key.to_owned());
    Ok(())
}

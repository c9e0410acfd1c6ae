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

/// The log's keys, each with the sizes of the log at which it was the one that signs.
#[derive(Debug)]
pub(super) struct LogKeys(Vec<(u64, u64, String)>);

impl LogKeys {
    /// Keys that are trusted from outside: from the entry on that introduces them, or from the beginning.
    pub(super) fn trusted(keys: &[String], entries: &[(u64, Bytes)]) -> LogKeys {
        let introduced = |key: &String| {
            let place = entries.iter().find(|(_, entry)| new_key(entry).as_ref() == Some(key));
            (place.map_or(0, |(place, _)| place + 1), u64::MAX, key.clone())
        };
        LogKeys(keys.iter().map(introduced).collect())
    }

    /// The keys that may sign a checkpoint of this size.
    pub(super) fn at(&self, size: u64) -> Vec<String> {
        let valid = self.0.iter().filter(|(from, until, _)| (*from..=*until).contains(&size));
        valid.map(|(.., key)| key.clone()).collect()
    }

    /// All keys that are or were the log's.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.iter().map(|(.., key)| key.clone()).collect()
    }

    /// Whether a checkpoint of this size is from before the oldest trusted key, so that nothing can be said of its signature.
    pub(super) fn is_before(&self, size: u64) -> bool {
        self.0.iter().all(|(from, ..)| size < *from)
    }

    /// Takes the key note at `place`.
    fn take(&mut self, place: u64, entry: &Bytes) -> Result<(), String> {
        let note = Note::from_bytes(entry).map_err(|error| format!("it is not a signed note ({error})"))?;
        let key = new_key(entry).ok_or("it is neither a batch header nor a key note")?;
        let signed_by = |key: &str| {
            let Ok(verifier) = StandardVerifier::new(key) else { return false };
            note.verify(&VerifierList::new(vec![Box::new(verifier)])).is_ok()
        };
        if !signed_by(&key) {
            return Err("the new key has not signed it".to_owned());
        }
        if self.is_before(place) || self.0.iter().any(|(from, _, known)| (*from, known) == (place + 1, &key)) {
            // From before the trusted key, or the note that introduced it: whoever trusts that key trusts how it came to be.
            return Ok(());
        }
        if !self.at(place).iter().any(|known| signed_by(known)) {
            return Err("no key that was the log's then has signed it".to_owned());
        }
        for (_, until, _) in self.0.iter_mut().filter(|(from, until, _)| (*from..=*until).contains(&place)) {
            *until = place;
        }
        self.0.push((place + 1, u64::MAX, key));
        Ok(())
    }
}

/// The key that a key note introduces.
fn new_key(entry: &Bytes) -> Option<String> {
    let text = String::from_utf8_lossy(entry);
    let mut lines = text.split_once("\n\n")?.0.lines();
    (lines.next() == Some(KEY_NOTE)).then(|| lines.find_map(|line| line.strip_prefix("key ")).map(str::to_owned))?
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

/// Reads the entries in order: headers are checked against the one before, key notes go to `keys`.
pub(super) fn read(entries: &[(u64, Bytes)], keys: &mut LogKeys, problems: &mut Problems) -> Vec<Placed> {
    let mut writers: HashMap<WriterId, Writer> = HashMap::new();
    let mut headers = Vec::with_capacity(entries.len());
    for (place, entry) in entries {
        let subject = format!("entry {place}");
        if !BatchHeader::is_header(entry) {
            if let Err(why) = keys.take(*place, entry) {
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

//! A witness, C2SP `tlog-witness`: it cosigns a checkpoint of a log it knows if the tree continues the one that it cosigned
//! last, and never anything else. Per log it keeps one checkpoint, durably, before its cosignature is given out; what it keeps
//! it never makes smaller and never guesses. It speaks no HTTP: see `command/witness.rs` of the all-in-one.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use signed_note::{Note, NoteError, Signer, StandardVerifier, Verifier};
use tlog_tiles::checkpoint::Checkpoint;
use tlog_tiles::tlog::{self, Hash};
use tollgate_flush::error_chain;
use tollgate_flush::keys::{KeyError, KeyKind, KeyPair, KeySource, generate_as};
use tollgate_flush::store::durable_local;

use crate::cosignature::{Cosigner, WitnessKeyError, parts_of};
use crate::tree::empty_root;

/// Lines of a consistency proof, by the specification.
const MOST_PROOF_LINES: usize = 63;
/// Largest request: 63 lines of a proof, and a checkpoint with 16 signatures of up to 5 kB each, which must be read
/// (`signed-note`).
pub const MAX_REQUEST_BYTES: usize = 128 * 1024;

/// Why a witness cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key is none of a witness.
    #[error(transparent)]
    Kind(#[from] WitnessKeyError),
    /// A log's key is none.
    #[error("`{key}` is not a log's public key of the form `name+hash+base64`; `tollgate audit key` prints one")]
    Log {
        /// As given.
        key: String,
    },
    /// The disk.
    #[error("`{path}` cannot be read or written; check the disk and that it belongs to this user")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A second witness would forget what the first one signs.
    #[error("another witness uses `{path}`; two with one memory could sign two histories. Stop it first")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// What it remembers is damaged.
    #[error(
        "`{path}` does not hold the checkpoint of `{origin}` that was cosigned last; restore that file. Without it this witness \
         could sign another history, so it does not start"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Of the log.
        origin: String,
    },
}

/// Why a checkpoint was not cosigned. Each is one answer of the protocol.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is not one.
    #[error("the request is malformed: {why}")]
    Malformed {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The log is not known here.
    #[error("the log `{origin}` is not known to this witness; its operator adds it with `--log`")]
    UnknownLog {
        /// Of the checkpoint.
        origin: String,
    },
    /// Nobody who may has signed it.
    #[error("no key that this witness trusts for `{origin}` has signed the checkpoint")]
    Signature {
        /// Of the checkpoint.
        origin: String,
    },
    /// The proof begins elsewhere than at what was cosigned last, as when the log does not know what that was.
    #[error(
        "the checkpoint of `{origin}` that was cosigned last has size {size}; send the proof that the log continues that one"
    )]
    Conflict {
        /// Of the checkpoint.
        origin: String,
        /// Of the tree that was cosigned last.
        size: u64,
    },
    /// What was cosigned last is another tree of the same size.
    #[error("the checkpoint of `{origin}` that was cosigned last has size {size} too, and another root")]
    Contradiction {
        /// Of the checkpoint.
        origin: String,
        /// Of both trees.
        size: u64,
    },
    /// The proof does not hold.
    #[error(
        "the proof does not show that the log of size {size} continues the one of size {old} that was cosigned last"
    )]
    Inconsistent {
        /// Of the checkpoint.
        size: u64,
        /// Of the one before.
        old: u64,
    },
    /// The checkpoint could not be kept, so it was not cosigned.
    #[error("the checkpoint could not be kept on disk, so it is not cosigned; try again later")]
    Disk(#[source] io::Error),
    /// It could not be signed.
    #[error("the checkpoint could not be cosigned")]
    Note(#[from] NoteError),
}

/// A witness over its folder.
pub struct Witness {
    public_key: String,
    cosigner: Cosigner,
    logs: HashMap<String, KnownLog>,
    /// Held as long as the witness lives.
    _lock: File,
}

/// A log, and what was cosigned of it.
struct KnownLog {
    verifiers: Vec<StandardVerifier>,
    path: PathBuf,
    /// Locked from the check of a checkpoint until it is kept: no request can come in between.
    latest: Mutex<Tree>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Tree {
    size: u64,
    root: Hash,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Witness({}, {} logs)", self.public_key, self.logs.len())
    }
}

/// Reads a witness's key; makes one, named `name` or at random, if there is none.
///
/// # Errors
/// [`KeyError`], by name.
pub fn key(source: &KeySource, name: Option<&str>) -> Result<KeyPair, KeyError> {
    let make = || match name {
        Some(name) => generate_as(KeyKind::Cosignature, name),
        None => {
            let mut random = [0; 8];
            getrandom::fill(&mut random)?;
            let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            generate_as(KeyKind::Cosignature, &format!("tollgate.witness/{random}"))
        }
    };
    Ok(source.load_as(KeyKind::Cosignature, name, make)?.current)
}

impl Witness {
    /// Opens what a witness remembers in `folder`. `logs` are the public keys of the logs to cosign; several of one name are
    /// the keys of one log.
    ///
    /// # Errors
    /// [`WitnessError`]; in particular, if what it remembers of a log cannot be read.
    pub fn open(folder: &Path, key: &KeyPair, logs: &[String]) -> Result<Witness, WitnessError> {
        let failed = |source| WitnessError::Io { path: folder.to_owned(), source };
        durable_local::create_folder_durably(&folder.join("logs")).map_err(failed)?;
        let lock = lock(folder)?;
        let mut known: HashMap<String, KnownLog> = HashMap::new();
        for key in logs {
            let verifier = StandardVerifier::new(key).map_err(|_| WitnessError::Log { key: key.clone() })?;
            let origin = verifier.name().to_owned();
            if let Some(log) = known.get_mut(&origin) {
                log.verifiers.push(verifier);
                continue;
            }
            let path = folder.join("logs").join(file_name(&origin));
            let latest = Mutex::new(read_latest(&path, &origin)?);
            known.insert(origin, KnownLog { verifiers: vec![verifier], path, latest });
        }
        Ok(Witness { public_key: key.public.clone(), cosigner: Cosigner::new(key)?, logs: known, _lock: lock })
    }

    /// Its public key, as a note verifier key.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// Answers a request to `add-checkpoint` with the cosignature, a line of a note. Blocks on the disk. `now_s` is the time,
    /// in seconds since 1970, UTC.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing has been signed.
    pub fn add_checkpoint(&self, request: &[u8], now_s: u64) -> Result<Vec<u8>, Refusal> {
        let Request { old, proof, note } = Request::read(request)?;
        let malformed = |why| Refusal::Malformed { why };
        let (text, signatures) =
            parts_of(note).ok_or_else(|| malformed("after the empty line there is no signed note"))?;
        let checkpoint =
            Checkpoint::from_bytes(&text).map_err(|_| malformed("the note's text is not that of a checkpoint"))?;
        let origin = checkpoint.origin().to_owned();
        let Some(log) = self.logs.get(&origin) else { return Err(Refusal::UnknownLog { origin }) };
        let trusted = signatures.iter().find(|found| {
            let of_this_key = |key: &&StandardVerifier| key.name() == found.name() && key.key_id() == found.id();
            log.verifiers.iter().filter(of_this_key).any(|key| key.verify(&text, found.signature()))
        });
        let Some(trusted) = trusted else { return Err(Refusal::Signature { origin }) };
        if old > checkpoint.size() {
            return Err(malformed("the old size is larger than that of the checkpoint"));
        }
        let next = Tree { size: checkpoint.size(), root: *checkpoint.hash() };
        let mut cosigned = Note::new(&text, std::slice::from_ref(trusted))?;

        let mut latest = log.latest.lock();
        check(&origin, *latest, old, next, proof)?;
        if *latest != next || !log.path.exists() {
            // The log's signature is kept with it: it is the evidence, should the log ever show another tree.
            durable_local::replace_file(&log.path, &cosigned.to_bytes()).map_err(Refusal::Disk)?;
            *latest = next;
        }
        // Only now: whatever happens from here on, the next checkpoint is compared with this one.
        drop(latest);
        cosigned.add_sigs(&[&self.cosigner.at(now_s) as &dyn Signer])?;
        let (_, signatures) = parts_of(&cosigned.to_bytes()).ok_or(NoteError::MalformedNote)?;
        signatures.last().map(signed_note::Signature::to_bytes).ok_or_else(|| NoteError::UnverifiedNote.into())
    }
}

/// Whether `next` may be cosigned after `latest`.
fn check(origin: &str, latest: Tree, old: u64, next: Tree, proof: Vec<Hash>) -> Result<(), Refusal> {
    let (origin, size) = (origin.to_owned(), latest.size);
    if old != size {
        return Err(Refusal::Conflict { origin, size });
    }
    let inconsistent = || Refusal::Inconsistent { size: next.size, old };
    if old == next.size {
        if latest.root != next.root {
            return Err(Refusal::Contradiction { origin, size });
        }
        return if proof.is_empty() { Ok(()) } else { Err(inconsistent()) };
    }
    if old == 0 {
        // Every tree continues the empty one; there is nothing to prove, and nothing may be sent.
        return if proof.is_empty() { Ok(()) } else { Err(inconsistent()) };
    }
    tlog::check_tree(&proof, next.size, next.root, old, latest.root).map_err(|_| inconsistent())
}

/// A request to `add-checkpoint`.
struct Request<'a> {
    old: u64,
    proof: Vec<Hash>,
    note: &'a [u8],
}

impl<'a> Request<'a> {
    fn read(body: &'a [u8]) -> Result<Request<'a>, Refusal> {
        let malformed = |why| Refusal::Malformed { why };
        if body.len() > MAX_REQUEST_BYTES {
            return Err(malformed("it is larger than 128 KiB"));
        }
        let mut rest = body;
        let mut line = || {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            std::str::from_utf8(line).ok()
        };
        let old = line().and_then(|line| size(line.strip_prefix("old ")?));
        let old = old.ok_or_else(|| malformed("its first line is not `old SIZE`"))?;
        let mut proof = Vec::new();
        loop {
            match line() {
                Some("") => break,
                Some(hash) => {
                    proof.push(Hash::parse_hash(hash).map_err(|_| malformed("a line of the proof is no hash"))?)
                }
                None => return Err(malformed("no empty line ends the proof")),
            }
            if proof.len() > MOST_PROOF_LINES {
                return Err(malformed("the proof has more than 63 lines"));
            }
        }
        Ok(Request { old, proof, note: rest })
    }
}

/// A decimal without leading zeros.
fn size(text: &str) -> Option<u64> {
    let size: u64 = text.parse().ok()?;
    (size.to_string() == text).then_some(size)
}

/// A name's characters are the log's choice; those of a hash are safe in a path.
fn file_name(origin: &str) -> String {
    Sha256::digest(origin.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock(folder: &Path) -> Result<File, WitnessError> {
    let path = folder.join("lock");
    let failed = |source| WitnessError::Io { path: path.clone(), source };
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(WitnessError::InUse { path: folder.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// What was cosigned last. A file that is not there means nothing; one that cannot be read must not.
fn read_latest(path: &Path, origin: &str) -> Result<Tree, WitnessError> {
    let note = match fs::read(path) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tree { size: 0, root: empty_root() }),
        Err(source) => return Err(WitnessError::Io { path: path.to_owned(), source }),
    };
    let checkpoint = parts_of(&note).and_then(|(text, _)| Checkpoint::from_bytes(&text).ok());
    let checkpoint = checkpoint.filter(|checkpoint| checkpoint.origin() == origin);
    let damaged = || WitnessError::Damaged { path: path.to_owned(), origin: origin.to_owned() };
    let checkpoint = checkpoint.ok_or_else(damaged)?;
    Ok(Tree { size: checkpoint.size(), root: *checkpoint.hash() })
}

/// One line, for a log.
#[must_use]
pub fn described(refusal: &Refusal) -> String {
    error_chain(refusal)
}

#[cfg(test)]
mod tests;

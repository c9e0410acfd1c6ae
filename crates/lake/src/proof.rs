//! Keeps the proof's log: turns the entries that the facts' commits carry into tiles, and signs a checkpoint over them.
//! The log is a function of the table's history, so a crash loses nothing: the next run finds the same entries. What must
//! never happen is to sign two trees that contradict each other; every checkpoint is therefore noted on this machine before
//! anybody sees it, and nothing is signed that does not continue the last one. Witnesses, if there are any, are asked between
//! the two: after it was noted and before it is published.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use signed_note::{Note, NoteError, Signer, StandardVerifier, VerifierList};
use tlog_tiles::checkpoint::Checkpoint;
use tollgate_flush::error_chain;
use tollgate_flush::keys::{self, KeyError, KeyPair, KeySource, Keys};
use tollgate_flush::store::{Store, durable_local};

use crate::error::LakeError;
use crate::log::LogPosition;
use crate::tree::{self, Edge, Objects, TileError};
use crate::witnessing::{Answers, Asking, WitnessSettings, WitnessStatus, Witnesses};

/// Where the checkpoint stands, relative to the root of the store.
pub const CHECKPOINT: &str = "log/checkpoint";
/// First line of an entry that makes another key the log's.
pub(crate) const KEY_NOTE: &str = "tollgate-log-key/v1";
/// Longest time between a commit and the checkpoint that covers it.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// What keeping the proof needs.
#[derive(Clone, Debug)]
pub struct ProofSettings {
    /// The log's signing keys.
    pub keys: KeySource,
    /// File on this machine for the checkpoint that was signed last.
    pub last_signed: PathBuf,
    /// How often a checkpoint is published while there is something new.
    pub interval: Duration,
    /// Who is asked to cosign.
    pub witnesses: Option<WitnessSettings>,
}

/// How the proof is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProofStatus {
    /// The log's public key, as a note verifier key; empty for a reader.
    pub public_key: String,
    /// Batches that have been committed.
    pub size: u64,
    /// The newest checkpoint.
    pub checkpoint: Option<PublishedCheckpoint>,
    /// What keeps a checkpoint from being published, and what to do; or what a published one lacks.
    pub problem: Option<String>,
    /// Witnesses that are asked to cosign.
    pub witnesses: Vec<WitnessStatus>,
}

/// A checkpoint that has been published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedCheckpoint {
    /// Batches that it covers.
    pub size: u64,
    /// Root of the tree, base64.
    pub root: String,
    /// When this process published or found it. Microseconds since 1970, UTC.
    pub at_us: i64,
}

/// Why no checkpoint was published.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The store or the table.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A note could not be signed.
    #[error("the checkpoint could not be signed")]
    Note(#[from] NoteError),
    /// The file with the checkpoint that was signed last.
    #[error("`{path}`, which keeps the last signed checkpoint, cannot be read or written; check the disk")]
    LastSigned {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody else's checkpoint.
    #[error(
        "`{path}` is not a checkpoint of this log, whose key is `{key}`: {why}; nothing is overwritten. Restore it, or use the key \
         that belongs to this bucket"
    )]
    Foreign {
        /// Of the checkpoint.
        path: String,
        /// The log's public key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// The checkpoint is gone.
    #[error(
        "`{CHECKPOINT}` is missing although the table knows of one of size {size}, and this machine signed none; restore it from a \
         witness or a copy. Nothing is signed meanwhile"
    )]
    Missing {
        /// Of the checkpoint that the table knows of.
        size: u64,
    },
    /// Tiles cannot be read.
    #[error("a tile of the log cannot be used: {0}; restore it from a copy of the bucket")]
    Tile(TileError),
    /// The tiles add up to another tree.
    #[error(
        "the tiles under `log/tile` add up to another tree of size {size} than the checkpoint that was signed: somebody changed them. \
         Nothing is signed; restore them from a copy of the bucket"
    )]
    Contradiction {
        /// Of the tree.
        size: u64,
    },
    /// Entries are missing.
    #[error("entry {place} of the log is in no commit of table `interactions` any more; restore its `_delta_log`")]
    EntryLost {
        /// Place of the first one missing.
        place: u64,
    },
}

/// See the module.
pub(crate) struct Prover {
    settings: ProofSettings,
    keys: Keys,
    /// What has been published; `None` until the log has been looked at.
    published: Option<Published>,
    /// What has been signed and waits for its witnesses.
    signed: Option<Published>,
    witnesses: Option<Witnesses>,
    problem: Option<String>,
}

#[derive(Clone)]
struct Published {
    edge: Edge,
    /// `None` for a log that has none yet.
    checkpoint: Option<PublishedCheckpoint>,
    /// Key that signed it.
    key: String,
    /// The checkpoint as it stands in the store, cosignatures included.
    note: Bytes,
}

impl Prover {
    pub(crate) fn new(settings: ProofSettings) -> Result<Prover, LakeError> {
        let keys = load(&settings.keys)?;
        let witnesses = settings.witnesses.clone().map(Witnesses::new);
        Ok(Prover { settings, keys, published: None, signed: None, witnesses, problem: None })
    }

    /// Place of the first entry that is needed to go on.
    pub(crate) fn next_entry(&self) -> Option<u64> {
        self.published.as_ref().map(|published| published.edge.size())
    }

    pub(crate) fn published_size(&self) -> u64 {
        let checkpoint = self.published.as_ref().and_then(|published| published.checkpoint.as_ref());
        checkpoint.map_or(0, |checkpoint| checkpoint.size)
    }

    pub(crate) fn interval(&self) -> Duration {
        self.settings.interval
    }

    pub(crate) fn problem(&mut self, problem: String) {
        self.problem = Some(format!("no checkpoint is published: {problem}"));
        // What was believed is looked at anew.
        self.published = None;
        self.signed = None;
    }

    /// Whether a checkpoint waits for its witnesses; nothing is signed meanwhile.
    pub(crate) fn is_waiting(&self) -> bool {
        self.signed.is_some()
    }

    pub(crate) fn status(&self, position: &LogPosition) -> ProofStatus {
        ProofStatus {
            witnesses: self.witnesses.as_ref().map(Witnesses::statuses).unwrap_or_default(),
            public_key: self.keys.current.public.clone(),
            size: position.size,
            checkpoint: self.published.as_ref().and_then(|published| published.checkpoint.clone()),
            problem: self.problem.clone(),
        }
    }

    /// An entry that makes the current key the log's, if it has been rotated and that has not been told yet.
    pub(crate) fn key_note(&mut self) -> Result<Option<String>, ProofError> {
        self.keys = load(&self.settings.keys)?;
        let Some(former) = &self.keys.former else { return Ok(None) };
        let signed_with_current =
            self.published.as_ref().is_some_and(|published| published.key == self.keys.current.public);
        if signed_with_current {
            return Ok(None);
        }
        let created_at_us = chrono::Utc::now().timestamp_micros();
        let text = format!("{KEY_NOTE}\ncreated {created_at_us}\nkey {}\n", self.keys.current.public);
        let note = signed(&text, &[former, &self.keys.current])?;
        Ok(Some(String::from_utf8_lossy(&note).into_owned()))
    }

    /// Finds out where the published log ends, if that is not known yet.
    pub(crate) async fn look(&mut self, store: &Store, position: &LogPosition) -> Result<(), ProofError> {
        if self.published.is_some() {
            return Ok(());
        }
        let ours = self.last_signed()?;
        let there = self.read_checkpoint(store).await?;
        let newest = match (&ours, &there) {
            (None, None) if position.published > 0 => return Err(ProofError::Missing { size: position.published }),
            (None, None) => {
                let key = self.keys.former.as_ref().unwrap_or(&self.keys.current).public.clone();
                self.published = Some(Published { edge: Edge::default(), checkpoint: None, key, note: Bytes::new() });
                return Ok(());
            }
            (Some(ours), None) => ours,
            (None, Some(there)) => there,
            (Some(ours), Some(there)) => {
                if there.size >= ours.size {
                    there
                } else {
                    ours
                }
            }
        };
        let edge = read_edge(store, newest).await?;
        if let Some(ours) = ours.as_ref().filter(|ours| ours.size < newest.size) {
            // Another committer went on from ours; it must have been from ours.
            read_edge(store, ours).await?;
        }
        if there.as_ref().is_none_or(|there| there.size < newest.size) {
            let found = there.as_ref().map_or_else(|| "missing".to_owned(), |there| format!("of size {}", there.size));
            tracing::error!(
                "`{CHECKPOINT}` is {found}, but this machine signed one of size {}; it is put back",
                newest.size
            );
            put_checkpoint(store, newest.note.clone()).await?;
        }
        let checkpoint = PublishedCheckpoint {
            size: newest.size,
            root: newest.root.clone(),
            at_us: chrono::Utc::now().timestamp_micros(),
        };
        if let Some(witnesses) = &mut self.witnesses {
            witnesses.look(&newest.note, newest.size);
        }
        let note = newest.note.clone();
        self.published = Some(Published { edge, checkpoint: Some(checkpoint), key: newest.key.clone(), note });
        Ok(())
    }

    /// Signs a checkpoint over `entries`, which begin at [`Prover::next_entry`], unless there is nothing new, and publishes it
    /// unless there are witnesses to be asked first: then [`Prover::publish_cosigned`] does with what came of asking.
    /// Witnesses that have not cosigned the last one are asked again.
    pub(crate) async fn publish(
        &mut self,
        store: &Store,
        entries: Vec<(u64, String)>,
    ) -> Result<Option<Asking>, ProofError> {
        let Some(published) = &self.published else { return Ok(None) };
        let is_signed = published.checkpoint.is_some() && published.key == self.keys.current.public;
        if entries.is_empty() && (is_signed || published.edge.size() == 0) {
            self.problem = self.shortfall(published);
            return Ok(self.ask(store, published));
        }
        let mut edge = published.edge.clone();
        let mut objects = Objects::new();
        for (place, entry) in entries {
            if place != edge.size() {
                return Err(ProofError::EntryLost { place: edge.size() });
            }
            edge.push(Bytes::from(entry), &mut objects);
        }
        // Another committer may have been faster, or somebody may have put something else there.
        if let Some(there) = self.read_checkpoint(store).await? {
            if there.size > edge.size() {
                self.published = None;
                return Ok(None);
            }
            if there.size >= published.edge.size() && there.size == edge.size() && there.root != edge.root().to_string()
            {
                return Err(ProofError::Contradiction { size: there.size });
            }
        }
        edge.unfinished(&mut objects);
        tree::put(store, objects).await?;
        let (size, root) = (edge.size(), edge.root());
        let text = format!("{}\n{size}\n{root}\n", self.keys.current.name());
        let note = signed(&text, &[&self.keys.current])?;
        let path = &self.settings.last_signed;
        durable_local::replace_file(path, &note)
            .map_err(|source| ProofError::LastSigned { path: path.clone(), source })?;
        let checkpoint = PublishedCheckpoint { size, root: root.to_string(), at_us: 0 };
        let key = self.keys.current.public.clone();
        let signed = Published { edge, checkpoint: Some(checkpoint), key, note: note.into() };
        if let Some(asking) = self.ask(store, &signed) {
            self.signed = Some(signed);
            return Ok(Some(asking));
        }
        self.put(store, signed).await?;
        Ok(None)
    }

    /// Publishes the checkpoint that witnesses were asked about, with what they answered. One that too few cosigned is
    /// published all the same: readers with a policy will refuse it, those without one would be served worse by none.
    pub(crate) async fn publish_cosigned(&mut self, store: &Store, answers: Answers) -> Result<(), ProofError> {
        let is_new = self.signed.is_some();
        let asked_about = self.signed.take().or_else(|| self.published.clone());
        let (Some(mut cosigned), Some(witnesses)) = (asked_about, &mut self.witnesses) else { return Ok(()) };
        let note = witnesses.take(answers, &cosigned.note, cosigned.edge.size());
        if !is_new && note == cosigned.note {
            self.problem = self.shortfall(&cosigned);
            return Ok(());
        }
        cosigned.note = note;
        // Another committer may have gone on while the witnesses were asked.
        if self.read_checkpoint(store).await?.is_some_and(|there| there.size > cosigned.edge.size()) {
            self.published = None;
            return Ok(());
        }
        self.put(store, cosigned).await
    }

    async fn put(&mut self, store: &Store, mut signed: Published) -> Result<(), ProofError> {
        put_checkpoint(store, signed.note.clone()).await?;
        if let Some(checkpoint) = &mut signed.checkpoint {
            checkpoint.at_us = chrono::Utc::now().timestamp_micros();
        }
        self.problem = self.shortfall(&signed);
        self.published = Some(signed);
        Ok(())
    }

    fn ask(&self, store: &Store, signed: &Published) -> Option<Asking> {
        let witnesses = self.witnesses.as_ref().filter(|_| signed.checkpoint.is_some())?;
        witnesses.ask(store, signed.edge.size(), &signed.note)
    }

    /// Words what the witnesses have not done for a published checkpoint.
    fn shortfall(&self, published: &Published) -> Option<String> {
        let witnesses = self.witnesses.as_ref().filter(|_| published.checkpoint.is_some())?;
        let shortfall = witnesses.shortfall(&published.note)?;
        Some(format!("the newest checkpoint is published all the same, but {shortfall}"))
    }

    fn last_signed(&self) -> Result<Option<Signed>, ProofError> {
        let path = &self.settings.last_signed;
        match fs_err::read(path) {
            Ok(note) => self.check(&path.display().to_string(), note.into()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ProofError::LastSigned { path: path.clone(), source }),
        }
    }

    async fn read_checkpoint(&self, store: &Store) -> Result<Option<Signed>, ProofError> {
        match read_checkpoint(store).await? {
            Some(note) => self.check(CHECKPOINT, note).map(Some),
            None => Ok(None),
        }
    }

    fn check(&self, path: &str, note: Bytes) -> Result<Signed, ProofError> {
        let known = [Some(&self.keys.current), self.keys.former.as_ref()];
        let keys: Vec<String> = known.into_iter().flatten().map(|key| key.public.clone()).collect();
        Signed::read(note, self.keys.current.name(), &keys).map_err(|why| ProofError::Foreign {
            path: path.to_owned(),
            key: self.keys.current.public.clone(),
            why,
        })
    }
}

fn load(source: &KeySource) -> Result<Keys, KeyError> {
    source.load(None, || {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        keys::generate(&format!("tollgate.log/{random}"))
    })
}

fn signed(text: &str, keys: &[&KeyPair]) -> Result<Vec<u8>, ProofError> {
    let signers = keys.iter().map(|key| key.signer()).collect::<Result<Vec<_>, _>>()?;
    let signers: Vec<&dyn Signer> = signers.iter().map(|signer| signer as &dyn Signer).collect();
    let mut note = Note::new(text.as_bytes(), &[])?;
    note.add_sigs(&signers)?;
    Ok(note.to_bytes())
}

/// A checkpoint whose signature has been checked.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) size: u64,
    /// Base64.
    pub(crate) root: String,
    /// The key it is signed with.
    pub(crate) key: String,
    pub(crate) note: Bytes,
}

impl Signed {
    /// Reads a checkpoint of `origin` whoever signed it: for one that is from before any key that is trusted.
    pub(crate) fn unchecked(note: Bytes, origin: &str) -> Result<Signed, String> {
        let parsed = Note::from_bytes(&note).map_err(|error| format!("it is not a signed note ({error})"))?;
        let checkpoint =
            Checkpoint::from_bytes(parsed.text()).map_err(|_| "its text is not that of a checkpoint".to_owned())?;
        if checkpoint.origin() != origin {
            return Err(format!("its origin is `{}`, not `{origin}`", checkpoint.origin()));
        }
        Ok(Signed { size: checkpoint.size(), root: checkpoint.hash().to_string(), key: String::new(), note })
    }

    /// Reads a checkpoint of `origin` that one of `keys` signed; says what is wrong with another.
    pub(crate) fn read(note: Bytes, origin: &str, keys: &[String]) -> Result<Signed, String> {
        let read = Signed::unchecked(note, origin)?;
        let parsed = Note::from_bytes(&read.note).map_err(|error| format!("it is not a signed note ({error})"))?;
        let signed_by = |key: &&String| {
            let Ok(verifier) = StandardVerifier::new(key) else { return false };
            parsed.verify(&VerifierList::new(vec![Box::new(verifier)])).is_ok()
        };
        let Some(key) = keys.iter().find(signed_by) else {
            return Err("no key that is known has signed it".to_owned());
        };
        Ok(Signed { key: key.clone(), ..read })
    }
}

/// Whether the checkpoint that was signed last, kept in this file, carries a signature of this key.
#[must_use]
pub fn is_signed_with(last_signed: &Path, key: &KeyPair) -> bool {
    let Ok(note) = fs_err::read(last_signed) else { return false };
    Signed::read(note.into(), key.name(), std::slice::from_ref(&key.public)).is_ok()
}

/// The bytes of the checkpoint, if there is one.
pub(crate) async fn read_checkpoint(store: &Store) -> Result<Option<Bytes>, LakeError> {
    let failed = |source| LakeError::Io { path: CHECKPOINT.to_owned(), source };
    match store.object_store.get(&object_store::path::Path::from(CHECKPOINT)).await {
        Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(source) => Err(failed(source)),
    }
}

async fn put_checkpoint(store: &Store, note: Bytes) -> Result<(), LakeError> {
    let put = store.object_store.put(&object_store::path::Path::from(CHECKPOINT), note.into()).await;
    put.map(|_| ()).map_err(|source| LakeError::Io { path: CHECKPOINT.to_owned(), source })
}

async fn read_edge(store: &Store, signed: &Signed) -> Result<Edge, ProofError> {
    let edge = Edge::read(store, signed.size).await?.map_err(ProofError::Tile)?;
    if edge.root().to_string() != signed.root {
        return Err(ProofError::Contradiction { size: signed.size });
    }
    Ok(edge)
}

impl std::fmt::Debug for Prover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prover({})", self.keys.current.public)
    }
}

/// One line, for a status.
pub(crate) fn described(error: &ProofError) -> String {
    error_chain(error)
}

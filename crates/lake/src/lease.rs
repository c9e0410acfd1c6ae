//! Who commits: one process at a time, so that two do not do the same work. Nothing is safe *because* of the lease. Two
//! committers at once are kept apart by Delta, where one of two writers of a version fails; therefore whoever cannot find
//! out whether it holds the lease goes on committing.
//!
//! In a bucket the lease is the object `lease/committer`, which its holder rewrites by compare-and-swap every
//! [`RENEW_EVERY`]. Whoever wants it watches: an object that has not changed for [`TTL`] by the watcher's own monotonic clock
//! has no living holder and may be taken. Clocks of two machines are never compared. A local folder has no
//! compare-and-swap, and needs none: there it is a lock on the file `lease/committer`, which ends with its process.
//!
//! The holder is the writer of the data directory, of which there is one process at a time: after a crash it takes its own
//! lease again without waiting.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
use tollgate_flush::error_chain;
use tollgate_flush::store::Store;
use tollgate_interaction::WriterId;

/// How long a lease is believed to be held without a sign of its holder.
pub(crate) const TTL: Duration = Duration::from_secs(15);
/// Three signs within [`TTL`]; Google takes one write a second for an object.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// A lease is not worth more waiting: commits go on without an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The object, and the file in a local folder.
const LEASE: &str = "lease/committer";

/// This process's claim to be the committer of a lake.
pub(crate) struct Lease {
    place: Place,
    standing: Option<Standing>,
}

enum Place {
    Bucket(InBucket),
    Folder(InFolder),
}

/// Whose the lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Ours,
    Theirs {
        /// As far as the lease says.
        holder: String,
    },
    /// The store did not say.
    Unknown,
}

/// Why the store did not say.
#[derive(Debug, thiserror::Error)]
enum Silence {
    #[error("the lease could not be read or written")]
    Store(#[from] object_store::Error),
    #[error("the lease could not be locked")]
    Folder(#[from] io::Error),
    #[error("the store did not answer within {:?}", ANSWER_TIMEOUT)]
    Late(#[from] tokio::time::error::Elapsed),
}

impl Lease {
    /// A claim of `holder` to commit to the lake in `store`. Does not talk to the store yet.
    pub(crate) fn new(store: &Store, holder: WriterId) -> Lease {
        let folder = (store.url.scheme() == "file").then(|| store.url.to_file_path().ok()).flatten();
        let place = match folder {
            Some(folder) => Place::Folder(InFolder { path: folder.join(LEASE), holder, lock: None }),
            None => Place::Bucket(InBucket::new(Arc::clone(&store.object_store), holder)),
        };
        Lease { place, standing: None }
    }

    /// Whether this process is to commit now. Takes or renews the lease if that is due, so it is called often: several
    /// times within [`TTL`].
    pub(crate) async fn may_commit(&mut self, now: Instant) -> bool {
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, self.place.ask(now)).await;
        match asked.map_err(Silence::from).and_then(|answer| answer) {
            Ok(standing) => {
                let may_commit = standing == Standing::Ours;
                self.note(standing, None);
                may_commit
            }
            Err(silence) => {
                self.note(Standing::Unknown, Some(&silence));
                !self.place.has_living_holder(now)
            }
        }
    }

    /// Gives the lease up, so that the next committer need not wait for its end.
    pub(crate) async fn release(mut self) {
        let released = tokio::time::timeout(ANSWER_TIMEOUT, self.place.release()).await;
        if let Err(silence) = released.map_err(Silence::from).and_then(|answer| answer) {
            tracing::debug!(error = %error_chain(&silence), "the committer's lease was not given up; it ends by itself");
        }
    }

    /// Says once what has changed.
    fn note(&mut self, standing: Standing, silence: Option<&Silence>) {
        if self.standing.as_ref() == Some(&standing) {
            return;
        }
        match (&standing, silence) {
            (Standing::Ours, _) if matches!(self.standing, Some(Standing::Theirs { .. })) => {
                tracing::info!("this process commits to the lake from now on");
            }
            (Standing::Ours, _) => tracing::debug!("this process commits to the lake"),
            (Standing::Theirs { holder }, _) => {
                tracing::info!(lease.holder = %holder, "`{holder}` commits to the lake; this process reads what it commits");
            }
            (Standing::Unknown, silence) => tracing::warn!(
                error = silence.map(|silence| error_chain(silence)),
                "nobody can tell who commits to the lake; two may, which wastes work and does no harm"
            ),
        }
        self.standing = Some(standing);
    }
}

impl Place {
    async fn ask(&mut self, now: Instant) -> Result<Standing, Silence> {
        match self {
            Place::Bucket(lease) => Ok(lease.ask(now).await?),
            Place::Folder(lease) => lease.ask().await,
        }
    }

    fn has_living_holder(&self, now: Instant) -> bool {
        match self {
            Place::Bucket(lease) => lease.seen.as_ref().is_some_and(|seen| now.duration_since(seen.since) < TTL),
            Place::Folder(_) => false,
        }
    }

    async fn release(&mut self) -> Result<(), Silence> {
        match self {
            Place::Bucket(lease) => Ok(lease.release().await?),
            Place::Folder(lease) => {
                lease.lock = None;
                Ok(())
            }
        }
    }
}

/// The lease as an object.
struct InBucket {
    store: Arc<dyn ObjectStore>,
    path: Path,
    holder: WriterId,
    held: Option<Held>,
    /// What another process last wrote.
    seen: Option<Seen>,
}

struct Held {
    version: UpdateVersion,
    counter: u64,
    renewed_at: Instant,
}

struct Seen {
    content: Bytes,
    /// When we first saw this content.
    since: Instant,
}

/// Content of the object.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Term {
    /// `None`: given up, for anyone to take.
    holder: Option<WriterId>,
    /// Goes up with every write, so that a living holder's object changes.
    counter: u64,
    /// For people who look at the object. No process decides anything by it, since clocks differ.
    expires_at: String,
}

struct Found {
    content: Bytes,
    version: UpdateVersion,
    /// `None` if another version of this program wrote something else.
    term: Option<Term>,
}

impl InBucket {
    fn new(store: Arc<dyn ObjectStore>, holder: WriterId) -> InBucket {
        InBucket { store, path: Path::from(LEASE), holder, held: None, seen: None }
    }

    async fn ask(&mut self, now: Instant) -> object_store::Result<Standing> {
        if let Some(held) = &self.held {
            if now.duration_since(held.renewed_at) < RENEW_EVERY {
                return Ok(Standing::Ours);
            }
            let (version, counter) = (held.version.clone(), held.counter + 1);
            if self.put(PutMode::Update(version), counter, now).await? {
                return Ok(Standing::Ours);
            }
        }
        // Twice: a put that is refused because an earlier one of ours was made after all is put right by looking again.
        for _ in 0..2 {
            let (mode, counter) = match self.look().await? {
                None => (PutMode::Create, 1),
                Some(found) if self.is_free(&found, now) => {
                    let counter = found.term.map_or(0, |term| term.counter) + 1;
                    (PutMode::Update(found.version), counter)
                }
                Some(found) => return Ok(theirs(found.term)),
            };
            if self.put(mode, counter, now).await? {
                return Ok(Standing::Ours);
            }
        }
        Ok(theirs(None))
    }

    /// Whether the lease may be taken: it is our own, was given up, or has not changed for [`TTL`] before our eyes.
    fn is_free(&mut self, found: &Found, now: Instant) -> bool {
        let holder = found.term.as_ref().map(|term| term.holder.as_ref());
        if holder.is_some_and(|holder| holder.is_none_or(|holder| *holder == self.holder)) {
            return true;
        }
        match &self.seen {
            Some(seen) if seen.content == found.content => now.duration_since(seen.since) >= TTL,
            _ => {
                self.seen = Some(Seen { content: found.content.clone(), since: now });
                false
            }
        }
    }

    async fn look(&self) -> object_store::Result<Option<Found>> {
        let found = match self.store.get(&self.path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let content = found.bytes().await?;
        let term = serde_json::from_slice(&content).ok();
        Ok(Some(Found { content, version, term }))
    }

    /// Writes our name; false if the object is no longer what it was.
    async fn put(&mut self, mode: PutMode, counter: u64, now: Instant) -> object_store::Result<bool> {
        let content = content_of(Some(self.holder.clone()), counter);
        match self.store.put_opts(&self.path, content.into(), mode.into()).await {
            Ok(written) => {
                self.held = Some(Held { version: written.into(), counter, renewed_at: now });
                self.seen = None;
                Ok(true)
            }
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                self.held = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn release(&mut self) -> object_store::Result<()> {
        let Some(held) = self.held.take() else { return Ok(()) };
        let content = content_of(None, held.counter + 1);
        self.store.put_opts(&self.path, content.into(), PutMode::Update(held.version).into()).await?;
        Ok(())
    }
}

fn theirs(term: Option<Term>) -> Standing {
    let holder = term.and_then(|term| term.holder);
    Standing::Theirs { holder: holder.map_or_else(|| "another process".to_owned(), String::from) }
}

fn content_of(holder: Option<WriterId>, counter: u64) -> Vec<u8> {
    let expires_at = (chrono::Utc::now() + TTL).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let term = Term { holder, counter, expires_at };
    // A struct of a name, a number and a text always becomes JSON.
    serde_json::to_vec(&term).unwrap_or_default()
}

/// The lease as a locked file; the lock is the lease, the content only says whose it is.
struct InFolder {
    path: PathBuf,
    holder: WriterId,
    lock: Option<File>,
}

impl InFolder {
    async fn ask(&mut self) -> Result<Standing, Silence> {
        if self.lock.is_some() {
            return Ok(Standing::Ours);
        }
        let (path, holder) = (self.path.clone(), self.holder.clone());
        let locked = tokio::task::spawn_blocking(move || lock(&path, &holder)).await.map_err(io::Error::other)??;
        Ok(match locked {
            Locked::Ours(file) => {
                self.lock = Some(file);
                Standing::Ours
            }
            Locked::Theirs { holder } => Standing::Theirs { holder },
        })
    }
}

enum Locked {
    Ours(File),
    Theirs { holder: String },
}

fn lock(path: &FilePath, holder: &WriterId) -> io::Result<Locked> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(holder.as_str().as_bytes())?;
            Ok(Locked::Ours(file))
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            Ok(Locked::Theirs { holder })
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests;

//! The answers on the disk: one file of redb (ADR 0014). Every function here may wait for the disk and is called from threads
//! that may.
//!
//! Three tables: the cards, read at the start and when answers are purged; the answers; and the vectors of questions, in the
//! order of their surroundings, so that those of one set stand together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::disk::{Disk, LocalDisk, forget_probe, is_full};
use super::entry::{Card, Entry, seal, unseal};
use super::key::Key;
use super::vector::{self, Near, Vector};

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const CARDS: Table = TableDefinition::new("cards");
const ANSWERS: Table = TableDefinition::new("answers");
const VECTORS: Table = TableDefinition::new("vectors");

/// The file within the cache's directory.
const FILE: &str = "answers.redb";
/// The file that takes its place once it is whole.
const NEW_FILE: &str = "answers.redb.new";
/// Answers that are copied in one go.
const COPIED_AT_ONCE: usize = 256;
/// Vectors that a question is compared with at most. One of 1,536 numbers is compared in a microsecond.
pub(super) const MOST_COMPARED: usize = 2_000;

/// The open file.
pub(super) struct Shelf {
    database: Database,
    disk: Arc<dyn Disk>,
}

/// Why the file gave nothing, or took nothing.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// Another process has it.
    #[error("the cache `{}` is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// What it holds is no cache, or no longer one.
    #[error("the cache is damaged")]
    Damaged(#[source] Box<redb::Error>),
    /// The disk has no room.
    #[error("the disk has no room for the cache")]
    Full(#[source] Box<redb::Error>),
    /// The disk, or what is on it, does not let it be used.
    #[error("the cache cannot be read or written")]
    Failed(#[source] Box<redb::Error>),
    /// The directory of the file cannot be made, or the file not be removed.
    #[error("the cache cannot be put at `{}`", path.display())]
    Place {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What is on the disk cannot be reached just now.
    #[error("the cache cannot be used just now; end the process and delete `{}` to forget all that is in it", path.display())]
    Away {
        /// The file.
        path: PathBuf,
    },
    /// The library gave up in a way of its own.
    #[error("the cache's library broke off")]
    BrokeOff,
}

/// One thing to be written.
#[derive(Debug)]
pub(super) enum Change {
    Put { key: Key, card: Vec<u8>, answer: Vec<u8>, vector: Option<(Key, Vector)> },
    Remove { key: Key },
}

impl Shelf {
    /// Opens the file in `folder`, or makes it.
    ///
    /// # Errors
    /// [`ShelfError`]; what is damaged stays as it is.
    pub(super) fn open(folder: &Path) -> Result<Shelf, ShelfError> {
        Shelf::open_on(Arc::new(LocalDisk), folder)
    }

    /// The same on a disk of one's own.
    ///
    /// # Errors
    /// [`ShelfError`]; what is damaged stays as it is.
    pub(super) fn open_on(disk: Arc<dyn Disk>, folder: &Path) -> Result<Shelf, ShelfError> {
        let shelf = Shelf::open_file(disk, folder, FILE)?;
        // What a process left that ended while it forgot something, or tried for room. Nobody else is at it now.
        remove_file(folder.join(NEW_FILE))?;
        forget_probe(folder);
        Ok(shelf)
    }

    fn open_file(disk: Arc<dyn Disk>, folder: &Path, file: &str) -> Result<Shelf, ShelfError> {
        let path = folder.join(file);
        make(folder).map_err(|source| ShelfError::Place { path: folder.to_owned(), source })?;
        let database = match disk.open(&path) {
            Ok(database) => database,
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => return Err(ShelfError::InUse { path }),
            Err(error) => return Err(error.into()),
        };
        let shelf = Shelf { database, disk };
        // Reading finds no table that nobody has made. One that is there is not made again: a full disk can be read.
        if !shelf.has_tables()? {
            shelf.apply(&[])?;
        }
        Ok(shelf)
    }

    fn has_tables(&self) -> Result<bool, ShelfError> {
        let reading = self.database.begin_read()?;
        for table in [CARDS, ANSWERS, VECTORS] {
            match reading.open_table(table) {
                Ok(_) => {}
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Takes the file away. What it held is forgotten.
    ///
    /// # Errors
    /// [`ShelfError::Place`] if it cannot be removed.
    pub(super) fn discard(folder: &Path) -> Result<(), ShelfError> {
        remove_file(folder.join(FILE))?;
        sync(folder).map_err(|source| ShelfError::Place { path: folder.to_owned(), source })
    }

    /// Where the file in `folder` is.
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// A new file in the place of this one, with the answers that `keeps` holds for: of the others no byte is left, as there
    /// would be where their pages were only set free.
    ///
    /// # Errors
    /// [`ShelfError`] if either file cannot be used; then this one stays.
    pub(super) fn rewritten(&self, folder: &Path, keeps: impl Fn(&Card) -> bool) -> Result<Shelf, ShelfError> {
        let rewritten = self.rewrite(folder, keeps);
        if rewritten.is_err() {
            // The rest of it takes room, and holds what was said.
            remove_file(folder.join(NEW_FILE))?;
        }
        rewritten
    }

    fn rewrite(&self, folder: &Path, keeps: impl Fn(&Card) -> bool) -> Result<Shelf, ShelfError> {
        remove_file(folder.join(NEW_FILE))?;
        let new = Shelf::open_file(Arc::clone(&self.disk), folder, NEW_FILE)?;
        let mut kept = Vec::new();
        self.cards(|key, card| kept.extend(card.filter(&keeps).map(|card| (key, card))))?;
        for some in kept.chunks(COPIED_AT_ONCE) {
            let copies = some.iter().map(|(key, card)| self.copy(*key, card)).collect::<Result<Vec<_>, _>>()?;
            new.apply(&copies.into_iter().flatten().collect::<Vec<_>>())?;
        }
        let (from, path) = (folder.join(NEW_FILE), folder.join(FILE));
        let renamed = std::fs::rename(from, &path).and_then(|()| sync(folder));
        renamed.map_err(|source| ShelfError::Place { path, source })?;
        Ok(new)
    }

    fn copy(&self, key: Key, card: &Card) -> Result<Option<Change>, ShelfError> {
        let reading = self.database.begin_read()?;
        let Some(entry) = self.get(&key)? else { return Ok(None) };
        let vector = match card.surroundings.as_deref().and_then(Key::read) {
            Some(surroundings) => {
                let place = [surroundings.bytes(), key.bytes()].concat();
                let found = reading.open_table(VECTORS)?.get(place.as_slice())?;
                found.and_then(|kept| Vector::read(kept.value())).map(|vector| (surroundings, vector))
            }
            None => None,
        };
        Ok(put(key, &entry, vector))
    }

    /// Whether there is a file in `folder`.
    pub(super) fn exists(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// Bytes of the file in `folder`.
    pub(super) fn file_bytes(folder: &Path) -> u64 {
        std::fs::metadata(folder.join(FILE)).map_or(0, |file| file.len())
    }

    /// The answer that `key` names; `None` if there is none or it is damaged.
    ///
    /// # Errors
    /// [`ShelfError`] if the file cannot be read.
    pub(super) fn get(&self, key: &Key) -> Result<Option<Entry>, ShelfError> {
        let answers = self.database.begin_read()?.open_table(ANSWERS)?;
        let found = answers.get(key.bytes())?;
        Ok(found.and_then(|sealed| unseal(key, sealed.value())))
    }

    /// Shows every card; `None` for one that is damaged.
    ///
    /// # Errors
    /// [`ShelfError`] if the file cannot be read.
    pub(super) fn cards(&self, mut each: impl FnMut(Key, Option<Card>)) -> Result<(), ShelfError> {
        let cards = self.database.begin_read()?.open_table(CARDS)?;
        for card in cards.iter()? {
            let (key, sealed) = card?;
            if let Some(key) = Key::read(key.value()) {
                each(key, unseal(&key, sealed.value()));
            }
        }
        Ok(())
    }

    /// The questions in `surroundings` that are nearest to `asked`, nearest first.
    ///
    /// # Errors
    /// [`ShelfError`] if the file cannot be read.
    pub(super) fn nearest(&self, surroundings: &Key, asked: &Vector) -> Result<Vec<Near>, ShelfError> {
        let vectors = self.database.begin_read()?.open_table(VECTORS)?;
        let mut near = Vec::new();
        let first = surroundings.bytes();
        for found in vectors.range(first..)?.take(MOST_COMPARED) {
            let (place, sealed) = found?;
            let Some(key) = place.value().strip_prefix(first) else { break };
            let Some(key) = Key::read(key) else { continue };
            if let Some(similarity) = vector::similarity(asked, sealed.value()) {
                near.push(Near { key, similarity });
            }
        }
        near.sort_by_key(|near| std::cmp::Reverse(near.similarity));
        Ok(near)
    }

    /// Makes all changes, or none of them, and returns when they are on the disk.
    ///
    /// # Errors
    /// [`ShelfError`] if the file cannot be written.
    pub(super) fn apply(&self, changes: &[Change]) -> Result<(), ShelfError> {
        let writing = self.database.begin_write()?;
        {
            let mut cards = writing.open_table(CARDS)?;
            let mut answers = writing.open_table(ANSWERS)?;
            let mut vectors = writing.open_table(VECTORS)?;
            for change in changes {
                let (Change::Put { key, .. } | Change::Remove { key }) = change;
                // Where the question stood whose answer is replaced or removed.
                let old = cards.remove(key.bytes())?;
                let old = old.and_then(|sealed| unseal::<Card>(key, sealed.value())?.surroundings);
                if let Some(surroundings) = old {
                    let place = [surroundings.as_slice(), key.bytes()].concat();
                    vectors.remove(place.as_slice())?;
                }
                match change {
                    Change::Remove { .. } => {
                        answers.remove(key.bytes())?;
                    }
                    Change::Put { card, answer, vector, .. } => {
                        cards.insert(key.bytes(), card.as_slice())?;
                        answers.insert(key.bytes(), answer.as_slice())?;
                        if let Some((surroundings, vector)) = vector {
                            let place = [surroundings.bytes(), key.bytes()].concat();
                            vectors.insert(place.as_slice(), vector.bytes().as_slice())?;
                        }
                    }
                }
            }
        }
        writing.commit()?;
        Ok(())
    }
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shelf(…)")
    }
}

impl From<redb::Error> for ShelfError {
    fn from(error: redb::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        match error {
            redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted => {
                ShelfError::Damaged(Box::new(error))
            }
            redb::Error::Io(ref io) if matches!(io.kind(), InvalidData | UnexpectedEof) => {
                ShelfError::Damaged(Box::new(error))
            }
            redb::Error::Io(ref io) if is_full(io) => ShelfError::Full(Box::new(error)),
            error => ShelfError::Failed(Box::new(error)),
        }
    }
}

/// The library has an error for each kind of step.
macro_rules! of_steps {
    ($($step:ty),+) => {$(
        impl From<$step> for ShelfError {
            fn from(error: $step) -> Self {
                redb::Error::from(error).into()
            }
        }
    )+};
}
of_steps!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError, redb::DatabaseError);

fn remove_file(path: PathBuf) -> Result<(), ShelfError> {
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(ShelfError::Place { path, source }),
        _ => Ok(()),
    }
}

/// Makes it last that a file of `folder` has gone, or has taken another's place.
fn sync(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// A directory that only its owner can read: it holds what was said.
fn make(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Seals an answer and its card for the shelf.
pub(super) fn put(key: Key, entry: &Entry, vector: Option<(Key, Vector)>) -> Option<Change> {
    Some(Change::Put { key, card: seal(&key, &entry.card)?, answer: seal(&key, entry)?, vector })
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::entry;
    use super::super::key::Parts;
    use super::*;

    fn key(name: &str) -> Key {
        Parts::of_tenant(name).key()
    }

    #[test]
    fn answers_outlive_the_process_and_removed_ones_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other, around) = (key("one"), key("other"), key("around"));
        let vector = Vector::of(&[0.6, 0.8]).unwrap();
        {
            let shelf = Shelf::open(dir.path()).unwrap();
            let mut asked = entry("acme", b"other");
            asked.card.surroundings = Some(around.bytes().to_vec());
            let changes = [
                put(one, &entry("acme", b"one"), None).unwrap(),
                put(other, &asked, Some((around, vector.clone()))).unwrap(),
            ];
            shelf.apply(&changes).unwrap();
            assert!(matches!(Shelf::open(dir.path()), Err(ShelfError::InUse { .. })));
        }
        let shelf = Shelf::open(dir.path()).unwrap();
        assert_eq!(shelf.get(&one).unwrap().unwrap().body, b"one");
        let mut cards = Vec::new();
        shelf.cards(|key, card| cards.push((key, card.unwrap().tenant))).unwrap();
        assert_eq!(cards.len(), 2);
        let near = shelf.nearest(&around, &vector).unwrap();
        assert_eq!(near.iter().map(|near| near.key).collect::<Vec<_>>(), [other]);
        assert_eq!(shelf.nearest(&key("elsewhere"), &vector).unwrap().len(), 0);
        shelf.apply(&[Change::Remove { key: other }]).unwrap();
        assert_eq!(shelf.get(&other).unwrap(), None);
        assert_eq!(shelf.nearest(&around, &vector).unwrap().len(), 0);
    }

    #[test]
    fn of_what_is_purged_no_byte_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path()).unwrap();
        let around = key("around");
        let mut asked = entry("acme", b"something that stays");
        asked.card.surroundings = Some(around.bytes().to_vec());
        let vector = Vector::of(&[0.6, 0.8]).unwrap();
        let mut changes = vec![put(key("stays"), &asked, Some((around, vector.clone()))).unwrap()];
        let secret = "a secret that must go ".repeat(20);
        for at in 0..300 {
            changes.push(put(key(&at.to_string()), &entry("other", secret.as_bytes()), None).unwrap());
        }
        shelf.apply(&changes).unwrap();
        let holds = || {
            let file = std::fs::read(dir.path().join(FILE)).unwrap();
            memchr::memmem::find(&file, b"a secret that must go").is_some()
        };
        assert!(holds());
        let new = shelf.rewritten(dir.path(), |card| card.tenant == "acme").unwrap();
        drop(shelf);
        assert!(!holds());
        assert_eq!(new.get(&key("stays")).unwrap(), Some(asked));
        assert_eq!(new.nearest(&around, &vector).unwrap().len(), 1);
        drop(new);
        let mut cards = 0;
        Shelf::open(dir.path()).unwrap().cards(|_, _| cards += 1).unwrap();
        assert_eq!(cards, 1);
    }

    #[test]
    fn what_is_no_cache_is_told_from_what_the_disk_refuses() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), vec![7; 100_000]).unwrap();
        let error = Shelf::open(dir.path()).unwrap_err();
        assert!(matches!(error, ShelfError::Damaged(_)), "{error:?}");
        Shelf::discard(dir.path()).unwrap();
        Shelf::open(dir.path()).unwrap();
        let error = Shelf::open(Path::new("/proc/no/such/place")).unwrap_err();
        assert!(matches!(error, ShelfError::Place { .. }), "{error:?}");
    }
}

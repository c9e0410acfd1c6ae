//! The few things that the cache asks of its disk, behind a seam, so that tests can let it run full.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use redb::{Database, DatabaseError};

/// Memory that the library keeps pages in.
const PAGES_BYTES: usize = 16 * 1024 * 1024;
/// The file that finds out whether there is room again.
const PROBE_FILE: &str = "answers.room";
/// What has to fit: the library's file grows by pages, and an answer is shorter than this more often than not.
const PROBE_BYTES: usize = 1024 * 1024;

/// Where the file is.
pub(super) trait Disk: Send + Sync {
    /// Opens the file at `path`, or makes it.
    fn open(&self, path: &Path) -> Result<Database, DatabaseError>;

    /// Whether something can be written in `folder` that was not there before.
    ///
    /// # Errors
    /// What the system says if not.
    fn try_room(&self, folder: &Path) -> io::Result<()>;
}

/// The file system.
pub(super) struct LocalDisk;

impl Disk for LocalDisk {
    fn open(&self, path: &Path) -> Result<Database, DatabaseError> {
        builder().create(path)
    }

    fn try_room(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join(PROBE_FILE);
        // Only writing tells: what a file system says is free need not be this user's.
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&vec![0; PROBE_BYTES])?;
            file.sync_data()
        });
        forget_probe(folder);
        written
    }
}

/// Takes away what a process left that ended while it tried.
pub(super) fn forget_probe(folder: &Path) {
    // Usually there is none, and one that cannot be removed is written over the next time.
    let _ = std::fs::remove_file(folder.join(PROBE_FILE));
}

/// How the library keeps the file.
pub(super) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(PAGES_BYTES);
    builder
}

/// Whether `error` says that there is no room, which can pass, and not that the disk is broken.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
pub(super) mod tests {
    use std::ops::Bound;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use redb::backends::FileBackend;
    use redb::{BackendError, StorageBackend};

    use super::*;

    /// A disk with room for so many bytes in each file. A file may be longer than that, as it may on a real one; only what is
    /// written beyond finds no room.
    #[derive(Clone, Debug)]
    pub(in crate::cache) struct SmallDisk {
        room: Arc<AtomicU64>,
    }

    impl SmallDisk {
        pub(in crate::cache) fn of(bytes: u64) -> SmallDisk {
            SmallDisk { room: Arc::new(AtomicU64::new(bytes)) }
        }

        pub(in crate::cache) fn make_room(&self) {
            self.room.store(u64::MAX, Ordering::Relaxed);
        }

        /// From now on nothing fits beyond what is there.
        pub(in crate::cache) fn fill(&self, folder: &Path) {
            let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
            self.room.store(files.max().unwrap_or(0), Ordering::Relaxed);
        }

        fn fits(&self, end: u64) -> io::Result<()> {
            if end > self.room.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    impl Disk for SmallDisk {
        fn open(&self, path: &Path) -> Result<Database, DatabaseError> {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
            let file = FileBackend::new(file)?;
            builder().create_with_backend(SmallFile { disk: self.clone(), file })
        }

        fn try_room(&self, _: &Path) -> io::Result<()> {
            self.fits(u64::MAX)
        }
    }

    #[derive(Debug)]
    struct SmallFile {
        disk: SmallDisk,
        file: FileBackend,
    }

    impl StorageBackend for SmallFile {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.file.set_len(len)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.file.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.disk.fits(offset + data.len() as u64)?;
            self.file.write(offset, data)
        }
        fn close(&self) -> io::Result<()> {
            self.file.close()
        }
        fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.file.try_lock_range(start, end)
        }
        fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.file.try_lock_shared_range(start, end)
        }
        fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.file.lock_range(start, end)
        }
        fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.file.lock_shared_range(start, end)
        }
        fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.file.unlock_range(start, end)
        }
        fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.file.query_lock_range(start, end)
        }
    }

    #[test]
    fn whether_there_is_room_is_tried_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        LocalDisk.try_room(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(LocalDisk.try_room(&dir.path().join("nowhere")).is_err());
    }
}

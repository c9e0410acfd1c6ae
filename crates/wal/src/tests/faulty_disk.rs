//! A disk that does as it is told, and that knows, beside what readers see, what a loss of power would leave.
//!
//! What readers see are real files. Beside them stands what has reached the platter: whole sectors, brought there by an
//! fsync, or by chance when the power fails. After an fsync that failed the kernel calls the pages clean: they do not
//! reach the platter by a second fsync, which is why a second one that reports success is a lie.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::segment_files;
use crate::disk::{Disk, LocalDisk, SegmentFile};

pub(crate) const EINTR: i32 = 4;
pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;

const SECTOR_BYTES: usize = 512;

/// What the disk does next. An empty plan works.
#[derive(Default)]
pub(crate) struct Plan {
    /// Bytes the disk takes before it is full.
    pub(crate) room_bytes: Option<u64>,
    /// At most so many bytes per write.
    pub(crate) short_bytes: Option<usize>,
    /// Results of the next calls, by error number; `None` succeeds.
    pub(crate) writes: VecDeque<Option<i32>>,
    pub(crate) syncs: VecDeque<Option<i32>>,
    pub(crate) creations: VecDeque<Option<i32>>,
    pub(crate) renames: VecDeque<Option<i32>>,
    pub(crate) removals: VecDeque<Option<i32>>,
    pub(crate) directory_syncs: VecDeque<Option<i32>>,
    /// A write that fails has written half of its bytes by then.
    pub(crate) failing_writes_are_torn: bool,
    /// After an fsync that fails, readers see what is on the platter: the pages were clean, and have been evicted.
    pub(crate) failing_syncs_evict: bool,
    pub(crate) sync_takes: Duration,
    pub(crate) sync_calls: usize,
    /// Happens while the next fsync is under way.
    pub(crate) during_sync: Option<Box<dyn FnOnce() + Send>>,
    files: Vec<FileState>,
    /// The directory as readers see it, and as it is on the platter.
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    /// What happened to names since the directory was synced, in the order in which a journal would keep it.
    name_changes: Vec<NameChange>,
}

#[derive(Default)]
struct FileState {
    cached: Vec<u8>,
    synced: Vec<u8>,
    /// Sectors that an fsync failed to bring to the platter, and that nobody has written since.
    dropped: BTreeSet<usize>,
}

struct NameChange {
    removed: Option<PathBuf>,
    given: Option<(PathBuf, usize)>,
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(path) = &self.removed {
            names.remove(path);
        }
        if let Some((path, file)) = &self.given {
            names.insert(path.clone(), *file);
        }
    }
}

impl FileState {
    fn on_platter(bytes: Vec<u8>) -> Self {
        FileState { cached: bytes.clone(), synced: bytes, dropped: BTreeSet::new() }
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        self.cached.resize(self.cached.len().max(end), 0);
        self.cached[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            self.dropped.remove(&sector);
        }
    }

    fn sync(&mut self) {
        self.synced.resize(self.cached.len(), 0);
        for sector in 0..self.cached.len().div_ceil(SECTOR_BYTES) {
            if !self.dropped.contains(&sector) {
                copy_sector(&self.cached, &mut self.synced, sector);
            }
        }
    }

    fn fail_to_sync(&mut self) {
        let sectors = 0..self.cached.len().div_ceil(SECTOR_BYTES);
        let differs = |sector: &usize| sector_of(&self.cached, *sector) != sector_of(&self.synced, *sector);
        self.dropped.extend(sectors.filter(differs));
    }

    /// What is left if the power fails now.
    fn after_power_loss(&self, arrivals: &mut Arrivals) -> Vec<u8> {
        let mut left = self.synced.clone();
        left.resize(arrivals.between(self.synced.len(), self.cached.len()), 0);
        for sector in 0..left.len().div_ceil(SECTOR_BYTES) {
            if !self.dropped.contains(&sector) && arrivals.arrives() {
                copy_sector(&self.cached, &mut left, sector);
            }
        }
        left
    }
}

fn sector_of(bytes: &[u8], sector: usize) -> &[u8] {
    let start = (sector * SECTOR_BYTES).min(bytes.len());
    &bytes[start..(start + SECTOR_BYTES).min(bytes.len())]
}

fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let start = sector * SECTOR_BYTES;
    let end = (start + SECTOR_BYTES).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

/// What of the unsynced reaches the platter when the power fails: a coin for each sector, drawn from a seed.
pub(crate) struct Arrivals {
    state: u64,
    /// Out of 4.
    chance: u64,
}

impl Arrivals {
    pub(crate) fn drawn_from(seed: u64) -> Self {
        Arrivals { state: seed, chance: [0, 2, 3, 4][(seed % 4) as usize] }
    }

    /// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn arrives(&mut self) -> bool {
        self.draw() % 4 < self.chance
    }

    /// A length a file can have whose length was `synced` and is being changed to `cached`.
    fn between(&mut self, synced: usize, cached: usize) -> usize {
        let span = synced.abs_diff(cached) as u64;
        let chosen = match (self.chance, self.draw() % 3) {
            (0, _) => return synced,
            (_, 0) => return cached,
            (_, _) => usize::try_from(self.draw() % (span + 1)).unwrap(),
        };
        synced.min(cached) + chosen
    }
}

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct FaultyDisk(pub(crate) Arc<Mutex<Plan>>);

struct FaultyFile {
    file: Arc<dyn SegmentFile>,
    plan: Arc<Mutex<Plan>>,
    number: usize,
}

fn next(results: &mut VecDeque<Option<i32>>) -> io::Result<()> {
    results.pop_front().flatten().map_or(Ok(()), |number| Err(io::Error::from_raw_os_error(number)))
}

impl Plan {
    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }
}

impl FaultyDisk {
    /// A copy of `dir` as a loss of power would leave it now, at its worst.
    pub(crate) fn lose_power(&self, dir: &Path) -> tempfile::TempDir {
        let left = super::copy(dir);
        let plan = self.0.lock();
        segment_files(left.path()).iter().for_each(|file| std::fs::remove_file(file).unwrap());
        for (path, file) in &plan.synced_names {
            std::fs::write(left.path().join(path.file_name().unwrap()), &plan.files[*file].synced).unwrap();
        }
        left
    }

    /// Leaves in `dir` what a loss of power would.
    pub(crate) fn lose_power_in(&self, dir: &Path, arrivals: &mut Arrivals) {
        let mut plan = self.0.lock();
        let mut names = plan.synced_names.clone();
        let kept = arrivals.between(0, plan.name_changes.len());
        plan.name_changes[..kept].iter().for_each(|change| change.apply(&mut names));
        let left: Vec<_> =
            names.into_iter().map(|(path, file)| (path, plan.files[file].after_power_loss(arrivals))).collect();
        let is_segment =
            |path: &Path| path.to_str().is_some_and(|path| path.ends_with(".wal") || path.ends_with(".tmp"));
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if is_segment(&path) {
                std::fs::remove_file(path).unwrap();
            }
        }
        *plan = Plan::default();
        for (path, bytes) in left {
            std::fs::write(&path, &bytes).unwrap();
            let number = plan.files.len();
            plan.names.insert(path, number);
            plan.files.push(FileState::on_platter(bytes));
        }
        plan.synced_names = plan.names.clone();
    }

    /// Damages what is on the platter: `damage` gets the bytes of the file at `path`, or takes it away.
    pub(crate) fn damage(&self, path: &Path, damage: impl FnOnce(&mut Vec<u8>) -> Damaged) {
        let mut plan = self.0.lock();
        let number = plan.names[path];
        let mut bytes = plan.files[number].cached.clone();
        match damage(&mut bytes) {
            Damaged::Bytes => {
                std::fs::write(path, &bytes).unwrap();
                plan.files[number] = FileState::on_platter(bytes);
            }
            Damaged::Name => {
                std::fs::remove_file(path).unwrap();
                plan.names.remove(path);
                plan.synced_names.remove(path);
            }
        }
    }

    /// Takes back every fault that has not happened yet.
    pub(crate) fn repair(&self) {
        let mut plan = self.0.lock();
        let (files, names) = (std::mem::take(&mut plan.files), std::mem::take(&mut plan.names));
        let (synced_names, name_changes) =
            (std::mem::take(&mut plan.synced_names), std::mem::take(&mut plan.name_changes));
        *plan = Plan { files, names, synced_names, name_changes, ..Plan::default() };
    }
}

/// What was damaged.
pub(crate) enum Damaged {
    Bytes,
    Name,
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>> {
        let mut plan = self.0.lock();
        next(&mut plan.creations)?;
        let file = LocalDisk.create(path)?;
        let number = plan.files.len();
        plan.files.push(FileState::default());
        plan.change_names(NameChange { removed: None, given: Some((path.into(), number)) });
        Ok(Arc::new(FaultyFile { file, plan: self.0.clone(), number }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>> {
        let file = LocalDisk.open(path)?;
        let mut plan = self.0.lock();
        let number = match plan.names.get(path) {
            Some(number) => *number,
            // It was there before this disk.
            None => {
                plan.files.push(FileState::on_platter(std::fs::read(path)?));
                let number = plan.files.len() - 1;
                plan.names.insert(path.into(), number);
                plan.synced_names.insert(path.into(), number);
                number
            }
        };
        Ok(Arc::new(FaultyFile { file, plan: self.0.clone(), number }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut plan = self.0.lock();
        next(&mut plan.renames)?;
        LocalDisk.rename(from, to)?;
        let number = plan.names[from];
        plan.change_names(NameChange { removed: Some(from.into()), given: Some((to.into(), number)) });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut plan = self.0.lock();
        next(&mut plan.removals)?;
        LocalDisk.remove(path)?;
        plan.change_names(NameChange { removed: Some(path.into()), given: None });
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut plan = self.0.lock();
        let changes = std::mem::take(&mut plan.name_changes);
        // As with pages: what an fsync has failed to keep, the next one does not bring back.
        next(&mut plan.directory_syncs)?;
        changes.iter().for_each(|change| change.apply(&mut plan.synced_names));
        Ok(())
    }
}

impl SegmentFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut plan = self.plan.lock();
        let start = usize::try_from(offset).unwrap();
        if let Err(error) = next(&mut plan.writes) {
            if plan.failing_writes_are_torn && error.raw_os_error() != Some(EINTR) {
                let half = &bytes[..bytes.len() / 2];
                self.file.write_at(half, offset)?;
                plan.files[self.number].write(half, start);
            }
            return Err(error);
        }
        let mut length = bytes.len().min(plan.short_bytes.unwrap_or(usize::MAX));
        if let Some(room) = &mut plan.room_bytes {
            if *room == 0 {
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
            length = length.min(usize::try_from(*room).unwrap());
            *room -= length as u64;
        }
        let written = self.file.write_at(&bytes[..length], offset)?;
        plan.files[self.number].write(&bytes[..written], start);
        Ok(written)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (pause, result, meanwhile) = {
            let mut plan = self.plan.lock();
            plan.sync_calls += 1;
            let result = next(&mut plan.syncs);
            match &result {
                Ok(()) => plan.files[self.number].sync(),
                Err(_) => plan.files[self.number].fail_to_sync(),
            }
            if result.is_err() && plan.failing_syncs_evict {
                let state = &mut plan.files[self.number];
                let mut evicted = state.synced.clone();
                evicted.resize(state.cached.len(), 0);
                self.file.write_at(&evicted, 0)?;
                state.cached = evicted;
            }
            (plan.sync_takes, result, plan.during_sync.take())
        };
        std::thread::sleep(pause);
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        result
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.plan.lock().files[self.number].cached.truncate(usize::try_from(length).unwrap());
        self.file.set_len(length)
    }
}

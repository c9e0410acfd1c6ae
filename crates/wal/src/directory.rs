//! Opening a log's directory: the lock against a second process, the writer's name, the boot counter, and what the
//! last run left behind. Cuts a torn end (bytes that no append was ever acknowledged for) and nothing else.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate_interaction::WriterId;

use crate::disk::Disk;
use crate::log::WalError;
use crate::replay::{SegmentReader, Step, plausible};
use crate::segment::{self, FRAMES_START, Previous, Segment, SegmentHeader, SegmentList};

/// A directory that this process owns until the file is dropped or unlocked.
pub(crate) fn lock(dir: &Path) -> Result<File, WalError> {
    std::fs::create_dir_all(dir).map_err(WalError::io("create", dir))?;
    let handle = File::open(dir).map_err(WalError::io("open", dir))?;
    match handle.try_lock() {
        Ok(()) => Ok(handle),
        Err(TryLockError::WouldBlock) => Err(WalError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(WalError::io("lock", dir)(source)),
    }
}

/// The boot counter so far and the writer's name; both files exist afterwards.
pub(crate) fn identity(dir: &Path, wanted: Option<WriterId>, found: &SegmentList) -> Result<(u64, WriterId), WalError> {
    let (epoch_path, writer_path) = (dir.join("epoch"), dir.join("writer"));
    let named = read_word(&writer_path)?;
    let counted = read_word(&epoch_path)?;
    let newest = found.iter().map(|segment| segment.epoch).max().unwrap_or(0);
    let epoch = match &counted {
        Some(text) => text.parse::<u64>().ok().ok_or_else(|| WalError::Epoch { path: epoch_path.clone() })?,
        // The counter is created before the name: without it the directory has never been a log, or has lost it.
        None if named.is_some() || newest > 0 => return Err(WalError::Epoch { path: epoch_path }),
        None => 0,
    };
    let kept = match named {
        Some(name) => Some(name.parse().map_err(|source| WalError::Writer { path: writer_path.clone(), source })?),
        None => found.iter().find_map(|segment| Some(segment.header.as_ref()?.writer.clone())),
    };
    let writer = match (kept, wanted) {
        (Some(kept), Some(wanted)) if kept != wanted => {
            return Err(WalError::OtherWriter { dir: dir.to_owned(), kept, wanted });
        }
        (Some(writer), _) | (None, Some(writer)) => writer,
        (None, None) => draw_writer()?,
    };
    if counted.is_none() {
        write_word(dir, &epoch_path, "0")?;
    }
    write_word(dir, &writer_path, writer.as_str())?;
    Ok((epoch.max(newest), writer))
}

/// Makes `epoch` the boot counter.
pub(crate) fn keep_epoch(dir: &Path, epoch: u64) -> Result<(), WalError> {
    write_word(dir, &dir.join("epoch"), &epoch.to_string())
}

/// A random number that no caller of the gateway can know.
pub(crate) fn draw_salt() -> Result<u32, WalError> {
    getrandom::u32().map_err(no_randomness)
}

fn draw_writer() -> Result<WriterId, WalError> {
    let number = getrandom::u64().map_err(no_randomness)?;
    let name = format!("w-{number:016x}");
    name.parse().map_err(|source| WalError::Writer { path: PathBuf::from("writer"), source })
}

fn no_randomness(error: getrandom::Error) -> WalError {
    let source = error.raw_os_error().map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error);
    WalError::Random { source }
}

fn read_word(path: &Path) -> Result<Option<String>, WalError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(WalError::io("read", path)(error)),
    }
}

/// Replaces the file at once and for good: a crash leaves the old word or the new one.
fn write_word(dir: &Path, path: &Path, word: &str) -> Result<(), WalError> {
    if read_word(path)?.as_deref() == Some(word) {
        return Ok(());
    }
    let temporary = path.with_extension("tmp");
    let written = std::fs::write(&temporary, format!("{word}\n"))
        .and_then(|()| File::open(&temporary)?.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path))
        .and_then(|()| File::open(dir)?.sync_all());
    written.map_err(WalError::io("write", path))
}

/// The segments in `dir`, in the order they are read. What was being created is deleted.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<SegmentList, WalError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(WalError::io("list", dir))? {
        let path = entry.map_err(WalError::io("list", dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.ends_with(".wal.tmp") {
            disk.remove(&path).map_err(WalError::io("delete", &path))?;
        } else if let Some(numbers) = segment::parse_file_name(name) {
            found.push((numbers, path));
        }
    }
    found.sort();
    let mut list = SegmentList::default();
    for (numbers, path) in found {
        let file = File::open(&path).map_err(WalError::io("open", &path))?;
        let length = file.metadata().map_err(WalError::io("read", &path))?.len();
        let header = read_header(&file, numbers).map_err(WalError::io("read", &path))?;
        let segment = Segment::new(path, numbers, list.next_ordinal(), header, length);
        segment.close();
        list.push(Arc::new(segment));
    }
    Ok(list)
}

fn read_header(file: &File, (epoch, first_seq): (u64, u64)) -> io::Result<Option<SegmentHeader>> {
    let mut bytes = vec![0; FRAMES_START as usize];
    let mut read = 0;
    while let more @ 1.. = file.read_at(&mut bytes[read..], read as u64)? {
        read += more;
    }
    let header = SegmentHeader::from_bytes(&bytes[..read]);
    Ok(header.filter(|header| header.epoch == epoch && header.first_seq == first_seq))
}

/// Looks at the end of the last run: cuts what was never acknowledged and says which event was the last. The second
/// result are the files of newest segments that hold nothing, to be deleted once a newer segment exists.
pub(crate) fn recover(disk: &dyn Disk, list: &mut SegmentList) -> Result<(Previous, Vec<PathBuf>), WalError> {
    let mut empty = Vec::new();
    // As far as an empty segment knows that its epoch went.
    let mut at_least = Previous::default();
    while let Some(last) = list.newest().filter(|last| last.epoch >= at_least.epoch) {
        let before = at_least.seq.max(last.first_seq.saturating_sub(1));
        let Some(header) = &last.header else {
            if last.readable_end() > FRAMES_START {
                sync_epoch(disk, list, last.epoch)?;
                return Ok((Previous { epoch: last.epoch, seq: before, tail_damaged: true }, empty));
            }
            // The crash came while it was created, so no frame was ever acknowledged from it.
            disk.remove(&last.path).map_err(WalError::io("delete", &last.path))?;
            list.pop_newest();
            continue;
        };
        let end = find_end(&last, header.salt).map_err(WalError::io("read", &last.path))?;
        if let Some(length) = end.cut_to {
            cut(disk, &last, length).map_err(WalError::io("cut the torn end of", &last.path))?;
        }
        if !end.is_empty() {
            sync_epoch(disk, list, last.epoch)?;
            let seq = end.last_seq.unwrap_or(0).max(before);
            return Ok((Previous { epoch: last.epoch, seq, tail_damaged: end.damaged }, empty));
        }
        list.pop_newest();
        empty.push(last.path.clone());
        if header.previous.epoch != last.epoch {
            return Ok((header.previous, empty));
        }
        at_least = header.previous;
    }
    Ok((at_least, empty))
}

struct End {
    last_seq: Option<u64>,
    damaged: bool,
    cut_to: Option<u64>,
}

impl End {
    fn is_empty(&self) -> bool {
        self.last_seq.is_none() && !self.damaged
    }
}

fn find_end(segment: &Segment, salt: u32) -> io::Result<End> {
    let length = segment.readable_end();
    let mut reader = SegmentReader::open(&segment.path, salt)?;
    let mut end = End { last_seq: None, damaged: false, cut_to: None };
    loop {
        match reader.step(length)? {
            Step::End => return Ok(end),
            Step::Frame(header) | Step::BadBody(header) => {
                end.last_seq = end.last_seq.max(Some(header.first_seq));
                reader.seek(reader.offset() + header.frame_bytes());
            }
            // A write that was under way. Had it been acknowledged, its last byte would be here.
            Step::Incomplete => {
                end.cut_to = Some(reader.offset());
                return Ok(end);
            }
            Step::BadHeader => {
                let next = end.last_seq.map_or(segment.first_seq, |seq| seq + 1);
                let seqs = plausible(next, length - reader.offset());
                if let Some((offset, seq)) = reader.find_header(length, &seqs)? {
                    // Whatever stood before it was given out, also if this one turns out to be a torn write.
                    end.last_seq = end.last_seq.max((seq > next).then_some(seq - 1));
                    reader.seek(offset);
                } else if reader.is_zero_until(length)? {
                    end.cut_to = Some(reader.offset());
                    return Ok(end);
                } else {
                    end.damaged = true;
                    return Ok(end);
                }
            }
        }
    }
}

fn cut(disk: &dyn Disk, segment: &Segment, length: u64) -> io::Result<()> {
    let torn_bytes = segment.readable_end() - length;
    tracing::warn!(
        torn_bytes,
        "cutting the torn end of `{}`: an append that was never acknowledged",
        segment.path.display()
    );
    disk.open(&segment.path)?.set_len(length)?;
    segment.set_readable_end(length);
    Ok(())
}

/// Brings what is left of the last run to the disk. Its process may have been killed with frames written and not synced,
/// and nobody else would sync them: they would depend for half a minute on the kernel's mood.
fn sync_epoch(disk: &dyn Disk, list: &SegmentList, epoch: u64) -> Result<(), WalError> {
    for segment in list.iter().filter(|segment| segment.epoch == epoch) {
        let synced = disk.open(&segment.path).and_then(|file| file.sync_data());
        synced.map_err(WalError::io("sync", &segment.path))?;
    }
    Ok(())
}

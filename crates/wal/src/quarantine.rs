//! Keeps bytes that could not be read, for a person to look at: a segment is deleted one day, the evidence is not.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::segment::Segment;

/// Copies `bytes`, found at `offset` of `segment`, to a file in `dir/quarantine`. Finding the same damage again, as
/// every replay does, leaves the first copy alone. `None` if that fails; the failure is logged.
pub(crate) fn keep(dir: &Path, segment: &Segment, offset: u64, bytes: &[u8]) -> Option<PathBuf> {
    let folder = dir.join("quarantine");
    let path = folder.join(format!("{:010}-{:016}-{offset:012}.bytes", segment.epoch, segment.first_seq));
    match write(&folder, &path, bytes) {
        Ok(()) => {
            let at = segment.path.display();
            tracing::error!("`{at}` is damaged at byte `{offset}`; the bytes are kept in `{}`", path.display());
            Some(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Some(path),
        Err(error) => {
            tracing::error!(%error, "cannot keep the damaged bytes of `{}` in `{}`", segment.path.display(), path.display());
            None
        }
    }
}

fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

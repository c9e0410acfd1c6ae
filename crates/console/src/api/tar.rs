//! A folder as a tar archive (POSIX ustar), streamed file by file: the packs of `evidence` are sent so. Knows plain files
//! with short names, which is all a pack has.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::io::AsyncReadExt;

const BLOCK_BYTES: usize = 512;
const CHUNK_BYTES: usize = 64 * 1024;

/// A folder that is deleted with everything in it when this is dropped.
pub(super) struct ScratchDir(pub(super) PathBuf);

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("`{}` could not be deleted: {error}", self.0.display());
        }
    }
}

/// The files of `pack` under `root`, each under `prefix/`; `scratch` is deleted at the end.
pub(super) fn archive(
    scratch: ScratchDir,
    pack: &Path,
    prefix: &str,
    files: &[String],
    modified_s: u64,
) -> BoxStream<'static, io::Result<Bytes>> {
    let (pack, prefix) = (pack.to_owned(), prefix.to_owned());
    let files: Vec<String> = files.to_vec();
    let entries = stream::iter(files).flat_map(move |name| {
        let entry = entry(pack.join(&name), format!("{prefix}/{name}"), modified_s);
        stream::once(entry).flat_map(|entry| match entry {
            Ok(chunks) => chunks,
            Err(error) => stream::once(async move { Err(error) }).boxed(),
        })
    });
    let end = stream::once(async move {
        drop(scratch);
        Ok(Bytes::from_static(&[0; 2 * BLOCK_BYTES]))
    });
    entries.chain(end).boxed()
}

async fn entry(path: PathBuf, name: String, modified_s: u64) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    let file = tokio::fs::File::open(&path).await?;
    let size_bytes = file.metadata().await?.len();
    let head = header(&name, size_bytes, modified_s)?;
    let padding = (BLOCK_BYTES - (size_bytes % BLOCK_BYTES as u64) as usize) % BLOCK_BYTES;
    let content = stream::try_unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = file.read(&mut chunk).await?;
        chunk.truncate(length);
        Ok((length > 0).then(|| (Bytes::from(chunk), file)))
    });
    let rest = stream::once(async move { Ok(Bytes::from(vec![0; padding])) });
    Ok(stream::once(async move { Ok(head) }).chain(content).chain(rest).boxed())
}

fn header(name: &str, size_bytes: u64, modified_s: u64) -> io::Result<Bytes> {
    if name.len() > 100 {
        return Err(io::Error::other(format!("`{name}` is longer than a tar archive allows")));
    }
    let mut block = [0_u8; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size_bytes:011o}\0").as_bytes());
    put(136, format!("{modified_s:011o}\0").as_bytes());
    // The checksum is computed with spaces in its own place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(Bytes::copy_from_slice(&block))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;

    #[tokio::test]
    async fn what_tar_unpacks_is_what_was_in_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let pack = dir.path().join("pack");
        std::fs::create_dir_all(pack.join("data")).unwrap();
        let long = vec![7_u8; 100_000];
        std::fs::write(pack.join("report.html"), "<h1>").unwrap();
        std::fs::write(pack.join("data/rows.csv"), &long).unwrap();
        let files = ["report.html".to_owned(), "data/rows.csv".to_owned()];
        let chunks = archive(ScratchDir(pack.clone()), &pack, "nov", &files, 1_700_000_000);
        let bytes: Vec<Bytes> = chunks.try_collect().await.unwrap();
        assert!(!pack.exists(), "the folder is deleted once it was sent");
        std::fs::write(dir.path().join("pack.tar"), bytes.concat()).unwrap();
        let tar = std::process::Command::new("tar").args(["-xf", "pack.tar"]).current_dir(dir.path()).status().unwrap();
        assert!(tar.success());
        assert_eq!(std::fs::read(dir.path().join("nov/data/rows.csv")).unwrap(), long);
        assert_eq!(std::fs::read(dir.path().join("nov/report.html")).unwrap(), b"<h1>");
    }
}

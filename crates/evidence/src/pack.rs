//! A pack on disk: files that are hashed while they are written, and the list of them.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tollgate_interaction::Usd;

use crate::error::EvidenceError;

/// A file of a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackFile {
    /// Path inside the pack.
    pub path: String,
    /// What it is.
    pub meaning: String,
    /// Its size.
    pub size_bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Rows in it; `None` if it is not a table.
    pub rows: Option<u64>,
}

/// Sums over all rows of a pack: whoever computes them again from the data files must find the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlTotals {
    /// Rows.
    pub rows: u64,
    /// Sum of the known costs, exact.
    pub cost_usd: Usd,
    /// Rows without a cost.
    pub rows_without_cost: u64,
    /// Sum of the known input tokens.
    pub input_tokens: u64,
    /// Sum of the known output tokens.
    pub output_tokens: u64,
    /// Rows by outcome.
    pub rows_by_outcome: BTreeMap<String, u64>,
    /// Rows by decision of policy.
    pub rows_by_decision: BTreeMap<String, u64>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackSummary {
    /// The folder.
    pub dir: PathBuf,
    /// Its files, `SHA256SUMS` last.
    pub files: Vec<PackFile>,
    /// Sums over its rows.
    pub totals: ControlTotals,
    /// Version of the `interactions` table it was made from.
    pub lake_version: u64,
    /// Rows read from memory because that version did not hold them yet.
    pub hot_rows: u64,
    /// What the checks found, one sentence each; empty if everything that was expected was found.
    pub findings: Vec<String>,
}

/// A pack being written, in a folder that gets its name when it is whole.
pub(crate) struct Folder {
    target: PathBuf,
    part: PathBuf,
    files: Vec<PackFile>,
}

impl Folder {
    /// Begins a pack that will be `target`.
    pub(crate) fn begin(target: &Path) -> Result<Folder, EvidenceError> {
        if is_taken(target) {
            return Err(EvidenceError::Exists { dir: target.to_owned() });
        }
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let folder = Folder { target: target.to_owned(), part: target.with_file_name(name), files: Vec::new() };
        if is_taken(&folder.part) {
            // Left by an attempt that failed.
            fs_err::remove_dir_all(&folder.part).map_err(|source| folder.failed("", source))?;
        }
        fs_err::create_dir_all(&folder.part).map_err(|source| folder.failed("", source))?;
        Ok(folder)
    }

    /// Begins a file.
    pub(crate) fn file(&self, path: &str) -> Result<HashedFile, EvidenceError> {
        let place = self.part.join(path);
        if let Some(parent) = place.parent() {
            fs_err::create_dir_all(parent).map_err(|source| self.failed(path, source))?;
        }
        let file = fs_err::File::create(&place).map_err(|source| self.failed(path, source))?;
        Ok(HashedFile { file: BufWriter::new(file), hash: Sha256::new(), size_bytes: 0 })
    }

    /// Ends a file and lists it.
    pub(crate) fn close(
        &mut self,
        path: &str,
        meaning: &str,
        rows: Option<u64>,
        mut file: HashedFile,
    ) -> Result<(), EvidenceError> {
        file.file.flush().map_err(|source| self.failed(path, source))?;
        let sha256 = hexadecimal(&file.hash.finalize());
        let listed =
            PackFile { path: path.to_owned(), meaning: meaning.to_owned(), size_bytes: file.size_bytes, sha256, rows };
        self.files.push(listed);
        Ok(())
    }

    /// Writes a whole file.
    pub(crate) fn write(
        &mut self,
        path: &str,
        meaning: &str,
        rows: Option<u64>,
        content: &[u8],
    ) -> Result<(), EvidenceError> {
        let mut file = self.file(path)?;
        file.write_all(content).map_err(|source| self.failed(path, source))?;
        self.close(path, meaning, rows, file)
    }

    /// The files so far.
    pub(crate) fn files(&self) -> &[PackFile] {
        &self.files
    }

    /// An error about one of its files.
    pub(crate) fn failed(&self, path: &str, source: std::io::Error) -> EvidenceError {
        EvidenceError::Write { path: self.target.join(path), source }
    }

    /// Writes `SHA256SUMS` and gives the folder its name.
    pub(crate) fn finish(mut self) -> Result<(PathBuf, Vec<PackFile>), EvidenceError> {
        let sums: String = self.files.iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect();
        self.write("SHA256SUMS", "hashes of all other files, for `sha256sum -c SHA256SUMS`", None, sums.as_bytes())?;
        if self.target.exists() {
            // It is empty: see `begin`.
            fs_err::remove_dir(&self.target).map_err(|source| self.failed("", source))?;
        }
        fs_err::rename(&self.part, &self.target).map_err(|source| self.failed("", source))?;
        Ok((self.target, self.files))
    }
}

fn is_taken(dir: &Path) -> bool {
    match fs_err::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => dir.exists(),
    }
}

/// A file that knows its hash when it ends.
pub(crate) struct HashedFile {
    file: BufWriter<fs_err::File>,
    hash: Sha256,
    size_bytes: u64,
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

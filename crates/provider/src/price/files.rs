//! Catalogue files as a whole: those that come with the program, or those of an update, which is kept on disk and handed
//! to sidecars as one text. The text of every file is kept as it was written, with its comments.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{CatalogDocument, CatalogError, builtin, canonical};

/// Version of the form that updates are kept in.
const FORMAT: u32 = 1;

/// One file of a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogFile {
    /// Its name, for messages.
    pub name: String,
    /// Its text: YAML, one provider.
    pub text: String,
}

/// Files that take the place of those of the same providers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogFiles {
    format: u32,
    files: Vec<CatalogFile>,
}

/// Files that make no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogFilesError {
    /// It is not what an update is kept as.
    #[error("it is no kept price catalogue; put one in place with `tollgate prices update`")]
    Form(#[source] serde_json::Error),
    /// A version after this one wrote it.
    #[error("it is a price catalogue of format {format}, and this version reads format {FORMAT}")]
    Newer {
        /// What it says.
        format: u32,
    },
    /// One of the files cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl CatalogFiles {
    /// These files, in the order of their names.
    #[must_use]
    pub fn new(mut files: Vec<CatalogFile>) -> CatalogFiles {
        files.sort_by(|one, other| one.name.cmp(&other.name));
        CatalogFiles { format: FORMAT, files }
    }

    /// Reads what [`CatalogFiles::to_json`] wrote.
    ///
    /// # Errors
    /// [`CatalogFilesError::Form`] or [`CatalogFilesError::Newer`].
    pub fn from_json(text: &[u8]) -> Result<CatalogFiles, CatalogFilesError> {
        let files: CatalogFiles = serde_json::from_slice(text).map_err(CatalogFilesError::Form)?;
        if files.format > FORMAT {
            return Err(CatalogFilesError::Newer { format: files.format });
        }
        Ok(files)
    }

    /// As they are kept and handed out.
    ///
    /// # Errors
    /// None that is known: numbers and texts can always be written.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The files, in the order of their names.
    #[must_use]
    pub fn files(&self) -> &[CatalogFile] {
        &self.files
    }

    /// The documents in them.
    ///
    /// # Errors
    /// [`CatalogError`] names the file, the line and the column.
    pub fn documents(&self) -> Result<Vec<CatalogDocument>, CatalogError> {
        self.files.iter().map(|file| CatalogDocument::from_yaml(&file.name, &file.text)).collect()
    }

    /// Names the files by what they say: SHA-256, hexadecimal. Other files have another id.
    #[must_use]
    pub fn id(&self) -> String {
        id_of(self.files.iter().map(|file| (file.name.as_str(), file.text.as_str())))
    }

    /// `newer` in place of the files of the same providers, and those of the other providers of `self`.
    ///
    /// # Errors
    /// [`CatalogError`] if a file on either side cannot be read.
    pub fn updated_by(&self, newer: &CatalogFiles) -> Result<CatalogFiles, CatalogError> {
        let replaced: Vec<String> =
            newer.documents()?.iter().map(|document| canonical(&document.provider).to_owned()).collect();
        let mut files = newer.files.clone();
        for (document, file) in self.documents()?.iter().zip(&self.files) {
            if !replaced.iter().any(|provider| provider == canonical(&document.provider)) {
                files.push(file.clone());
            }
        }
        Ok(CatalogFiles::new(files))
    }
}

/// Id of the files that come with the program.
#[must_use]
pub fn builtin_id() -> String {
    id_of(builtin::FILES.iter().copied())
}

/// Lengths are hashed as well, so that no text can pass for another's end.
fn id_of<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut hash = Sha256::new();
    for (name, text) in files {
        for part in [name, text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut id, byte| {
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, provider: &str, input: &str) -> CatalogFile {
        let text = format!(
            "provider: {provider}\nsource: s\nchecked: 2026-11-01\nmodels:\n  - {{id: m, prices: [{{from: release, input: \"{input}\"}}]}}\n"
        );
        CatalogFile { name: name.to_owned(), text }
    }

    #[test]
    fn an_update_reads_back_as_it_was_kept_and_names_itself_by_its_text() {
        let files = CatalogFiles::new(vec![file("b.yaml", "b", "2"), file("a.yaml", "a", "1")]);
        let read = CatalogFiles::from_json(&files.to_json().unwrap()).unwrap();
        assert_eq!(read, files);
        assert_eq!(read.id(), files.id());
        let other = CatalogFiles::new(vec![file("b.yaml", "b", "2"), file("a.yaml", "a", "1.5")]);
        assert_ne!(other.id(), files.id());
        assert_ne!(builtin_id(), files.id());
    }

    #[test]
    fn a_kept_catalogue_of_a_later_format_is_refused_and_so_is_something_else() {
        let later = br#"{"format": 2, "files": []}"#;
        assert!(matches!(CatalogFiles::from_json(later), Err(CatalogFilesError::Newer { format: 2 })));
        assert!(matches!(CatalogFiles::from_json(b"prices"), Err(CatalogFilesError::Form(_))));
    }

    #[test]
    fn an_update_replaces_the_files_of_its_providers_under_whatever_name_and_keeps_the_others() {
        let kept = CatalogFiles::new(vec![file("a.yaml", "a", "1"), file("google.yaml", "google", "1")]);
        let updated = kept.updated_by(&CatalogFiles::new(vec![file("mine.yaml", "gemini", "2")])).unwrap();
        let names: Vec<&str> = updated.files().iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a.yaml", "mine.yaml"], "`gemini` is another name of `google`");
    }
}

//! The flusher's own notes: which range it is about to hand over, and how far each epoch has been handed over. The plan
//! is on disk before the first byte goes to the bucket, so a crash anywhere leads to the same range, the same manifest
//! name and the same nonce again, and the store itself refuses the second manifest.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use tollgate_interaction::WriterId;

use crate::batch_header::{self, BatchHeader};
use crate::store::durable_local;

/// A range of one epoch that is being handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Boot counter of the log.
    pub epoch: u64,
    /// First sequence number.
    pub first_seq: u64,
    /// Last sequence number.
    pub last_seq: u64,
    /// Goes into the manifest.
    pub nonce: String,
    /// The header of its batch once it has been made, as it is put: a repeated attempt puts the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// What is kept in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// Whose rows; a note of another log's is not believed.
    writer: Option<WriterId>,
    /// For each epoch the last sequence number whose manifest is in the inbox or was committed.
    handed_over: BTreeMap<u64, u64>,
    /// Begun and not known to be finished.
    plan: Option<Plan>,
    /// Of the last batch that was handed over.
    #[serde(default)]
    last_batch: Option<LastBatch>,
}

/// What the next batch's header refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBatch {
    /// Boot counter of the log.
    pub epoch: u64,
    /// Its last number.
    pub last_seq: u64,
    /// Leaf hash of its header, base64.
    pub leaf: String,
    /// The key that signed it.
    pub key: String,
}

/// The notes, in memory and on disk.
#[derive(Debug)]
pub struct Notes {
    path: PathBuf,
    content: Content,
}

/// Why the notes cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum NotesError {
    /// The file cannot be read or written.
    #[error("the flusher's notes `{path}` cannot be read or written; check the disk")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is damaged.
    #[error(
        "the flusher's notes `{path}` are damaged; restore them, or delete them if the lake is in reach of this process"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The file belongs to another log.
    #[error(
        "the flusher's notes `{path}` belong to writer `{found}`, not to `{writer}`; point `log.dir` at its own folder"
    )]
    OtherWriter {
        /// The file.
        path: String,
        /// Named in the file.
        found: WriterId,
        /// Of the log.
        writer: WriterId,
    },
}

/// The public key that signed the last batch, as the notes in a folder say.
#[must_use]
pub fn last_signer(folder: &Path) -> Option<String> {
    let content: Content = serde_json::from_slice(&fs_err::read(folder.join("flush.json")).ok()?).ok()?;
    content.last_batch.map(|last| last.key)
}

impl Notes {
    /// Reads `flush.json` in a folder; a missing file means that nothing was handed over.
    ///
    /// # Errors
    /// [`NotesError`] if there is a file that cannot be used.
    pub fn open(folder: &Path, writer: &WriterId) -> Result<Notes, NotesError> {
        let path = folder.join("flush.json");
        let shown = || path.display().to_string();
        durable_local::create_folder_durably(folder).map_err(|source| NotesError::Io { path: shown(), source })?;
        let content: Content = match fs_err::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| NotesError::Damaged { path: shown(), source })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(source) => return Err(NotesError::Io { path: shown(), source }),
        };
        match &content.writer {
            Some(found) if found != writer => {
                Err(NotesError::OtherWriter { path: shown(), found: found.clone(), writer: writer.clone() })
            }
            _ => Ok(Notes { content: Content { writer: Some(writer.clone()), ..content }, path }),
        }
    }

    /// The range that was begun, if it is not known to be finished.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        self.content.plan.as_ref()
    }

    /// How far an epoch has been handed over.
    #[must_use]
    pub fn handed_over(&self, epoch: u64) -> u64 {
        self.content.handed_over.get(&epoch).copied().unwrap_or(0)
    }

    /// How far each epoch has been handed over.
    #[must_use]
    pub fn all_handed_over(&self) -> &BTreeMap<u64, u64> {
        &self.content.handed_over
    }

    /// Writes down that a range is about to be handed over.
    ///
    /// # Errors
    /// [`NotesError::Io`]; the range must then not be handed over.
    pub fn begin(&mut self, plan: Plan) -> Result<(), NotesError> {
        self.replace(Content { plan: Some(plan), ..self.content.clone() })
    }

    /// Writes down the header that the range's batch is about to be put with.
    ///
    /// # Errors
    /// [`NotesError::Io`]; the range must then not be handed over.
    pub fn seal(&mut self, header: String) -> Result<(), NotesError> {
        let mut content = self.content.clone();
        if let Some(plan) = &mut content.plan {
            plan.header = Some(header);
        }
        self.replace(content)
    }

    /// What the next header refers to; `None` before this writer's first batch.
    #[must_use]
    pub fn last_batch(&self) -> Option<&LastBatch> {
        self.content.last_batch.as_ref()
    }

    /// Writes down that the range is in the inbox or in the lake.
    ///
    /// # Errors
    /// [`NotesError::Io`]; after a restart the range will be handed over again, which is harmless.
    pub fn finish(&mut self) -> Result<(), NotesError> {
        let mut content = self.content.clone();
        if let Some(plan) = content.plan.take() {
            if let Some(entry) = &plan.header
                && let Ok(header) = BatchHeader::read(entry.as_bytes())
            {
                let leaf = BASE64_STANDARD.encode(batch_header::leaf_hash(entry.as_bytes()));
                let (epoch, last_seq) = (header.epoch, header.last_seq);
                content.last_batch = Some(LastBatch { epoch, last_seq, leaf, key: header.key });
            }
            let seq = content.handed_over.entry(plan.epoch).or_default();
            *seq = (*seq).max(plan.last_seq);
        }
        self.replace(content)
    }

    /// Forgets epochs before this one: nothing of them is left in the log. Written with the next note.
    pub fn forget_before(&mut self, epoch: u64) {
        self.content.handed_over.retain(|kept, _| *kept >= epoch);
    }

    fn replace(&mut self, content: Content) -> Result<(), NotesError> {
        let failed = |source| NotesError::Io { path: self.path.display().to_string(), source };
        let bytes = serde_json::to_vec_pretty(&content).map_err(|error| failed(error.into()))?;
        durable_local::replace_file(&self.path, &bytes).map_err(failed)?;
        self.content = content;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan { epoch: 2, first_seq: 5, last_seq: 9, nonce: "n".into(), header: None }
    }

    #[test]
    fn a_plan_outlives_the_process_until_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let writer: WriterId = "gw".parse().unwrap();
        Notes::open(folder.path(), &writer).unwrap().begin(plan()).unwrap();
        let mut notes = Notes::open(folder.path(), &writer).unwrap();
        assert_eq!(notes.plan(), Some(&plan()));
        notes.finish().unwrap();
        let notes = Notes::open(folder.path(), &writer).unwrap();
        assert_eq!((notes.plan(), notes.handed_over(2)), (None, 9));
    }

    #[test]
    fn notes_of_another_log_are_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        Notes::open(folder.path(), &"gw".parse().unwrap()).unwrap().begin(plan()).unwrap();
        let opened = Notes::open(folder.path(), &"other".parse().unwrap());
        assert!(matches!(opened, Err(NotesError::OtherWriter { .. })));
    }
}

//! How far the index has come. Stored inside each commit of the index, so that it cannot disagree with the documents.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tollgate_flush::Watermarks;
use tollgate_flush::hot::HotSnapshot;
use tollgate_interaction::WriterId;

/// What the documents of one commit cover.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// For each writer and epoch, the last sequence number of which and before which everything is indexed.
    watermarks: BTreeMap<String, u64>,
    /// Files indexed although their rows are not all below the watermarks: those of a catch-up that is under way, and
    /// files that several writers' rows were merged into.
    files: BTreeSet<String>,
    /// A catch-up has committed some of its files and not all: more is indexed than the watermarks say.
    #[serde(default)]
    under_way: bool,
}

impl Progress {
    /// Reads what a commit stored; an unreadable text stands for an empty index.
    pub(crate) fn read(payload: Option<&str>) -> Option<Progress> {
        match payload {
            None => Some(Progress::default()),
            Some(text) => serde_json::from_str(text).ok(),
        }
    }

    /// The text to store with a commit.
    pub(crate) fn to_payload(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The last sequence number of which and before which everything of a writer's epoch is indexed; 0 if nothing is.
    pub(crate) fn last_seq(&self, writer: &str, epoch: u64) -> u64 {
        self.watermarks.get(&key(writer, epoch)).copied().unwrap_or(0)
    }

    /// How far the writers of some rows in memory have been indexed.
    pub(crate) fn among(&self, memory: &HotSnapshot) -> Watermarks {
        let places = memory.chunks.iter().map(|chunk| (chunk.writer.clone(), chunk.epoch));
        places.map(|place| (place.clone(), self.last_seq(place.0.as_str(), place.1))).collect()
    }

    /// Whether this file is indexed.
    pub(crate) fn has_file(&self, path: &str) -> bool {
        self.files.contains(path)
    }

    /// Notes that a file is indexed.
    pub(crate) fn add_file(&mut self, path: &str) {
        self.files.insert(path.to_owned());
        self.under_way = true;
    }

    /// Whether everything that these watermarks cover is indexed.
    pub(crate) fn has_reached(&self, watermarks: &Watermarks) -> bool {
        watermarks.iter().all(|((writer, epoch), seq)| self.last_seq(writer.as_str(), *epoch) >= *seq)
    }

    /// Notes that everything a lake snapshot covers is indexed, and forgets files that no longer have to be remembered.
    pub(crate) fn reached(&mut self, watermarks: &Watermarks, keep_file: impl Fn(&str) -> bool) {
        for ((writer, epoch), seq) in watermarks {
            self.reached_seq(writer, *epoch, *seq);
        }
        self.files.retain(|path| keep_file(path));
        self.under_way = false;
    }

    /// Notes that a writer's rows up to `seq` are indexed.
    pub(crate) fn reached_seq(&mut self, writer: &WriterId, epoch: u64, seq: u64) {
        let last = self.watermarks.entry(key(writer.as_str(), epoch)).or_default();
        *last = seq.max(*last);
    }

    /// Whether a catch-up is under way, so that more is indexed than the watermarks say.
    pub(crate) fn is_catching_up(&self) -> bool {
        self.under_way
    }

    /// The watermarks by `writer/epoch`.
    pub(crate) fn watermarks(&self) -> &BTreeMap<String, u64> {
        &self.watermarks
    }
}

fn key(writer: &str, epoch: u64) -> String {
    format!("{writer}/{epoch}")
}

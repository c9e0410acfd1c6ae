//! The manifest: what a writer puts into `inbox/` when its files are in the bucket, and all that the committer reads.
//! Its name says whose rows it covers, so putting the same range twice is refused by the store itself.

use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tollgate_interaction::WriterId;
use tollgate_interaction::schema::Table;

/// Folder, under the root of the store, that writers put manifests into.
pub const INBOX: &str = "inbox";
/// Folder for manifests that the committer could not use. Nothing deletes from it.
pub const REJECTED: &str = "inbox/rejected";
/// Version of the manifest's form.
pub const FORMAT: u32 = 1;

/// Files that hold every record in `first_seq..=last_seq` of one epoch of one writer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Drawn when the flush was planned; tells a repeated attempt from another writer of the same name.
    pub nonce: String,
    /// The log.
    pub writer: WriterId,
    /// Its boot counter.
    pub epoch: u64,
    /// First sequence number covered. Follows the last one of the epoch's manifest before.
    pub first_seq: u64,
    /// Last sequence number covered: the committed watermark once this manifest is in the lake.
    pub last_seq: u64,
    /// When it was written. Microseconds since 1970, UTC.
    pub created_at_us: i64,
    /// Version of the columns in the files.
    pub schema_version: u16,
    /// Files of the `interactions` table, one per day.
    pub interactions: Vec<ManifestFile>,
    /// Files of the `payloads` table.
    pub payloads: Vec<ManifestFile>,
    /// Files of the `control_events` table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control_events: Vec<ManifestFile>,
    /// Files of the `access_events` table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_events: Vec<ManifestFile>,
    /// Files of the `log_gaps` table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_gaps: Vec<ManifestFile>,
    /// Files of the `price_corrections` table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub price_corrections: Vec<ManifestFile>,
    /// Files of the `feedback` table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feedback: Vec<ManifestFile>,
    /// The batch's header, signed: see [`crate::batch_header`]. `None` from writers of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// One Parquet file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Path relative to the table's root, such as `day=2026-11-23/….parquet`.
    pub path: String,
    /// UTC day of all its rows, `YYYY-MM-DD`.
    pub day: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Statistics as Delta wants them: `numRecords`, `minValues`, `maxValues`, `nullCount`, on numbers and times only.
    pub stats: serde_json::Value,
}

impl Manifest {
    /// Where this manifest stands, relative to the root of the store.
    #[must_use]
    pub fn path(&self) -> Path {
        path_of(&self.writer, self.epoch, self.first_seq, self.last_seq)
    }

    /// The files of one table.
    #[must_use]
    pub fn files(&self, table: Table) -> &[ManifestFile] {
        match table {
            Table::Interactions => &self.interactions,
            Table::Payloads => &self.payloads,
            Table::ControlEvents => &self.control_events,
            Table::AccessEvents => &self.access_events,
            Table::LogGaps => &self.log_gaps,
            Table::PriceCorrections => &self.price_corrections,
            Table::Feedback => &self.feedback,
        }
    }

    /// Rows of the facts.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.interactions.iter().map(|file| file.rows).sum()
    }

    /// Records: the facts and the events beside them.
    #[must_use]
    pub fn records(&self) -> u64 {
        Table::RECORDS.into_iter().flat_map(|table| self.files(table)).map(|file| file.rows).sum()
    }
}

/// `inbox/{writer}/{epoch}-{first}-{last}.json`, numbers padded so that names sort as numbers.
#[must_use]
pub fn path_of(writer: &WriterId, epoch: u64, first_seq: u64, last_seq: u64) -> Path {
    Path::from(format!("{INBOX}/{writer}/{epoch:010}-{first_seq:016}-{last_seq:016}.json"))
}

/// Beginning of the name of a table file: says whose rows it holds. [`file_name`] completes it.
#[must_use]
pub fn file_stem(writer: &WriterId, epoch: u64, first_seq: u64, last_seq: u64) -> String {
    format!("{writer}.{epoch}.{first_seq}.{last_seq}")
}

/// Hexadecimal digits of a file's SHA-256 in its name: 160 bits.
const DIGEST_DIGITS: usize = 40;

/// The name of a table file: a stem, and the beginning of the file's SHA-256, by which a single flipped bit is noticed.
#[must_use]
pub fn file_name(stem: &str, sha256: &str) -> String {
    format!("{stem}.{}.parquet", sha256.get(..DIGEST_DIGITS).unwrap_or(sha256))
}

/// The beginning of a file's SHA-256 that its name states; `None` for files of version 1.
#[must_use]
pub fn digest_of_file(path: &str) -> Option<&str> {
    let digest = path.strip_suffix(".parquet")?.rsplit('.').next()?;
    let is_hexadecimal = digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (digest.len() == DIGEST_DIGITS && is_hexadecimal).then_some(digest)
}

/// Rows a table file holds, as its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// The log.
    pub writer: WriterId,
    /// Its boot counter.
    pub epoch: u64,
    /// First sequence number covered.
    pub first_seq: u64,
    /// Last sequence number covered.
    pub last_seq: u64,
}

/// Reads [`file_stem`] back from a path; `None` for a file that something else wrote, such as a compaction.
#[must_use]
pub fn range_of_file(path: &str) -> Option<FileRange> {
    let name = path.rsplit('/').next()?.strip_suffix(".parquet")?;
    let mut parts = name.split('.');
    let range = FileRange {
        writer: parts.next()?.parse().ok()?,
        epoch: parts.next()?.parse().ok()?,
        first_seq: parts.next()?.parse().ok()?,
        last_seq: parts.next()?.parse().ok()?,
    };
    parts.next()?;
    parts.next().is_none().then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_file_says_whose_rows_it_holds() {
        let writer: WriterId = "gw-7".parse().unwrap();
        let name = file_name(&file_stem(&writer, 3, 17, 4_000), &"0af3".repeat(16));
        assert_eq!(digest_of_file(&name), Some("0af3".repeat(10).as_str()));
        assert_eq!(digest_of_file("gw.1.2.3.019ab0e6a1b27c3d8e9f0a1b2c3d4e5f.parquet"), None, "of version 1");
        let range = range_of_file(&format!("day=2026-11-23/{name}")).unwrap();
        assert_eq!(range, FileRange { writer, epoch: 3, first_seq: 17, last_seq: 4_000 });
        assert_eq!(range_of_file("day=2026-11-23/part-0001.parquet"), None);
    }

    #[test]
    fn manifests_sort_in_the_order_of_their_rows() {
        let writer: WriterId = "gw".parse().unwrap();
        assert!(path_of(&writer, 2, 9, 10) < path_of(&writer, 10, 1, 2));
        assert!(path_of(&writer, 2, 9, 10) < path_of(&writer, 2, 11, 200));
    }
}

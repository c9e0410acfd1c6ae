//! The proof, looked at from outside: whether everything in the bucket is what was committed to ([`verify()`]), and a proof
//! of one record that needs no bucket ([`prove()`]). Reads only; `docs/proof.md` specifies every step.

mod batches;
mod explained;
mod headers;
mod prove;
mod rows;
mod verify;

pub use headers::VerifyKeyError;
pub use prove::{Disclosure, ProveError, ProvenRecord, check_proof, prove};
pub use verify::{Verification, VerifyError, VerifySettings, verify, verify_store};

/// What kind of contradiction was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// There is no checkpoint, or none that one of the log's keys signed.
    CheckpointSignature,
    /// The checkpoint is that of another log.
    CheckpointOrigin,
    /// Too few witnesses cosigned it.
    CheckpointPolicy,
    /// An older checkpoint is not one of this log's past.
    CheckpointInconsistent,
    /// The checkpoint is older than one that the table knows of.
    CheckpointBehind,
    /// The table is older than the checkpoint.
    TableBehind,
    /// The entries add up to another tree than the checkpoint's.
    TreeRoot,
    /// An entry cannot be read.
    TreeEntry,
    /// A batch header is not signed as it must be.
    HeaderSignature,
    /// A batch header does not follow the one before.
    HeaderChain,
    /// The numbers of a writer have a hole, or overlap.
    HeaderSequence,
    /// A record's values are not those that were committed to.
    RecordChanged,
    /// A record's personal fields are not those that were committed to.
    PersonalChanged,
    /// Two records have one number.
    RecordDuplicate,
    /// A record is in no batch.
    RecordUnbatched,
    /// A record is filed under another day than its own.
    RecordDay,
    /// Records of a batch are missing.
    BatchRows,
    /// A batch's records are not those that were committed to.
    BatchRoot,
    /// What was said is not what was committed to.
    PayloadChanged,
    /// What was said is missing, and nothing explains it.
    PayloadMissing,
    /// A table cannot be read at all.
    TableUnreadable,
    /// A file cannot be read.
    FileUnreadable,
    /// A file is missing.
    FileMissing,
}

impl std::fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        serde::Serialize::serialize(self, f)
    }
}

/// One contradiction.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Of what kind.
    pub kind: ProblemKind,
    /// The record, batch, file or checkpoint concerned.
    pub subject: String,
    /// What was expected and found.
    pub detail: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.kind, self.subject, self.detail)
    }
}

/// Problems found so far. A file that was changed as a whole has as many as rows: beyond a limit they are counted only.
#[derive(Debug, Default)]
struct Problems {
    listed: Vec<Problem>,
    unlisted: u64,
}

/// Problems that are listed one by one.
const LISTED: usize = 10_000;

impl Problems {
    fn add(&mut self, kind: ProblemKind, subject: impl Into<String>, detail: impl Into<String>) {
        if self.listed.len() < LISTED {
            self.listed.push(Problem { kind, subject: subject.into(), detail: detail.into() });
        } else {
            self.unlisted += 1;
        }
    }
}

//! Checks a whole lake against its proof.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use tollgate_flush::error_chain;
use tollgate_flush::inbox;
use tollgate_flush::parquet_file::{self, day_text};
use tollgate_flush::store::Store;
use tollgate_interaction::commitment::Commitment;
use tollgate_interaction::schema::Table;

use super::batches::Batches;
use super::explained::Explained;
use super::headers::{self, LogKeys, VerifyKeyError};
use super::rows::{self, FileFindings, Found, FoundPayload, RecordId};
use super::{Problem, ProblemKind, Problems};
use crate::error::LakeError;
use crate::lake::{Lake, Mode, batches_of};
use crate::log::LogPosition;
use crate::policy::Policy;
use crate::proof::{CHECKPOINT, Signed, read_checkpoint};
use crate::snapshot::{DataFile, LakeSnapshot};
use crate::tree::{self, Edge, Objects};

/// What to verify against.
#[derive(Clone, Debug, Default)]
pub struct VerifySettings {
    /// Public keys of the log, as note verifier keys, all of one name. Usually one: later ones are found by the key notes.
    pub keys: Vec<String>,
    /// A checkpoint that was kept elsewhere; the log must continue it.
    pub older_checkpoint: Option<Bytes>,
    /// Whose cosignatures the checkpoint must have.
    pub policy: Option<Policy>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verification {
    /// Whether nothing contradicts the proof.
    pub ok: bool,
    /// Proven records looked at.
    pub records: u64,
    /// Batches of the log.
    pub batches: u64,
    /// Entries that the checkpoint covers.
    pub checkpoint_size: u64,
    /// Batches committed since.
    pub uncovered_batches: u64,
    /// Records of a version before there were proofs.
    pub unproven_records: u64,
    /// Contents looked at.
    pub payloads: u64,
    /// Calls whose content has expired or was erased.
    pub payloads_missing: u64,
    /// Batches with records that have expired.
    pub expired_batches: u64,
    /// Contradictions, up to ten thousand.
    pub problems: Vec<Problem>,
    /// Contradictions beyond those.
    pub unlisted_problems: u64,
}

/// Verifies a lake that was opened for reading. Memory: some 150 bytes per record of one day, and 40 per record of
/// batches that are not complete yet.
///
/// # Errors
/// [`VerifyError`] if the key is none or the store does not answer. What is wrong with the lake is in the result.
pub fn verify(lake: Arc<Lake>, settings: VerifySettings) -> BoxFuture<'static, Result<Verification, VerifyError>> {
    async move {
        let mut problems = Problems::default();
        let name = match settings.keys.first() {
            Some(key) => headers::name_of(key)?,
            None => return Err(VerifyKeyError { key: String::new() }.into()),
        };
        for key in &settings.keys {
            headers::name_of(key)?;
        }
        let position = lake.log_position().await;
        let note = read_checkpoint(lake.store()).await?;
        let covered = note.as_ref().and_then(size_of).unwrap_or(0);
        let entries = gather(&lake, covered, &position, &mut problems).await?;
        let mut keys = LogKeys::trusted(&settings.keys, &entries);
        let placed = headers::read(&entries, &mut keys, &mut problems);
        let roots = Roots::of(&entries);
        if let Some(policy) = &settings.policy
            && let Some(objection) = policy.objection(note.as_deref().unwrap_or_default(), &keys.all())
        {
            problems.add(ProblemKind::CheckpointPolicy, CHECKPOINT, objection);
        }
        let checkpoint_size = check_checkpoint(note, &name, &keys, &position, &roots, &mut problems);
        if let Some(older) = settings.older_checkpoint {
            check_older(older, &name, &keys, (&roots, checkpoint_size), &mut problems);
        }
        let proven_since_us = placed.iter().map(|placed| placed.header.created_at_us).min();
        let mut reading = Reading {
            proven_since_us: proven_since_us.unwrap_or(i64::MAX),
            batches: Batches::new(placed),
            explained: Explained::default(),
            explaining: Vec::new(),
            missing: Vec::new(),
            erased: Vec::new(),
            problems,
            verification: Verification::default(),
        };
        reading.verification.batches = reading.batches.len();
        reading.verification.checkpoint_size = checkpoint_size;
        reading.verification.uncovered_batches = reading.batches.from(checkpoint_size);
        reading.read(&lake).await?;
        Ok(reading.finish())
    }
    .boxed()
}

/// Opens a lake for reading and verifies it. A table whose log cannot be read is a finding; a store that does not answer, or
/// that has no lake, is an error.
///
/// # Errors
/// As [`verify`].
pub fn verify_store(store: Store, settings: VerifySettings) -> BoxFuture<'static, Result<Verification, VerifyError>> {
    async move {
        let unreadable = match Lake::open(store.clone(), Mode::ReadOnly).await {
            Ok(lake) => return verify(lake, settings).await,
            Err(error @ LakeError::NoTable { .. }) if read_checkpoint(&store).await?.is_some() => error,
            // The library says both in one way.
            Err(error @ LakeError::Delta { .. }) if !error_chain(&error).contains("object store") => error,
            Err(error) => return Err(error.into()),
        };
        let (LakeError::NoTable { table, .. } | LakeError::Delta { table, .. }) = &unreadable else {
            return Err(unreadable.into());
        };
        let detail = format!(
            "commits of its `{table}/_delta_log` are missing or damaged: put them back from the bucket's versions and verify again; \
             nothing else was looked at. {}",
            error_chain(&unreadable)
        );
        let problem = Problem { kind: ProblemKind::TableUnreadable, subject: format!("table {table}"), detail };
        Ok(Verification { problems: vec![problem], ..Verification::default() })
    }
    .boxed()
}

/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The key given is none.
    #[error(transparent)]
    Key(#[from] VerifyKeyError),
    /// The lake cannot be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

fn size_of(note: &Bytes) -> Option<u64> {
    let text = String::from_utf8_lossy(note);
    text.lines().nth(1)?.parse().ok()
}

/// The entries: those that the checkpoint covers from the tiles, later ones from the commits. Where both have one they must
/// agree.
async fn gather(
    lake: &Lake,
    covered: u64,
    position: &LogPosition,
    problems: &mut Problems,
) -> Result<Vec<(u64, Bytes)>, LakeError> {
    let mut entries: Vec<(u64, Bytes)> = Vec::new();
    let mut place = 0;
    for bundle in tree::read_entries(lake.store(), covered).await? {
        match bundle {
            Ok(bundle) => {
                for entry in bundle {
                    entries.push((place, entry));
                    place += 1;
                }
            }
            Err(error) => {
                problems.add(ProblemKind::TreeEntry, error.path.clone(), error.problem);
                place = (place / 256 + 1) * 256;
            }
        }
    }
    let committed = match lake.committed_entries(covered).await {
        Ok(committed) => committed,
        Err(LakeError::Unsupported { problem, .. }) => {
            problems.add(ProblemKind::TableBehind, "table interactions", problem);
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    for (place, entry) in position.recent.iter().filter(|(place, _)| *place < covered) {
        let tiled = usize::try_from(*place).ok().and_then(|at| entries.get(at));
        if tiled.is_some_and(|(at, tiled)| at == place && tiled.as_ref() != entry.as_bytes()) {
            problems.add(
                ProblemKind::TreeEntry,
                format!("entry {place}"),
                "the tiles and the table's commits differ in it",
            );
        }
    }
    entries.extend(committed.into_iter().map(|(place, entry)| (place, Bytes::from(entry))));
    Ok(entries)
}

/// The roots of the tree at every size that a checkpoint may ask for.
struct Roots<'a> {
    entries: &'a [(u64, Bytes)],
}

impl<'a> Roots<'a> {
    fn of(entries: &'a [(u64, Bytes)]) -> Self {
        Roots { entries }
    }

    /// `None` if entries are missing.
    fn at(&self, size: u64) -> Option<String> {
        let (mut edge, mut objects) = (Edge::default(), Objects::new());
        for (place, entry) in self.entries.iter().take(usize::try_from(size).ok()?) {
            if *place != edge.size() {
                return None;
            }
            edge.push(entry.clone(), &mut objects);
            objects.clear();
        }
        (edge.size() == size).then(|| edge.root().to_string())
    }
}

/// Checks the checkpoint; gives the size that it vouches for.
fn check_checkpoint(
    note: Option<Bytes>,
    name: &str,
    keys: &LogKeys,
    position: &LogPosition,
    roots: &Roots<'_>,
    problems: &mut Problems,
) -> u64 {
    let subject = CHECKPOINT;
    let Some(note) = note else {
        if position.published > 0 {
            let detail = format!("it is missing, but the table knows of one of size {}", position.published);
            problems.add(ProblemKind::CheckpointBehind, subject, detail);
        }
        return 0;
    };
    let size = size_of(&note).unwrap_or(0);
    let signed = match Signed::read(note, name, &keys.at(size)) {
        Ok(signed) => signed,
        Err(why) => {
            let kind =
                if why.contains("origin") { ProblemKind::CheckpointOrigin } else { ProblemKind::CheckpointSignature };
            problems.add(kind, subject, why);
            return 0;
        }
    };
    match roots.at(signed.size) {
        Some(root) if root == signed.root => {}
        Some(root) => {
            let detail = format!("its root is {}, but the {} entries add up to {root}", signed.root, signed.size);
            problems.add(ProblemKind::TreeRoot, subject, detail);
        }
        None => {
            let detail = format!("it covers {} entries, which are not all there", signed.size);
            problems.add(ProblemKind::TreeRoot, subject, detail);
        }
    }
    if signed.size < position.published {
        let detail = format!("its size is {}, but the table knows of one of size {}", signed.size, position.published);
        problems.add(ProblemKind::CheckpointBehind, subject, detail);
    }
    if position.size < signed.size {
        let detail = format!(
            "it has {} entries of the log, but a checkpoint of {} has been signed: it was rolled back",
            position.size, signed.size
        );
        problems.add(ProblemKind::TableBehind, "table interactions", detail);
    }
    signed.size
}

fn check_older(
    older: Bytes,
    name: &str,
    keys: &LogKeys,
    (roots, now_size): (&Roots<'_>, u64),
    problems: &mut Problems,
) {
    let subject = "the older checkpoint";
    let size = size_of(&older).unwrap_or(0);
    let read =
        if keys.is_before(size) { Signed::unchecked(older, name) } else { Signed::read(older, name, &keys.at(size)) };
    match read {
        Err(why) => problems.add(ProblemKind::CheckpointInconsistent, subject, why),
        Ok(older) if older.size > now_size => {
            let detail =
                format!("its size is {}, that of the log's checkpoint {now_size}: it was taken back", older.size);
            problems.add(ProblemKind::CheckpointBehind, subject, detail);
        }
        Ok(older) if roots.at(older.size).as_deref() == Some(older.root.as_str()) => {}
        Ok(older) => {
            let detail = format!("the log of size {} that it saw is not the beginning of this one", older.size);
            problems.add(ProblemKind::CheckpointInconsistent, subject, detail);
        }
    }
}

/// A call whose content was not found.
struct Missing {
    day: i32,
    team: String,
    id: RecordId,
    name: String,
}

struct Reading {
    batches: Batches,
    explained: Explained,
    /// Control events that explain something, if they are proven.
    explaining: Vec<(RecordId, (String, String))>,
    missing: Vec<Missing>,
    /// When the first batch was made: since then no row may say that it is of a version without proofs.
    proven_since_us: i64,
    /// Calls whose personal fields are gone.
    erased: Vec<(RecordId, String)>,
    problems: Problems,
    verification: Verification,
}

impl Reading {
    async fn read(&mut self, lake: &Arc<Lake>) -> Result<(), LakeError> {
        let snapshot = lake.snapshot();
        for table in Table::RECORDS.into_iter().filter(|table| *table != Table::Interactions) {
            for found in self.records_of(lake, table, snapshot.files(table).files.clone()).await? {
                if table == Table::ControlEvents {
                    self.explaining.push((found.id, found.about));
                }
            }
        }
        for day in days_of(&snapshot) {
            let of_day = |table| -> Vec<Arc<DataFile>> {
                snapshot.files(table).files.iter().filter(|file| file.day == day).cloned().collect()
            };
            let calls = self.records_of(lake, Table::Interactions, of_day(Table::Interactions)).await?;
            let mut expected: HashMap<RecordId, (Commitment, String, String)> = HashMap::with_capacity(calls.len());
            for call in calls {
                if call.is_erased {
                    self.erased.push((call.id.clone(), call.name.clone()));
                }
                if let Some(payload) = call.payload {
                    expected.insert(call.id, (payload, call.name, call.about.0));
                }
            }
            self.payloads_of(lake, of_day(Table::Payloads), &mut expected).await?;
            let mut missing: Vec<_> = expected.into_iter().collect();
            missing.sort_unstable_by_key(|(id, _)| (id.writer.clone(), id.epoch, id.seq));
            self.missing.extend(missing.into_iter().map(|(id, (_, name, team))| Missing { day, team, id, name }));
        }
        Ok(())
    }

    /// Reads files of a table of records and puts their records into their batches.
    async fn records_of(
        &mut self,
        lake: &Arc<Lake>,
        table: Table,
        files: Vec<Arc<DataFile>>,
    ) -> Result<Vec<Found>, LakeError> {
        let mut all = Vec::new();
        let since_us = self.proven_since_us;
        let reads = files.into_iter().map(|file| {
            let (lake, path, day) = (Arc::clone(lake), file.path.clone(), file.day);
            async move {
                let look = move |batch: &RecordBatch, findings: &mut FileFindings| {
                    rows::records((table, day, since_us), batch, findings).map_err(|error| error.to_string())
                };
                let (outcome, findings) = each_batch(&lake, &file, None, look).await;
                (outcome, path, findings)
            }
        });
        let mut reads = futures::stream::iter(reads).buffered(FILES_AT_ONCE);
        while let Some((outcome, path, findings)) = reads.next().await {
            self.report(&path, outcome)?;
            self.verification.unproven_records += findings.unproven;
            for problem in findings.problems {
                self.problems.add(problem.kind, problem.subject, problem.detail);
            }
            for found in findings.records {
                self.verification.records += 1;
                let place = (found.id.writer.as_str(), found.id.epoch, found.id.seq);
                if !self.batches.take(place, found.commitment, &mut self.problems) {
                    let subject = format!("{} ({})", found.id, found.name);
                    self.problems.add(ProblemKind::RecordUnbatched, subject, "no batch of the log covers it");
                }
                all.push(found);
            }
        }
        Ok(all)
    }

    /// Compares content with what its calls committed to; what is left in `expected` was not found.
    async fn payloads_of(
        &mut self,
        lake: &Arc<Lake>,
        files: Vec<Arc<DataFile>>,
        expected: &mut HashMap<RecordId, (Commitment, String, String)>,
    ) -> Result<(), LakeError> {
        let reads = files.into_iter().map(|file| {
            let (lake, path) = (Arc::clone(lake), file.path.clone());
            async move {
                let look = |batch: &RecordBatch, found: &mut Vec<FoundPayload>| {
                    rows::payloads(batch, found).map_err(|error| error.to_string())
                };
                let (outcome, found) = each_batch(&lake, &file, Some(&rows::PAYLOAD_COLUMNS), look).await;
                (outcome, path, found)
            }
        });
        let mut reads = futures::stream::iter(reads).buffered(FILES_AT_ONCE);
        while let Some((outcome, path, found)) = reads.next().await {
            self.report(&path, outcome)?;
            for FoundPayload { id, name, commitment } in found {
                let Some(commitment) = commitment else { continue };
                self.verification.payloads += 1;
                match expected.remove(&id) {
                    Some((stated, ..)) if stated == commitment => {}
                    Some(_) => {
                        let detail = "its content is not that of its payload_commitment";
                        self.problems.add(ProblemKind::PayloadChanged, format!("{id} ({name})"), detail);
                    }
                    None => {
                        let detail = "its content belongs to no call of its day, or is there twice";
                        self.problems.add(ProblemKind::PayloadChanged, format!("{id} ({name})"), detail);
                    }
                }
            }
        }
        Ok(())
    }

    /// A file that is missing or broken is a finding; a store that does not answer is not.
    fn report(&mut self, path: &str, outcome: Result<(), ReadError>) -> Result<(), LakeError> {
        match outcome {
            Ok(()) => {}
            Err(ReadError::Missing) => {
                self.problems.add(ProblemKind::FileMissing, path, "the table lists it, but it is not there");
            }
            Err(ReadError::Unreadable(why)) => self.problems.add(ProblemKind::FileUnreadable, path, why),
            Err(ReadError::Store(error)) => return Err(*error),
        }
        Ok(())
    }

    fn finish(mut self) -> Verification {
        for (id, (action, subject)) in &self.explaining {
            if self.batches.is_proven(&id.writer, id.epoch, id.seq) {
                self.explained.take(action, subject);
            }
        }
        for missing in &self.missing {
            if self.explained.covers_payload(&day_text(missing.day), &missing.team, &missing.name) {
                self.verification.payloads_missing += 1;
            } else {
                let subject = format!("{} ({})", missing.id, missing.name);
                self.problems.add(
                    ProblemKind::PayloadMissing,
                    subject,
                    "its content is not there, and no record says why",
                );
            }
        }
        for (id, name) in &self.erased {
            if !self.explained.covers_erasure_of(name) {
                let detail = "its personal fields are gone, and no record says that they were erased";
                self.problems.add(ProblemKind::PersonalChanged, format!("{id} ({name})"), detail);
            }
        }
        self.verification.expired_batches = self.batches.finish(&self.explained, &mut self.problems);
        self.verification.ok = self.problems.listed.is_empty();
        self.verification.problems = self.problems.listed;
        self.verification.unlisted_problems = self.problems.unlisted;
        self.verification
    }
}

/// Files that are read at the same time: one per processor of a small machine, since hashing is what takes time.
const FILES_AT_ONCE: usize = 2;

enum ReadError {
    Missing,
    Unreadable(String),
    Store(Box<LakeError>),
}

/// Reads a file whole, compares it with the digest in its name, and looks at its batches; gives what was found up to an
/// error. Hashing and decoding are done where they hold up nobody.
async fn each_batch<Found: Default + Send + 'static>(
    lake: &Lake,
    file: &Arc<DataFile>,
    columns: Option<&'static [&'static str]>,
    look: impl Fn(&RecordBatch, &mut Found) -> Result<(), String> + Send + 'static,
) -> (Result<(), ReadError>, Found) {
    let content = match lake.content(file).await {
        Ok(Some(content)) => content,
        Ok(None) => return (Err(ReadError::Missing), Found::default()),
        Err(error) => return (Err(ReadError::Store(Box::new(error))), Found::default()),
    };
    let file = Arc::clone(file);
    let work = move || {
        let mut found = Found::default();
        let read = look_at(&file, content, columns, |batch| look(batch, &mut found));
        (read.map_err(ReadError::Unreadable), found)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => (Err(ReadError::Store(Box::new(LakeError::Stopped(error)))), Found::default()),
    }
}

fn look_at(
    file: &DataFile,
    content: Bytes,
    columns: Option<&[&str]>,
    mut look: impl FnMut(&RecordBatch) -> Result<(), String>,
) -> Result<(), String> {
    let stated = inbox::digest_of_file(&file.path);
    let is_changed = stated.is_some_and(|stated| !parquet_file::sha256(&content).starts_with(stated));
    // Even so its rows are looked at: they say which records are concerned, if any are.
    let unreadable = |error: LakeError| error_chain(&error);
    for batch in batches_of(file, content, columns).map_err(unreadable)? {
        look(&batch.map_err(unreadable)?)?;
    }
    if is_changed { Err("its bytes are not those whose SHA-256 its name begins with".to_owned()) } else { Ok(()) }
}

fn days_of(snapshot: &LakeSnapshot) -> BTreeSet<i32> {
    let both = snapshot.interactions.files.iter().chain(&snapshot.payloads.files);
    both.map(|file| file.day).collect()
}

//! One file, row by row: whether the values are those that the row's own commitments say, and which they are.

use arrow::array::{Array, AsArray, BinaryArray, StringArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use tollgate_interaction::batch::{
    PAYLOAD_COMMITMENT, PAYLOAD_SALT, PERSONAL_COMMITMENT, PERSONAL_SALT, RECORD_COMMITMENT,
};
use tollgate_interaction::commitment::{Commitment, Rows, of_content};
use tollgate_interaction::interaction::day_of;
use tollgate_interaction::schema::{FIRST_PROVEN_VERSION, Table};

use super::{Problem, ProblemKind};

/// What one record says, as far as the whole log is concerned.
pub(super) struct Found {
    pub(super) id: RecordId,
    /// Recomputed from the values.
    pub(super) commitment: Commitment,
    /// Of a call: what its content must add up to.
    pub(super) payload: Option<Commitment>,
    /// `interaction_id` or `event_id`; empty for a gap.
    pub(super) name: String,
    /// Of a call: its team. Of a control event: its action and subject.
    pub(super) about: (String, String),
    /// Of a call: its personal fields and their salt are gone, and only their commitment is left.
    pub(super) is_erased: bool,
}

/// Place of a record in its log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RecordId {
    pub(super) writer: String,
    pub(super) epoch: u64,
    pub(super) seq: u64,
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "record {}/{}/{}", self.writer, self.epoch, self.seq)
    }
}

/// What a file's rows come to.
#[derive(Default)]
pub(super) struct FileFindings {
    pub(super) records: Vec<Found>,
    /// Rows of a version before there were proofs.
    pub(super) unproven: u64,
    pub(super) problems: Vec<Problem>,
}

/// A column is not there or of another type than the table's.
#[derive(Debug, thiserror::Error)]
#[error("its column `{column}` is missing or not of the table's type")]
pub(super) struct ColumnError {
    column: &'static str,
}

struct Columns<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    fn text(&self, column: &'static str) -> Result<&'a StringArray, ColumnError> {
        self.batch.column_by_name(column).and_then(|array| array.as_string_opt()).ok_or(ColumnError { column })
    }

    fn binary(&self, column: &'static str) -> Result<&'a BinaryArray, ColumnError> {
        self.batch.column_by_name(column).and_then(|array| array.as_binary_opt()).ok_or(ColumnError { column })
    }

    fn int64(&self, column: &'static str) -> Result<&'a arrow::array::Int64Array, ColumnError> {
        let array = self.batch.column_by_name(column).and_then(|array| array.as_primitive_opt::<Int64Type>());
        array.ok_or(ColumnError { column })
    }

    fn ids(&self) -> Result<impl Fn(usize) -> RecordId + use<'a>, ColumnError> {
        let (writers, epochs, seqs) = (self.text("writer")?, self.int64("epoch")?, self.int64("seq")?);
        Ok(move |row| RecordId {
            writer: writers.value(row).to_owned(),
            epoch: epochs.value(row).cast_unsigned(),
            seq: seqs.value(row).cast_unsigned(),
        })
    }
}

/// Looks at the records of one batch of a file of `day`, in a lake whose records are proven since `since_us`.
pub(super) fn records(
    (table, day, since_us): (Table, i32, i64),
    batch: &RecordBatch,
    findings: &mut FileFindings,
) -> Result<(), ColumnError> {
    let columns = Columns { batch };
    let id_of = columns.ids()?;
    let version_column = ColumnError { column: "schema_version" };
    let versions = batch.column_by_name("schema_version").and_then(|array| array.as_primitive_opt::<Int32Type>());
    let versions = versions.ok_or(version_column)?;
    let stated = columns.binary(RECORD_COMMITMENT)?;
    let time_column = table.time_column();
    let times =
        batch.column_by_name(time_column).and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.ok_or(ColumnError { column: time_column })?;
    let is_call = table == Table::Interactions;
    let names = match table {
        Table::Interactions => Some(columns.text("interaction_id")?),
        Table::ControlEvents | Table::AccessEvents | Table::PriceCorrections => Some(columns.text("event_id")?),
        Table::Feedback => Some(columns.text("feedback_id")?),
        Table::Payloads | Table::LogGaps => None,
    };
    let about = match table {
        Table::Interactions => Some((columns.text("team")?, None)),
        Table::ControlEvents => Some((columns.text("action")?, Some(columns.text("subject")?))),
        _ => None,
    };
    let personal = if is_call {
        Some((
            columns.binary(PERSONAL_COMMITMENT)?,
            columns.binary(PERSONAL_SALT)?,
            columns.binary(PAYLOAD_COMMITMENT)?,
        ))
    } else {
        None
    };
    let rows =
        Rows::new(table, |name| batch.column_by_name(name)).map_err(|error| ColumnError { column: error.column })?;
    let mut scratch = Vec::with_capacity(2048);
    for row in 0..batch.num_rows() {
        if versions.value(row) < i32::from(FIRST_PROVEN_VERSION) {
            findings.unproven += 1;
            if times.value(row) >= since_us {
                let subject = format!("{} ({})", id_of(row), names.map_or("", |names| names.value(row)));
                let detail = "it says that it is of a version without proofs, but the log had proofs by then";
                findings.problems.push(Problem {
                    kind: ProblemKind::RecordUnbatched,
                    subject,
                    detail: detail.to_owned(),
                });
            }
            continue;
        }
        let id = id_of(row);
        let name = names.map_or("", |names| names.value(row)).to_owned();
        let named = || if name.is_empty() { id.to_string() } else { format!("{id} ({name})") };
        let mut problem = |kind, detail: &str| {
            findings.problems.push(Problem { kind, subject: named(), detail: detail.to_owned() });
        };
        if day_of(times.value(row)) != day {
            problem(ProblemKind::RecordDay, "it stands under another day than that of its time");
        }
        let commitment = rows.record(row, &mut scratch);
        if stated.value(row) != commitment {
            problem(ProblemKind::RecordChanged, "its values are not those of its record_commitment");
        }
        let (mut payload, mut is_erased) = (None, false);
        if let Some((committed, salts, payloads)) = personal {
            payload = payloads.is_valid(row).then(|| payloads.value(row).try_into().ok()).flatten();
            let stated = committed.is_valid(row).then(|| committed.value(row));
            // An erasure takes the salt with the fields; what is left says nothing and can be checked no further.
            is_erased = stated.is_some() && salts.is_null(row) && !rows.write_personal(row, &mut Vec::new());
            let salt = if salts.is_valid(row) { salts.value(row) } else { &[] };
            if !is_erased && stated != rows.personal(row, salt, &mut scratch).as_ref().map(|hash| hash.as_slice()) {
                problem(ProblemKind::PersonalChanged, "its personal fields are not those of its personal_commitment");
            }
        }
        let about = about.map_or_else(Default::default, |(first, second)| {
            (first.value(row).to_owned(), second.map_or_else(String::new, |second| second.value(row).to_owned()))
        });
        findings.records.push(Found { id, commitment, payload, name, about, is_erased });
    }
    Ok(())
}

/// The columns of `payloads` that its commitments are about.
pub(super) const PAYLOAD_COLUMNS: [&str; 9] = [
    "interaction_id",
    "writer",
    "epoch",
    "seq",
    "request_content_type",
    "request_body",
    "response_content_type",
    "response_body",
    PAYLOAD_SALT,
];

/// The content of one call: where it stands and what it comes to. `None` for a version before there were proofs.
pub(super) struct FoundPayload {
    pub(super) id: RecordId,
    pub(super) name: String,
    pub(super) commitment: Option<Commitment>,
}

/// Hashes the content of one batch.
pub(super) fn payloads(batch: &RecordBatch, found: &mut Vec<FoundPayload>) -> Result<(), ColumnError> {
    let columns = Columns { batch };
    let id_of = columns.ids()?;
    let names = columns.text("interaction_id")?;
    let (request_types, requests) = (columns.text("request_content_type")?, columns.binary("request_body")?);
    let (response_types, responses) = (columns.text("response_content_type")?, columns.binary("response_body")?);
    let salts = columns.binary(PAYLOAD_SALT)?;
    for row in 0..batch.num_rows() {
        let content =
            [(request_types.value(row), requests.value(row)), (response_types.value(row), responses.value(row))];
        let commitment = salts.is_valid(row).then(|| of_content(salts.value(row), content));
        found.push(FoundPayload { id: id_of(row), name: names.value(row).to_owned(), commitment });
    }
    Ok(())
}

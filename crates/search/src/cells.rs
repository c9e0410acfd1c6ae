//! Rows of the two tables as documents of the index.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use tantivy::TantivyDocument;
use tollgate_interaction::schema::Transcribe;

use crate::error::SearchError;
use crate::fields::Fields;

/// What the index takes from a call's facts, by interaction id.
pub(crate) type Facts = HashMap<String, Fact>;

/// See [`Facts`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Fact {
    pub(crate) provider: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) model_served: Option<String>,
}

/// Columns that [`documents`] needs.
pub(crate) const PAYLOAD_COLUMNS: &[&str] = &[
    "interaction_id",
    "writer",
    "epoch",
    "seq",
    "started_at",
    "tenant",
    "team",
    "model_requested",
    "request_body",
    "response_body",
];
/// Columns that [`add_facts`] needs.
pub(crate) const FACT_COLUMNS: &[&str] = &["interaction_id", "provider", "outcome", "model_served"];

/// Adds the facts of a batch of `interactions`.
pub(crate) fn add_facts(batch: &RecordBatch, path: &str, facts: &mut Facts) -> Result<(), SearchError> {
    let ids = texts(batch, "interaction_id", path)?;
    let columns =
        [texts(batch, "provider", path)?, texts(batch, "outcome", path)?, texts(batch, "model_served", path)?];
    for row in 0..batch.num_rows() {
        let [provider, outcome, model_served] = columns.map(|column| known(column, row).map(str::to_owned));
        facts.insert(ids.value(row).to_owned(), Fact { provider, outcome, model_served });
    }
    Ok(())
}

/// The documents of those rows of a batch of `payloads` whose numbers are wanted: for a writer and an epoch, those after
/// the first number and up to the second.
pub(crate) fn documents(
    batch: &RecordBatch,
    path: &str,
    facts: &Facts,
    wanted: impl Fn(&str, u64) -> (u64, u64),
    transcribe: Transcribe,
    fields: &Fields,
) -> Result<Vec<TantivyDocument>, SearchError> {
    let ids = texts(batch, "interaction_id", path)?;
    let writers = texts(batch, "writer", path)?;
    let (epochs, seqs) = (counts(batch, "epoch", path)?, counts(batch, "seq", path)?);
    let started = column(batch, "started_at", path)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| missing(path, "started_at"))?;
    let (tenants, teams) = (texts(batch, "tenant", path)?, texts(batch, "team", path)?);
    let models = texts(batch, "model_requested", path)?;
    let (requests, responses) = (bodies(batch, "request_body", path)?, bodies(batch, "response_body", path)?);
    let nothing = Fact::default();
    let mut documents = Vec::with_capacity(batch.num_rows());
    // Neighbours are of one writer and epoch, which is therefore looked up once for all of them.
    let mut of = ("", 0, (0, 0));
    for row in 0..batch.num_rows() {
        let (writer, epoch) = (writers.value(row), epochs[row]);
        if (of.0, of.1) != (writer, epoch) {
            of = (writer, epoch, wanted(writer, epoch));
        }
        let (after, up_to) = of.2;
        if seqs[row] <= after || seqs[row] > up_to {
            continue;
        }
        let id = ids.value(row);
        let fact = facts.get(id).unwrap_or(&nothing);
        let mut document = TantivyDocument::default();
        document.add_text(fields.interaction_id, id);
        document.add_i64(fields.started_at, started.value(row));
        document.add_text(fields.tenant, tenants.value(row));
        document.add_text(fields.team, teams.value(row));
        document.add_text(fields.model, models.value(row));
        let served = fact.model_served.as_deref().filter(|served| *served != models.value(row));
        for (field, value) in [
            (fields.model, served),
            (fields.provider, fact.provider.as_deref()),
            (fields.outcome, fact.outcome.as_deref()),
        ] {
            if let Some(value) = value {
                document.add_text(field, value);
            }
        }
        for (role, content) in transcribe(requests.value(row), responses.value(row)) {
            document.add_text(fields.role, role);
            document.add_text(fields.body, content);
        }
        documents.push(document);
    }
    Ok(documents)
}

fn missing(path: &str, column: &'static str) -> SearchError {
    SearchError::Column { path: path.to_owned(), column }
}

fn column<'a>(batch: &'a RecordBatch, name: &'static str, path: &str) -> Result<&'a dyn Array, SearchError> {
    batch.column_by_name(name).map(AsRef::as_ref).ok_or_else(|| missing(path, name))
}

fn texts<'a>(batch: &'a RecordBatch, name: &'static str, path: &str) -> Result<&'a StringArray, SearchError> {
    column(batch, name, path)?.as_string_opt::<i32>().ok_or_else(|| missing(path, name))
}

fn bodies<'a>(batch: &'a RecordBatch, name: &'static str, path: &str) -> Result<&'a BinaryArray, SearchError> {
    column(batch, name, path)?.as_binary_opt::<i32>().ok_or_else(|| missing(path, name))
}

fn counts(batch: &RecordBatch, name: &'static str, path: &str) -> Result<Vec<u64>, SearchError> {
    let counts = column(batch, name, path)?.as_primitive_opt::<Int64Type>().ok_or_else(|| missing(path, name))?;
    Ok(counts.values().iter().map(|count| u64::try_from(*count).unwrap_or(0)).collect())
}

fn known(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

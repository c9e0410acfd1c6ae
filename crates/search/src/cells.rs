//! Rows of the two tables as documents of the index.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use tantivy::TantivyDocument;
use tollgate_interaction::InteractionId;
use tollgate_interaction::schema::Transcribe;

use crate::error::SearchError;
use crate::fields::Fields;

/// What the index takes from the facts of calls, by interaction id. Providers, outcomes and models are few, so that each is
/// kept once.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    of_call: HashMap<InteractionId, [Option<u32>; 3]>,
    texts: Vec<Arc<str>>,
    known: HashMap<Arc<str>, u32>,
}

impl Facts {
    /// Provider, outcome and the model that served the call; nothing for a call that is not known.
    fn of(&self, id: &str) -> [Option<&str>; 3] {
        let found = id.parse().ok().and_then(|id: InteractionId| self.of_call.get(&id)).copied().unwrap_or_default();
        found.map(|text| text.and_then(|at| self.texts.get(at as usize)).map(AsRef::as_ref))
    }

    fn place(&mut self, text: &str) -> Option<u32> {
        if let Some(at) = self.known.get(text) {
            return Some(*at);
        }
        let at = u32::try_from(self.texts.len()).ok()?;
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.known.insert(text, at);
        Some(at)
    }
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

/// Columns that [`add_wanted`] needs.
pub(crate) const KEY_COLUMNS: &[&str] = &["interaction_id", "writer", "epoch", "seq"];

/// Adds the facts of a batch of `interactions`: of all its calls, or of those in `wanted`.
pub(crate) fn add_facts(
    batch: &RecordBatch,
    path: &str,
    wanted: Option<&HashSet<InteractionId>>,
    facts: &mut Facts,
) -> Result<(), SearchError> {
    let ids = texts(batch, "interaction_id", path)?;
    let columns =
        [texts(batch, "provider", path)?, texts(batch, "outcome", path)?, texts(batch, "model_served", path)?];
    for row in 0..batch.num_rows() {
        let Ok(id) = ids.value(row).parse::<InteractionId>() else { continue };
        if wanted.is_none_or(|wanted| wanted.contains(&id)) {
            let fact = columns.map(|column| known(column, row).and_then(|text| facts.place(text)));
            facts.of_call.insert(id, fact);
        }
    }
    Ok(())
}

/// Adds to `ids` the calls of those rows of a batch of `payloads` that [`documents`] would take, among those at the places
/// `rows` of the batch.
pub(crate) fn add_wanted(
    batch: &RecordBatch,
    path: &str,
    rows: Range<usize>,
    wanted: &impl Fn(&str, u64) -> (u64, u64),
    ids: &mut HashSet<InteractionId>,
) -> Result<(), SearchError> {
    let (names, writers) = (texts(batch, "interaction_id", path)?, texts(batch, "writer", path)?);
    let (epochs, seqs) = (counts(batch, "epoch", path)?, counts(batch, "seq", path)?);
    let mut of = ("", 0, (0, 0));
    for row in rows {
        let (writer, epoch) = (writers.value(row), epochs[row]);
        if (of.0, of.1) != (writer, epoch) {
            of = (writer, epoch, wanted(writer, epoch));
        }
        let (after, up_to) = of.2;
        if seqs[row] > after && seqs[row] <= up_to {
            ids.extend(names.value(row).parse::<InteractionId>().ok());
        }
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
        let [provider, outcome, served] = facts.of(id);
        let mut document = TantivyDocument::default();
        document.add_text(fields.interaction_id, id);
        document.add_i64(fields.started_at, started.value(row));
        document.add_text(fields.tenant, tenants.value(row));
        document.add_text(fields.team, teams.value(row));
        document.add_text(fields.model, models.value(row));
        let served = served.filter(|served| *served != models.value(row));
        for (field, value) in [(fields.model, served), (fields.provider, provider), (fields.outcome, outcome)] {
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

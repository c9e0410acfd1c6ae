//! Rows of several files in one order, in bounded memory. Files that a compaction wrote are in that order already and are
//! streamed; those of a flush are small, read whole and sorted. The order of facts is that of the questions asked of them
//! (tenant, time); that of payloads puts the calls of an application and the turns of a conversation side by side, where the compressor finds the history
//! that each of them repeats.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt64Array};
use arrow::compute::{cast, interleave_record_batch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_interaction::schema::Table;

use crate::error::LakeError;

/// Rows of a batch that is handed on, at most.
const OUT_ROWS: usize = 8_192;
/// Bytes of a batch that is handed on, as far as its rows are of average size.
const OUT_BYTES: usize = 8 << 20;
/// Beginning of a request by which calls that are no conversations are put side by side.
const PREFIX_BYTES: usize = 256;

const UPPER_HALF: u64 = !0 << 32;

/// Makes the keys by which the rows of one table are ordered.
pub(crate) struct Order {
    table: Table,
    converter: RowConverter,
}

impl Order {
    pub(crate) fn of(table: Table) -> Result<Order, ArrowError> {
        let fields =
            [DataType::Utf8, DataType::UInt64, DataType::Int64, DataType::Utf8, DataType::Int64, DataType::Int64];
        let converter = RowConverter::new(fields.into_iter().map(SortField::new).collect())?;
        Ok(Order { table, converter })
    }

    fn keys(&self, batch: &RecordBatch) -> Result<Rows, ArrowError> {
        let rows = batch.num_rows();
        let column = |name: &str| {
            let missing = || ArrowError::SchemaError(format!("no column `{name}`"));
            batch.column_by_name(name).cloned().ok_or_else(missing)
        };
        // Gaps belong to no tenant.
        let tenant = match column("tenant") {
            Ok(tenant) => tenant,
            Err(_) => Arc::new(arrow::array::StringArray::from(vec![""; rows])),
        };
        let conversation: ArrayRef = match self.table {
            Table::Payloads => Arc::new(conversations(batch)?),
            _ => Arc::new(UInt64Array::from(vec![0; rows])),
        };
        let time = cast(&column(self.table.time_column())?, &DataType::Int64)?;
        // Last, so that the order is one whatever order the files are read in.
        let columns = [tenant, conversation, time, column("writer")?, column("epoch")?, column("seq")?];
        self.converter_rows(&columns)
    }

    fn converter_rows(&self, columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
        self.converter.convert_columns(columns)
    }
}

/// What the turns of a conversation have in common, as a number.
fn conversations(batch: &RecordBatch) -> Result<UInt64Array, ArrowError> {
    let requests = batch.column_by_name("request_body").and_then(|column| column.as_binary_opt::<i32>());
    let requests =
        requests.ok_or_else(|| ArrowError::SchemaError("no column `request_body` of binary values".to_owned()))?;
    Ok((0..batch.num_rows()).map(|row| conversation(requests.value(row))).collect())
}

/// As much of a request as the order needs, in any dialect.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Role<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
}

/// A number whose upper half tells what stands before the first thing the user said, which calls of one application have
/// in common, and whose lower half tells that too, which the turns of one conversation have. Of what is no conversation, its
/// beginning.
fn conversation(request: &[u8]) -> u64 {
    let mut hash = DefaultHasher::new();
    let Ok(Request { system, messages }) = serde_json::from_slice::<Request<'_>>(request) else {
        request[..request.len().min(PREFIX_BYTES)].hash(&mut hash);
        return hash.finish();
    };
    system.map(RawValue::get).hash(&mut hash);
    let mut before = hash.finish();
    for message in messages {
        before = hash.finish();
        message.get().hash(&mut hash);
        if serde_json::from_str::<Role<'_>>(message.get()).is_ok_and(|said| said.role == "user") {
            break;
        }
    }
    (before & UPPER_HALF) | (hash.finish() >> 32)
}

/// Rows in order, some at a time.
struct Cursor {
    rest: BoxStream<'static, Result<RecordBatch, LakeError>>,
    batch: RecordBatch,
    keys: Rows,
    at: usize,
}

/// Merges ordered streams.
pub(crate) struct Merge {
    order: Order,
    cursors: Vec<Cursor>,
}

fn failed(source: ArrowError) -> LakeError {
    LakeError::Merge { source }
}

/// The rows of several batches in order, some at a time: they are not in memory a second time.
pub(crate) fn sorted(
    order: &Order,
    batches: Vec<RecordBatch>,
) -> Result<BoxStream<'static, Result<RecordBatch, LakeError>>, LakeError> {
    let keys =
        batches.iter().map(|batch| order.keys(batch)).collect::<Result<Vec<Rows>, ArrowError>>().map_err(failed)?;
    let mut places: Vec<(usize, usize)> = Vec::with_capacity(keys.iter().map(Rows::num_rows).sum());
    for (of_batch, keys) in keys.iter().enumerate() {
        places.extend((0..keys.num_rows()).map(|row| (of_batch, row)));
    }
    places.sort_unstable_by(|one, other| keys[one.0].row(one.1).cmp(&keys[other.0].row(other.1)));
    let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
    let rows_at_once = (OUT_BYTES / (bytes / places.len().max(1)).max(1)).clamp(1, OUT_ROWS);
    let mut taken = 0;
    let slices = std::iter::from_fn(move || {
        let rest = places.get(taken..).filter(|rest| !rest.is_empty())?;
        let slice = &rest[..rest.len().min(rows_at_once)];
        taken += slice.len();
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        Some(interleave_record_batch(&batches, slice).map_err(failed))
    });
    Ok(futures::stream::iter(slices).boxed())
}

impl Merge {
    pub(crate) fn new(order: Order) -> Merge {
        Merge { order, cursors: Vec::new() }
    }

    pub(crate) fn order(&self) -> &Order {
        &self.order
    }

    /// Adds a stream whose rows are in order.
    pub(crate) async fn add(
        &mut self,
        mut rest: BoxStream<'static, Result<RecordBatch, LakeError>>,
    ) -> Result<(), LakeError> {
        if let Some(batch) = next_batch(&mut rest).await? {
            let keys = self.order.keys(&batch).map_err(failed)?;
            self.cursors.push(Cursor { rest, batch, keys, at: 0 });
        }
        Ok(())
    }

    /// The next rows; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, LakeError> {
        // Batches that the rows taken so far are from; a cursor that goes on leaves its batch here.
        let mut batches: Vec<RecordBatch> = self.cursors.iter().map(|cursor| cursor.batch.clone()).collect();
        let mut of_cursor: Vec<usize> = (0..self.cursors.len()).collect();
        let mut taken: Vec<(usize, usize)> = Vec::new();
        let mut bytes = 0;
        while taken.len() < OUT_ROWS && bytes < OUT_BYTES {
            let Some(first) = self.smallest() else { break };
            let cursor = &mut self.cursors[first];
            taken.push((of_cursor[first], cursor.at));
            bytes += cursor.batch.get_array_memory_size() / cursor.batch.num_rows().max(1);
            cursor.at += 1;
            if cursor.at < cursor.batch.num_rows() {
                continue;
            }
            match next_batch(&mut cursor.rest).await? {
                Some(batch) => {
                    cursor.keys = self.order.keys(&batch).map_err(failed)?;
                    cursor.batch = batch.clone();
                    cursor.at = 0;
                    of_cursor[first] = batches.len();
                    batches.push(batch);
                }
                None => {
                    self.cursors.remove(first);
                    of_cursor.remove(first);
                }
            }
        }
        if taken.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        interleave_record_batch(&batches, &taken).map(Some).map_err(failed)
    }

    fn smallest(&self) -> Option<usize> {
        let row = |at: usize| self.cursors[at].keys.row(self.cursors[at].at);
        (0..self.cursors.len()).min_by(|one, other| row(*one).cmp(&row(*other)))
    }
}

async fn next_batch(
    rest: &mut BoxStream<'static, Result<RecordBatch, LakeError>>,
) -> Result<Option<RecordBatch>, LakeError> {
    while let Some(batch) = rest.try_next().await? {
        if batch.num_rows() > 0 {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{UPPER_HALF, conversation};

    #[test]
    fn turns_of_a_conversation_stand_together_and_apart_from_others() {
        let first = br#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"content":[{"text":"Hi"}],"role":"user"}]}"#;
        let third = br#"{"messages":[{"role":"system","content":"Be brief."},{"content":[{"text":"Hi"}],"role":"user"},
            {"role":"assistant","content":"Hello"},{"role":"user","content":"\u00e4"}],"max_tokens":5,"model":"m"}"#;
        let other = br#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"content":[{"text":"Ho"}],"role":"user"}]}"#;
        assert_eq!(conversation(first), conversation(third));
        assert_ne!(conversation(first), conversation(other));
        let of_system =
            |system: &str| format!(r#"{{"system":"{system}","messages":[{{"role":"user","content":"Hi"}}]}}"#);
        assert_ne!(conversation(of_system("a").as_bytes()), conversation(of_system("b").as_bytes()));
        let asked = |question: &str| {
            conversation(
                format!(
                    r#"{{"messages":[{{"role":"system","content":"s"}},{{"role":"user","content":"{question}"}}]}}"#
                )
                .as_bytes(),
            )
        };
        assert_eq!(asked("a") & UPPER_HALF, asked("b") & UPPER_HALF, "calls of one application stand side by side");
        assert_ne!(asked("a"), asked("b"));
    }

    #[test]
    fn what_is_no_conversation_stands_by_its_beginning() {
        let beginning = "x".repeat(super::PREFIX_BYTES);
        assert_eq!(conversation(format!("{beginning}a").as_bytes()), conversation(format!("{beginning}b").as_bytes()));
        assert_ne!(conversation(b"[1]"), conversation(b"[2]"));
        assert_ne!(conversation(br#"{"input":"a"}"#), conversation(br#"{"input":"b"}"#));
        conversation(b"");
    }
}

//! Rows to Arrow. Each column is built in one pass over the rows; nothing is copied that Arrow does not need.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array,
    ListArray, MapArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use crate::attempt::{Attempt, Candidate, Reason};
use crate::commitment::{Commitment, Rows, SALT_BYTES};
use crate::governance::{AccessEvent, ControlEvent, Feedback, GapEvent, PriceCorrection};
use crate::id::{EventId, InteractionId};
use crate::interaction::day_of;
use crate::money::Usd;
use crate::schema::{self, Column, EventRow, InteractionRow, Part, Table};

/// What a call's record is sealed with beside its facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// [`crate::commitment::of_payload`].
    pub payload_commitment: Commitment,
    /// Of the personal fields.
    pub personal_salt: [u8; SALT_BYTES],
}

/// One row of the `payloads` table: what was said in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadRow {
    /// Place in the log of the call's `Settled` event; the same as in `interactions`.
    pub event_id: EventId,
    /// The call.
    pub interaction_id: InteractionId,
    /// When the call started. Microseconds since 1970, UTC.
    pub started_at_us: i64,
    /// Organisation, team and model of the call, repeated so that a search index needs this table alone.
    pub tenant: String,
    /// Team of the key.
    pub team: String,
    /// Model as the caller wrote it.
    pub model_requested: String,
    /// Media type of the request.
    pub request_content_type: String,
    /// The request as received.
    pub request_body: Bytes,
    /// Media type of the response.
    pub response_content_type: String,
    /// The response as sent; a stream is the raw concatenation of its events.
    pub response_body: Bytes,
    /// Of the content's commitment.
    pub salt: [u8; SALT_BYTES],
}

/// Builds a batch of the `interactions` table, with all columns of [`schema::interactions`] and their commitments.
///
/// # Errors
/// Only if a column does not fit its declared type, which is a defect of this crate.
pub fn interactions(rows: &[InteractionRow]) -> Result<RecordBatch, ArrowError> {
    built(Table::Interactions, &schema::INTERACTION_COLUMNS, rows, |rows| {
        rows.iter().map(|(_, _, seal)| seal.personal_salt.as_slice()).collect()
    })
}

/// Builds a batch of the `payloads` table, with all columns of [`schema::payloads`].
///
/// # Errors
/// Only if a column does not fit its declared type, which is a defect of this crate.
pub fn payloads(rows: &[PayloadRow]) -> Result<RecordBatch, ArrowError> {
    let columns = schema::PAYLOAD_COLUMNS.iter().map(|column| (column.build)(rows)).collect();
    RecordBatch::try_new(schema::payloads(), columns)
}

/// Builds a batch of the `control_events` table.
///
/// # Errors
/// Only if a column does not fit its declared type, which is a defect of this crate.
pub fn control_events(rows: &[EventRow<ControlEvent>]) -> Result<RecordBatch, ArrowError> {
    built(Table::ControlEvents, &schema::CONTROL_EVENT_COLUMNS, rows, |_| Vec::new())
}

/// Builds a batch of the `access_events` table.
///
/// # Errors
/// Only if a column does not fit its declared type, which is a defect of this crate.
pub fn access_events(rows: &[EventRow<AccessEvent>]) -> Result<RecordBatch, ArrowError> {
    built(Table::AccessEvents, &schema::ACCESS_EVENT_COLUMNS, rows, |_| Vec::new())
}

/// Builds a batch of the `log_gaps` table.
///
/// # Errors
/// Only if a column does not fit its declared type, which is a defect of this crate.
pub fn log_gaps(rows: &[EventRow<GapEvent>]) -> Result<RecordBatch, ArrowError> {
    built(Table::LogGaps, &schema::LOG_GAP_COLUMNS, rows, |_| Vec::new())
}

/// Builds a batch of the `price_corrections` table.
///
/// # Errors
/// Only if a column does not fit its declared type, which is a defect of this crate.
pub fn price_corrections(rows: &[EventRow<PriceCorrection>]) -> Result<RecordBatch, ArrowError> {
    built(Table::PriceCorrections, &schema::PRICE_CORRECTION_COLUMNS, rows, |_| Vec::new())
}

/// Builds a batch of the `feedback` table.
///
/// # Errors
/// Only if a column does not fit its declared type, which is a defect of this crate.
pub fn feedback(rows: &[EventRow<Feedback>]) -> Result<RecordBatch, ArrowError> {
    built(Table::Feedback, &schema::FEEDBACK_COLUMNS, rows, |_| Vec::new())
}

/// Builds the columns and, from them, the commitments: of the personal fields first, since the record's contains it.
fn built<Row>(
    table: Table,
    columns: &[Column<Row>],
    rows: &[Row],
    salts: fn(&[Row]) -> Vec<&[u8]>,
) -> Result<RecordBatch, ArrowError> {
    let mut arrays: Vec<ArrayRef> = columns.iter().map(|column| (column.build)(rows)).collect();
    let place = |name: &str| columns.iter().position(|column| column.name == name);
    let mut scratch = Vec::with_capacity(2048);
    if let (Some(commitment_at), Some(salt_at)) = (place(PERSONAL_COMMITMENT), place(PERSONAL_SALT)) {
        let salts = salts(rows);
        let values = Rows::new(table, |name| place(name).map(|at| &arrays[at])).map_err(defect)?;
        let committed: Vec<Option<Commitment>> =
            salts.iter().enumerate().map(|(row, salt)| values.personal(row, salt, &mut scratch)).collect();
        // Who said nothing personal needs no salt.
        let kept = salts.iter().zip(&committed).map(|(salt, commitment)| commitment.map(|_| *salt));
        let salts: ArrayRef = Arc::new(kept.collect::<BinaryArray>());
        let commitments: ArrayRef = Arc::new(binary_or_null(committed.iter().map(Option::as_ref)));
        arrays[salt_at] = salts;
        arrays[commitment_at] = commitments;
    }
    if let Some(at) = place(RECORD_COMMITMENT) {
        let values = Rows::new(table, |name| place(name).map(|at| &arrays[at])).map_err(defect)?;
        let commitments = BinaryArray::from_iter_values((0..rows.len()).map(|row| values.record(row, &mut scratch)));
        arrays[at] = Arc::new(commitments);
    }
    RecordBatch::try_new(table.schema(), arrays)
}

fn defect(error: crate::commitment::UnknownColumnError) -> ArrowError {
    ArrowError::from_external_error(Box::new(error))
}

fn binary_or_null<'a>(hashes: impl Iterator<Item = Option<&'a Commitment>>) -> BinaryArray {
    hashes.map(|hash| hash.map(Commitment::as_slice)).collect()
}

/// Column with the record's commitment.
pub const RECORD_COMMITMENT: &str = "record_commitment";
/// Column with the commitment of the personal fields.
pub const PERSONAL_COMMITMENT: &str = "personal_commitment";
/// Column with its salt.
pub const PERSONAL_SALT: &str = "personal_salt";
/// Column with the commitment of the content.
pub const PAYLOAD_COMMITMENT: &str = "payload_commitment";
/// Column of `payloads` with its salt.
pub const PAYLOAD_SALT: &str = "payload_salt";

/// Of a column that is filled in when the others are there.
fn to_be_filled_in<Row>(rows: &[Row]) -> ArrayRef {
    arrow::array::new_null_array(&DataType::Binary, rows.len())
}

/// A column of text that is always there.
macro_rules! text {
    ($name:literal, $meaning:literal, |$event:pat_param, $call:pat_param| $value:expr) => {
        column($name, DataType::Utf8, false, $meaning, |rows| {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|($event, $call, _)| $value)))
        })
    };
}
/// A column of text that may be NULL.
macro_rules! text_or_null {
    ($name:literal, $meaning:literal, |$call:ident| $value:expr) => {
        column($name, DataType::Utf8, true, $meaning, |rows| {
            Arc::new(rows.iter().map(|(_, $call, _)| $value).collect::<StringArray>())
        })
    };
}
/// A column of integers that may be NULL.
macro_rules! count_or_null {
    ($name:literal, $meaning:literal, |$call:ident| $value:expr) => {
        column($name, DataType::Int64, true, $meaning, |rows| {
            Arc::new(rows.iter().map(|(_, $call, _)| $value.map(signed)).collect::<Int64Array>())
        })
    };
}
/// A column of integers that are always there.
macro_rules! count {
    ($name:literal, $meaning:literal, |$event:pat_param, $call:pat_param| $value:expr) => {
        column($name, DataType::Int64, false, $meaning, |rows| {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|($event, $call, _)| signed($value))))
        })
    };
}

mod governed;

pub(crate) fn interaction_columns() -> Vec<Column<InteractionRow>> {
    let mut columns = call_columns();
    columns.extend(governed::columns());
    columns.push(outside(column(
        schema::DAY,
        DataType::Date32,
        false,
        "UTC day of started_at; the partition",
        |rows| Arc::new(Date32Array::from_iter_values(rows.iter().map(|(_, call, _): &InteractionRow| call.day()))),
    )));
    columns
}

/// The columns of the first three versions.
#[expect(clippy::too_many_lines, reason = "a table: one entry per column, in the order of the schema")]
fn call_columns() -> Vec<Column<InteractionRow>> {
    vec![
        text!("interaction_id", "Identifies the call everywhere (UUIDv7)", |_, call| call.interaction_id.to_string()),
        text!("writer", "Write-ahead log the record was appended to", |event, _| event.writer.as_str()),
        count!("epoch", "Boot counter of that writer", |event, _| event.epoch),
        count!("seq", "Position of the record in that epoch", |event, _| event.seq),
        column("schema_version", DataType::Int32, false, "Version of the record's columns", |rows| {
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|(_, call, _)| i32::from(call.schema_version))))
        }),
        column("started_at", schema::timestamp(), false, "When the request arrived (UTC)", |rows| {
            timestamps(rows.iter().map(|(_, call, _)| call.started_at_us))
        }),
        column(
            "ended_at",
            schema::timestamp(),
            false,
            "When the last byte was sent or the call given up (UTC); started_at if the gateway died in the call",
            |rows| timestamps(rows.iter().map(|(_, call, _)| call.ended_at_us)),
        ),
        text!("tenant", "Organisation the key belongs to", |_, call| call.tenant.as_str()),
        text_or_null!("project", "Project of the key", |call| call.project.as_deref()),
        text!("team", "Team of the key; empty if the caller was never identified", |_, call| call.team.as_str()),
        personal(text_or_null!("user_ref", "Keyed hash of the end user the caller named", |call| call
            .user_ref
            .as_deref())),
        text_or_null!("api_key_id", "Id of the virtual key, not the key", |call| call.api_key_id.as_deref()),
        personal(text_or_null!("conversation_id", "Groups the turns of one conversation", |call| call
            .conversation_id
            .as_deref())),
        text_or_null!("trace_id", "W3C trace id", |call| call.trace_id.as_deref()),
        text_or_null!("span_id", "W3C span id of the caller", |call| call.span_id.as_deref()),
        text!("source", "Door the record came in by: proxy, demo", |_, call| call.source.as_str()),
        text!("operation", "What was asked for: chat, embeddings", |_, call| call.operation.as_str()),
        text!("dialect", "The caller's wire format: openai, anthropic, responses, gemini, bedrock", |_, call| call
            .dialect
            .as_str()),
        column("stream", DataType::Boolean, false, "Whether the caller asked for a stream", |rows| {
            Arc::new(rows.iter().map(|(_, call, _)| Some(call.stream)).collect::<BooleanArray>())
        }),
        text!("model_requested", "Model as the caller wrote it", |_, call| call.model_requested.as_str()),
        text_or_null!("model_served", "Model as the provider reported it", |call| call.model_served.as_deref()),
        text_or_null!("provider", "Provider that answered or was tried last", |call| call.provider.as_deref()),
        text_or_null!("region", "Region of that provider, as configured", |call| call.region.as_deref()),
        text_or_null!("route_id", "Alias the model was resolved through", |call| call.route_id.as_deref()),
        text_or_null!("policy_bundle_hash", "SHA-256 of the policy bundle that decided", |call| call
            .policy_bundle_hash
            .as_deref()),
        text_or_null!("signals_id", "Signals snapshot the decision read", |call| call.signals_id.as_deref()),
        text!("decision", "What policy said: allow, deny", |_, call| call.decision.as_str()),
        column(
            "decision_reasons",
            schema::list_of(DataType::Struct(schema::reason_fields())),
            false,
            "Why, rule by rule: {rule, effect, detail}",
            |rows| lists(rows, |call| &call.decision_reasons, schema::reason_fields(), reasons),
        ),
        column(
            "candidates",
            schema::list_of(DataType::Struct(schema::candidate_fields())),
            false,
            "Targets considered, in order of preference: {provider, model, rejected_because}",
            |rows| lists(rows, |call| &call.candidates, schema::candidate_fields(), candidates),
        ),
        column(
            "attempts",
            schema::list_of(DataType::Struct(schema::attempt_fields())),
            false,
            "Upstream calls made: {provider, model, http_status, error_class, started_at, duration_us, tokens, cost}",
            |rows| lists(rows, |call| &call.attempts, schema::attempt_fields(), attempts),
        ),
        text!("outcome", "How it ended: success, denied, failed, cancelled, interrupted, cached", |_, call| call
            .outcome
            .as_str()),
        column("http_status", DataType::Int32, true, "HTTP status sent to the caller", |rows| {
            Arc::new(rows.iter().map(|(_, call, _)| call.http_status.map(i32::from)).collect::<Int32Array>())
        }),
        text_or_null!("error_type", "Stable code of the error", |call| call.error_type.as_deref()),
        text_or_null!("error_message", "One sentence on the error", |call| call.error_message.as_deref()),
        column("finish_reasons", schema::list_of(DataType::Utf8), false, "Why the model stopped, per choice", |rows| {
            texts(rows, |call| &call.finish_reasons, None)
        }),
        count!("latency_us", "Request's first byte to answer's last byte", |_, call| call.latency_us),
        count_or_null!("ttft_us", "Request's first byte to answer's first content", |call| call.ttft_us),
        count_or_null!("gateway_overhead_us", "Part of the latency before the upstream was called", |call| call
            .gateway_overhead_us),
        count_or_null!("input_tokens", "Tokens read by the model, cached ones included", |call| call
            .usage
            .input_tokens),
        count_or_null!("output_tokens", "Tokens written by the model, reasoning included", |call| call
            .usage
            .output_tokens),
        count_or_null!("cache_read_input_tokens", "Part of the input read from the provider's cache", |call| call
            .usage
            .cache_read_input_tokens),
        count_or_null!("cache_write_5m_input_tokens", "Part of the input written to a 5 minute cache", |call| call
            .usage
            .cache_write_5m_input_tokens),
        count_or_null!("cache_write_1h_input_tokens", "Part of the input written to a 1 hour cache", |call| call
            .usage
            .cache_write_1h_input_tokens),
        count_or_null!("reasoning_output_tokens", "Part of the output spent on reasoning", |call| call
            .usage
            .reasoning_output_tokens),
        count_or_null!("audio_input_tokens", "Part of the input that was audio", |call| call.usage.audio_input_tokens),
        count_or_null!("audio_output_tokens", "Part of the output that was audio", |call| call
            .usage
            .audio_output_tokens),
        count_or_null!("image_input_tokens", "Part of the input that was images", |call| call.usage.image_input_tokens),
        text!("usage_source", "Who counted: provider, partial, estimated, none", |_, call| call.usage_source.as_str()),
        column("cost_usd", schema::dollars(), true, "Cost of every attempt together; NULL if unknown", |rows| {
            dollars(rows.iter().map(|(_, call, _)| call.cost_usd))
        }),
        text!("cost_source", "Where the cost comes from: provider, catalog, none", |_, call| call.cost_source.as_str()),
        text_or_null!("price_id", "Row of the price catalogue that was applied", |call| call.price_id.as_deref()),
        count!("request_bytes", "Bytes of the request body as received", |_, call| call.request_bytes),
        count!("response_bytes", "Bytes of the response body as sent", |_, call| call.response_bytes),
        personal(column("tags", schema::tags(), false, "The caller's own labels", |rows| tags(rows))),
        outside(column(
            RECORD_COMMITMENT,
            DataType::Binary,
            false,
            "SHA-256 over the record's values; see docs/proof.md",
            to_be_filled_in,
        )),
        column(PERSONAL_COMMITMENT, DataType::Binary, true, "Salted SHA-256 over the personal fields", to_be_filled_in),
        column(PAYLOAD_COMMITMENT, DataType::Binary, true, "Salted SHA-256 over what was said", |rows| {
            Arc::new(BinaryArray::from_iter_values(rows.iter().map(|(_, _, seal)| seal.payload_commitment)))
        }),
        outside(column(PERSONAL_SALT, DataType::Binary, true, "Salt of personal_commitment", to_be_filled_in)),
        count_or_null!("image_output_tokens", "Part of the output that was images", |call| call
            .usage
            .image_output_tokens),
        count_or_null!("web_search_calls", "Searches of the web the provider made and bills by the call", |call| call
            .usage
            .web_search_calls),
        count_or_null!("other_tool_calls", "Calls of the provider's other tools that it bills by the call", |call| {
            call.usage.other_tool_calls
        }),
        text_or_null!("service_tier", "Tier of service that answered, in the provider's words", |call| call
            .service_tier
            .as_deref()),
        text_or_null!("upstream_dialect", "Wire format spoken with the provider", |call| call
            .upstream_dialect
            .map(crate::outcome::Dialect::as_str)),
        column("dropped", schema::list_of(DataType::Utf8), true, "What the provider's format cannot express", |rows| {
            let is_any = NullBuffer::from_iter(rows.iter().map(|(_, call, _)| !call.dropped.is_empty()));
            texts(rows, |call| &call.dropped, Some(is_any))
        }),
        column("provider_cost_usd", schema::dollars(), true, "What the provider says the call costs", |rows| {
            dollars(rows.iter().map(|(_, call, _)| call.provider_cost_usd))
        }),
    ]
}

pub(crate) fn payload_columns() -> Vec<Column<PayloadRow>> {
    fn text(rows: &[PayloadRow], of: fn(&PayloadRow) -> &str) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
    }
    // In a buffer of the right size: growing step by step copies bodies several times.
    fn bytes(rows: &[PayloadRow], of: fn(&PayloadRow) -> &Bytes) -> ArrayRef {
        let mut bodies = BinaryBuilder::with_capacity(rows.len(), rows.iter().map(|row| of(row).len()).sum());
        rows.iter().for_each(|row| bodies.append_value(of(row)));
        Arc::new(bodies.finish())
    }
    fn count(rows: &[PayloadRow], of: fn(&PayloadRow) -> u64) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| signed(of(row)))))
    }
    vec![
        column("interaction_id", DataType::Utf8, false, "The call, as in interactions", |rows: &[PayloadRow]| {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.interaction_id.to_string())))
        }),
        column("writer", DataType::Utf8, false, "Write-ahead log of the record", |rows| {
            text(rows, |row| row.event_id.writer.as_str())
        }),
        column("epoch", DataType::Int64, false, "Boot counter of that writer", |rows| {
            count(rows, |row| row.event_id.epoch)
        }),
        column("seq", DataType::Int64, false, "Position in that epoch", |rows| count(rows, |row| row.event_id.seq)),
        column("started_at", schema::timestamp(), false, "When the call started (UTC)", |rows: &[PayloadRow]| {
            timestamps(rows.iter().map(|row| row.started_at_us))
        }),
        column("tenant", DataType::Utf8, false, "Organisation of the key", |rows| text(rows, |row| &row.tenant)),
        column("team", DataType::Utf8, false, "Team of the key", |rows| text(rows, |row| &row.team)),
        column("model_requested", DataType::Utf8, false, "Model as the caller wrote it", |rows| {
            text(rows, |row| &row.model_requested)
        }),
        column("request_content_type", DataType::Utf8, false, "Media type of the request", |rows| {
            text(rows, |row| &row.request_content_type)
        }),
        column("request_body", DataType::Binary, false, "The request as received", |rows| {
            bytes(rows, |row| &row.request_body)
        }),
        column("response_content_type", DataType::Utf8, false, "Media type of the response", |rows| {
            text(rows, |row| &row.response_content_type)
        }),
        column("response_body", DataType::Binary, false, "The response as sent, streams raw", |rows| {
            bytes(rows, |row| &row.response_body)
        }),
        column(
            PAYLOAD_SALT,
            DataType::Binary,
            true,
            "Salt of the call's payload_commitment",
            |rows: &[PayloadRow]| Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| row.salt))),
        ),
        column(
            schema::DAY,
            DataType::Date32,
            false,
            "UTC day of started_at; the partition",
            |rows: &[PayloadRow]| {
                Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| day_of(row.started_at_us))))
            },
        ),
    ]
}

fn column<Row>(
    name: &'static str,
    data_type: DataType,
    nullable: bool,
    meaning: &'static str,
    build: fn(&[Row]) -> ArrayRef,
) -> Column<Row> {
    Column { name, data_type, nullable, meaning, part: Part::Record, build }
}

fn personal<Row>(column: Column<Row>) -> Column<Row> {
    Column { part: Part::Personal, ..column }
}

fn outside<Row>(column: Column<Row>) -> Column<Row> {
    Column { part: Part::Outside, ..column }
}

/// The columns that every event beside the calls begins with, then its own, then its commitment and day.
fn event_columns<Event: Timed>(own: Vec<Column<EventRow<Event>>>) -> Vec<Column<EventRow<Event>>> {
    let mut columns: Vec<Column<EventRow<Event>>> = vec![
        column("writer", DataType::Utf8, false, "Write-ahead log the event was appended to", |rows| {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(id, _): &EventRow<Event>| id.writer.as_str())))
        }),
        column("epoch", DataType::Int64, false, "Boot counter of that writer", |rows| {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _): &EventRow<Event>| signed(id.epoch))))
        }),
        column("seq", DataType::Int64, false, "Position of the event in that epoch", |rows| {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _): &EventRow<Event>| signed(id.seq))))
        }),
        column("schema_version", DataType::Int32, false, "Version of the event's columns", |rows| {
            Arc::new(Int32Array::from_value(schema::SCHEMA_VERSION.into(), rows.len()))
        }),
        column("at", schema::timestamp(), false, "When it happened (UTC)", |rows| {
            timestamps(rows.iter().map(|(_, event): &EventRow<Event>| event.at_us()))
        }),
    ];
    columns.extend(own);
    columns.push(outside(column(
        RECORD_COMMITMENT,
        DataType::Binary,
        false,
        "SHA-256 over the event's values",
        to_be_filled_in,
    )));
    columns.push(outside(column(schema::DAY, DataType::Date32, false, "UTC day of at; the partition", |rows| {
        Arc::new(Date32Array::from_iter_values(rows.iter().map(|(_, event): &EventRow<Event>| day_of(event.at_us()))))
    })));
    columns
}

/// When an event happened. Microseconds since 1970, UTC.
trait Timed {
    fn at_us(&self) -> i64;
}

impl Timed for ControlEvent {
    fn at_us(&self) -> i64 {
        self.at_us
    }
}

impl Timed for AccessEvent {
    fn at_us(&self) -> i64 {
        self.at_us
    }
}

impl Timed for GapEvent {
    fn at_us(&self) -> i64 {
        self.at_us
    }
}

impl Timed for PriceCorrection {
    fn at_us(&self) -> i64 {
        self.at_us
    }
}

impl Timed for Feedback {
    fn at_us(&self) -> i64 {
        self.at_us
    }
}

/// A column of text of an event.
macro_rules! event_text {
    ($name:literal, $meaning:literal, |$event:ident| $value:expr) => {
        column($name, DataType::Utf8, false, $meaning, |rows| {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, $event)| $value)))
        })
    };
}
/// A column of counts of an event that may be NULL.
macro_rules! event_count {
    ($name:literal, $meaning:literal, |$event:ident| $value:expr) => {
        column($name, DataType::Int64, true, $meaning, |rows| {
            Arc::new(rows.iter().map(|(_, $event)| $value.map(signed)).collect::<Int64Array>())
        })
    };
}

pub(crate) fn control_event_columns() -> Vec<Column<EventRow<ControlEvent>>> {
    event_columns(vec![
        event_text!("event_id", "Identifies the event for good", |event| &event.event_id),
        event_text!("tenant", "Organisation concerned; empty if all are", |event| &event.tenant),
        event_text!("actor", "Who", |event| &event.actor),
        event_text!("action", "What was done, such as key.created", |event| &event.action),
        event_text!("subject", "To what", |event| &event.subject),
        event_text!("detail", "More about it", |event| &event.detail),
    ])
}

pub(crate) fn access_event_columns() -> Vec<Column<EventRow<AccessEvent>>> {
    event_columns(vec![
        event_text!("event_id", "Identifies the event for good", |event| &event.event_id),
        event_text!("tenant", "Organisation whose content it is; empty if it may be any", |event| &event.tenant),
        event_text!("actor", "Who read", |event| &event.actor),
        event_text!("action", "How: view, search, sql, report", |event| &event.action),
        event_text!("subject", "What was asked for: a call's id, a query, a report", |event| &event.subject),
        event_text!("purpose", "Why, in the reader's words; empty if they gave none", |event| &event.purpose),
        event_count!("rows", "Rows with content that were shown, if known", |event| event.rows),
    ])
}

pub(crate) fn log_gap_columns() -> Vec<Column<EventRow<GapEvent>>> {
    event_columns(vec![
        event_text!("gap_writer", "The log that lost something", |event| event.writer.as_str()),
        event_count!("gap_epoch", "Its epoch", |event| Some(event.epoch)),
        event_count!("first_seq", "First number concerned", |event| Some(event.first_seq)),
        event_count!("last_seq", "Last number known to be concerned", |event| Some(event.last_seq)),
        column(
            "more_may_be_missing",
            DataType::Boolean,
            false,
            "Whether events after that may be missing too",
            |rows| {
                let flags = rows.iter().map(|(_, event): &EventRow<GapEvent>| Some(event.more_may_be_missing));
                Arc::new(flags.collect::<BooleanArray>())
            },
        ),
        event_text!("reason", "damaged, missing, unreadable, dropped", |event| &event.reason),
        event_count!("dropped_opened", "Calls whose beginning was dropped", |event| event.dropped_opened),
        event_count!("dropped_settled", "Calls whose end was dropped", |event| event.dropped_settled),
    ])
}

pub(crate) fn price_correction_columns() -> Vec<Column<EventRow<PriceCorrection>>> {
    type Row = EventRow<PriceCorrection>;
    event_columns(vec![
        event_text!("event_id", "Identifies the event for good", |event| &event.event_id),
        event_text!("tenant", "Organisation of the call", |event| &event.tenant),
        event_text!("actor", "Who had the cost corrected", |event| &event.actor),
        event_text!("reason", "Why, in their words", |event| &event.reason),
        column("interaction_id", DataType::Utf8, false, "The call whose cost is corrected", |rows: &[Row]| {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, event)| event.interaction_id.to_string())))
        }),
        column("call_started_at", schema::timestamp(), false, "When that call started (UTC)", |rows: &[Row]| {
            timestamps(rows.iter().map(|(_, event)| event.call_started_at_us))
        }),
        event_text!("team", "Team of that call", |event| &event.team),
        column(
            "old_cost_usd",
            schema::dollars(),
            true,
            "What counted before; NULL if it was not known",
            |rows: &[Row]| dollars(rows.iter().map(|(_, event)| event.old_cost_usd)),
        ),
        column("new_cost_usd", schema::dollars(), false, "What counts since", |rows: &[Row]| {
            dollars(rows.iter().map(|(_, event)| Some(event.new_cost_usd)))
        }),
        event_text!("price_id", "Row of the price catalogue that gives it", |event| &event.price_id),
        event_text!("catalog_id", "That catalogue, by the hash of its text", |event| &event.catalog_id),
    ])
}

pub(crate) fn feedback_columns() -> Vec<Column<EventRow<Feedback>>> {
    type Row = EventRow<Feedback>;
    event_columns(vec![
        event_text!("feedback_id", "Identifies the event for good", |event| &event.feedback_id),
        event_text!("tenant", "Organisation it was given in", |event| &event.tenant),
        column("interaction_id", DataType::Utf8, false, "The call it is about", |rows: &[Row]| {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, event)| event.interaction_id.to_string())))
        }),
        event_text!("name", "What was judged, such as helpful", |event| &event.name),
        column("score", schema::shares(), false, "The judgement, from -1 to 1", |rows: &[Row]| {
            millionths(rows.iter().map(|(_, event)| Some(event.score.get().into())))
        }),
        column("comment", DataType::Utf8, true, "Why, in their words", |rows: &[Row]| {
            Arc::new(rows.iter().map(|(_, event)| event.comment.as_deref()).collect::<StringArray>())
        }),
        event_text!("source", "Door it came in by: gateway, console", |event| &event.source),
        event_text!("given_by", "Who: a virtual key's id, or a role and a session's or token's id", |event| &event
            .given_by),
    ])
}

/// The lake has no unsigned integers (Delta has none); a count beyond 2⁶³ cannot occur.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn timestamps(times_us: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(times_us).with_timezone("UTC"))
}

fn dollars(amounts: impl Iterator<Item = Option<Usd>>) -> ArrayRef {
    let array = amounts.map(|amount| amount.map(Usd::get)).collect::<Decimal128Array>();
    Arc::new(array.with_data_type(schema::dollars()))
}

/// Of shares and scores.
fn millionths(numbers: impl Iterator<Item = Option<i128>>) -> ArrayRef {
    Arc::new(numbers.collect::<Decimal128Array>().with_data_type(schema::shares()))
}

fn element(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new(schema::LIST_ELEMENT, data_type, false))
}

/// A list column: the items of all rows go to `build` at once.
fn lists<Item>(
    rows: &[InteractionRow],
    items_of: fn(&crate::Interaction) -> &Vec<Item>,
    fields: Fields,
    build: fn(&[&Item]) -> Vec<ArrayRef>,
) -> ArrayRef {
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|(_, call, _)| items_of(call).len()));
    let items: Vec<&Item> = rows.iter().flat_map(|(_, call, _)| items_of(call)).collect();
    let structs = StructArray::new(fields.clone(), build(&items), None);
    Arc::new(ListArray::new(element(DataType::Struct(fields)), offsets, Arc::new(structs), None))
}

/// A column of lists of texts.
fn texts(
    rows: &[InteractionRow],
    texts_of: fn(&crate::Interaction) -> &Vec<String>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|(_, call, _)| texts_of(call).len()));
    // Arrow wants to know their number, which a flattened iterator does not.
    let all: Vec<&String> = rows.iter().flat_map(|(_, call, _)| texts_of(call)).collect();
    let texts = StringArray::from_iter_values(all);
    Arc::new(ListArray::new(element(DataType::Utf8), offsets, Arc::new(texts), nulls))
}

fn reasons(items: &[&Reason]) -> Vec<ArrayRef> {
    vec![
        Arc::new(StringArray::from_iter_values(items.iter().map(|reason| &reason.rule))),
        Arc::new(StringArray::from_iter_values(items.iter().map(|reason| &reason.effect))),
        Arc::new(StringArray::from_iter_values(items.iter().map(|reason| &reason.detail))),
    ]
}

fn candidates(items: &[&Candidate]) -> Vec<ArrayRef> {
    vec![
        Arc::new(StringArray::from_iter_values(items.iter().map(|candidate| &candidate.provider))),
        Arc::new(StringArray::from_iter_values(items.iter().map(|candidate| &candidate.model))),
        Arc::new(items.iter().map(|candidate| candidate.rejected_because.as_deref()).collect::<StringArray>()),
    ]
}

fn attempts(items: &[&Attempt]) -> Vec<ArrayRef> {
    vec![
        Arc::new(StringArray::from_iter_values(items.iter().map(|attempt| &attempt.provider))),
        Arc::new(StringArray::from_iter_values(items.iter().map(|attempt| &attempt.model))),
        Arc::new(items.iter().map(|attempt| attempt.http_status.map(i32::from)).collect::<Int32Array>()),
        Arc::new(items.iter().map(|attempt| attempt.error_class.as_deref()).collect::<StringArray>()),
        timestamps(items.iter().map(|attempt| attempt.started_at_us)),
        Arc::new(Int64Array::from_iter_values(items.iter().map(|attempt| signed(attempt.duration_us)))),
        Arc::new(items.iter().map(|attempt| attempt.input_tokens.map(signed)).collect::<Int64Array>()),
        Arc::new(items.iter().map(|attempt| attempt.output_tokens.map(signed)).collect::<Int64Array>()),
        dollars(items.iter().map(|attempt| attempt.cost_usd)),
    ]
}

fn tags(rows: &[InteractionRow]) -> ArrayRef {
    let DataType::Map(entry, sorted) = schema::tags() else { unreachable!("tags are declared as a map") };
    let DataType::Struct(fields) = entry.data_type() else { unreachable!("an entry of a map is a struct") };
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|(_, call, _)| call.tags.len()));
    let all: Vec<&(String, String)> = rows.iter().flat_map(|(_, call, _)| &call.tags).collect();
    let keys = StringArray::from_iter_values(all.iter().map(|(key, _)| key));
    let values = StringArray::from_iter_values(all.iter().map(|(_, value)| value));
    let structs = StructArray::new(fields.clone(), vec![Arc::new(keys), Arc::new(values)], None);
    Arc::new(MapArray::new(entry, offsets, structs, None, sorted))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Decimal128Type, Int64Type};

    use super::*;
    use crate::interaction::tests::sample;

    pub(super) fn row(seq: u64) -> InteractionRow {
        let seal = Seal { payload_commitment: [9; 32], personal_salt: [seq.to_le_bytes()[0]; SALT_BYTES] };
        (EventId { writer: "w-1".parse().unwrap(), epoch: 1, seq }, sample(seq), seal)
    }

    fn commitments(rows: &[InteractionRow], column: &str) -> BinaryArray {
        interactions(rows).unwrap().column_by_name(column).unwrap().as_binary::<i32>().clone()
    }

    #[test]
    fn a_batch_holds_every_row_under_every_column() {
        let batch = interactions(&[row(1), row(2)]).unwrap();
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(batch.schema(), schema::interactions());
        assert_eq!(batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().values(), &[1, 2]);
        let cost = batch.column_by_name("cost_usd").unwrap();
        assert_eq!(cost.as_primitive::<Decimal128Type>().value(0), 1_500_000_000);
        assert_eq!(batch.column_by_name("attempts").unwrap().as_list::<i32>().value(1).len(), 1);
    }

    #[test]
    fn what_was_dropped_is_a_list_or_null() {
        let mut translated = row(2);
        translated.1.dropped = vec!["seed".into(), "logit_bias".into()];
        let batch = interactions(&[row(1), translated]).unwrap();
        let dropped = batch.column_by_name("dropped").unwrap().as_list::<i32>().clone();
        assert!(dropped.is_null(0));
        assert_eq!(dropped.value(1).as_string::<i32>().value(1), "logit_bias");
    }

    #[test]
    fn an_unknown_cost_is_null_and_not_zero() {
        let mut unpriced = row(1);
        unpriced.1.cost_usd = None;
        let batch = interactions(&[unpriced]).unwrap();
        assert!(batch.column_by_name("cost_usd").unwrap().is_null(0));
    }

    #[test]
    fn no_rows_make_an_empty_batch() {
        assert_eq!(interactions(&[]).unwrap().num_rows(), 0);
        assert_eq!(payloads(&[]).unwrap().num_rows(), 0);
        assert_eq!(control_events(&[]).unwrap().num_rows(), 0);
        assert_eq!(access_events(&[]).unwrap().num_rows(), 0);
        assert_eq!(log_gaps(&[]).unwrap().num_rows(), 0);
        assert_eq!(price_corrections(&[]).unwrap().num_rows(), 0);
        assert_eq!(feedback(&[]).unwrap().num_rows(), 0);
    }

    /// A commitment of every version that was shipped: a change of this value is a change of what was promised.
    #[test]
    fn the_commitment_of_a_record_is_what_it_was() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut of_version_2 = row(1);
        (of_version_2.1.schema_version, of_version_2.1.upstream_dialect) = (2, None);
        let mut of_version_3 = row(1);
        of_version_3.1.schema_version = 3;
        for (row, expected) in [
            (of_version_2, "72e72fcee317e90f0a4593482c1154bddc06052b61d3b0e000418e94de6a0256"),
            (of_version_3, "2d9caa61e83f7aecd6e249e6a40154e5cc8c5773a2f12510042bda6d77e5487f"),
            (governed::tests::row(1), "242e0a6479ac03b6b016c06fe9a44fa5ecf1d4bd72eb83c97d07ce27b2e5c702"),
        ] {
            assert_eq!(hex(commitments(&[row], RECORD_COMMITMENT).value(0)), expected);
        }
    }

    #[test]
    fn every_value_of_a_record_is_in_its_commitment() {
        let before = commitments(&[row(1)], RECORD_COMMITMENT);
        let mut changed = row(1);
        changed.1.cost_usd = Some(Usd::new(1_500_000_001));
        assert_ne!(commitments(&[changed], RECORD_COMMITMENT), before);
        let mut retagged = row(1);
        retagged.1.tags.push(("zone".into(), "b".into()));
        assert_ne!(commitments(&[retagged], RECORD_COMMITMENT), before, "by way of its personal fields");
        let mut translated = row(1);
        translated.1.dropped.push("seed".into());
        assert_ne!(commitments(&[translated], RECORD_COMMITMENT), before);
        let mut moved = row(1);
        moved.0.seq = 2;
        assert_ne!(commitments(&[moved], RECORD_COMMITMENT), before);
    }

    #[test]
    fn personal_fields_are_salted_and_a_call_without_any_has_no_salt() {
        let salted = [row(1), row(2)];
        let commitments_of = commitments(&salted, PERSONAL_COMMITMENT);
        assert_ne!(commitments_of.value(0), commitments_of.value(1), "the same fields under other salts");
        let mut bare = row(1);
        bare.1.tags.clear();
        assert!(commitments(&[bare.clone()], PERSONAL_COMMITMENT).is_null(0));
        assert!(commitments(&[bare], PERSONAL_SALT).is_null(0));
    }
}

//! The tables of the lake, column by column: name, Arrow type, meaning, and how it is built from rows. One list gives
//! the schema, the batches ([`crate::batch`]) and the log dictionary of every evidence pack, so they cannot disagree.
//!
//! Names and meanings never change. A new column is appended with a new [`SCHEMA_VERSION`]; readers fill it with NULL
//! for older files. A column that is no longer written keeps its name ([`Table::retired`]) and, in a table of records, its id. The last column, [`DAY`], is the partition: it stands in the path, not in the Parquet file.

use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::batch::{self, PayloadRow, Seal};
use crate::governance::{AccessEvent, ControlEvent, Feedback, GapEvent, PriceCorrection};
use crate::id::EventId;
use crate::interaction::Interaction;
use crate::{money, share};

/// Version of the record's columns, written on every row. 1: as first shipped. 2: salted commitments, in batches under a
/// signed log; control, access and gap events. 3: images written and tools billed by the call among the usage; tier of
/// service, the provider's own cost, its wire format and what that could not express; corrections of prices. 4: experiments, guards, the
/// cache, shadows, and what a decision went by: data class, capabilities, budgets, limits and targets; feedback.
pub const SCHEMA_VERSION: u16 = 4;
/// The first version whose records are proven.
pub const FIRST_PROVEN_VERSION: u16 = 2;
/// Name of the partition column: the UTC day the call started.
pub const DAY: &str = "day";
/// Name of the column of `payloads` that no file is written with: the conversation, derived from both bodies when it is
/// read. What files of version 1 have under this name is not read.
pub const MESSAGES: &str = "messages";
/// Name that Delta gives to the element of a list.
pub const LIST_ELEMENT: &str = "element";

/// Tells the conversation, as (role, text), from the bodies of a request and of its response.
pub type Transcribe = fn(&[u8], &[u8]) -> Vec<(String, String)>;

/// One row of the `interactions` table.
pub type InteractionRow = (EventId, Interaction, Seal);
/// One row of a table of events beside the calls.
pub type EventRow<Event> = (EventId, Event);

/// A table of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Facts, one row per call, kept for years.
    Interactions,
    /// What was said, kept for weeks.
    Payloads,
    /// Who changed what.
    ControlEvents,
    /// Who read which content, and why.
    AccessEvents,
    /// What the log lost.
    LogGaps,
    /// What calls cost by a later price catalogue.
    PriceCorrections,
    /// What somebody thought of answers.
    Feedback,
}

/// How a column takes part in the commitments of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its value is in the record's commitment.
    Record,
    /// Its value is in the commitment of personal fields, which the record's contains.
    Personal,
    /// It can be told from the others, or is a commitment's own salt.
    Outside,
}

impl Table {
    /// Every table; the facts last, whose commit makes the others' rows count.
    pub const ALL: [Table; 7] = [
        Table::Payloads,
        Table::ControlEvents,
        Table::AccessEvents,
        Table::LogGaps,
        Table::PriceCorrections,
        Table::Feedback,
        Table::Interactions,
    ];
    /// The tables whose rows are records of their own, with a commitment and a place in a batch.
    pub const RECORDS: [Table; 6] = [
        Table::Interactions,
        Table::ControlEvents,
        Table::AccessEvents,
        Table::LogGaps,
        Table::PriceCorrections,
        Table::Feedback,
    ];

    /// Its name in SQL, and its folder under the root of the store.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Table::Interactions => "interactions",
            Table::Payloads => "payloads",
            Table::ControlEvents => "control_events",
            Table::AccessEvents => "access_events",
            Table::LogGaps => "log_gaps",
            Table::PriceCorrections => "price_corrections",
            Table::Feedback => "feedback",
        }
    }

    /// The table that a path relative to the root of the store belongs to.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Table> {
        let folder = path.split('/').next()?;
        Table::ALL.into_iter().find(|table| table.folder() == folder)
    }

    /// Its columns.
    #[must_use]
    pub fn schema(self) -> SchemaRef {
        Arc::clone(match self {
            Table::Interactions => &INTERACTIONS,
            Table::Payloads => &PAYLOADS,
            Table::ControlEvents => &CONTROL_EVENTS,
            Table::AccessEvents => &ACCESS_EVENTS,
            Table::LogGaps => &LOG_GAPS,
            Table::PriceCorrections => &PRICE_CORRECTIONS,
            Table::Feedback => &FEEDBACK,
        })
    }

    /// Columns that earlier versions wrote and that are neither written nor read any more. A table that has one keeps it.
    #[must_use]
    pub const fn retired(self) -> &'static [&'static str] {
        match self {
            Table::Payloads => &[MESSAGES],
            _ => &[],
        }
    }

    /// The column that says when a row's record began, by which rows are filed and sorted.
    #[must_use]
    pub const fn time_column(self) -> &'static str {
        match self {
            Table::Interactions | Table::Payloads => "started_at",
            Table::ControlEvents | Table::AccessEvents | Table::LogGaps | Table::PriceCorrections | Table::Feedback => {
                "at"
            }
        }
    }

    /// Id, name and part of every column. The id is the column's place, from 1. Those of records are part of what is proven:
    /// there, columns are only ever appended.
    pub fn fields(self) -> impl Iterator<Item = (u8, &'static str, Part)> {
        let fields: Vec<(&'static str, Part)> = match self {
            Table::Interactions => parts(&INTERACTION_COLUMNS),
            Table::Payloads => parts(&PAYLOAD_COLUMNS),
            Table::ControlEvents => parts(&CONTROL_EVENT_COLUMNS),
            Table::AccessEvents => parts(&ACCESS_EVENT_COLUMNS),
            Table::LogGaps => parts(&LOG_GAP_COLUMNS),
            Table::PriceCorrections => parts(&PRICE_CORRECTION_COLUMNS),
            Table::Feedback => parts(&FEEDBACK_COLUMNS),
        };
        (1..=u8::MAX).zip(fields).map(|(id, (name, part))| (id, name, part))
    }
}

fn parts<Row>(columns: &[Column<Row>]) -> Vec<(&'static str, Part)> {
    columns.iter().map(|column| (column.name, column.part)).collect()
}

/// One column of a table whose rows are `Row`.
pub struct Column<Row> {
    /// Stable name.
    pub name: &'static str,
    /// Arrow type; all of them have an exact counterpart in Delta and Parquet.
    pub data_type: DataType,
    /// Whether NULL is a possible value.
    pub nullable: bool,
    /// What it means, for the log dictionary.
    pub meaning: &'static str,
    /// How it takes part in the commitments.
    pub part: Part,
    /// Builds the column from rows.
    pub build: fn(&[Row]) -> ArrayRef,
}

/// Columns of the `interactions` table, [`DAY`] last.
pub static INTERACTION_COLUMNS: LazyLock<Vec<Column<InteractionRow>>> = LazyLock::new(batch::interaction_columns);
/// Columns of the `payloads` table, [`DAY`] last.
pub static PAYLOAD_COLUMNS: LazyLock<Vec<Column<PayloadRow>>> = LazyLock::new(batch::payload_columns);
/// Columns of the `control_events` table, [`DAY`] last.
pub static CONTROL_EVENT_COLUMNS: LazyLock<Vec<Column<EventRow<ControlEvent>>>> =
    LazyLock::new(batch::control_event_columns);
/// Columns of the `access_events` table, [`DAY`] last.
pub static ACCESS_EVENT_COLUMNS: LazyLock<Vec<Column<EventRow<AccessEvent>>>> =
    LazyLock::new(batch::access_event_columns);
/// Columns of the `log_gaps` table, [`DAY`] last.
pub static LOG_GAP_COLUMNS: LazyLock<Vec<Column<EventRow<GapEvent>>>> = LazyLock::new(batch::log_gap_columns);
/// Columns of the `price_corrections` table, [`DAY`] last.
pub static PRICE_CORRECTION_COLUMNS: LazyLock<Vec<Column<EventRow<PriceCorrection>>>> =
    LazyLock::new(batch::price_correction_columns);
/// Columns of the `feedback` table, [`DAY`] last.
pub static FEEDBACK_COLUMNS: LazyLock<Vec<Column<EventRow<Feedback>>>> = LazyLock::new(batch::feedback_columns);

static INTERACTIONS: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(&INTERACTION_COLUMNS));
static PAYLOADS: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(&PAYLOAD_COLUMNS));
static CONTROL_EVENTS: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(&CONTROL_EVENT_COLUMNS));
static ACCESS_EVENTS: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(&ACCESS_EVENT_COLUMNS));
static LOG_GAPS: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(&LOG_GAP_COLUMNS));
static PRICE_CORRECTIONS: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(&PRICE_CORRECTION_COLUMNS));
static FEEDBACK: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(&FEEDBACK_COLUMNS));

/// Schema of the `interactions` table: one row per call, kept for years.
#[must_use]
pub fn interactions() -> SchemaRef {
    Arc::clone(&INTERACTIONS)
}

/// Schema of the `payloads` table: what was said, kept for weeks.
#[must_use]
pub fn payloads() -> SchemaRef {
    Arc::clone(&PAYLOADS)
}

fn schema_of<Row>(columns: &[Column<Row>]) -> SchemaRef {
    let field = |column: &Column<Row>| Field::new(column.name, column.data_type.clone(), column.nullable);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Fields>()))
}

/// Microseconds since 1970, UTC.
#[must_use]
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Exact dollars.
#[must_use]
pub fn dollars() -> DataType {
    DataType::Decimal128(money::PRECISION, money::SCALE)
}

/// Exact parts of a whole, and scores.
#[must_use]
pub fn shares() -> DataType {
    DataType::Decimal128(share::PRECISION, share::SCALE)
}

pub(crate) fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new(LIST_ELEMENT, element, false)))
}

pub(crate) fn reason_fields() -> Fields {
    Fields::from(vec![
        Field::new("rule", DataType::Utf8, false),
        Field::new("effect", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
    ])
}

pub(crate) fn candidate_fields() -> Fields {
    Fields::from(vec![
        Field::new("provider", DataType::Utf8, false),
        Field::new("model", DataType::Utf8, false),
        Field::new("rejected_because", DataType::Utf8, true),
    ])
}

pub(crate) fn attempt_fields() -> Fields {
    Fields::from(vec![
        Field::new("provider", DataType::Utf8, false),
        Field::new("model", DataType::Utf8, false),
        Field::new("http_status", DataType::Int32, true),
        Field::new("error_class", DataType::Utf8, true),
        Field::new("started_at", timestamp(), false),
        Field::new("duration_us", DataType::Int64, false),
        Field::new("input_tokens", DataType::Int64, true),
        Field::new("output_tokens", DataType::Int64, true),
        Field::new("cost_usd", dollars(), true),
    ])
}

pub(crate) fn guard_fields() -> Fields {
    Fields::from(vec![
        Field::new("guard", DataType::Utf8, false),
        Field::new("rule", DataType::Utf8, false),
        Field::new("phase", DataType::Utf8, false),
        Field::new("verdict", DataType::Utf8, false),
        Field::new("action", DataType::Utf8, false),
        Field::new("matches", DataType::Int64, false),
        Field::new("duration_us", DataType::Int64, false),
        Field::new("detail", DataType::Utf8, true),
    ])
}

pub(crate) fn pii_count_fields() -> Fields {
    Fields::from(vec![Field::new("entity", DataType::Utf8, false), Field::new("count", DataType::Int64, false)])
}

pub(crate) fn budget_reading_fields() -> Fields {
    Fields::from(vec![
        Field::new("budget", DataType::Utf8, false),
        Field::new("scope", DataType::Utf8, false),
        Field::new("spent_usd", dollars(), false),
        Field::new("reserved_usd", dollars(), false),
        Field::new("age_s", DataType::Int64, true),
    ])
}

pub(crate) fn limit_reading_fields() -> Fields {
    Fields::from(vec![
        Field::new("limit", DataType::Utf8, false),
        Field::new("scope", DataType::Utf8, false),
        Field::new("unit", DataType::Utf8, false),
        Field::new("used", DataType::Int64, false),
        Field::new("age_s", DataType::Int64, true),
    ])
}

pub(crate) fn target_reading_fields() -> Fields {
    Fields::from(vec![
        Field::new("provider", DataType::Utf8, false),
        Field::new("model", DataType::Utf8, false),
        Field::new("health", DataType::Utf8, false),
        Field::new("weight", DataType::Int64, false),
        Field::new("stands_by", DataType::Boolean, false),
        Field::new("load_us", DataType::Int64, true),
        Field::new("p50_ms", DataType::Int64, true),
        Field::new("estimate_usd", dollars(), true),
        Field::new("quality_lower", shares(), true),
    ])
}

/// Fields of one message: who, and what.
#[must_use]
pub fn message_fields() -> Fields {
    Fields::from(vec![Field::new("role", DataType::Utf8, false), Field::new("content", DataType::Utf8, false)])
}

/// Type of [`MESSAGES`]: a list of messages.
#[must_use]
pub fn messages() -> DataType {
    list_of(DataType::Struct(message_fields()))
}

/// The `tags` column: an Arrow map as Delta writes it.
pub(crate) fn tags() -> DataType {
    let entry = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_column_is_named_twice_and_the_partition_comes_last() {
        for table in Table::ALL {
            let schema = table.schema();
            let names: std::collections::BTreeSet<_> = schema.fields().iter().map(|field| field.name()).collect();
            assert_eq!(names.len(), schema.fields().len());
            assert_eq!(schema.fields().last().unwrap().name(), DAY);
        }
    }

    /// Whoever checks a lake without this code has only the specification.
    #[test]
    fn the_specification_of_the_proof_lists_every_field() {
        let specification = include_str!("../../../docs/proof.md");
        for table in Table::RECORDS {
            for (id, name, part) in table.fields() {
                let field = table.schema().field_with_name(name).unwrap().data_type().clone();
                let kind = match field {
                    DataType::Utf8 => "text".to_owned(),
                    DataType::Int32 | DataType::Int64 => "integer".to_owned(),
                    DataType::Timestamp(..) => "timestamp".to_owned(),
                    DataType::Decimal128(_, share::SCALE) => "millionths".to_owned(),
                    DataType::Decimal128(..) => "decimal".to_owned(),
                    DataType::Boolean => "boolean".to_owned(),
                    DataType::Binary => "binary".to_owned(),
                    DataType::Date32 => "date".to_owned(),
                    DataType::Map(..) => "map of texts".to_owned(),
                    DataType::List(item) => match item.data_type() {
                        DataType::Struct(fields) => {
                            let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
                            format!("list of struct: {}", names.join(", "))
                        }
                        _ => "list of text".to_owned(),
                    },
                    other => other.to_string(),
                };
                let line = match part {
                    Part::Record => format!("| {id} | | {name} | {kind} |"),
                    Part::Personal => format!("| | {id} | {name} | {kind} |"),
                    Part::Outside => format!("| | | {name} | {kind} |"),
                };
                assert!(specification.contains(&line), "{}: {line}", table.folder());
            }
        }
    }
}

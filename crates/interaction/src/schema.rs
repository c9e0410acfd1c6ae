//! The tables of the lake, column by column: name, Arrow type, meaning, and how it is built from rows. One list gives
//! the schema, the batches ([`crate::batch`]) and the log dictionary of every evidence pack, so they cannot disagree.
//!
//! Names and meanings never change. A new column is appended with a new [`SCHEMA_VERSION`]; readers fill it with NULL
//! for older files. The last column, [`DAY`], is the partition: it stands in the path, not in the Parquet file.

use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::batch::{self, PayloadRow};
use crate::id::EventId;
use crate::interaction::Interaction;
use crate::money;

/// Version of the record's columns, written on every row.
pub const SCHEMA_VERSION: u16 = 1;
/// Name of the partition column: the UTC day the call started.
pub const DAY: &str = "day";
/// Name that Delta gives to the element of a list.
pub const LIST_ELEMENT: &str = "element";

/// One row of the `interactions` table.
pub type InteractionRow = (EventId, Interaction);

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
    /// Builds the column from rows.
    pub build: fn(&[Row]) -> ArrayRef,
}

/// Columns of the `interactions` table, [`DAY`] last.
pub static INTERACTION_COLUMNS: LazyLock<Vec<Column<InteractionRow>>> = LazyLock::new(batch::interaction_columns);
/// Columns of the `payloads` table, [`DAY`] last.
pub static PAYLOAD_COLUMNS: LazyLock<Vec<Column<PayloadRow>>> = LazyLock::new(batch::payload_columns);

static INTERACTIONS: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(&INTERACTION_COLUMNS));
static PAYLOADS: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(&PAYLOAD_COLUMNS));

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
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Exact dollars.
pub(crate) fn dollars() -> DataType {
    DataType::Decimal128(money::PRECISION, money::SCALE)
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

pub(crate) fn message_fields() -> Fields {
    Fields::from(vec![Field::new("role", DataType::Utf8, false), Field::new("content", DataType::Utf8, false)])
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
        for schema in [interactions(), payloads()] {
            let names: std::collections::BTreeSet<_> = schema.fields().iter().map(|field| field.name()).collect();
            assert_eq!(names.len(), schema.fields().len());
            assert_eq!(schema.fields().last().unwrap().name(), DAY);
        }
    }
}

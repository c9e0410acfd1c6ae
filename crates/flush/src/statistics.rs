//! Minimum, maximum and null count per file, as Delta stores them. Only numbers and times get any: what stands in the
//! Delta log cannot be erased with a row, so no text and nothing personal may leak into it. Decimals get none either,
//! because Delta writes them as JSON numbers and a rounded maximum would hide rows from a query.

use arrow::array::{Array, AsArray};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use chrono::DateTime;
use serde_json::{Map, Value, json};

/// Names of the columns of a table that get statistics, in the order of the schema.
#[must_use]
pub fn columns(schema: &Schema) -> Vec<&str> {
    let covered = |data_type: &DataType| {
        matches!(data_type, DataType::Int32 | DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _))
    };
    schema.fields().iter().filter(|field| covered(field.data_type())).map(|field| field.name().as_str()).collect()
}

/// The `stats` of a file that holds these batches.
#[must_use]
pub fn of_batches(batches: &[RecordBatch]) -> Value {
    let Some(first) = batches.first() else { return Statistics::default().finish() };
    let mut statistics = Statistics::new(first.schema_ref());
    batches.iter().for_each(|batch| statistics.add(batch));
    statistics.finish()
}

/// The `stats` of a file, while its batches are being written.
#[derive(Debug, Default)]
pub struct Statistics {
    rows: usize,
    columns: Vec<ColumnStatistics>,
}

#[derive(Debug)]
struct ColumnStatistics {
    name: String,
    is_time: bool,
    nulls: usize,
    range: Option<(i64, i64)>,
}

impl Statistics {
    /// Of a file with these columns and no rows yet.
    #[must_use]
    pub fn new(schema: &Schema) -> Statistics {
        let of_column = |name: &str| ColumnStatistics {
            name: name.to_owned(),
            is_time: schema
                .field_with_name(name)
                .is_ok_and(|field| matches!(field.data_type(), DataType::Timestamp(..))),
            nulls: 0,
            range: None,
        };
        Statistics { rows: 0, columns: columns(schema).into_iter().map(of_column).collect() }
    }

    /// Takes rows.
    pub fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        for of_column in &mut self.columns {
            let Some(column) = batch.column_by_name(&of_column.name) else { continue };
            of_column.nulls += column.null_count();
            if let Some((low, high)) = range_of(column.as_ref()) {
                let widened = |(lowest, highest): (i64, i64)| (lowest.min(low), highest.max(high));
                of_column.range = Some(of_column.range.map_or((low, high), widened));
            }
        }
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// As Delta wants them.
    #[must_use]
    pub fn finish(self) -> Value {
        let (mut smallest, mut largest, mut nulls) = (Map::new(), Map::new(), Map::new());
        for ColumnStatistics { name, is_time, nulls: count, range } in self.columns {
            if let Some((low, high)) = range {
                smallest.insert(name.clone(), value(low, is_time));
                largest.insert(name.clone(), value(high, is_time));
            }
            nulls.insert(name, json!(count));
        }
        json!({ "numRecords": self.rows, "minValues": smallest, "maxValues": largest, "nullCount": nulls })
    }
}

fn range_of(column: &dyn Array) -> Option<(i64, i64)> {
    match column.data_type() {
        DataType::Int32 => {
            let column = column.as_primitive::<Int32Type>();
            Some((min(column)?.into(), max(column)?.into()))
        }
        DataType::Int64 => {
            let column = column.as_primitive::<Int64Type>();
            Some((min(column)?, max(column)?))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let column = column.as_primitive::<TimestampMicrosecondType>();
            Some((min(column)?, max(column)?))
        }
        _ => None,
    }
}

fn value(number: i64, is_time: bool) -> Value {
    let time = is_time.then(|| DateTime::from_timestamp_micros(number)).flatten();
    time.map_or_else(|| json!(number), |time| json!(time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()))
}

/// The earliest and latest time of a row (`started_at` of calls, `at` of events) that a file's statistics state, in
/// microseconds since 1970.
#[must_use]
pub fn time_range(stats: &Value) -> Option<(i64, i64)> {
    let time = |bound: &str| {
        let of_file = stats.get(bound)?;
        let text = of_file.get("started_at").or_else(|| of_file.get("at"))?.as_str()?;
        DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros())
    };
    Some((time("minValues")?, time("maxValues")?))
}

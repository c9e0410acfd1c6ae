//! Answers as bytes: JSON, CSV, Arrow IPC, Parquet.
//!
//! No value loses precision on the way: decimals are strings in JSON, times are ISO 8601 in UTC with six decimal places,
//! bytes are hexadecimal. In CSV a nested value is its JSON text, and NULL is an empty field (an empty text is `""`).

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef,
    TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, SecondsFormat};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use serde_json::{Map, Number, Value};

/// Why an answer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A column has a type that the format does not know.
    #[error("the answer cannot be written as Arrow")]
    Arrow(#[from] ArrowError),
    /// A column has a type that the format does not know.
    #[error("the answer cannot be written as Parquet")]
    Parquet(#[from] ParquetError),
    /// The bytes could not be written out.
    #[error("the answer cannot be written out")]
    Io(#[from] std::io::Error),
}

/// Rows as JSON objects, columns in the order of the schema.
#[must_use]
pub fn to_json(batches: &[RecordBatch]) -> Vec<Map<String, Value>> {
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| json_row(batch, row))).collect()
}

/// One row as a JSON object.
#[must_use]
pub fn json_row(batch: &RecordBatch, row: usize) -> Map<String, Value> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    columns.map(|(field, column)| (field.name().clone(), json_value(column.as_ref(), row))).collect()
}

/// One value as JSON.
#[must_use]
pub fn json_value(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float16 => float(f64::from(array.as_primitive::<Float16Type>().value(row))),
        DataType::Float32 => float(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Binary => hexadecimal(array.as_binary::<i32>().value(row)).into(),
        DataType::LargeBinary => hexadecimal(array.as_binary::<i64>().value(row)).into(),
        DataType::BinaryView => hexadecimal(array.as_binary_view().value(row)).into(),
        DataType::FixedSizeBinary(_) => hexadecimal(array.as_fixed_size_binary().value(row)).into(),
        DataType::List(_) => json_list(array.as_list::<i32>().value(row).as_ref()),
        DataType::LargeList(_) => json_list(array.as_list::<i64>().value(row).as_ref()),
        DataType::FixedSizeList(..) => json_list(array.as_fixed_size_list().value(row).as_ref()),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter();
            let pairs = fields.iter().zip(columns);
            Value::Object(
                pairs.map(|(field, column)| (field.name().clone(), json_value(column.as_ref(), row))).collect(),
            )
        }
        DataType::Map(..) => json_map(array, row),
        DataType::Dictionary(_, values) => match cast(&array.slice(row, 1), values) {
            Ok(plain) => json_value(plain.as_ref(), 0),
            Err(_) => Value::String(text_of(array, row)),
        },
        _ => Value::String(text_of(array, row)),
    }
}

fn float(value: f64) -> Value {
    // JSON has no infinities: what it cannot hold is written as text rather than as null, which would mean unknown.
    Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}

fn json_list(items: &dyn Array) -> Value {
    (0..items.len()).map(|row| json_value(items, row)).collect()
}

fn json_map(array: &dyn Array, row: usize) -> Value {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    let pair = |entry| (text_of(keys.as_ref(), entry), json_value(values.as_ref(), entry));
    Value::Object((0..entries.len()).map(pair).collect())
}

/// A value as text: times in ISO 8601, decimals with all their places, everything else as Arrow displays it.
fn text_of(array: &dyn Array, row: usize) -> String {
    match array.data_type() {
        DataType::Timestamp(unit, zone) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
            let fits = *unit != TimeUnit::Nanosecond;
            let time = cast(&array.slice(row, 1), &micros).ok().filter(|_| fits);
            let time = time.map(|time| time.as_primitive::<TimestampMicrosecondType>().value(0));
            match time.and_then(DateTime::from_timestamp_micros) {
                // A time without a zone is not known to be UTC: no `Z`.
                Some(time) if zone.is_none() => time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
                Some(time) => time.to_rfc3339_opts(SecondsFormat::Micros, true),
                None => shown(array, row),
            }
        }
        DataType::Date32 => array
            .as_primitive::<Date32Type>()
            .value_as_date(row)
            .map_or_else(|| shown(array, row), |day| day.format("%Y-%m-%d").to_string()),
        _ => shown(array, row),
    }
}

fn shown(array: &dyn Array, row: usize) -> String {
    array_value_to_string(array, row).unwrap_or_default()
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A header and the rows as CSV (RFC 4180, but lines end as on Unix, with LF).
#[must_use]
pub fn to_csv(schema: &SchemaRef, batches: &[RecordBatch]) -> Vec<u8> {
    let mut text = csv_header(schema);
    for batch in batches {
        csv_rows(batch, &mut text);
    }
    text.into_bytes()
}

/// The header line of [`to_csv`].
#[must_use]
pub fn csv_header(schema: &SchemaRef) -> String {
    let names: Vec<String> = schema.fields().iter().map(|field| csv_field(field.name())).collect();
    format!("{}\n", names.join(","))
}

/// Appends the rows of a batch as [`to_csv`] writes them.
pub fn csv_rows(batch: &RecordBatch, text: &mut String) {
    for row in 0..batch.num_rows() {
        for (position, column) in batch.columns().iter().enumerate() {
            if position > 0 {
                text.push(',');
            }
            match json_value(column.as_ref(), row) {
                Value::Null => {}
                Value::String(value) if value.is_empty() => text.push_str("\"\""),
                Value::String(value) => text.push_str(&csv_field(&value)),
                other => text.push_str(&csv_field(&other.to_string())),
            }
        }
        text.push('\n');
    }
}

fn csv_field(value: &str) -> String {
    if value.contains(['"', ',', '\r', '\n']) || value.starts_with(' ') || value.ends_with(' ') {
        return format!("\"{}\"", value.replace('"', "\"\""));
    }
    value.to_owned()
}

/// The rows as an Arrow IPC stream.
///
/// # Errors
/// [`OutputError`] if a column has a type that Arrow IPC does not know.
pub fn to_arrow_ipc(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, OutputError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(writer.into_inner()?)
}

/// The rows as one Parquet file, zstd-compressed.
///
/// # Errors
/// [`OutputError`] if a column has a type that Parquet does not know.
pub fn to_parquet(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, OutputError> {
    let mut writer = ParquetRows::new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()
}

/// A Parquet file that is written batch by batch.
pub struct ParquetRows<W: Write + Send> {
    writer: ArrowWriter<W>,
}

impl<W: Write + Send> ParquetRows<W> {
    /// Begins a file with these columns.
    ///
    /// # Errors
    /// [`OutputError`] if a column has a type that Parquet does not know.
    pub fn new(target: W, schema: &SchemaRef) -> Result<Self, OutputError> {
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(zstd).build();
        Ok(ParquetRows { writer: ArrowWriter::try_new(target, Arc::clone(schema), Some(properties))? })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// [`OutputError`] if they have other columns or cannot be written out.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), OutputError> {
        Ok(self.writer.write(batch)?)
    }

    /// Ends the file and gives its target back.
    ///
    /// # Errors
    /// [`OutputError`] if the end cannot be written out.
    pub fn finish(self) -> Result<W, OutputError> {
        Ok(self.writer.into_inner()?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, BinaryArray, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray};
    use arrow::array::{Date32Array, TimestampMicrosecondArray};
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn sample() -> RecordBatch {
        let cost = Decimal128Array::from(vec![Some(37_500), None]).with_precision_and_scale(20, 12).unwrap();
        let at = TimestampMicrosecondArray::from(vec![1_795_000_000_123_456, 0]).with_timezone("UTC");
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), Some(2)]), Some(vec![])]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("cost_usd", Arc::new(cost)),
            ("at", Arc::new(at)),
            ("day", Arc::new(Date32Array::from(vec![20_775, 0]))),
            ("text", Arc::new(StringArray::from(vec![Some("a \"b\", c\nd"), Some("")]))),
            ("hash", Arc::new(BinaryArray::from(vec![&[0xDE_u8, 0x0A][..], &[]]))),
            ("items", Arc::new(list)),
            ("seq", Arc::new(Int64Array::from(vec![i64::MAX, 1]))),
            ("share", Arc::new(Float64Array::from(vec![0.5, f64::NAN]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn json_keeps_every_digit() {
        let rows = to_json(&[sample()]);
        let expected = serde_json::json!({
            "cost_usd": "0.000000037500", "at": "2026-11-18T11:06:40.123456Z", "day": "2026-11-18",
            "text": "a \"b\", c\nd", "hash": "de0a", "items": [1, 2], "seq": i64::MAX, "share": 0.5,
        });
        assert_eq!(Value::Object(rows[0].clone()), expected);
        assert_eq!(rows[1]["cost_usd"], Value::Null);
        assert_eq!(rows[1]["share"], "NaN");
    }

    #[test]
    fn csv_tells_null_from_empty_and_quotes_what_it_must() {
        let batch = sample();
        let text = String::from_utf8(to_csv(&batch.schema(), &[batch])).unwrap();
        assert_eq!(
            text,
            "cost_usd,at,day,text,hash,items,seq,share\n\
             0.000000037500,2026-11-18T11:06:40.123456Z,2026-11-18,\"a \"\"b\"\", c\nd\",de0a,\"[1,2]\",9223372036854775807,0.5\n\
             ,1970-01-01T00:00:00.000000Z,1970-01-01,\"\",\"\",[],1,NaN\n"
        );
    }

    #[test]
    fn arrow_and_parquet_read_back_equal() {
        let batch = sample();
        let stream = to_arrow_ipc(&batch.schema(), std::slice::from_ref(&batch)).unwrap();
        let mut reader = arrow::ipc::reader::StreamReader::try_new(stream.as_slice(), None).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().column(0), batch.column(0));
        let file = to_parquet(&batch.schema(), std::slice::from_ref(&batch)).unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap().build().unwrap();
        let read = reader.next().unwrap().unwrap();
        assert_eq!(read.column(0), batch.column(0));
        assert_eq!(read.num_rows(), 2);
    }
}

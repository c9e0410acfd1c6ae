//! Batches to Parquet files, one per table and day. Facts are narrow and read by column: row groups of 131 072 rows, a bloom
//! filter on the id. Payloads are wide and read by row: row groups bounded in bytes (they are counted in rows by default, and
//! a group of 131 072 prompts does not fit in memory), no dictionary. Neither has statistics on text, which would copy
//! the beginnings of prompts and the names of people into footers.

use std::collections::BTreeSet;

use arrow::array::{AsArray, BooleanArray, Date32Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Date32Type, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use chrono::{Days, NaiveDate};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};
use tollgate_interaction::schema::DAY;
pub use tollgate_interaction::schema::Table;

use crate::inbox::{self, ManifestFile};
use crate::statistics;

/// Rows of a row group of facts: what OpenObserve, Quickwit and GreptimeDB have converged on.
const FACTS_ROW_GROUP_ROWS: usize = 131_072;
/// Bytes of a row group of payloads, uncompressed.
const PAYLOADS_ROW_GROUP_BYTES: usize = 64 * 1024 * 1024;
/// Rows of a row group of payloads, at most.
const PAYLOADS_ROW_GROUP_ROWS: usize = 16_384;
/// Bytes of a page.
const PAGE_BYTES: usize = 1024 * 1024;
/// Of facts.
const FACTS_ZSTD_LEVEL: i32 = 3;
/// Of payloads, which are most of the bytes and are compressed again by compaction: half the time of level 3.
const PAYLOADS_ZSTD_LEVEL: i32 = 1;
/// Of what is written for good. Payloads are ordered by conversation: the window of 4 MiB reaches back to the turn before,
/// whose history this one repeats, and to instructions and passages that other calls have too.
/// Level 6 looks for matches in half a megabyte and leaves 4 % more bytes of ordinary calls (`benches`, suite `files`,
/// 2026-11-26).
const COMPACTED_ZSTD_LEVEL: i32 = 9;
/// A page is compressed by itself, so that it has to hold many turns of a conversation.
const COMPACTED_PAYLOADS_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// A file that is not in the bucket yet.
#[derive(Clone, Debug)]
pub struct BuiltFile {
    /// As the manifest will list it.
    pub listed: ManifestFile,
    /// The Parquet file.
    pub content: Bytes,
}

/// Why a file could not be built; only a defect or a lack of memory leads here.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Arrow refused.
    #[error("rows of the hot tail could not be split by day")]
    Arrow(#[from] ArrowError),
    /// Parquet refused.
    #[error("rows of the hot tail could not be written as Parquet")]
    Parquet(#[from] ParquetError),
}

/// Builds the files of one table for these batches; `stem` is how their names begin.
///
/// # Errors
/// [`BuildError`].
pub fn build(table: Table, batches: &[RecordBatch], stem: &str) -> Result<Vec<BuiltFile>, BuildError> {
    let mut days = BTreeSet::new();
    for batch in batches {
        days.extend(day_column(batch)?.values().iter().copied());
    }
    let mut files = Vec::with_capacity(days.len());
    for day in days {
        let mut rows_of_day = Vec::with_capacity(batches.len());
        for batch in batches {
            let rows = on_day(batch, day)?;
            if rows.num_rows() > 0 {
                rows_of_day.push(rows);
            }
        }
        files.push(build_day(table, &rows_of_day, day, stem)?);
    }
    Ok(files)
}

fn build_day(table: Table, batches: &[RecordBatch], day: i32, stem: &str) -> Result<BuiltFile, BuildError> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let Some(first) = batches.first() else {
        return Err(ArrowError::InvalidArgumentError("a file without rows".to_owned()).into());
    };
    let properties = properties(table, first.schema_ref(), rows, Written::ByFlush)?;
    // Compressed it is smaller: growing step by step would copy it to twice its size.
    let mut content = Vec::with_capacity(batches.iter().map(RecordBatch::get_array_memory_size).sum());
    let mut writer = ArrowWriter::try_new(&mut content, first.schema(), Some(properties))?;
    if table == Table::Payloads {
        write_side_by_side(writer, batches)?;
    } else {
        for batch in batches {
            writer.write(batch)?;
        }
        writer.close()?;
    }
    let day = day_text(day);
    let sha256 = sha256(&content);
    let listed = ManifestFile {
        path: format!("{DAY}={day}/{}", inbox::file_name(stem, &sha256)),
        day,
        size_bytes: content.len() as u64,
        rows: rows as u64,
        sha256,
        stats: statistics::of_batches(batches),
    };
    Ok(BuiltFile { listed, content: content.into() })
}

/// Writes payloads with two threads. Nearly all their bytes are in two columns, what was asked and what was answered, and
/// compressing those is most of the work of a flush.
fn write_side_by_side(writer: ArrowWriter<&mut Vec<u8>>, batches: &[RecordBatch]) -> Result<(), ParquetError> {
    let (mut file, columns_of) = writer.into_serialized_writer()?;
    for (number, batches) in row_groups(batches).into_iter().enumerate() {
        let writers = columns_of.create_column_writers(number)?;
        if writers.len() != batches[0].num_columns() {
            return Err(ParquetError::General("a column of `payloads` is not one leaf".to_owned()));
        }
        let (answers, others): (Vec<_>, Vec<_>) = writers
            .into_iter()
            .enumerate()
            .partition(|(column, _)| batches[0].schema_ref().field(*column).name() == "response_body");
        let (answers, others) = std::thread::scope(|scope| {
            let answers = scope.spawn(|| write_columns(answers, batches));
            let others = write_columns(others, batches);
            (answers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), others)
        });
        let mut chunks = answers?;
        chunks.extend(others?);
        chunks.sort_by_key(|(column, _)| *column);
        let mut group = file.next_row_group()?;
        for (_, chunk) in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
    }
    file.close()?;
    Ok(())
}

/// Columns by their place in the schema, which is flat, so that each is one leaf.
fn write_columns(
    columns: Vec<(usize, ArrowColumnWriter)>,
    batches: &[RecordBatch],
) -> Result<Vec<(usize, ArrowColumnChunk)>, ParquetError> {
    let written = columns.into_iter().map(|(column, mut writer)| {
        for batch in batches {
            for leaf in compute_leaves(batch.schema_ref().field(column), batch.column(column))? {
                writer.write(&leaf)?;
            }
        }
        Ok((column, writer.close()?))
    });
    written.collect()
}

/// Consecutive batches that make a row group each. A batch is a chunk of the hot tail, far smaller than a group may be.
fn row_groups(batches: &[RecordBatch]) -> Vec<&[RecordBatch]> {
    let mut groups = Vec::new();
    let (mut from, mut rows, mut bytes) = (0, 0, 0);
    for (at, batch) in batches.iter().enumerate() {
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        if at > from && (rows > PAYLOADS_ROW_GROUP_ROWS || bytes > PAYLOADS_ROW_GROUP_BYTES) {
            groups.push(&batches[from..at]);
            (from, rows, bytes) = (at, batch.num_rows(), batch.get_array_memory_size());
        }
    }
    groups.push(&batches[from..]);
    groups
}

/// Days since 1970 as `YYYY-MM-DD`.
#[must_use]
pub fn day_text(day: i32) -> String {
    let epoch = NaiveDate::default();
    let distance = Days::new(u64::from(day.unsigned_abs()));
    let date = if day < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) };
    date.unwrap_or(epoch).format("%Y-%m-%d").to_string()
}

/// The inverse of [`day_text`].
#[must_use]
pub fn day_from_text(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from((date - NaiveDate::default()).num_days()).ok()
}

fn day_column(batch: &RecordBatch) -> Result<&Date32Array, ArrowError> {
    let column = batch.column_by_name(DAY).and_then(|column| column.as_primitive_opt::<Date32Type>());
    column.ok_or_else(|| ArrowError::SchemaError(format!("no column `{DAY}` of dates")))
}

/// The rows of one day, without the column `day`, which stands in the path.
fn on_day(batch: &RecordBatch, day: i32) -> Result<RecordBatch, ArrowError> {
    let days = day_column(batch)?;
    let rows = if days.values().iter().all(|value| *value == day) {
        batch.clone()
    } else {
        let mask: BooleanArray = days.values().iter().map(|value| Some(*value == day)).collect();
        filter_record_batch(batch, &mask)?
    };
    let kept: Vec<usize> = (0..rows.num_columns()).filter(|at| rows.schema_ref().field(*at).name() != DAY).collect();
    rows.project(&kept)
}

/// When a file is written decides how much time its compression is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// While calls wait for the processor.
    ByFlush,
    /// Once for good.
    ByCompaction,
}

/// How the files of a table with these columns (without `day`) are written. `rows`: rows of the file, at most.
///
/// # Errors
/// Never, unless the compression levels of this module are none.
pub fn properties(
    table: Table,
    schema: &Schema,
    rows: usize,
    written: Written,
) -> Result<WriterProperties, ParquetError> {
    let properties = match table {
        Table::Payloads => payload_properties(schema, written)?,
        _ => facts_properties(schema, rows, written)?,
    };
    Ok(properties.build())
}

fn shared_properties(schema: &Schema, zstd_level: i32) -> Result<WriterPropertiesBuilder, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("tollgate ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(zstd_level)?))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_statistics_enabled(EnabledStatistics::None);
    for name in statistics::columns(schema) {
        let column = ColumnPath::from(name);
        properties = properties.set_column_statistics_enabled(column, EnabledStatistics::Page);
    }
    Ok(properties)
}

fn facts_properties(schema: &Schema, rows: usize, written: Written) -> Result<WriterPropertiesBuilder, ParquetError> {
    let zstd_level = match written {
        Written::ByFlush => FACTS_ZSTD_LEVEL,
        Written::ByCompaction => COMPACTED_ZSTD_LEVEL,
    };
    let mut properties = shared_properties(schema, zstd_level)?.set_max_row_group_row_count(Some(FACTS_ROW_GROUP_ROWS));
    // Not on the ids of conversations and users: a filter answers whether somebody is in the file, after an erasure too.
    for name in ["interaction_id", "trace_id"] {
        let id = ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(id.clone(), false)
            .set_column_bloom_filter_enabled(id.clone(), true)
            .set_column_bloom_filter_fpp(id.clone(), 0.01)
            .set_column_bloom_filter_max_ndv(id, rows.clamp(1, FACTS_ROW_GROUP_ROWS) as u64);
    }
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        let counts_up = matches!(field.name().as_str(), "seq" | "started_at" | "ended_at" | "at");
        if counts_up || *field.data_type() == DataType::Binary {
            properties = properties.set_column_dictionary_enabled(column.clone(), false);
        }
        if counts_up {
            properties = properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(properties)
}

fn payload_properties(schema: &Schema, written: Written) -> Result<WriterPropertiesBuilder, ParquetError> {
    let (zstd_level, page_bytes) = match written {
        Written::ByFlush => (PAYLOADS_ZSTD_LEVEL, PAGE_BYTES),
        Written::ByCompaction => (COMPACTED_ZSTD_LEVEL, COMPACTED_PAYLOADS_PAGE_BYTES),
    };
    let mut properties = shared_properties(schema, zstd_level)?
        .set_max_row_group_row_count(Some(PAYLOADS_ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(PAYLOADS_ROW_GROUP_BYTES))
        .set_data_page_size_limit(page_bytes)
        .set_dictionary_enabled(false);
    // The few words that repeat on every row.
    for field in schema.fields().iter().filter(|field| *field.data_type() == DataType::Utf8) {
        if field.name() != "interaction_id" {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), true);
        }
    }
    Ok(properties)
}

/// SHA-256 of a file, hexadecimal.
#[must_use]
pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use tollgate_interaction::batch;

    use super::*;
    use crate::testing;

    const US_PER_DAY: i64 = 86_400_000_000;

    #[test]
    fn rows_of_two_days_become_two_files() {
        let mut rows = testing::facts(1..=4);
        rows[3].1.started_at_us += US_PER_DAY;
        let files = build(Table::Interactions, &[batch::interactions(&rows).unwrap()], "x").unwrap();
        let listed: Vec<_> = files.iter().map(|file| (file.listed.rows, &file.listed.path[..16])).collect();
        assert_eq!(listed, [(3, "day=2026-11-23/x"), (1, "day=2026-11-24/x")]);
        let stats = &files[1].listed.stats;
        assert_eq!(stats["numRecords"], 1);
        assert_eq!(stats["minValues"]["seq"], 4);
        assert_eq!(statistics::time_range(stats).unwrap().0, rows[3].1.started_at_us);
    }

    #[test]
    fn no_statistics_reveal_text_and_the_day_is_only_in_the_path() {
        let rows = testing::facts(1..=4);
        let files = build(Table::Interactions, &[batch::interactions(&rows).unwrap()], "x").unwrap();
        assert!(files[0].listed.stats["minValues"].get("team").is_none());
        let reader = SerializedFileReader::new(files[0].content.clone()).unwrap();
        for column in reader.metadata().row_group(0).columns() {
            let name = column.column_path().string();
            assert_ne!(name, DAY);
            let revealed = column.statistics().is_some_and(|statistics| statistics.min_bytes_opt().is_some());
            assert!(
                !revealed || ["Int32", "Int64", "Timestamp"].iter().any(|kind| testing::is_kind(&name, kind)),
                "{name}"
            );
        }
        assert!(reader.metadata().row_group(0).column(0).bloom_filter_offset().is_some());
    }

    #[test]
    fn a_day_reads_back() {
        for day in [-1, 0, 20_780] {
            assert_eq!(day_from_text(&day_text(day)), Some(day));
        }
    }
}

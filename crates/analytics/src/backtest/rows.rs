//! The columns of a back-test's batch.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, GenericListArray, Int64Array, MapArray, RecordBatch,
    StringArray, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use tollgate_interaction::{Share, Usd};

use super::REPORT;
use super::row::Row;
use crate::error::ReportError;

/// A column of text.
pub(super) fn texts(batch: &RecordBatch, name: &str) -> Result<Vec<Option<String>>, ReportError> {
    let column = text(batch, name)?;
    Ok(column.iter().map(|text| text.map(str::to_owned)).collect())
}

/// The columns of a batch.
pub(super) struct Rows {
    pub(super) count: usize,
    pub(super) ids: StringArray,
    pub(super) started: Int64Array,
    pub(super) decided: Int64Array,
    pub(super) tenants: StringArray,
    pub(super) projects: StringArray,
    pub(super) teams: StringArray,
    pub(super) users: StringArray,
    pub(super) keys: StringArray,
    pub(super) operations: StringArray,
    pub(super) dialects: StringArray,
    pub(super) streams: BooleanArray,
    pub(super) models: StringArray,
    pub(super) bundles: StringArray,
    pub(super) signals: StringArray,
    pub(super) reasons: Structs,
    pub(super) candidates: Structs,
    pub(super) providers: StringArray,
    pub(super) outcomes: StringArray,
    pub(super) errors: StringArray,
    pub(super) latencies: Int64Array,
    pub(super) costs: Decimal128Array,
    pub(super) tokens: [Int64Array; 5],
    pub(super) tags: MapArray,
    pub(super) pii: Structs,
    pub(super) capabilities: GenericListArray<i32>,
    pub(super) estimated_input: Int64Array,
    pub(super) estimated_output: Int64Array,
    pub(super) estimated_cost: Decimal128Array,
    pub(super) targets: Structs,
    pub(super) experiments: StringArray,
    pub(super) arms: StringArray,
    pub(super) draws: Decimal128Array,
    pub(super) budgets: Option<Structs>,
    pub(super) limits: Option<Structs>,
    pub(super) conversations: Option<StringArray>,
    pub(super) guards: Option<Structs>,
}

/// A list of structs, and which fields of it are read.
pub(super) struct Structs {
    list: GenericListArray<i32>,
    items: StructArray,
}

impl Structs {
    pub(super) fn of(column: &ArrayRef) -> Option<Structs> {
        let list = column.as_list_opt::<i32>()?.clone();
        let items = list.values().as_struct_opt()?.clone();
        Some(Structs { list, items })
    }

    pub(super) fn places(&self, row: usize) -> std::ops::Range<usize> {
        if self.list.is_null(row) {
            return 0..0;
        }
        let at = |row: usize| usize::try_from(self.list.value_offsets()[row]).unwrap_or(0);
        at(row)..at(row + 1)
    }

    pub(super) fn text(&self, field: usize, at: usize) -> &str {
        let column = self.items.column(field).as_string_opt::<i32>();
        column.filter(|column| column.is_valid(at)).map_or("", |column| column.value(at))
    }

    pub(super) fn is_null(&self, field: usize, at: usize) -> bool {
        self.items.column(field).is_null(at)
    }

    pub(super) fn count(&self, field: usize, at: usize) -> Option<u64> {
        let column = self.items.column(field).as_primitive_opt::<Int64Type>()?;
        column.is_valid(at).then(|| u64::try_from(column.value(at)).unwrap_or(0))
    }

    pub(super) fn decimal(&self, field: usize, at: usize) -> Option<i128> {
        let column = self.items.column(field).as_primitive_opt::<Decimal128Type>()?;
        column.is_valid(at).then(|| column.value(at))
    }

    pub(super) fn usd(&self, field: usize, at: usize) -> Option<Usd> {
        self.decimal(field, at).map(Usd::new)
    }

    pub(super) fn share(&self, field: usize, at: usize) -> Option<Share> {
        self.decimal(field, at).map(millionths)
    }

    pub(super) fn is_true(&self, field: usize, at: usize) -> bool {
        let column = self.items.column(field).as_boolean_opt();
        column.is_some_and(|column| column.is_valid(at) && column.value(at))
    }
}

pub(super) fn millionths(share: i128) -> Share {
    Share::new(u32::try_from(share).unwrap_or(0))
}

fn unusable(name: &str) -> ReportError {
    ReportError::Column { report: REPORT, column: name.to_owned() }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ReportError> {
    batch.column_by_name(name).ok_or_else(|| unusable(name))
}

fn text(batch: &RecordBatch, name: &str) -> Result<StringArray, ReportError> {
    let texts = cast(column(batch, name)?, &DataType::Utf8).map_err(|_| unusable(name))?;
    Ok(texts.as_string_opt::<i32>().ok_or_else(|| unusable(name))?.clone())
}

fn count(batch: &RecordBatch, name: &str) -> Result<Int64Array, ReportError> {
    Ok(column(batch, name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| unusable(name))?.clone())
}

fn dollars(batch: &RecordBatch, name: &str) -> Result<Decimal128Array, ReportError> {
    Ok(column(batch, name)?.as_primitive_opt::<Decimal128Type>().ok_or_else(|| unusable(name))?.clone())
}

fn structs(batch: &RecordBatch, name: &str) -> Result<Structs, ReportError> {
    Structs::of(column(batch, name)?).ok_or_else(|| unusable(name))
}

impl Rows {
    /// # Errors
    /// [`ReportError::Column`] if a column is not there or not of its type.
    pub(super) fn of(batch: &RecordBatch) -> Result<Rows, ReportError> {
        let optional = |name: &str| batch.column_by_name(name).map(|_| structs(batch, name)).transpose();
        let list = |name: &str| column(batch, name)?.as_list_opt::<i32>().cloned().ok_or_else(|| unusable(name));
        Ok(Rows {
            count: batch.num_rows(),
            ids: text(batch, "interaction_id")?,
            started: count(batch, "started_at")?,
            decided: count(batch, "decided_at")?,
            tenants: text(batch, "tenant")?,
            projects: text(batch, "project")?,
            teams: text(batch, "team")?,
            users: text(batch, "user_ref")?,
            keys: text(batch, "api_key_id")?,
            operations: text(batch, "operation")?,
            dialects: text(batch, "dialect")?,
            streams: column(batch, "stream")?.as_boolean_opt().ok_or_else(|| unusable("stream"))?.clone(),
            models: text(batch, "model_requested")?,
            bundles: text(batch, "policy_bundle_hash")?,
            signals: text(batch, "signals_id")?,
            reasons: structs(batch, "decision_reasons")?,
            candidates: structs(batch, "candidates")?,
            providers: text(batch, "provider")?,
            outcomes: text(batch, "outcome")?,
            errors: text(batch, "error_type")?,
            latencies: count(batch, "latency_us")?,
            costs: dollars(batch, "cost_usd")?,
            tokens: [
                count(batch, "input_tokens")?,
                count(batch, "output_tokens")?,
                count(batch, "cache_read_input_tokens")?,
                count(batch, "cache_write_5m_input_tokens")?,
                count(batch, "cache_write_1h_input_tokens")?,
            ],
            tags: column(batch, "tags")?.as_map_opt().ok_or_else(|| unusable("tags"))?.clone(),
            pii: structs(batch, "pii_counts")?,
            capabilities: list("capabilities")?,
            estimated_input: count(batch, "estimated_input_tokens")?,
            estimated_output: count(batch, "estimated_output_tokens")?,
            estimated_cost: dollars(batch, "estimated_cost_usd")?,
            targets: structs(batch, "target_readings")?,
            experiments: text(batch, "experiment")?,
            arms: text(batch, "arm")?,
            draws: dollars(batch, "route_draw")?,
            budgets: optional("budget_readings")?,
            limits: optional("limit_readings")?,
            conversations: batch
                .column_by_name("conversation_id")
                .map(|_| text(batch, "conversation_id"))
                .transpose()?,
            guards: optional("guards")?,
        })
    }

    /// One of them.
    pub(super) fn row(&self, at: usize) -> Row<'_> {
        Row::new(self, at)
    }
}

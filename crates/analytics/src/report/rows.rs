//! Typed columns out of the engine's answers, and the aggregates that several reports share.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use tollgate_interaction::{Usd, money};

use super::shape::{TimeRange, Totals};
use crate::error::ReportError;

/// Rows of a range: the condition of every report, with the parameters of [`range_parameters`].
pub(super) const IN_RANGE: &str = "started_at >= $from AND started_at < $to";

/// Of the view `costs`: a call that may have cost something and whose cost is unknown. A call that failed without a usage
/// report cost nothing that anybody stated, and neither did one of an operation for which providers ask nothing by itself;
/// to list them as unpriced would bury the ones that a missing price hides.
pub(super) const UNPRICED: &str = "(cost_usd IS NULL AND provider IS NOT NULL AND NOT (usage_source = 'none' AND \
    (outcome = 'failed' OR operation IN ('moderations', 'count_tokens', 'files', 'batches'))))";

/// The model a call is counted under: the one that answered, or the one asked for, without its provider's name, so that
/// the calls that failed are counted with those that succeeded.
pub(super) const MODEL: &str = "coalesce(model_served, substr(model_requested, strpos(model_requested, '/') + 1))";

/// The model that the provider was asked for last, or the caller's word for it if none was called.
pub(super) const MODEL_ASKED: &str = "coalesce(get_field(array_element(attempts, -1), 'model'), \
    substr(model_requested, strpos(model_requested, '/') + 1))";

/// Calls of `$model`: counted under it ([`MODEL`]), or asked for by this very name.
pub(super) const OF_MODEL: &str = "(model_requested = $model OR \
    coalesce(model_served, substr(model_requested, strpos(model_requested, '/') + 1)) = $model)";

/// The same, and those that only the gateway named so: an alias led there, and the provider did not say what answered.
pub(super) const OF_MODEL_OR_ASKED: &str = "(model_requested = $model OR \
    coalesce(model_served, get_field(array_element(attempts, -1), 'model'), \
    substr(model_requested, strpos(model_requested, '/') + 1)) = $model)";

/// The columns of [`Totals`].
pub(super) fn totals_columns() -> String {
    let quantile = |column: &str, name: &str| {
        [("0.5", "p50"), ("0.95", "p95")]
            .map(|(share, suffix)| {
                format!(
                    "approx_percentile_cont({share}) WITHIN GROUP (ORDER BY {column}) \
                     FILTER (WHERE provider IS NOT NULL AND outcome <> 'interrupted') AS {name}_{suffix}"
                )
            })
            .join(", ")
    };
    let outcomes = ["success", "denied", "failed", "cancelled", "interrupted", "cached"]
        .map(|outcome| format!("count(*) FILTER (WHERE outcome = '{outcome}') AS {outcome}"))
        .join(", ");
    format!(
        "count(*) AS calls, {outcomes}, sum(cost_usd) AS cost_usd, count(*) FILTER (WHERE {UNPRICED}) AS unpriced, \
         sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, \
         sum(cache_read_input_tokens) AS cache_read_input_tokens, {}, {}, {}",
        quantile("latency_us", "latency"),
        quantile("ttft_us", "ttft"),
        quantile("gateway_overhead_us", "overhead"),
    )
}

/// A moment as a parameter.
pub(super) fn moment(time_us: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(time_us), Some("UTC".into()))
}

/// Parameters of [`IN_RANGE`].
pub(super) fn range_parameters(range: TimeRange) -> Vec<(&'static str, ScalarValue)> {
    vec![("from", moment(range.from_us)), ("to", moment(range.to_us))]
}

/// Where a figure goes.
type FieldOf<T> = fn(&mut Totals) -> &mut T;

/// The answer to one of our queries.
pub(super) struct Answer {
    report: &'static str,
    batches: Vec<RecordBatch>,
}

impl Answer {
    pub(super) fn new(report: &'static str, batches: Vec<RecordBatch>) -> Self {
        Answer { report, batches }
    }

    /// A column of text.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<Option<String>>, ReportError> {
        self.values(name, &DataType::Utf8, |array, row| {
            array.as_string_opt::<i32>().map(|texts| texts.value(row).to_owned())
        })
    }

    /// A column of text in which an unknown value is the empty text.
    pub(super) fn texts_or_empty(&self, name: &str) -> Result<Vec<String>, ReportError> {
        Ok(self.texts(name)?.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// A column of counts. The lake has no negative ones.
    pub(super) fn counts(&self, name: &str) -> Result<Vec<Option<u64>>, ReportError> {
        self.values(name, &DataType::Int64, |array, row| {
            array.as_primitive_opt::<Int64Type>().map(|counts| u64::try_from(counts.value(row)).unwrap_or(0))
        })
    }

    /// A column of counts in which an unknown value is zero: sums over no rows.
    pub(super) fn sums(&self, name: &str) -> Result<Vec<u64>, ReportError> {
        Ok(self.counts(name)?.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// A column of times.
    pub(super) fn times_us(&self, name: &str) -> Result<Vec<i64>, ReportError> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let times = self.values(name, &time, |array, row| {
            array.as_primitive_opt::<TimestampMicrosecondType>().map(|times| times.value(row))
        })?;
        Ok(times.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// A column of dollars.
    pub(super) fn dollars(&self, name: &str) -> Result<Vec<Option<Usd>>, ReportError> {
        let exact = DataType::Decimal128(arrow::datatypes::DECIMAL128_MAX_PRECISION, money::SCALE);
        self.values(name, &exact, |array, row| {
            array.as_primitive_opt::<Decimal128Type>().map(|units| Usd::new(units.value(row)))
        })
    }

    /// A column of approximate numbers.
    pub(super) fn floats(&self, name: &str) -> Result<Vec<Option<f64>>, ReportError> {
        self.values(name, &DataType::Float64, |array, row| {
            array.as_primitive_opt::<Float64Type>().map(|numbers| numbers.value(row))
        })
    }

    /// A column of yes and no.
    pub(super) fn flags(&self, name: &str) -> Result<Vec<bool>, ReportError> {
        let flags =
            self.values(name, &DataType::Boolean, |array, row| array.as_boolean_opt().map(|flags| flags.value(row)))?;
        Ok(flags.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// The columns of [`totals_columns`], one entry per row.
    pub(super) fn totals(&self) -> Result<Vec<Totals>, ReportError> {
        let mut totals: Vec<Totals> =
            self.sums("calls")?.into_iter().map(|calls| Totals { calls, ..Totals::default() }).collect();
        let sums: [(&str, FieldOf<u64>); 10] = [
            ("success", |totals| &mut totals.success),
            ("denied", |totals| &mut totals.denied),
            ("failed", |totals| &mut totals.failed),
            ("cancelled", |totals| &mut totals.cancelled),
            ("interrupted", |totals| &mut totals.interrupted),
            ("cached", |totals| &mut totals.cached),
            ("unpriced", |totals| &mut totals.unpriced),
            ("input_tokens", |totals| &mut totals.input_tokens),
            ("output_tokens", |totals| &mut totals.output_tokens),
            ("cache_read_input_tokens", |totals| &mut totals.cache_read_input_tokens),
        ];
        for (name, field) in sums {
            for (totals, sum) in totals.iter_mut().zip(self.sums(name)?) {
                *field(totals) = sum;
            }
        }
        let quantiles: [(&str, FieldOf<Option<u64>>); 6] = [
            ("latency_p50", |totals| &mut totals.latency_p50_us),
            ("latency_p95", |totals| &mut totals.latency_p95_us),
            ("ttft_p50", |totals| &mut totals.ttft_p50_us),
            ("ttft_p95", |totals| &mut totals.ttft_p95_us),
            ("overhead_p50", |totals| &mut totals.overhead_p50_us),
            ("overhead_p95", |totals| &mut totals.overhead_p95_us),
        ];
        for (name, field) in quantiles {
            for (totals, quantile) in totals.iter_mut().zip(self.counts(name)?) {
                *field(totals) = quantile;
            }
        }
        for (totals, cost) in totals.iter_mut().zip(self.dollars("cost_usd")?) {
            totals.cost_usd = cost.unwrap_or_default();
        }
        Ok(totals)
    }

    fn values<T>(
        &self,
        name: &str,
        data_type: &DataType,
        value: fn(&ArrayRef, usize) -> Option<T>,
    ) -> Result<Vec<Option<T>>, ReportError> {
        let missing = || ReportError::Column { report: self.report, column: name.to_owned() };
        let mut values = Vec::new();
        for batch in &self.batches {
            let column = batch.column_by_name(name).ok_or_else(missing)?;
            let column = cast(column, data_type).map_err(|_| missing())?;
            for row in 0..column.len() {
                let known = if column.is_null(row) { None } else { Some(value(&column, row).ok_or_else(missing)?) };
                values.push(known);
            }
        }
        Ok(values)
    }
}

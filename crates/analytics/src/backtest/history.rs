//! How targets did in the period of a back-test: what an estimate of latency and of unknown output goes by.

use std::collections::HashMap;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use futures::StreamExt as _;

use super::{REPORT, rows};
use crate::error::ReportError;
use crate::report::TimeRange;
use crate::view::Reading;

/// One target's calls that succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Median of their latency.
    pub(super) latency_us: u64,
    /// Mean of their output, rounded.
    pub(super) output_tokens: u64,
}

/// Every target of the period.
#[derive(Debug, Default)]
pub(super) struct History {
    targets: HashMap<String, Seen>,
}

impl History {
    pub(super) async fn of(reading: &Reading, range: TimeRange) -> Result<History, ReportError> {
        let moment = |time_us: i64| format!("arrow_cast({time_us}, 'Timestamp(Microsecond, Some(\"UTC\"))')");
        let sql = format!(
            "SELECT provider || '/' || get_field(array_element(attempts, -1), 'model') AS target, \
             arrow_cast(approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_us), 'Int64') AS latency_us, \
             arrow_cast(coalesce(round(avg(output_tokens)), 0), 'Int64') AS output_tokens FROM interactions \
             WHERE started_at >= {} AND started_at < {} AND outcome = 'success' AND provider IS NOT NULL GROUP BY 1",
            moment(range.from_us),
            moment(range.to_us)
        );
        let mut targets = HashMap::new();
        let mut batches = reading.stream(REPORT, &sql);
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let names = rows::texts(&batch, "target")?;
            let numbers = |name: &str| {
                let unusable = || ReportError::Column { report: REPORT, column: name.to_owned() };
                let column = batch.column_by_name(name).ok_or_else(unusable)?;
                let column = cast(column, &DataType::Int64).map_err(|_| unusable())?;
                let numbers = column.as_primitive_opt::<Int64Type>().ok_or_else(unusable)?;
                let known = |at: usize| if numbers.is_valid(at) { numbers.value(at) } else { 0 };
                Ok::<Vec<u64>, ReportError>(
                    (0..numbers.len()).map(|at| u64::try_from(known(at)).unwrap_or(0)).collect(),
                )
            };
            let (latencies, outputs) = (numbers("latency_us")?, numbers("output_tokens")?);
            for (at, name) in names.into_iter().enumerate() {
                if let Some(name) = name {
                    targets.insert(name, Seen { latency_us: latencies[at], output_tokens: outputs[at] });
                }
            }
        }
        Ok(History { targets })
    }

    /// How `provider/model` did; `None` if it answered no call.
    pub(super) fn of_target(&self, target: &str) -> Option<Seen> {
        self.targets.get(target).copied()
    }
}

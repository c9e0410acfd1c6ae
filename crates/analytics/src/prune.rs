//! Which files a condition can concern, told from the day and the times that the catalogue knows of each file. A file
//! that is left out here is never opened.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::PhysicalExpr;
use tollgate_interaction::schema;
use tollgate_lake::DataFile;

/// Column that files have bounds for.
pub(crate) const STARTED_AT: &str = "started_at";

/// Delta's statistics keep milliseconds: a bound may be up to this much too low.
const STATISTICS_STEP_US: i64 = 999;

/// Lowest and highest start in a file, widened to what its statistics may have lost; `None` if it has none.
pub(crate) fn bounds_us(file: &DataFile) -> Option<(i64, i64)> {
    let (lowest, highest) = (file.min_started_at_us?, file.max_started_at_us?);
    Some((lowest, highest.saturating_add(STATISTICS_STEP_US)))
}

/// The files that may hold a row for which `predicate` is true.
pub(crate) fn concerned(
    files: &[Arc<DataFile>],
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    schema: &SchemaRef,
) -> Vec<Arc<DataFile>> {
    let all = || files.to_vec();
    let Some(predicate) = predicate else { return all() };
    // A condition that cannot be turned into one on bounds concerns every file.
    let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema));
    let Some(pruning) = builder.build(Arc::clone(predicate)) else { return all() };
    let Ok(keep) = pruning.prune(&FileBounds { files }) else { return all() };
    files.iter().zip(keep).filter(|(_, keep)| *keep).map(|(file, _)| Arc::clone(file)).collect()
}

/// What the catalogue knows of each file, one entry per file.
struct FileBounds<'a> {
    files: &'a [Arc<DataFile>],
}

impl FileBounds<'_> {
    fn column(&self, column: &Column, bound: fn((i64, i64)) -> i64) -> Option<ArrayRef> {
        match column.name() {
            schema::DAY => Some(Arc::new(self.files.iter().map(|file| Some(file.day)).collect::<Date32Array>())),
            STARTED_AT => {
                let times = self.files.iter().map(|file| bounds_us(file).map(bound));
                Some(Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC")))
            }
            _ => None,
        }
    }
}

impl PruningStatistics for FileBounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column, |(lowest, _)| lowest)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column, |(_, highest)| highest)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let never_null = matches!(column.name(), schema::DAY | STARTED_AT);
        never_null.then(|| Arc::new(UInt64Array::from(vec![0; self.files.len()])) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

//! A table of which only some rows exist, for somebody who writes their own queries.
//!
//! A view with a condition is not enough: the engine may evaluate what a query asks before the view's condition, and an
//! expression that fails quotes the value it failed on. So nothing of a query goes below the condition but comparisons of a
//! column with a constant, which cannot fail, and nothing is told of the rows it leaves out, not even their number.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_err};
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, Operator, TableProviderFilterPushDown, ident};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};

/// The rows of a table for which a condition holds.
#[derive(Debug)]
pub(crate) struct Barrier {
    table: Arc<dyn TableProvider>,
    condition: Expr,
}

impl Barrier {
    /// Of `table` those rows for which `condition` holds.
    pub(crate) fn new(table: Arc<dyn TableProvider>, condition: Expr) -> Self {
        Barrier { table, condition }
    }
}

/// Whether an expression is true or false of every row, whatever it holds: a column against constants.
fn cannot_fail(filter: &Expr) -> bool {
    let is_column = |part: &Expr| matches!(part, Expr::Column(_));
    let is_constant = |part: &Expr| matches!(part, Expr::Literal(..));
    match filter {
        Expr::BinaryExpr(both) => match both.op {
            Operator::And | Operator::Or => cannot_fail(&both.left) && cannot_fail(&both.right),
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                (is_column(&both.left) && is_constant(&both.right))
                    || (is_constant(&both.left) && is_column(&both.right))
            }
            _ => false,
        },
        Expr::Between(range) => is_column(&range.expr) && is_constant(&range.low) && is_constant(&range.high),
        Expr::InList(list) => is_column(&list.expr) && list.list.iter().all(is_constant),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => is_column(inner),
        _ => false,
    }
}

#[async_trait]
impl TableProvider for Barrier {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let of = |filter: &&Expr| match cannot_fail(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(of).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut rows = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::clone(&self.table)), None)?
            .filter(self.condition.clone())?;
        if let Some(filter) = conjunction(filters.to_vec()) {
            rows = rows.filter(filter)?;
        }
        if let Some(limit) = limit {
            rows = rows.limit(0, Some(limit))?;
        }
        if let Some(places) = projection {
            let schema = self.schema();
            rows = rows.project(places.iter().map(|place| ident(schema.field(*place).name())))?;
        }
        let plan = state.create_physical_plan(&rows.build()?).await?;
        Ok(Arc::new(BarrierExec { input: plan }))
    }
}

/// Hands rows on, and no condition, projection or statistics in the other direction: the defaults of the trait.
#[derive(Debug)]
struct BarrierExec {
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for BarrierExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BarrierExec")
    }
}

impl ExecutionPlan for BarrierExec {
    fn name(&self) -> &'static str {
        "BarrierExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(BarrierExec { input })),
            _ => exec_err!("a barrier stands before one plan"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::cannot_fail;

    #[test]
    fn what_may_fail_on_a_value_stays_above_the_barrier() {
        let harmless = [
            col("seq").gt(lit(5)),
            lit("a").eq(col("team")),
            col("seq").between(lit(1), lit(2)),
            col("team").in_list(vec![lit("a"), lit("b")], true),
            col("team").is_null().or(col("seq").lt(lit(3))),
        ];
        assert!(harmless.iter().all(cannot_fail));
        let tells = [
            (lit(1) / col("seq")).gt(lit(0)),
            datafusion::logical_expr::cast(col("team"), arrow::datatypes::DataType::Int64).gt(lit(0)),
            col("team").like(lit("a%")),
            col("team").eq(col("model")),
            col("seq").gt(lit(1)).or((lit(1) / col("seq")).gt(lit(0))),
        ];
        assert!(!tells.iter().any(cannot_fail));
    }
}

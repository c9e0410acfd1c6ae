//! `costs`: the calls at what they cost by the last word on it. The columns are those of `interactions`, with the cost,
//! its source and its price of the newest correction where there is one, then what was recorded and when it was corrected.
//! `interactions` itself never changes.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, JoinType, Result, ScalarValue};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::{last_value, max};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, ident, lit, when};
use tollgate_interaction::CostSource;
use tollgate_interaction::schema::Table;

use crate::table::LogTable;

/// Name of the view in SQL.
pub(crate) const COSTS: &str = "costs";
const RECORDED: &str = "recorded_cost_usd";
const CORRECTED_AT: &str = "corrected_at";

// Columns of the newest corrections, under names that no table has.
const CORRECTED_CALL: &str = "corrected_interaction_id";
const CORRECTED_COST: &str = "corrected_cost_usd";
const CORRECTED_PRICE: &str = "corrected_price_id";

/// The view. Without corrections it costs no more than the table.
pub(crate) fn costs(interactions: Arc<dyn TableProvider>, corrections: &Arc<LogTable>) -> Result<ViewTable> {
    let calls = LogicalPlanBuilder::scan(Table::Interactions.folder(), provider_as_source(interactions), None)?;
    let is_corrected = !corrections.is_empty();
    let calls = if is_corrected {
        // The corrections stand on the left, which the engine holds in memory while the calls pass by.
        let on = (vec![Column::from_name(CORRECTED_CALL)], vec![Column::from_name("interaction_id")]);
        newest(corrections)?.join(calls.build()?, JoinType::Right, on, None)?
    } else {
        calls
    };
    let mut columns: Vec<Expr> = Vec::new();
    for field in Table::Interactions.schema().fields() {
        let recorded = ident(field.name());
        columns.push(match field.name().as_str() {
            _ if !is_corrected => recorded,
            "cost_usd" => coalesce(vec![ident(CORRECTED_COST), recorded]).alias("cost_usd"),
            "price_id" => coalesce(vec![ident(CORRECTED_PRICE), recorded]).alias("price_id"),
            "cost_source" => when(ident(CORRECTED_AT).is_not_null(), lit(CostSource::Catalog.as_str()))
                .otherwise(recorded)?
                .alias("cost_source"),
            _ => recorded,
        });
    }
    columns.push(ident("cost_usd").alias(RECORDED));
    columns.push(if is_corrected {
        ident(CORRECTED_AT)
    } else {
        cast(lit(ScalarValue::Null), moment()).alias(CORRECTED_AT)
    });
    Ok(ViewTable::new(calls.project(columns)?.build()?, None))
}

/// Of each corrected call, the last correction.
fn newest(corrections: &Arc<LogTable>) -> Result<LogicalPlanBuilder> {
    let source = provider_as_source(Arc::clone(corrections) as _);
    let in_order =
        || vec![ident("at").sort(true, true), ident("epoch").sort(true, true), ident("seq").sort(true, true)];
    LogicalPlanBuilder::scan(Table::PriceCorrections.folder(), source, None)?
        .aggregate(
            vec![ident("interaction_id")],
            vec![
                last_value(ident("new_cost_usd"), in_order()).alias(CORRECTED_COST),
                last_value(ident("price_id"), in_order()).alias(CORRECTED_PRICE),
                max(ident("at")).alias(CORRECTED_AT),
            ],
        )?
        .project(vec![
            ident("interaction_id").alias(CORRECTED_CALL),
            ident(CORRECTED_COST),
            ident(CORRECTED_PRICE),
            ident(CORRECTED_AT),
        ])
}

fn moment() -> DataType {
    DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()))
}

//! `/sql`: a place to ask questions that no page answers.

use arrow::datatypes::DataType;
use askama::Template;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Html;
use serde_json::Value;
use tollgate_analytics::{QueryLimits, QueryResult, output};
use tollgate_interaction::schema;

use crate::access::Reader;
use crate::access_log::purpose;
use crate::error::ConsoleError;
use crate::params::Params;
use crate::shell::Shell;
use crate::state::ConsoleState;

/// Rows a page shows at most; downloads have more.
const SHOWN_ROWS: usize = 500;

/// Answers `GET /sql`: the editor, with the query of the address but without running it.
///
/// # Errors
/// A defect of ours.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Html<String>, ConsoleError> {
    let page = SqlPage::new(reader.shell(&state, "SQL", "/sql"), params.text("query"), None, None, tables());
    Ok(Html(page.render()?))
}

/// Answers `POST /sql`: runs the query and shows its rows or what is wrong with it.
///
/// # Errors
/// A defect of ours; errors of the query are shown on the page.
pub async fn run(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    headers: HeaderMap,
    form: Bytes,
) -> Result<Html<String>, ConsoleError> {
    let form = Params::parse(&form);
    let query = form.raw("query").unwrap_or_default().to_owned();
    let limits = QueryLimits { max_rows: SHOWN_ROWS, ..QueryLimits::default() };
    let (problem, result) = match reader.ledger(&state).sql(&query, limits).await {
        Ok(result) => {
            let rows = Some(result.rows as u64);
            state.record_access(&reader, "sql", query.clone(), purpose(&headers, &form), rows).await?;
            (None, Some(ResultTable::new(&result)))
        }
        Err(error) => {
            let error = ConsoleError::from(error);
            (Some(QueryProblem { message: error.to_string(), hint: error.hint().to_owned() }), None)
        }
    };
    let page = SqlPage::new(reader.shell(&state, "SQL", "/sql"), query, problem, result, tables());
    Ok(Html(page.render()?))
}

/// The tables that can be asked, as the log dictionary describes them.
fn tables() -> Vec<TableSchema> {
    fn table<Row>(name: &'static str, columns: &[schema::Column<Row>]) -> TableSchema {
        let column = |column: &schema::Column<Row>| Column {
            name: column.name.to_owned(),
            kind: kind(&column.data_type),
            numeric: column.data_type.is_numeric(),
            meaning: column.meaning,
        };
        TableSchema { name, columns: columns.iter().map(column).collect() }
    }
    let mut payloads = table("payloads", &schema::PAYLOAD_COLUMNS);
    payloads.columns.push(Column {
        name: schema::MESSAGES.to_owned(),
        kind: kind(&schema::messages()),
        numeric: false,
        meaning: "The conversation: {role, content}, told from both bodies",
    });
    let beside = |name: &str, data_type: &DataType, meaning| Column {
        name: name.to_owned(),
        kind: kind(data_type),
        numeric: data_type.is_numeric(),
        meaning,
    };
    let costs = TableSchema {
        name: "costs",
        columns: vec![
            beside(
                "…",
                &DataType::Null,
                "Every column of interactions; cost_usd, cost_source and price_id by the last correction",
            ),
            beside("recorded_cost_usd", &schema::dollars(), "What was recorded"),
            beside("corrected_at", &schema::timestamp(), "When it was corrected; NULL if it was not"),
        ],
    };
    vec![
        table("interactions", &schema::INTERACTION_COLUMNS),
        payloads,
        table("control_events", &schema::CONTROL_EVENT_COLUMNS),
        table("access_events", &schema::ACCESS_EVENT_COLUMNS),
        table("log_gaps", &schema::LOG_GAP_COLUMNS),
        table("price_corrections", &schema::PRICE_CORRECTION_COLUMNS),
        table("feedback", &schema::FEEDBACK_COLUMNS),
        costs,
    ]
}

/// A type in a word or two.
fn kind(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "text".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => "int".to_owned(),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => "uint".to_owned(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "float".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "bytes".to_owned(),
        DataType::List(element) => format!("list of {}", kind(element.data_type())),
        DataType::Struct(_) => "struct".to_owned(),
        DataType::Map(..) => "map".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/sql.html")]
pub struct SqlPage {
    shell: Shell,
    query: String,
    problem: Option<QueryProblem>,
    result: Option<ResultTable>,
    examples: &'static [Example],
    tables: Vec<TableSchema>,
}

impl SqlPage {
    /// The page; an empty editor starts with the first example.
    #[must_use]
    pub fn new(
        shell: Shell,
        query: String,
        problem: Option<QueryProblem>,
        result: Option<ResultTable>,
        tables: Vec<TableSchema>,
    ) -> Self {
        let query = if query.trim().is_empty() { EXAMPLES[0].query.to_owned() } else { query };
        SqlPage { shell, query, problem, result, examples: EXAMPLES, tables }
    }
}

/// Why a query has no answer.
#[derive(Clone, Debug)]
pub struct QueryProblem {
    /// What the engine said.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// An answer as text.
#[derive(Clone, Debug)]
pub struct ResultTable {
    /// Columns, in order.
    pub columns: Vec<Column>,
    /// Rows, in order.
    pub rows: Vec<Vec<Cell>>,
    /// Whether there are more rows than these.
    pub truncated: bool,
    /// How long it took.
    pub elapsed_ms: u64,
}

impl ResultTable {
    /// Words an answer. Nested values stand as JSON.
    #[must_use]
    pub fn new(result: &QueryResult) -> Self {
        let column = |field: &std::sync::Arc<arrow::datatypes::Field>| Column {
            name: field.name().clone(),
            kind: kind(field.data_type()),
            numeric: field.data_type().is_numeric(),
            meaning: "",
        };
        let columns: Vec<Column> = result.schema.fields().iter().map(column).collect();
        let cell = |(array, column): (&arrow::array::ArrayRef, &Column), row: usize| Cell {
            text: cell_text(output::json_value(array.as_ref(), row)),
            numeric: column.numeric,
        };
        let rows = result.batches.iter().flat_map(|batch| {
            (0..batch.num_rows())
                .map(|row| batch.columns().iter().zip(&columns).map(|pair| cell(pair, row)).collect())
                .collect::<Vec<Vec<Cell>>>()
        });
        let rows = rows.collect();
        ResultTable { rows, columns, truncated: result.truncated, elapsed_ms: result.elapsed_ms }
    }
}

fn cell_text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// A column of an answer or of a table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, short.
    pub kind: String,
    /// Whether values are aligned as numbers.
    pub numeric: bool,
    /// What it means; empty for a column of an answer.
    pub meaning: &'static str,
}

/// One value.
#[derive(Clone, Debug)]
pub struct Cell {
    /// As text; `None` for NULL.
    pub text: Option<String>,
    /// Whether it is aligned as a number.
    pub numeric: bool,
}

/// A table that can be asked.
#[derive(Clone, Debug)]
pub struct TableSchema {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// A question others have had.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// What it asks.
    pub title: &'static str,
    /// How.
    pub query: &'static str,
}

/// Questions that a newcomer can run as they are.
pub const EXAMPLES: &[Example] = &[
    Example {
        title: "Spend by team this month",
        query: "SELECT team, count(*) AS calls, sum(cost_usd) AS cost_usd\nFROM interactions\nWHERE started_at >= date_trunc('month', now())\nGROUP BY team\nORDER BY cost_usd DESC NULLS LAST",
    },
    Example {
        title: "Slowest models, p95",
        query: "SELECT provider, model_served, count(*) AS calls,\n       approx_percentile_cont(latency_us, 0.95) / 1000 AS p95_ms\nFROM interactions\nWHERE outcome = 'success'\nGROUP BY provider, model_served\nORDER BY p95_ms DESC",
    },
    Example {
        title: "Why calls were denied",
        query: "SELECT error_type, team, count(*) AS calls, max(started_at) AS last\nFROM interactions\nWHERE decision = 'deny'\nGROUP BY error_type, team\nORDER BY calls DESC",
    },
    Example {
        title: "Errors by provider and hour",
        query: "SELECT date_trunc('hour', started_at) AS hour, provider, error_type, count(*) AS calls\nFROM interactions\nWHERE outcome IN ('failed', 'interrupted')\nGROUP BY hour, provider, error_type\nORDER BY hour DESC\nLIMIT 100",
    },
    Example {
        title: "Calls whose price is unknown",
        query: "SELECT provider, model_served, count(*) AS calls\nFROM interactions\nWHERE cost_usd IS NULL AND outcome = 'success'\nGROUP BY provider, model_served",
    },
    Example {
        title: "Longest prompts of today",
        query: "SELECT interaction_id, team, model_served, input_tokens, cost_usd\nFROM interactions\nWHERE started_at >= date_trunc('day', now())\nORDER BY input_tokens DESC NULLS LAST\nLIMIT 20",
    },
];

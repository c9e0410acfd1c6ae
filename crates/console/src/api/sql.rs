//! `POST /api/v1/sql`: a query as JSON, as plain text or from a form; an answer as JSON, CSV or Arrow.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::json;
use tollgate_analytics::{QueryLimits, QueryResult, output};

use super::{accepts, download};
use crate::access::{Reader, is_form};
use crate::access_log::purpose;
use crate::error::ConsoleError;
use crate::params::Params;
use crate::state::ConsoleState;

/// Rows an answer has at most unless the request asks for fewer.
const MOST_ROWS: usize = 1_000_000;

#[derive(Debug, Default, Deserialize)]
struct SqlRequest {
    query: String,
    format: Option<String>,
    max_rows: Option<usize>,
}

/// Runs one statement that reads.
///
/// # Errors
/// A code that starts with `sql_` if the statement is refused or wrong; `query_timeout` if it takes too long.
pub async fn run(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    headers: HeaderMap,
    params: Params,
    body: Bytes,
) -> Result<Response, ConsoleError> {
    let asked = read(&headers, &body)?;
    let format = format(&headers, asked.format.as_deref().or(params.get("format")))?;
    let max_rows = asked.max_rows.or(params.number("max_rows")?).unwrap_or(format.usual_rows());
    let limits = QueryLimits { max_rows: max_rows.min(MOST_ROWS), ..QueryLimits::default() };
    let result = reader.ledger(&state).sql(&asked.query, limits).await?;
    let rows = Some(result.rows as u64);
    state.record_access(&reader, "sql", asked.query, purpose(&headers, &params), rows).await?;
    let mut response = match (format, is_form(&headers)) {
        // A form is sent by the download buttons of the page.
        (Format::Json, true) => download("application/json", "query.json", Json(as_json(&result))),
        _ => answer(format, &result)?,
    };
    // CSV and Arrow have no place inside to say it.
    let truncated = if result.truncated { "true" } else { "false" };
    response.headers_mut().insert("x-tollgate-truncated", header::HeaderValue::from_static(truncated));
    Ok(response)
}

fn read(headers: &HeaderMap, body: &Bytes) -> Result<SqlRequest, ConsoleError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if is_form(headers) {
        let form = Params::parse(body);
        let query = form.raw("query").unwrap_or_default().to_owned();
        return Ok(SqlRequest { query, format: form.owned("format"), max_rows: form.number("max_rows")? });
    }
    if kind.starts_with("application/json") {
        return serde_json::from_slice(body).map_err(|error| ConsoleError::Invalid {
            message: format!("the body is not a query: {error}"),
            hint: "Send `{\"query\": \"SELECT …\"}`, or the query as `text/plain`.",
        });
    }
    let query = String::from_utf8(body.to_vec()).map_err(|_| ConsoleError::Invalid {
        message: "the body is not UTF-8 text".to_owned(),
        hint: "Send `{\"query\": \"SELECT …\"}`, or the query as `text/plain`.",
    })?;
    Ok(SqlRequest { query, ..SqlRequest::default() })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Arrow,
}

impl Format {
    /// Files may be long; JSON is read by people and scripts.
    const fn usual_rows(self) -> usize {
        match self {
            Format::Json => 10_000,
            Format::Csv | Format::Arrow => MOST_ROWS,
        }
    }
}

fn format(headers: &HeaderMap, asked: Option<&str>) -> Result<Format, ConsoleError> {
    match asked {
        Some("json") => Ok(Format::Json),
        Some("csv") => Ok(Format::Csv),
        Some("arrow") => Ok(Format::Arrow),
        Some(other) => Err(ConsoleError::Invalid {
            message: format!("`{other}` is not a usable `format`"),
            hint: "It is one of `json`, `csv`, `arrow`.",
        }),
        None if accepts(headers, "text/csv") => Ok(Format::Csv),
        None if accepts(headers, ARROW) => Ok(Format::Arrow),
        None => Ok(Format::Json),
    }
}

const ARROW: &str = "application/vnd.apache.arrow.stream";

fn answer(format: Format, result: &QueryResult) -> Result<Response, ConsoleError> {
    let defect =
        |source: output::OutputError| ConsoleError::Internal { what: "the Arrow stream", source: source.into() };
    Ok(match format {
        Format::Csv => {
            download("text/csv; charset=utf-8", "query.csv", output::to_csv(&result.schema, &result.batches))
        }
        Format::Arrow => {
            download(ARROW, "query.arrows", output::to_arrow_ipc(&result.schema, &result.batches).map_err(defect)?)
        }
        Format::Json => Json(as_json(result)).into_response(),
    })
}

fn as_json(result: &QueryResult) -> serde_json::Value {
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| json!({"name": field.name(), "type": field.data_type().to_string(), "nullable": field.is_nullable()});
    json!({
        "columns": result.schema.fields().iter().map(column).collect::<Vec<_>>(),
        "rows": output::to_json(&result.batches),
        "row_count": result.rows,
        "truncated": result.truncated,
        "elapsed_ms": result.elapsed_ms,
        "as_of": result.as_of,
    })
}

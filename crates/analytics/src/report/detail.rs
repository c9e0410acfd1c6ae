//! One call, whole: every column, the conversation, and the bytes as they were on the wire.

use arrow::array::{Array, AsArray, RecordBatch};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion::common::ScalarValue;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tollgate_flush::committed_seq;
use tollgate_interaction::InteractionId;

use super::list::{self, range_of_id};
use super::rows::{Answer, IN_RANGE, range_parameters};
use super::shape::{Body, CorrectionView, InteractionDetail, Message};
use crate::error::ReportError;
use crate::output;
use crate::session::Profile;
use crate::view::Reading;

const REPORT: &str = "interaction";

pub(super) async fn interaction(
    reading: &Reading,
    id: InteractionId,
) -> Result<Option<InteractionDetail>, ReportError> {
    let facts = of_call(reading, "interactions", id).await?;
    let Some(fact) = facts.first().cloned() else { return Ok(None) };
    let Some(row) = list::rows(&Answer::new(REPORT, vec![fact.clone()]))?.into_iter().next() else { return Ok(None) };
    let columns = output::json_row(&fact, 0);
    let payload = of_call(reading, "payloads", id).await?.into_iter().next();
    let tags = columns.get("tags").and_then(Value::as_object).map(labels).unwrap_or_default();
    Ok(Some(InteractionDetail {
        row,
        reasons: list_of(&columns, "decision_reasons"),
        candidates: list_of(&columns, "candidates"),
        attempts: list_of(&columns, "attempts"),
        tags,
        corrections: corrections(reading, id).await?,
        messages: payload.as_ref().map(messages).unwrap_or_default(),
        request: payload.as_ref().and_then(|payload| body(payload, "request")),
        response: payload.as_ref().and_then(|payload| body(payload, "response")),
        hot: is_hot(reading, &fact),
        columns,
    }))
}

/// Corrections of its cost, in their order.
async fn corrections(reading: &Reading, id: InteractionId) -> Result<Vec<CorrectionView>, ReportError> {
    let sql = "SELECT at, actor, reason, old_cost_usd, new_cost_usd, price_id FROM price_corrections \
               WHERE interaction_id = $id ORDER BY at, epoch, seq";
    let parameters = vec![("id", ScalarValue::from(id.to_string()))];
    let answer = Answer::new(REPORT, reading.ask(REPORT, Profile::Needle, sql.to_owned(), parameters).await?);
    let (times, actors) = (answer.times_us("at")?, answer.texts_or_empty("actor")?);
    let (reasons, price_ids) = (answer.texts_or_empty("reason")?, answer.texts_or_empty("price_id")?);
    let (old, new) = (answer.dollars("old_cost_usd")?, answer.dollars("new_cost_usd")?);
    let correction = |at: usize| CorrectionView {
        at_us: times[at],
        actor: actors[at].clone(),
        reason: reasons[at].clone(),
        old_cost_usd: old[at],
        new_cost_usd: new[at],
        price_id: price_ids[at].clone(),
    };
    Ok((0..times.len()).map(correction).collect())
}

/// The rows of one call; the id's own time keeps the search to the files of a day or two.
async fn of_call(reading: &Reading, table: &str, id: InteractionId) -> Result<Vec<RecordBatch>, ReportError> {
    let mut parameters = range_parameters(range_of_id(id));
    parameters.push(("id", ScalarValue::from(id.to_string())));
    let sql = format!("SELECT * FROM {table} WHERE interaction_id = $id AND {IN_RANGE}");
    let batches = reading.ask(REPORT, Profile::Needle, sql, parameters).await?;
    Ok(batches.into_iter().filter(|batch| batch.num_rows() > 0).collect())
}

fn list_of<T: DeserializeOwned>(columns: &Map<String, Value>, name: &str) -> Vec<T> {
    let items = columns.get(name).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| T::deserialize(item).ok()).collect()
}

fn labels(tags: &Map<String, Value>) -> Vec<(String, String)> {
    tags.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn messages(payload: &RecordBatch) -> Vec<Message> {
    let row = output::json_row(payload, 0);
    list_of(&row, "messages")
}

fn body(payload: &RecordBatch, which: &str) -> Option<Body> {
    let bytes = payload.column_by_name(&format!("{which}_body"))?.as_binary_opt::<i32>()?;
    let bytes = if bytes.is_null(0) { return None } else { bytes.value(0).to_vec() };
    let content_type =
        payload.column_by_name(&format!("{which}_content_type"))?.as_string_opt::<i32>()?.value(0).to_owned();
    let text = std::str::from_utf8(&bytes).ok().map(str::to_owned);
    let base64 = text.is_none().then(|| STANDARD.encode(&bytes));
    Some(Body { content_type, size_bytes: bytes.len() as u64, bytes, text, base64 })
}

/// Whether the lake's part of the reading does not hold the row yet.
fn is_hot(reading: &Reading, fact: &RecordBatch) -> bool {
    let row = output::json_row(fact, 0);
    let number = |name| row.get(name).and_then(Value::as_u64).unwrap_or_default();
    let writer = row.get("writer").and_then(Value::as_str).unwrap_or_default();
    let Ok(writer) = writer.parse() else { return false };
    number("seq") > committed_seq(&reading.lake.watermarks, &writer, number("epoch"))
}

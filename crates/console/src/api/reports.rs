//! `GET /api/v1/reports/record-keeping`: makes an evidence pack from the log as it is now, and answers with its manifest
//! or with the whole pack as a tar archive.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use tollgate_evidence::{PackSummary, RecordKeepingRequest};

use super::tar::{ScratchDir, archive};
use super::{accepts, download};
use crate::access::Reader;
use crate::access_log::purpose;
use crate::error::ConsoleError;
use crate::format;
use crate::params::Params;
use crate::range::Range;
use crate::state::ConsoleState;

const TAR: &str = "application/x-tar";

/// Makes the pack. `from` and `to` are days or times, the end not included; without them it is about the last month.
///
/// # Errors
/// `report_period_empty` or `parameter_invalid` for a period that is none; a report error if the log could not be read.
pub async fn record_keeping(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ConsoleError> {
    let span = params.span(Range::LastMonth, state.now_us())?;
    let request = RecordKeepingRequest {
        from_us: span.from_us,
        to_us: span.to_us,
        generated_at_us: state.now_us(),
        organisation: params.text("organisation"),
        system: params.text("system"),
        requested_by: params.owned("requested_by").unwrap_or_else(|| reader.author.clone()),
        reference: params.text("reference"),
    };
    let name = format!("record-keeping-{}-to-{}", format::date(span.from_us), format::date(span.to_us - 1));
    let scratch = ScratchDir(state.settings.scratch_dir.join(format!("report-{}", unique()?)));
    let mut summary = state.ledger.record_keeping(request, &scratch.0).await?;
    state.record_access(&reader, "report", name.clone(), purpose(&headers, &params), None).await?;
    if params.get("format") == Some("tar") || accepts(&headers, TAR) {
        let files: Vec<String> = summary.files.iter().map(|file| file.path.clone()).collect();
        let now_s = u64::try_from(state.now_us() / 1_000_000).unwrap_or(0);
        let pack = scratch.0.clone();
        let body = Body::from_stream(archive(scratch, &pack, &name, &files, now_s));
        return Ok(download(TAR, &format!("{name}.tar"), body));
    }
    // The folder is ours and gone with this answer: its name would mean nothing to the caller.
    summary.dir = name.into();
    Ok(Json::<PackSummary>(summary).into_response())
}

fn unique() -> Result<String, ConsoleError> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random)
        .map_err(|source| ConsoleError::Internal { what: "a folder for the report", source: source.into() })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

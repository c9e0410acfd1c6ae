//! `POST /v1/feedback`: what somebody thought of an answer, as an event in the log. It is no call: it reaches no provider
//! and costs nothing. The answer means that the judgement is on disk.
//!
//! A judgement of a call that does not exist, or that belongs to another organisation, is refused where that can be known
//! ([`crate::known`]). Where it cannot, as at a sidecar or while another gateway has calls to hand over, the judgement is kept
//! and the answer says so: it counts once the call is in the log, and for nothing if it never is.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tollgate_interaction::{Event, Feedback, Governance, InteractionId, Score};
use tollgate_policy::decide::code::KEY_EXPIRED;

use crate::error::{CallError, own};
use crate::known::Standing;
use crate::patience::Patience;
use crate::relay::Body;
use crate::{Gateway, answer, auth, clock, intake, random};

/// Where it is taken.
pub(crate) const PATH: &str = "/v1/feedback";

/// Largest body. In bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// Longest name of what was judged. In bytes.
const MAX_NAME_BYTES: usize = 64;
/// Longest comment. In bytes.
const MAX_COMMENT_BYTES: usize = 4_000;
/// How far the clock of another gateway may be ahead.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// What is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Judgement {
    interaction_id: String,
    name: String,
    score: f64,
    #[serde(default)]
    comment: Option<String>,
}

/// What is answered.
#[derive(Debug, Serialize)]
struct Taken<'a> {
    feedback_id: &'a str,
    /// There if nobody could say whether there is such a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// A judgement that is on the disk.
struct Kept {
    feedback_id: String,
    interaction_id: InteractionId,
    is_known: bool,
}

/// Takes one judgement.
pub(crate) async fn take(gateway: &Arc<Gateway>, request: Request<Incoming>, peer: IpAddr) -> Response<Body> {
    let (parts, mut body) = request.into_parts();
    match keep(gateway, &parts, &mut body, peer).await {
        Ok(kept) => {
            let (status, note) = match kept.is_known {
                true => (own::OK, None),
                false => (own::ACCEPTED, Some(unsure(kept.interaction_id))),
            };
            // Plain fields always have a JSON form.
            let told = serde_json::to_vec(&Taken { feedback_id: &kept.feedback_id, note }).unwrap_or_default();
            answer::plain(status, HeaderValue::from_static("application/json"), told.into())
        }
        Err(error) => answer::no_call(crate::endpoint::dialect_of(&parts.headers), &error),
    }
}

async fn keep(gateway: &Gateway, parts: &Parts, body: &mut Incoming, peer: IpAddr) -> Result<Kept, CallError> {
    let now_us = clock::now_us();
    let intake = intake::read_headers(&parts.headers, gateway.settings.limits.header_bytes)?;
    let control = gateway.control.load_full();
    let principal = auth::principal(gateway, &control, intake.key).await?;
    auth::admit_source(gateway, &principal, peer, &parts.headers)?;
    if principal.expires_at_us.is_some_and(|expires_at_us| expires_at_us <= now_us) {
        let message = "the key has expired; ask for a new one".to_owned();
        return Err(CallError::Denied { code: KEY_EXPIRED, message, retry_after: None });
    }
    let wait = gateway.settings.timeouts.request_body;
    let patience = Patience::since(Instant::now(), wait);
    let sent = intake::read_body(body, MAX_BODY_BYTES, wait, patience, &mut 0).await.map_err(|error| match error {
        CallError::BodyTooLarge { limit } => refuse(format!("the body is longer than {limit} bytes; shorten it")),
        other => other,
    })?;
    let (judged, interaction_id, score) = read(&sent, now_us)?;
    let standing = gateway.known.standing(&principal.tenant, interaction_id, unix_ms(now_us)).await;
    let is_known = match standing {
        Standing::Known => true,
        Standing::Unsure => false,
        Standing::Unknown => {
            gateway.counters.feedback_refused.fetch_add(1, Ordering::Relaxed);
            return Err(CallError::FeedbackOnNothing { interaction_id });
        }
    };
    let event = Feedback {
        feedback_id: format!("fb_{}", random::interaction_id(now_us)),
        at_us: now_us,
        tenant: principal.tenant.clone(),
        interaction_id,
        name: judged.name,
        score,
        comment: judged.comment.filter(|comment| !comment.is_empty()),
        source: "gateway".to_owned(),
        given_by: principal.key_id.clone(),
    };
    let feedback_id = event.feedback_id.clone();
    match gateway.appender.append_durable(&Event::from(Governance::Feedback(event))).await {
        Ok(_) => {
            let counters = &gateway.counters;
            let counter = if is_known { &counters.feedback_known } else { &counters.feedback_unsure };
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(Kept { feedback_id, interaction_id, is_known })
        }
        Err(error) => {
            tracing::error!(%error, "a judgement was refused because the log took no record of it");
            Err(CallError::FeedbackNotKept)
        }
    }
}

fn unsure(interaction_id: InteractionId) -> String {
    format!(
        "kept; whether there is a call `{interaction_id}` cannot be told here now: the judgement counts once that call is in \
         the log, and for nothing if it never is"
    )
}

fn unix_ms(now_us: i64) -> u64 {
    u64::try_from(now_us / 1_000).unwrap_or(0)
}

fn read(sent: &Bytes, now_us: i64) -> Result<(Judgement, InteractionId, Score), CallError> {
    let judged: Judgement = serde_json::from_slice(sent).map_err(|error| {
        refuse(format!(
            "the body is not what is expected: {error}; send \
             {{\"interaction_id\": \"…\", \"name\": \"helpful\", \"score\": 1, \"comment\": \"…\"}}"
        ))
    })?;
    let interaction_id: InteractionId = judged.interaction_id.parse().map_err(|error| {
        refuse(format!("{error}: it stands in the header `x-tollgate-interaction-id` of the answer"))
    })?;
    let latest_ms = unix_ms(now_us).saturating_add(MAX_SKEW.as_millis() as u64);
    if !interaction_id.is_version_7() || interaction_id.unix_ms() > latest_ms {
        return Err(refuse(format!(
            "`{interaction_id}` is not the id of a call that was made; take it from the header \
             `x-tollgate-interaction-id` of the answer"
        )));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if judged.name.is_empty() || judged.name.len() > MAX_NAME_BYTES || !judged.name.bytes().all(is_plain) {
        return Err(refuse(format!(
            "`name` says what was judged in 1 to {MAX_NAME_BYTES} letters, digits, `_`, `-` and `.`, such as `helpful`"
        )));
    }
    let score = Score::from_f64(judged.score)
        .ok_or_else(|| refuse(format!("`score` is {}; send a number from -1 (bad) to 1 (good)", judged.score)))?;
    if let Some(bytes) = judged.comment.as_ref().map(String::len).filter(|bytes| *bytes > MAX_COMMENT_BYTES) {
        return Err(refuse(format!("`comment` has {bytes} bytes; send at most {MAX_COMMENT_BYTES}")));
    }
    Ok((judged, interaction_id, score))
}

fn refuse(message: String) -> CallError {
    CallError::Feedback { message }
}

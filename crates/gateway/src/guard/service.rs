//! Guardrails that take their time: the classifier of this process, see [`super::classifier`], and services behind HTTP. The
//! gateway posts the texts as JSON and waits for a verdict, as long as the rule allows; what does not answer in time, or not
//! as it should, counts as failed, and the rule says what that means for the call.
//!
//! Asked: `{"rule", "phase", "interaction_id", "tenant", "team", "model", "texts": [{"role", "text"}]}`.
//! Answered, with status 200: `{"verdict": "pass" | "hit", "score": 0.93, "detail": "…"}`; `score` is 1 if it is missing, and a
//! hit below the rule's threshold is none. The detail goes into the row: it must not quote the texts.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tollgate_policy::guard::Score;
use tollgate_policy::guard::rule::{Adviser, Session};

use super::{classifier, microseconds};
use crate::Gateway;
use crate::call::Call;
use crate::trust::TrustError;
use crate::upstream::{self, Connector, ExchangeError, Pool};

/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Characters of a detail that are kept.
const MAX_DETAIL_CHARS: usize = 200;
/// Idle connections kept per service.
const KEEP: usize = 16;
const KEEP_FOR: Duration = Duration::from_secs(30);

/// A text and who said it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Said {
    pub(super) role: &'static str,
    pub(super) text: String,
    #[serde(skip)]
    pub(super) is_tool_result: bool,
}

#[derive(Serialize)]
struct Question<'a> {
    rule: &'a str,
    phase: &'a str,
    interaction_id: &'a str,
    tenant: &'a str,
    team: &'a str,
    model: &'a str,
    texts: &'a [&'a Said],
}

#[derive(Deserialize)]
struct Reply {
    verdict: Verdict,
    #[serde(default = "certain")]
    score: f64,
    #[serde(default)]
    detail: Option<String>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Pass,
    Hit,
}

fn certain() -> f64 {
    1.0
}

/// Why a service gave no verdict.
#[derive(Debug, thiserror::Error)]
enum ServiceError {
    #[error("`{url}` is not an address")]
    Address { url: String },
    #[error("no connection to `{url}` can be set up: {cause}")]
    Trust { url: String, cause: TrustError },
    #[error("`{url}` cannot be reached")]
    Unreachable { url: String },
    #[error("`{url}` broke the connection")]
    Broken { url: String },
    #[error("`{url}` did not answer within {waited_ms} ms")]
    Timeout { url: String, waited_ms: u128 },
    #[error("`{url}` answered with status {status}")]
    Status { url: String, status: u16 },
    #[error("`{url}` answered with something that is no verdict")]
    NoVerdict { url: String },
}

/// Connections to services, by address.
#[derive(Debug, Default)]
pub(crate) struct Adapters(Mutex<HashMap<String, Arc<Pool>>>);

impl Adapters {
    fn pool(&self, address: &str) -> Result<(Arc<Pool>, Uri), ServiceError> {
        let url = || address.to_owned();
        let unusable = |_| ServiceError::Address { url: url() };
        let uri: Uri = address.parse().map_err(unusable)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).parse().map_err(unusable)?;
        let mut pools = self.0.lock();
        if let Some(pool) = pools.get(address) {
            return Ok((Arc::clone(pool), path));
        }
        let connector = Connector::new(None).map_err(|cause| ServiceError::Trust { url: url(), cause })?;
        let pool = Arc::new(Pool::new(connector, uri, KEEP, KEEP_FOR));
        pools.insert(url(), Arc::clone(&pool));
        Ok((pool, path))
    }
}

/// Whose texts they are.
pub(super) struct Asker {
    gateway: Arc<Gateway>,
    interaction_id: String,
    tenant: String,
    team: String,
    model: String,
}

impl Asker {
    pub(super) fn of(call: &Call) -> Asker {
        let record = &call.record;
        Asker {
            gateway: Arc::clone(&call.gateway),
            interaction_id: call.public_id.to_string(),
            tenant: record.tenant.clone(),
            team: record.team.clone(),
            model: record.model_requested.clone(),
        }
    }
}

/// Asks every service of a session, one after the other, until one blocks. False if there is none to ask.
pub(super) async fn ask_all(asker: &Asker, session: &mut Session, texts: &[&Said]) -> bool {
    let rules = session.rules().to_vec();
    let mut any = false;
    for (number, rule) in rules.iter().enumerate() {
        for (place, service) in rule.services.iter().enumerate() {
            if session.blocked_by().is_some() {
                return any;
            }
            any = true;
            let question = Question {
                rule: &rule.id,
                phase: rule.phase.as_str(),
                interaction_id: &asker.interaction_id,
                tenant: &asker.tenant,
                team: &asker.team,
                model: &asker.model,
                texts,
            };
            let started = microseconds();
            let told = match &service.adviser {
                Adviser::Http { url } => {
                    let told = ask(&asker.gateway.adapters, url, service.timeout, &question).await;
                    told.map(Opinion::from).map_err(|error| error.to_string())
                }
                Adviser::Classifier(asked) => {
                    let told = classifier::ask(asked, texts, service.timeout).await;
                    told.map(Opinion::of_classifier).map_err(|error| error.to_string())
                }
            };
            let took = microseconds().saturating_sub(started);
            match told {
                Ok(Opinion { score, detail }) => {
                    let is_hit = score.is_some_and(|score| score >= rule.threshold);
                    session.note_service((number, place), is_hit, took, detail);
                }
                Err(why) => {
                    tracing::warn!(guardrail = %rule.id, %why, "guardrail `{}` could not be asked", rule.id);
                    session.note_failure((number, place), took, why);
                }
            }
        }
    }
    any
}

/// What somebody thinks of the texts: how sure they are that these are a hit, if they are one.
struct Opinion {
    score: Option<Score>,
    detail: Option<String>,
}

impl From<Reply> for Opinion {
    fn from(reply: Reply) -> Self {
        // A share of one; what is out of range is cut.
        let score = Score::millionths((reply.score.clamp(0.0, 1.0) * 1_000_000.0) as u32);
        Opinion {
            score: (reply.verdict == Verdict::Hit).then_some(score),
            detail: reply.detail.map(|detail| detail.chars().take(MAX_DETAIL_CHARS).collect()),
        }
    }
}

impl Opinion {
    fn of_classifier(score: Score) -> Self {
        Opinion { score: Some(score), detail: Some(format!("the classifier gives it {score}")) }
    }
}

async fn ask(
    adapters: &Adapters,
    address: &str,
    timeout: Duration,
    question: &Question<'_>,
) -> Result<Reply, ServiceError> {
    let url = || address.to_owned();
    let (pool, path) = adapters.pool(address)?;
    let body: Bytes = serde_json::to_vec(question).map_err(|_| ServiceError::NoVerdict { url: url() })?.into();
    let authority = address.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(host) = authority.and_then(|authority| HeaderValue::from_str(&authority).ok()) {
        headers.insert(header::HOST, host);
    }
    let asked = post(&pool, path, headers, body, address);
    let waited_ms = timeout.as_millis();
    let answer =
        tokio::time::timeout(timeout, asked).await.map_err(|_| ServiceError::Timeout { url: url(), waited_ms })??;
    serde_json::from_slice(&answer).map_err(|_| ServiceError::NoVerdict { url: url() })
}

async fn post(
    pool: &Arc<Pool>,
    path: Uri,
    headers: HeaderMap,
    body: Bytes,
    address: &str,
) -> Result<Bytes, ServiceError> {
    let url = || address.to_owned();
    let request = || upstream::request(Method::POST, path.clone(), headers.clone(), body.clone());
    let mut idle = pool.idle();
    loop {
        let is_fresh = idle.is_none();
        let lease = match idle.take() {
            Some(lease) => lease,
            None => pool.connect().await.map_err(|_| ServiceError::Unreachable { url: url() })?,
        };
        let mut exchange = lease.send(request());
        let head = match poll_fn(|cx| exchange.poll_head(cx)).await {
            Ok(head) => head,
            Err(ExchangeError::Stale) if !is_fresh => continue,
            Err(_) => return Err(ServiceError::Broken { url: url() }),
        };
        if !head.status.is_success() {
            return Err(ServiceError::Status { url: url(), status: head.status.as_u16() });
        }
        let mut answer = BytesMut::new();
        while let Some(piece) = poll_fn(|cx| exchange.poll_chunk(cx)).await {
            answer.extend_from_slice(&piece.map_err(|_| ServiceError::Broken { url: url() })?);
            if answer.len() > MAX_ANSWER_BYTES {
                return Err(ServiceError::NoVerdict { url: url() });
            }
        }
        return Ok(answer.freeze());
    }
}

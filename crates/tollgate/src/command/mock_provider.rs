//! `tollgate mock-provider`: the sandbox behind HTTP, for tests and benchmarks. It misbehaves on demand, by flag or per
//! request by an `x-mock-*` header of the same name (`x-mock-latency-ms: 50`), and counts what it was asked. Fixed
//! answers are built once, so that it is not what a benchmark measures. It is no gateway: it checks no keys and listens
//! on the loopback unless told otherwise.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::dialect::{Endpoint, ErrorKind, ErrorShape, RequestHead, error_body, error_event, parse_head};
use tollgate_provider::sandbox::{self, Moment, Script, Sent, Storage};

/// Largest request body that is read.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Fixed answers kept; all are dropped when one more is needed.
const MAX_PREPARED: usize = 1_024;
/// Tokens of a fixed answer where nothing else is asked for.
const DEFAULT_OUTPUT_TOKENS: u64 = 32;
/// What a fixed answer answers.
const CANNED_PROMPT: &str = "Summarise the quarterly report for the supervisory board in three sentences.";

const PLAYS: &str = "It answers chat (also streamed, with tools, and with JSON that fits a schema), completions, embeddings, \
    rerankings, moderations, pictures, speech and transcriptions with made-up content. An answer that the request's limit cuts \
    short says so. OpenAI's files are kept until it ends, and a batch of them is answered line by line. It does not play: keys \
    (any is taken), Anthropic's files and batches, realtime sessions, and lists of models.";

/// Flags of `tollgate mock-provider`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = PLAYS)]
pub(crate) struct MockProviderArgs {
    /// Address to listen on; port 0 picks a free port.
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub(crate) listen: SocketAddr,
    /// Print the address as JSON on the first line.
    #[arg(long)]
    pub(crate) json: bool,
    /// How it behaves where a request's headers do not say.
    #[command(flatten)]
    pub(crate) behaviour: Behaviour,
}

/// How one request is treated. Each field is a flag and an `x-mock-` header.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(crate) struct Behaviour {
    /// Milliseconds before the first byte of the answer.
    #[arg(long, default_value_t = 0)]
    pub(crate) latency_ms: u64,
    /// Milliseconds between two chunks of a stream.
    #[arg(long, default_value_t = 0)]
    pub(crate) chunk_delay_ms: u64,
    /// Tokens in each chunk of a stream.
    #[arg(long, default_value_t = 1)]
    pub(crate) chunk_tokens: u64,
    /// Tokens of each answer; a limit in the request still holds.
    #[arg(long)]
    pub(crate) output_tokens: Option<u64>,
    /// Input tokens claimed to be read from the cache.
    #[arg(long, default_value_t = 0)]
    pub(crate) cached_tokens: u64,
    /// Share of requests that fail, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) error_rate: f64,
    /// Status of those failures.
    #[arg(long, default_value_t = 500)]
    pub(crate) error_status: u16,
    /// Status of every answer.
    #[arg(long)]
    pub(crate) status: Option<u16>,
    /// Seconds in a `retry-after` header on failures.
    #[arg(long)]
    pub(crate) retry_after_s: Option<u64>,
    /// Never answer.
    #[arg(long)]
    pub(crate) hang: bool,
    /// Close the connection after this many bytes of the body; 0 closes it without an answer.
    #[arg(long)]
    pub(crate) hang_up_after_bytes: Option<u64>,
    /// Answer 200 with bytes that are no JSON.
    #[arg(long)]
    pub(crate) garbage: bool,
    /// End a stream cleanly after half of its events.
    #[arg(long)]
    pub(crate) half_stream: bool,
    /// Send an error event after half of a stream's events, then end it.
    #[arg(long)]
    pub(crate) late_error: bool,
    /// Stop sending after half of a stream's events, and keep the connection.
    #[arg(long)]
    pub(crate) stall: bool,
    /// Milliseconds that a batch spends in each of its states: validating, in progress, finalizing.
    #[arg(long, default_value_t = 300)]
    pub(crate) batch_step_ms: u64,
    /// Send the provider's rate-limit headers.
    #[arg(long)]
    pub(crate) rate_limit: bool,
    /// Answer the prompt instead of giving a fixed answer. Slower.
    #[arg(long)]
    pub(crate) echo: bool,
    /// Chooses among answers.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Behaviour {
    /// This behaviour with what the headers of a request change about it.
    fn with_headers(&self, headers: &HeaderMap) -> Behaviour {
        let mut behaviour = self.clone();
        for (name, value) in headers {
            let (Some(name), Ok(value)) = (name.as_str().strip_prefix("x-mock-"), value.to_str()) else { continue };
            behaviour.set(name, value.trim());
        }
        behaviour
    }

    fn set(&mut self, name: &str, value: &str) {
        fn parsed<T: std::str::FromStr>(slot: &mut T, value: &str) {
            if let Ok(value) = value.parse() {
                *slot = value;
            }
        }
        let flag = !matches!(value, "" | "0" | "false" | "no");
        match name {
            "latency-ms" => parsed(&mut self.latency_ms, value),
            "chunk-delay-ms" => parsed(&mut self.chunk_delay_ms, value),
            "chunk-tokens" => parsed(&mut self.chunk_tokens, value),
            "output-tokens" => self.output_tokens = value.parse().ok(),
            "cached-tokens" => parsed(&mut self.cached_tokens, value),
            "error-rate" => parsed(&mut self.error_rate, value),
            "error-status" => parsed(&mut self.error_status, value),
            "status" => self.status = value.parse().ok(),
            "retry-after-s" => self.retry_after_s = value.parse().ok(),
            "hang" => self.hang = flag,
            "hang-up-after-bytes" => self.hang_up_after_bytes = value.parse().ok(),
            "garbage" => self.garbage = flag,
            "half-stream" => self.half_stream = flag,
            "late-error" => self.late_error = flag,
            "stall" => self.stall = flag,
            "batch-step-ms" => parsed(&mut self.batch_step_ms, value),
            "rate-limit" => self.rate_limit = flag,
            "echo" => self.echo = flag,
            "seed" => parsed(&mut self.seed, value),
            _ => {}
        }
    }

    /// The status of a failure that is due, if one is. `number` counts requests.
    fn failure(&self, number: u64) -> Option<u16> {
        if self.status.is_some() {
            return self.status.filter(|status| *status >= 400);
        }
        // Spread evenly rather than drawn: a rate of 0.25 fails every fourth request.
        let due = |count: u64| (count as f64 * self.error_rate).floor();
        (self.error_rate > 0.0 && due(number + 1) > due(number)).then_some(self.error_status)
    }

    fn script(&self, created_at_s: i64) -> Script {
        Script {
            ttft_ms: self.latency_ms,
            inter_chunk_ms: self.chunk_delay_ms,
            output_tokens: self.output_tokens,
            chunk_tokens: self.chunk_tokens,
            cached_input_tokens: self.cached_tokens,
            rate_limit_headers: self.rate_limit,
            created_at_s,
        }
    }
}

/// What a fixed answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PreparedKey {
    dialect: Dialect,
    model: String,
    stream: bool,
    wants_usage: bool,
    output_tokens: u64,
    /// The request's own limit, where it cuts the answer short.
    limit: Option<u64>,
    chunk_tokens: u64,
    cached_tokens: u64,
    timing_ms: (u64, u64),
    rate_limit: bool,
    seed: u64,
}

/// An answer ready to be sent.
#[derive(Debug)]
struct Prepared {
    status: StatusCode,
    headers: HeaderMap,
    /// Whether its length is told in advance.
    stream: bool,
    /// Pieces with the milliseconds to wait before each; pieces without a wait are joined.
    frames: Vec<(u64, Bytes)>,
    /// The same, one event each, for those who cut a stream in half.
    events: Vec<(u64, Bytes)>,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    bytes_received: AtomicU64,
    hung: AtomicU64,
    hung_up: AtomicU64,
    by_path: Mutex<BTreeMap<String, u64>>,
    by_status: Mutex<BTreeMap<u16, u64>>,
    /// Headers and body of the last request to a provider's path.
    last: Mutex<Option<(HeaderMap, Bytes)>>,
}

#[derive(Debug)]
struct Mock {
    behaviour: Behaviour,
    started_at_s: i64,
    counters: Counters,
    prepared: RwLock<HashMap<PreparedKey, Arc<Prepared>>>,
    storage: Mutex<Storage>,
}

/// Serves until interrupted.
///
/// # Errors
/// If the address cannot be bound or announced.
pub(crate) async fn run(args: MockProviderArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on `{}`; choose another with `--listen`", args.listen))?;
    let address = listener.local_addr().context("the listener has no address")?;
    announce(address, args.json)?;
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::select! {
        () = serve(listener, args.behaviour, shutdown.clone()) => {}
        interrupted = tokio::signal::ctrl_c() => {
            stop.cancel();
            interrupted.context("cannot wait for an interrupt")?;
        }
    }
    Ok(())
}

fn announce(address: SocketAddr, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let line = match json {
        true => serde_json::json!({ "address": address.to_string(), "url": format!("http://{address}") }).to_string(),
        false => greeting(address),
    };
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot print the address")
}

fn greeting(address: SocketAddr) -> String {
    format!(
        "The mock provider listens on http://{address} and answers in the format it is asked in: OpenAI's (Chat and\n\
         Responses), Anthropic's, Google's and Amazon's. What it was asked is counted at http://{address}/mock/stats.\n\n\
         In tollgate.yaml:\n\n  providers:\n    mock: {{dialect: openai, base_url: \"http://{address}/v1\", api_key: any, price_as: openai}}\n"
    )
}

/// Serves `listener` until `shutdown`; then every connection is dropped.
pub(crate) async fn serve(listener: TcpListener, behaviour: Behaviour, shutdown: CancellationToken) {
    let started_at_s = i64::try_from(now_ms() / 1_000).unwrap_or_default();
    let counters = Counters::default();
    let mock =
        Arc::new(Mock { behaviour, started_at_s, counters, prepared: RwLock::default(), storage: Mutex::default() });
    let connections = TaskTracker::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let Ok((socket, _)) = accepted else {
            // Out of file descriptors, most likely: waiting lets connections end.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let connection = connection(Arc::clone(&mock), socket);
        let shutdown = shutdown.clone();
        connections.spawn(async move { shutdown.run_until_cancelled(connection).await });
    }
    connections.close();
    connections.wait().await;
}

async fn connection(mock: Arc<Mock>, socket: TcpStream) {
    // Without it, the small writes of a stream wait for the other side's acknowledgements.
    let _ = socket.set_nodelay(true);
    let service = service_fn(|request| mock.answer(request));
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).pipeline_flush(true);
    // An error here is a hang-up, the caller's or our own: both are meant to happen.
    let _ = server.serve_connection(TokioIo::new(socket), service).await;
}

/// The mock's way of hanging up before an answer.
#[derive(Debug, thiserror::Error)]
#[error("hung up as told")]
struct HungUp;

type Reply = Result<Response<MockBody>, HungUp>;

impl Mock {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (parts, body) = request.into_parts();
        let number = self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
            return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, Bytes::from_static(b"the body is too large")));
        };
        let body = body.to_bytes();
        self.counters.bytes_received.fetch_add(body.len() as u64, Ordering::Relaxed);
        let path = parts.uri.path();
        count(&self.counters.by_path, path);
        if let Some(control) = path.strip_prefix("/mock/") {
            return Ok(self.control(control));
        }
        let Some(endpoint) = route(&parts.method, &parts.uri, &parts.headers) else {
            return Ok(plain(
                StatusCode::NOT_FOUND,
                Bytes::from_static(b"no such path; see `tollgate mock-provider --help`"),
            ));
        };
        let behaviour = self.behaviour.with_headers(&parts.headers);
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let content_type = content_type.to_owned();
        *lock(&self.counters.last) = Some((parts.headers, body.clone()));
        let sent = Sent::to(&endpoint, parts.method.as_str(), &content_type, &body);
        let reply = self.misbehave(&sent, &behaviour, number).await;
        if let Ok(reply) = &reply {
            count(&self.counters.by_status, &reply.status().as_u16());
        }
        reply
    }

    async fn misbehave(&self, sent: &Sent<'_>, behaviour: &Behaviour, number: u64) -> Reply {
        if behaviour.hang {
            self.counters.hung.fetch_add(1, Ordering::Relaxed);
            return std::future::pending().await;
        }
        wait(behaviour.latency_ms).await;
        if behaviour.hang_up_after_bytes == Some(0) {
            self.counters.hung_up.fetch_add(1, Ordering::Relaxed);
            return Err(HungUp);
        }
        if let Some(status) = behaviour.failure(number) {
            return Ok(failure(sent.dialect, status, behaviour.retry_after_s));
        }
        if behaviour.garbage {
            return Ok(typed(
                StatusCode::OK,
                "application/json",
                Bytes::from_static(b"\x00\xFF{\"garbage\": [,, <html>"),
            ));
        }
        let prepared = self.prepared(sent, behaviour);
        let mut answer = Response::new(self.body(sent.dialect, behaviour, &prepared));
        *answer.status_mut() = prepared.status;
        *answer.headers_mut() = prepared.headers.clone();
        if let Some(status) = behaviour.status.and_then(|status| StatusCode::from_u16(status).ok()) {
            *answer.status_mut() = status;
        }
        Ok(answer)
    }

    /// The answer to what was sent, built now or earlier.
    fn prepared(&self, sent: &Sent<'_>, behaviour: &Behaviour) -> Arc<Prepared> {
        let Sent { dialect, operation, body, .. } = *sent;
        let fresh = |behaviour: &Behaviour, body: &[u8]| {
            let script = behaviour.script(self.started_at_s);
            Arc::new(Prepared::from(sandbox::perform(&Sent { body, ..*sent }, &script, behaviour.seed)))
        };
        if matches!(operation, Operation::Files | Operation::Batches) {
            let moment = Moment { now_ms: now_ms(), step_ms: behaviour.batch_step_ms };
            let script = behaviour.script(self.started_at_s);
            return Arc::new(Prepared::from(lock(&self.storage).answer(sent, &script, behaviour.seed, moment)));
        }
        // Only the two that the sandbox speaks itself have a request that can stand for all of a kind.
        let is_native = matches!(dialect, Dialect::Openai | Dialect::Anthropic);
        let fixed = is_native && operation == Operation::Chat && !behaviour.echo;
        let head = fixed.then(|| parse_head(dialect, operation, body)).and_then(Result::ok);
        let is_plain = |head: &RequestHead| !head.tools && head.choices == 1 && !wants_json(body);
        let Some(head) = head.filter(is_plain) else {
            return fresh(behaviour, body);
        };
        let key = PreparedKey::new(dialect, &head, behaviour);
        let read = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = read.get(&key) {
            return Arc::clone(prepared);
        }
        drop(read);
        let fixed = Behaviour { output_tokens: Some(key.output_tokens), ..behaviour.clone() };
        let prepared = fresh(&fixed, &canned(&key));
        let mut known = self.prepared.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_PREPARED {
            known.clear();
        }
        known.insert(key, Arc::clone(&prepared));
        prepared
    }

    fn body(&self, dialect: Dialect, behaviour: &Behaviour, prepared: &Arc<Prepared>) -> MockBody {
        let halved = behaviour.half_stream || behaviour.late_error || behaviour.stall;
        let mut body = match halved && prepared.stream {
            false => MockBody::new(prepared.frames.clone(), prepared.stream),
            true => {
                let half = prepared.events.len() / 2;
                let mut events = prepared.events[..half].to_vec();
                if behaviour.late_error {
                    events.push((0, error_event(dialect, &error(503, "the provider failed halfway, as told")).into()));
                }
                MockBody::new(events, true)
            }
        };
        if behaviour.stall && prepared.stream {
            body.end = End::Stall;
        }
        if let Some(bytes) = behaviour.hang_up_after_bytes {
            self.counters.hung_up.fetch_add(1, Ordering::Relaxed);
            body.hang_up_after = Some(bytes);
        }
        body
    }

    fn control(&self, path: &str) -> Response<MockBody> {
        match path {
            "stats" => json(self.stats()),
            "last" => json(self.last()),
            "reset" => {
                let counters = &self.counters;
                for counter in [&counters.requests, &counters.bytes_received, &counters.hung, &counters.hung_up] {
                    counter.store(0, Ordering::Relaxed);
                }
                lock(&counters.by_path).clear();
                lock(&counters.by_status).clear();
                *lock(&counters.last) = None;
                json(serde_json::json!({}))
            }
            _ => plain(StatusCode::NOT_FOUND, Bytes::from_static(b"there are /mock/stats, /mock/last and /mock/reset")),
        }
    }

    fn stats(&self) -> serde_json::Value {
        let counters = &self.counters;
        serde_json::json!({
            "requests": counters.requests.load(Ordering::Relaxed),
            "bytes_received": counters.bytes_received.load(Ordering::Relaxed),
            "hung": counters.hung.load(Ordering::Relaxed),
            "hung_up": counters.hung_up.load(Ordering::Relaxed),
            "by_path": *lock(&counters.by_path),
            "by_status": *lock(&counters.by_status),
        })
    }

    fn last(&self) -> serde_json::Value {
        let last = lock(&self.counters.last);
        let Some((headers, body)) = last.as_ref() else { return serde_json::Value::Null };
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers: BTreeMap<_, _> = headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
        serde_json::json!({ "headers": headers, "body": String::from_utf8_lossy(body) })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count<K: Ord + std::borrow::Borrow<Q>, Q: Ord + ToOwned<Owned = K> + ?Sized>(
    counts: &Mutex<BTreeMap<K, u64>>,
    key: &Q,
) {
    /// Paths are the caller's: beyond this many, new ones are not told apart.
    const MAX_KEYS: usize = 256;
    let mut counts = lock(counts);
    if let Some(count) = counts.get_mut(key) {
        *count += 1;
    } else if counts.len() < MAX_KEYS {
        counts.insert(key.to_owned(), 1);
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

async fn wait(wait_ms: u64) {
    if wait_ms > 0 {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
}

/// What a request asks for; at Azure's paths, too, and without `/v1`, since some base addresses carry it and some do not.
fn route(method: &Method, uri: &http::Uri, headers: &HeaderMap) -> Option<Endpoint> {
    let path = uri.path();
    let path = path.strip_prefix("/openai").unwrap_or(path);
    let path = match path.strip_prefix("/deployments/").and_then(|rest| rest.split_once('/')) {
        Some((_deployment, operation)) => format!("/v1/{operation}"),
        None if ["/v1", "/v2", "/model/"].iter().any(|root| path.starts_with(root)) => path.to_owned(),
        None => format!("/v1{path}"),
    };
    let query = uri.query().unwrap_or_default();
    let is_anthropic = headers.contains_key("anthropic-version");
    match *method {
        Method::POST => Endpoint::of_post(&path, query),
        Method::GET => Endpoint::of_get(&path, query, if is_anthropic { Dialect::Anthropic } else { Dialect::Openai }),
        Method::DELETE => Endpoint::of_delete(&path, query),
        _ => None,
    }
}

impl PreparedKey {
    fn new(dialect: Dialect, head: &RequestHead, behaviour: &Behaviour) -> Self {
        let wanted = behaviour.output_tokens.unwrap_or(DEFAULT_OUTPUT_TOKENS);
        PreparedKey {
            dialect,
            model: head.model.clone(),
            stream: head.stream,
            wants_usage: !head.hides_usage(),
            output_tokens: wanted,
            limit: head.max_output_tokens.filter(|limit| *limit < wanted),
            chunk_tokens: behaviour.chunk_tokens,
            cached_tokens: behaviour.cached_tokens,
            timing_ms: (behaviour.latency_ms, behaviour.chunk_delay_ms),
            rate_limit: behaviour.rate_limit,
            seed: behaviour.seed,
        }
    }
}

/// Whether a request says that its answer is to fit a schema, in OpenAI's words or Anthropic's. One that only mentions the
/// field is answered by its prompt, too, which costs time and nothing else.
fn wants_json(body: &[u8]) -> bool {
    const FIELDS: [&str; 3] = ["\"response_format\"", "\"output_config\"", "\"output_format\""];
    std::str::from_utf8(body).is_ok_and(|text| FIELDS.iter().any(|field| text.contains(field)))
}

/// A request that a fixed answer answers.
fn canned(key: &PreparedKey) -> Vec<u8> {
    let mut body = serde_json::json!({
        "model": key.model,
        "stream": key.stream,
        "max_tokens": key.limit.unwrap_or(key.output_tokens),
        "messages": [{ "role": "user", "content": CANNED_PROMPT }],
    });
    if key.dialect == Dialect::Openai && key.stream {
        body["stream_options"] = serde_json::json!({ "include_usage": key.wants_usage });
    }
    body.to_string().into_bytes()
}

impl From<sandbox::SandboxReply> for Prepared {
    fn from(reply: sandbox::SandboxReply) -> Self {
        let mut headers = HeaderMap::with_capacity(reply.headers.len());
        for (name, value) in &reply.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                headers.insert(name, value);
            }
        }
        let is_stream = |value: &HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
        let mut events = reply.frames;
        // The wait before the first byte comes before the headers too, and is over by now.
        if let Some((delay_ms, _)) = events.first_mut() {
            *delay_ms = 0;
        }
        Prepared {
            status: StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK),
            stream: headers.get(CONTENT_TYPE).is_some_and(is_stream),
            headers,
            frames: joined(&events),
            events,
        }
    }
}

/// `events` with those that need no wait joined to the one before.
fn joined(events: &[(u64, Bytes)]) -> Vec<(u64, Bytes)> {
    let mut frames: Vec<(u64, Vec<u8>)> = Vec::new();
    for (delay_ms, bytes) in events {
        match frames.last_mut() {
            Some((_, frame)) if *delay_ms == 0 => frame.extend_from_slice(bytes),
            _ => frames.push((*delay_ms, bytes.to_vec())),
        }
    }
    frames.into_iter().map(|(delay_ms, frame)| (delay_ms, frame.into())).collect()
}

fn error(status: u16, message: &str) -> ErrorShape {
    let (kind, code) = match status {
        400 => (ErrorKind::Invalid, "invalid_request"),
        401 => (ErrorKind::Unauthenticated, "invalid_api_key"),
        403 => (ErrorKind::Denied, "permission_denied"),
        404 => (ErrorKind::NotFound, "model_not_found"),
        413 => (ErrorKind::TooLarge, "request_too_large"),
        429 => (ErrorKind::Throttled, "rate_limit_exceeded"),
        503 | 529 => (ErrorKind::Overloaded, "overloaded"),
        504 => (ErrorKind::Late, "timeout"),
        _ => (ErrorKind::Internal, "server_error"),
    };
    ErrorShape {
        code: code.to_owned(),
        message: message.to_owned(),
        param: None,
        kind,
        http_status: status,
        interaction_id: String::new(),
    }
}

fn failure(dialect: Dialect, status: u16, retry_after_s: Option<u64>) -> Response<MockBody> {
    let body = error_body(dialect, &error(status, "the mock provider was told to fail"));
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = typed(status, "application/json", body.into());
    if let Some(seconds) = retry_after_s {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

fn json(value: serde_json::Value) -> Response<MockBody> {
    typed(StatusCode::OK, "application/json", value.to_string().into())
}

fn plain(status: StatusCode, body: Bytes) -> Response<MockBody> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<MockBody> {
    let mut answer = Response::new(MockBody::new(vec![(0, body)], false));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// What happens when all frames are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Clean,
    Stall,
}

/// A body that is sent in pieces, with pauses, and that may break off.
#[derive(Debug)]
struct MockBody {
    frames: std::vec::IntoIter<(u64, Bytes)>,
    /// Bytes still to come, if they are told in advance.
    length: Option<u64>,
    hang_up_after: Option<u64>,
    end: End,
    pause: Option<(Pin<Box<tokio::time::Sleep>>, Bytes)>,
}

impl MockBody {
    fn new(frames: Vec<(u64, Bytes)>, stream: bool) -> Self {
        let length = frames.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        MockBody {
            frames: frames.into_iter(),
            length: (!stream).then_some(length),
            hang_up_after: None,
            end: End::Clean,
            pause: None,
        }
    }

    /// As much of `bytes` as may be sent before hanging up.
    fn send(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, HungUp>>> {
        let allowed = match self.hang_up_after {
            Some(left) => bytes.slice(..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))),
            None => bytes,
        };
        let sent = allowed.len() as u64;
        self.hang_up_after = self.hang_up_after.map(|left| left - sent);
        self.length = self.length.map(|length| length.saturating_sub(sent));
        Poll::Ready(Some(Ok(Frame::data(allowed))))
    }

    /// Waits until what has been sent so far has left, then breaks off: an error at once would take it along.
    fn hang_up(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HungUp>>> {
        const FLUSH_MS: u64 = 10;
        let sleep = || (Box::pin(tokio::time::sleep(Duration::from_millis(FLUSH_MS))), Bytes::new());
        let (pause, _) = self.pause.get_or_insert_with(sleep);
        std::task::ready!(pause.as_mut().poll(context));
        Poll::Ready(Some(Err(HungUp)))
    }
}

impl Body for MockBody {
    type Data = Bytes;
    type Error = HungUp;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HungUp>>> {
        if self.pause.is_none() && self.frames.len() == 0 {
            // The body was shorter than the limit: it ends here all the same, and not as it should.
            self.hang_up_after = self.hang_up_after.map(|_| 0);
        }
        if self.hang_up_after == Some(0) {
            return self.hang_up(context);
        }
        if let Some((pause, _)) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(context));
            let bytes = self.pause.take().map(|(_, bytes)| bytes).unwrap_or_default();
            return self.send(bytes);
        }
        match self.frames.next() {
            Some((0, bytes)) => self.send(bytes),
            Some((delay_ms, bytes)) => {
                let pause = Box::pin(tokio::time::sleep(Duration::from_millis(delay_ms)));
                self.pause = Some((pause, bytes));
                self.poll_frame(context)
            }
            None if self.end == End::Stall => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let broken = self.hang_up_after.is_some() || self.end == End::Stall;
        !broken && self.pause.is_none() && self.frames.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(path: &str, body: &Value) -> Value {
        let behaviour = Behaviour { chunk_tokens: 1, seed: 1, ..Behaviour::default() };
        let mock = Mock {
            behaviour: behaviour.clone(),
            started_at_s: 0,
            counters: Counters::default(),
            prepared: RwLock::default(),
            storage: Mutex::default(),
        };
        let endpoint = Endpoint::of_post(path, "").unwrap();
        let body = body.to_string();
        let sent = Sent::to(&endpoint, "POST", "application/json", body.as_bytes());
        let prepared = mock.prepared(&sent, &behaviour);
        let bytes: Vec<u8> = prepared.frames.iter().flat_map(|(_, frame)| frame.to_vec()).collect();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn request(more: &Value) -> Value {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    #[test]
    fn what_is_to_fit_a_schema_fits_it_in_both_formats() {
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
        let format = json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": schema } });
        let openai = answer("/v1/chat/completions", &request(&json!({ "response_format": format })));
        let text = openai["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(serde_json::from_str::<Value>(text).unwrap()["n"].is_i64(), "{text}");
        let format = json!({ "format": { "type": "json_schema", "schema": schema } });
        let body = request(&json!({ "max_tokens": 400, "output_config": format }));
        let anthropic = answer("/v1/messages", &body);
        let text = anthropic["content"][0]["text"].as_str().unwrap();
        assert!(serde_json::from_str::<Value>(text).unwrap()["n"].is_i64(), "{text}");
    }

    #[test]
    fn an_answer_that_is_cut_at_the_limit_says_so() {
        let cut = answer("/v1/chat/completions", &request(&json!({ "max_tokens": 5 })));
        assert_eq!(
            (&cut["choices"][0]["finish_reason"], &cut["usage"]["completion_tokens"]),
            (&json!("length"), &json!(5))
        );
        let whole = answer("/v1/chat/completions", &request(&json!({ "max_tokens": 500 })));
        assert_eq!(whole["choices"][0]["finish_reason"], "stop");
        assert_eq!(whole["usage"]["completion_tokens"], DEFAULT_OUTPUT_TOKENS);
        let cut = answer("/v1/messages", &request(&json!({ "max_tokens": 5 })));
        assert_eq!(cut["stop_reason"], "max_tokens");
    }
}

//! One HTTP exchange with a provider, driven by the task of the call itself. A connection has no task of its own: whoever
//! holds it polls it, so that a call costs no hand-over between tasks, and an idle connection costs nothing at all.
//! HTTP/1.1 only, with keep-alive: providers offer it, and a pool of it has no head-of-line blocking.
//!
//! Refuses to retry, to judge a status, or to time anything: that is the caller's. It only tells apart a provider that broke
//! the connection from an idle connection that had died ([`ExchangeError::Stale`]).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::trust::{self, TrustError};

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connection = http1::Connection<Stream, Full<Bytes>>;
type Answer = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// No connection could be made.
    #[error("no connection to the provider")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection came from the pool and ended before a byte of the answer: a fresh one may do.
    #[error("the idle connection to the provider had ended")]
    Stale,
    /// The connection ended or broke the protocol.
    #[error("the connection to the provider broke")]
    Broken(#[source] hyper::Error),
}

/// The trust anchors and the way to every provider: shared by all pools.
#[derive(Clone, Debug)]
pub(crate) struct Connector(HttpsConnector<HttpConnector>);

impl Connector {
    /// One that believes the usual authorities and, beside them, those of `own`, as PEM.
    ///
    /// # Errors
    /// [`TrustError`] if `own` are none.
    pub(crate) fn new(own: Option<&str>) -> Result<Self, TrustError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let builder = HttpsConnectorBuilder::new().with_tls_config(trust::client_config(own)?);
        Ok(Connector(builder.https_or_http().enable_http1().wrap_connector(http)))
    }
}

/// Connections to one provider.
#[derive(Debug)]
pub(crate) struct Pool {
    connector: Connector,
    origin: Uri,
    idle: Mutex<VecDeque<Idle>>,
    keep: usize,
    keep_for: Duration,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

/// A connection and the handle that feeds it.
#[derive(Debug)]
struct Link {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<Connection>>,
}

impl Pool {
    /// Connections to the server of `origin`, a URI with scheme and authority; keeps `keep` of them for `keep_for`.
    pub(crate) fn new(connector: Connector, origin: Uri, keep: usize, keep_for: Duration) -> Self {
        Pool { connector, origin, idle: Mutex::new(VecDeque::new()), keep, keep_for }
    }

    /// A live idle connection, if there is one.
    pub(crate) fn idle(self: &Arc<Self>) -> Option<Lease> {
        while let Some(mut link) = self.take_latest() {
            if link.is_alive() {
                return Some(Lease { pool: Arc::clone(self), link, is_reused: true });
            }
        }
        None
    }

    /// A new connection.
    ///
    /// # Errors
    /// [`ExchangeError::Connect`] if there is none to be had.
    pub(crate) async fn connect(self: &Arc<Self>) -> Result<Lease, ExchangeError> {
        let mut connector = self.connector.0.clone();
        let stream = connector.call(self.origin.clone()).await.map_err(ExchangeError::Connect)?;
        let shaken: hyper::Result<_> = http1::Builder::new().handshake(stream).await;
        let (sender, connection) = shaken.map_err(|error| ExchangeError::Connect(Box::new(error)))?;
        let link = Link { sender, connection: Box::pin(connection) };
        Ok(Lease { pool: Arc::clone(self), link, is_reused: false })
    }

    /// The most recently used connection, so that those beyond the present need grow old.
    fn take_latest(&self) -> Option<Link> {
        let mut idle = self.idle.lock();
        let latest = idle.pop_back()?;
        if latest.since.elapsed() < self.keep_for {
            return Some(latest.link);
        }
        // All before it are older still.
        idle.clear();
        None
    }

    fn put_back(&self, link: Link) {
        let since = Instant::now();
        let mut idle = self.idle.lock();
        let is_full = idle.len() >= self.keep;
        if is_full || idle.front().is_some_and(|oldest| since.duration_since(oldest.since) >= self.keep_for) {
            idle.pop_front();
        }
        idle.push_back(Idle { link, since });
    }
}

/// A connection that is ready for a request.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    link: Link,
    is_reused: bool,
}

impl Lease {
    /// Hands the request to the connection.
    pub(crate) fn send(self, request: Request<Full<Bytes>>) -> Exchange {
        let Lease { pool, mut link, is_reused } = self;
        let answer: Answer = Box::pin(link.sender.send_request(request));
        Exchange { pool, link: Some(link), is_over: false, state: State::Waiting(answer), is_reused }
    }
}

impl Link {
    /// Drives the connection without asking to be woken, and says whether it can take a request.
    fn is_alive(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let driven = tokio::task::unconstrained(std::future::poll_fn(|cx| self.connection.as_mut().poll(cx)));
        let mut driven = std::pin::pin!(driven);
        driven.as_mut().poll(&mut nobody).is_pending() && self.sender.is_ready()
    }
}

/// A request that has been handed to a connection.
pub(crate) struct Exchange {
    pool: Arc<Pool>,
    /// `None` once the connection is of no more use.
    link: Option<Link>,
    /// Whether no more HTTP is spoken on the connection: it has ended, or changed its protocol.
    is_over: bool,
    state: State,
    is_reused: bool,
}

/// A connection that speaks another protocol from now on.
pub(crate) struct Switched {
    pub(crate) stream: TokioIo<Stream>,
    /// What was read of it with the head of the answer.
    pub(crate) first: Bytes,
}

enum State {
    Waiting(Answer),
    Reading(Incoming),
    Done,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) status: http::StatusCode,
    pub(crate) headers: HeaderMap,
}

impl Exchange {
    /// Waits for the head of the answer.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<AnswerHead, ExchangeError>> {
        self.drive(cx);
        let State::Waiting(answer) = &mut self.state else { return Poll::Pending };
        let Poll::Ready(answer) = poll_quietly(answer.as_mut()) else { return Poll::Pending };
        match answer {
            Ok(answer) => {
                let (parts, body) = answer.into_parts();
                self.state = State::Reading(body);
                Poll::Ready(Ok(AnswerHead { status: parts.status, headers: parts.headers }))
            }
            Err(error) => {
                self.state = State::Done;
                self.link = None;
                let died_idle =
                    self.is_reused && (error.is_canceled() || error.is_incomplete_message() || error.is_closed());
                Poll::Ready(Err(if died_idle { ExchangeError::Stale } else { ExchangeError::Broken(error) }))
            }
        }
    }

    /// Waits for the next piece of the body; `None` at its end, when the connection has gone back to the pool.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ExchangeError>>> {
        loop {
            self.drive(cx);
            let State::Reading(body) = &mut self.state else { return Poll::Ready(None) };
            let mut nobody = Context::from_waker(Waker::noop());
            match Pin::new(body).poll_frame(&mut nobody) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    (self.state, self.link) = (State::Done, None);
                    return Poll::Ready(Some(Err(ExchangeError::Broken(error))));
                }
                Poll::Ready(None) => {
                    self.finish();
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// Whether all of the body has been read.
    pub(crate) fn is_done(&mut self) -> bool {
        if let State::Reading(body) = &self.state
            && body.is_end_stream()
        {
            self.finish();
        }
        matches!(self.state, State::Done)
    }

    /// Polls the connection, which alone is woken by the socket. The answer and its body are fed by it, so they need no
    /// waker of their own, and waking this very task for each piece would be waste.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = &mut self.link
            && !self.is_over
        {
            // How it ended reaches us through the answer or its body.
            self.is_over = link.connection.as_mut().poll(cx).is_ready();
        }
    }

    /// The connection itself, behind an answer that said it changes its protocol.
    pub(crate) async fn into_switched(mut self) -> Option<Switched> {
        std::future::poll_fn(|cx| {
            self.drive(cx);
            if self.is_over || self.link.is_none() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let http1::Parts { io, read_buf, .. } = Pin::into_inner(self.link?.connection).into_parts();
        Some(Switched { stream: TokioIo::new(io), first: read_buf })
    }

    fn finish(&mut self) {
        self.state = State::Done;
        if let Some(mut link) = self.link.take()
            && !self.is_over
            && link.is_alive()
        {
            self.pool.put_back(link);
        }
    }
}

/// Polls a future that is fed by the connection just driven, without being woken by it and outside the task's budget: a
/// poll refused for the budget's sake would otherwise be a wake-up lost.
fn poll_quietly<F: Future + Unpin>(future: F) -> Poll<F::Output> {
    let mut nobody = Context::from_waker(Waker::noop());
    Pin::new(&mut tokio::task::unconstrained(future)).poll(&mut nobody)
}

/// A request to a provider, in origin form.
pub(crate) fn request(method: Method, path: Uri, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = path;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    request
}

/// Whoever answers a call.
pub(crate) enum Upstream {
    /// A provider over HTTP.
    Http(Exchange),
    /// The built-in one.
    Sandbox(crate::sandbox::Play),
}

impl Upstream {
    /// Waits for the head of the answer.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<AnswerHead, ExchangeError>> {
        match self {
            Upstream::Http(exchange) => exchange.poll_head(cx),
            Upstream::Sandbox(play) => play.poll_head(cx).map(Ok),
        }
    }

    /// Waits for the next piece of the body; `None` at its end.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ExchangeError>>> {
        match self {
            Upstream::Http(exchange) => exchange.poll_chunk(cx),
            Upstream::Sandbox(play) => play.poll_chunk(cx).map(|piece| piece.map(Ok)),
        }
    }

    /// Whether all of the body has been read.
    pub(crate) fn is_done(&mut self) -> bool {
        match self {
            Upstream::Http(exchange) => exchange.is_done(),
            Upstream::Sandbox(play) => play.is_done(),
        }
    }
}

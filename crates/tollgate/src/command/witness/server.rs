//! The witness's HTTP: one path, `POST /add-checkpoint`, over HTTP/1.1 with keep-alive. Whoever wants TLS puts a proxy in front.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tollgate_lake::witness::{self, MAX_REQUEST_BYTES, Refusal, Witness};

use super::status;

/// Connections at the same time; further ones wait. A log needs one, twice a minute.
const MAX_CONNECTIONS: usize = 256;
/// How long the head of a request, and then its body, may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stopping server waits for requests in flight.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after a failed accept: the usual cause is that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const TEXT: &str = "text/plain; charset=utf-8";
/// Of the answer to a wrong old size.
const SIZE: &str = "text/x.tlog.size";

/// Serves until `stop`.
pub(super) async fn serve(listener: TcpListener, witness: Arc<Witness>, stop: impl Future<Output = ()>) {
    let (room, connections) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), TaskTracker::new());
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let next = async {
            // Nobody closes the semaphore.
            let place = Arc::clone(&room).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            next = next => next,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let witness = Arc::clone(&witness);
        let service = service_fn(move |request| answer(Arc::clone(&witness), request));
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
        let connection = graceful.watch(server.serve_connection(TokioIo::new(socket), service));
        connections.spawn(async move {
            // An error here is a caller that hung up or fell silent.
            let _ = connection.await;
            drop(place);
        });
    }
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests in flight did not end in time and are broken off");
    }
}

async fn answer(witness: Arc<Witness>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/add-checkpoint" {
        return Ok(reply(status::NO_SUCH_PATH, TEXT, "a witness has `/add-checkpoint` and nothing else\n"));
    }
    if request.method() != Method::POST {
        let mut reply = reply(status::NO_SUCH_METHOD, TEXT, "a checkpoint is sent with POST\n");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Ok(reply);
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect();
    let body = match tokio::time::timeout(READ_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Ok(reply(status::TOO_LARGE, TEXT, format!("a request has at most {MAX_REQUEST_BYTES} bytes\n")));
        }
        // Whoever broke off does not read this.
        Ok(Err(_)) | Err(_) => return Ok(reply(status::TOO_SLOW, TEXT, "the request did not come to its end\n")),
    };
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let asked = body.clone();
    // It waits for the disk, and for requests about the same log.
    let answered = tokio::task::spawn_blocking(move || witness.add_checkpoint(&asked, now_s)).await;
    Ok(match answered {
        Ok(Ok(cosignature)) => {
            tracing::info!(checkpoint = %subject(&body), "cosigned `{}`", subject(&body));
            reply(status::COSIGNED, TEXT, cosignature)
        }
        Ok(Err(refusal)) => refuse(&refusal, &body),
        Err(error) => {
            tracing::error!(%error, "a request could not be answered; nothing was cosigned");
            reply(status::DEFECT, TEXT, "the witness failed; nothing was cosigned\n")
        }
    })
}

fn refuse(refusal: &Refusal, request: &Bytes) -> Response<Full<Bytes>> {
    let said = witness::described(refusal);
    match refusal {
        // The log's own signature is on it: that makes it evidence, so it is logged as it came.
        Refusal::Contradiction { .. } | Refusal::Inconsistent { .. } => {
            let checkpoint = note_of(request);
            tracing::warn!(checkpoint, "`{}` was not cosigned: {said}", subject(request));
        }
        Refusal::Disk(_) | Refusal::Note(_) => tracing::error!("`{}` was not cosigned: {said}", subject(request)),
        Refusal::Conflict { .. } => tracing::info!("`{}` was not cosigned: {said}", subject(request)),
        // Anybody can send these.
        Refusal::Malformed { .. } | Refusal::UnknownLog { .. } | Refusal::Signature { .. } => {
            tracing::debug!("a request was refused: {said}");
        }
    }
    match refusal {
        Refusal::Conflict { size, .. } | Refusal::Contradiction { size, .. } => {
            reply(status::of(refusal), SIZE, format!("{size}\n"))
        }
        _ => reply(status::of(refusal), TEXT, format!("{refusal}\n")),
    }
}

/// The checkpoint of a request that was found well-formed.
fn note_of(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    text.split_once("\n\n").map(|(_, note)| note.to_owned()).unwrap_or_default()
}

/// Origin and size of the same.
fn subject(request: &[u8]) -> String {
    let note = note_of(request);
    let mut lines = note.lines();
    format!("{} {}", lines.next().unwrap_or_default(), lines.next().unwrap_or_default())
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

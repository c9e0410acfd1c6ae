//! Sockets. Accepts connections up to a cap, speaks HTTP/1.1 and HTTP/2 on them, drops those that send nothing or read
//! nothing, and brings all of them to an end at shutdown. What is said on them is [`crate::endpoint`]'s.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::Request;
use http::header::UPGRADE;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Gateway;
use crate::endpoint;
use crate::socket::Socket;

/// How often a connection is looked after. One on which nothing was begun or taken for two rounds is dropped.
const ROUND: Duration = Duration::from_secs(30);
/// Pause after a failed accept: the usual cause is that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// The listener failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It has no address.
    #[error("the gateway's listener cannot be used")]
    Listener(#[source] io::Error),
}

/// Serves `listener` until `shutdown`, then brings everything to an end within `drain_timeout`.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    shutdown: CancellationToken,
    drain_timeout: Duration,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    tracing::info!(%address, "the gateway listens on {address}");
    accept(&gateway, &listener, &shutdown).await;
    drop(listener);
    gateway.set_ready(false);
    gateway.tasks.close();
    if tokio::time::timeout(drain_timeout, gateway.tasks.wait()).await.is_err() {
        let in_flight = gateway.stats().calls_in_flight;
        tracing::warn!(
            in_flight,
            "{in_flight} calls did not end within {} ms and are broken off",
            drain_timeout.as_millis()
        );
        gateway.abort.cancel();
        gateway.tasks.wait().await;
    }
    Ok(())
}

async fn accept(gateway: &Arc<Gateway>, listener: &TcpListener, shutdown: &CancellationToken) {
    let room = Arc::new(Semaphore::new(gateway.settings.limits.connections));
    let mut builder = auto::Builder::new(Spawner { tasks: gateway.tasks.clone(), abort: gateway.abort.clone() });
    builder.http1().pipeline_flush(false).half_close(false);
    builder.http2().max_concurrent_streams(MAX_STREAMS);
    let builder = Arc::new(builder);
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            next = next => next,
        };
        match (place, accepted) {
            (Ok(permit), Ok((stream, peer))) => {
                let place = Place::take(gateway, permit);
                let (gateway, builder) = (Arc::clone(gateway), Arc::clone(&builder));
                let tasks = gateway.tasks.clone();
                let connection = converse(gateway, builder, (stream, peer.ip()), shutdown.clone(), place);
                tasks.spawn(connection);
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            // Nobody closes the semaphore.
            (Err(_), _) => return,
        }
    }
}

/// Serves one connection.
async fn converse(
    gateway: Arc<Gateway>,
    builder: Arc<auto::Builder<Spawner>>,
    (stream, peer): (TcpStream, IpAddr),
    shutdown: CancellationToken,
    place: Place,
) {
    let _ = stream.set_nodelay(true);
    let pulse = Arc::new(Pulse::default());
    let socket = Socket::new(stream, Arc::clone(&gateway), Arc::clone(&pulse));
    let service = {
        let (gateway, pulse) = (Arc::clone(&gateway), Arc::clone(&pulse));
        service_fn(move |mut request: Request<Incoming>| {
            if request.headers().contains_key(UPGRADE) {
                // The connection may outlive HTTP.
                request.extensions_mut().insert(place.clone());
            }
            let presence = Presence::new(&pulse);
            let gateway = Arc::clone(&gateway);
            async move {
                let mut response = endpoint::answer(&gateway, request, peer).await;
                response.body_mut().accompany(presence);
                Ok::<_, Infallible>(response)
            }
        })
    };
    {
        let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(socket, service));
        let mut stop = std::pin::pin!(shutdown.cancelled());
        let mut abort = std::pin::pin!(gateway.abort.cancelled());
        let mut is_stopping = false;
        let mut round = std::pin::pin!(tokio::time::sleep(ROUND));
        poll_fn(|cx| {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended badly");
                }
                return Poll::Ready(());
            }
            if !is_stopping && stop.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
                // What that means for this connection shows when it is driven again.
                cx.waker().wake_by_ref();
            }
            if is_stopping && abort.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            while round.as_mut().poll(cx).is_ready() {
                if pulse.is_lost() {
                    tracing::debug!("a connection is dropped on which nothing happens");
                    return Poll::Ready(());
                }
                round.as_mut().reset(tokio::time::Instant::now() + ROUND);
            }
            Poll::Pending
        })
        .await;
    }
}

/// The place of one connection among those that there may be, held until it ends.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    gateway: Arc<Gateway>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn take(gateway: &Arc<Gateway>, permit: OwnedSemaphorePermit) -> Place {
        gateway.counters.connections.fetch_add(1, Ordering::Relaxed);
        Place { _held: Arc::new(Held { gateway: Arc::clone(gateway), _permit: permit }) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gateway.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Signs of life of one connection, looked at once a round instead of timed one by one.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Requests being answered.
    present: AtomicU32,
    /// A request began since the last round.
    began: AtomicBool,
    /// Bytes wait for the caller to take them, and none were taken since the last round.
    is_blocked: AtomicBool,
    /// The last round found nothing.
    was_quiet: AtomicBool,
}

impl Pulse {
    /// Notes whether the socket takes what is written to it.
    pub(crate) fn wrote(&self, is_blocked: bool) {
        if self.is_blocked.load(Ordering::Relaxed) != is_blocked {
            self.is_blocked.store(is_blocked, Ordering::Relaxed);
        }
    }

    /// Whether the connection has been quiet for two rounds.
    fn is_lost(&self) -> bool {
        let is_idle = self.present.load(Ordering::Relaxed) == 0 && !self.began.swap(false, Ordering::Relaxed);
        let is_quiet = is_idle || self.is_blocked.load(Ordering::Relaxed);
        self.was_quiet.swap(is_quiet, Ordering::Relaxed) && is_quiet
    }
}

/// A request that is being answered on a connection.
#[derive(Debug)]
pub(crate) struct Presence(Arc<Pulse>);

impl Presence {
    fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.present.fetch_add(1, Ordering::Relaxed);
        pulse.began.store(true, Ordering::Relaxed);
        Presence(Arc::clone(pulse))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.present.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs the streams of HTTP/2 connections as tasks the gateway waits for, and ends when time is up.
#[derive(Clone, Debug)]
struct Spawner {
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let abort = self.abort.clone();
        self.tasks.spawn(async move { abort.run_until_cancelled(stream).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_lost_after_two_quiet_rounds_and_not_while_it_is_answered() {
        let pulse = Arc::new(Pulse::default());
        assert!(!pulse.is_lost());
        assert!(pulse.is_lost());
        let presence = Presence::new(&pulse);
        assert!(!pulse.is_lost() && !pulse.is_lost());
        pulse.wrote(true);
        assert!(!pulse.is_lost());
        assert!(pulse.is_lost());
        pulse.wrote(false);
        drop(presence);
        assert!(!pulse.is_lost());
    }
}

//! The provider that every peer forwards to. The static one gives the same bytes to every request on a thread of its
//! own, or a stream to one that asks for it: whatever it costs is not the peer's. `tollgate mock-provider` can stand in for it where the wire format of a
//! real provider matters more than the last microsecond.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::message::Wire;
use crate::{beat, call};

/// Answers everything with the same chat completion, until dropped.
pub(crate) struct StaticUpstream {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StaticUpstream {
    /// Listens on a free port of the loopback.
    ///
    /// # Errors
    /// If the system gives no port or no thread.
    pub(crate) fn start() -> anyhow::Result<StaticUpstream> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("listening on the loopback")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("upstream".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(StaticUpstream { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StaticUpstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has printed why; its calls have failed.
            drop(thread.join());
        }
    }
}

async fn serve(listener: std::net::TcpListener) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let body = call::response_body();
    let answer: Arc<[u8]> =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
            .into();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(answer_all(stream, Arc::clone(&answer)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A connection that breaks is the caller's to report.
async fn answer_all(stream: TcpStream, answer: Arc<[u8]>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut wire = Wire::new(stream);
    while let Some(message) = wire.read().await? {
        if beat::asks_for_stream(&wire.body(&message)) {
            beat::answer(&mut wire.stream).await?;
        } else {
            wire.stream.write_all(&answer).await?;
        }
        if message.last {
            break;
        }
    }
    Ok(())
}

//! A provider that does what it is told, byte by byte: an HTTP server by hand, because a real one refuses to misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One thing to do with a request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Bytes),
    Wait(Duration),
    /// Until somebody calls [`Provider::go_on`], or the gateway hangs up.
    Pause,
    /// Break the connection without a farewell.
    Reset,
    /// End the connection.
    Close,
    Hang,
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: String,
}

type Script = Arc<dyn Fn(&Received) -> Vec<Step> + Send + Sync>;

/// How far a provider has come with all it was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Connections made to it.
    pub(crate) connections: usize,
    /// Pauses begun.
    pub(crate) pauses: usize,
    /// Pauses that ended because the gateway hung up.
    pub(crate) broken_off: usize,
    /// Answers given to their end.
    pub(crate) finished: usize,
}

/// A running provider.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    go_on: tokio::sync::Notify,
    progress: Mutex<Progress>,
}

impl Provider {
    pub(crate) async fn start(script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Script = Arc::new(script);
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            go_on: tokio::sync::Notify::new(),
            progress: Mutex::default(),
        });
        let served = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                served.progress.lock().connections += 1;
                tokio::spawn(converse(stream, Arc::clone(&script), Arc::clone(&served)));
            }
        });
        Provider { address, shared }
    }

    /// Always answers the same.
    pub(crate) async fn answering(steps: Vec<Step>) -> Provider {
        Provider::start(move |_| steps.clone()).await
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.progress().connections
    }

    pub(crate) fn progress(&self) -> Progress {
        *self.shared.progress.lock()
    }

    /// Waits until it has come as far as `far` says.
    pub(crate) async fn until(&self, far: impl Fn(Progress) -> bool) {
        let started = std::time::Instant::now();
        while !far(self.progress()) {
            assert!(started.elapsed() < Duration::from_secs(10), "the provider is stuck at {:?}", self.progress());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn go_on(&self) {
        self.shared.go_on.notify_one();
    }
}

async fn converse(mut stream: TcpStream, script: Script, shared: Arc<Shared>) -> Option<()> {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    loop {
        let request = read_request(&mut stream, &mut buffer).await?;
        shared.received.lock().push(request.clone());
        for step in script(&request) {
            match step {
                Step::Send(bytes) => stream.write_all(&bytes).await.ok()?,
                Step::Wait(wait) => tokio::time::sleep(wait).await,
                Step::Pause => pause(&mut stream, &shared).await?,
                Step::Reset => {
                    stream.set_zero_linger().unwrap();
                    return None;
                }
                Step::Close => return None,
                Step::Hang => std::future::pending().await,
            }
        }
        shared.progress.lock().finished += 1;
    }
}

/// `None` if the gateway hangs up meanwhile.
async fn pause(stream: &mut TcpStream, shared: &Shared) -> Option<()> {
    shared.progress.lock().pauses += 1;
    let mut piece = [0];
    tokio::select! {
        () = shared.go_on.notified() => Some(()),
        // Nothing but an end can come: nobody sends a second request before the first is answered.
        _ = stream.read(&mut piece) => {
            shared.progress.lock().broken_off += 1;
            None
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    let mut piece = [0; 65_536];
    let head_end = loop {
        if let Some(at) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            break at + 4;
        }
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        buffer.extend_from_slice(&piece[..read]);
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap().to_lowercase();
    let length =
        head.split("content-length: ").nth(1).map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    while buffer.len() < head_end + length {
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        buffer.extend_from_slice(&piece[..read]);
    }
    // Uploads are binary.
    let body = String::from_utf8_lossy(&buffer[head_end..head_end + length]).into_owned();
    buffer.drain(..head_end + length);
    Some(Received { head, body })
}

/// A whole answer.
pub(crate) fn respond(status: u16, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![Step::Send(format!("HTTP/1.1 {status} Text\r\n{headers}content-length: {length}\r\n\r\n{body}").into())]
}

/// A whole answer in JSON.
pub(crate) fn json(status: u16, body: &str) -> Vec<Step> {
    respond(status, "content-type: application/json\r\n", body)
}

/// The head of a stream of events.
pub(crate) fn stream_head() -> Step {
    stream_head_of("text/event-stream")
}

/// The head of a stream of another type.
pub(crate) fn stream_head_of(content_type: &str) -> Step {
    Step::Send(format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n").into())
}

/// A whole answer of any bytes.
pub(crate) fn bytes(content_type: &str, body: &[u8]) -> Vec<Step> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n", body.len());
    vec![Step::Send([head.as_bytes(), body].concat().into())]
}

/// One chunk of a chunked body.
pub(crate) fn chunk(piece: impl AsRef<[u8]>) -> Step {
    let piece = piece.as_ref();
    Step::Send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat().into())
}

/// The end of a chunked body.
pub(crate) fn end() -> Step {
    Step::Send("0\r\n\r\n".into())
}

/// An answer to a chat call in OpenAI's format: 1,000 tokens in, 100 out.
pub(crate) const CHAT: &str = r#"{"id":"c","object":"chat.completion","model":"small","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}"#;

/// The pieces of a stream in OpenAI's format that says `hello there`: 1,000 tokens in, 100 out.
pub(crate) const CHUNKS: [&str; 4] = [
    "data: {\"id\":\"c\",\"model\":\"small\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hello\"}}]}\n\n",
    "data: {\"id\":\"c\",\"model\":\"small\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" there\"},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"c\",\"model\":\"small\",\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":100,\"total_tokens\":1100}}\n\n",
    "data: [DONE]\n\n",
];

/// A message in Anthropic's format: 1,000 tokens in, 100 out.
pub(crate) const MESSAGE: &str = r#"{"id":"m","type":"message","role":"assistant","model":"small","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","usage":{"input_tokens":1000,"output_tokens":100}}"#;

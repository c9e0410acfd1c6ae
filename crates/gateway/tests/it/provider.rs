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
    /// Until somebody calls [`Provider::go_on`].
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

/// A running provider.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    go_on: Arc<tokio::sync::Notify>,
    connections: Arc<Mutex<usize>>,
}

impl Provider {
    pub(crate) async fn start(script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let go_on = Arc::new(tokio::sync::Notify::new());
        let connections = Arc::new(Mutex::new(0));
        let script: Script = Arc::new(script);
        let (seen, resume, opened) = (Arc::clone(&received), Arc::clone(&go_on), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *opened.lock() += 1;
                tokio::spawn(converse(stream, Arc::clone(&script), Arc::clone(&seen), Arc::clone(&resume)));
            }
        });
        Provider { address, received, go_on, connections }
    }

    /// Always answers the same.
    pub(crate) async fn answering(steps: Vec<Step>) -> Provider {
        Provider::start(move |_| steps.clone()).await
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock()
    }

    pub(crate) fn go_on(&self) {
        self.go_on.notify_one();
    }
}

async fn converse(
    mut stream: TcpStream,
    script: Script,
    received: Arc<Mutex<Vec<Received>>>,
    go_on: Arc<tokio::sync::Notify>,
) -> Option<()> {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    loop {
        let request = read_request(&mut stream, &mut buffer).await?;
        received.lock().push(request.clone());
        for step in script(&request) {
            match step {
                Step::Send(bytes) => stream.write_all(&bytes).await.ok()?,
                Step::Wait(wait) => tokio::time::sleep(wait).await,
                Step::Pause => go_on.notified().await,
                Step::Reset => {
                    stream.set_zero_linger().unwrap();
                    return None;
                }
                Step::Close => return None,
                Step::Hang => std::future::pending().await,
            }
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
    Step::Send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".into())
}

/// A whole answer of any bytes.
pub(crate) fn bytes(content_type: &str, body: &[u8]) -> Vec<Step> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n", body.len());
    vec![Step::Send([head.as_bytes(), body].concat().into())]
}

/// One chunk of a chunked body.
pub(crate) fn chunk(text: &str) -> Step {
    Step::Send(format!("{:x}\r\n{text}\r\n", text.len()).into())
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

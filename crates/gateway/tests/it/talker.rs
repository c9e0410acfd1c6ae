//! Both ends of a WebSocket, by hand: a provider that talks as it is told, and a caller who does what callers do.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate_provider::websocket::{FrameReader, Message, Sender, close_frame, text_frame};

use crate::harness::{Bench, KEY};

/// What one side hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Close(Option<u16>, String),
    /// The connection ended.
    End,
}

/// What a provider does when it hears something.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Say(String),
    /// As many texts of a megabyte.
    Flood(usize),
    Close(u16, &'static str),
    Drop,
    Raw(Vec<u8>),
}

type Script = Arc<dyn Fn(&str) -> Vec<Act> + Send + Sync>;

/// A provider with a Realtime API.
pub(crate) struct Talker {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    heard: Arc<Mutex<Vec<Heard>>>,
    sent: Arc<AtomicU64>,
}

struct Shared {
    handshake: String,
    script: Script,
    heads: Arc<Mutex<Vec<String>>>,
    heard: Arc<Mutex<Vec<Heard>>>,
    sent: Arc<AtomicU64>,
}

/// A provider's agreement; `more` are further header lines.
pub(crate) fn agreed(more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nx-request-id: req-1\r\n{more}\r\n"
    )
}

impl Talker {
    /// Answers every handshake with `handshake`, and then whatever is said as `script` says.
    pub(crate) async fn start(handshake: String, script: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Talker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, heard, sent) = (Arc::default(), Arc::default(), Arc::default());
        let talker = Talker { address, heads: Arc::clone(&heads), heard: Arc::clone(&heard), sent: Arc::clone(&sent) };
        let shared = Arc::new(Shared { handshake, script: Arc::new(script), heads, heard, sent });
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(talk(stream, Arc::clone(&shared)));
            }
        });
        talker
    }

    /// Heads of the handshakes so far, in small letters.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().clone()
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().clone()
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The last that was heard, once the conversation is over.
    pub(crate) async fn last(&self) -> Heard {
        let started = std::time::Instant::now();
        loop {
            let heard = self.heard();
            if let [.., before, Heard::End] = heard.as_slice() {
                return before.clone();
            }
            if heard == [Heard::End] {
                return Heard::End;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "the provider still hears: {heard:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut buffer = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        if let Some(at) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
            let rest = buffer.split_off(at + 4);
            return Some((String::from_utf8(buffer).unwrap(), rest));
        }
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        buffer.extend_from_slice(&piece[..read]);
    }
}

async fn talk(mut stream: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let (head, rest) = read_head(&mut stream).await?;
    shared.heads.lock().push(head.to_lowercase());
    stream.write_all(shared.handshake.as_bytes()).await.ok()?;
    if !shared.handshake.starts_with("HTTP/1.1 101") {
        return None;
    }
    let mut ear = Ear::new(Sender::Client, rest);
    act(&mut stream, &shared, (shared.script)("")).await?;
    loop {
        let heard = ear.hear(&mut stream).await;
        shared.heard.lock().push(heard.clone());
        match heard {
            Heard::Text(text) => act(&mut stream, &shared, (shared.script)(&text)).await?,
            Heard::Close(code, _) => {
                let _ = stream.write_all(&close_frame(Sender::Server, code.unwrap_or(1000), "")).await;
            }
            Heard::End => return None,
        }
    }
}

/// `None` if that is the end.
async fn act(stream: &mut TcpStream, shared: &Shared, acts: Vec<Act>) -> Option<()> {
    for act in acts {
        match act {
            Act::Say(text) => stream.write_all(&text_frame(Sender::Server, &text)).await.ok()?,
            Act::Flood(times) => {
                let frame = text_frame(Sender::Server, &"x".repeat(1_000_000));
                for _ in 0..times {
                    for piece in frame.chunks(65_536) {
                        stream.write_all(piece).await.ok()?;
                        shared.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    }
                }
            }
            Act::Close(code, why) => stream.write_all(&close_frame(Sender::Server, code, why)).await.ok()?,
            Act::Raw(bytes) => stream.write_all(&bytes).await.ok()?,
            Act::Drop => {
                shared.heard.lock().push(Heard::End);
                return None;
            }
        }
    }
    Some(())
}

/// Hears what the other side says.
struct Ear {
    frames: FrameReader,
    heard: VecDeque<Heard>,
    rest: Vec<u8>,
}

impl Ear {
    fn new(sender: Sender, rest: Vec<u8>) -> Ear {
        Ear { frames: FrameReader::new(sender, usize::MAX), heard: VecDeque::new(), rest }
    }

    async fn hear(&mut self, stream: &mut TcpStream) -> Heard {
        let mut piece = vec![0; 65_536];
        loop {
            let (frames, heard) = (&mut self.frames, &mut self.heard);
            let rest = std::mem::take(&mut self.rest);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            frames
                .push(&rest, |message| match message {
                    Message::Text(words) => heard.push_back(Heard::Text(text(words))),
                    Message::Binary(_) => {}
                    Message::Close(code, why) => heard.push_back(Heard::Close(code, text(why))),
                })
                .unwrap();
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            match stream.read(&mut piece).await {
                Ok(read @ 1..) => self.rest = piece[..read].to_vec(),
                _ => return Heard::End,
            }
        }
    }
}

/// A caller in a conversation.
pub(crate) struct Caller {
    pub(crate) stream: TcpStream,
    ear: Ear,
}

/// The head of a handshake for `path`; `more` are further header lines, the key among them.
pub(crate) fn asking(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: gateway\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

impl Caller {
    /// Asks for a conversation with `model`; the head of the answer, in small letters.
    pub(crate) async fn call(bench: &Bench, model: &str) -> (String, Caller) {
        let key = format!("authorization: Bearer {KEY}\r\n");
        Caller::ask(bench, &asking(&format!("/v1/realtime?model={model}"), &key)).await
    }

    pub(crate) async fn ask(bench: &Bench, request: &str) -> (String, Caller) {
        let mut stream = bench.raw().await;
        stream.set_nodelay(true).unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answered = tokio::time::timeout(Duration::from_secs(10), read_head(&mut stream)).await.unwrap();
        let (head, rest) = answered.expect("an answer");
        (head.to_lowercase(), Caller { stream, ear: Ear::new(Sender::Server, rest) })
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.stream.write_all(&text_frame(Sender::Client, text)).await.unwrap();
    }

    pub(crate) async fn close(&mut self, code: u16) {
        self.stream.write_all(&close_frame(Sender::Client, code, "bye")).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        let heard = self.ear.hear(&mut self.stream);
        tokio::time::timeout(Duration::from_secs(10), heard).await.expect("something is said")
    }

    /// The body of an answer that is no agreement.
    pub(crate) async fn rest_of_body(&mut self) -> String {
        let mut body = std::mem::take(&mut self.ear.rest);
        let mut piece = vec![0; 65_536];
        // It is small, and comes with its head or right behind it.
        while let Ok(Ok(read @ 1..)) =
            tokio::time::timeout(Duration::from_millis(100), self.stream.read(&mut piece)).await
        {
            body.extend_from_slice(&piece[..read]);
        }
        String::from_utf8(body).unwrap()
    }
}

//! The one call that every benchmark makes, and one connection that makes it again and again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::message::Wire;

/// The model asked for; it has a price in the catalogue, so that pricing is part of what is measured.
pub(crate) const MODEL: &str = "gpt-4o-mini";
/// Nothing here takes this long unless it hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A small chat completion: a prompt of about 150 bytes, not streamed.
fn request_body() -> String {
    let prompt = "Summarise the quarterly report for the supervisory board in three sentences: revenue, risks, and what \
                  the auditors asked for in their letter of the 12th.";
    serde_json::json!({"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": 64}).to_string()
}

/// The answer to it, about 350 bytes, as OpenAI would write it.
pub(crate) fn response_body() -> String {
    let answer = "Revenue rose by four per cent on stable margins. The auditors ask for evidence of who approved what.";
    serde_json::json!({
        "id": "chatcmpl-bench000000000000",
        "object": "chat.completion",
        "created": 1_767_225_600,
        "model": MODEL,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": answer},
            "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 41, "completion_tokens": 22, "total_tokens": 63},
    })
    .to_string()
}

/// Where to send the call, and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    /// Every header but the length, each line with its end.
    headers: Arc<str>,
    request: Arc<[u8]>,
}

impl Target {
    /// The call as `address` wants it, with the headers that a peer needs beside the usual ones.
    pub(crate) fn new(address: SocketAddr, headers: &[(&str, &str)]) -> Target {
        let mut lines = format!(
            "host: {address}\r\ncontent-type: application/json\r\naccept: application/json\r\n\
             user-agent: tollgate-benches\r\n"
        );
        for (name, value) in headers {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        Target { address, headers: lines.into(), request: Arc::default() }.carrying(&request_body())
    }

    /// The same with another body.
    pub(crate) fn carrying(&self, body: &str) -> Target {
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\n{}content-length: {}\r\n\r\n{body}",
            self.headers,
            body.len()
        );
        Target { address: self.address, headers: Arc::clone(&self.headers), request: request.into_bytes().into() }
    }

    /// Where it goes.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its bytes.
    pub(crate) fn request(&self) -> &[u8] {
        &self.request
    }

    /// Makes the call once, on a connection of its own, and looks at the answer.
    ///
    /// # Errors
    /// If the answer is not the chat completion that was asked for; its beginning is in the message.
    pub(crate) async fn probe(&self) -> anyhow::Result<()> {
        let mut connection = Connection::new(self);
        connection.call().await?;
        let answer = connection.wire.as_ref().map(Wire::text).unwrap_or_default();
        if !answer.contains("chat.completion") {
            bail!("the answer is no chat completion: {answer}");
        }
        Ok(())
    }
}

/// A connection that is kept for many calls.
pub(crate) struct Connection {
    target: Target,
    /// None before the first call and after one that failed.
    wire: Option<Wire>,
    /// Whether the server said that it closes the connection.
    closing: bool,
}

impl Connection {
    /// A connection that is opened by its first call.
    pub(crate) fn new(target: &Target) -> Connection {
        Connection { target: target.clone(), wire: None, closing: false }
    }

    /// Connects ahead of the first call.
    ///
    /// # Errors
    /// If nobody listens.
    pub(crate) async fn open(&mut self) -> anyhow::Result<()> {
        let stream = TcpStream::connect(self.target.address).await;
        let stream = stream.with_context(|| format!("connecting to `{}`", self.target.address))?;
        stream.set_nodelay(true)?;
        self.wire = Some(Wire::new(stream));
        self.closing = false;
        Ok(())
    }

    /// Makes the call. A connection that broke, or that the server closed, is replaced by the next call.
    ///
    /// # Errors
    /// If it was not answered with status 200.
    pub(crate) async fn call(&mut self) -> anyhow::Result<()> {
        if self.wire.is_none() || self.closing {
            self.open().await?;
        }
        // Taken out, so that whatever goes wrong from here on leaves no half-read connection behind.
        let mut wire = self.wire.take().context("the connection was not opened")?;
        let exchange = async {
            wire.stream.write_all(&self.target.request).await?;
            wire.read().await
        };
        let message = tokio::time::timeout(CALL_TIMEOUT, exchange).await.context("no answer in time")??;
        let message = message.context("the connection was closed instead of an answer")?;
        if wire.status() != Some(200) {
            bail!("answered with status {}: {:.300}", wire.status().unwrap_or_default(), wire.body(&message));
        }
        self.closing = message.last;
        self.wire = Some(wire);
        Ok(())
    }
}

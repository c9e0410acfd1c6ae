//! The sandbox at every path of the gateway's: what has a module of its own is sent there, and what is said in another
//! dialect's words is translated to where it is known.

use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Operation};

use super::ask::Ask;
use super::{
    MAX_CHOICES, SandboxReply, Scene, Script, headers, picture, prose, ranking, refusal, respond, sound, text, whole,
    write,
};
use crate::dialect::bedrock::invoke;
use crate::dialect::{Endpoint, RequestHead, parse};
use crate::failure;
use crate::translate::{self, Address, Asked, OnUnsupported};

/// A request as a provider receives it.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Its format.
    pub dialect: Dialect,
    /// What is asked for.
    pub operation: Operation,
    /// HTTP method.
    pub verb: &'a str,
    /// The part of the path that says what is to be done; see [`Endpoint::method`].
    pub method: &'a str,
    /// The model and the wish for a stream, where the path says them.
    pub address: Address<'a>,
    /// Header `content-type`; empty if there was none.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Sent<'a> {
    /// A request to `endpoint`.
    #[must_use]
    pub fn to(endpoint: &'a Endpoint, verb: &'a str, content_type: &'a str, body: &'a [u8]) -> Sent<'a> {
        let Endpoint { dialect, operation, .. } = *endpoint;
        Sent { dialect, operation, verb, method: &endpoint.method, address: endpoint.address(), content_type, body }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint {
            dialect: self.dialect,
            operation: self.operation,
            model: self.address.model.to_owned(),
            stream: self.address.stream,
            events: true,
            method: self.method.to_owned().into(),
        }
    }
}

/// A request of one of the operations beside chat, and what an answer to it is made of.
pub(super) struct Stage<'a> {
    pub(super) sent: &'a Sent<'a>,
    pub(super) script: &'a Script,
    pub(super) head: RequestHead,
    /// Unique to the call and the seed.
    pub(super) key: u64,
    /// The body, where it is JSON.
    pub(super) request: Value,
}

impl Stage<'_> {
    /// A text in the request's JSON; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.request.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The texts at `name`, be it one or a list.
    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        match self.request.get(name) {
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_str().or(item["text"].as_str()).unwrap_or_default()).collect()
            }
            Some(Value::String(text)) => vec![text],
            _ => Vec::new(),
        }
    }

    pub(super) fn whole(&self, body: &Value) -> SandboxReply {
        whole(self.sent.dialect, self.script, self.key, body.to_string().into_bytes())
    }

    pub(super) fn refuse(&self, message: impl Into<String>) -> SandboxReply {
        refusal(self.sent.dialect, self.script, self.key, "invalid_request", message.into())
    }

    /// An answer of another kind than JSON, in pieces.
    pub(super) fn pieces(&self, content_type: &str, pieces: Vec<Vec<u8>>) -> SandboxReply {
        let delay = |place| if place == 0 { self.script.ttft_ms } else { self.script.inter_chunk_ms };
        let frames = pieces.into_iter().enumerate().map(|(place, piece)| (delay(place), piece.into())).collect();
        let headers = headers(self.sent.dialect, self.script, self.key, content_type);
        SandboxReply { status: 200, headers, frames }
    }

    /// Events of a stream, each with its data.
    pub(super) fn events(&self, events: &[Value]) -> SandboxReply {
        let event = |data: &Value| format!("data: {data}\n\n").into_bytes();
        self.pieces("text/event-stream; charset=utf-8", events.iter().map(event).collect())
    }
}

/// Answers a request. The same `sent`, `script` and `seed` give the same reply, byte for byte.
#[must_use]
pub fn perform(sent: &Sent<'_>, script: &Script, seed: u64) -> SandboxReply {
    let endpoint = sent.endpoint();
    let known = |body: &[u8]| respond(sent.dialect, sent.operation, sent.address, body, script, seed);
    match sent.operation {
        Operation::Chat if endpoint.is_invoke() => return invoked(sent, script, seed),
        Operation::Embeddings if sent.dialect == Dialect::Gemini => return embedded(&endpoint, sent, script, seed),
        Operation::Chat | Operation::Models | Operation::Embeddings => return known(sent.body),
        _ => {}
    }
    let key = prose::mix(seed ^ prose::hash(sent.body) ^ prose::hash(sent.method.as_bytes()));
    let head = match parse(&endpoint, sent.content_type, sent.body) {
        Ok(head) => head,
        Err(error) => return refusal(sent.dialect, script, key, error.code(), error.to_string()),
    };
    let request = serde_json::from_slice(sent.body).unwrap_or_default();
    let stage = Stage { sent, script, head, key, request };
    match sent.operation {
        Operation::Completions => text::completion(&stage),
        Operation::Moderations => text::moderation(&stage),
        Operation::Rerank => ranking::ranking(&stage),
        Operation::Images => picture::pictures(&stage),
        Operation::Speech => sound::speech(&stage),
        Operation::Transcription | Operation::Translation => sound::transcript(&stage),
        Operation::CountTokens => counted(&endpoint, &stage),
        // Files and batches are something that has to be kept: see [`super::Storage`].
        Operation::Chat
        | Operation::Models
        | Operation::Embeddings
        | Operation::Realtime
        | Operation::Files
        | Operation::Batches => stage.refuse(format!("the sandbox has no operation `{}`", sent.operation)),
    }
}

/// Claude's Messages inside Amazon's envelope.
fn invoked(sent: &Sent<'_>, script: &Script, seed: u64) -> SandboxReply {
    let refuse = |message: String| refusal(Dialect::Bedrock, script, seed, "invalid_request", message);
    let messages = match invoke::messages(sent.body, sent.address.model, sent.address.stream) {
        Ok((messages, _)) => messages,
        Err(error) => return refuse(error.to_string()),
    };
    let mut reply = respond(Dialect::Anthropic, Operation::Chat, Address::default(), &messages, script, seed);
    if let Some(error) = failure::reported(reply.status, &reply.body()) {
        return refuse(error.message);
    }
    let kind = if sent.address.stream { "application/vnd.amazon.eventstream" } else { "application/json" };
    reply.headers = headers(Dialect::Bedrock, script, prose::mix(seed ^ prose::hash(sent.body)), kind);
    if sent.address.stream {
        let mut wrapper = invoke::Wrapper::default();
        reply.frames.iter_mut().for_each(|(_, piece)| *piece = wrapper.push(piece));
        reply.frames.retain(|(_, piece)| !piece.is_empty());
    }
    reply
}

/// Google's words for vectors, which the sandbox knows in OpenAI's.
fn embedded(endpoint: &Endpoint, sent: &Sent<'_>, script: &Script, seed: u64) -> SandboxReply {
    let refuse = |message: String| refusal(sent.dialect, script, seed, "invalid_request", message);
    let model = sent.address.model;
    let drop = OnUnsupported::Drop;
    let request = match translate::request_at(endpoint, Dialect::Openai, sent.body, model, false, drop) {
        Ok(request) => request.body,
        Err(error) => return refuse(error.to_string()),
    };
    let reply = respond(Dialect::Openai, Operation::Embeddings, Address::default(), &request, script, seed);
    match translate::answer_at(endpoint, Dialect::Openai, &reply.body(), &Asked::default()) {
        Ok(body) => whole(sent.dialect, script, prose::mix(seed), body.to_vec()),
        Err(error) => refuse(error.to_string()),
    }
}

/// A count of tokens: the same that the sandbox tells in an answer to the same conversation.
fn counted(endpoint: &Endpoint, stage: &Stage<'_>) -> SandboxReply {
    let Stage { sent, head, .. } = stage;
    let messages = if sent.dialect == Dialect::Anthropic {
        Ok(sent.body.to_vec())
    } else {
        let drop = OnUnsupported::Drop;
        let request = translate::request_at(endpoint, Dialect::Anthropic, sent.body, &head.model, false, drop);
        request.map(|request| request.body.to_vec())
    };
    let messages = match messages {
        Ok(messages) => messages,
        Err(error) => return stage.refuse(error.to_string()),
    };
    let ask = Ask::read(Operation::Chat, head.clone(), &messages);
    let count = json!({ "input_tokens": ask.prompt_tokens() }).to_string();
    if sent.dialect == Dialect::Anthropic {
        return whole(sent.dialect, stage.script, stage.key, count.into_bytes());
    }
    match translate::answer_at(endpoint, Dialect::Anthropic, &count.into(), &Asked::default()) {
        Ok(body) => whole(sent.dialect, stage.script, stage.key, body.to_vec()),
        Err(error) => stage.refuse(error.to_string()),
    }
}

/// Answers `ask` as often as it wants.
pub(super) fn written(scene: &Scene<'_>) -> Vec<super::Answer> {
    (0..scene.ask.head.choices.min(MAX_CHOICES)).map(|index| write(scene, index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{self, Observer};
    use crate::sandbox::Script;

    const FORM: &str = "multipart/form-data; boundary=b";

    fn sent(path: &str, content_type: &str, body: &[u8]) -> SandboxReply {
        let endpoint = Endpoint::of_post(path, "").unwrap();
        perform(&Sent::to(&endpoint, "POST", content_type, body), &Script::default(), 7)
    }

    fn form(fields: &[(&str, &str)]) -> String {
        let field = |(name, value): &(&str, &str)| {
            let file = if *name == "file" { "; filename=f" } else { "" };
            format!("--b\r\nContent-Disposition: form-data; name={name}{file}\r\n\r\n{value}\r\n")
        };
        format!("{}--b--\r\n", fields.iter().map(field).collect::<String>())
    }

    #[test]
    fn every_answer_is_one_that_can_be_read_and_the_same_for_the_same_call() {
        let upload = form(&[("file", "sound"), ("model", "m")]);
        let cases = [
            ("/v1/completions", "", r#"{"model":"m","prompt":"Once"}"#.to_owned()),
            ("/v1/moderations", "", r#"{"input":["a","kill"]}"#.to_owned()),
            ("/v1/images/generations", "", r#"{"model":"m","prompt":"a cat","n":2}"#.to_owned()),
            ("/v1/images/edits", FORM, form(&[("model", "m"), ("prompt", "a hat")])),
            ("/v1/images/variations", FORM, form(&[("file", "x")])),
            ("/v1/audio/transcriptions", FORM, upload.clone()),
            ("/v1/audio/translations", FORM, upload),
            ("/v2/rerank", "", r#"{"model":"m","query":"cat","documents":["dog","a cat"],"top_n":1}"#.to_owned()),
            (
                "/v1/messages/count_tokens",
                "",
                r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#.to_owned(),
            ),
            ("/v1beta/models/m:countTokens", "", r#"{"contents":[{"parts":[{"text":"Hi"}]}]}"#.to_owned()),
            ("/v1beta/models/m:embedContent", "", r#"{"content":{"parts":[{"text":"Hi"}]}}"#.to_owned()),
            ("/model/m/invoke", "", r#"{"max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#.to_owned()),
        ];
        for (path, content_type, body) in cases {
            let endpoint = Endpoint::of_post(path, "").unwrap();
            let reply = sent(path, content_type, body.as_bytes());
            assert_eq!(reply.status, 200, "{path}: {:?}", reply.body());
            assert_eq!(reply, sent(path, content_type, body.as_bytes()), "{path}");
            let told = observe::whole(endpoint.dialect, endpoint.operation, &reply.body());
            assert!(told.terminated && told.error.is_none(), "{path}: {:?}", reply.body());
        }
        let ranked: Value = serde_json::from_slice(
            &sent("/v1/rerank", "", br#"{"model":"m","query":"cat","documents":["dog","a cat"]}"#).body(),
        )
        .unwrap();
        assert_eq!(ranked["results"][0]["index"], 1, "{ranked}");
    }

    #[test]
    fn streams_end_with_their_usage() {
        let cases = [
            (
                "/v1/completions",
                "",
                r#"{"model":"m","prompt":"Once","stream":true,"stream_options":{"include_usage":true}}"#.to_owned(),
            ),
            ("/v1/images/generations", "", r#"{"model":"m","prompt":"a cat","stream":true}"#.to_owned()),
            ("/v1/audio/speech", "", r#"{"model":"m","input":"Hi","stream_format":"sse"}"#.to_owned()),
            ("/v1/audio/transcriptions", FORM, form(&[("file", "x"), ("model", "m"), ("stream", "true")])),
            (
                "/model/m/invoke-with-response-stream",
                "",
                r#"{"max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#.to_owned(),
            ),
        ];
        for (path, content_type, body) in cases {
            let endpoint = Endpoint::of_post(path, "").unwrap();
            let mut observer = Observer::new(endpoint.dialect, endpoint.operation, true);
            sent(path, content_type, body.as_bytes()).frames.iter().for_each(|(_, piece)| observer.push(piece));
            let told = observer.finish(true);
            assert!(told.terminated && told.usage.output_tokens.is_some_and(|tokens| tokens > 0), "{path}: {told:?}");
        }
    }

    #[test]
    fn what_it_cannot_play_is_refused_in_words() {
        for (path, body) in [
            ("/v1/audio/speech", r#"{"model":"m","input":"Hi","response_format":"flac"}"#),
            ("/v1/images/generations", r#"{"model":"m"}"#),
            ("/v1/rerank", r#"{"model":"m","query":"q"}"#),
            ("/v1/moderations", r#"{"model":"m"}"#),
            ("/model/m/invoke", r#"{"messages":[]}"#),
        ] {
            let reply = sent(path, "", body.as_bytes());
            assert_eq!(reply.status, 400, "{path}");
            assert!(failure::reported(400, &reply.body()).is_some_and(|error| !error.message.is_empty()), "{path}");
        }
    }
}

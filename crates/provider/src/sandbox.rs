//! A provider that is not there: it answers in either dialect, streaming or not, always the same to the same call. The
//! gateway's `sandbox` provider calls it in process, `tollgate mock-provider` puts HTTP around it. It is no model: its
//! answers are prose from templates that mention words of the prompt, its token counts are estimates, its prices made up.

mod anthropic;
mod ask;
mod embedding;
mod openai;
mod perform;
mod picture;
mod prose;
mod ranking;
mod sound;
mod storage;
mod text;
mod tool;

use bytes::Bytes;
use tollgate_interaction::{Dialect, Operation};

use crate::dialect::{ErrorKind, ErrorShape, ModelEntry, error_body, models_list, parse_head, parse_head_at};
use crate::translate::{self, Address, Asked, OnUnsupported, StreamTranslator};
use ask::Ask;
pub use perform::{Sent, perform};
pub use storage::{Moment, Storage};

/// Models the sandbox plays, in the order of their made-up prices; `unpriced` has none, to show what that does.
pub const MODELS: [&str; 6] = ["small", "medium", "large", "thinker", "embed", "unpriced"];

/// Most tokens the sandbox writes, whatever it is asked for.
const MAX_OUTPUT_TOKENS: u64 = 100_000;
/// Most answers (`n`) to one call.
const MAX_CHOICES: u64 = 16;

/// How the sandbox behaves for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Before the first byte of the answer. Milliseconds.
    pub ttft_ms: u64,
    /// Between two chunks of a stream. Milliseconds.
    pub inter_chunk_ms: u64,
    /// Tokens the answer has; `None` lets the prompt decide. A limit in the request still holds.
    pub output_tokens: Option<u64>,
    /// Tokens in each chunk of a stream, at least one.
    pub chunk_tokens: u64,
    /// Input tokens the provider claims to have read from its cache; at most the whole input.
    pub cached_input_tokens: u64,
    /// Whether to send the dialect's rate-limit headers.
    pub rate_limit_headers: bool,
    /// Goes into `created`. Seconds since 1970.
    pub created_at_s: i64,
}

impl Default for Script {
    /// No delays, an answer as long as the prompt suggests, one token in each chunk.
    fn default() -> Self {
        Script {
            ttft_ms: 0,
            inter_chunk_ms: 0,
            output_tokens: None,
            chunk_tokens: 1,
            cached_input_tokens: 0,
            rate_limit_headers: false,
            created_at_s: 0,
        }
    }
}

/// An answer and its timing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxReply {
    /// HTTP status.
    pub status: u16,
    /// Headers, `content-type` among them; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, in pieces, each with the milliseconds to wait before it is sent.
    pub frames: Vec<(u64, Bytes)>,
}

impl SandboxReply {
    /// The whole body, its timing forgotten.
    #[must_use]
    pub fn body(&self) -> Bytes {
        match self.frames.as_slice() {
            [(_, only)] => only.clone(),
            frames => frames.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect(),
        }
    }
}

/// What the model wrote, before it is put into a dialect's words.
struct Answer {
    /// Pieces of about one token each.
    tokens: Vec<String>,
    /// A call of a tool instead of text.
    call: Option<tool::Call>,
    /// Whether the caller's limit cut the answer short.
    cut: bool,
    /// Tokens spent before the first visible one.
    reasoning_tokens: u64,
}

impl Answer {
    fn text(&self) -> String {
        self.tokens.concat()
    }

    /// Tokens written, reasoning included.
    fn count(&self) -> u64 {
        let call = self.call.as_ref();
        let call = call.map_or(0, |call| estimate_tokens(&call.name) + estimate_tokens(&call.arguments));
        self.tokens.len() as u64 + call + self.reasoning_tokens
    }
}

/// Everything an answer is made of.
struct Scene<'a> {
    ask: &'a Ask,
    script: &'a Script,
    /// Unique to the call and the seed; names the answer.
    key: u64,
    input_tokens: u64,
    cached_tokens: u64,
}

/// Answers a request. The same `operation`, `body`, `script` and `seed` give the same reply, byte for byte.
#[must_use]
pub fn respond(
    dialect: Dialect,
    operation: Operation,
    address: Address<'_>,
    body: &[u8],
    script: &Script,
    seed: u64,
) -> SandboxReply {
    if operation == Operation::Chat && !matches!(dialect, Dialect::Openai | Dialect::Anthropic) {
        return translated(dialect, address, body, script, seed);
    }
    let key = prose::mix(seed ^ prose::hash(body));
    let refuse = |code: &str, message: String| refusal(dialect, script, key, code, message);
    if operation == Operation::Models {
        return whole(dialect, script, key, models(dialect, script));
    }
    let head = match parse_head(dialect, operation, body) {
        Ok(head) => head,
        Err(error) => return refuse(error.code(), error.to_string()),
    };
    if dialect == Dialect::Anthropic && head.max_output_tokens.is_none() {
        return refuse("missing_field", "max_tokens: Field required".to_owned());
    }
    let ask = Ask::read(operation, head, body);
    let input_tokens = ask.prompt_tokens();
    let cached_tokens = script.cached_input_tokens.min(input_tokens);
    let scene = Scene { ask: &ask, script, key, input_tokens, cached_tokens };
    if operation == Operation::Embeddings {
        return whole(dialect, script, key, embedding::body(&scene));
    }
    let choices = (0..ask.head.choices.min(MAX_CHOICES)).map(|index| write(&scene, index)).collect::<Vec<_>>();
    match (dialect, ask.head.stream) {
        (Dialect::Openai, false) => whole(dialect, script, key, openai::body(&scene, &choices)),
        (Dialect::Openai, true) => stream(dialect, script, key, openai::events(&scene, &choices)),
        (_, stream_asked) => {
            let Some(answer) = choices.first() else { return whole(dialect, script, key, Vec::new()) };
            match stream_asked {
                false => whole(dialect, script, key, anthropic::body(&scene, answer)),
                true => stream(dialect, script, key, anthropic::events(&scene, answer)),
            }
        }
    }
}

/// Plays a provider of a dialect that the sandbox knows only through translation.
fn translated(dialect: Dialect, address: Address<'_>, body: &[u8], script: &Script, seed: u64) -> SandboxReply {
    let key = prose::mix(seed ^ prose::hash(body));
    let refuse = |code: &str, message: String| refusal(dialect, script, key, code, message);
    let head = match parse_head_at(dialect, Operation::Chat, address, body) {
        Ok(head) => head,
        Err(error) => return refuse(error.code(), error.to_string()),
    };
    let request = translate::request(dialect, Dialect::Openai, body, address, &head.model, OnUnsupported::Drop);
    let request = match request {
        Ok(request) => request.body,
        Err(error) => return refuse("invalid_request", error.to_string()),
    };
    let reply = respond(Dialect::Openai, Operation::Chat, Address::default(), &request, script, seed);
    let asked = Asked {
        id: format!("{key:016x}"),
        created_at_s: script.created_at_s,
        model: head.model,
        include_usage: true,
        events: true,
        base64: false,
    };
    let headers = headers(dialect, script, key, content_type(dialect, head.stream));
    let frames = match head.stream {
        false => match translate::answer(Dialect::Openai, dialect, &reply.body(), &asked) {
            Ok(body) => vec![(script.ttft_ms, body)],
            Err(error) => return refuse("sandbox", error.to_string()),
        },
        true => {
            let mut translator = StreamTranslator::new(Dialect::Openai, dialect, asked);
            let pieces = reply.frames.into_iter().map(|(delay, piece)| (delay, translator.push(&piece)));
            let mut frames: Vec<_> = pieces.collect();
            frames.push((0, translator.finish()));
            frames.retain(|(_, piece)| !piece.is_empty());
            frames
        }
    };
    SandboxReply { status: 200, headers, frames }
}

fn content_type(dialect: Dialect, stream: bool) -> &'static str {
    match (dialect, stream) {
        (_, false) => "application/json",
        (Dialect::Bedrock, true) => "application/vnd.amazon.eventstream",
        (_, true) => "text/event-stream; charset=utf-8",
    }
}

/// Tokens in `text`, roughly: four characters each, as for English.
fn estimate_tokens(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(4)
}

fn write(scene: &Scene<'_>, choice: u64) -> Answer {
    let ask = scene.ask;
    let seed = prose::mix(scene.key.wrapping_add(choice));
    if let Some(call) = tool::call(ask, seed) {
        return Answer { tokens: Vec::new(), call: Some(call), cut: false, reasoning_tokens: 0 };
    }
    let limit = ask.head.max_output_tokens.unwrap_or(MAX_OUTPUT_TOKENS).min(MAX_OUTPUT_TOKENS);
    let thinks = ask.head.model.ends_with("thinker");
    let wanted = scene.script.output_tokens.unwrap_or_else(|| prose::length(ask, seed)).min(MAX_OUTPUT_TOKENS);
    let reasoning_tokens = if thinks { wanted.min(limit / 2) } else { 0 };
    let room = limit - reasoning_tokens;
    let wanted = match scene.script.output_tokens {
        Some(_) => wanted - reasoning_tokens,
        None => wanted,
    };
    let whole = prose::tokens(ask, seed, wanted);
    let cut = whole.len() as u64 > room;
    let tokens = whole.into_iter().take(usize::try_from(room).unwrap_or(usize::MAX)).collect();
    Answer { tokens, call: None, cut, reasoning_tokens }
}

fn models(dialect: Dialect, script: &Script) -> Vec<u8> {
    let entry = |id: &&str| ModelEntry {
        id: (*id).to_owned(),
        owned_by: "sandbox".to_owned(),
        created_at_s: script.created_at_s,
    };
    models_list(dialect, &MODELS.iter().map(entry).collect::<Vec<_>>())
}

fn refusal(dialect: Dialect, script: &Script, key: u64, code: &str, message: String) -> SandboxReply {
    let error = ErrorShape {
        code: code.to_owned(),
        message,
        param: None,
        kind: ErrorKind::Invalid,
        http_status: 400,
        interaction_id: String::new(),
    };
    SandboxReply { status: 400, ..whole(dialect, script, key, error_body(dialect, &error)) }
}

fn whole(dialect: Dialect, script: &Script, key: u64, body: Vec<u8>) -> SandboxReply {
    let headers = headers(dialect, script, key, "application/json");
    SandboxReply { status: 200, headers, frames: vec![(script.ttft_ms, Bytes::from(body))] }
}

fn stream(dialect: Dialect, script: &Script, key: u64, events: Vec<Vec<u8>>) -> SandboxReply {
    let headers = headers(dialect, script, key, "text/event-stream; charset=utf-8");
    let delay = |place| if place == 0 { script.ttft_ms } else { script.inter_chunk_ms };
    let frames = events.into_iter().enumerate().map(|(place, event)| (delay(place), Bytes::from(event))).collect();
    SandboxReply { status: 200, headers, frames }
}

/// The headers both providers document, with figures that never run out.
fn headers(dialect: Dialect, script: &Script, key: u64, content_type: &str) -> Vec<(String, String)> {
    let mut headers = vec![("content-type".to_owned(), content_type.to_owned())];
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    match dialect {
        Dialect::Openai | Dialect::Responses => add("x-request-id", format!("req_{key:032x}")),
        Dialect::Anthropic => add("request-id", format!("req_sandbox{key:016x}")),
        Dialect::Bedrock => add("x-amzn-requestid", format!("{key:032x}")),
        Dialect::Gemini => {}
    }
    if !script.rate_limit_headers {
        return headers;
    }
    match dialect {
        // Neither tells its limits.
        Dialect::Gemini | Dialect::Bedrock => {}
        Dialect::Openai | Dialect::Responses => {
            for (name, limit, remaining, reset) in
                [("requests", 10_000, 9_999, "6ms"), ("tokens", 2_000_000, 1_999_000, "30ms")]
            {
                add(&format!("x-ratelimit-limit-{name}"), limit.to_string());
                add(&format!("x-ratelimit-remaining-{name}"), remaining.to_string());
                add(&format!("x-ratelimit-reset-{name}"), reset.to_owned());
            }
        }
        Dialect::Anthropic => {
            for (name, limit, remaining) in
                [("requests", 4_000, 3_999), ("input-tokens", 400_000, 399_000), ("output-tokens", 80_000, 79_000)]
            {
                add(&format!("anthropic-ratelimit-{name}-limit"), limit.to_string());
                add(&format!("anthropic-ratelimit-{name}-remaining"), remaining.to_string());
                add(&format!("anthropic-ratelimit-{name}-reset"), "2030-01-01T00:00:00Z".to_owned());
            }
        }
    }
    headers
}

#[cfg(test)]
mod tests;

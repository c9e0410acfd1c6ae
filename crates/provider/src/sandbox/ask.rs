//! What the sandbox reads of a request: enough to answer as if it had understood.

use serde_json::Value;
use tollgate_interaction::Operation;

use super::estimate_tokens;
use crate::dialect::RequestHead;
use crate::transcript::{self, Message};

/// Tokens a provider adds around each message.
const TOKENS_PER_MESSAGE: u64 = 3;
/// Words shorter than this say nothing about a prompt.
const MIN_WORD_CHARS: usize = 4;
/// Words longer than this are codes or addresses.
const MAX_WORD_CHARS: usize = 24;
/// Words of the prompt that an answer may mention.
const MAX_WORDS: usize = 12;
/// Frequent words that would read oddly as a subject.
const PLAIN_WORDS: [&str; 38] = [
    "about", "after", "again", "also", "answer", "because", "been", "before", "could", "does", "every", "explain",
    "from", "give", "have", "help", "into", "just", "like", "make", "more", "most", "need", "please", "should", "some",
    "tell", "than", "that", "their", "them", "then", "there", "these", "they", "this", "what", "write",
];

/// A tool on offer.
pub(super) struct Tool {
    pub(super) name: String,
    /// JSON schema of its arguments.
    pub(super) schema: Value,
    /// Whether it is given a text instead.
    pub(super) takes_text: bool,
}

/// What the caller says about tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Use one if it fits.
    Auto,
    /// Use one.
    Any,
    /// Use this one.
    Named(String),
    /// Use none.
    Never,
}

/// A request, read.
pub(super) struct Ask {
    pub(super) head: RequestHead,
    pub(super) operation: Operation,
    pub(super) messages: Vec<Message>,
    pub(super) tools: Vec<Tool>,
    pub(super) choice: Choice,
    /// Whether the last message is what a tool answered.
    pub(super) is_answered: bool,
    /// The JSON schema the answer must fit, `{}` for any object, if the caller wants JSON.
    pub(super) json_schema: Option<Value>,
    /// For embeddings: how long each vector is, if the caller said.
    pub(super) dimensions: Option<usize>,
    /// For embeddings: whether vectors are wanted as base64.
    pub(super) base64: bool,
    /// Words of the last message that an answer can mention.
    pub(super) words: Vec<String>,
}

impl Ask {
    /// Reads `body`, whose head has been read and is sound.
    pub(super) fn read(operation: Operation, head: RequestHead, body: &[u8]) -> Ask {
        let request = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let messages = transcript::messages(body, b"");
        let last = messages.iter().rfind(|message| message.role == "user");
        let words = last.map(|message| words(&message.content)).unwrap_or_default();
        let dimensions = request.get("dimensions").and_then(Value::as_u64).and_then(|many| usize::try_from(many).ok());
        Ask {
            tools: tools(&request),
            choice: choice(&request),
            is_answered: is_answered(&request),
            json_schema: json_schema(&request),
            base64: request.get("encoding_format").and_then(Value::as_str) == Some("base64"),
            dimensions,
            head,
            operation,
            messages,
            words,
        }
    }

    /// Tokens of the whole input, estimated.
    pub(super) fn prompt_tokens(&self) -> u64 {
        let around = if self.operation == Operation::Chat { TOKENS_PER_MESSAGE } else { 0 };
        let messages: u64 = self.messages.iter().map(|message| estimate_tokens(&message.content) + around).sum();
        let tools: u64 = self.tools.iter().map(|tool| estimate_tokens(&tool.schema.to_string())).sum();
        (messages + tools).max(1)
    }
}

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

/// Tools in either dialect: OpenAI wraps them in `function` or `custom`, Anthropic calls the schema `input_schema`.
fn tools(request: &Value) -> Vec<Tool> {
    let Some(tools) = field(request, "tools").as_array() else { return Vec::new() };
    let tool = |tool: &Value| {
        let custom = tool.get("custom");
        let function = custom.or_else(|| tool.get("function")).unwrap_or(tool);
        let schema = function.get("parameters").or_else(|| function.get("input_schema")).cloned().unwrap_or_default();
        Some(Tool { name: field(function, "name").as_str()?.to_owned(), schema, takes_text: custom.is_some() })
    };
    tools.iter().filter_map(tool).collect()
}

fn choice(request: &Value) -> Choice {
    let choice = field(request, "tool_choice");
    let kind = choice.as_str().or_else(|| field(choice, "type").as_str());
    let named = choice.get("function").or_else(|| choice.get("custom")).unwrap_or(choice);
    let name = field(named, "name").as_str();
    match (kind, name) {
        (Some("function" | "custom" | "tool"), Some(name)) => Choice::Named(name.to_owned()),
        (Some("required" | "any"), _) => Choice::Any,
        (Some("none"), _) => Choice::Never,
        _ => Choice::Auto,
    }
}

/// OpenAI has a role for what a tool answered, Anthropic a block in a user's message.
fn is_answered(request: &Value) -> bool {
    let Some(last) = field(request, "messages").as_array().and_then(|messages| messages.last()) else { return false };
    let mut blocks = field(last, "content").as_array().into_iter().flatten();
    last["role"] == "tool" || blocks.any(|block| block["type"] == "tool_result")
}

/// In either dialect: OpenAI's `response_format`, Anthropic's `output_config.format` and, as it was called before,
/// `output_format`.
fn json_schema(request: &Value) -> Option<Value> {
    let anthropic = request.get("output_format").unwrap_or_else(|| field(field(request, "output_config"), "format"));
    let format = request.get("response_format").unwrap_or(anthropic);
    match field(format, "type").as_str()? {
        "json_object" => Some(Value::Object(serde_json::Map::new())),
        "json_schema" => Some(field(format.get("json_schema").unwrap_or(format), "schema").clone()),
        _ => None,
    }
}

/// The longer words of `text`, each once, in their order and as they are written there.
fn words(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in text.split(|character: char| !character.is_alphanumeric()) {
        let lower = word.to_lowercase();
        let length = word.chars().count();
        let says_something =
            (MIN_WORD_CHARS..=MAX_WORD_CHARS).contains(&length) && !PLAIN_WORDS.contains(&lower.as_str());
        if says_something && !found.iter().any(|known| known.to_lowercase() == lower) {
            found.push(word.to_owned());
        }
        if found.len() == MAX_WORDS {
            break;
        }
    }
    found
}

//! One turn of a conversation in no provider's words: what every dialect's request, answer and stream are read into and
//! written from when the caller's dialect is not the provider's. It holds what at least two dialects can say; what only
//! one can say is kept beside it ([`Request::others`], [`Content::Native`]) so that it is refused or dropped by name, and
//! never lost unsaid. A call whose dialect is the provider's never comes here: its bytes pass as they are.

mod custom;
mod search;
mod signature;
mod tier;

pub use custom::{CustomTool, Grammar};
pub use search::WebSearch;
use serde_json::Value;
pub use tier::Tier;
use tollgate_interaction::{Dialect, Usage};

use crate::observe::StreamError;

/// A value and where the caller wrote it, as a path in the body: `response_format`, `messages[2].content[0]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Said<T> {
    /// What was said.
    pub value: T,
    /// Where.
    pub at: String,
}

impl<T> Said<T> {
    /// `value`, as it stood at `at`.
    pub fn new(value: T, at: impl Into<String>) -> Self {
        Said { value, at: at.into() }
    }
}

/// What a caller asks of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Name of the model at the provider.
    pub model: String,
    /// Whether the answer shall come as a stream.
    pub stream: bool,
    /// What the model is told before the conversation, in order.
    pub system: Vec<Part>,
    /// The conversation, oldest first. No message is empty.
    pub messages: Vec<Message>,
    /// Functions the model may call.
    pub tools: Vec<Tool>,
    /// Tools it may give a text to.
    pub custom_tools: Vec<CustomTool>,
    /// Whether it may search the web by itself.
    pub web_search: Option<Said<WebSearch>>,
    /// Whether it must, may or may not call one.
    pub tool_choice: Option<Said<ToolChoice>>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<Said<bool>>,
    /// What form the answer shall have, if not free text.
    pub format: Option<Said<Format>>,
    /// Most tokens the answer may have, reasoning included.
    pub max_output_tokens: Option<Said<u64>>,
    /// Texts that end the answer.
    pub stop: Option<Said<Vec<String>>>,
    /// Randomness, 0 to 2.
    pub temperature: Option<Said<f64>>,
    /// Nucleus sampling, 0 to 1.
    pub top_p: Option<Said<f64>>,
    /// Sampling from the `k` likeliest tokens.
    pub top_k: Option<Said<u64>>,
    /// For answers that can be repeated.
    pub seed: Option<Said<i64>>,
    /// -2 to 2.
    pub frequency_penalty: Option<Said<f64>>,
    /// -2 to 2.
    pub presence_penalty: Option<Said<f64>>,
    /// Answers asked for, if not one.
    pub choices: Option<Said<u64>>,
    /// How many alternatives shall be told for each token with its log probability; zero for the token alone.
    pub logprobs: Option<Said<u64>>,
    /// How hard the model shall think.
    pub reasoning: Option<Said<Reasoning>>,
    /// End user, as the caller names it. A word to the gateway and to the provider's abuse detection, not to the model.
    pub user: Option<Said<String>>,
    /// Tier of service asked for, in the caller's dialect's words.
    pub service_tier: Option<Said<String>>,
    /// Fields that tell the provider how to keep, label or route the call and change nothing about the answer, such as
    /// `metadata` or `store`, and wishes that nobody promises to grant, such as `verbosity`: never a reason to refuse; listed
    /// as dropped where they cannot be passed on (ADR 0007).
    pub hints: Vec<Said<Value>>,
    /// Fields with meaning that nothing above can hold. Refused, or dropped by name.
    pub others: Vec<Said<Value>>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The caller, or the end user behind it. Results of tools stand here too.
    User,
    /// The model.
    Assistant,
    /// An instruction in the middle of the conversation.
    System,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks. Two messages of one role may follow each other; a writer merges them where its dialect wants turns to
    /// alternate.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
    /// Name of the speaker, if there is one.
    pub name: Option<Said<String>>,
}

/// A piece of content.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub content: Content,
    /// Where the caller wrote it; empty in an answer.
    pub at: String,
    /// The caller wants everything up to and including this part cached.
    pub cache: Option<CacheFor>,
}

impl Part {
    /// A part without a cache marker.
    pub fn new(content: Content, at: impl Into<String>) -> Self {
        Part { content, at: at.into(), cache: None }
    }
}

/// How long a cached prefix is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheFor {
    /// The default of the dialects that have markers.
    FiveMinutes,
    /// The long one.
    OneHour,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Words.
    Text {
        /// The words.
        text: String,
        /// Where the model says it found them, each in the answering dialect's own form.
        citations: Vec<Citation>,
    },
    /// The model's refusal, where the dialect keeps it apart from text.
    Refusal(String),
    /// A picture.
    Image {
        /// Where it is.
        source: Source,
        /// `low`, `high` or `auto`, if the dialect has such a word.
        detail: Option<String>,
    },
    /// Speech or sound.
    Audio(Source),
    /// Moving pictures.
    Video(Source),
    /// A document, such as a PDF.
    Document {
        /// Where it is.
        source: Source,
        /// File name or title.
        name: Option<String>,
        /// What the caller says about it, apart from its content.
        context: Option<String>,
        /// Whether the model shall cite it.
        citations: bool,
    },
    /// The model calls a tool.
    ToolCall(ToolCall),
    /// The model calls a tool that takes free text, which stands in place of the arguments.
    CustomCall(ToolCall),
    /// What a tool answered.
    ToolResult(ToolResult),
    /// The model's thoughts, as far as they are shown.
    Thinking {
        /// The words; may be empty where only the signature is given.
        text: String,
        /// What lets the provider recognise them in the next turn.
        signature: Option<Signature>,
    },
    /// Thoughts that only the provider can read.
    Redacted(Signature),
    /// Something that only `dialect` can say, as it stood.
    Native {
        /// Whose it is.
        dialect: Dialect,
        /// Its type in that dialect, for messages: `server_tool_use`.
        kind: String,
        /// As it stood.
        value: Value,
    },
}

impl Content {
    /// Words without citations.
    pub fn text(text: impl Into<String>) -> Self {
        Content::Text { text: text.into(), citations: Vec::new() }
    }

    /// What it is, for messages: `an image`.
    #[must_use]
    pub fn described(&self) -> String {
        let word = match self {
            Content::Text { .. } => "text",
            Content::Refusal(_) => "a refusal",
            Content::Image { .. } => "an image",
            Content::Audio(_) => "audio",
            Content::Video(_) => "video",
            Content::Document { .. } => "a document",
            Content::ToolCall(_) => "a tool call",
            Content::CustomCall(_) => "a call of a custom tool",
            Content::ToolResult(_) => "a tool's result",
            Content::Thinking { .. } => "the model's thinking",
            Content::Redacted(_) => "encrypted thinking",
            Content::Native { kind, .. } => return format!("`{kind}`"),
        };
        word.to_owned()
    }
}

/// Where the bytes of a picture, sound or document are.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// In the request.
    Base64 {
        /// Media type, such as `image/png`.
        media_type: String,
        /// Standard base64, with padding.
        base64: String,
    },
    /// Text in the request: documents only.
    Text(String),
    /// Somewhere the provider can fetch it: an `https:`, `gs:` or `s3:` URL.
    Url {
        /// The address.
        url: String,
        /// Media type, if the dialect says it.
        media_type: Option<String>,
    },
    /// A file the caller has uploaded to the provider of `dialect`.
    File {
        /// Whose file.
        dialect: Dialect,
        /// Its id there.
        id: String,
    },
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Links the call with its result. Empty in an answer whose provider gave none; whoever translates it makes one up.
    pub id: String,
    /// Name of the function.
    pub name: String,
    /// The arguments as JSON text. May be no JSON at all: models err.
    pub arguments: String,
    /// What lets the provider recognise the thought behind the call, where the signature stands at the call.
    pub signature: Option<Signature>,
}

/// The result of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// Id of the call.
    pub id: String,
    /// Name of the function, where the dialect says it or the reader found it at the call.
    pub name: Option<String>,
    /// What the tool answered: text, pictures, documents.
    pub parts: Vec<Part>,
    /// Whether the tool failed.
    pub is_error: Option<bool>,
}

/// An opaque text by which the provider that gave it recognises its own thoughts. Worthless to any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Whose it is. Claude's signatures hold wherever Claude runs, so they are [`Dialect::Anthropic`]'s on Bedrock too.
    pub of: Dialect,
    /// As the provider gave it.
    pub text: String,
}

/// Where the model says it found something.
#[derive(Clone, Debug, PartialEq)]
pub struct Citation {
    /// Address of the source, if it is on the web.
    pub url: Option<String>,
    /// Title of the source.
    pub title: Option<String>,
    /// The cited words.
    pub quote: Option<String>,
    /// Part of the answer it belongs to, as (start, end) in characters, if the dialect says it.
    pub span: Option<(u64, u64)>,
    /// Index of the cited document among those sent, and (start, end) in it, in characters or pages.
    pub document: Option<CitedDocument>,
}

/// A place in a document that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CitedDocument {
    /// Which, from 0.
    pub index: u64,
    /// From and to.
    pub place: CitedPlace,
}

/// A place within a document; the end is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CitedPlace {
    /// Characters, from 0.
    Chars(u64, u64),
    /// Pages, from 1.
    Pages(u64, u64),
    /// Blocks of content, from 0.
    Blocks(u64, u64),
}

/// A function the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON schema of its arguments; an object with no properties where the caller gave none.
    pub parameters: Value,
    /// Whether the provider shall see to it that the arguments fit the schema.
    pub strict: Option<bool>,
    /// The caller wants everything up to and including this tool cached.
    pub cache: Option<CacheFor>,
    /// Where the caller wrote it.
    pub at: String,
}

/// Whether the model must, may or may not call a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it sees fit.
    Auto,
    /// No.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// Form of the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Some JSON object.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema {
        /// Its name; empty if the dialect has none.
        name: String,
        /// What it is.
        description: Option<String>,
        /// The schema.
        schema: Value,
        /// Whether the provider shall see to it.
        strict: Option<bool>,
    },
}

/// How hard the model shall think.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// In words.
    pub effort: Option<Effort>,
    /// In tokens.
    pub budget_tokens: Option<u64>,
    /// Whether to think at all; `None` leaves it to effort and budget.
    pub enabled: Option<bool>,
    /// Whether the thoughts, or a summary of them, shall be in the answer.
    pub shown: Option<bool>,
}

impl Reasoning {
    /// Whether the model shall not think at all.
    #[must_use]
    pub fn is_off(&self) -> bool {
        match self.enabled {
            Some(enabled) => !enabled,
            None => self.effort == Some(Effort::None) || self.budget_tokens == Some(0),
        }
    }
}

/// How hard, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as possible.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// More.
    ExtraHigh,
    /// As much as possible.
    Max,
}

impl Effort {
    /// Every effort with the word that OpenAI and Anthropic use for it.
    pub const WORDS: [(Effort, &'static str); 7] = [
        (Effort::None, "none"),
        (Effort::Minimal, "minimal"),
        (Effort::Low, "low"),
        (Effort::Medium, "medium"),
        (Effort::High, "high"),
        (Effort::ExtraHigh, "xhigh"),
        (Effort::Max, "max"),
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Effort::WORDS.iter().find(|(effort, _)| *effort == self).map_or("medium", |(_, word)| word)
    }

    /// The effort of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Effort> {
        Effort::WORDS.iter().find(|(_, known)| *known == word).map(|(effort, _)| *effort)
    }

    /// Tokens of thinking that stand for it where a dialect counts. As Google translates OpenAI's words:
    /// <https://ai.google.dev/gemini-api/docs/openai#thinking> (2026-11-26).
    #[must_use]
    pub fn budget_tokens(self) -> u64 {
        match self {
            Effort::None => 0,
            Effort::Minimal | Effort::Low => 1_024,
            Effort::Medium => 8_192,
            Effort::High | Effort::ExtraHigh | Effort::Max => 24_576,
        }
    }

    /// Whether [`Effort::budget_tokens`] is its own, so that nothing is lost where a dialect counts. The others take the
    /// number of their neighbour.
    #[must_use]
    pub fn is_counted(self) -> bool {
        Effort::of_budget(self.budget_tokens()) == self
    }

    /// The word that stands for a number of tokens where a dialect has words.
    #[must_use]
    pub fn of_budget(tokens: u64) -> Effort {
        match tokens {
            0 => Effort::None,
            1..=1_024 => Effort::Low,
            1_025..=8_192 => Effort::Medium,
            _ => Effort::High,
        }
    }
}

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's id of it.
    pub id: Option<String>,
    /// When it was made, if the provider says it. Seconds since 1970.
    pub created_at_s: Option<i64>,
    /// Model, as the provider names it.
    pub model: String,
    /// One per answer asked for, by index.
    pub choices: Vec<Choice>,
    /// Tokens, normalised: input includes cached tokens, output includes reasoning.
    pub usage: Option<Usage>,
    /// Tier that served it, if it is one that another dialect could name.
    pub service_tier: Option<Tier>,
}

/// One of the answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// What was written, in order.
    pub parts: Vec<Part>,
    /// Why it ended.
    pub stop: Option<Stop>,
    /// Log probabilities of its tokens, in order.
    pub logprobs: Vec<TokenLogprob>,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All was said.
    End,
    /// At the limit on its length, the caller's or the model's.
    Length,
    /// At one of the caller's stop texts; which one, if the dialect says it.
    StopText(Option<String>),
    /// To wait for the results of tools.
    ToolUse,
    /// A filter took it away.
    Filtered,
    /// The model, or a filter in front of it, refused.
    Refused,
    /// The provider paused a long turn of its own tools: send it back to go on.
    Paused,
    /// The context window was full.
    ContextFull,
    /// The model called a tool in a way that is no call: whatever it wrote is not an answer.
    MalformedCall,
    /// The model wrote what its provider could not read, or failed on the way.
    MalformedAnswer,
    /// In words of the provider's that fit none of these. The answer may not be whole.
    Other(String),
}

/// A token of the answer and how likely it was.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// Its text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// Its bytes, if the dialect says them.
    pub bytes: Option<Vec<u8>>,
    /// Others that were likely, as (text, logarithm, bytes).
    pub top: Vec<(String, f64, Option<Vec<u8>>)>,
}

/// What a stream says, piece by piece. Parts are numbered from 0 within their choice, in the order they begin, and each
/// is begun before it is added to and ended before the choice stops; two parts of a choice may be open at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer begins. Comes once, first.
    Begin {
        /// The provider's id of it.
        id: Option<String>,
        /// Model, as the provider names it.
        model: String,
        /// Tokens known so far: those of the input, where the dialect tells them first.
        usage: Option<Usage>,
    },
    /// A part begins. Its text, arguments and thoughts are empty and come in pieces.
    BeginPart {
        /// Index of the answer.
        choice: usize,
        /// Index of the part.
        part: usize,
        /// What begins; for what comes whole, such as [`Content::Native`] or [`Content::Redacted`], all of it.
        content: Content,
    },
    /// A part goes on.
    Continue {
        /// Index of the answer.
        choice: usize,
        /// Index of the part.
        part: usize,
        /// What is added.
        delta: Delta,
    },
    /// A part is whole.
    EndPart {
        /// Index of the answer.
        choice: usize,
        /// Index of the part.
        part: usize,
    },
    /// Log probabilities of the tokens just written.
    Logprobs {
        /// Index of the answer.
        choice: usize,
        /// In order.
        logprobs: Vec<TokenLogprob>,
    },
    /// An answer has ended.
    Stop {
        /// Index of the answer.
        choice: usize,
        /// Why.
        stop: Stop,
    },
    /// Tokens, so far or in all; a later one replaces an earlier one.
    Usage(Usage),
    /// The tier that served it. Comes straight after the beginning where it is known by then.
    ServiceTier(Tier),
    /// All has been said. Comes once, last, unless there was an error.
    End,
    /// The provider reports an error instead of an end.
    Error(StreamError),
}

/// What is added to a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// To text or to a refusal.
    Text(String),
    /// To a tool call's arguments, or to the text that a custom tool is given.
    Arguments(String),
    /// To thoughts.
    Thinking(String),
    /// The signature of thoughts or of a tool call, whole.
    Signature(Signature),
    /// A citation of the text.
    Citation(Citation),
}

//! What a request asks for, as far as its method and path say it.

use std::borrow::Cow;

use tollgate_interaction::{Dialect, Operation};

use crate::translate::Address;

const MODELS: &str = "/v1/models";
const GEMINI_MODELS: &str = "/v1beta/models";

/// Paths below `/v1/` that say everything but the model.
const FIXED: [(&str, Dialect, Operation); 15] = [
    ("chat/completions", Dialect::Openai, Operation::Chat),
    ("messages", Dialect::Anthropic, Operation::Chat),
    ("responses", Dialect::Responses, Operation::Chat),
    ("embeddings", Dialect::Openai, Operation::Embeddings),
    ("completions", Dialect::Openai, Operation::Completions),
    ("moderations", Dialect::Openai, Operation::Moderations),
    ("images/generations", Dialect::Openai, Operation::Images),
    ("images/edits", Dialect::Openai, Operation::Images),
    ("images/variations", Dialect::Openai, Operation::Images),
    ("audio/speech", Dialect::Openai, Operation::Speech),
    ("audio/transcriptions", Dialect::Openai, Operation::Transcription),
    ("audio/translations", Dialect::Openai, Operation::Translation),
    ("rerank", Dialect::Openai, Operation::Rerank),
    ("messages/count_tokens", Dialect::Anthropic, Operation::CountTokens),
    ("responses/input_tokens", Dialect::Responses, Operation::CountTokens),
];

/// Cohere's second version of it, which others have taken over.
const RERANK_V2: &str = "/v2/rerank";

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Format of the request.
    pub dialect: Dialect,
    /// What is asked for.
    pub operation: Operation,
    /// The model, where the path and not the body names it; else empty.
    pub model: String,
    /// Whether a stream is wanted, where the path and not the body says it.
    pub stream: bool,
    /// Whether a stream is one of server-sent events rather than a JSON array (Gemini).
    pub events: bool,
    /// The part of the path that says what is to be done, in the words of the dialect: `images/edits`, `embedContent`,
    /// `invoke`, `v2/rerank`. For files and batches it goes on to the end of the query.
    pub method: Cow<'static, str>,
}

impl Endpoint {
    fn new(dialect: Dialect, operation: Operation, method: impl Into<Cow<'static, str>>) -> Endpoint {
        Endpoint { dialect, operation, model: String::new(), stream: false, events: true, method: method.into() }
    }

    /// What a POST to `path` asks for.
    #[must_use]
    pub fn of_post(path: &str, query: &str) -> Option<Endpoint> {
        if path == RERANK_V2 {
            return Some(Endpoint::new(Dialect::Openai, Operation::Rerank, "v2/rerank"));
        }
        let fixed = path.strip_prefix("/v1/").and_then(|path| FIXED.iter().find(|(fixed, ..)| *fixed == path));
        if let Some((method, dialect, operation)) = fixed {
            return Some(Endpoint::new(*dialect, *operation, *method));
        }
        Endpoint::of_amazon(path)
            .or_else(|| Endpoint::of_google(path, query))
            .or_else(|| Endpoint::of_stored("POST", path, query))
    }

    /// What a GET of `path` asks for. The list of models has one path in several formats: `dialect` is that of the caller.
    #[must_use]
    pub fn of_get(path: &str, query: &str, dialect: Dialect) -> Option<Endpoint> {
        if let Some(stored) = Endpoint::of_stored("GET", path, query) {
            return Some(stored);
        }
        let below = |root: &str| path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let (dialect, name) = match below(GEMINI_MODELS) {
            Some(name) => (Dialect::Gemini, name),
            None => (dialect, below(MODELS)?),
        };
        let model = unescape(name.trim_matches('/'));
        Some(Endpoint { model, ..Endpoint::new(dialect, Operation::Models, "models") })
    }

    /// What a DELETE of `path` asks for.
    #[must_use]
    pub fn of_delete(path: &str, query: &str) -> Option<Endpoint> {
        Endpoint::of_stored("DELETE", path, query)
    }

    /// Files and batches, which a provider keeps: the path goes on to it as it is, so its parts may hold nothing that a
    /// server could take for a step to another place.
    fn of_stored(verb: &str, path: &str, query: &str) -> Option<Endpoint> {
        let is_id = |part: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !part.is_empty() && part.bytes().all(is_plain) && part.bytes().any(|byte| byte != b'.')
        };
        let method = path.strip_prefix("/v1/")?;
        let (dialect, kept) = match method.strip_prefix("messages/") {
            Some(kept) => (Dialect::Anthropic, kept),
            None => (Dialect::Openai, method),
        };
        let mut parts = kept.split('/');
        let (kind, id, what) = (parts.next()?, parts.next(), parts.next());
        if parts.next().is_some() || id.is_some_and(|id| !is_id(id)) {
            return None;
        }
        let operation = match (verb, dialect, kind, id, what) {
            ("GET" | "POST", Dialect::Openai, "files", None, None)
            | ("GET" | "DELETE", Dialect::Openai, "files", Some(_), None)
            | ("GET", Dialect::Openai, "files", Some(_), Some("content")) => Operation::Files,
            ("GET" | "POST", _, "batches", None, None)
            | ("GET", _, "batches", Some(_), None)
            | ("POST", _, "batches", Some(_), Some("cancel"))
            | ("GET", Dialect::Anthropic, "batches", Some(_), Some("results"))
            | ("DELETE", Dialect::Anthropic, "batches", Some(_), None) => Operation::Batches,
            _ => return None,
        };
        let method = if query.is_empty() { method.to_owned() } else { format!("{method}?{query}") };
        Some(Endpoint::new(dialect, operation, method))
    }

    /// The same request from a caller of `dialect`: OpenAI and Anthropic keep files at the same paths.
    #[must_use]
    pub fn for_caller(self, dialect: Dialect) -> Endpoint {
        if self.operation == Operation::Files { Endpoint { dialect, ..self } } else { self }
    }

    fn of_amazon(path: &str) -> Option<Endpoint> {
        let (model, method) = path.strip_prefix("/model/")?.rsplit_once('/')?;
        let (operation, method, stream) = match method {
            "converse" => (Operation::Chat, "converse", false),
            "converse-stream" => (Operation::Chat, "converse-stream", true),
            "invoke" => (Operation::Chat, INVOKE, false),
            "invoke-with-response-stream" => (Operation::Chat, INVOKE_STREAM, true),
            "count-tokens" => (Operation::CountTokens, "count-tokens", false),
            _ => return None,
        };
        Some(Endpoint { model: unescape(model), stream, ..Endpoint::new(Dialect::Bedrock, operation, method) })
    }

    fn of_google(path: &str, query: &str) -> Option<Endpoint> {
        let rest = path.strip_prefix(GEMINI_MODELS).or_else(|| path.strip_prefix(MODELS))?;
        let (model, method) = rest.strip_prefix('/')?.rsplit_once(':')?;
        let (operation, method, stream) = match method {
            "generateContent" => (Operation::Chat, "generateContent", false),
            "streamGenerateContent" => (Operation::Chat, "streamGenerateContent", true),
            "countTokens" => (Operation::CountTokens, "countTokens", false),
            "embedContent" => (Operation::Embeddings, "embedContent", false),
            "batchEmbedContents" => (Operation::Embeddings, "batchEmbedContents", false),
            _ => return None,
        };
        let events = query.split('&').any(|parameter| parameter == "alt=sse");
        Some(Endpoint { model: unescape(model), stream, events, ..Endpoint::new(Dialect::Gemini, operation, method) })
    }

    /// What the path says where the body does not.
    #[must_use]
    pub fn address(&self) -> Address<'_> {
        Address { model: &self.model, stream: self.stream }
    }

    /// Whether the body is a model's own, such as Claude's Messages, and only its envelope is Amazon's (InvokeModel).
    #[must_use]
    pub fn is_invoke(&self) -> bool {
        self.dialect == Dialect::Bedrock && matches!(self.method.as_ref(), INVOKE | INVOKE_STREAM)
    }

    /// The part of the path that says what is to be done, where the provider speaks `spoken`; `stream` says whether the
    /// caller wants one.
    #[must_use]
    pub fn method_at(&self, spoken: Dialect, stream: bool) -> &str {
        if spoken == self.dialect { &self.method } else { usual_method(spoken, self.operation, stream) }
    }

    /// Whether an answer holds what a caller once stored, or what became of it, which may be anything.
    #[must_use]
    pub fn is_stored_content(&self) -> bool {
        let path = self.method.split('?').next().unwrap_or_default();
        match self.operation {
            Operation::Files => path.ends_with("/content"),
            Operation::Batches => path.ends_with("/results"),
            _ => false,
        }
    }
}

const INVOKE: &str = "invoke";
const INVOKE_STREAM: &str = "invoke-with-response-stream";

/// What a provider of dialect `spoken` calls an operation that a caller of another dialect asks for.
fn usual_method(spoken: Dialect, operation: Operation, stream: bool) -> &'static str {
    match (spoken, operation, stream) {
        (Dialect::Gemini, Operation::Embeddings, _) => "batchEmbedContents",
        (Dialect::Gemini, Operation::CountTokens, _) => "countTokens",
        (Dialect::Gemini, _, false) => "generateContent",
        (Dialect::Gemini, _, true) => "streamGenerateContent",
        (Dialect::Bedrock, Operation::CountTokens, _) => "count-tokens",
        (Dialect::Bedrock, _, false) => "converse",
        (Dialect::Bedrock, _, true) => "converse-stream",
        (Dialect::Openai | Dialect::Anthropic | Dialect::Responses, ..) => {
            let fixed = FIXED.iter().find(|(_, dialect, of)| *dialect == spoken && *of == operation);
            fixed.map_or("chat/completions", |(method, ..)| method)
        }
    }
}

/// Undoes percent-encoding (RFC 3986 §2.1); client libraries encode the slash of `provider/model`.
#[must_use]
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_name_the_model_and_whether_a_stream_is_wanted() {
        let found = |path: &str, query: &str| {
            let Endpoint { dialect, model, stream, events, .. } = Endpoint::of_post(path, query)?;
            Some((dialect, model, stream, events))
        };
        let small = || "sandbox/small".to_owned();
        assert_eq!(
            found("/v1beta/models/sandbox/small:streamGenerateContent", "alt=sse&x=1"),
            Some((Dialect::Gemini, small(), true, true))
        );
        assert_eq!(
            found("/v1beta/models/sandbox%2Fsmall:generateContent", ""),
            Some((Dialect::Gemini, small(), false, false))
        );
        assert_eq!(found("/model/sandbox%2Fsmall/converse", ""), Some((Dialect::Bedrock, small(), false, true)));
        assert_eq!(
            found("/model/eu.anthropic.claude-v1%3A0/converse-stream", ""),
            Some((Dialect::Bedrock, "eu.anthropic.claude-v1:0".to_owned(), true, true))
        );
        assert_eq!(found("/v1beta/models/small:tuneModel", ""), None);
    }

    #[test]
    fn the_list_of_models_and_one_of_them_have_a_path() {
        let model = |path: &str| Endpoint::of_get(path, "", Dialect::Openai).map(|endpoint| endpoint.model);
        assert_eq!(model("/v1/models"), Some(String::new()));
        assert_eq!(model("/v1/models/sandbox%2Fsmall"), Some("sandbox/small".to_owned()));
        assert_eq!(model("/v1beta/models/"), Some(String::new()));
        assert_eq!(model("/v1/modelsx"), None);
    }

    #[test]
    fn every_operation_has_its_paths() {
        let posted = |path: &str| Endpoint::of_post(path, "").map(|found| (found.operation, found.method.into_owned()));
        for (method, _, operation) in FIXED {
            assert_eq!(posted(&format!("/v1/{method}")), Some((operation, method.to_owned())));
        }
        assert_eq!(posted("/v2/rerank"), Some((Operation::Rerank, "v2/rerank".to_owned())));
        assert_eq!(posted("/v1beta/models/m:embedContent").map(|(of, _)| of), Some(Operation::Embeddings));
        assert_eq!(posted("/model/m/count-tokens").map(|(of, _)| of), Some(Operation::CountTokens));
        let invoke = Endpoint::of_post("/model/m/invoke-with-response-stream", "").unwrap();
        assert!(invoke.is_invoke() && invoke.stream);
    }

    #[test]
    fn stored_files_are_reached_by_plain_names_only() {
        let found = |verb: &str, path: &str| Endpoint::of_stored(verb, path, "").map(|found| found.operation);
        for (verb, path) in [
            ("POST", "/v1/files"),
            ("GET", "/v1/files"),
            ("GET", "/v1/files/file-a.b_1"),
            ("DELETE", "/v1/files/file-1"),
            ("GET", "/v1/files/file-1/content"),
        ] {
            assert_eq!(found(verb, path), Some(Operation::Files), "{verb} {path}");
        }
        for (verb, path) in [("POST", "/v1/batches"), ("GET", "/v1/batches/b"), ("POST", "/v1/batches/b/cancel")] {
            assert_eq!(found(verb, path), Some(Operation::Batches), "{verb} {path}");
        }
        for (verb, path) in [
            ("GET", "/v1/files/.."),
            ("GET", "/v1/files/../content"),
            ("GET", "/v1/files/%2e%2e"),
            ("GET", "/v1/files/"),
            ("DELETE", "/v1/files"),
            ("DELETE", "/v1/batches/b"),
            ("GET", "/v1/files/a/b/c"),
        ] {
            assert_eq!(found(verb, path), None, "{verb} {path}");
        }
        for (verb, path) in [("GET", "/v1/messages/batches/b/results"), ("DELETE", "/v1/messages/batches/b")] {
            assert_eq!(found(verb, path), Some(Operation::Batches), "{verb} {path}");
        }
        assert_eq!(found("GET", "/v1/messages/files"), None);
        let listed = Endpoint::of_get("/v1/files", "limit=2&after=a", Dialect::Openai).unwrap();
        assert_eq!(listed.method, "files?limit=2&after=a");
        assert!(!listed.is_stored_content());
        assert!(Endpoint::of_get("/v1/files/f/content", "", Dialect::Openai).unwrap().is_stored_content());
    }

    #[test]
    fn what_only_looks_encoded_stays_as_it_is() {
        assert_eq!(unescape("100%/%2"), "100%/%2");
    }
}

//! What a request asks for, as far as its method and path say it.

use tollgate_interaction::{Dialect, Operation};

use crate::translate::Address;

const MODELS: &str = "/v1/models";
const GEMINI_MODELS: &str = "/v1beta/models";

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
}

impl Endpoint {
    fn new(dialect: Dialect, operation: Operation) -> Endpoint {
        Endpoint { dialect, operation, model: String::new(), stream: false, events: true }
    }

    /// What a POST to `path` asks for.
    #[must_use]
    pub fn of_post(path: &str, query: &str) -> Option<Endpoint> {
        match path {
            "/v1/chat/completions" => Some(Endpoint::new(Dialect::Openai, Operation::Chat)),
            "/v1/messages" => Some(Endpoint::new(Dialect::Anthropic, Operation::Chat)),
            "/v1/responses" => Some(Endpoint::new(Dialect::Responses, Operation::Chat)),
            "/v1/embeddings" => Some(Endpoint::new(Dialect::Openai, Operation::Embeddings)),
            path => Endpoint::of_amazon(path).or_else(|| Endpoint::of_google(path, query)),
        }
    }

    /// What a GET of `path` asks for. The list of models has one path in several formats: `dialect` is that of the caller.
    #[must_use]
    pub fn of_get(path: &str, dialect: Dialect) -> Option<Endpoint> {
        let below = |root: &str| path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let (dialect, name) = match below(GEMINI_MODELS) {
            Some(name) => (Dialect::Gemini, name),
            None => (dialect, below(MODELS)?),
        };
        let model = unescape(name.trim_matches('/'));
        Some(Endpoint { model, ..Endpoint::new(dialect, Operation::Models) })
    }

    fn of_amazon(path: &str) -> Option<Endpoint> {
        let (model, method) = path.strip_prefix("/model/")?.rsplit_once('/')?;
        let stream = match method {
            "converse" => false,
            "converse-stream" => true,
            _ => return None,
        };
        Some(Endpoint { model: unescape(model), stream, ..Endpoint::new(Dialect::Bedrock, Operation::Chat) })
    }

    fn of_google(path: &str, query: &str) -> Option<Endpoint> {
        let rest = path.strip_prefix(GEMINI_MODELS).or_else(|| path.strip_prefix(MODELS))?;
        let (model, method) = rest.strip_prefix('/')?.rsplit_once(':')?;
        let stream = match method {
            "generateContent" => false,
            "streamGenerateContent" => true,
            _ => return None,
        };
        let events = query.split('&').any(|parameter| parameter == "alt=sse");
        Some(Endpoint { model: unescape(model), stream, events, ..Endpoint::new(Dialect::Gemini, Operation::Chat) })
    }

    /// What the path says where the body does not.
    #[must_use]
    pub fn address(&self) -> Address<'_> {
        Address { model: &self.model, stream: self.stream }
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
    fn the_list_of_models_is_told_from_one_of_them() {
        let model = |path: &str| Endpoint::of_get(path, Dialect::Openai).map(|endpoint| endpoint.model);
        assert_eq!(model("/v1/models"), Some(String::new()));
        assert_eq!(model("/v1/models/sandbox%2Fsmall"), Some("sandbox/small".to_owned()));
        assert_eq!(model("/v1beta/models/"), Some(String::new()));
        assert_eq!(model("/v1/modelsx"), None);
    }

    #[test]
    fn what_only_looks_encoded_stays_as_it_is() {
        assert_eq!(unescape("100%/%2"), "100%/%2");
    }
}

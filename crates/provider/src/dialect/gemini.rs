//! Google's Gemini API in its own words, as it is spoken at the Gemini API and on Vertex AI: the bodies of errors and of the
//! list of models, and what its requests, answers and streams have in common. The model is named in the path.
//! Sources: <https://ai.google.dev/api/generate-content>, <https://ai.google.dev/api/models>,
//! <https://google.aip.dev/193>, and the types of the official client `google-genai` 3.6.1 (2026-11-26).

pub(crate) mod answer;
pub(crate) mod array;
mod bytes;
mod proto;
pub(crate) mod request;
#[cfg(test)]
mod scenarios;
mod schema;
pub(crate) mod stream;
mod usage;

use serde_json::{Map, Value, json};
use tollgate_interaction::Dialect;

pub(crate) use answer::billed_searches;
pub(crate) use array::ArrayFrames;
pub(crate) use usage::GeminiUsage;

use super::{ErrorKind, ErrorShape, ModelEntry};
use crate::chat::Signature;

/// The canonical status of a kind of error, as <https://google.aip.dev/193> maps them to HTTP.
fn status(error: &ErrorShape) -> &'static str {
    match error.kind {
        ErrorKind::Invalid | ErrorKind::TooLarge => "INVALID_ARGUMENT",
        ErrorKind::Unauthenticated => "UNAUTHENTICATED",
        ErrorKind::Denied => "PERMISSION_DENIED",
        ErrorKind::NotFound => "NOT_FOUND",
        ErrorKind::Throttled | ErrorKind::Spent => "RESOURCE_EXHAUSTED",
        ErrorKind::Late => "DEADLINE_EXCEEDED",
        ErrorKind::Unavailable | ErrorKind::Overloaded => "UNAVAILABLE",
        ErrorKind::Internal => "INTERNAL",
    }
}

pub(super) fn error_body(error: &ErrorShape) -> Vec<u8> {
    let mut details = vec![json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        // Google wants reasons in capitals.
        "reason": error.code.to_ascii_uppercase(),
        "domain": "tollgate",
    })];
    if let Some(field) = &error.param {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": field, "description": error.message }],
        }));
    }
    if !error.interaction_id.is_empty() {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.RequestInfo",
            "requestId": error.interaction_id,
        }));
    }
    let body = json!({
        "error": {
            "code": error.http_status,
            "message": error.message,
            "status": status(error),
            "details": details,
        }
    });
    body.to_string().into_bytes()
}

pub(super) fn models_list(models: &[ModelEntry]) -> Vec<u8> {
    let entry = |model: &ModelEntry| {
        json!({
            "name": format!("models/{}", model.id),
            "displayName": model.id,
            "description": format!("Served by {}.", model.owned_by),
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens", "embedContent"],
        })
    };
    json!({ "models": models.iter().map(entry).collect::<Vec<_>>() }).to_string().into_bytes()
}

/// Whether `model` is of Gemini's third generation or a later one, which thinks by levels, checks signatures and reads
/// pictures in the results of tools. A name that tells no generation, such as `gemini-flash-latest`, means the newest.
fn is_third_generation(model: &str) -> bool {
    let after = model.rsplit_once("gemini-").map_or("", |(_, after)| after);
    let digits = after.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().map_or(true, |generation: u32| generation >= 3)
}

/// Parts that only Google can say: its own tools at work. Each in both spellings.
const NATIVE: [(&str, &str); 4] = [
    ("executableCode", "executable_code"),
    ("codeExecutionResult", "code_execution_result"),
    ("toolCall", "tool_call"),
    ("toolResponse", "tool_response"),
];

/// The name of a part that only Google can say.
fn native_kind(part: &Value) -> Option<&'static str> {
    let is_there = |(camel, snake): &&(&str, &str)| part.get(*camel).is_some() || part.get(*snake).is_some();
    NATIVE.iter().find(is_there).map(|(camel, _)| *camel)
}

/// Reads a `thoughtSignature`. It is of type bytes: clients write those in either alphabet of base64.
fn read_signature(text: String) -> Signature {
    let Some(wrapped) = bytes::decoded_text(&text).filter(|inner| inner.starts_with("tollgate:")) else {
        return Signature { of: Dialect::Gemini, text };
    };
    let signature = Signature::unwrapped(wrapped, Dialect::Gemini);
    if signature.of == Dialect::Gemini { Signature { of: Dialect::Gemini, text } } else { signature }
}

/// The text of `signature` as a `thoughtSignature`. Another provider's is wrapped, and then encoded: the official clients
/// refuse an answer in which a field of type bytes is no base64.
fn write_signature(signature: &Signature) -> String {
    if signature.of == Dialect::Gemini {
        return signature.text.clone();
    }
    bytes::encoded(signature.wrapped(Dialect::Gemini).as_bytes())
}

/// A JSON object whose values are moved and not copied, as `json!` would.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The arguments of a call as an object, which is all that `args` can hold.
fn arguments_object(text: &str) -> Option<Map<String, Value>> {
    if text.trim().is_empty() {
        return Some(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(arguments)) => Some(arguments),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_is_read_from_the_name() {
        for third in ["gemini-3-pro-preview", "models/gemini-3.6-flash", "gemini-flash-latest", "gemini-10-nano", "x"] {
            assert!(is_third_generation(third), "{third}");
        }
        for older in ["gemini-2.5-pro", "google/gemini-2.0-flash-001", "gemini-1.5-pro"] {
            assert!(!is_third_generation(older), "{older}");
        }
    }

    #[test]
    fn a_foreign_signature_is_base64_and_finds_its_way_home_in_either_alphabet() {
        let signature = Signature { of: Dialect::Anthropic, text: "Eq>>??+/==".to_owned() };
        let written = write_signature(&signature);
        assert!(written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)), "{written}");
        assert_eq!(read_signature(written.clone()), signature);
        assert_eq!(read_signature(written.replace('+', "-").replace('/', "_")), signature);
        let own = read_signature("skip_thought_signature_validator".to_owned());
        assert_eq!((own.of, own.text.as_str()), (Dialect::Gemini, "skip_thought_signature_validator"));
    }

    #[test]
    fn an_error_has_the_shape_the_official_clients_parse() {
        let error = ErrorShape {
            code: "budget_exceeded".to_owned(),
            message: "wait".to_owned(),
            param: None,
            kind: ErrorKind::Throttled,
            http_status: 429,
            interaction_id: "i-1".to_owned(),
        };
        let body: Value = serde_json::from_slice(&error_body(&error)).unwrap();
        assert_eq!(body["error"]["code"], 429);
        assert_eq!(body["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(body["error"]["details"][0]["reason"], "BUDGET_EXCEEDED");
        assert_eq!(body["error"]["details"][1]["requestId"], "i-1");
    }

    #[test]
    fn models_are_listed_in_googles_form() {
        let entry = ModelEntry { id: "sandbox/small".to_owned(), owned_by: "sandbox".to_owned(), created_at_s: 0 };
        let list: Value = serde_json::from_slice(&models_list(&[entry])).unwrap();
        assert_eq!(list["models"][0]["name"], "models/sandbox/small");
    }
}

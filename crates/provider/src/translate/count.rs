//! How many tokens a conversation has, between those who count: Anthropic's `count_tokens`, Google's `countTokens`, Amazon's
//! `count-tokens` and OpenAI's `responses/input_tokens`. The conversation is translated as for an answer, so that what is
//! counted is what would be sent; the wishes for an answer that do not count are left out.
//! Sources: <https://platform.claude.com/docs/en/api/messages-count-tokens>, <https://ai.google.dev/api/tokens>,
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html>,
//! <https://platform.openai.com/docs/api-reference/responses/input-tokens> (2026-11-26).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_interaction::Dialect;

use super::{Address, AnswerError, Fields, Losses, TranslateError, Unsupported, emptied, read_request, write_request};
use crate::chat::Request;
use crate::dialect::RequestError;

/// What Anthropic counts.
const ANTHROPICS: [&str; 8] =
    ["model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control"];
/// What Amazon counts of a request of Converse.
const AMAZONS: [&str; 4] = ["messages", "system", "toolConfig", "additionalModelRequestFields"];
/// What OpenAI counts.
const OPENAIS: [&str; 8] =
    ["model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "parallel_tool_calls"];

/// Translates a request for a count.
///
/// # Errors
/// [`TranslateError`] names the field.
pub(super) fn request(
    from: Dialect,
    to: Dialect,
    body: Value,
    address: Address<'_>,
    model: &str,
    losses: &mut Losses,
) -> Result<Value, TranslateError> {
    let mut request = read(from, body, address)?;
    if to == Dialect::Openai {
        // Chat Completions has no such thing: the gateway sends no such call there.
        return Err(Unsupported::one("body", "a count of tokens", to).into());
    }
    model.clone_into(&mut request.model);
    // Nothing is written.
    (request.stream, request.max_output_tokens) = (false, None);
    let keep = |body: Value, names: &[&str]| match body {
        Value::Object(mut fields) => {
            fields.retain(|name, _| names.contains(&name.as_str()));
            Value::Object(fields)
        }
        other => other,
    };
    let mut whole = write_request(to, request, losses)?;
    emptied::check_written(from, to, &whole)?;
    Ok(match to {
        Dialect::Anthropic => keep(whole, &ANTHROPICS),
        Dialect::Responses | Dialect::Openai => keep(whole, &OPENAIS),
        Dialect::Bedrock => json!({ "input": { "converse": keep(whole, &AMAZONS) } }),
        Dialect::Gemini => {
            if let Some(fields) = whole.as_object_mut() {
                fields.insert("model".to_owned(), format!("models/{model}").into());
            }
            json!({ "generateContentRequest": whole })
        }
    })
}

fn read(from: Dialect, body: Value, address: Address<'_>) -> Result<Request, TranslateError> {
    let address = Address { stream: false, ..address };
    match from {
        Dialect::Gemini => {
            let mut fields = Fields::of(body, "")?;
            let whole = fields.take("generateContentRequest").or_else(|| fields.take("generate_content_request"));
            let body = whole.unwrap_or_else(|| fields.into_value());
            Ok(read_request(from, body, address)?)
        }
        Dialect::Bedrock => {
            let mut input = match Fields::of(body, "")?.take("input") {
                Some(input) => Fields::of(input, "input")?,
                None => return Err(missing("input", "send an object with `converse` or `invokeModel`")),
            };
            if let Some(converse) = input.take("converse") {
                return Ok(read_request(from, converse, address)?);
            }
            let invoke =
                input.take("invokeModel").ok_or_else(|| missing("input", "send `converse` or `invokeModel`"))?;
            let body = invoke.get("body").and_then(Value::as_str).and_then(|base64| STANDARD.decode(base64).ok());
            let body = body.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
            let mut body = body.ok_or_else(|| missing("input.invokeModel.body", "send a JSON body as base64"))?;
            if let Some(fields) = body.as_object_mut() {
                fields.remove("anthropic_version");
            }
            let mut request = read_request(Dialect::Anthropic, body, Address::default())?;
            address.model.clone_into(&mut request.model);
            Ok(request)
        }
        _ => Ok(read_request(from, body, address)?),
    }
}

fn missing(field: &str, expected: &'static str) -> TranslateError {
    RequestError::Malformed { field: field.to_owned(), expected }.into()
}

/// Translates a count.
///
/// # Errors
/// [`AnswerError`] if there is none in the answer.
pub(super) fn answer(from: Dialect, to: Dialect, body: &Value) -> Result<Value, AnswerError> {
    let name = match from {
        Dialect::Gemini => "totalTokens",
        Dialect::Bedrock => "inputTokens",
        Dialect::Anthropic | Dialect::Responses | Dialect::Openai => "input_tokens",
    };
    let count = body.get(name).and_then(Value::as_u64);
    let count = count.ok_or_else(|| AnswerError { at: name.to_owned(), expected: "a count of tokens" })?;
    Ok(match to {
        Dialect::Gemini => json!({ "totalTokens": count }),
        Dialect::Bedrock => json!({ "inputTokens": count }),
        Dialect::Responses => json!({ "object": "response.input_tokens", "input_tokens": count }),
        Dialect::Anthropic | Dialect::Openai => json!({ "input_tokens": count }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::OnUnsupported;

    const ADDRESS: Address<'_> = Address { model: "asked", stream: false };

    fn translated(from: Dialect, to: Dialect, body: Value) -> Value {
        request(from, to, body, ADDRESS, "m", &mut Losses::new(to, OnUnsupported::Refuse)).unwrap()
    }

    fn bodies() -> [(Dialect, Value); 5] {
        let converse = json!({ "system": [{ "text": "Be brief." }], "messages": [{ "role": "user", "content": [{ "text": "Hi" }] }] });
        let messages = json!({ "system": "Be brief.", "messages": [{ "role": "user", "content": "Hi" }] });
        let contents = json!({ "systemInstruction": { "parts": [{ "text": "Be brief." }] }, "contents": [{ "role": "user", "parts": [{ "text": "Hi" }] }] });
        let mut named = messages.clone();
        named["model"] = "asked".into();
        let mut invoke = messages.clone();
        invoke["anthropic_version"] = "bedrock-2023-05-31".into();
        invoke["max_tokens"] = 9.into();
        [
            (Dialect::Anthropic, named),
            (Dialect::Gemini, json!({ "generateContentRequest": contents })),
            (Dialect::Bedrock, json!({ "input": { "converse": converse } })),
            (Dialect::Bedrock, json!({ "input": { "invokeModel": { "body": STANDARD.encode(invoke.to_string()) } } })),
            (Dialect::Responses, json!({ "model": "asked", "instructions": "Be brief.", "input": "Hi" })),
        ]
    }

    #[test]
    fn a_conversation_is_counted_by_whoever_counts() {
        for (from, body) in bodies() {
            for to in [Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock, Dialect::Responses] {
                if from == to {
                    continue;
                }
                let written = translated(from, to, body.clone());
                let text = written.to_string();
                assert!(text.contains("Be brief.") && text.contains("Hi"), "{from} to {to}: {text}");
                assert!(!text.contains("max") && !text.contains("asked"), "{from} to {to}: {text}");
                match to {
                    Dialect::Gemini => assert_eq!(written["generateContentRequest"]["model"], "models/m"),
                    Dialect::Bedrock => assert!(written["input"]["converse"]["messages"].is_array()),
                    _ => assert_eq!(written["model"], "m"),
                }
            }
        }
        let plain = json!({ "contents": [{ "parts": [{ "text": "Hi" }] }] });
        assert!(translated(Dialect::Gemini, Dialect::Anthropic, plain)["messages"].is_array());
    }

    #[test]
    fn what_is_no_request_is_refused_by_field() {
        for (from, body, field) in [
            (Dialect::Bedrock, json!({}), "`input`"),
            (Dialect::Bedrock, json!({ "input": { "invokeModel": { "body": "!" } } }), "`input.invokeModel.body`"),
            (Dialect::Anthropic, json!({ "messages": [{ "role": "x" }] }), "messages[0]"),
        ] {
            let mut losses = Losses::new(Dialect::Gemini, OnUnsupported::Refuse);
            let error = request(from, Dialect::Gemini, body, ADDRESS, "m", &mut losses).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn the_count_comes_back_under_the_caller_s_name() {
        let google = json!({ "totalTokens": 31, "promptTokensDetails": [] });
        assert_eq!(answer(Dialect::Gemini, Dialect::Anthropic, &google).unwrap(), json!({ "input_tokens": 31 }));
        assert_eq!(
            answer(Dialect::Anthropic, Dialect::Bedrock, &json!({ "input_tokens": 3 })).unwrap(),
            json!({ "inputTokens": 3 })
        );
        assert_eq!(answer(Dialect::Bedrock, Dialect::Gemini, &json!({})).unwrap_err().at, "inputTokens");
    }
}

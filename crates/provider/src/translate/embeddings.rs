//! Vectors for texts between OpenAI's and Google's words for it: `input` and `embedContent` or `batchEmbedContents`. What
//! only one of them has (lists of tokens, a type of task, a title) is refused or dropped by name.
//! Sources: <https://platform.openai.com/docs/api-reference/embeddings>, <https://ai.google.dev/api/embeddings>
//! (2026-11-26).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tollgate_interaction::Dialect;

use super::{AnswerError, Asked, Fields, Losses, TranslateError, Unsupported, read_text};
use crate::chat::Said;
use crate::dialect::RequestError;

/// Google's method for a single text.
const SINGLE: &str = "embedContent";

pub(super) mod vertex;

/// Texts to be embedded, in nobody's words.
struct Texts {
    texts: Vec<Text>,
    dimensions: Option<Said<u64>>,
    /// What only the caller's dialect has.
    others: Vec<Said<Value>>,
}

/// One of them.
struct Text {
    text: String,
    /// What the vector is for, as Google names it.
    task_type: Option<Said<Value>>,
    /// Of the document that it is.
    title: Option<Said<Value>>,
}

impl Text {
    fn alone(text: String) -> Text {
        Text { text, task_type: None, title: None }
    }
}

/// Translates a request. `from` is the caller's dialect, which is not `to`.
///
/// # Errors
/// [`TranslateError`] names the field.
pub(super) fn request(
    from: Dialect,
    to: Dialect,
    body: Value,
    model: &str,
    losses: &mut Losses,
) -> Result<Value, TranslateError> {
    let Texts { texts, dimensions, others } = match from {
        Dialect::Gemini => read_gemini(body)?,
        _ => read_openai(body)?,
    };
    // Only Google has these, and who speaks Google's dialect to the Gemini API is not translated.
    let wishes = texts.iter().flat_map(|text| [&text.task_type, &text.title]).flatten();
    for Said { value: _, at } in wishes.chain(&others) {
        losses.lose(at, "a wish of its own dialect")?;
    }
    losses.check()?;
    let texts: Vec<String> = texts.into_iter().map(|text| text.text).collect();
    let dimensions = dimensions.map(|said| said.value);
    Ok(match to {
        Dialect::Gemini => {
            let one = |text: String| {
                let mut request =
                    json!({ "model": format!("models/{model}"), "content": { "parts": [{ "text": text }] } });
                if let (Some(dimensions), Some(fields)) = (dimensions, request.as_object_mut()) {
                    fields.insert("outputDimensionality".to_owned(), dimensions.into());
                }
                request
            };
            json!({ "requests": texts.into_iter().map(one).collect::<Vec<_>>() })
        }
        Dialect::Openai => {
            let mut body = Map::from_iter([
                ("model".to_owned(), model.into()),
                ("input".to_owned(), texts.into()),
                ("encoding_format".to_owned(), "float".into()),
            ]);
            body.extend(dimensions.map(|dimensions| ("dimensions".to_owned(), dimensions.into())));
            Value::Object(body)
        }
        // Nobody else has the operation in words of its own: the gateway sends no such call there.
        Dialect::Anthropic | Dialect::Responses | Dialect::Bedrock => {
            return Err(Unsupported::one("body", "vectors for texts", to).into());
        }
    })
}

fn read_openai(body: Value) -> Result<Texts, TranslateError> {
    let mut fields = Fields::of(body, "")?;
    fields.take("model");
    // It says how the answer is written, which is the writer's to heed.
    fields.take("encoding_format");
    fields.take("user");
    let dimensions = fields.count("dimensions")?;
    let (mut texts, mut others) = (Vec::new(), Vec::new());
    match fields.take("input") {
        Some(Value::String(text)) => texts.push(Text::alone(text)),
        Some(Value::Array(items)) => {
            for (index, item) in items.into_iter().enumerate() {
                match item {
                    Value::String(text) => texts.push(Text::alone(text)),
                    // Tokens mean something to one family of models only: a text left out would shift the answer.
                    _ => return Err(no_text(format!("input[{index}]"))),
                }
            }
        }
        _ => return Err(no_text("input".to_owned())),
    }
    others.extend(fields.rest());
    Ok(Texts { texts, dimensions, others })
}

fn no_text(field: String) -> TranslateError {
    let expected = "send a text: lists of tokens mean something to OpenAI's models only";
    RequestError::Malformed { field, expected }.into()
}

fn read_gemini(body: Value) -> Result<Texts, TranslateError> {
    let mut fields = Fields::of(body, "")?;
    let Some(Said { value: requests, at }) = fields.array("requests")? else {
        let (text, dimensions, others) = read_content(fields)?;
        return Ok(Texts { texts: vec![text], dimensions, others });
    };
    let mut all = Texts { texts: Vec::with_capacity(requests.len()), dimensions: None, others: Vec::new() };
    for (index, request) in requests.into_iter().enumerate() {
        let (text, dimensions, others) = read_content(Fields::of(request, format!("{at}[{index}]"))?)?;
        let is_other = all.dimensions.as_ref().map(|said| said.value) != dimensions.as_ref().map(|said| said.value);
        if index > 0 && is_other {
            let field = format!("{at}[{index}].outputDimensionality");
            let expected = "ask for the same in every request: the provider of this model takes one for all";
            return Err(RequestError::Malformed { field, expected }.into());
        }
        all.texts.push(text);
        all.dimensions = dimensions;
        all.others.extend(others);
    }
    Ok(all)
}

type ReadContent = (Text, Option<Said<u64>>, Vec<Said<Value>>);

/// Reads one of Google's requests, in either spelling.
fn read_content(mut fields: Fields) -> Result<ReadContent, TranslateError> {
    fields.take("model");
    let dimensions = match fields.count("outputDimensionality")? {
        Some(dimensions) => Some(dimensions),
        None => fields.count("output_dimensionality")?,
    };
    let at = fields.path("content");
    let Some(content) = fields.take("content") else {
        return Err(RequestError::Malformed { field: at, expected: "it is missing: send a content" }.into());
    };
    let mut content = Fields::of(content, at.clone())?;
    content.take("role");
    let parts = match content.take("parts") {
        Some(Value::Array(parts)) => parts,
        Some(part) => vec![part],
        None => Vec::new(),
    };
    let mut texts = Vec::with_capacity(parts.len());
    for (index, part) in parts.into_iter().enumerate() {
        let mut part = Fields::of(part, format!("{at}.parts[{index}]"))?;
        let field = part.path("text");
        let Some(text) = part.take("text") else {
            let expected = "send a text: the provider of this model has vectors for nothing else";
            return Err(RequestError::Malformed { field, expected }.into());
        };
        texts.push(read_text(text, &field)?);
    }
    let mut either = |camel: &str, snake: &str| fields.said(camel).or_else(|| fields.said(snake));
    let (task_type, title) = (either("taskType", "task_type"), either("title", "title"));
    let text = Text { text: texts.join("\n"), task_type, title };
    Ok((text, dimensions, fields.rest().collect()))
}

/// Translates an answer to a call of `method`.
///
/// # Errors
/// [`AnswerError`] names what is not as the dialect promises.
pub(super) fn answer(
    from: Dialect,
    to: Dialect,
    method: &str,
    body: &Value,
    asked: &Asked,
) -> Result<Value, AnswerError> {
    match from {
        Dialect::Gemini => vertex::answer(to, method, body, asked),
        _ => write_gemini(body, method),
    }
}

fn write_openai(body: &Value, asked: &Asked) -> Result<Value, AnswerError> {
    let single = body.get("embedding").map(std::slice::from_ref);
    let vectors = body.get("embeddings").and_then(Value::as_array).map(Vec::as_slice).or(single);
    let vectors = vectors.ok_or_else(|| wrong("embeddings", "a list of vectors"))?;
    let mut data = Vec::with_capacity(vectors.len());
    for (index, vector) in vectors.iter().enumerate() {
        let values = vector.get("values").and_then(Value::as_array);
        let values = values.ok_or_else(|| wrong(&format!("embeddings[{index}].values"), "a list of numbers"))?;
        let embedding = if asked.base64 { base64(values) } else { Value::Array(values.clone()) };
        data.push(json!({ "object": "embedding", "index": index, "embedding": embedding }));
    }
    let mut answer = json!({ "object": "list", "data": data, "model": asked.model });
    let tokens = body.get("usageMetadata").and_then(|usage| usage.get("promptTokenCount")).and_then(Value::as_u64);
    if let (Some(tokens), Some(fields)) = (tokens, answer.as_object_mut()) {
        fields.insert("usage".to_owned(), json!({ "prompt_tokens": tokens, "total_tokens": tokens }));
    }
    Ok(answer)
}

fn write_gemini(body: &Value, method: &str) -> Result<Value, AnswerError> {
    let data = body.get("data").and_then(Value::as_array).ok_or_else(|| wrong("data", "a list of vectors"))?;
    let mut vectors = Vec::with_capacity(data.len());
    for (index, entry) in data.iter().enumerate() {
        let values = entry.get("embedding").filter(|values| values.is_array());
        let values = values.ok_or_else(|| wrong(&format!("data[{index}].embedding"), "a list of numbers"))?;
        vectors.push(json!({ "values": values }));
    }
    let tokens = body.get("usage").and_then(|usage| usage.get("prompt_tokens")).and_then(Value::as_u64);
    write_gemini_vectors(vectors, method, tokens)
}

/// What Google's own API answers to `method`.
fn write_gemini_vectors(vectors: Vec<Value>, method: &str, tokens: Option<u64>) -> Result<Value, AnswerError> {
    let mut answer = Map::new();
    if method == SINGLE {
        let only = vectors.into_iter().next().ok_or_else(|| wrong("data", "a list with a vector"))?;
        answer.insert("embedding".to_owned(), only);
    } else {
        answer.insert("embeddings".to_owned(), vectors.into());
    }
    answer.extend(tokens.map(|tokens| ("usageMetadata".to_owned(), json!({ "promptTokenCount": tokens }))));
    Ok(Value::Object(answer))
}

/// Little-endian 32-bit floats, as OpenAI's clients expect where they ask for base64.
fn base64(values: &[Value]) -> Value {
    let bytes: Vec<u8> =
        values.iter().flat_map(|value| (value.as_f64().unwrap_or(f64::NAN) as f32).to_le_bytes()).collect();
    STANDARD.encode(bytes).into()
}

fn wrong(at: &str, expected: &'static str) -> AnswerError {
    AnswerError { at: at.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::OnUnsupported;

    fn translated(from: Dialect, to: Dialect, body: Value) -> Result<Value, TranslateError> {
        request(from, to, body, "m", &mut Losses::new(to, OnUnsupported::Refuse))
    }

    #[test]
    fn texts_go_to_google_one_request_each() {
        let body =
            json!({ "model": "x", "input": ["a", "b"], "dimensions": 8, "encoding_format": "base64", "user": "u" });
        let request = |text: &str| json!({ "model": "models/m", "content": { "parts": [{ "text": text }] }, "outputDimensionality": 8 });
        let written = translated(Dialect::Openai, Dialect::Gemini, body).unwrap();
        assert_eq!(written, json!({ "requests": [request("a"), request("b")] }));
        let tokens = translated(Dialect::Openai, Dialect::Gemini, json!({ "input": [[1, 2]] }));
        assert!(tokens.unwrap_err().to_string().contains("`input[0]`"));
        let other = translated(Dialect::Openai, Dialect::Gemini, json!({ "input": "a", "x": 1 }));
        assert!(other.unwrap_err().to_string().contains("`x`"));
    }

    #[test]
    fn googles_requests_become_one_of_openais() {
        let batch = json!({ "requests": [
            { "model": "models/x", "content": { "parts": [{ "text": "a" }, { "text": "b" }], "role": "user" }, "outputDimensionality": 8 },
            { "model": "models/x", "content": { "parts": { "text": "c" } }, "output_dimensionality": 8 },
        ] });
        let written = translated(Dialect::Gemini, Dialect::Openai, batch).unwrap();
        assert_eq!(
            written,
            json!({ "model": "m", "input": ["a\nb", "c"], "encoding_format": "float", "dimensions": 8 })
        );
        let task = json!({ "content": { "parts": [{ "text": "a" }] }, "taskType": "RETRIEVAL_QUERY" });
        let refused = translated(Dialect::Gemini, Dialect::Openai, task.clone());
        assert!(refused.unwrap_err().to_string().contains("`taskType`"));
        let mut losses = Losses::new(Dialect::Openai, OnUnsupported::Drop);
        assert!(request(Dialect::Gemini, Dialect::Openai, task, "m", &mut losses).is_ok());
        assert_eq!(losses.into_dropped(), ["taskType"]);
        let uneven = json!({ "requests": [{ "content": { "parts": [] } }, { "content": { "parts": [] }, "outputDimensionality": 1 }] });
        assert!(translated(Dialect::Gemini, Dialect::Openai, uneven).unwrap_err().to_string().contains("requests[1]"));
    }

    #[test]
    fn vectors_come_back_in_the_caller_s_form() {
        let google = json!({ "embeddings": [{ "values": [0.5, -1.0] }], "usageMetadata": { "promptTokenCount": 3 } });
        let asked = Asked { model: "x".to_owned(), ..Asked::default() };
        let plain = answer(Dialect::Gemini, Dialect::Openai, "embeddings", &google, &asked).unwrap();
        assert_eq!(plain["data"][0]["embedding"], json!([0.5, -1.0]));
        assert_eq!((&plain["usage"]["prompt_tokens"], &plain["model"]), (&json!(3), &json!("x")));
        let asked = Asked { base64: true, ..asked };
        let packed = answer(Dialect::Gemini, Dialect::Openai, "embeddings", &google, &asked).unwrap();
        let bytes = STANDARD.decode(packed["data"][0]["embedding"].as_str().unwrap()).unwrap();
        assert_eq!(bytes, [0.5_f32.to_le_bytes(), (-1.0_f32).to_le_bytes()].concat());
        let openai = json!({ "data": [{ "index": 0, "embedding": [1.0] }], "usage": { "prompt_tokens": 3 } });
        let single = answer(Dialect::Openai, Dialect::Gemini, SINGLE, &openai, &asked).unwrap();
        assert_eq!(single, json!({ "embedding": { "values": [1.0] }, "usageMetadata": { "promptTokenCount": 3 } }));
        let batch = answer(Dialect::Openai, Dialect::Gemini, "batchEmbedContents", &openai, &asked).unwrap();
        assert_eq!(batch["embeddings"], json!([{ "values": [1.0] }]));
        assert_eq!(answer(Dialect::Openai, Dialect::Gemini, SINGLE, &json!({}), &asked).unwrap_err().at, "data");
    }
}

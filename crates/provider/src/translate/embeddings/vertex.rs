//! Vectors at Vertex AI, which has Google's models under other methods than the Gemini API: `predict` with its instances and
//! predictions, and for the models of several modalities `embedContent` and `batchEmbedContents`, whose wishes stand in a
//! member of their own. Callers of Google's API are put into these words, too.
//! Sources: <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api> and the official
//! client `google-genai` 3.6 (2026-11-26).

use serde_json::{Map, Value, json};
use tollgate_interaction::Dialect;

use super::{Text, Texts, read_gemini, read_openai, write_gemini_vectors, write_openai, wrong};
use crate::chat::Said;
use crate::dialect::RequestError;
use crate::served::Publisher;
use crate::translate::{AnswerError, Asked, Losses, OnUnsupported, TranslateError, Translated, encode};

/// What a body asks for, as far as the path has to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Predict,
    EmbedContent,
    BatchEmbedContents,
}

impl Method {
    const fn as_str(self) -> &'static str {
        match self {
            Method::Predict => "predict",
            Method::EmbedContent => "embedContent",
            Method::BatchEmbedContents => "batchEmbedContents",
        }
    }
}

/// Whether `model` has vectors for more than texts: those have the newer methods.
fn is_multimodal(model: &str) -> bool {
    let (_, model) = Publisher::of(model);
    model.contains("gemini")
        && !["gemini-embedding-001", "gemini-embedding-exp"].iter().any(|old| model.starts_with(old))
}

/// The request of a caller of dialect `from` for `model`, and the method under which it is made.
///
/// # Errors
/// [`TranslateError`] names the field.
pub fn request(
    from: Dialect,
    body: &[u8],
    model: &str,
    on_unsupported: OnUnsupported,
) -> Result<(Translated, &'static str), TranslateError> {
    let body: Value = serde_json::from_slice(body).map_err(|error| RequestError::unreadable(&error, body))?;
    let Texts { texts, dimensions, others } = match from {
        Dialect::Gemini => read_gemini(body)?,
        _ => read_openai(body)?,
    };
    let mut losses = Losses::new(Dialect::Gemini, on_unsupported);
    for Said { value: _, at } in others {
        losses.lose(&at, "a wish of its own dialect")?;
    }
    losses.check()?;
    let dimensions = dimensions.map(|said| said.value);
    let (method, body) = write(texts, dimensions, model);
    let translated = Translated { body: encode(&body), dropped: losses.into_dropped(), betas: String::new() };
    Ok((translated, method.as_str()))
}

fn write(texts: Vec<Text>, dimensions: Option<u64>, model: &str) -> (Method, Value) {
    if !is_multimodal(model) {
        let instances: Vec<Value> = texts.into_iter().map(instance).collect();
        let mut body = Map::from_iter([("instances".to_owned(), instances.into())]);
        body.extend(dimensions.map(|count| ("parameters".to_owned(), json!({ "outputDimensionality": count }))));
        return (Method::Predict, Value::Object(body));
    }
    let mut requests: Vec<Value> = texts.into_iter().map(|text| content(text, dimensions)).collect();
    match requests.len() {
        1 => (Method::EmbedContent, requests.remove(0)),
        _ => (Method::BatchEmbedContents, json!({ "requests": requests })),
    }
}

fn instance(Text { text, task_type, title }: Text) -> Value {
    let mut instance = Map::from_iter([("content".to_owned(), text.into())]);
    instance.extend(task_type.map(|said| ("task_type".to_owned(), said.value)));
    instance.extend(title.map(|said| ("title".to_owned(), said.value)));
    Value::Object(instance)
}

fn content(Text { text, task_type, title }: Text, dimensions: Option<u64>) -> Value {
    let mut config = Map::new();
    config.extend(task_type.map(|said| ("taskType".to_owned(), said.value)));
    config.extend(title.map(|said| ("title".to_owned(), said.value)));
    config.extend(dimensions.map(|count| ("outputDimensionality".to_owned(), count.into())));
    let mut request = json!({ "content": { "parts": [{ "text": text }] } });
    if let (false, Some(fields)) = (config.is_empty(), request.as_object_mut()) {
        fields.insert("embedContentConfig".to_owned(), config.into());
    }
    request
}

/// The answer for a caller of dialect `to` who called `method`.
///
/// # Errors
/// [`AnswerError`] names what is not as Google promises.
pub(super) fn answer(to: Dialect, method: &str, body: &Value, asked: &Asked) -> Result<Value, AnswerError> {
    let body = match body.get("predictions") {
        Some(predictions) => &as_geminis(predictions)?,
        None => body,
    };
    match to {
        Dialect::Gemini => {
            let single = body.get("embedding").map(std::slice::from_ref);
            let vectors = body.get("embeddings").and_then(Value::as_array).map(Vec::as_slice).or(single);
            let vectors = vectors.ok_or_else(|| wrong("predictions", "a list of vectors"))?;
            let values = |vector: &Value| json!({ "values": vector.get("values") });
            let tokens = body.get("usageMetadata").and_then(|usage| usage.get("promptTokenCount"));
            write_gemini_vectors(vectors.iter().map(values).collect(), method, tokens.and_then(Value::as_u64))
        }
        _ => write_openai(body, asked),
    }
}

/// Predictions in the words of the Gemini API.
fn as_geminis(predictions: &Value) -> Result<Value, AnswerError> {
    let predictions = predictions.as_array().ok_or_else(|| wrong("predictions", "a list of vectors"))?;
    let mut tokens: Option<u64> = None;
    let mut vectors = Vec::with_capacity(predictions.len());
    for (index, prediction) in predictions.iter().enumerate() {
        let embeddings = prediction.get("embeddings");
        let values = embeddings.and_then(|embeddings| embeddings.get("values")).filter(|values| values.is_array());
        let values =
            values.ok_or_else(|| wrong(&format!("predictions[{index}].embeddings.values"), "a list of numbers"))?;
        vectors.push(json!({ "values": values }));
        let counted = embeddings.and_then(|embeddings| embeddings.get("statistics")?.get("token_count")?.as_f64());
        // Written as `4.0` by some of its servers.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of tokens")]
        if let Some(counted) = counted.filter(|count| (0.0..1e12).contains(count)) {
            tokens = Some(tokens.unwrap_or(0) + counted as u64);
        }
    }
    Ok(json!({ "embeddings": vectors, "usageMetadata": { "promptTokenCount": tokens } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: Dialect, body: Value, model: &str) -> (Value, &'static str) {
        let (told, method) = request(from, body.to_string().as_bytes(), model, OnUnsupported::Refuse).unwrap();
        (serde_json::from_slice(&told.body).unwrap(), method)
    }

    #[test]
    fn texts_become_instances_or_contents_as_the_model_wants_them() {
        let openai = json!({ "model": "x", "input": ["a", "b"], "dimensions": 8 });
        let (body, method) = asked(Dialect::Openai, openai.clone(), "text-embedding-005");
        assert_eq!(method, "predict");
        assert_eq!(
            body,
            json!({ "instances": [{ "content": "a" }, { "content": "b" }], "parameters": { "outputDimensionality": 8 } })
        );
        assert_eq!(asked(Dialect::Openai, openai.clone(), "google/gemini-embedding-001").1, "predict");
        let (body, method) = asked(Dialect::Openai, openai, "gemini-embedding-2");
        let one = |text: &str| json!({ "content": { "parts": [{ "text": text }] }, "embedContentConfig": { "outputDimensionality": 8 } });
        assert_eq!((method, body), ("batchEmbedContents", json!({ "requests": [one("a"), one("b")] })));
        let google = json!({ "content": { "parts": [{ "text": "a" }] }, "taskType": "RETRIEVAL_QUERY", "title": "t" });
        let (body, method) = asked(Dialect::Gemini, google.clone(), "text-embedding-005");
        let instance = json!({ "content": "a", "task_type": "RETRIEVAL_QUERY", "title": "t" });
        assert_eq!((method, body), ("predict", json!({ "instances": [instance] })));
        let (body, method) = asked(Dialect::Gemini, google, "gemini-embedding-2");
        assert_eq!((method, &body["embedContentConfig"]["taskType"]), ("embedContent", &json!("RETRIEVAL_QUERY")));
        let refused = request(Dialect::Openai, br#"{"input":"a","x":1}"#, "m", OnUnsupported::Refuse).unwrap_err();
        assert!(refused.to_string().contains("`x`"), "{refused}");
    }

    #[test]
    fn predictions_come_back_in_the_caller_s_form() {
        let body = json!({ "predictions": [
            { "embeddings": { "values": [0.5], "statistics": { "token_count": 3, "truncated": false } } },
            { "embeddings": { "values": [1.0], "statistics": { "token_count": 4.0 } } },
        ], "metadata": { "billableCharacterCount": 9 } });
        let asked = Asked { model: "m".to_owned(), ..Asked::default() };
        let openai = answer(Dialect::Openai, "embeddings", &body, &asked).unwrap();
        assert_eq!((&openai["data"][1]["embedding"], &openai["usage"]["prompt_tokens"]), (&json!([1.0]), &json!(7)));
        let batch = answer(Dialect::Gemini, "batchEmbedContents", &body, &asked).unwrap();
        assert_eq!(batch["embeddings"], json!([{ "values": [0.5] }, { "values": [1.0] }]));
        let single = answer(Dialect::Gemini, "embedContent", &body, &asked).unwrap();
        assert_eq!(single["embedding"], json!({ "values": [0.5] }));
        let new = json!({ "embedding": { "values": [0.5] }, "usageMetadata": { "promptTokenCount": 2 } });
        assert_eq!(answer(Dialect::Gemini, "embedContent", &new, &asked).unwrap(), new);
        let wrong = answer(Dialect::Openai, "embeddings", &json!({ "predictions": [{}] }), &asked).unwrap_err();
        assert_eq!(wrong.at, "predictions[0].embeddings.values");
    }
}

//! A call between dialects, whatever its operation: a conversation, vectors, a count of tokens, or a conversation in a
//! model's own words inside Amazon's envelope (InvokeModel). Who asks for anything else is answered in its own dialect or not
//! at all, so there is nothing to translate.

use bytes::Bytes;
use serde_json::Value;
use tollgate_interaction::{Dialect, Operation};

use super::{
    AnswerError, Asked, EditEvents, Losses, OnUnsupported, StreamTranslator, TranslateError, Translated, count,
    embeddings, encode,
};
use crate::dialect::{Endpoint, RequestError, bedrock::invoke, gemini::ArrayFrames};

/// Translates the body of a request to `endpoint` for a provider of dialect `to`. `model` is the model's name at the
/// provider, `stream` whether the caller wants one.
///
/// # Errors
/// [`TranslateError`] names the field.
pub fn request_at(
    endpoint: &Endpoint,
    to: Dialect,
    body: &[u8],
    model: &str,
    stream: bool,
    on_unsupported: OnUnsupported,
) -> Result<Translated, TranslateError> {
    if endpoint.is_invoke() {
        let (messages, betas) = invoke::messages(body, model, stream)?;
        if to == Dialect::Anthropic {
            return Ok(Translated { body: messages, dropped: Vec::new(), betas });
        }
        return super::request(Dialect::Anthropic, to, &messages, endpoint.address(), model, on_unsupported);
    }
    let from = endpoint.dialect;
    if !matches!(endpoint.operation, Operation::Embeddings | Operation::CountTokens) {
        return super::request(from, to, body, endpoint.address(), model, on_unsupported);
    }
    let body: Value = serde_json::from_slice(body).map_err(|error| RequestError::unreadable(&error, body))?;
    let mut losses = Losses::new(to, on_unsupported);
    let body = match endpoint.operation {
        Operation::Embeddings => embeddings::request(from, to, body, model, &mut losses)?,
        _ => count::request(from, to, body, endpoint.address(), model, &mut losses)?,
    };
    Ok(Translated { body: encode(&body), dropped: losses.into_dropped(), betas: String::new() })
}

/// Translates a whole answer of a provider of dialect `from` for a caller of `endpoint`.
///
/// # Errors
/// [`AnswerError`] if it is not an answer of the provider's dialect.
pub fn answer_at(endpoint: &Endpoint, from: Dialect, body: &Bytes, asked: &Asked) -> Result<Bytes, AnswerError> {
    if endpoint.is_invoke() {
        // A message is what Claude answers, by whatever way it was called.
        if from == Dialect::Anthropic { Ok(body.clone()) } else { super::answer(from, Dialect::Anthropic, body, asked) }
    } else if matches!(endpoint.operation, Operation::Embeddings | Operation::CountTokens) {
        let body = serde_json::from_slice(body).map_err(|_| AnswerError { at: "body".to_owned(), expected: "JSON" })?;
        let answer = match endpoint.operation {
            Operation::Embeddings => embeddings::answer(from, endpoint.dialect, &endpoint.method, &body, asked)?,
            _ => count::answer(from, endpoint.dialect, &body)?,
        };
        Ok(encode(&answer))
    } else {
        super::answer(from, endpoint.dialect, body, asked)
    }
}

/// A stream on its way to a caller who gets it in another form than the provider's. Feed it every chunk in order, and send
/// what it returns to the caller.
#[derive(Debug)]
pub struct AnswerStream {
    /// Between two dialects.
    translator: Option<StreamTranslator>,
    /// Around the events of one.
    envelope: Option<Envelope>,
}

#[derive(Debug)]
enum Envelope {
    /// Amazon's frames around Messages' events.
    Amazon(invoke::Wrapper),
    /// A JSON array of Google's pieces.
    Array(ArrayFrames),
}

impl AnswerStream {
    /// The stream of a provider of dialect `from` for a caller of `endpoint`; `None` if the provider's own bytes will do.
    #[must_use]
    pub fn new(endpoint: &Endpoint, from: Dialect, asked: impl FnOnce() -> Asked) -> Option<AnswerStream> {
        if from == endpoint.dialect {
            let is_array = from == Dialect::Gemini && !endpoint.events;
            let envelope = is_array.then(|| Envelope::Array(ArrayFrames::default()));
            return envelope.map(|envelope| AnswerStream { translator: None, envelope: Some(envelope) });
        }
        if !endpoint.is_invoke() {
            let translator = StreamTranslator::new(from, endpoint.dialect, asked());
            return Some(AnswerStream { translator: Some(translator), envelope: None });
        }
        let translator = (from != Dialect::Anthropic).then(|| StreamTranslator::new(from, Dialect::Anthropic, asked()));
        Some(AnswerStream { translator, envelope: Some(Envelope::Amazon(invoke::Wrapper::default())) })
    }

    /// The stream of a conversation with all that is said going through `editor`: it is read and written anew even if the
    /// provider's format is the caller's.
    #[must_use]
    pub fn edited(endpoint: &Endpoint, from: Dialect, asked: Asked, editor: Box<dyn EditEvents>) -> AnswerStream {
        let to = if endpoint.is_invoke() { Dialect::Anthropic } else { endpoint.dialect };
        let translator = StreamTranslator::new(from, to, asked).edited_by(editor);
        let envelope = endpoint.is_invoke().then(|| Envelope::Amazon(invoke::Wrapper::default()));
        AnswerStream { translator: Some(translator), envelope }
    }

    /// What the caller may see now; possibly empty.
    #[must_use]
    pub fn push(&mut self, chunk: &Bytes) -> Bytes {
        let said = match &mut self.translator {
            Some(translator) => translator.push(chunk),
            None => chunk.clone(),
        };
        self.enveloped(said)
    }

    /// What is left when the body has ended as HTTP wants it to.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        let said = self.translator.as_mut().map(StreamTranslator::finish).unwrap_or_default();
        let said = self.enveloped(said);
        match &mut self.envelope {
            Some(Envelope::Array(frames)) => [said, frames.finish()].concat().into(),
            Some(Envelope::Amazon(_)) | None => said,
        }
    }

    fn enveloped(&mut self, said: Bytes) -> Bytes {
        match &mut self.envelope {
            Some(Envelope::Amazon(wrapper)) => wrapper.push(&said),
            Some(Envelope::Array(frames)) => frames.push(&said),
            None => said,
        }
    }

    /// Whether an event was too long to be read. Nothing more is written from there, and the caller has to be told.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        let is_translator = self.translator.as_ref().is_some_and(StreamTranslator::is_broken);
        is_translator
            || match &self.envelope {
                Some(Envelope::Amazon(wrapper)) => wrapper.is_broken(),
                Some(Envelope::Array(frames)) => frames.is_broken(),
                None => false,
            }
    }

    /// Whether what was pushed so far ends within a frame of known length, so that a body which ends here is cut.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        self.translator.as_ref().is_some_and(StreamTranslator::is_midway)
    }

    /// Whether the provider has said that its answer is over without having begun one, which the caller has to be told.
    #[must_use]
    pub fn is_unbegun(&self) -> bool {
        self.translator.as_ref().is_some_and(StreamTranslator::is_unbegun)
    }

    /// Whether the caller has been told that all has been said, or that it broke off.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match (&self.envelope, &self.translator) {
            (Some(Envelope::Amazon(wrapper)), _) => wrapper.has_ended(),
            (Some(Envelope::Array(frames)), _) => frames.has_ended(),
            (None, translator) => translator.as_ref().is_some_and(StreamTranslator::has_ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::bedrock::invoke::Unwrapper;

    const MESSAGES: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"c\",\"content\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

    #[test]
    fn a_caller_of_invoke_model_is_served_by_anthropic_and_by_others() {
        let endpoint = Endpoint::of_post("/model/claude/invoke-with-response-stream", "").unwrap();
        let body =
            br#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}"#;
        let told = request_at(&endpoint, Dialect::Anthropic, body, "c", true, OnUnsupported::Refuse).unwrap();
        assert!(told.body.starts_with(br#"{"model":"c","stream":true,"max_tokens":5"#));
        let told = request_at(&endpoint, Dialect::Openai, body, "gpt", true, OnUnsupported::Refuse).unwrap();
        let told: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!((&told["model"], &told["stream"]), (&"gpt".into(), &true.into()));
        let mut stream = AnswerStream::new(&endpoint, Dialect::Anthropic, Asked::default).unwrap();
        let frames = stream.push(&Bytes::from_static(MESSAGES.as_bytes()));
        assert!(stream.has_ended());
        assert_eq!(Unwrapper::default().push(&frames), MESSAGES);
        let mut stream = AnswerStream::new(&endpoint, Dialect::Openai, Asked::default).unwrap();
        let chunks = "data: {\"id\":\"c\",\"model\":\"gpt\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        let frames = [stream.push(&Bytes::from_static(chunks.as_bytes())), stream.finish()].concat();
        let events = String::from_utf8(Unwrapper::default().push(&frames).to_vec()).unwrap();
        assert!(events.contains("text_delta") && events.contains("message_stop"), "{events}");
    }

    #[test]
    fn google_s_caller_gets_an_array_where_it_asked_for_no_events() {
        let array = Endpoint::of_post("/v1beta/models/m:streamGenerateContent", "").unwrap();
        let events = Endpoint::of_post("/v1beta/models/m:streamGenerateContent", "alt=sse").unwrap();
        assert!(AnswerStream::new(&events, Dialect::Gemini, Asked::default).is_none());
        let mut stream = AnswerStream::new(&array, Dialect::Gemini, Asked::default).unwrap();
        let sse = "data: {\"a\":1}\r\n\r\ndata: {\"a\":2}\r\n\r\n";
        let mut out: Vec<u8> =
            sse.as_bytes().chunks(3).flat_map(|piece| stream.push(&Bytes::copy_from_slice(piece))).collect();
        out.extend_from_slice(&stream.finish());
        assert_eq!(String::from_utf8(out).unwrap(), "[{\"a\":1},\r\n{\"a\":2}]");
    }
}

//! The model that a request names although it cannot be read to its end: for the record of the refusal, which decides nothing.

use super::Endpoint;
use crate::scan::{Cursor, Kind, ScanError};

/// The model that the path or the body names, as far as the body can be read; `None` if it says none before that.
#[must_use]
pub fn model_of(endpoint: &Endpoint, body: &[u8]) -> Option<String> {
    if !endpoint.model.is_empty() {
        return Some(endpoint.model.clone());
    }
    std::str::from_utf8(body).ok()?;
    let mut model = None;
    let mut cursor = Cursor::new(body);
    // What is wrong has been found before; here it is only where to stop.
    let _ = cursor.fields(|key, cursor| -> Result<(), ScanError> {
        if key.is("model") && cursor.kind()? == Kind::Text {
            let named = cursor.text()?.decode().into_owned();
            model.get_or_insert(named);
            return Ok(());
        }
        cursor.skip().map(drop)
    });
    model.filter(|model| !model.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_whatever_is_wrong_elsewhere() {
        let chat = Endpoint::of_post("/v1/chat/completions", "").unwrap();
        let of = |body: &str| model_of(&chat, body.as_bytes());
        assert_eq!(of(r#"{"max_tokens":"x","model":"a/b"}"#), Some("a/b".to_owned()));
        assert_eq!(of(r#"{"model":"a","messages":[}"#), Some("a".to_owned()));
        assert_eq!(of(r#"{"model":"a","model":"b"}"#), Some("a".to_owned()));
        for body in [r#"{"model":7}"#, r#"{"model":""}"#, r#"{"messages":[}"#, "[]", ""] {
            assert_eq!(of(body), None, "{body}");
        }
        let gemini = Endpoint::of_post("/v1beta/models/m:generateContent", "").unwrap();
        assert_eq!(model_of(&gemini, b"{"), Some("m".to_owned()));
    }
}

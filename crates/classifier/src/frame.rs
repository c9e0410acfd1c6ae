//! What stands before and after every sequence of tokens, such as `[CLS]` and `[SEP]`: as the tokenizer's post-processor says.
//! It is applied to each window of a long text, which is why the tokenizer itself is not left to do it.

use serde_json::Value;

/// Tokens around a sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) before: Vec<i64>,
    pub(crate) after: Vec<i64>,
}

impl Frame {
    /// How many tokens it takes.
    pub(crate) fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Reads `post_processor` of a `tokenizer.json`.
    ///
    /// # Errors
    /// Names what is not understood: a frame that is left out would change every score.
    pub(crate) fn of(post_processor: &Value) -> Result<Frame, String> {
        let kind = post_processor.get("type").and_then(Value::as_str);
        match kind {
            None if post_processor.is_null() => Ok(Frame::default()),
            // It changes offsets, not tokens.
            Some("ByteLevel") => Ok(Frame::default()),
            Some("BertProcessing" | "RobertaProcessing") => {
                let token = |name| pair(&post_processor[name]).map(|id| vec![id]);
                Ok(Frame { before: token("cls")?, after: token("sep")? })
            }
            Some("TemplateProcessing") => template(post_processor),
            Some("Sequence") => {
                let parts = post_processor["processors"].as_array().into_iter().flatten();
                parts.map(Frame::of).try_fold(Frame::default(), |sum, part| {
                    let part = part?;
                    Ok(if part.len() == 0 { sum } else { part })
                })
            }
            other => Err(format!("its post-processor `{}` is not known here", other.unwrap_or("without a type"))),
        }
    }
}

/// The id in `["[SEP]", 102]`.
fn pair(written: &Value) -> Result<i64, String> {
    written.get(1).and_then(Value::as_i64).ok_or_else(|| format!("`{written}` names no token"))
}

/// `single` is a list of special tokens around `$A`.
fn template(post_processor: &Value) -> Result<Frame, String> {
    let mut frame = Frame::default();
    let mut is_after = false;
    for piece in post_processor["single"].as_array().into_iter().flatten() {
        if piece.get("Sequence").is_some() {
            is_after = true;
            continue;
        }
        let name = piece["SpecialToken"]["id"].as_str().unwrap_or_default();
        let ids = post_processor["special_tokens"][name]["ids"].as_array();
        let ids = ids.ok_or_else(|| format!("its template has the token `{name}`, which it does not say the id of"))?;
        let place = if is_after { &mut frame.after } else { &mut frame.before };
        place.extend(ids.iter().filter_map(Value::as_i64));
    }
    if is_after { Ok(frame) } else { Err("its template has no place for a text".to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tokens_around_a_text_are_read_from_each_kind_of_post_processor() {
        let both = Frame { before: vec![1], after: vec![2] };
        let bert = json!({"type": "BertProcessing", "cls": ["[CLS]", 1], "sep": ["[SEP]", 2]});
        assert_eq!(Frame::of(&bert).unwrap(), both);
        let template = json!({
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
            ],
            "special_tokens": {"[CLS]": {"ids": [1]}, "[SEP]": {"ids": [2]}},
        });
        assert_eq!(Frame::of(&template).unwrap(), both);
        let sequence = json!({"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]});
        assert_eq!(Frame::of(&sequence).unwrap(), both);
        assert_eq!(Frame::of(&Value::Null).unwrap(), Frame::default());
        assert!(Frame::of(&json!({"type": "Novel"})).unwrap_err().contains("`Novel`"));
        let unknown = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]});
        assert!(Frame::of(&unknown).unwrap_err().contains("`<s>`"));
    }
}

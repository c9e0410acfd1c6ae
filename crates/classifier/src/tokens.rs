//! Texts as windows of tokens that a model takes.

use kitoken::Kitoken;
use serde_json::Value;
use tollgate_policy::guard::injection::ClassifierError;

use crate::frame::Frame;

/// A tokenizer and what it puts around each window.
#[derive(Debug)]
pub(crate) struct Tokens {
    tokenizer: Kitoken,
    frame: Frame,
    /// Tokens of a window between the frame's.
    room: usize,
}

impl Tokens {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn read(file: &[u8], max_tokens: usize) -> Result<Tokens, String> {
        let mut written: Value = serde_json::from_slice(file).map_err(|error| format!("it is no JSON: {error}"))?;
        let frame = Frame::of(&written["post_processor"])?;
        let room = max_tokens.checked_sub(frame.len()).filter(|room| *room >= 8);
        let room = room.ok_or_else(|| format!("{max_tokens} tokens leave no room for a text"))?;
        if let Some(parts) = written.as_object_mut() {
            // The frame is put around each window here, and nothing is cut off or filled up.
            for part in ["post_processor", "truncation", "padding"] {
                parts.insert(part.to_owned(), Value::Null);
            }
        }
        let tokenizer = Kitoken::from_tokenizers_slice(written.to_string().as_bytes());
        let tokenizer = tokenizer.map_err(|error| error.to_string())?;
        Ok(Tokens { tokenizer, frame, room })
    }

    /// The ids of a text in windows, each with the frame around it. Neighbours overlap by an eighth, so that a phrase that one
    /// cuts in two stands whole in the other. Names of special tokens in the text are read as any other words.
    ///
    /// # Errors
    /// [`ClassifierError`] if the tokenizer has no token for a part of it.
    pub(crate) fn windows(&self, text: &str) -> Result<Vec<Vec<i64>>, ClassifierError> {
        let ids = self.tokenizer.encode(text, false);
        let ids = ids.map_err(|_| ClassifierError("a part of the text has no token".to_owned()))?;
        let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
        let step = self.room - self.room / 8;
        let mut windows = Vec::new();
        let mut from = 0;
        loop {
            let to = ids.len().min(from + self.room);
            windows.push([&self.frame.before, &ids[from..to], &self.frame.after].concat());
            if to == ids.len() {
                return Ok(windows);
            }
            from += step;
        }
    }
}

//! Whole answers of Bedrock Converse. SKELETON: to be written.
use serde_json::Value;

use crate::chat::Answer;
use crate::translate::{AnswerError, Asked};

pub(crate) fn read(_body: Value) -> Result<Answer, AnswerError> {
    Ok(Answer::default())
}

pub(crate) fn write(_answer: Answer, _asked: &Asked) -> Value {
    Value::Null
}

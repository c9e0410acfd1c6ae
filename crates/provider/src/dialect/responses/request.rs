//! Requests of Responses. SKELETON: to be written.
use serde_json::Value;

use crate::chat::Request;
use crate::dialect::RequestError;
use crate::translate::{Losses, Unsupported};

pub(crate) fn read(_body: Value) -> Result<Request, RequestError> {
    Ok(Request::default())
}

pub(crate) fn write(_request: Request, _losses: &mut Losses) -> Result<Value, Unsupported> {
    Ok(Value::Null)
}

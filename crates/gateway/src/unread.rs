//! Calls whose head could not be read to its end. They are refused like any other: a row, a stable code, an interaction
//! id. Only their answer is written by hand, because it is given below HTTP.

use std::sync::Arc;

use tollgate_interaction::{Dialect, Operation};

use crate::call::Call;
use crate::error::CallError;
use crate::settle::{self, Ending};
use crate::{Gateway, answer};

/// Writes the row and returns the bytes of the answer.
pub(crate) fn refuse(gateway: &Arc<Gateway>, dialect: Dialect) -> Vec<u8> {
    let mut call = Call::begin(gateway, dialect, Operation::Chat);
    let error = CallError::HeadersUnreadable { limit: gateway.settings.limits.header_bytes };
    let body = answer::error_body(dialect, &error, Some(call.public_id));
    let ending = Ending::of_error(&error, Some(error.status().as_u16()), body.clone());
    // The log has said why, if it did not take it; the refusal stands either way.
    let _ = settle::settle(&mut call, ending);
    let (status, id, length) = (error.status(), call.public_id, body.len());
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         x-tollgate-interaction-id: {id}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), &body].concat()
}

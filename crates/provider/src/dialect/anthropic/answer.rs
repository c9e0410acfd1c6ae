//! Whole answers of the Messages API: <https://platform.claude.com/docs/en/api/messages> (2026-11-26).

mod block;
mod read;
mod write;

pub(super) use block::{holds, read_block, redacted, wrap, write_block};
pub(crate) use read::read;
pub(super) use write::message_id;
pub(crate) use write::write;

//! Streams of the Messages API: <https://platform.claude.com/docs/en/build-with-claude/streaming> (2026-11-26).

mod reader;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

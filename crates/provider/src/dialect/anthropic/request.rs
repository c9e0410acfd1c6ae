//! Requests of the Messages API, as Anthropic, Vertex and Bedrock's `InvokeModel` take them; bodies of `count_tokens` have the
//! same form. The last two name the model in the path, so it may be missing here.
//! Sources: <https://platform.claude.com/docs/en/api/messages> and the types of Anthropic's client library for Python, 2.14.0
//! (2026-11-26).

mod read;
mod read_content;
mod sampling;
mod thinking;
mod write;
mod write_content;

pub(crate) use read::read;
pub(in crate::dialect) use write::goes_on_without_a_thought;
pub(crate) use write::write;
pub(super) use write_content::{input, wrapped};

//! Streams of Chat Completions.
//! Sources: <https://platform.openai.com/docs/api-reference/chat-streaming>, <https://openrouter.ai/docs/api-reference/streaming>,
//! <https://console.groq.com/docs/api-reference>, <https://docs.mistral.ai/api/endpoint/chat> (2026-11-26).

mod choice;
mod reader;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

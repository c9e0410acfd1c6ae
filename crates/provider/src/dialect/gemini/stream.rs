//! Streams of Gemini: `streamGenerateContent`. Every event is an answer that holds what is new, repeats who answers, and
//! counts the tokens so far. There is no end but that of the body, so an answer is whole if it said why it finished.
//! Sources: <https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent>,
//! <https://ai.google.dev/gemini-api/docs/thought-signatures> (2026-11-26).

mod reader;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

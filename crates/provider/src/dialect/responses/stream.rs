//! Streams of the Responses API: named events, each numbered, that open and close the items of the answer and the parts
//! within them, and a last one that holds the whole answer. There is no `[DONE]`.

mod reader;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

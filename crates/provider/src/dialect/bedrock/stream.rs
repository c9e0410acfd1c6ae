//! Streams of ConverseStream: events of the binary event stream, in the order `messageStart`, blocks, `messageStop`,
//! `metadata`. Blocks of text and thinking begin with their first delta; only calls are announced.

mod read;
mod write;

pub(crate) use read::Reader;
pub(crate) use write::Writer;

//! Requests of Bedrock Converse. The model and whether a stream is wanted stand in the path.

mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

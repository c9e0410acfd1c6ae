//! Reads the events and bodies of Gemini. SKELETON: to be written.
use super::Reading;

pub(super) fn read_chunk(_reading: &mut Reading, _data: &[u8]) {}

pub(super) fn read_whole(_reading: &mut Reading, _body: &[u8]) {}

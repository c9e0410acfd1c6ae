//! Reads the events and bodies of Bedrock Converse. SKELETON: to be written.
use super::Reading;

pub(super) fn read_event(_reading: &mut Reading, _name: &[u8], _data: &[u8]) {}

pub(super) fn read_whole(_reading: &mut Reading, _body: &[u8]) {}

//! Reads the events and bodies of Responses. SKELETON: to be written.
use super::Reading;

pub(super) fn read_event(_reading: &mut Reading, _data: &[u8]) {}

pub(super) fn read_whole(_reading: &mut Reading, _body: &[u8]) {}

//! Streams of Messages. SKELETON: to be written.
use crate::chat::Event;
use crate::translate::{Asked, ReadStream, WriteStream};

#[derive(Debug, Default)]
pub(crate) struct Reader;

impl ReadStream for Reader {
    fn read(&mut self, _name: &[u8], _data: &[u8], _out: &mut Vec<Event>) {}

    fn end(&mut self, _out: &mut Vec<Event>) {}
}

#[derive(Debug)]
pub(crate) struct Writer {
    _asked: Asked,
}

impl Writer {
    pub(crate) fn new(asked: Asked) -> Self {
        Writer { _asked: asked }
    }
}

impl WriteStream for Writer {
    fn write(&mut self, _event: Event, _out: &mut Vec<u8>) {}
}

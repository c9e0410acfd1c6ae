//! Reading one event a second time, by its place: so that whoever follows the log need not keep in memory what is large
//! and stands in the log anyway. The caller must not have let the log be released past it.

use std::io;
use std::sync::Arc;

use tollgate_interaction::Event;

use crate::frame::{self, Content};
use crate::replay::{SegmentReader, Step};
use crate::segment::Segment;
use crate::shared::Shared;
use crate::tail::TailError;

/// Where an event stands.
#[derive(Clone, Debug)]
pub struct EventPlace {
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: u64,
    pub(crate) seq: u64,
}

impl EventPlace {
    /// Boot counter of the log that the event was appended to.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.segment.epoch
    }

    /// Its number in that epoch.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

/// The event at this place; `None` if it cannot be read any more.
pub(crate) fn read(shared: &Shared, place: &EventPlace) -> Result<Option<Event>, TailError> {
    let EventPlace { segment, offset, seq } = place;
    if let Some(event) = look(segment, Some(*offset), *seq)? {
        return Ok(Some(event));
    }
    // An fsync of its segment failed, and what was in it was written again elsewhere.
    let may_hold = |other: &&Arc<Segment>| other.epoch == segment.epoch && other.first_seq <= *seq;
    let newest = shared.segments.lock().iter().filter(may_hold).last().cloned();
    newest.map_or(Ok(None), |newest| look(&newest, None, *seq))
}

/// The event of this number in a segment, at `offset` if that is known.
fn look(segment: &Segment, offset: Option<u64>, seq: u64) -> Result<Option<Event>, TailError> {
    let Some(header) = &segment.header else { return Ok(None) };
    let find = || -> io::Result<Option<Event>> {
        let mut reader = SegmentReader::open(&segment.path, header.salt)?;
        if let Some(offset) = offset {
            reader.seek(offset);
        }
        let end = segment.readable_end();
        loop {
            match reader.step(end)? {
                Step::Frame(header) if header.first_seq == seq => {
                    return Ok(match frame::decode(&header, reader.body(&header)) {
                        Ok(Content::Event(event)) => Some(event),
                        Ok(Content::Drops(_)) | Err(_) => None,
                    });
                }
                Step::Frame(header) | Step::BadBody(header) if offset.is_none() && header.first_seq < seq => {
                    reader.seek(reader.offset() + header.frame_bytes());
                }
                _ => return Ok(None),
            }
        }
    };
    match find() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map_err(|source| TailError::Read { path: segment.path.clone(), source }),
    }
}

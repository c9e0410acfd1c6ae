//! What the dialects' tools for a search of the web have in common, read and written.

use serde_json::{Map, Value};

use super::{Fields, Losses, Unsupported, read_text};
use crate::chat::{Said, WebSearch};
use crate::dialect::RequestError;

impl WebSearch {
    /// Refuses or drops the lists of domains, which cannot be expressed.
    ///
    /// # Errors
    /// [`Unsupported`] names the list.
    pub(crate) fn lose_domains(&self, losses: &mut Losses) -> Result<(), Unsupported> {
        for domains in [&self.allowed_domains, &self.blocked_domains].into_iter().flatten() {
            losses.lose(&domains.at, "a list of domains to search")?;
        }
        Ok(())
    }

    /// Lists the wishes that are not passed on.
    pub(crate) fn note_wishes(&self, losses: &mut Losses) {
        let paths = [
            self.max_uses.as_ref().map(|said| &said.at),
            self.depth.as_ref().map(|said| &said.at),
            self.place.as_ref().map(|said| &said.at),
        ];
        paths.into_iter().flatten().for_each(|at| losses.note(at));
    }
}

/// Takes a list of domains.
///
/// # Errors
/// [`RequestError::Malformed`] if it is something else.
pub(crate) fn take_domains(fields: &mut Fields, name: &str) -> Result<Option<Said<Vec<String>>>, RequestError> {
    let Some(Said { value, at }) = fields.array(name)? else { return Ok(None) };
    let mut domains = Vec::with_capacity(value.len());
    for (index, domain) in value.into_iter().enumerate() {
        domains.push(read_text(domain, &format!("{at}[{index}]"))?);
    }
    Ok((!domains.is_empty()).then(|| Said::new(domains, at)))
}

/// Takes where the user is out of `user_location`. What else stands there goes to `others`.
///
/// # Errors
/// [`RequestError::Malformed`] if it is something else.
pub(crate) fn take_place(
    fields: &mut Fields,
    others: &mut Vec<Said<Value>>,
) -> Result<Option<Said<Map<String, Value>>>, RequestError> {
    let Some(mut location) = fields.object("user_location")? else { return Ok(None) };
    let at = location.at().to_owned();
    location.take("type");
    // Chat Completions has one more layer.
    let mut inner = location.object("approximate")?;
    let source = inner.as_mut().unwrap_or(&mut location);
    let mut place = Map::new();
    for name in ["city", "country", "region", "timezone"] {
        if let Some(said) = source.text(name)? {
            place.insert(name.to_owned(), said.value.into());
        }
    }
    others.extend(inner.into_iter().flat_map(Fields::rest));
    others.extend(location.rest());
    Ok((!place.is_empty()).then(|| Said::new(place, at)))
}

/// `user_location` as Anthropic and the Responses API have it.
pub(crate) fn location(place: Map<String, Value>) -> Value {
    let mut location = Map::new();
    location.insert("type".to_owned(), "approximate".into());
    location.extend(place);
    Value::Object(location)
}

//! Facts as values of the interpreter, borrowed where it lets us.

use std::collections::HashMap;

use cel::common::types::{CelBool, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString};
use cel::common::value::{CowVal, Val};

pub(super) fn null<'b>() -> CowVal<'b, 'b> {
    CowVal::owned(CelNull)
}

pub(super) fn boolean<'b>(truth: bool) -> CowVal<'b, 'b> {
    CowVal::owned(CelBool::from(truth))
}

pub(super) fn string(text: &str) -> CowVal<'_, '_> {
    CowVal::owned(CelString::from(text))
}

pub(super) fn optional(text: Option<&str>) -> CowVal<'_, '_> {
    text.map_or_else(null, string)
}

// Every whole number is an `int`: `uint` and `int` do not add up in CEL.
pub(super) fn int<'b>(number: i64) -> CowVal<'b, 'b> {
    CowVal::owned(CelInt::from(number))
}

pub(super) fn list<'b>(texts: impl Iterator<Item = &'b str>) -> CowVal<'b, 'b> {
    let boxed = |text: &'b str| -> Box<dyn Val + 'b> { Box::new(CelString::from(text)) };
    CowVal::owned(CelList::from(texts.map(boxed).collect::<Vec<_>>()))
}

pub(super) fn map<'b>(entries: impl Iterator<Item = (&'b str, &'b str)>) -> CowVal<'b, 'b> {
    let entry = |(name, value): (&'b str, &'b str)| {
        let value: Box<dyn Val + 'b> = Box::new(CelString::from(value));
        (CelMapKey::from(name), value)
    };
    CowVal::owned(CelMap::from(entries.map(entry).collect::<HashMap<_, _>>()))
}

/// A map that only says which names are there.
pub(super) fn present<'b>(names: impl Iterator<Item = &'b str>) -> CowVal<'b, 'b> {
    map(names.map(|name| (name, "")))
}

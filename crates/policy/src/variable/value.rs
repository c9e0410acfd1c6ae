//! Facts as plain values: for the interpreter, borrowed where it lets us, and as keys to know them again by.

use std::collections::HashMap;

use cel::common::types::{CelBool, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString};
use cel::common::value::{CowVal, Val};

/// The value of a variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plain<'a> {
    Null,
    Bool(bool),
    /// Every whole number is an `int`: `uint` and `int` do not add up in CEL.
    Int(i64),
    Text(&'a str),
    Texts(Vec<&'a str>),
    Pairs(Vec<(&'a str, &'a str)>),
}

impl<'a> Plain<'a> {
    pub(super) fn optional(text: Option<&'a str>) -> Plain<'a> {
        text.map_or(Plain::Null, Plain::Text)
    }

    /// For the interpreter.
    pub(super) fn into_value(self) -> CowVal<'a, 'a> {
        match self {
            Plain::Null => CowVal::owned(CelNull),
            Plain::Bool(truth) => CowVal::owned(CelBool::from(truth)),
            Plain::Int(number) => CowVal::owned(CelInt::from(number)),
            Plain::Text(text) => CowVal::owned(CelString::from(text)),
            Plain::Texts(texts) => {
                let boxed = |text: &'a str| -> Box<dyn Val + 'a> { Box::new(CelString::from(text)) };
                CowVal::owned(CelList::from(texts.into_iter().map(boxed).collect::<Vec<_>>()))
            }
            Plain::Pairs(pairs) => {
                let entry = |(name, value): (&'a str, &'a str)| {
                    let value: Box<dyn Val + 'a> = Box::new(CelString::from(value));
                    (CelMapKey::from(name), value)
                };
                CowVal::owned(CelMap::from(pairs.into_iter().map(entry).collect::<HashMap<_, _>>()))
            }
        }
    }

    /// Different values append different bytes, whatever follows.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let text = |text: &str, into: &mut Vec<u8>| {
            into.extend_from_slice(&text.len().to_le_bytes());
            into.extend_from_slice(text.as_bytes());
        };
        match self {
            Plain::Null => into.push(0),
            Plain::Bool(truth) => into.push(1 + u8::from(*truth)),
            Plain::Int(number) => {
                into.push(3);
                into.extend_from_slice(&number.to_le_bytes());
            }
            Plain::Text(value) => {
                into.push(4);
                text(value, into);
            }
            Plain::Texts(values) => {
                into.push(5);
                into.extend_from_slice(&values.len().to_le_bytes());
                values.iter().for_each(|value| text(value, into));
            }
            Plain::Pairs(pairs) => {
                into.push(6);
                into.extend_from_slice(&pairs.len().to_le_bytes());
                for (name, value) in pairs {
                    text(name, into);
                    text(value, into);
                }
            }
        }
    }
}

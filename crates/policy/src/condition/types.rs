//! The types a condition can have. The interpreter has no type checker: without this, `request.stream == "yes"` would
//! load and never hold.

use std::fmt;

/// Type of an expression, as far as it can be told from its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Int,
    Double,
    String,
    Null,
    List(Box<Type>),
    /// From text to text.
    Map,
    /// Not known before it is evaluated.
    Any,
}

impl Type {
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::Double | Type::Any)
    }

    pub(super) fn may_be(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Any, _) | (_, Type::Any) => true,
            (Type::List(mine), Type::List(theirs)) => mine.may_be(theirs),
            (Type::Int | Type::Double, Type::Int | Type::Double) => true,
            (mine, theirs) => mine == theirs,
        }
    }

    /// The type of something that has either type.
    pub(super) fn or(self, other: Type) -> Type {
        if self == other { self } else { Type::Any }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "true or false",
            Type::Int => "a whole number",
            Type::Double => "a decimal number",
            Type::String => "a text",
            Type::Null => "null",
            Type::List(_) => "a list",
            Type::Map => "a map",
            Type::Any => "a value",
        })
    }
}

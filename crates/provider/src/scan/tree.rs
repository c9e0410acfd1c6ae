//! JSON as a tree that borrows its text: for readers that look here and there. Strings are decoded when they are asked
//! for, numbers when they are counted; `serde_json::Value` would copy and hash every name, three times the cost.

use std::borrow::Cow;

use super::{Cursor, Kind, ScanError, Text, whole_number};

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    raw: &'a [u8],
    node: Node<'a>,
}

#[derive(Debug)]
enum Node<'a> {
    Text(Text<'a>),
    Array(Vec<Tree<'a>>),
    Object(Vec<(Text<'a>, Tree<'a>)>),
    Other,
}

impl<'a> Tree<'a> {
    /// Reads `bytes`, which must be one value.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, ScanError> {
        let mut cursor = Cursor::new(bytes);
        let tree = Tree::next(bytes, &mut cursor)?;
        cursor.end()?;
        Ok(tree)
    }

    fn next(bytes: &'a [u8], cursor: &mut Cursor<'a>) -> Result<Self, ScanError> {
        let kind = cursor.kind()?;
        let start = cursor.offset();
        let node = match kind {
            Kind::Text => Node::Text(cursor.text()?),
            Kind::Array => {
                let mut items = Vec::new();
                cursor.items(|cursor| {
                    items.push(Tree::next(bytes, cursor)?);
                    Ok::<(), ScanError>(())
                })?;
                Node::Array(items)
            }
            Kind::Object => {
                let mut fields = Vec::new();
                cursor.fields(|name, cursor| {
                    fields.push((name, Tree::next(bytes, cursor)?));
                    Ok::<(), ScanError>(())
                })?;
                Node::Object(fields)
            }
            Kind::Number | Kind::Bool | Kind::Null => {
                cursor.skip()?;
                Node::Other
            }
        };
        Ok(Tree { raw: &bytes[start..cursor.offset()], node })
    }

    /// A field of an object; of several with one name the last, as everywhere.
    pub(crate) fn get(&self, name: &str) -> Option<&Tree<'a>> {
        let Node::Object(fields) = &self.node else { return None };
        fields.iter().rev().find(|(field, _)| field.is(name)).map(|(_, value)| value)
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<Cow<'a, str>> {
        if let Node::Text(text) = &self.node { Some(text.decode()) } else { None }
    }

    /// The items of an array; none of anything else.
    pub(crate) fn items(&self) -> Option<&[Tree<'a>]> {
        if let Node::Array(items) = &self.node { Some(items) } else { None }
    }

    /// Names and values of an object.
    pub(crate) fn fields(&self) -> Option<impl Iterator<Item = (Cow<'a, str>, &Tree<'a>)>> {
        let Node::Object(fields) = &self.node else { return None };
        Some(fields.iter().map(|(name, value)| (name.decode(), value)))
    }

    /// Where the value stands in `body`, which is what the tree was read from.
    pub(crate) fn place(&self, body: &[u8]) -> std::ops::Range<usize> {
        let start = self.raw.as_ptr().addr().saturating_sub(body.as_ptr().addr());
        start..start + self.raw.len()
    }

    /// A non-negative whole number.
    pub(crate) fn count(&self) -> Option<u64> {
        if let Node::Other = self.node { whole_number(self.raw) } else { None }
    }

    /// The value as it was written.
    pub(crate) fn raw(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_finds_what_is_there_and_nothing_else() {
        let tree = Tree::read(br#" {"a":[1,"\u00e9",{"b":2.5}],"c":null,"a ":0,"c":{"x": [ ]}} "#).unwrap();
        let items = tree.get("a").unwrap().items().unwrap();
        assert_eq!(
            (items[0].count(), items[1].text().as_deref(), items[2].raw().as_ref()),
            (Some(1), Some("é"), "{\"b\":2.5}")
        );
        assert_eq!(items[2].get("b").unwrap().count(), None);
        assert_eq!(tree.get("c").unwrap().raw(), "{\"x\": [ ]}", "of two fields with one name the last");
        assert!(tree.get("missing").is_none() && tree.text().is_none() && tree.items().is_none());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for wrong in ["", "{", "[1,]", "{\"a\" 1}", "1 2", &"[".repeat(100_000)] {
            assert!(Tree::read(wrong.as_bytes()).is_err(), "{wrong:.20}");
        }
    }
}

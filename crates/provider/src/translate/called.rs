//! The calls of tools in a conversation, as results look for them: by the id they answer, or by the name of their function.
//! A conversation of thousands of calls would otherwise be read as often as it has results.

use std::collections::HashMap;

/// Calls so far.
#[derive(Debug, Default)]
pub(crate) struct Called {
    count: usize,
    name_by_id: HashMap<String, String>,
    id_by_name: HashMap<String, String>,
}

impl Called {
    /// Notes a call; the latest of an id, or of a name, is the one that is found.
    pub(crate) fn note(&mut self, id: &str, name: &str) {
        self.count += 1;
        self.name_by_id.insert(id.to_owned(), name.to_owned());
        self.id_by_name.insert(name.to_owned(), id.to_owned());
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Name of the function that was called with this id.
    pub(crate) fn name_of(&self, id: &str) -> Option<&str> {
        self.name_by_id.get(id).map(String::as_str)
    }

    /// Id of the latest call of a function.
    pub(crate) fn id_of(&self, name: &str) -> Option<&str> {
        self.id_by_name.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_call_is_the_one_that_is_found() {
        let mut called = Called::default();
        for (id, name) in [("a", "look"), ("b", "find"), ("c", "look"), ("a", "find")] {
            called.note(id, name);
        }
        assert_eq!((called.name_of("a"), called.name_of("b"), called.name_of("x")), (Some("find"), Some("find"), None));
        assert_eq!((called.id_of("look"), called.id_of("find"), called.count()), (Some("c"), Some("a"), 4));
    }
}

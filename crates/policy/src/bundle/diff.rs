//! What is different between two bundles, rule by rule: layout, comments and quotes are not. Works on the YAML as such, so
//! that it knows every section.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::BundleError;

/// How a rule changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It says something else.
    Changed,
    /// It stands elsewhere, in a section whose order means something.
    Moved,
}

/// One rule, class, test or setting that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Section of the bundle.
    pub section: String,
    /// Id of the rule; empty for what is no list of rules.
    pub rule: String,
    /// What happened to it.
    pub kind: ChangeKind,
    /// What it says: each field on its own.
    pub details: Vec<Detail>,
}

/// One field of what changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// Its name; empty for what has no fields.
    pub field: String,
    /// What it said, as one line of YAML; `None` if it was not there.
    pub before: Option<String>,
    /// What it says; `None` if it is gone.
    pub after: Option<String>,
}

impl Change {
    /// Each field as a line: what it says or, of a rule that changed, what it said and says.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let is_changed = matches!(self.kind, ChangeKind::Changed | ChangeKind::Moved);
        self.details.iter().map(move |detail| {
            let name = if detail.field.is_empty() { String::new() } else { format!("{}: ", detail.field) };
            let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            let value = match (is_changed, &detail.before, &detail.after) {
                (true, before, after) => format!("{} → {}", said(before), said(after)),
                (false, before, after) => said(if after.is_some() { after } else { before }),
            };
            format!("{name}{value}")
        })
    }
}

/// Sections in which an earlier entry comes before a later one.
const ORDERED: [&str; 3] = ["data_classes", "routes", "experiments"];
/// What names an entry of a section.
const NAMES: [&str; 3] = ["id", "class", "name"];

/// What `new` has that `old` has not, and the other way round. Empty if they mean the same.
///
/// # Errors
/// [`BundleError`] if either is no YAML; load them first to know that they are bundles.
pub fn diff(old: &str, new: &str) -> Result<Vec<Change>, BundleError> {
    let (Node::Map(old), Node::Map(new)) = (parse(old)?, parse(new)?) else {
        return Err(BundleError::at_start("a bundle is a map of sections"));
    };
    let mut changes = Vec::new();
    let mut sections: Vec<&String> = old.keys().chain(new.keys()).collect();
    sections.sort_unstable();
    sections.dedup();
    // As they are written, not by the alphabet.
    let order = |section: &&String| super::SECTIONS.iter().position(|known| known == section);
    sections.sort_by_key(order);
    for section in sections {
        match (old.get(section), new.get(section)) {
            (Some(Node::List(old)), Some(Node::List(new))) => entries(section, old, new, &mut changes),
            (Some(Node::List(old)), None) => entries(section, old, &[], &mut changes),
            (None, Some(Node::List(new))) => entries(section, &[], new, &mut changes),
            (old, new) => setting(section, old, new, &mut changes),
        }
    }
    Ok(changes)
}

fn parse(yaml: &str) -> Result<Node, BundleError> {
    serde_saphyr::from_str(yaml).map_err(|error| BundleError::from_yaml(&error))
}

/// A section that is no list.
fn setting(section: &str, old: Option<&Node>, new: Option<&Node>, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    let (kind, details) = match (old, new) {
        (Some(old), Some(new)) => (ChangeKind::Changed, differences(old, new)),
        (Some(old), None) => (ChangeKind::Removed, fields(old, Detail::gone)),
        (None, Some(new)) => (ChangeKind::Added, fields(new, Detail::new)),
        (None, None) => return,
    };
    changes.push(Change { section: section.to_owned(), rule: String::new(), kind, details });
}

fn entries(section: &str, old: &[Node], new: &[Node], changes: &mut Vec<Change>) {
    let (old, new) = (named(old), named(new));
    let is_ordered = ORDERED.contains(&section);
    // Places among those that both have: what was put in between moves nobody.
    let common = |of: &[(String, &Node)], other: &[(String, &Node)]| -> Vec<String> {
        of.iter().map(|(name, _)| name).filter(|name| other.iter().any(|(known, _)| known == *name)).cloned().collect()
    };
    let (before, after) = (common(&old, &new), common(&new, &old));
    let mut push = |rule: &str, kind, details| {
        changes.push(Change { section: section.to_owned(), rule: rule.to_owned(), kind, details });
    };
    for (name, entry) in &old {
        if !new.iter().any(|(known, _)| known == name) {
            push(name, ChangeKind::Removed, fields(entry, Detail::gone));
        }
    }
    for (name, entry) in &new {
        let Some((_, was)) = old.iter().find(|(known, _)| known == name) else {
            push(name, ChangeKind::Added, fields(entry, Detail::new));
            continue;
        };
        if was != entry {
            push(name, ChangeKind::Changed, differences(was, entry));
        }
        let place = |list: &[String]| list.iter().position(|known| known == name);
        if let (true, Some(was), Some(is)) =
            (is_ordered && place(&before) != place(&after), place(&before), place(&after))
        {
            let place = |at: usize| Some(format!("place {}", at + 1));
            let moved = Detail { field: String::new(), before: place(was), after: place(is) };
            push(name, ChangeKind::Moved, vec![moved]);
        }
    }
}

/// Entries by name; those without one by their place.
fn named(entries: &[Node]) -> Vec<(String, &Node)> {
    let name = |(place, entry): (usize, &Node)| -> String {
        let Node::Map(map) = entry else { return format!("number {}", place + 1) };
        let found = NAMES.iter().find_map(|field| match map.get(*field) {
            Some(Node::Scalar(name)) => Some(name.clone()),
            _ => None,
        });
        found.unwrap_or_else(|| format!("number {}", place + 1))
    };
    entries.iter().enumerate().map(|(place, entry)| (name((place, entry)), entry)).collect()
}

impl Detail {
    fn new(field: &str, value: String) -> Detail {
        Detail { field: field.to_owned(), before: None, after: Some(value) }
    }

    fn gone(field: &str, value: String) -> Detail {
        Detail { field: field.to_owned(), before: Some(value), after: None }
    }
}

fn fields(node: &Node, detail: fn(&str, String) -> Detail) -> Vec<Detail> {
    match node {
        Node::Map(map) => {
            let fields = map.iter().filter(|(field, _)| !NAMES.contains(&field.as_str()));
            fields.map(|(field, value)| detail(field, value.to_string())).collect()
        }
        other => vec![detail("", other.to_string())],
    }
}

fn differences(old: &Node, new: &Node) -> Vec<Detail> {
    let (Node::Map(old), Node::Map(new)) = (old, new) else {
        return vec![Detail { field: String::new(), before: Some(old.to_string()), after: Some(new.to_string()) }];
    };
    let mut fields: Vec<&String> = old.keys().chain(new.keys()).collect();
    fields.sort_unstable();
    fields.dedup();
    let changed = fields.into_iter().filter(|field| old.get(*field) != new.get(*field));
    let detail = |field: &String| Detail {
        field: field.clone(),
        before: old.get(field).map(Node::to_string),
        after: new.get(field).map(Node::to_string),
    };
    changed.map(detail).collect()
}

/// Any YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// `1`, `"1"` and `true` as their text: `when: true` means what `when: "true"` does.
    Scalar(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

/// As one line of YAML.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Scalar(text) => f.write_str(text),
            Node::List(list) => {
                let items: Vec<String> = list.iter().map(Node::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Node::Map(map) => {
                let entries: Vec<String> = map.iter().map(|(field, value)| format!("{field}: {value}")).collect();
                write!(f, "{{{}}}", entries.join(", "))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("YAML")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_owned()))
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(String::new()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = seq.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((field, value)) = entries.next_entry::<String, Node>()? {
                    map.insert(field, value);
                }
                Ok(Node::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"
apiVersion: tollgate/v1
bundle: {name: a, version: "1"}
access:
  - id: all            # everybody
    when: true
    allow: {}
  - {id: gone, when: 'request.stream', deny: never}
data_classes:
  - {class: personal}
  - {class: public, when: "true"}
"#;
    const NEW: &str = r#"
access:
  - {id: new, when: ['request.hour < 8'], deny: later}
  - {when: "true", allow: {models: [gpt]}, id: all}
bundle: {version: "2", name: a}
apiVersion: tollgate/v1
data_classes:
  - {class: public, when: "true"}
  - {class: personal}
"#;

    #[test]
    fn rules_are_told_apart_by_their_ids_and_layout_does_not_count() {
        let shown: Vec<String> = diff(OLD, NEW)
            .unwrap()
            .iter()
            .map(|change| {
                format!(
                    "{} {} {:?}: {}",
                    change.section,
                    change.rule,
                    change.kind,
                    change.lines().collect::<Vec<_>>().join("; ")
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "bundle  Changed: version: 1 → 2",
                "data_classes public Moved: place 2 → place 1",
                "data_classes personal Moved: place 1 → place 2",
                "access gone Removed: deny: never; when: request.stream",
                "access new Added: deny: later; when: [request.hour < 8]",
                "access all Changed: allow: {} → {models: [gpt]}",
            ]
        );
        assert_eq!(
            diff(OLD, &OLD.replace("            # everybody", "").replace("when: true", "when: 'true'")),
            Ok(vec![])
        );
    }
}

//! What stands in a text in place of what was found, and how it comes back. A placeholder names the kind (`<EMAIL>`); a
//! reversible one is numbered (`<EMAIL_1>`), the same for the same value throughout a call, and its value waits in a [`Vault`]
//! until the answer has been written. A vault lives as long as its call, in memory, and shows its values to nobody.

use std::fmt;

use super::{Entity, floor_char};

/// Longest placeholder that is looked for.
const MAX_PLACEHOLDER: usize = 48;

/// Values that were replaced.
#[derive(Default)]
pub struct Vault {
    /// Placeholder and value.
    kept: Vec<(String, String)>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("values", &self.kept.len()).finish()
    }
}

/// The placeholder of a value that does not come back.
#[must_use]
pub(crate) fn placeholder(entity: &Entity) -> String {
    format!("<{entity}>")
}

impl Vault {
    /// The placeholder of a value that comes back.
    pub(crate) fn keep(&mut self, entity: &Entity, value: &str) -> String {
        let belongs = |placeholder: &str| {
            let inner = placeholder.strip_prefix('<').and_then(|rest| rest.strip_prefix(entity.as_ref()));
            inner.is_some_and(|rest| rest.starts_with('_'))
        };
        if let Some((placeholder, _)) = self.kept.iter().find(|(name, known)| known == value && belongs(name)) {
            return placeholder.clone();
        }
        let number = self.kept.iter().filter(|(placeholder, _)| belongs(placeholder)).count() + 1;
        let placeholder = format!("<{entity}_{number}>");
        self.kept.push((placeholder.clone(), value.to_owned()));
        placeholder
    }

    /// Whether there is nothing to bring back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The text with every value back in its place.
    #[must_use]
    pub fn restore(&self, text: &str) -> String {
        self.restored(text, |value, out| out.push_str(value))
    }

    /// The same within JSON text: values are written as the inside of a JSON string.
    #[must_use]
    pub fn restore_json(&self, text: &str) -> String {
        self.restored(text, |value, out| {
            let quoted = serde_json::Value::from(value).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        })
    }

    fn restored(&self, text: &str, write: impl Fn(&str, &mut String)) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('<') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            match self.kept.iter().find(|(placeholder, _)| rest.starts_with(placeholder.as_str())) {
                Some((placeholder, value)) => {
                    write(value, &mut out);
                    rest = &rest[placeholder.len()..];
                }
                None => {
                    out.push('<');
                    rest = &rest[1..];
                }
            }
        }
        out.push_str(rest);
        out
    }
}

/// Brings values back in a text that comes in pieces: what may be the beginning of a placeholder waits.
#[derive(Debug, Default)]
pub struct Restorer {
    pending: String,
}

impl Restorer {
    /// What may go out now.
    pub fn push(&mut self, vault: &Vault, piece: &str) -> String {
        self.pending.push_str(piece);
        let tail = floor_char(&self.pending, self.pending.len().saturating_sub(MAX_PLACEHOLDER));
        let waits_at = self.pending[tail..].rfind('<').map(|at| tail + at).filter(|at| is_begun(&self.pending[*at..]));
        let rest = self.pending.split_off(waits_at.unwrap_or(self.pending.len()));
        let ready = std::mem::replace(&mut self.pending, rest);
        vault.restore(&ready)
    }

    /// What is left.
    pub fn finish(&mut self, vault: &Vault) -> String {
        vault.restore(&std::mem::take(&mut self.pending))
    }
}

/// Whether `text`, which begins with `<`, may still become a placeholder.
fn is_begun(text: &str) -> bool {
    text[1..].bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        let mut vault = Vault::default();
        assert_eq!(vault.keep(&"EMAIL".into(), "ada@example.org"), "<EMAIL_1>");
        assert_eq!(vault.keep(&"EMAIL".into(), "bob@example.org"), "<EMAIL_2>");
        assert_eq!(vault.keep(&"EMAIL".into(), "ada@example.org"), "<EMAIL_1>");
        assert_eq!(vault.keep(&"NOTE".into(), "a \"b\"\n"), "<NOTE_1>");
        vault
    }

    #[test]
    fn values_come_back_wherever_they_are_mentioned() {
        let vault = vault();
        assert_eq!(
            vault.restore("<EMAIL_2>, <EMAIL_1> and <EMAIL_3> < 4"),
            "bob@example.org, ada@example.org and <EMAIL_3> < 4"
        );
        assert_eq!(vault.restore_json("{\"n\":\"<NOTE_1>\"}"), "{\"n\":\"a \\\"b\\\"\\n\"}");
        assert!(!format!("{vault:?}").contains("ada"));
    }

    #[test]
    fn values_come_back_however_a_stream_is_cut() {
        let vault = vault();
        let text = "to <EMAIL_1>: x<y, <<EMAIL_2> and <EM";
        for size in 1..text.len() {
            let mut restorer = Restorer::default();
            let pieces = text.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap());
            let mut out: String = pieces.map(|piece| restorer.push(&vault, piece)).collect();
            out.push_str(&restorer.finish(&vault));
            assert_eq!(out, vault.restore(text), "pieces of {size}");
        }
    }
}

//! The one form in which requests are compared: two bodies that ask the same are the same bytes here. Names of fields come in
//! order (RFC 8785), white space and ways to escape a character do not matter, numbers stay as they were written, and what
//! says who asks, or how the answer is to travel, is left out. For a cache: what is not sure to be the same is told apart.

use std::borrow::Cow;
use std::ops::Range;

use tollgate_interaction::Dialect;

use crate::scan::Tree;

/// Fields at the top that change nothing about the answer: who asks is the cache's own matter, and whether the answer is a
/// stream is said beside the body, as some formats say it in the path.
const LEFT_OUT: [&str; 7] =
    ["stream", "user", "safety_identifier", "prompt_cache_key", "metadata", "requestMetadata", "labels"];
/// Fields at the top that make an answer depend on more than the request.
const STATEFUL: [&str; 3] = ["previous_response_id", "conversation", "background"];
/// What stands in the place of a question that is compared by its meaning. No JSON text begins like this.
const HOLE: &[u8] = b"?";
/// Fields of a part that is nothing but text.
const OF_TEXT: [&str; 3] = ["type", "text", "cache_control"];

/// A request that can be compared.
#[derive(Debug)]
pub struct Canonical<'a> {
    body: &'a [u8],
    tree: Tree<'a>,
    stream: bool,
}

/// The last thing a user says in a request, and all the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked.
    pub text: String,
    /// The request without it, as [`Canonical::bytes`] has it.
    pub rest: Vec<u8>,
}

impl<'a> Canonical<'a> {
    /// Reads a body; `stream` says whether the answer is to be one. `None` if it cannot be compared: it is not a JSON object,
    /// it holds half a character, or its answer depends on what the provider keeps of earlier calls.
    #[must_use]
    pub fn read(body: &'a [u8], stream: bool) -> Option<Self> {
        let tree = Tree::read(body).ok()?;
        tree.fields().map(drop)?;
        let is_set = |name: &&str| tree.get(name).is_some_and(|value| !matches!(&*value.raw(), "null" | "false"));
        if STATEFUL.iter().any(is_set) || holds_half_a_character(body) {
            return None;
        }
        Some(Canonical { body, tree, stream })
    }

    /// The request in its one form.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.written(None)
    }

    /// The last turn, if it is a user's and nothing but text, and the rest of the request.
    #[must_use]
    pub fn question(&self, dialect: Dialect) -> Option<Question> {
        let field = match dialect {
            Dialect::Openai | Dialect::Anthropic | Dialect::Bedrock => "messages",
            Dialect::Responses => "input",
            Dialect::Gemini => "contents",
        };
        let turns = self.tree.get(field)?;
        let content = match turns.items() {
            Some(turns) => {
                let last = turns.last()?;
                let role = last.get("role").map(|role| role.text().unwrap_or_default());
                // Google's may leave it out.
                let is_users = role.map_or(dialect == Dialect::Gemini, |role| role == "user");
                let is_message = last.get("type").is_none_or(|kind| kind.text().as_deref() == Some("message"));
                last.get(if dialect == Dialect::Gemini { "parts" } else { "content" })
                    .filter(|_| is_users && is_message)?
            }
            // Responses take a bare text for a turn.
            None => turns,
        };
        let text = plain_text(content)?;
        (!text.trim().is_empty()).then(|| Question { text, rest: self.written(Some(content.place(self.body))) })
    }

    fn written(&self, hole: Option<Range<usize>>) -> Vec<u8> {
        let mut writer = Writer { body: self.body, hole, out: Vec::with_capacity(self.body.len()) };
        let is_kept = |name: &str| {
            let is_of_streams = name == "stream_options" && !self.stream;
            !LEFT_OUT.contains(&name) && !is_of_streams
        };
        writer.object(&self.tree, is_kept);
        writer.out
    }
}

/// The texts of a turn that has nothing else.
fn plain_text(content: &Tree<'_>) -> Option<String> {
    if let Some(text) = content.text() {
        return Some(text.into_owned());
    }
    let mut texts = Vec::new();
    for part in content.items()? {
        if part.fields()?.any(|(name, _)| !OF_TEXT.contains(&name.as_ref())) {
            return None;
        }
        texts.push(part.get("text")?.text()?);
    }
    Some(texts.join("\n"))
}

/// Whether an escape stands for half of a character: such a text cannot be told from others once it is read.
fn holds_half_a_character(body: &[u8]) -> bool {
    let may_hold = memchr::memmem::find(body, b"\\ud").is_some() || memchr::memmem::find(body, b"\\uD").is_some();
    may_hold && serde_json::from_slice::<serde_json::Value>(body).is_err()
}

struct Writer<'a> {
    body: &'a [u8],
    hole: Option<Range<usize>>,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn value(&mut self, tree: &Tree<'_>) {
        if self.hole.as_ref().is_some_and(|hole| *hole == tree.place(self.body)) {
            return self.out.extend_from_slice(HOLE);
        }
        if let Some(text) = tree.text() {
            self.text(&text);
        } else if let Some(items) = tree.items() {
            self.out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    self.out.push(b',');
                }
                self.value(item);
            }
            self.out.push(b']');
        } else if tree.fields().is_some() {
            self.object(tree, |_| true);
        } else {
            self.out.extend_from_slice(tree.raw().as_bytes());
        }
    }

    fn object(&mut self, tree: &Tree<'_>, is_kept: impl Fn(&str) -> bool) {
        let mut fields: Vec<(Cow<'_, str>, &Tree<'_>)> =
            tree.fields().into_iter().flatten().filter(|(name, _)| is_kept(name)).collect();
        // Stable: of two fields with one name the order may matter to whoever reads them.
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.out.push(b'{');
        for (at, (name, value)) in fields.into_iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.text(&name);
            self.out.push(b':');
            self.value(value);
        }
        self.out.push(b'}');
    }

    fn text(&mut self, text: &str) {
        // A text always has a JSON form, and a Vec takes all that is written to it.
        let written = serde_json::to_writer(&mut self.out, text);
        debug_assert!(written.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: &str) -> String {
        String::from_utf8(Canonical::read(body.as_bytes(), false).unwrap().bytes()).unwrap()
    }

    #[test]
    fn order_white_space_and_escapes_do_not_matter() {
        let one = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"é\\n\"}],\"temperature\":0.50}";
        let other = " {\"temperature\" : 0.50,\n\"messages\":[ {\"content\":\"\\u00e9\\u000a\",\"role\":\"user\"} ],\"model\":\"m\"}";
        assert_eq!(form(one), form(other));
        assert_eq!(form(r#"{"b":[2,{"d":1,"c":null}],"a":true}"#), r#"{"a":true,"b":[2,{"c":null,"d":1}]}"#);
    }

    #[test]
    fn what_asks_something_else_is_told_apart() {
        let base = r#"{"model":"m","temperature":0.5,"messages":[1,2]}"#;
        for other in [
            r#"{"model":"n","temperature":0.5,"messages":[1,2]}"#,
            r#"{"model":"m","temperature":0.50,"messages":[1,2]}"#,
            r#"{"model":"m","temperature":"0.5","messages":[1,2]}"#,
            r#"{"model":"m","temperature":0.5,"messages":[2,1]}"#,
            r#"{"model":"m","temperature":0.5,"messages":[1,2],"seed":null}"#,
            r#"{"model":"m","model":"m","temperature":0.5,"messages":[1,2]}"#,
        ] {
            assert_ne!(form(base), form(other), "{other}");
        }
    }

    #[test]
    fn who_asks_and_how_the_answer_travels_is_left_out_at_the_top_only() {
        let asked = r#"{"model":"m","user":"ann","stream":false,"stream_options":null,"metadata":{"a":"b"},"tools":[{"user":1}]}"#;
        assert_eq!(form(asked), r#"{"model":"m","tools":[{"user":1}]}"#);
        let streamed = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
        let kept = Canonical::read(streamed.as_bytes(), true).unwrap().bytes();
        assert_eq!(kept, br#"{"model":"m","stream_options":{"include_usage":true}}"#);
    }

    #[test]
    fn what_cannot_be_compared_is_not() {
        for body in [
            "",
            "[1]",
            "{",
            r#"{"a":"\ud800"}"#,
            r#"{"a\uD800":1}"#,
            r#"{"previous_response_id":"r"}"#,
            r#"{"background":true}"#,
            r#"{"conversation":{"id":"c"}}"#,
        ] {
            assert!(Canonical::read(body.as_bytes(), false).is_none(), "{body}");
        }
        assert_eq!(form(r#"{"a":"\ud83d\ude00","background":false,"conversation":null}"#).len(), 51);
    }

    fn question(dialect: Dialect, body: &str) -> Option<(String, String)> {
        let found = Canonical::read(body.as_bytes(), false)?.question(dialect)?;
        Some((found.text, String::from_utf8(found.rest).unwrap()))
    }

    #[test]
    fn the_last_question_is_found_in_every_format_and_the_rest_stays() {
        let cases = [
            (Dialect::Openai, r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"why?"}]}"#),
            (Dialect::Openai, r#"{"messages":[{"role":"user","content":[{"type":"text","text":"why?"}]}]}"#),
            (Dialect::Anthropic, r#"{"system":"s","messages":[{"role":"user","content":"why?"}]}"#),
            (Dialect::Responses, r#"{"input":"why?"}"#),
            (Dialect::Responses, r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"why?"}]}]}"#),
            (Dialect::Gemini, r#"{"contents":[{"parts":[{"text":"why?"}]}]}"#),
            (Dialect::Bedrock, r#"{"messages":[{"role":"user","content":[{"text":"why?"}]}]}"#),
        ];
        for (dialect, body) in cases {
            let (text, rest) = question(dialect, body).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(text, "why?", "{body}");
            assert!(rest.contains('?') && !rest.contains("why"), "{rest}");
            let (_, same) = question(dialect, &body.replace("why?", "how come")).unwrap();
            assert_eq!(rest, same);
        }
        let earlier = |said: &str| {
            format!(r#"{{"messages":[{{"role":"assistant","content":"{said}"}},{{"role":"user","content":"why?"}}]}}"#)
        };
        assert_ne!(question(Dialect::Openai, &earlier("a")), question(Dialect::Openai, &earlier("b")));
    }

    #[test]
    fn what_is_no_question_in_words_is_compared_as_a_whole() {
        for body in [
            r#"{"messages":[]}"#,
            r#"{"messages":[{"role":"assistant","content":"a"}]}"#,
            r#"{"messages":[{"role":"tool","content":"a"}]}"#,
            r#"{"messages":[{"role":"user","content":"  "}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"tool_result","content":"a"}]}]}"#,
        ] {
            assert_eq!(question(Dialect::Openai, body), None, "{body}");
        }
    }
}

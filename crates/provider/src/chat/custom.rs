//! Tools that are given a text of their own form and not arguments that fit a schema. OpenAI's two formats of conversation have
//! them. Source: the types of `openai` 3.57.0, <https://platform.openai.com/docs/guides/function-calling#custom-tools>
//! (2026-11-27).

use super::CacheFor;

/// A tool that takes free text.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomTool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// What its text has to be, if not just any.
    pub grammar: Option<Grammar>,
    /// The caller wants everything up to and including this tool cached.
    pub cache: Option<CacheFor>,
    /// Where the caller wrote it.
    pub at: String,
}

/// The form of a tool's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grammar {
    /// In what it is written: `lark` or `regex`.
    pub syntax: String,
    /// The grammar.
    pub definition: String,
}

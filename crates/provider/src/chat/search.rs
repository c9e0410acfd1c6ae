//! The search of the web that a provider does by itself. Four dialects have a tool for it, with much the same wishes; what
//! may be searched is part of what was asked for, and the rest are wishes.

use serde_json::{Map, Value};

use super::Said;

/// Asks that the model may search the web.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebSearch {
    /// Nothing but these domains.
    pub allowed_domains: Option<Said<Vec<String>>>,
    /// None of these domains.
    pub blocked_domains: Option<Said<Vec<String>>>,
    /// Most searches.
    pub max_uses: Option<Said<u64>>,
    /// How much of what is found is read: `low`, `medium` or `high`.
    pub depth: Option<Said<String>>,
    /// Where the user is: `city`, `country`, `region`, `timezone`, each a text.
    pub place: Option<Said<Map<String, Value>>>,
}

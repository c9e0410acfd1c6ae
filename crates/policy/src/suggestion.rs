//! "Did you mean": the known name closest to an unknown one.

/// The name in `known` that `unknown` was probably meant to be, if one is close.
#[must_use]
pub fn closest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A slip in three letters, or two in six.
    const ENOUGH: f64 = 0.66;
    let lowered = unknown.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for name in known {
        let similarity = strsim::normalized_damerau_levenshtein(&lowered, name)
            .max(tail_similarity(&lowered, name))
            .max(beginning_similarity(&lowered, name));
        if similarity >= ENOUGH && best.is_none_or(|(record, _)| similarity > record) {
            best = Some((similarity, name));
        }
    }
    best.map(|(_, name)| name)
}

/// `team` or `user.team` is probably `principal.team`: compares what follows the last dot, a little less sure.
fn tail_similarity(unknown: &str, name: &str) -> f64 {
    let tail = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    0.95 * strsim::normalized_damerau_levenshtein(&tail(unknown), &tail(name))
}

/// `anthropic` is probably `ant`, and `ant` is `anthropic`, where nothing is closer.
fn beginning_similarity(unknown: &str, name: &str) -> f64 {
    const FEWEST: usize = 3;
    let begins = unknown.starts_with(name) || name.starts_with(unknown);
    if begins && unknown.len().min(name.len()) >= FEWEST { 0.66 } else { 0.0 }
}

/// `; did you mean `x`?` or nothing.
#[must_use]
pub fn phrase<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(unknown, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// `; did you mean `x`?`, or else what to write.
#[must_use]
pub fn phrase_or<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>, advice: &str) -> String {
    let phrase = phrase(unknown, known);
    if phrase.is_empty() { format!("; {advice}") } else { phrase }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_name() {
        assert_eq!(closest("acess", ["access", "budgets"]), Some("access"));
        assert_eq!(closest("user.team", ["principal.team", "request.model"]), Some("principal.team"));
        assert_eq!(closest("gemmi", ["gemini", "groq"]), Some("gemini"));
        assert_eq!(closest("anthropic", ["ant", "openai"]), Some("ant"));
        assert_eq!(closest("up", ["down", "upper"]), None);
        assert_eq!(closest("zebra", ["access", "budgets"]), None);
    }
}

//! Markers of the prompt cache. Anthropic and Amazon refuse a request with more than four, and one that keeps a longer prefix
//! for longer than a shorter one; OpenAI takes any number and heeds the last ones. So the last ones are kept, none for longer
//! than the one before it, and what became of the others is listed.

use super::Losses;
use crate::chat::{CacheFor, Content, Part, Request};

/// Markers that a request may hold.
/// Source: <https://platform.claude.com/docs/en/build-with-claude/prompt-caching> (2026-11-26).
const MAX_MARKERS: usize = 4;

/// Takes all but the last markers out of `request`, and makes those behind a short one short. A prefix that is cached begins
/// with the tools, and goes on with the system prompt.
pub(crate) fn keep_last(request: &mut Request, losses: &mut Losses) {
    let mut markers: Vec<(&mut Option<CacheFor>, &str)> =
        request.tools.iter_mut().map(|tool| (&mut tool.cache, tool.at.as_str())).collect();
    let messages = request.messages.iter_mut().flat_map(|message| &mut message.parts);
    request.system.iter_mut().chain(messages).for_each(|part| gather(part, &mut markers));
    markers.retain(|(cache, _)| cache.is_some());
    let excess = markers.len().saturating_sub(MAX_MARKERS);
    let mut is_short = false;
    for (index, (cache, at)) in markers.into_iter().enumerate() {
        if index < excess {
            *cache = None;
            losses.note_marker(at);
        } else if is_short && *cache == Some(CacheFor::OneHour) {
            *cache = Some(CacheFor::FiveMinutes);
            losses.note_marker(at);
        }
        is_short |= *cache == Some(CacheFor::FiveMinutes);
    }
}

/// The markers within a part, and the one behind it.
fn gather<'a>(part: &'a mut Part, markers: &mut Vec<(&'a mut Option<CacheFor>, &'a str)>) {
    if let Content::ToolResult(result) = &mut part.content {
        result.parts.iter_mut().for_each(|inner| gather(inner, markers));
    }
    markers.push((&mut part.cache, &part.at));
}

#[cfg(test)]
mod tests {
    use tollgate_interaction::Dialect;

    use super::*;
    use crate::chat::{Message, Role};
    use crate::translate::OnUnsupported;

    #[test]
    fn none_lives_longer_than_the_one_before_it() {
        let part = |cache, at: &str| Part { cache: Some(cache), ..Part::new(Content::text("x"), at) };
        let lives = [CacheFor::OneHour, CacheFor::FiveMinutes, CacheFor::OneHour];
        let parts = lives.into_iter().zip(["a", "b", "c"]).map(|(cache, at)| part(cache, at)).collect();
        let mut request = Request { system: parts, ..Request::default() };
        let mut losses = Losses::new(Dialect::Anthropic, OnUnsupported::Refuse);
        keep_last(&mut request, &mut losses);
        let lives: Vec<_> = request.system.iter().filter_map(|part| part.cache).collect();
        assert_eq!(lives, [CacheFor::OneHour, CacheFor::FiveMinutes, CacheFor::FiveMinutes]);
        assert_eq!(losses.into_dropped(), ["c (cache marker)"]);
    }

    #[test]
    fn the_last_four_are_kept() {
        let part = |at: &str| Part { cache: Some(CacheFor::FiveMinutes), ..Part::new(Content::text("x"), at) };
        let parts = ["a", "b", "c", "d"].map(part).to_vec();
        let mut request = Request {
            system: vec![part("system[0]"), Part::new(Content::text("y"), "system[1]")],
            messages: vec![Message { role: Role::User, parts, name: None }],
            ..Request::default()
        };
        let mut losses = Losses::new(Dialect::Anthropic, OnUnsupported::Refuse);
        keep_last(&mut request, &mut losses);
        assert_eq!(losses.into_dropped(), ["system[0] (cache marker)"]);
        assert!(request.messages[0].parts.iter().all(|part| part.cache.is_some()));
        assert_eq!(request.system[0].cache, None);
    }
}

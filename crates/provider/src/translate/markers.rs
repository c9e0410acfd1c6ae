//! Markers of the prompt cache. Anthropic and Amazon refuse a request with more than four; OpenAI takes any number and heeds
//! the last ones. So the last ones are kept, and the others listed.

use super::Losses;
use crate::chat::{CacheFor, Content, Part, Request};

/// Markers that a request may hold.
/// Source: <https://platform.claude.com/docs/en/build-with-claude/prompt-caching> (2026-11-26).
const MAX_MARKERS: usize = 4;

/// Takes all but the last markers out of `request`. A prefix that is cached begins with the tools, and goes on with the
/// system prompt.
pub(crate) fn keep_last(request: &mut Request, losses: &mut Losses) {
    let mut markers: Vec<(&mut Option<CacheFor>, &str)> =
        request.tools.iter_mut().map(|tool| (&mut tool.cache, tool.at.as_str())).collect();
    let messages = request.messages.iter_mut().flat_map(|message| &mut message.parts);
    request.system.iter_mut().chain(messages).for_each(|part| gather(part, &mut markers));
    markers.retain(|(cache, _)| cache.is_some());
    let excess = markers.len().saturating_sub(MAX_MARKERS);
    for (cache, at) in markers.into_iter().take(excess) {
        *cache = None;
        losses.note(at);
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
        assert_eq!(losses.into_dropped(), ["system[0]"]);
        assert!(request.messages[0].parts.iter().all(|part| part.cache.is_some()));
        assert_eq!(request.system[0].cache, None);
    }
}

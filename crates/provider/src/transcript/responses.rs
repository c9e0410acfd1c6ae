//! The items of OpenAI's Responses API as text: those of a request, of an answer, and of a stream that may have broken
//! off before it said what it came to.

use std::borrow::Cow;

use super::{Pieces, array, content_text, joined, media, text};
use crate::scan::Tree;

/// Who says an item of a request, and its text; `None` if it is no item.
pub(super) fn asked_item(item: &Tree<'_>) -> Option<(Cow<'static, str>, String)> {
    let kind = text(item, "type");
    let role = match kind.as_ref() {
        "" | "message" => Cow::Owned(text(item, "role").into_owned()),
        kind if kind.ends_with("_output") => Cow::Borrowed("tool"),
        _ => Cow::Borrowed("assistant"),
    };
    if kind.is_empty() && role.is_empty() {
        return None;
    }
    Some((role, item_text(item)))
}

/// The text of an answer.
pub(super) fn answer(response: &Tree<'_>) -> String {
    joined(array(response, "output").iter().map(item_text).collect())
}

fn item_text(item: &Tree<'_>) -> String {
    let content = |field| item.get(field).map(content_text).unwrap_or_default();
    match text(item, "type").as_ref() {
        "" | "message" => content("content"),
        "function_call" => format!("{}({})", text(item, "name"), text(item, "arguments")),
        "custom_tool_call" => format!("{}({})", text(item, "name"), text(item, "input")),
        kind if kind.ends_with("_output") => content("output"),
        "reasoning" => joined(["summary", "content"].iter().flat_map(|field| thoughts(item, field)).collect()),
        kind => media::part(kind, item).unwrap_or_else(|| format!("[{kind}]")),
    }
}

fn thoughts(item: &Tree<'_>, field: &str) -> Vec<String> {
    array(item, field).iter().map(|part| text(part, "text").into_owned()).collect()
}

/// Adds what an event says to the piece of its item.
pub(super) fn read_event(pieces: &mut Pieces, event: &Tree<'_>) {
    let kind = text(event, "type");
    let Some(kind) = kind.strip_prefix("response.") else { return };
    let index = event.get("output_index").and_then(Tree::count).and_then(|index| usize::try_from(index).ok());
    let Some(piece) = index.and_then(|index| pieces.nth(index)) else { return };
    match kind {
        "output_text.delta" | "refusal.delta" | "reasoning_summary_text.delta" | "reasoning_text.delta" => {
            piece.text.push_str(&text(event, "delta"));
        }
        "function_call_arguments.delta" | "custom_tool_call_input.delta" => {
            if let Some(call) = piece.call(0) {
                call.1.push_str(&text(event, "delta"));
            }
        }
        "output_item.added" => {
            let item = event.get("item").unwrap_or(event);
            match text(item, "type").as_ref() {
                "message" | "reasoning" => {}
                "function_call" | "custom_tool_call" => {
                    if let Some(call) = piece.call(0) {
                        call.0.push_str(&text(item, "name"));
                    }
                }
                other => piece.text = format!("[{other}]"),
            }
        }
        // A picture comes with the end of its item.
        "output_item.done" => {
            let item = event.get("item").unwrap_or(event);
            if let Some(words) = media::part(&text(item, "type"), item) {
                piece.text = words;
            }
        }
        _ => {}
    }
}

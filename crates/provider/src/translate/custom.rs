//! Tools that take free text, on their way to a dialect that has none: they are what only the caller's API has, and so are
//! calls of them and the results of these.

use std::collections::HashSet;

use serde_json::{Value, json};
use tollgate_interaction::Dialect;

use crate::chat::{Content, CustomTool, Request, Said, ToolChoice};

/// What the result of such a call is called.
pub(super) const RESULT: &str = "custom_tool_call_output";

/// Makes of them what `to` refuses by name, or drops, unless it has them.
pub(super) fn set_apart(to: Dialect, request: &mut Request) {
    if matches!(to, Dialect::Openai | Dialect::Responses) {
        return;
    }
    let tools = std::mem::take(&mut request.custom_tools);
    let is_custom = |name: &str| tools.iter().any(|tool| tool.name == name);
    // Whoever leaves the tool out cannot ask for it.
    if let Some(Said { value: ToolChoice::Named(name), at }) =
        request.tool_choice.take_if(|choice| match &choice.value {
            ToolChoice::Named(name) => is_custom(name),
            ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => false,
        })
    {
        request.others.push(Said::new(json!({ "type": "custom", "name": name }), at));
    }
    let other = |CustomTool { name, at, .. }: CustomTool| Said::new(json!({ "type": "custom", "name": name }), at);
    request.others.extend(tools.into_iter().map(other));
    let mut calls = HashSet::new();
    for part in request.messages.iter_mut().flat_map(|message| &mut message.parts) {
        let kind = match &part.content {
            Content::CustomCall(call) => {
                calls.insert(call.id.clone());
                "custom_tool_call"
            }
            Content::ToolResult(result) if calls.contains(&result.id) => RESULT,
            _ => continue,
        };
        part.content = Content::Native { dialect: Dialect::Responses, kind: kind.to_owned(), value: Value::Null };
    }
}

#[cfg(test)]
mod tests {
    use crate::translate::{Address, OnUnsupported, request};
    use tollgate_interaction::Dialect;

    #[test]
    fn a_conversation_that_ends_with_what_a_custom_tool_answered_goes_to_nobody_who_has_none() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"Add"},
            {"role":"assistant","tool_calls":[{"id":"c","type":"custom","custom":{"name":"math","input":"1+2"}}]},
            {"role":"tool","tool_call_id":"c","content":"3"}],"tools":[{"type":"custom","custom":{"name":"math"}}]}"#;
        for to in [Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock] {
            for on in [OnUnsupported::Refuse, OnUnsupported::Drop] {
                let refused = request(Dialect::Openai, to, body.as_bytes(), Address::default(), "m", on);
                let said = refused.unwrap_err().to_string();
                assert!(said.contains("`messages[2]` (`custom_tool_call_output`"), "{to}: {said}");
            }
        }
    }

    #[test]
    fn a_tool_that_is_dropped_is_not_asked_for_by_name() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"Add"}],"tools":[{"type":"custom","custom":
            {"name":"math"}}],"tool_choice":{"type":"custom","custom":{"name":"math"}}}"#;
        for to in [Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock] {
            let dropped =
                request(Dialect::Openai, to, body.as_bytes(), Address::default(), "m", OnUnsupported::Drop).unwrap();
            assert_eq!(dropped.dropped, ["tool_choice", "tools[0]"], "{to}");
            assert!(!String::from_utf8_lossy(&dropped.body).contains("math"), "{to}");
        }
    }
}

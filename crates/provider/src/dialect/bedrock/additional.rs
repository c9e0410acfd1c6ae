//! What Converse says only in `additionalModelRequestFields`, in the words of each maker's models: thinking, `top_k`, one tool
//! call at a time. They are known from the model's id; a model whose id does not name its maker, such as an application
//! inference profile, is taken for Claude, which most of them are.
//! Sources: <https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html>,
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html>,
//! <https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html> (2026-11-26).

use serde_json::{Map, Value, json};

use crate::chat::{CacheFor, Effort, Reasoning, Request, Said, ToolChoice};
use crate::dialect::RequestError;
use crate::translate::thinking::budget;
use crate::translate::{Fields, Losses, Unsupported, markers};

/// The least that Claude may spend on thinking where it is counted.
const MIN_BUDGET_TOKENS: u64 = 1_024;

/// Whose words a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Thinks as much as it sees fit, guided by an effort.
    Claude,
    /// Thinks a number of tokens: Claude before 4.6.
    ClaudeByBudget,
    Nova,
    /// OpenAI's open models.
    GptOss,
    Other,
}

impl Family {
    /// Of the model with this id, ARN or profile.
    pub(super) fn of(model: &str) -> Family {
        const BY_BUDGET: [&str; 8] = [
            "claude-3",
            "claude-sonnet-4-2025",
            "claude-opus-4-2025",
            "claude-opus-4-1",
            "claude-sonnet-4-5",
            "claude-opus-4-5",
            "claude-haiku-4-5",
            "claude-v",
        ];
        const OTHERS: [&str; 17] = [
            "amazon.titan",
            "ai21.",
            "cohere.",
            "deepseek.",
            "google.",
            "meta.",
            "minimax.",
            "mistral.",
            "moonshot.",
            "moonshotai.",
            "nvidia.",
            "qwen.",
            "stability.",
            "twelvelabs.",
            "writer.",
            "xai.",
            "zai.",
        ];
        if BY_BUDGET.iter().any(|name| model.contains(name)) {
            Family::ClaudeByBudget
        } else if model.contains("anthropic.") {
            Family::Claude
        } else if model.contains("amazon.nova") {
            Family::Nova
        } else if model.contains("openai.") {
            Family::GptOss
        } else if OTHERS.iter().any(|name| model.contains(name)) {
            Family::Other
        } else {
            Family::Claude
        }
    }

    /// Whether it is Claude.
    pub(super) fn is_claude(self) -> bool {
        matches!(self, Family::Claude | Family::ClaudeByBudget)
    }

    /// Whether it will be told in tokens how much to think.
    pub(super) fn thinks_by_budget(self, reasoning: Option<&Said<Reasoning>>) -> bool {
        let Some(Said { value: reasoning, .. }) = reasoning.filter(|said| !said.value.is_off()) else { return false };
        match self {
            Family::ClaudeByBudget => true,
            Family::Claude => reasoning.budget_tokens.is_some(),
            Family::Nova | Family::GptOss | Family::Other => false,
        }
    }

    /// Takes out of `request` the markers of the cache that the model would refuse.
    /// Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html> (2026-11-26).
    pub(super) fn keep_markers(self, request: &mut Request, losses: &mut Losses) {
        let takes_any = self.is_claude() || self == Family::Nova;
        for tool in request.tools.iter_mut().filter(|_| !self.is_claude()) {
            if tool.cache.take().is_some() {
                losses.note_marker(&tool.at);
            }
        }
        let messages = request.messages.iter_mut().flat_map(|message| &mut message.parts);
        for part in request.system.iter_mut().chain(messages).filter(|part| part.cache.is_some()) {
            match self {
                Family::Claude | Family::ClaudeByBudget => {}
                // Nova keeps what it caches for five minutes, and knows no other time.
                Family::Nova if part.cache == Some(CacheFor::FiveMinutes) => {}
                Family::Nova => {
                    part.cache = Some(CacheFor::FiveMinutes);
                    losses.note_marker(&part.at);
                }
                Family::GptOss | Family::Other => {
                    part.cache = None;
                    losses.note_marker(&part.at);
                }
            }
        }
        if takes_any {
            markers::keep_last(request, losses);
        }
    }
}

/// Reads the fields we know into `request`.
///
/// # Errors
/// [`RequestError::Malformed`] names the field that is not what the model wants.
pub(super) fn read(mut fields: Fields, request: &mut Request) -> Result<(), RequestError> {
    request.top_k = fields.count("top_k")?;
    for name in ["thinking", "reasoning_config", "reasoningConfig"] {
        let at = fields.path(name);
        let Some(mut thinking) = fields.object(name)? else { continue };
        let read = read_thinking(&mut thinking)?;
        merge(request, read, at);
        request.others.extend(thinking.rest());
    }
    if let Some(effort) = fields.text("reasoning_effort")? {
        read_effort(effort, request)?;
    }
    if let Some(mut config) = fields.object("output_config")? {
        if let Some(effort) = config.text("effort")? {
            read_effort(effort, request)?;
        }
        request.others.extend(config.rest());
    }
    if let Some(mut config) = fields.object("inferenceConfig")? {
        request.top_k = config.count("topK")?.or(request.top_k.take());
        request.others.extend(config.rest());
    }
    if let Some(choice) = fields.object("tool_choice")? {
        read_tool_choice(choice, request)?;
    }
    request.others.extend(fields.rest());
    Ok(())
}

/// Reads an effort in words.
///
/// # Errors
/// [`RequestError::Malformed`] if the word is none of those we know.
pub(super) fn read_effort(effort: Said<String>, request: &mut Request) -> Result<(), RequestError> {
    let Some(word) = Effort::from_word(&effort.value) else {
        let expected = "send `low`, `medium`, `high`, `xhigh` or `max`";
        return Err(RequestError::Malformed { field: effort.at, expected });
    };
    merge(request, Reasoning { effort: Some(word), ..Reasoning::default() }, effort.at);
    Ok(())
}

fn merge(request: &mut Request, read: Reasoning, at: String) {
    let said = request.reasoning.get_or_insert_with(|| Said::new(Reasoning::default(), at));
    let known = &mut said.value;
    known.effort = read.effort.or(known.effort);
    known.budget_tokens = read.budget_tokens.or(known.budget_tokens);
    known.enabled = read.enabled.or(known.enabled);
    known.shown = read.shown.or(known.shown);
}

fn read_thinking(thinking: &mut Fields) -> Result<Reasoning, RequestError> {
    let mut reasoning = Reasoning::default();
    if let Some(kind) = thinking.text("type")? {
        reasoning.enabled = match kind.value.as_str() {
            "enabled" | "adaptive" => Some(true),
            "disabled" => Some(false),
            _ => {
                let expected = "send `enabled`, `adaptive` or `disabled`";
                return Err(RequestError::Malformed { field: kind.at, expected });
            }
        };
    }
    reasoning.budget_tokens = thinking.count("budget_tokens")?.map(|budget| budget.value);
    if let Some(display) = thinking.text("display")? {
        reasoning.shown = Some(display.value != "omitted");
    }
    if let Some(effort) = thinking.text("maxReasoningEffort")? {
        reasoning.effort = Effort::from_word(&effort.value);
    }
    Ok(reasoning)
}

/// Claude's own way to say it, which knows `none` and one call at a time.
fn read_tool_choice(mut choice: Fields, request: &mut Request) -> Result<(), RequestError> {
    let at = choice.at().to_owned();
    let field = choice.path("type");
    let kind = choice.required_text("type")?;
    let value = match kind.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.required_text("name")?),
        _ => return Err(RequestError::Malformed { field, expected: "send `auto`, `any`, `tool` or `none`" }),
    };
    if let Some(disabled) = choice.flag("disable_parallel_tool_use")? {
        request.parallel_tool_calls = Some(Said::new(!disabled.value, disabled.at));
    }
    request.tool_choice = Some(Said::new(value, at));
    request.others.extend(choice.rest());
    Ok(())
}

/// Claude's own `tool_choice`, for what `toolConfig.toolChoice` cannot say.
pub(super) fn tool_choice(choice: Option<&ToolChoice>, one_at_a_time: bool) -> Value {
    let mut written = Map::new();
    let kind = match choice {
        None | Some(ToolChoice::Auto) => "auto",
        Some(ToolChoice::None) => "none",
        Some(ToolChoice::Required) => "any",
        Some(ToolChoice::Named(_)) => "tool",
    };
    written.insert("type".to_owned(), kind.into());
    if let Some(ToolChoice::Named(name)) = choice {
        written.insert("name".to_owned(), name.as_str().into());
    }
    if one_at_a_time {
        written.insert("disable_parallel_tool_use".to_owned(), true.into());
    }
    Value::Object(written)
}

/// Writes `top_k` where the model has it.
///
/// # Errors
/// [`Unsupported`] where it has not.
pub(super) fn write_top_k(
    top_k: Option<Said<u64>>,
    family: Family,
    fields: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let Some(top_k) = top_k else { return Ok(()) };
    match family {
        Family::Claude | Family::ClaudeByBudget => fields.insert("top_k".to_owned(), top_k.value.into()),
        Family::Nova => fields.insert("inferenceConfig".to_owned(), json!({ "topK": top_k.value })),
        Family::GptOss | Family::Other => return losses.lose(&top_k.at, "`top_k` for this model"),
    };
    Ok(())
}

/// Writes how hard to think. Returns the effort that belongs into `outputConfig`.
///
/// # Errors
/// [`Unsupported`] where the model cannot be told.
pub(super) fn write_reasoning(
    reasoning: Option<Said<Reasoning>>,
    family: Family,
    max_tokens: Option<u64>,
    fields: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<Option<Effort>, Unsupported> {
    let Some(Said { value: reasoning, at }) = reasoning else { return Ok(None) };
    let effort = reasoning.effort.or_else(|| reasoning.budget_tokens.map(Effort::of_budget));
    let is_off = reasoning.enabled == Some(false) || effort == Some(Effort::None);
    match family {
        Family::Claude | Family::ClaudeByBudget => {
            return write_claude(reasoning, is_off, &at, family, max_tokens, fields, losses);
        }
        Family::Nova => {
            let mut config = json!({ "type": if is_off { "disabled" } else { "enabled" } });
            if let (Some(effort), false) = (effort, is_off) {
                config["maxReasoningEffort"] = three_efforts(effort, &at, losses).into();
            }
            fields.insert("reasoningConfig".to_owned(), config);
        }
        Family::GptOss if is_off => losses.lose(&at, "a model that does not think")?,
        Family::GptOss => {
            if let Some(effort) = effort {
                fields.insert("reasoning_effort".to_owned(), three_efforts(effort, &at, losses).into());
            }
        }
        // It thinks or does not think, whatever it is told.
        Family::Other => losses.lose(&at, "how hard this model is to think")?,
    }
    Ok(None)
}

/// The nearest of three levels; where it is another than was asked for, that is listed.
fn three_efforts(effort: Effort, at: &str, losses: &mut Losses) -> &'static str {
    let known = effort.clamp(Effort::Low, Effort::High);
    if known != effort {
        losses.note(at);
    }
    known.as_str()
}

fn write_claude(
    reasoning: Reasoning,
    is_off: bool,
    at: &str,
    family: Family,
    max_tokens: Option<u64>,
    fields: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<Option<Effort>, Unsupported> {
    if is_off {
        fields.insert("thinking".to_owned(), json!({ "type": "disabled" }));
        return Ok(None);
    }
    let Reasoning { effort, budget_tokens, enabled, shown } = reasoning;
    if effort.is_none() && budget_tokens.is_none() && enabled.is_none() && shown.is_none() {
        return Ok(None);
    }
    let by_effort = family == Family::Claude && budget_tokens.is_none();
    let mut thinking = Map::new();
    if by_effort {
        thinking.insert("type".to_owned(), "adaptive".into());
    } else {
        let most = max_tokens.map(|limit| limit.saturating_sub(1));
        let Some(budget) = budget(&reasoning, at, MIN_BUDGET_TOKENS, most, losses)? else { return Ok(None) };
        thinking.insert("type".to_owned(), "enabled".into());
        thinking.insert("budget_tokens".to_owned(), budget.into());
    }
    if let Some(shown) = shown {
        thinking.insert("display".to_owned(), if shown { "summarized" } else { "omitted" }.into());
    }
    fields.insert("thinking".to_owned(), Value::Object(thinking));
    let Some(effort) = effort.filter(|_| family == Family::Claude) else { return Ok(None) };
    if effort < Effort::Low {
        losses.note(at);
    }
    // Claude's least word.
    Ok(Some(effort.max(Effort::Low)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::OnUnsupported;
    use tollgate_interaction::Dialect;

    fn reasoning(effort: Option<Effort>, budget_tokens: Option<u64>) -> Option<Said<Reasoning>> {
        Some(Said::new(Reasoning { effort, budget_tokens, ..Reasoning::default() }, "reasoning_effort"))
    }

    fn written(
        reasoning: Option<Said<Reasoning>>,
        model: &str,
        max_tokens: Option<u64>,
    ) -> Result<(Value, Option<Effort>), String> {
        let mut fields = Map::new();
        let mut losses = Losses::new(Dialect::Bedrock, OnUnsupported::Refuse);
        let effort = write_reasoning(reasoning, Family::of(model), max_tokens, &mut fields, &mut losses);
        let effort = effort.and_then(|effort| losses.check().map(|()| effort));
        effort.map(|effort| (Value::Object(fields), effort)).map_err(|mut refused| refused.fields.remove(0).field)
    }

    #[test]
    fn makers_are_told_from_ids() {
        let cases = [
            ("anthropic.claude-opus-4-7", Family::Claude),
            ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", Family::ClaudeByBudget),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", Family::Claude),
            ("us.amazon.nova-2-lite-v1:0", Family::Nova),
            ("openai.gpt-oss-120b-1:0", Family::GptOss),
            ("us.meta.llama4-scout-17b-instruct-v1:0", Family::Other),
        ];
        for (model, family) in cases {
            assert_eq!(Family::of(model), family, "{model}");
        }
    }

    #[test]
    fn an_effort_is_said_as_the_model_understands_it() {
        let high = || reasoning(Some(Effort::High), None);
        let by_effort = written(high(), "anthropic.claude-opus-4-7", None).unwrap();
        assert_eq!(by_effort, (json!({"thinking": {"type": "adaptive"}}), Some(Effort::High)));
        let by_budget = written(high(), "anthropic.claude-opus-4-1-20250805-v1:0", Some(9_000)).unwrap();
        assert_eq!(by_budget, (json!({"thinking": {"type": "enabled", "budget_tokens": 8_999}}), None));
        let nova = written(high(), "amazon.nova-2-lite-v1:0", None).unwrap();
        assert_eq!(nova.0, json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}));
        let open = written(high(), "openai.gpt-oss-20b-1:0", None).unwrap();
        assert_eq!(open.0, json!({"reasoning_effort": "high"}));
        assert_eq!(written(high(), "deepseek.r1-v1:0", None), Err("reasoning_effort".to_owned()));
    }

    #[test]
    fn thinking_is_turned_off_or_bounded() {
        let off = written(reasoning(Some(Effort::None), None), "m", None).unwrap();
        assert_eq!(off, (json!({"thinking": {"type": "disabled"}}), None));
        let budget = written(reasoning(None, Some(2_000)), "m", Some(2_500)).unwrap();
        assert_eq!(budget.0, json!({"thinking": {"type": "enabled", "budget_tokens": 2_000}}));
        let fitted = written(reasoning(None, Some(2_000)), "m", Some(1_500)).unwrap();
        assert_eq!(fitted.0, json!({"thinking": {"type": "enabled", "budget_tokens": 1_499}}));
        let low = reasoning(Some(Effort::Low), None);
        assert_eq!(written(low, "anthropic.claude-haiku-4-5", Some(500)), Err("reasoning_effort".to_owned()));
    }
}

//! How hard the model thinks: `thinking` and `output_config.effort`, read and written. Which of the two a model understands
//! is in the table of models.
//!
//! **Limits.** Thinking counts towards `max_tokens`, as it does towards the limit of every other dialect, so the caller's
//! limit stands and a budget of thinking is fitted below it ([`crate::translate::thinking`]). Where the caller gave no limit
//! at all, it is [`DEFAULT_MAX_TOKENS`] and what stands for the effort on top, as far as the model can write so much.

use serde_json::{Map, Value, json};

use super::super::models::{Model, Off, Thinking};
use super::super::object;
use super::read_content::Seen;
use crate::chat::{Effort, Reasoning, Request, Said};
use crate::dialect::RequestError;
use crate::translate::thinking::budget;
use crate::translate::{Fields, Losses, Unsupported};

/// Tokens an answer may have where the caller gave no limit: this dialect must have one.
const DEFAULT_MAX_TOKENS: u64 = 8_192;
/// The least that may be spent on thinking where it is counted.
const MIN_BUDGET_TOKENS: u64 = 1_024;

/// Reads `output_config.effort`.
pub(super) fn read_effort(config: &mut Fields, request: &mut Request) -> Result<(), RequestError> {
    let Some(Said { value, at }) = config.text("effort")? else { return Ok(()) };
    let Some(effort) = Effort::from_word(&value) else {
        let expected = "send `low`, `medium`, `high`, `xhigh` or `max`";
        return Err(RequestError::Malformed { field: at, expected });
    };
    request.reasoning = Some(Said::new(Reasoning { effort: Some(effort), ..Reasoning::default() }, at));
    Ok(())
}

/// Reads `thinking` beside the effort that is known already.
pub(super) fn read(fields: &mut Fields, request: &mut Request, seen: &mut Seen) -> Result<(), RequestError> {
    let Some(mut fields) = fields.object("thinking")? else { return Ok(()) };
    let mut reasoning = request.reasoning.take().map(|reasoning| reasoning.value).unwrap_or_default();
    reasoning.enabled = match fields.required_text("type")?.as_str() {
        "enabled" | "adaptive" => Some(true),
        "disabled" | "between_tools" => Some(false),
        _ => {
            let expected = "send `adaptive`, `enabled`, `disabled` or `between_tools`";
            return Err(RequestError::Malformed { field: fields.path("type"), expected });
        }
    };
    reasoning.budget_tokens = fields.count("budget_tokens")?.map(|budget| budget.value);
    reasoning.shown = fields.text("display")?.map(|display| display.value != "omitted");
    request.reasoning = Some(Said::new(reasoning, fields.at()));
    seen.others.extend(fields.rest());
    Ok(())
}

/// What a request says of thinking, written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) thinking: Option<Value>,
    pub(super) effort: Option<&'static str>,
    pub(super) max_tokens: u64,
    /// Whether a budget was set, which forbids forced tool calls.
    pub(super) budget: bool,
    /// Whether the model thinks, which forbids a temperature.
    pub(super) on: bool,
}

/// Writes what was asked for, as `model` understands it.
pub(super) fn write(
    reasoning: Option<&Said<Reasoning>>,
    limit: Option<u64>,
    name: &str,
    model: Model,
    losses: &mut Losses,
) -> Result<Written, Unsupported> {
    let plain =
        Written { max_tokens: limit.unwrap_or(DEFAULT_MAX_TOKENS.min(model.max_output_tokens)), ..Written::default() };
    let Some(Said { value: reasoning, at }) = reasoning else { return Ok(plain) };
    if reasoning.is_off() {
        return write_off(reasoning, at, name, model, plain, losses);
    }
    let is_asked = reasoning.enabled.is_some() || reasoning.effort.is_some() || reasoning.budget_tokens.is_some();
    if !is_asked && !model.thinks_unasked {
        // Whether thoughts that there are not shall be shown says nothing.
        return Ok(plain);
    }
    match (model.thinking, reasoning.budget_tokens) {
        (Thinking::Never, _) => {
            losses.lose(at, format!("thinking of `{name}`"))?;
            Ok(plain)
        }
        (Thinking::Budget, _) | (Thinking::Either, Some(_)) => write_budget(reasoning, at, limit, model, plain, losses),
        (Thinking::Either | Thinking::Adaptive, _) => Ok(write_adaptive(reasoning, at, limit, model, plain, losses)),
    }
}

fn write_off(
    reasoning: &Reasoning,
    at: &str,
    name: &str,
    model: Model,
    plain: Written,
    losses: &mut Losses,
) -> Result<Written, Unsupported> {
    if model.thinking == Thinking::Never {
        return Ok(plain);
    }
    // An effort says how much is spent on the answer, too.
    let effort = reasoning.effort.filter(|effort| *effort != Effort::None && model.thinking != Thinking::Budget);
    let effort = effort.map(|effort| word(effort, model, at, losses));
    match model.off {
        Off::Disabled => Ok(Written { thinking: Some(json!({ "type": "disabled" })), effort, ..plain }),
        Off::BetweenTools => {
            // As near to not thinking as it comes.
            losses.note(at);
            Ok(Written { thinking: Some(json!({ "type": "between_tools" })), effort, ..plain })
        }
        Off::Never => {
            losses.lose(at, format!("no thinking: `{name}` always thinks"))?;
            Ok(Written { effort, on: true, ..plain })
        }
    }
}

fn write_budget(
    reasoning: &Reasoning,
    at: &str,
    limit: Option<u64>,
    model: Model,
    plain: Written,
    losses: &mut Losses,
) -> Result<Written, Unsupported> {
    let (most, max_tokens) = match limit {
        Some(limit) => (limit.saturating_sub(1), limit),
        None => {
            let wanted = match reasoning.budget_tokens {
                Some(tokens) => tokens,
                None => reasoning.effort.unwrap_or(Effort::Medium).budget_tokens(),
            };
            let whole = plain.max_tokens.saturating_add(wanted).min(model.max_output_tokens);
            // A model that cannot write so much shares what it can.
            let above = whole - plain.max_tokens;
            (if above < MIN_BUDGET_TOKENS { whole / 2 } else { above }, whole)
        }
    };
    let budget = budget(reasoning, at, MIN_BUDGET_TOKENS, Some(most), losses)?;
    let Some(budget) = budget else { return Ok(plain) };
    let thinking = with_display(json!({ "type": "enabled", "budget_tokens": budget }), reasoning.shown);
    Ok(Written { thinking: Some(thinking), effort: None, max_tokens, budget: true, on: true })
}

fn write_adaptive(
    reasoning: &Reasoning,
    at: &str,
    limit: Option<u64>,
    model: Model,
    plain: Written,
    losses: &mut Losses,
) -> Written {
    let effort = reasoning.effort.or(reasoning.budget_tokens.map(Effort::of_budget));
    let spent = effort.unwrap_or(Effort::High).budget_tokens();
    let max_tokens = limit.unwrap_or(plain.max_tokens.saturating_add(spent).min(model.max_output_tokens));
    // An effort alone leaves it to the model whether to think; where the caller's dialect has nothing but efforts it means both.
    let thinking = with_display(json!({ "type": "adaptive" }), reasoning.shown);
    let effort = effort.map(|effort| word(effort, model, at, losses));
    Written { thinking: Some(thinking), effort, max_tokens, budget: false, on: true }
}

fn with_display(mut thinking: Value, shown: Option<bool>) -> Value {
    if let Some(shown) = shown {
        thinking["display"] = if shown { "summarized".into() } else { "omitted".into() };
    }
    thinking
}

/// The word for an effort; the nearest one where the model has no such level, which is listed.
fn word(effort: Effort, model: Model, at: &str, losses: &mut Losses) -> &'static str {
    let known = match effort {
        Effort::None | Effort::Minimal | Effort::Low => Effort::Low,
        Effort::ExtraHigh if !model.extra_high => Effort::High,
        Effort::Medium | Effort::High | Effort::ExtraHigh | Effort::Max => effort,
    };
    if known != effort {
        losses.note(at);
    }
    known.as_str()
}

/// `output_config`, of the effort and the form of the answer.
pub(super) fn output_config(effort: Option<&'static str>, schema: Option<Value>) -> Option<Value> {
    let mut config = Map::new();
    if let Some(effort) = effort {
        config.insert("effort".to_owned(), effort.into());
    }
    if let Some(schema) = schema {
        config.insert("format".to_owned(), object([("type", "json_schema".into()), ("schema", schema)]));
    }
    (!config.is_empty()).then(|| config.into())
}

//! What the models of the Messages API accept, in one table: how thinking is turned on and off, which levels of effort,
//! sampling parameters and forced tool calls there are, how much a model may write. A request that a model would refuse with
//! a 400 is refused here by the caller's own field instead. A name is matched by its longest prefix in the table that ends at
//! a `-`, `@`, `:` or the end; what stands before `claude-` (`us.anthropic.` on Bedrock) does not count.
//!
//! Sources (2026-11-26): <https://platform.claude.com/docs/en/build-with-claude/thinking>, `…/effort`,
//! `…/structured-outputs`, `…/mid-conversation-system-messages`, <https://platform.claude.com/docs/en/about-claude/models/overview>
//! and the pages "What's new" of each model there; where those could be read only in part, the model profiles of
//! `pydantic-ai-slim` 2.68.0, which were tried against the API.

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// Not at all.
    Never,
    /// `enabled` with a budget of tokens; nothing else.
    Budget,
    /// `adaptive` with an effort; a budget is still taken.
    Either,
    /// `adaptive` with an effort; a budget is refused.
    Adaptive,
}

/// How a model is told not to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Off {
    /// `disabled`.
    Disabled,
    /// `between_tools`.
    BetweenTools,
    /// Not at all: it always thinks.
    Never,
}

/// Which of `temperature`, `top_p` and `top_k` a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampling {
    /// All.
    Free,
    /// Either a temperature or `top_p`.
    One,
    /// None but their defaults.
    Fixed,
}

/// What a model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) thinking: Thinking,
    /// Whether it thinks where a request says nothing of it.
    pub(super) thinks_unasked: bool,
    pub(super) off: Off,
    /// Whether the effort `xhigh` exists.
    pub(super) extra_high: bool,
    pub(super) sampling: Sampling,
    /// Whether a tool call can be forced.
    pub(super) forced_tools: bool,
    /// Whether `output_config.format` and strict tools exist.
    pub(super) schemas: bool,
    /// Whether `messages` may hold a message of the system.
    pub(super) system_midway: bool,
    pub(super) max_output_tokens: u64,
}

/// Claude 3 and 3.5, as the oldest.
const OLD: Model = Model {
    thinking: Thinking::Never,
    thinks_unasked: false,
    off: Off::Disabled,
    extra_high: false,
    sampling: Sampling::Free,
    forced_tools: true,
    schemas: false,
    system_midway: false,
    max_output_tokens: 8_192,
};
const CLAUDE_4: Model = Model { thinking: Thinking::Budget, max_output_tokens: 64_000, ..OLD };
const OPUS_4: Model = Model { max_output_tokens: 32_000, ..CLAUDE_4 };
const CLAUDE_4_5: Model = Model { sampling: Sampling::One, schemas: true, ..CLAUDE_4 };
const CLAUDE_4_6: Model = Model { thinking: Thinking::Either, max_output_tokens: 128_000, ..CLAUDE_4_5 };
const OPUS_4_7: Model =
    Model { thinking: Thinking::Adaptive, extra_high: true, sampling: Sampling::Fixed, ..CLAUDE_4_6 };
const OPUS_4_8: Model = Model { system_midway: true, ..OPUS_4_7 };
const SONNET_5: Model = Model { thinks_unasked: true, ..OPUS_4_7 };
const CLAUDE_5: Model = Model { thinks_unasked: true, ..OPUS_4_8 };
const ALWAYS: Model = Model { off: Off::Never, ..CLAUDE_5 };
const UNFORCED: Model = Model { forced_tools: false, ..ALWAYS };

/// By the beginning of the name.
const MODELS: [(&str, Model); 27] = [
    ("claude-3", OLD),
    ("claude-3-haiku", Model { max_output_tokens: 4_096, ..OLD }),
    ("claude-3-opus", Model { max_output_tokens: 4_096, ..OLD }),
    ("claude-3-sonnet", Model { max_output_tokens: 4_096, ..OLD }),
    ("claude-3-7-sonnet", CLAUDE_4),
    ("claude-sonnet-4", CLAUDE_4),
    ("claude-opus-4", OPUS_4),
    ("claude-opus-4-1", Model { sampling: Sampling::One, schemas: true, ..OPUS_4 }),
    ("claude-sonnet-4-5", CLAUDE_4_5),
    ("claude-haiku-4-5", CLAUDE_4_5),
    ("claude-opus-4-5", CLAUDE_4_5),
    ("claude-sonnet-4-6", CLAUDE_4_6),
    ("claude-opus-4-6", CLAUDE_4_6),
    ("claude-opus-4-7", OPUS_4_7),
    ("claude-opus-4-8", OPUS_4_8),
    ("claude-mythos-preview", Model { system_midway: false, ..ALWAYS }),
    ("claude-sonnet-5", SONNET_5),
    ("claude-opus-5", CLAUDE_5),
    ("claude-fable-5", ALWAYS),
    ("claude-mythos-5", ALWAYS),
    ("claude-fable-5-1", UNFORCED),
    ("claude-mythos-5-1", UNFORCED),
    ("claude-fable-5-2", UNFORCED),
    ("claude-mythos-5-2", UNFORCED),
    ("claude-opus-5-5", UNFORCED),
    ("claude-sonnet-5-5", Model { off: Off::BetweenTools, ..UNFORCED }),
    ("claude-haiku-5-5", CLAUDE_5),
];

/// A Claude the table does not know is newer than the table: as the newest, but not refused what those are refused.
const UNKNOWN_CLAUDE: Model = CLAUDE_5;

/// Anybody else's model behind the Messages API: such servers know what the API began with, and refuse little.
const OTHERS: Model = Model { schemas: true, max_output_tokens: u64::MAX, ..CLAUDE_4 };

impl Model {
    /// What the model `name` accepts.
    pub(super) fn of(name: &str) -> Model {
        let Some(at) = name.find("claude-") else { return OTHERS };
        let (vendor, known) = name.split_at(at);
        // Resellers write `claude-sonnet-4.5`.
        let known = &known.replace('.', "-");
        let found = MODELS.iter().filter(|(prefix, _)| begins(known, prefix)).max_by_key(|(prefix, _)| prefix.len());
        let model = found.map_or(UNKNOWN_CLAUDE, |(_, model)| *model);
        // On Bedrock (`anthropic.`) and Vertex (`@date`) there are no messages of the system.
        let elsewhere = !vendor.is_empty() || known.contains('@');
        Model { system_midway: model.system_midway && !elsewhere, ..model }
    }
}

/// Whether `name` is `prefix`, or goes on with another word.
fn begins(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '@', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_decides() {
        let cases = [
            ("claude-3-haiku-20240307", Model { max_output_tokens: 4_096, ..OLD }),
            ("claude-sonnet-4-20250514", CLAUDE_4),
            ("claude-sonnet-4-5-20250929", CLAUDE_4_5),
            ("claude-opus-4-5@20251101", CLAUDE_4_5),
            ("us.anthropic.claude-opus-4-6-v1:0", CLAUDE_4_6),
            ("anthropic/claude-sonnet-4.5", CLAUDE_4_5),
            ("claude-opus-4-7", OPUS_4_7),
            ("anthropic.claude-opus-4-8", OPUS_4_7),
            ("claude-opus-5", CLAUDE_5),
            ("claude-opus-5-20260801", CLAUDE_5),
            ("claude-opus-5-5", UNFORCED),
            ("claude-sonnet-50", UNKNOWN_CLAUDE),
            ("claude-opus-7", UNKNOWN_CLAUDE),
            ("deepseek-v4", OTHERS),
        ];
        for (name, expected) in cases {
            assert_eq!(Model::of(name), expected, "{name}");
        }
    }
}

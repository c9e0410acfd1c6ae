//! Writes `docs/translation.md`: what of each dialect reaches a provider of each other one, and what of its answers comes
//! back. Every cell is read from the golden folder or found by translating its answers, so the table says what the code
//! does. The test fails when the file is stale; `TOLLGATE_BLESS=1` writes it anew.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tollgate_interaction::{Dialect, Usage};
use tollgate_provider::chat::{Answer, CitedPlace, Content, Stop};
use tollgate_provider::translate::{self, Asked};

/// Groups of scenarios by the beginnings of their names. A scenario stands in the first group that fits; a new one that
/// fits none stands in the last.
const GROUPS: &[(&str, &[&str])] = &[
    ("System prompts and turns", &["text", "system_", "conversation", "unicode", "empty", "snake_case"]),
    ("Tools", &["tool_", "functions_", "custom_tool", "malformed_call"]),
    ("Structured output", &["json_"]),
    ("Pictures, sound and documents", &["image", "audio", "document", "picture"]),
    (
        "Reasoning and its signatures",
        &[
            "reasoning",
            "thinking",
            "thoughts",
            "signature",
            "deepseek_",
            "mistral_",
            "openrouter_",
            "gemini_tool_",
            "effort_",
            "open_turn_",
        ],
    ),
    ("Prompt caching", &["cache"]),
    ("Sampling, log probabilities, several answers", &["sampling", "logprobs", "choices", "vllm_"]),
    (
        "Stop reasons and refusals",
        &["length", "refusal", "filtered", "context_full", "guardrail", "pause_turn", "ended_"],
    ),
    ("Citations and the provider's own tools", &["citations", "server_tool", "code_execution", "web_search"]),
    ("Labels, tiers and what a provider keeps", &["labels", "tier", "wishes", "stored_", "compaction", "router_"]),
    ("Errors inside a stream", &["late_error"]),
    ("What compatible servers do otherwise", &[""]),
];

/// As the dialects are called where they are documented, in the order of the tables.
const DIALECTS: &[(Dialect, &str)] = &[
    (Dialect::Openai, "Chat Completions"),
    (Dialect::Responses, "Responses"),
    (Dialect::Anthropic, "Messages"),
    (Dialect::Gemini, "Gemini"),
    (Dialect::Bedrock, "Converse"),
];

const INTRODUCTION: &str = "# What is translated

Written by `crates/provider/tests/feature_table.rs` from the golden folder `crates/provider/golden`; do not edit it.

A caller of any of these dialects can be served by a provider of any other. Between a caller and a provider of one dialect
nothing is translated: every byte but the model's name passes as it is.

| dialect | spoken by |
|---|---|
| Chat Completions | OpenAI, Azure OpenAI, Mistral, and every compatible provider |
| Responses | OpenAI, Azure OpenAI |
| Messages | Anthropic; Claude on Vertex AI and on Bedrock |
| Gemini | Google's Gemini API and Vertex AI |
| Converse | Amazon Bedrock |

## What a caller sends

A row is a request of the golden folder, a column the dialect of the provider it goes to.

- **yes**: all of it reaches the provider.
- **yes, without** `x`: the call is made, and its row lists `x`, which is left out or said in the nearest way there is. It
  changes nothing about the answer, or less than a refusal would.
- **refused** `x`: the call is refused with the path `x`. Where the route says `on_unsupported: drop`, `x` is left out
  instead and the row lists it. **refused** `x`, without `y`: even alone `y` would be left out and listed.

### Limits and thinking

- The caller's limit (`max_tokens`, `max_completion_tokens`, `max_output_tokens`, `maxOutputTokens`) reaches every provider as
  it is. It holds for thoughts and words together, as in every one of these APIs.
- Messages must have a limit. Where the caller gave none, `max_tokens` is 8,192, or what the model can write if that is less;
  where the caller asks the model to think, what stands for that comes on top, as far as the model can write so much.
- Where a model is told in tokens how hard to think (Claude up to 4.5, others behind Messages, Gemini 2.5), `low` stands for
  1,024 tokens, `medium` for 8,192 and `high` for 24,576. `minimal` is taken as `low`, `xhigh` and `max` as `high`, and listed.
- Such a budget shrinks to fit the limit, below it for Claude and within it for Gemini, and is listed where it did. Where not
  even the least fits (1,024 for Claude; 128 for Gemini 2.5 Pro, 512 for Flash-Lite), the call is refused, or made without
  thinking where the route drops.
";

const ANSWERS: &str = "
## What comes back

Each whole answer of the golden folder is translated for a caller and read again as that caller would: a cell says how often
what the provider said was still there. What a caller's dialect has no word for is left out of the answer, never of the record,
which holds the provider's own bytes.

- **yes**: always. **no**: never; the dialect has no place for it. **2 of 3**: as often as that. **·**: no such answer.
";

struct Scenario {
    name: String,
    about: String,
    folder: PathBuf,
}

fn root() -> PathBuf {
    // Of the checkout that runs the test, which need not be the one that compiled it.
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap())
}

fn scenarios(dialect: Dialect) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for entry in fs::read_dir(root().join("golden").join(dialect.as_str())).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(turn) = fs::read(folder.join("turn.json")) else { continue };
        let turn: Value = serde_json::from_slice(&turn).unwrap();
        let about = turn["about"].as_str().unwrap().to_owned();
        scenarios.push(Scenario { name: folder.file_name().unwrap().to_string_lossy().into_owned(), about, folder });
    }
    scenarios.sort_by(|one, other| one.name.cmp(&other.name));
    scenarios
}

fn group(scenario: &str) -> usize {
    GROUPS.iter().position(|(_, begins)| begins.iter().any(|begin| scenario.starts_with(begin))).unwrap()
}

/// What becomes of a request, as the golden files beside it say.
fn fate(folder: &Path) -> String {
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
    let quoted = |paths: Vec<&str>| paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
    let (noted, dropped, refused) = (read("noted.txt"), read("dropped.txt"), read("refused.txt"));
    if folder.join("upstream_request.json").exists() {
        let noted = quoted(noted.lines().collect());
        return if noted.is_empty() { "yes".to_owned() } else { format!("yes, without {noted}") };
    }
    // Of what is dropped, the refusal names what it is for.
    let (refused, beside) = dropped.lines().partition::<Vec<_>, _>(|path| refused.contains(&format!("`{path}` (")));
    assert!(!refused.is_empty(), "`{}` holds neither a request nor a refusal", folder.display());
    let beside = if beside.is_empty() { String::new() } else { format!(", without {}", quoted(beside)) };
    format!("refused {}{beside}", quoted(refused))
}

fn requests(out: &mut String) {
    for &(caller, name) in DIALECTS {
        let providers: Vec<(Dialect, &str)> =
            DIALECTS.iter().filter(|(dialect, _)| *dialect != caller).copied().collect();
        let columns: Vec<&str> = providers.iter().map(|(_, name)| *name).collect();
        write!(out, "\n### A caller of {name}\n\n| request | {} |\n|---", columns.join(" | ")).unwrap();
        writeln!(out, "{}|", "|---".repeat(columns.len())).unwrap();
        let scenarios = scenarios(caller);
        for (number, (title, _)) in GROUPS.iter().enumerate() {
            let of_group =
                |scenario: &&Scenario| group(&scenario.name) == number && scenario.folder.join("request.json").exists();
            let of_group: Vec<&Scenario> = scenarios.iter().filter(of_group).collect();
            if !of_group.is_empty() {
                writeln!(out, "| **{title}** {}|", "| ".repeat(columns.len())).unwrap();
            }
            for Scenario { name, about, folder } in of_group {
                let cells = providers.iter().map(|(to, _)| fate(&folder.join(format!("to_{}", to.as_str()))));
                let cells = cells.collect::<Vec<_>>().join(" | ");
                let about = about.trim_end_matches('.').replace('|', "\\|");
                writeln!(out, "| `{name}`: {about} | {cells} |").unwrap();
            }
        }
    }
}

/// What an answer can say, and each instance of it as a text that can be looked for again.
type Said = BTreeMap<&'static str, Vec<String>>;

/// In the order of the table.
const SAYINGS: &[&str] = &[
    "text",
    "a refusal, told apart from text",
    "calls of tools",
    "calls of the provider's own tools",
    "thoughts, as far as they are shown",
    "signatures of thoughts and encrypted thoughts",
    "citations of the web",
    "citations of documents",
    "log probabilities",
    "several answers",
    "pictures and sound",
    "stop: the end",
    "stop: the limit on its length",
    "stop: a stop text",
    "stop: a tool is called",
    "stop: filtered or refused",
    "stop: the context window is full",
    "stop: a pause",
    "stop: what the model wrote is no call",
    "tokens in and out",
    "tokens read from the cache",
    "tokens written to the cache",
    "tokens of reasoning",
    "tokens of sound and pictures",
    "searches and other calls of the provider's tools",
];

fn said(answer: &Answer) -> Said {
    let mut said = Said::new();
    let mut note = |what: &'static str, instance: String| said.entry(what).or_default().push(instance);
    if answer.choices.len() > 1 {
        note("several answers", answer.choices.len().to_string());
    }
    for choice in &answer.choices {
        let mut text = String::new();
        for part in &choice.parts {
            match &part.content {
                Content::Text { text: words, citations } => {
                    text.push_str(words);
                    for citation in citations {
                        match (&citation.url, &citation.document) {
                            (Some(url), _) => note("citations of the web", url.clone()),
                            (None, Some(document)) => {
                                let place = match document.place {
                                    CitedPlace::Chars(from, to) => format!("characters {from} {to}"),
                                    CitedPlace::Pages(from, to) => format!("pages {from} {to}"),
                                    CitedPlace::Blocks(from, to) => format!("blocks {from} {to}"),
                                };
                                note("citations of documents", format!("{} {place}", document.index));
                            }
                            (None, None) => {}
                        }
                    }
                }
                Content::Refusal(words) => note("a refusal, told apart from text", words.clone()),
                Content::ToolCall(call) => {
                    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
                    note("calls of tools", format!("{} {arguments}", call.name));
                    let signature = call.signature.iter().map(|signature| signature.text.clone());
                    signature.for_each(|text| note("signatures of thoughts and encrypted thoughts", text));
                }
                Content::CustomCall(call) => note("calls of tools", format!("{} {}", call.name, call.arguments)),
                Content::Thinking { text, signature } => {
                    if !text.is_empty() {
                        note("thoughts, as far as they are shown", text.clone());
                    }
                    let signature = signature.iter().map(|signature| signature.text.clone());
                    signature.for_each(|text| note("signatures of thoughts and encrypted thoughts", text));
                }
                Content::Redacted(signature) => {
                    note("signatures of thoughts and encrypted thoughts", signature.text.clone());
                }
                Content::Native { kind, .. } => note("calls of the provider's own tools", kind.clone()),
                Content::Image { .. } | Content::Audio(_) | Content::Video(_) => {
                    note("pictures and sound", format!("{:?}", part.content));
                }
                Content::Document { .. } | Content::ToolResult(_) => {}
            }
        }
        if !text.is_empty() {
            note("text", text);
        }
        for token in &choice.logprobs {
            note("log probabilities", format!("{} {:.6}", token.token, token.logprob));
        }
        let stop = match &choice.stop {
            Some(Stop::End) => "stop: the end",
            Some(Stop::Length) => "stop: the limit on its length",
            Some(Stop::StopText(_)) => "stop: a stop text",
            Some(Stop::ToolUse) => "stop: a tool is called",
            Some(Stop::Filtered | Stop::Refused) => "stop: filtered or refused",
            Some(Stop::ContextFull) => "stop: the context window is full",
            Some(Stop::Paused) => "stop: a pause",
            Some(Stop::MalformedCall | Stop::MalformedAnswer) => "stop: what the model wrote is no call",
            Some(Stop::Other(_)) | None => continue,
        };
        note(stop, String::new());
    }
    counted(answer.usage.unwrap_or_default(), &mut note);
    said
}

fn counted(usage: Usage, note: &mut impl FnMut(&'static str, String)) {
    let several = |counts: &[Option<u64>]| -> Option<u64> {
        let known: Vec<u64> = counts.iter().flatten().copied().filter(|count| *count > 0).collect();
        (!known.is_empty()).then(|| known.iter().sum())
    };
    let sound = [usage.audio_input_tokens, usage.audio_output_tokens];
    let pictures = [usage.image_input_tokens, usage.image_output_tokens];
    let counts = [
        ("tokens in and out", several(&[usage.input_tokens, usage.output_tokens])),
        ("tokens read from the cache", several(&[usage.cache_read_input_tokens])),
        (
            "tokens written to the cache",
            several(&[usage.cache_write_5m_input_tokens, usage.cache_write_1h_input_tokens]),
        ),
        ("tokens of reasoning", several(&[usage.reasoning_output_tokens])),
        ("tokens of sound and pictures", several(&[sound, pictures].concat())),
        (
            "searches and other calls of the provider's tools",
            several(&[usage.web_search_calls, usage.other_tool_calls]),
        ),
    ];
    counts.into_iter().for_each(|(what, count)| count.into_iter().for_each(|count| note(what, count.to_string())));
}

/// How much of what was meant is there still.
#[derive(Clone, Copy, Default)]
struct Kept {
    there: usize,
    of: usize,
}

impl Kept {
    fn cell(self) -> String {
        match self {
            Kept { of: 0, .. } => "·".to_owned(),
            Kept { there, of } if there == of => "yes".to_owned(),
            Kept { there: 0, .. } => "no".to_owned(),
            Kept { there, of } => format!("{there} of {of}"),
        }
    }
}

fn answers(out: &mut String) {
    let asked = Asked {
        id: "golden".to_owned(),
        created_at_s: 1_795_651_200,
        model: "m".to_owned(),
        include_usage: true,
        events: true,
        base64: false,
    };
    for &(provider, name) in DIALECTS {
        let callers: Vec<(Dialect, &str)> =
            DIALECTS.iter().filter(|(dialect, _)| *dialect != provider).copied().collect();
        let mut kept: BTreeMap<(&str, Dialect), Kept> = BTreeMap::new();
        for scenario in scenarios(provider) {
            let Ok(body) = fs::read(scenario.folder.join("response.json")) else { continue };
            // An answer that reports an error is not translated but told in the caller's words.
            let Ok(answer) = translate::read_answer(provider, serde_json::from_slice(&body).unwrap()) else { continue };
            let meant = said(&answer);
            for &(caller, _) in &callers {
                let written = translate::write_answer(caller, answer.clone(), &asked);
                // An answer may become one that reports an error: then nothing of it is read.
                let read = translate::read_answer(caller, written).map(|read| said(&read)).unwrap_or_default();
                for (what, instances) in &meant {
                    let found = read.get(what).map(Vec::as_slice).unwrap_or_default();
                    // A writer may join what stood apart, and add in brackets what has no form of its own.
                    // A signature travels in the words of ADR 0007, before which something stands.
                    let is_there =
                        |said: &String| found.iter().any(|found| found.starts_with(said) || found.ends_with(said));
                    let all =
                        instances.iter().all(is_there) || (*what == "text" && found.concat() == instances.concat());
                    let entry = kept.entry((what, caller)).or_default();
                    entry.of += 1;
                    entry.there += usize::from(all);
                }
            }
        }
        let columns: Vec<&str> = callers.iter().map(|(_, name)| *name).collect();
        write!(out, "\n### A provider of {name}, to callers of\n\n| answer | {} |\n|---", columns.join(" | ")).unwrap();
        writeln!(out, "{}|", "|---".repeat(columns.len())).unwrap();
        for what in SAYINGS {
            let of = |caller: Dialect| kept.get(&(*what, caller)).copied().unwrap_or_default();
            if callers.iter().all(|(caller, _)| of(*caller).of == 0) {
                continue;
            }
            let cells = callers.iter().map(|(caller, _)| of(*caller).cell()).collect::<Vec<_>>().join(" | ");
            writeln!(out, "| {what} | {cells} |").unwrap();
        }
        let unlisted: Vec<_> = kept.keys().filter(|(what, _)| !SAYINGS.contains(what)).collect();
        assert!(unlisted.is_empty(), "not in the table: {unlisted:?}");
    }
}

#[test]
fn the_table_of_what_is_translated_says_what_the_code_does() {
    let mut table = INTRODUCTION.to_owned();
    requests(&mut table);
    table.push_str(ANSWERS);
    answers(&mut table);
    let file = root().join("../../docs/translation.md");
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(&file, &table).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    let stale = table.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert!(
        written == table,
        "`docs/translation.md` is stale; write it with `TOLLGATE_BLESS=1 cargo test -p tollgate-provider --test \
         feature_table` and read what changed. First line that differs: {stale:?}"
    );
}

//! Clients that can be pointed at the gateway, and what each must be told. The texts are files of `web/snippets`, with three
//! names in capitals that stand for this installation's own values; the key is never among them: it is read from
//! the environment. `tests/e2e/setup.rs` runs what is told here.

use serde::Serialize;

use crate::html::escape;

/// Stands for the gateway's address in a snippet.
const GATEWAY: &str = "GATEWAY_URL";
/// Stands for the model.
const MODEL: &str = "MODEL_NAME";
/// The variable of the environment that snippets read the key from.
pub const KEY_VARIABLE: &str = "TOLLGATE_KEY";

/// A client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Names it in addresses.
    pub id: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// What kind of client it is.
    pub group: Group,
    /// Command that installs it, if there is one.
    pub install: Option<&'static str>,
    /// The API that it calls, as a row's `dialect` says it.
    pub speaks: &'static str,
    /// What to copy.
    pub blocks: &'static [Block],
    /// What else there is to know, in sentences; names between backticks.
    pub notes: &'static [&'static str],
}

/// Kinds of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// A provider's own library, or none.
    Sdk,
    /// A library around several providers.
    Framework,
    /// A program that writes code.
    CodingTool,
}

impl Group {
    /// Every kind, in the order of the page.
    pub const ALL: [Group; 3] = [Group::Sdk, Group::Framework, Group::CodingTool];

    /// Heading on the page.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Group::Sdk => "Libraries",
            Group::Framework => "Frameworks",
            Group::CodingTool => "Coding tools",
        }
    }
}

/// A text to copy.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Where it goes: a file's name, or a field's.
    pub label: &'static str,
    /// What can be done with it.
    pub kind: Kind,
    /// The text, with names for what differs between installations.
    template: &'static str,
}

/// What a text to copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A command.
    Shell,
    /// Settings of a shell in which something is started afterwards.
    Environment,
    /// A Python program.
    Python,
    /// A program for Node.
    Node,
    /// A file of settings.
    File,
    /// One value for a form.
    Field,
}

macro_rules! block {
    ($label:literal, $kind:ident, $file:literal) => {
        Block { label: $label, kind: Kind::$kind, template: include_str!(concat!("../../../web/snippets/", $file)) }
    };
}

/// This installation's values.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Address of the gateway, without a path.
    pub gateway_url: &'a str,
    /// The model that the snippets ask for.
    pub model: &'a str,
}

impl Block {
    /// The text as it is to be copied.
    #[must_use]
    pub fn text(&self, values: Values<'_>) -> String {
        let text = self.template.trim_end().replace(GATEWAY, values.gateway_url);
        text.replace(MODEL, values.model)
    }

    /// The same as HTML, with what is this installation's own, and the key's variable, marked.
    #[must_use]
    pub fn html(&self, values: Values<'_>) -> String {
        let slot = |text: &str| format!(r#"<b class="slot">{}</b>"#, escape(text));
        // What is replaced has no character that HTML escapes.
        let text = escape(self.template.trim_end()).replace(KEY_VARIABLE, &slot(KEY_VARIABLE));
        let text = text.replace(GATEWAY, &slot(values.gateway_url));
        text.replace(MODEL, &slot(values.model))
    }
}

/// Whether `model` can stand in every kind of snippet as it is.
#[must_use]
pub fn is_plain(model: &str) -> bool {
    const MAX_BYTES: usize = 200;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.:@+".contains(&byte);
    (1..=MAX_BYTES).contains(&model.len()) && model.bytes().all(plain)
}

/// The client called `id`.
#[must_use]
pub fn find(id: &str) -> Option<&'static Client> {
    CLIENTS.iter().find(|client| client.id == id)
}

const BOTH_APIS: &str = "Both APIs reach every provider: where it speaks another format, the call is translated.";
const WITHOUT_V1: &str = "The address has no `/v1`: the client adds it.";

/// Every client, in the order of the page.
pub const CLIENTS: &[Client] = &[
    Client {
        id: "curl",
        name: "curl",
        group: Group::Sdk,
        install: None,
        speaks: "Chat Completions",
        blocks: &[block!("shell", Shell, "curl.sh")],
        notes: &[
            "The key may also be sent as `x-api-key`.",
            "The answer's header `x-tollgate-interaction-id` names its row; `curl -i` shows it.",
        ],
    },
    Client {
        id: "openai-python",
        name: "OpenAI, Python",
        group: Group::Sdk,
        install: Some("pip install openai"),
        speaks: "Chat Completions or Responses",
        blocks: &[block!("Chat Completions", Python, "openai.py"), block!("Responses", Python, "openai_responses.py")],
        notes: &[BOTH_APIS],
    },
    Client {
        id: "openai-node",
        name: "OpenAI, Node",
        group: Group::Sdk,
        install: Some("npm install openai"),
        speaks: "Chat Completions or Responses",
        blocks: &[block!("Chat Completions", Node, "openai.mjs"), block!("Responses", Node, "openai_responses.mjs")],
        notes: &[BOTH_APIS],
    },
    Client {
        id: "anthropic-python",
        name: "Anthropic, Python",
        group: Group::Sdk,
        install: Some("pip install anthropic"),
        speaks: "Messages",
        blocks: &[block!("hello.py", Python, "anthropic.py")],
        notes: &[WITHOUT_V1],
    },
    Client {
        id: "anthropic-node",
        name: "Anthropic, Node",
        group: Group::Sdk,
        install: Some("npm install @anthropic-ai/sdk"),
        speaks: "Messages",
        blocks: &[block!("hello.mjs", Node, "anthropic.mjs")],
        notes: &[WITHOUT_V1],
    },
    Client {
        id: "google-genai",
        name: "Google Gen AI, Python",
        group: Group::Sdk,
        install: Some("pip install google-genai"),
        speaks: "Gemini generateContent",
        blocks: &[block!("hello.py", Python, "google_genai.py")],
        notes: &["The address has no `/v1beta`: the client adds it."],
    },
    Client {
        id: "boto3",
        name: "boto3 for Bedrock",
        group: Group::Sdk,
        install: Some("pip install boto3"),
        speaks: "Bedrock Converse",
        blocks: &[block!("hello.py", Python, "boto3.py")],
        notes: &[
            "The key stands where an access key id does. The secret is not looked at: the gateway signs with its own credentials, \
             and any region will do.",
        ],
    },
    Client {
        id: "langchain",
        name: "LangChain, Python",
        group: Group::Framework,
        install: Some("pip install langchain-openai langchain-anthropic"),
        speaks: "Chat Completions or Messages",
        blocks: &[
            block!("langchain-openai", Python, "langchain_openai.py"),
            block!("langchain-anthropic", Python, "langchain_anthropic.py"),
        ],
        notes: &[
            "Either class reaches every model here. With `use_responses_api=True`, `ChatOpenAI` speaks Responses.",
        ],
    },
    Client {
        id: "vercel-ai",
        name: "Vercel AI SDK",
        group: Group::Framework,
        install: Some("npm install ai @ai-sdk/openai @ai-sdk/anthropic @ai-sdk/google"),
        speaks: "Responses, Messages or Gemini",
        blocks: &[
            block!("@ai-sdk/openai", Node, "ai_openai.mjs"),
            block!("@ai-sdk/anthropic", Node, "ai_anthropic.mjs"),
            block!("@ai-sdk/google", Node, "ai_google.mjs"),
        ],
        notes: &[
            "One of the three is enough: each reaches every model here. `gateway.chat(…)` of `@ai-sdk/openai` speaks Chat Completions.",
            "Here the address of `@ai-sdk/anthropic` does end in `/v1`, and `@ai-sdk/google` wants `models/` before the name.",
        ],
    },
    Client {
        id: "litellm",
        name: "LiteLLM, Python",
        group: Group::Framework,
        install: Some("pip install litellm"),
        speaks: "Chat Completions",
        blocks: &[block!("hello.py", Python, "litellm.py")],
        notes: &[
            "`openai/` before the model tells LiteLLM which API to speak and is not sent. With `anthropic/` and the address \
             without `/v1` it speaks Messages.",
            "It concludes from a model's name what the model can do; `allowed_openai_params=[\"tool_choice\"]` and the like overrule it.",
        ],
    },
    Client {
        id: "environment",
        name: "OpenAI variables",
        group: Group::Framework,
        install: None,
        speaks: "Chat Completions or Responses",
        blocks: &[block!("shell", Environment, "openai_variables.sh")],
        notes: &["Whatever is built on an OpenAI client and takes its settings from the environment needs no more."],
    },
    Client {
        id: "claude-code",
        name: "Claude Code",
        group: Group::CodingTool,
        install: Some("npm install -g @anthropic-ai/claude-code"),
        speaks: "Messages",
        blocks: &[
            block!("shell, before claude", Environment, "claude_code.sh"),
            block!("or, to keep it: ~/.claude/settings.json", File, "claude_code.json"),
        ],
        notes: &[
            "`/status` in Claude Code shows the address it uses.",
            "`ANTHROPIC_DEFAULT_HAIKU_MODEL` does the small work in the background, such as titles: a cheaper model will do.",
            "With a model that is no Claude, name an alias that says `on_unsupported: drop`: Claude Code asks for things only \
             Anthropic has, and without it such a call is refused by the field's name. It then says that it does not know the \
             model and guesses the size of its context.",
        ],
    },
    Client {
        id: "codex",
        name: "Codex",
        group: Group::CodingTool,
        install: Some("npm install -g @openai/codex"),
        speaks: "Responses",
        blocks: &[block!("~/.codex/config.toml", File, "codex.toml")],
        notes: &[
            "Codex reads the key from the variable that `env_key` names, and its settings at its start.",
            "With a provider that has no Responses API of its own, name an alias that says `on_unsupported: drop`: Codex offers \
             the model tools only OpenAI has, and without it such a call is refused by the tool's place.",
        ],
    },
    Client {
        id: "cursor",
        name: "Cursor",
        group: Group::CodingTool,
        install: None,
        speaks: "Chat Completions",
        blocks: &[
            Block { label: "Override OpenAI Base URL", kind: Kind::Field, template: "GATEWAY_URL/v1" },
            Block { label: "Add or search model", kind: Kind::Field, template: "MODEL_NAME" },
        ],
        notes: &[
            "In Cursor: Settings, Models. Paste your virtual key as the OpenAI API Key, turn on Override OpenAI Base URL, and add the model by name.",
            "Cursor's own servers make the call, so the address must be reachable from the internet: a loopback address is not. \
             Put the gateway behind TLS on a public name first.",
            "The override holds for every OpenAI model in Cursor; completion while typing stays with Cursor's own models.",
        ],
    },
    Client {
        id: "gemini-cli",
        name: "Gemini CLI",
        group: Group::CodingTool,
        install: Some("npm install -g @google/gemini-cli"),
        speaks: "Gemini generateContent",
        blocks: &[block!("shell, before gemini", Environment, "gemini_cli.sh")],
        notes: &[
            "Choose Use Gemini API Key when it asks how to sign in; signing in with Google goes around the gateway.",
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'_> = Values { gateway_url: "http://127.0.0.1:8080", model: "sandbox/small" };

    #[test]
    fn no_name_in_capitals_is_left_and_no_snippet_holds_a_key() {
        for client in CLIENTS {
            for block in client.blocks {
                let text = block.text(VALUES);
                assert!(!text.contains(GATEWAY) && !text.contains(MODEL), "{}: {text}", client.id);
                assert!(!text.contains("tg-"), "{}: {text}", client.id);
                assert_eq!(client.blocks.is_empty(), text.is_empty(), "{}", client.id);
            }
        }
    }

    #[test]
    fn what_is_marked_is_what_is_copied() {
        for block in CLIENTS.iter().flat_map(|client| client.blocks) {
            let html = block.html(VALUES).replace(r#"<b class="slot">"#, "").replace("</b>", "");
            assert_eq!(html, escape(&block.text(VALUES)));
        }
    }

    #[test]
    fn a_name_that_would_break_out_of_a_string_is_not_put_into_one() {
        assert!(is_plain("eu.anthropic.claude-v1:0") && is_plain("openai/gpt-5-mini"));
        for name in ["", "a\"b", "a'b", "a$(b)", "a b", "a\\b", "a\nb"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}

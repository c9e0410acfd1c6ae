//! `/setup`: how to point a client at the gateway.

use askama::Template;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Html;

use super::keys::{CreatedKeyView, create_key};
use crate::access::Reader;
use crate::error::ConsoleError;
use crate::params::Params;
use crate::shell::Shell;
use crate::state::ConsoleState;

/// Answers `GET /setup`.
///
/// # Errors
/// A defect of ours.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
) -> Result<Html<String>, ConsoleError> {
    render(&state, &reader, None)
}

/// Answers `POST /setup`: creates a key and shows it inside the snippets, this once.
///
/// # Errors
/// `change_refused` if a name cannot be used.
pub async fn create(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    form: Bytes,
) -> Result<Html<String>, ConsoleError> {
    let created = create_key(&state, &reader, &Params::parse(&form)).await?;
    render(&state, &reader, Some(created))
}

fn render(
    state: &ConsoleState,
    reader: &Reader,
    created: Option<CreatedKeyView>,
) -> Result<Html<String>, ConsoleError> {
    let shell = reader.shell(state, "Setup", "/setup");
    let page = SetupPage::new(shell, created, &state.settings.gateway_url, state.instruments.models());
    Ok(Html(page.render()?))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/setup.html")]
pub struct SetupPage {
    shell: Shell,
    created: Option<CreatedKeyView>,
    gateway_url: String,
    models: Vec<String>,
    snippets: Vec<Snippet>,
}

/// Code to copy.
#[derive(Clone, Debug)]
struct Snippet {
    title: &'static str,
    note: &'static str,
    code: String,
}

impl SetupPage {
    /// The page; snippets hold the key that was just created, if one was.
    #[must_use]
    pub fn new(shell: Shell, created: Option<CreatedKeyView>, gateway_url: &str, models: Vec<String>) -> Self {
        let key = created.as_ref().map_or("$TOLLGATE_KEY", |created| created.secret.as_str()).to_owned();
        let model = models.first().map_or("sandbox/small", String::as_str).to_owned();
        SetupPage {
            snippets: snippets(gateway_url, &key, &model),
            gateway_url: gateway_url.to_owned(),
            shell,
            created,
            models,
        }
    }
}

fn snippets(url: &str, key: &str, model: &str) -> Vec<Snippet> {
    vec![
        Snippet {
            title: "curl",
            note: "any shell",
            code: format!(
                "curl {url}/v1/chat/completions \\\n  -H \"authorization: Bearer {key}\" \\\n  -H \"content-type: application/json\" \\\n  -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'"
            ),
        },
        Snippet {
            title: "OpenAI, Python",
            note: "pip install openai",
            code: format!(
                "from openai import OpenAI\n\nclient = OpenAI(base_url=\"{url}/v1\", api_key=\"{key}\")\nanswer = client.chat.completions.create(\n    model=\"{model}\",\n    messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n)\nprint(answer.choices[0].message.content)"
            ),
        },
        Snippet {
            title: "OpenAI, Node",
            note: "npm install openai",
            code: format!(
                "import OpenAI from \"openai\";\n\nconst client = new OpenAI({{ baseURL: \"{url}/v1\", apiKey: \"{key}\" }});\nconst answer = await client.chat.completions.create({{\n  model: \"{model}\",\n  messages: [{{ role: \"user\", content: \"Hello\" }}],\n}});\nconsole.log(answer.choices[0].message.content);"
            ),
        },
        Snippet {
            title: "Anthropic, Python",
            note: "pip install anthropic",
            code: format!(
                "from anthropic import Anthropic\n\nclient = Anthropic(base_url=\"{url}\", api_key=\"{key}\")\nanswer = client.messages.create(\n    model=\"{model}\",\n    max_tokens=256,\n    messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n)\nprint(answer.content[0].text)"
            ),
        },
        Snippet {
            title: "Claude Code",
            note: "environment",
            code: format!("export ANTHROPIC_BASE_URL={url}\nexport ANTHROPIC_AUTH_TOKEN={key}"),
        },
        Snippet {
            title: "OpenAI variables",
            note: "environment",
            code: format!("export OPENAI_BASE_URL={url}/v1\nexport OPENAI_API_KEY={key}"),
        },
    ]
}

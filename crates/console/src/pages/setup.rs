//! `/setup`: how to point a client at the gateway. A key is shown only in the answer to the request that created it, and
//! never inside a snippet.

use askama::Template;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{Html, Response};

use super::keys::{CreatedKeyView, create_key};
use crate::access::Reader;
use crate::clients::{self, CLIENTS, Client, Group, Values};
use crate::error::ConsoleError;
use crate::params::Params;
use crate::range::parameter;
use crate::refill::{self, Form, Refill};
use crate::shell::Shell;
use crate::state::ConsoleState;

/// The client that is shown where none is asked for.
const FIRST: &str = "openai-python";

/// Answers `GET /setup`.
///
/// # Errors
/// A defect of ours.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Html<String>, ConsoleError> {
    render(&state, &reader, &params, None, Refill::default())
}

/// Answers `POST /setup`: creates a key and shows it, this once.
///
/// # Errors
/// `change_refused` if a name cannot be used.
pub async fn create(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
    form: Bytes,
) -> Result<Response, ConsoleError> {
    let form = Params::parse(&form);
    let done = create_key(&state, &reader, &form).await;
    let done = done.and_then(|created| render(&state, &reader, &params, Some(created), Refill::default()));
    refill::answer(done, Form::Key, form, async |refill| render(&state, &reader, &params, None, refill)).await
}

fn render(
    state: &ConsoleState,
    reader: &Reader,
    params: &Params,
    created: Option<CreatedKeyView>,
    refill: Refill,
) -> Result<Html<String>, ConsoleError> {
    let shell = reader.shell(state, "Setup", "/setup");
    let instruments = &state.instruments;
    let offer = Offer {
        models: instruments.models(),
        tolerant: instruments.tolerant_models(),
        open_providers: instruments.open_providers(),
    };
    let page = SetupPage::new(shell, created, refill, &state.settings.gateway_url, offer, Choice::read(params));
    Ok(Html(page.render()?))
}

/// What the reader chose.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Id of a client.
    pub client: Option<String>,
    /// Name of a model.
    pub model: Option<String>,
}

impl Choice {
    fn read(params: &Params) -> Choice {
        Choice { client: params.owned("client"), model: params.owned("model") }
    }
}

/// What clients may ask for.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// Models and aliases by name, the best for a first try first.
    pub models: Vec<String>,
    /// Of these, aliases that leave out what a target's format cannot express, as coding tools need where they are
    /// translated.
    pub tolerant: Vec<String>,
    /// Providers that list no models and are asked for any.
    pub open_providers: Vec<String>,
}

/// The model that snippets ask for: the one chosen, if it can stand in every snippet, or else the best for a first try.
#[must_use]
pub fn model(chosen: Option<&str>, models: &[String]) -> String {
    let known = models.iter().map(String::as_str);
    let found = chosen.into_iter().chain(known).find(|model| clients::is_plain(model));
    found.unwrap_or("sandbox/small").to_owned()
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/setup.html")]
pub struct SetupPage {
    shell: Shell,
    created: Option<CreatedKeyView>,
    refill: Refill,
    gateway_url: String,
    /// The address is the one listened on, and that is no address to call.
    is_everywhere: bool,
    model: String,
    /// A model was asked for that no snippet can hold.
    refused_model: Option<String>,
    models: Vec<ModelLink>,
    open_providers: Vec<String>,
    groups: Vec<ClientGroup>,
    client: &'static Client,
    blocks: Vec<BlockView>,
    here: String,
}

#[derive(Clone, Debug)]
struct ModelLink {
    name: String,
    /// `None` where the name can stand in no snippet.
    href: Option<String>,
    is_current: bool,
}

#[derive(Clone, Debug)]
struct ClientGroup {
    title: &'static str,
    clients: Vec<ClientLink>,
}

#[derive(Clone, Debug)]
struct ClientLink {
    name: &'static str,
    href: String,
    is_current: bool,
}

#[derive(Clone, Debug)]
struct BlockView {
    label: &'static str,
    html: String,
    is_field: bool,
}

impl SetupPage {
    /// The page; `created` is shown this once.
    #[must_use]
    pub fn new(
        shell: Shell,
        created: Option<CreatedKeyView>,
        refill: Refill,
        gateway_url: &str,
        offer: Offer,
        choice: Choice,
    ) -> Self {
        let Offer { models, tolerant, open_providers } = offer;
        let refused_model = choice.model.clone().filter(|chosen| !clients::is_plain(chosen));
        let client = choice.client.as_deref().and_then(clients::find).or_else(|| clients::find(FIRST));
        let client = client.unwrap_or(&CLIENTS[0]);
        // What a coding tool sends beside the prompt, few targets of another format can express.
        let first = tolerant.iter().find(|name| client.group == Group::CodingTool && clients::is_plain(name));
        let model = model(choice.model.as_deref().or(first.map(String::as_str)), &models);
        let values = Values { gateway_url, model: &model };
        let blocks = client.blocks.iter().map(|block| BlockView {
            label: block.label,
            html: block.html(values),
            is_field: block.kind == clients::Kind::Field,
        });
        SetupPage {
            blocks: blocks.collect(),
            groups: Group::ALL.iter().map(|group| client_group(*group, client, choice.model.as_deref())).collect(),
            models: models.into_iter().map(|name| model_link(name, client, &model)).collect(),
            here: address(client.id, choice.model.as_deref()),
            is_everywhere: ["://0.0.0.0", "://[::]"].iter().any(|any| gateway_url.contains(any)),
            gateway_url: gateway_url.to_owned(),
            refused_model,
            open_providers,
            model,
            client,
            created,
            refill,
            shell,
        }
    }
}

fn address(client: &str, model: Option<&str>) -> String {
    let model = model.map(|model| parameter("model", model)).unwrap_or_default();
    format!("/setup?client={client}{model}")
}

fn client_group(group: Group, current: &Client, model: Option<&str>) -> ClientGroup {
    let link = |client: &Client| ClientLink {
        name: client.name,
        href: format!("{}#client", address(client.id, model)),
        is_current: client.id == current.id,
    };
    let clients = CLIENTS.iter().filter(|client| client.group == group).map(link).collect();
    ClientGroup { title: group.title(), clients }
}

fn model_link(name: String, client: &Client, current: &str) -> ModelLink {
    let href = clients::is_plain(&name).then(|| format!("{}#client", address(client.id, Some(&name))));
    ModelLink { is_current: name == current, href, name }
}

//! `GET /api/v1/setup`: what clients must be told to reach the gateway. No key is in it.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::clients::{CLIENTS, Client, Group, KEY_VARIABLE, Kind, Values};
use crate::pages::setup;
use crate::params::Params;
use crate::state::ConsoleState;

/// Settings for every client.
#[derive(Debug, Serialize)]
pub struct Setup {
    /// Address of the gateway, without a path.
    pub gateway_url: String,
    /// The model that the snippets ask for.
    pub model: String,
    /// Models and aliases that the gateway lists.
    pub models: Vec<String>,
    /// Providers that list no models: any of theirs can be asked for, as `provider/model`.
    pub open_providers: Vec<String>,
    /// The variable of the environment that the snippets read the key from.
    pub key_variable: &'static str,
    /// The clients.
    pub clients: Vec<ClientSettings>,
}

/// Settings for one client.
#[derive(Debug, Serialize)]
pub struct ClientSettings {
    /// Names it.
    pub id: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// What kind of client it is.
    pub group: Group,
    /// Command that installs it.
    pub install: Option<&'static str>,
    /// The API it calls.
    pub speaks: &'static str,
    /// What to copy.
    pub blocks: Vec<Text>,
    /// What else there is to know.
    pub notes: &'static [&'static str],
}

/// A text to copy.
#[derive(Debug, Serialize)]
pub struct Text {
    /// Where it goes.
    pub label: &'static str,
    /// What can be done with it.
    pub kind: Kind,
    /// The text.
    pub text: String,
}

/// Settings for this installation.
pub async fn show(State(state): State<ConsoleState>, params: Params) -> Json<Setup> {
    let models = state.instruments.models();
    let open_providers = state.instruments.open_providers();
    let gateway_url = state.settings.gateway_url.clone();
    let model = setup::model(params.get("model"), &models);
    let values = Values { gateway_url: &gateway_url, model: &model };
    let clients = CLIENTS.iter().map(|client| settings(client, values)).collect();
    Json(Setup { clients, models, open_providers, key_variable: KEY_VARIABLE, model, gateway_url })
}

fn settings(client: &Client, values: Values<'_>) -> ClientSettings {
    let Client { id, name, group, install, speaks, blocks, notes } = *client;
    let text = |block: &crate::clients::Block| Text { label: block.label, kind: block.kind, text: block.text(values) };
    ClientSettings { id, name, group, install, speaks, blocks: blocks.iter().map(text).collect(), notes }
}

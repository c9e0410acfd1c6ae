//! What the gateway and the store take, from the file.

use std::path::PathBuf;
use std::time::Duration;

use tollgate_gateway::{AckMode, GatewaySettings, Limits, ModelRoute, ProviderKind, ProviderSettings, Timeouts};

use tollgate_flush::store::{AzureOptions, GcsOptions, S3Options, StoreOptions};
use tollgate_policy::residency::Places;
use tollgate_provider::preset::{Api, Preset};
use tollgate_provider::sandbox;
use tollgate_wal::{OnFull, WalSettings};

use crate::known::Known;
use crate::{Acknowledge, Confidential, Config, Model, PlacesWritten, Provider, ProviderDialect, places, priced};

impl Config {
    /// How to reach the store named by [`crate::Log::store`].
    #[must_use]
    pub fn store_options(&self) -> StoreOptions {
        let (s3, azure, gcs) = (&self.log.s3, &self.log.azure, &self.log.gcs);
        let value = |written: &Option<serde_saphyr::Spanned<String>>| written.as_ref().map(|text| text.value.clone());
        let secret = |written: &Option<Confidential>| written.as_ref().map(|text| text.value.clone());
        StoreOptions {
            s3: S3Options {
                endpoint: value(&s3.endpoint),
                region: s3.region.clone(),
                access_key_id: value(&s3.access_key_id),
                secret_access_key: secret(&s3.secret_access_key),
            },
            azure: AzureOptions {
                account: value(&azure.account),
                access_key: secret(&azure.access_key),
                sas_token: secret(&azure.sas_token),
                endpoint: value(&azure.endpoint),
            },
            gcs: GcsOptions { service_account_file: value(&gcs.service_account_file) },
        }
    }

    /// Settings for the write-ahead log in `folder`.
    #[must_use]
    pub fn wal_settings(&self, folder: PathBuf) -> WalSettings {
        WalSettings {
            // Checked when the file was read.
            writer: self.log.writer.as_ref().and_then(|writer| writer.value.parse().ok()),
            quota_bytes: self.log.quota_bytes,
            on_full: match self.log.on_full {
                crate::OnFull::FailClosed => OnFull::FailClosed,
                crate::OnFull::FailOpen => OnFull::FailOpen,
            },
            ..WalSettings::new(folder)
        }
    }

    /// Settings for a gateway that appends to the log at `log_position` (`writer/epoch`).
    #[must_use]
    pub fn gateway_settings(&self, user_hash_key: [u8; 32], log_position: String) -> GatewaySettings {
        let config = self;
        GatewaySettings {
            limits: Limits {
                header_bytes: config.server.max_header_bytes,
                request_bytes: config.server.max_body_bytes,
                connections: config.server.max_connections,
                shadow_calls: config.routing.shadow_calls.unwrap_or(Limits::default().shadow_calls),
                message_bytes: config.server.max_message_bytes,
                ..Limits::default()
            },
            timeouts: Timeouts {
                first_byte: Duration::from_secs(config.server.first_byte_seconds),
                idle_stream: Duration::from_secs(config.server.idle_stream_seconds),
                connect: Duration::from_secs(config.server.connect_seconds),
                total: Duration::from_secs(config.server.total_seconds),
                request_body: Duration::from_secs(config.server.request_body_seconds),
                session_idle: Duration::from_secs(config.server.session_idle_seconds),
                session_total: Duration::from_secs(config.server.session_total_seconds),
                ..Timeouts::default()
            },
            providers: config.providers.iter().map(|(name, provider)| provider_settings(name, provider)).collect(),
            models: config.models.iter().map(|(alias, model)| route(alias, model)).collect(),
            user_hash_key,
            ack: ack_mode(config.log.ack),
            log_position,
            ledger: config.ledger_settings(),
            on_ledger_down: config.on_ledger_down.into(),
            jwt: config.issuers.clone(),
            trusted_proxies: config.server.proxies(),
            breaker: config.routing.breaker.settings(),
            retries: config.routing.retries.as_ref().map(|retries| retries.value).unwrap_or_default(),
            when_all_rest: config.routing.when_all_rest,
            ..GatewaySettings::default()
        }
    }
}

fn provider_settings(name: &str, provider: &Provider) -> ProviderSettings {
    let Known { dialect, preset, base_url, credentials, region, project, authorities_pem, doubt: _ } =
        provider.known.clone();
    let preset = preset.as_ref();
    ProviderSettings {
        name: name.to_owned(),
        kind: match dialect {
            ProviderDialect::Openai => ProviderKind::Openai,
            ProviderDialect::Azure => ProviderKind::Azure,
            ProviderDialect::Anthropic => ProviderKind::Anthropic,
            ProviderDialect::Gemini => ProviderKind::Gemini,
            ProviderDialect::Vertex => ProviderKind::Vertex,
            ProviderDialect::Bedrock => ProviderKind::Bedrock,
            ProviderDialect::Sandbox => ProviderKind::Sandbox,
        },
        has_responses: has_responses(provider, dialect, preset),
        has: provider.has.clone().or_else(|| preset.map(|preset| preset.has.clone())),
        quirks: preset.map(Preset::quirks).unwrap_or_default(),
        api_version: provider.api_version.clone(),
        base_url,
        authorities_pem,
        credentials,
        places: places(provider, dialect, region.as_deref()),
        self_hosted: provider.self_hosted.unwrap_or(dialect == ProviderDialect::Sandbox),
        region,
        project,
        tags: provider.tags.clone(),
        models: offered(provider, dialect),
        price_as: priced::list(name, provider),
    }
}

fn places(provider: &Provider, dialect: ProviderDialect, region: Option<&str>) -> Places {
    match (&provider.places, dialect) {
        (Some(written), _) => written.places(region),
        (None, ProviderDialect::Sandbox) => places::of_sandbox(),
        (None, _) => PlacesWritten::default().places(region),
    }
}

/// Whether it has the Responses API: as written, or else as its preset says, or if it is OpenAI itself or Azure.
fn has_responses(provider: &Provider, dialect: ProviderDialect, preset: Option<&Preset>) -> bool {
    let is_known_to = match (&provider.has, preset) {
        (Some(has), _) => has.contains(&Api::Responses),
        (None, Some(preset)) => preset.has(Api::Responses),
        (None, None) => {
            let is_openai = dialect == ProviderDialect::Openai && provider.base_url.is_none();
            is_openai || dialect == ProviderDialect::Azure
        }
    };
    provider.responses.unwrap_or(is_known_to)
}

fn ack_mode(ack: Acknowledge) -> AckMode {
    match ack {
        Acknowledge::Async => AckMode::Async,
        Acknowledge::Intent => AckMode::Intent,
        Acknowledge::Sync => AckMode::Sync,
    }
}

fn route(alias: &str, model: &Model) -> ModelRoute {
    ModelRoute {
        alias: alias.to_owned(),
        targets: model.targets.iter().map(|target| target.value.target.clone()).collect(),
        weights: model.targets.iter().map(|target| target.value.weight.unwrap_or(1)).collect(),
        conduct: model.conduct(),
        ack: model.ack.map(ack_mode),
        on_unsupported: model.on_unsupported,
        on_disconnect: model.on_disconnect,
    }
}

/// What `/v1/models` lists; a provider that lists nothing is asked for any model, but the sandbox knows its own.
fn offered(provider: &Provider, dialect: ProviderDialect) -> Option<Vec<String>> {
    match (provider.models.as_slice(), dialect) {
        ([], ProviderDialect::Sandbox) => Some(sandbox::MODELS.map(str::to_owned).to_vec()),
        ([], _) => None,
        (models, _) => Some(models.to_vec()),
    }
}

//! The log: where it is kept and how safe a call must be before it is answered.

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_policy::bundle::BundleError as SourceError;

use super::{expand, mistake};

/// The `log` section.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Where the lake is kept: `s3://BUCKET/PREFIX` or `file:///PATH`. Default: `lake` in the data directory.
    #[schemars(with = "Option<String>")]
    pub store: Option<Spanned<String>>,
    /// How to reach an S3 store that is not AWS, and with which keys. Default: the usual `AWS_…` variables.
    pub s3: S3,
    /// What must be durable before what.
    pub ack: Acknowledge,
    /// What happens to calls while the log cannot take them.
    pub on_full: OnFull,
    /// Disk space the write-ahead log may take, in bytes.
    pub quota_bytes: u64,
    /// Longest time until a row reaches the lake, in seconds.
    pub flush_seconds: u64,
    /// Name of this writer; default: one is chosen at first start and kept.
    #[schemars(with = "Option<String>")]
    pub writer: Option<Spanned<String>>,
}

/// How to reach an S3 store.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    /// URL of the server; `http://` is taken for loopback and private test servers.
    #[schemars(with = "Option<String>")]
    pub endpoint: Option<Spanned<String>>,
    /// Region; `us-east-1` if nothing says otherwise.
    pub region: Option<String>,
    /// Access key id.
    #[schemars(with = "Option<String>")]
    pub access_key_id: Option<Spanned<String>>,
    /// Secret access key.
    #[schemars(with = "Option<String>")]
    pub secret_access_key: Option<Spanned<String>>,
}

/// What must be durable before what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledge {
    /// Nothing waits for the disk.
    Async,
    /// A call is durably opened before its provider is called.
    #[default]
    Intent,
    /// As `intent`, and the last byte of the answer waits until the outcome is durable.
    Sync,
}

/// What happens to calls while the log cannot take them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// They are refused.
    #[default]
    FailClosed,
    /// They are served, and the records lost are counted.
    FailOpen,
}

impl Default for Log {
    fn default() -> Self {
        const GIBIBYTE: u64 = 1 << 30;
        Log {
            store: None,
            s3: S3::default(),
            ack: Acknowledge::default(),
            on_full: OnFull::default(),
            quota_bytes: 8 * GIBIBYTE,
            flush_seconds: 10,
            writer: None,
        }
    }
}

impl Log {
    pub(super) fn expand(&mut self, environment: &impl Fn(&str) -> Option<String>) -> Result<(), SourceError> {
        let s3 = &mut self.s3;
        let values = [&mut self.store, &mut s3.endpoint, &mut s3.access_key_id, &mut s3.secret_access_key];
        values.into_iter().flatten().try_for_each(|value| expand(value, environment))
    }

    pub(super) fn check(&self) -> Result<(), SourceError> {
        if let Some(store) = &self.store
            && !["s3://", "file://"].iter().any(|scheme| store.value.starts_with(scheme))
        {
            return Err(mistake(
                store.referenced,
                format!("`{}` is not a store; write `s3://BUCKET/PREFIX` or `file:///PATH`", store.value),
            ));
        }
        if let Some(writer) = &self.writer {
            writer
                .value
                .parse::<tollgate_interaction::WriterId>()
                .map_err(|error| mistake(writer.referenced, error.to_string()))?;
        }
        Ok(())
    }
}

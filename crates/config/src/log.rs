//! The log: where it is kept and how safe a call must be before it is answered.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_flush::store;
use tollgate_policy::bundle::BundleError as SourceError;

use super::{Confidential, expand, mistake};

/// The `log` section.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Where the lake is kept: `s3://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, `gs://BUCKET/PREFIX` or `file:///PATH`.
    /// Default: `lake` in the data directory. The store must honour `If-None-Match`. `gs://` has not been tested.
    #[schemars(with = "Option<String>")]
    pub store: Option<Spanned<String>>,
    /// How to reach an S3 store that is not AWS, and with which keys. Default: the usual `AWS_…` variables.
    pub s3: S3,
    /// How to reach an Azure store, and with which keys. Default: the usual `AZURE_…` variables.
    pub azure: Azure,
    /// How to reach a Google Cloud store. Default: the usual `GOOGLE_…` variables.
    pub gcs: Gcs,
    /// What must be durable before what.
    pub ack: Acknowledge,
    /// What happens to calls while the log cannot take them.
    pub on_full: OnFull,
    /// Disk space the write-ahead log may take, in bytes.
    pub quota_bytes: u64,
    /// Longest time until a row reaches the lake, in seconds.
    pub flush_seconds: u64,
    /// How long what is recorded is kept, by class. Default: for good.
    #[schemars(with = "BTreeMap<String, Retention>")]
    pub retention: BTreeMap<String, Spanned<Retention>>,
    /// Hours that files stay in the store after compaction or retention took them out of the tables, for readers that
    /// still use them.
    pub keep_removed_hours: u64,
    /// Name of this writer; default: one is chosen at first start and kept.
    #[schemars(with = "Option<String>")]
    pub writer: Option<Spanned<String>>,
    /// Who is asked to cosign the log's checkpoints, and how many must: a file in the format of C2SP `tlog-policy`, relative
    /// to this one. Each of its witnesses that has a URL is asked. Auditors take the same file: `tollgate audit verify
    /// --policy FILE`.
    #[schemars(with = "Option<String>")]
    pub witness_policy: Option<Spanned<String>>,
}

/// How long the calls of some teams are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Teams it is for; left out in the one class for all that no other names.
    pub teams: Vec<String>,
    /// Days that prompts and answers are kept. Default: for good.
    pub payload_days: Option<u32>,
    /// Days that the records of calls are kept, at least 184: the EU AI Act asks for six months. Default: for good.
    pub record_days: Option<u32>,
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
    pub secret_access_key: Option<Confidential>,
}

/// How to reach a container of Azure Blob Storage.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Azure {
    /// Storage account; not needed if `store` is `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX`.
    #[schemars(with = "Option<String>")]
    pub account: Option<Spanned<String>>,
    /// Key of the storage account.
    #[schemars(with = "Option<String>")]
    pub access_key: Option<Confidential>,
    /// Shared access signature, instead of a key.
    #[schemars(with = "Option<String>")]
    pub sas_token: Option<Confidential>,
    /// URL of the blob service, if it is not `https://ACCOUNT.blob.core.windows.net`; `http://` is taken for loopback and
    /// private test servers.
    #[schemars(with = "Option<String>")]
    pub endpoint: Option<Spanned<String>>,
}

/// How to reach a bucket of Google Cloud Storage.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gcs {
    /// Path of a service account's key file. Default: the application default credentials.
    #[schemars(with = "Option<String>")]
    pub service_account_file: Option<Spanned<String>>,
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
            azure: Azure::default(),
            gcs: Gcs::default(),
            ack: Acknowledge::default(),
            on_full: OnFull::default(),
            quota_bytes: 8 * GIBIBYTE,
            flush_seconds: 10,
            retention: BTreeMap::new(),
            keep_removed_hours: 7 * 24,
            writer: None,
            witness_policy: None,
        }
    }
}

impl Log {
    pub(super) fn expand(&mut self, environment: &impl Fn(&str) -> Option<String>) -> Result<(), SourceError> {
        let (s3, azure, gcs) = (&mut self.s3, &mut self.azure, &mut self.gcs);
        let values = [
            self.store.as_mut(),
            s3.endpoint.as_mut(),
            s3.access_key_id.as_mut(),
            s3.secret_access_key.as_deref_mut(),
            azure.account.as_mut(),
            azure.access_key.as_deref_mut(),
            azure.sas_token.as_deref_mut(),
            azure.endpoint.as_mut(),
            gcs.service_account_file.as_mut(),
            self.witness_policy.as_mut(),
        ];
        values.into_iter().flatten().try_for_each(|value| expand(value, environment))
    }

    pub(super) fn check(&self) -> Result<(), SourceError> {
        if let Some(written) = &self.store
            && !store::is_url(&written.value)
        {
            let message = format!("`{}` is not a store; write {}", written.value, store::FORMS);
            return Err(mistake(written.referenced, message));
        }
        check_retention(&self.retention)?;
        if let Some(writer) = &self.writer {
            writer
                .value
                .parse::<tollgate_interaction::WriterId>()
                .map_err(|error| mistake(writer.referenced, error.to_string()))?;
        }
        Ok(())
    }
}

/// Regulation (EU) 2024/1689, articles 19(1) and 26(6): "at least six months".
const RECORD_DAYS_FLOOR: u32 = 184;

fn check_retention(classes: &BTreeMap<String, Spanned<Retention>>) -> Result<(), SourceError> {
    let mut named = BTreeSet::new();
    let mut for_all: Option<&str> = None;
    for (name, class) in classes {
        let Retention { teams, payload_days, record_days } = &class.value;
        let refuse = |message: String| Err(mistake(class.referenced, message));
        if let Some(days) = record_days.filter(|days| *days < RECORD_DAYS_FLOOR) {
            return refuse(format!(
                "the class `{name}` keeps records for {days} days; keep them for {RECORD_DAYS_FLOOR} or more, or leave \
                 `record_days` out to keep them for good"
            ));
        }
        if let (Some(payloads), Some(records)) = (payload_days, record_days)
            && payloads > records
        {
            return refuse(format!(
                "the class `{name}` keeps what was said for longer than its records; lower `payload_days`"
            ));
        }
        if let Some(team) = teams.iter().find(|team| !named.insert(team.as_str())) {
            return refuse(format!("the team `{team}` is in two classes; a team belongs to one"));
        }
        if teams.is_empty()
            && let Some(other) = for_all.replace(name)
        {
            return refuse(format!("`{other}` and `{name}` are both for all other teams; name the teams of one"));
        }
    }
    Ok(())
}

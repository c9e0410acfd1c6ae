//! Buckets of S3, Azure Blob Storage and Google Cloud Storage, all through `object_store`, all with conditional puts.
//!
//! What the options leave out comes from the environment (`AWS_…`, `AZURE_…`, `GOOGLE_…`), as other programs have it.
//! S3 is tested against SeaweedFS and Azure against Azurite. Google Cloud Storage is not tested at all: the emulators that
//! can be had send no `ETag`, without which the client refuses every answer (`gcp-storage-emulator`, 2026-08). It takes the
//! same code, and the probe at the start asks of it what it asks of the others.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};

use crate::store::StoreOptions;

const CONNECT_TIMEOUT: (ClientConfigKey, &str) = (ClientConfigKey::ConnectTimeout, "5s");
const REQUEST_TIMEOUT: (ClientConfigKey, &str) = (ClientConfigKey::Timeout, "60s");
/// Host of the storage accounts in URLs that name one.
const AZURE_ACCOUNT_HOST: &str = ".dfs.core.windows.net";

/// Short, because whoever waits here holds rows that pile up in the log: the flusher has its own, longer patience.
fn retry() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: Duration::from_secs(20) }
}

fn is_without_tls(endpoint: &str) -> bool {
    endpoint.starts_with("http://")
}

/// A container, and its account if the URL names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Container<'a> {
    pub(super) account: Option<&'a str>,
    pub(super) name: &'a str,
}

/// `az://container/…` or `abfss://container@account.dfs.core.windows.net/…`; `None` if the URL is neither.
pub(super) fn container_of(url: &url::Url) -> Option<Container<'_>> {
    let host = url.host_str().filter(|host| !host.is_empty())?;
    if url.username().is_empty() {
        return (!host.contains('.')).then_some(Container { account: None, name: host });
    }
    let account = host.strip_suffix(AZURE_ACCOUNT_HOST)?;
    url.scheme().starts_with("abfs").then_some(Container { account: Some(account), name: url.username() })
}

pub(super) fn s3(bucket: &str, options: &StoreOptions) -> object_store::Result<Arc<dyn ObjectStore>> {
    let options = &options.s3;
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry());
    for (key, value) in [CONNECT_TIMEOUT, REQUEST_TIMEOUT] {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint);
        if is_without_tls(endpoint) {
            builder = builder.with_allow_http(true);
        }
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(key) = &options.access_key_id {
        builder = builder.with_access_key_id(key);
    }
    if let Some(secret) = &options.secret_access_key {
        builder = builder.with_secret_access_key(secret);
    }
    Ok(Arc::new(builder.build()?))
}

pub(super) fn azure(container: &Container<'_>, options: &StoreOptions) -> object_store::Result<Arc<dyn ObjectStore>> {
    let options = &options.azure;
    let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(container.name).with_retry(retry());
    for (key, value) in [CONNECT_TIMEOUT, REQUEST_TIMEOUT] {
        builder = builder.with_config(AzureConfigKey::Client(key), value);
    }
    if let Some(account) = container.account.or(options.account.as_deref()) {
        builder = builder.with_account(account);
    }
    if let Some(key) = &options.access_key {
        builder = builder.with_access_key(key);
    }
    if let Some(token) = &options.sas_token {
        builder = builder.with_config(AzureConfigKey::SasKey, token);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
        if is_without_tls(endpoint) {
            builder = builder.with_allow_http(true);
        }
    }
    Ok(Arc::new(builder.build()?))
}

pub(super) fn gcs(bucket: &str, options: &StoreOptions) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(retry());
    for (key, value) in [CONNECT_TIMEOUT, REQUEST_TIMEOUT] {
        builder = builder.with_config(GoogleConfigKey::Client(key), value);
    }
    if let Some(file) = &options.gcs.service_account_file {
        builder = builder.with_service_account_path(file);
    }
    Ok(Arc::new(builder.build()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_azure_url_names_a_container_and_may_name_the_account() {
        for (url, account, name) in [
            ("az://logs/prod", None, "logs"),
            ("azure://logs/prod", None, "logs"),
            ("abfs://logs/prod", None, "logs"),
            ("abfss://logs@acme.dfs.core.windows.net/prod", Some("acme"), "logs"),
        ] {
            assert_eq!(container_of(&url::Url::parse(url).unwrap()), Some(Container { account, name }), "{url}");
        }
    }

    #[test]
    fn an_azure_url_that_is_none_names_no_container() {
        for url in ["az://logs@acme.dfs.core.windows.net/", "abfss://logs@acme.example.com/", "az:///prod", "az://a.b/"]
        {
            assert_eq!(container_of(&url::Url::parse(url).unwrap()), None, "{url}");
        }
    }
}

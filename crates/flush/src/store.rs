//! The bucket: one URL, opened once, shared by everything that reads or writes the lake.
//!
//! `file://` goes through [`durable_local`], `s3://` through `object_store` with conditional puts. Everything rests on one
//! promise of the store, that of two creators of a key one fails: [`probe_create_if_absent`] tests it, because some
//! servers accept the header and overwrite all the same (rclone 1.75 and s3rver 3.7 do).

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreExt, PutMode, RetryConfig};
use url::Url;

use crate::store::durable_local::DurableLocal;

pub mod durable_local;

/// An open bucket or folder.
#[derive(Clone, Debug)]
pub struct Store {
    /// Rooted at [`Store::url`]: the path `interactions/…` is a file of the lake.
    pub object_store: Arc<dyn ObjectStore>,
    /// Rooted at the bucket, or at `/` for a local folder: what the Delta library asks for.
    pub root: Arc<dyn ObjectStore>,
    /// Where the lake is; ends with `/`.
    pub url: Url,
}

/// What is not in the URL. Anything left out is taken from the `AWS_*` environment variables.
#[derive(Clone, Default)]
pub struct StoreOptions {
    /// Address of an S3-compatible server; `None` for AWS.
    pub endpoint: Option<String>,
    /// Whether an endpoint without TLS may be used.
    pub allow_http: bool,
    /// S3 region.
    pub region: Option<String>,
    /// S3 access key.
    pub access_key_id: Option<String>,
    /// S3 secret key.
    pub secret_access_key: Option<String>,
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("endpoint", &self.endpoint)
            .field("allow_http", &self.allow_http)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Neither a URL nor a path.
    #[error("`{url}` is not a store; write a folder, `file:///folder` or `s3://bucket/prefix`")]
    NotAStore {
        /// As configured.
        url: String,
    },
    /// The folder cannot be made.
    #[error("the folder `{path}` cannot be used as a store; check that it may be created and written")]
    Folder {
        /// The folder.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The client could not be set up.
    #[error("the store `{url}` cannot be opened; check its endpoint, region and keys")]
    Open {
        /// As configured.
        url: String,
        /// What the client said.
        #[source]
        source: object_store::Error,
    },
    /// The store does not answer, or refuses.
    #[error("the store `{url}` does not answer; check that it runs and that the keys may write to it")]
    Unreachable {
        /// Of the lake.
        url: String,
        /// What the client said.
        #[source]
        source: object_store::Error,
    },
    /// A lake on such a store would lose commits.
    #[error(
        "the store `{url}` overwrites a key that was to be created only if absent (it ignores `If-None-Match`); commits would \
         be lost, so use a store that honours conditional puts"
    )]
    IgnoresCreateIfAbsent {
        /// Of the lake.
        url: String,
    },
}

/// What became of a put of a key that must not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The key is ours, now or by an earlier attempt whose answer was lost.
    Ours,
    /// Somebody else's bytes are there.
    Theirs,
}

/// Opens the store at `url`: a folder, `file:///folder` or `s3://bucket/prefix`. Does not talk to it yet.
///
/// # Errors
/// [`StoreError`] if the URL or the options cannot be used, or a local folder cannot be made.
pub fn open(url: &str, options: &StoreOptions) -> Result<Store, StoreError> {
    match Url::parse(url) {
        Ok(parsed) if parsed.scheme() == "file" => {
            let path = parsed.to_file_path().map_err(|()| StoreError::NotAStore { url: url.to_owned() })?;
            open_folder(&path)
        }
        Ok(parsed) if parsed.scheme() == "s3" => open_s3(parsed, options),
        Ok(_) => Err(StoreError::NotAStore { url: url.to_owned() }),
        Err(_) if url.is_empty() || url.contains("://") => Err(StoreError::NotAStore { url: url.to_owned() }),
        Err(_) => open_folder(FilePath::new(url)),
    }
}

fn open_folder(path: &FilePath) -> Result<Store, StoreError> {
    let failed = |source| StoreError::Folder { path: path.display().to_string(), source };
    let absolute = std::path::absolute(path).map_err(failed)?;
    durable_local::create_folder_durably(&absolute).map_err(failed)?;
    let absolute = absolute.canonicalize().map_err(failed)?;
    let not_a_store = || StoreError::NotAStore { url: path.display().to_string() };
    let url = Url::from_directory_path(&absolute).map_err(|()| not_a_store())?;
    let prefix = Path::from_absolute_path(&absolute).map_err(|_| not_a_store())?;
    Ok(rooted(Arc::new(DurableLocal::new()), prefix, url))
}

fn open_s3(mut url: Url, options: &StoreOptions) -> Result<Store, StoreError> {
    let Some(bucket) = url.host_str().map(str::to_owned) else {
        return Err(StoreError::NotAStore { url: url.to_string() });
    };
    let prefix = Path::from_url_path(url.path()).map_err(|_| StoreError::NotAStore { url: url.to_string() })?;
    url.set_path(&format!("/{prefix}/").replace("//", "/"));
    // Short, because whoever waits here holds rows that pile up in the log: the flusher has its own, longer patience.
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: Duration::from_secs(20) };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout), "5s")
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), "60s")
        .with_retry(retry);
    if options.allow_http {
        builder = builder.with_allow_http(true);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint);
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
    let s3 = builder.build().map_err(|source| StoreError::Open { url: url.to_string(), source })?;
    Ok(rooted(Arc::new(s3), prefix, url))
}

fn rooted(root: Arc<dyn ObjectStore>, prefix: Path, url: Url) -> Store {
    let object_store: Arc<dyn ObjectStore> = if prefix.as_ref().is_empty() {
        Arc::clone(&root)
    } else {
        Arc::new(PrefixStore::new(Arc::clone(&root), prefix))
    };
    Store { object_store, root, url }
}

impl Store {
    /// The URL of a folder of the lake, such as a table; ends with `/`.
    #[must_use]
    pub fn url_of(&self, folder: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{folder}/", url.path()));
        url
    }

    /// Puts a key that must not exist. When the store says that it exists, which S3 also says when our own put raced
    /// with its retry, the key is read back: the same bytes (they hold a nonce) mean that we made it.
    ///
    /// # Errors
    /// Whatever the store says when neither the put nor the reading back gave an answer.
    pub fn create<'a>(&'a self, path: &'a Path, content: Bytes) -> BoxFuture<'a, object_store::Result<Created>> {
        async move {
            match self.object_store.put_opts(path, content.clone().into(), PutMode::Create.into()).await {
                Ok(_) => Ok(Created::Ours),
                Err(object_store::Error::AlreadyExists { .. }) => {
                    let found = self.object_store.get(path).await?.bytes().await?;
                    Ok(if found == content { Created::Ours } else { Created::Theirs })
                }
                Err(error) => Err(error),
            }
        }
        .boxed()
    }
}

/// Creates a key twice and demands that the second attempt fails. Removes the key afterwards, if it may.
///
/// # Errors
/// [`StoreError::IgnoresCreateIfAbsent`] if the store cannot hold a lake, [`StoreError::Unreachable`] if it gave no answer.
pub fn probe_create_if_absent(store: &Store) -> BoxFuture<'_, Result<(), StoreError>> {
    async move {
        let unreachable = |source| StoreError::Unreachable { url: store.url.to_string(), source };
        let path = Path::from(format!("probe/{}", uuid::Uuid::now_v7()));
        store.create(&path, "first".into()).await.map_err(unreachable)?;
        let second = store.object_store.put_opts(&path, "second".into(), PutMode::Create.into()).await;
        let honoured = match second {
            Ok(_) => false,
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                store.object_store.get(&path).await.map_err(unreachable)?.bytes().await.map_err(unreachable)? == "first"
            }
            Err(source) => return Err(unreachable(source)),
        };
        if let Err(error) = store.object_store.delete(&path).await {
            tracing::debug!(%error, "the probe `{path}` could not be deleted");
        }
        if honoured { Ok(()) } else { Err(StoreError::IgnoresCreateIfAbsent { url: store.url.to_string() }) }
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_local_folder_is_made_and_passes_the_probe() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path().join("a lake").to_str().unwrap(), &StoreOptions::default()).unwrap();
        probe_create_if_absent(&store).await.unwrap();
        assert!(store.url.as_str().starts_with("file:///") && store.url.as_str().ends_with("/a%20lake/"));
    }

    #[tokio::test]
    async fn a_key_of_our_own_is_told_from_somebody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path().to_str().unwrap(), &StoreOptions::default()).unwrap();
        let path = Path::from("key");
        assert_eq!(store.create(&path, "nonce 1".into()).await.unwrap(), Created::Ours);
        assert_eq!(store.create(&path, "nonce 1".into()).await.unwrap(), Created::Ours);
        assert_eq!(store.create(&path, "nonce 2".into()).await.unwrap(), Created::Theirs);
    }

    #[test]
    fn what_is_not_a_store_is_refused_by_name() {
        for url in ["", "gs://bucket", "nonsense://"] {
            assert!(matches!(open(url, &StoreOptions::default()), Err(StoreError::NotAStore { .. })), "{url}");
        }
    }

    #[test]
    fn a_prefix_in_a_bucket_is_the_root_of_the_lake() {
        let options = StoreOptions { region: Some("eu-central-1".into()), ..StoreOptions::default() };
        let store = open("s3://acme-ai-log/prod", &options).unwrap();
        assert_eq!(store.url.as_str(), "s3://acme-ai-log/prod/");
        assert_eq!(store.url_of("interactions").as_str(), "s3://acme-ai-log/prod/interactions/");
    }
}

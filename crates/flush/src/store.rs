//! The bucket: one URL, opened once, shared by everything that reads or writes the lake.
//!
//! `file://` goes through [`durable_local`], the buckets of S3, Azure and Google through `object_store` with conditional
//! puts (Google's is untested, see `store/bucket.rs`). Everything rests on one promise of the store, that of two creators
//! of a key one fails: [`probe_create_if_absent`] tests it, because some servers accept the header and overwrite all the
//! same (rclone 1.75 and s3rver 3.7 do).

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use url::Url;

use crate::store::durable_local::DurableLocal;

mod bucket;
pub mod durable_local;

/// How a store is written, for messages about one that is not.
pub const FORMS: &str = "`file:///folder`, `s3://bucket/prefix`, `az://container/prefix`, \
     `abfss://container@account.dfs.core.windows.net/prefix` or `gs://bucket/prefix`";

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

/// What is not in the URL. Anything left out is taken from the usual environment variables.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// For `s3://`.
    pub s3: S3Options,
    /// For `az://` and `abfss://`.
    pub azure: AzureOptions,
    /// For `gs://`.
    pub gcs: GcsOptions,
}

/// How to reach an S3 bucket; the environment variables begin with `AWS_`.
#[derive(Clone, Default)]
pub struct S3Options {
    /// Address of an S3-compatible server; `None` for AWS. One without TLS is used as written.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Access key.
    pub access_key_id: Option<String>,
    /// Secret key.
    pub secret_access_key: Option<String>,
}

/// How to reach a container of Azure Blob Storage; the environment variables begin with `AZURE_`.
#[derive(Clone, Default)]
pub struct AzureOptions {
    /// Storage account, unless the URL names it.
    pub account: Option<String>,
    /// Key of the account, in base64.
    pub access_key: Option<String>,
    /// Shared access signature, percent-encoded as Azure's portal shows it.
    pub sas_token: Option<String>,
    /// Address of the blob service; `None` for `https://ACCOUNT.blob.core.windows.net`. One without TLS is used as written.
    pub endpoint: Option<String>,
}

/// How to reach a bucket of Google Cloud Storage; the environment variables begin with `GOOGLE_`.
#[derive(Clone, Debug, Default)]
pub struct GcsOptions {
    /// Path of a service account's key file.
    pub service_account_file: Option<String>,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AzureOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureOptions")
            .field("account", &self.account)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Neither a URL nor a path.
    #[error("`{url}` is not a store; write a folder, {FORMS}")]
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
    #[error("the store `{url}` cannot be opened; check its endpoint, its region or account, and its keys")]
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

/// Opens the store at `url`: a folder or one of [`FORMS`]. Does not talk to it yet.
///
/// # Errors
/// [`StoreError`] if the URL or the options cannot be used, or a local folder cannot be made.
pub fn open(url: &str, options: &StoreOptions) -> Result<Store, StoreError> {
    match Url::parse(url) {
        Ok(parsed) if parsed.scheme() == "file" => {
            let path = parsed.to_file_path().map_err(|()| StoreError::NotAStore { url: url.to_owned() })?;
            open_folder(&path)
        }
        Ok(parsed) if is_url(url) => open_bucket(parsed, options),
        Ok(_) => Err(StoreError::NotAStore { url: url.to_owned() }),
        Err(_) if url.is_empty() || url.contains("://") => Err(StoreError::NotAStore { url: url.to_owned() }),
        Err(_) => open_folder(FilePath::new(url)),
    }
}

/// Whether `url` has the scheme of a store.
#[must_use]
pub fn is_url(url: &str) -> bool {
    const SCHEMES: [&str; 7] = ["file", "s3", "az", "azure", "abfs", "abfss", "gs"];
    url.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
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

fn open_bucket(mut url: Url, options: &StoreOptions) -> Result<Store, StoreError> {
    let not_a_store = || StoreError::NotAStore { url: url.to_string() };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(not_a_store)?;
    let prefix = Path::from_url_path(url.path()).map_err(|_| not_a_store())?;
    let opened = match url.scheme() {
        "s3" => bucket::s3(host, options),
        "gs" => bucket::gcs(host, options),
        _ => bucket::azure(&bucket::container_of(&url).ok_or_else(not_a_store)?, options),
    };
    let root = opened.map_err(|source| StoreError::Open { url: url.to_string(), source })?;
    url.set_path(&format!("/{prefix}/").replace("//", "/"));
    Ok(rooted(root, prefix, url))
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
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
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
        for url in
            ["", "ftp://host/folder", "nonsense://", "s3://", "az://", "gs:///prefix", "abfss://logs@host/prefix"]
        {
            let refused = open(url, &StoreOptions::default()).unwrap_err();
            assert!(matches!(refused, StoreError::NotAStore { .. }), "{url}");
            let said = refused.to_string();
            assert!(
                ["file://", "s3://", "az://", "abfss://", "gs://"].iter().all(|form| said.contains(form)),
                "{said}"
            );
        }
    }

    #[test]
    fn a_prefix_in_a_bucket_is_the_root_of_the_lake() {
        let options = StoreOptions {
            s3: S3Options { region: Some("eu-central-1".into()), ..S3Options::default() },
            azure: AzureOptions {
                account: Some("acme".into()),
                access_key: Some("c2VjcmV0".into()),
                ..AzureOptions::default()
            },
            gcs: GcsOptions::default(),
        };
        for place in [
            "s3://acme-ai-log/prod",
            "az://acme-ai-log/prod",
            "azure://acme-ai-log/prod",
            "abfss://acme-ai-log@acme.dfs.core.windows.net/prod",
            "gs://acme-ai-log/prod",
        ] {
            let store = open(place, &options).unwrap();
            assert_eq!(store.url.as_str(), format!("{place}/"));
            assert_eq!(store.url_of("interactions").as_str(), format!("{place}/interactions/"));
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let options = StoreOptions {
            s3: S3Options { secret_access_key: Some("hunter2".into()), ..S3Options::default() },
            azure: AzureOptions {
                access_key: Some("hunter2".into()),
                sas_token: Some("hunter2".into()),
                ..AzureOptions::default()
            },
            gcs: GcsOptions::default(),
        };
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}

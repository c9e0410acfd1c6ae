//! From the configuration to running parts. Nothing here decides anything: it opens, connects, and closes in order.

mod answers;
mod budgets;
mod calls;
mod console;
mod feedback;
mod governance;
mod integrity;
mod maintenance;
mod market;
mod node;
mod policy_file;
mod prices;
mod provider_watch;
mod replicas;
mod reprice;
mod sso;
mod unpriced;
mod witness;

use std::sync::Arc;

use anyhow::Context as _;
use tollgate_analytics::{Analytics, AnalyticsSettings};
use tollgate_config::Config;
use tollgate_flush::keys::KeySource;
use tollgate_flush::store::{self, Store};
use tollgate_lake::{Lake, Mode};
use tollgate_metastore::Metastore;
use tollgate_provider::transcript::of_call;

use crate::data_dir::DataDir;

pub(crate) use answers::{about, which};
pub(crate) use maintenance::{retention_classes, retention_policy};
pub(crate) use market::ConfiguredMarket;
pub(crate) use node::{Node, NodeOptions};
pub(crate) use policy_file::PolicyFile;
pub(crate) use reprice::PriceAgain;
pub(crate) use witness::{read_policy_file, read_witness_policy};

/// Opens the database of keys, users and policies.
///
/// # Errors
/// If it cannot be opened or its migrations fail.
pub(crate) async fn open_metastore(config: &Config, data: &DataDir) -> anyhow::Result<Arc<dyn Metastore>> {
    let url = config.metastore.as_ref().map_or_else(|| data.metastore_url(), |written| written.value.clone());
    tollgate_metastore::open(&url).await.context("opening the metastore")
}

/// The keys that sign checkpoints.
pub(crate) fn log_keys(data: &DataDir) -> KeySource {
    KeySource::variable_or_file("TOLLGATE_LOG_KEY", data.join("keys/log.key"))
}

/// The keys that sign batches.
pub(crate) fn writer_keys(data: &DataDir) -> KeySource {
    KeySource::variable_or_file("TOLLGATE_WRITER_KEY", data.join("keys/writer.key"))
}

/// Opens the store that holds the lake.
///
/// # Errors
/// If the configuration does not lead to a store.
pub(crate) fn open_store(config: &Config, data: &DataDir) -> anyhow::Result<Store> {
    let url = match &config.log.store {
        Some(written) => written.value.clone(),
        None => data.lake_url()?,
    };
    store::open(&url, &config.store_options()).context("opening the store of the log")
}

/// Questions to a lake that another process, or none, writes.
///
/// # Errors
/// If there is no lake at the configured place.
pub(crate) async fn read_only_analytics(config: &Config, data: &DataDir) -> anyhow::Result<Arc<Analytics>> {
    let store = open_store(config, data)?;
    let lake =
        Lake::open(store, Mode::ReadOnly).await.context("opening the lake; is this the right --data or --config?")?;
    Ok(Analytics::new(lake, None, AnalyticsSettings::new(of_call))?)
}

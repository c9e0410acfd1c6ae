//! The bundles that were put in force: putting one, taking the last back, looking at them.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use tollgate_config::Config;
use tollgate_metastore::{BundleRevision, Metastore};
use tollgate_policy::bundle::DEFAULT_YAML;

use super::Signed;
use super::history::{self, Earlier};
use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::{terminal, wire};

/// Digits of a hash that are shown, and enough to name one by.
const SHORT: usize = 12;

pub(super) async fn put(common: &Common, yaml: &str, signed: &Signed) -> anyhow::Result<()> {
    refuse_where_a_file_decides(common)?;
    let metastore = open(common).await?;
    if metastore.control_document().await?.bundle_yaml == yaml {
        terminal::note("this bundle is the active one already: nothing changes, and the reason is not recorded");
    }
    let revision = metastore.put_bundle(yaml, &signed.author(), &signed.reason).await?;
    announce(common, &revision)
}

pub(super) async fn roll_back(common: &Common, to: Option<&str>, signed: &Signed) -> anyhow::Result<()> {
    refuse_where_a_file_decides(common)?;
    let metastore = open(common).await?;
    let revisions = metastore.list_bundles().await?;
    let Some(active) = revisions.first() else {
        bail!("no bundle was ever put in force here: there is nothing to roll back")
    };
    let back_to = match to {
        Some(to) => history::origin(&revisions, find(&revisions, to)?),
        None => history::before_active(&revisions)?,
    };
    let (number, yaml) = match back_to {
        Earlier::Revision(revision) => (revision.revision, yaml_of_revision(metastore.as_ref(), revision).await?),
        Earlier::BuiltIn => (0, DEFAULT_YAML.to_owned()),
    };
    let reason = format!("rolled back from {}: {}", short(&active.hash), signed.reason);
    let revision = metastore.put_bundle_back(number, &yaml, &signed.author(), &reason).await?;
    announce(common, &revision)
}

pub(super) async fn list(common: &Common) -> anyhow::Result<()> {
    let revisions = open(common).await?.list_bundles().await?;
    if common.json {
        terminal::line(&serde_json::to_string(&revisions)?);
        return Ok(());
    }
    if revisions.is_empty() {
        terminal::note("no bundle was ever put in force here; the built-in one is");
    }
    for (place, revision) in revisions.iter().enumerate() {
        let BundleRevision { revision: number, hash, author, reason, created_at_us, .. } = revision;
        let at = chrono::DateTime::from_timestamp_micros(*created_at_us).unwrap_or_default();
        let mark = if place == 0 { "active" } else { "" };
        let at = at.format("%Y-%m-%d %H:%M:%S UTC");
        let called = called(revision);
        terminal::line(&format!("{mark:<6}  {number:>5}  {}  {at}  {author}  {called}: {reason}", short(hash)));
    }
    Ok(())
}

/// What its authors call a bundle, and which version of it.
fn called(BundleRevision { name, version, .. }: &BundleRevision) -> String {
    match version {
        Some(version) => format!("{name} {version}"),
        None => name.clone(),
    }
}

/// The text of a bundle that was in force; of the active one if `of` is `None`.
pub(super) async fn yaml_of(common: &Common, of: Option<&str>) -> anyhow::Result<String> {
    let metastore = open(common).await?;
    let Some(of) = of else { return Ok(metastore.control_document().await?.bundle_yaml) };
    let revisions = metastore.list_bundles().await?;
    yaml_of_revision(metastore.as_ref(), find(&revisions, of)?).await
}

/// By the number of the revision, or by the beginning of the hash.
fn find<'a>(revisions: &'a [BundleRevision], named: &str) -> anyhow::Result<&'a BundleRevision> {
    let by_number = revisions.iter().find(|revision| revision.revision.to_string() == named);
    // Six digits: fewer name another by chance.
    let by_hash = || revisions.iter().find(|revision| named.len() >= 6 && revision.hash.starts_with(named));
    by_number.or_else(by_hash).with_context(|| {
        format!(
            "no file and no bundle that was in force is called `{named}`; `tollgate policy list` shows those there are"
        )
    })
}

async fn yaml_of_revision(metastore: &dyn Metastore, revision: &BundleRevision) -> anyhow::Result<String> {
    let yaml = metastore.bundle_yaml(&revision.hash).await?;
    yaml.with_context(|| format!("the text of bundle {} is not in the metastore", revision.hash))
}

async fn open(common: &Common) -> anyhow::Result<Arc<dyn Metastore>> {
    let data = DataDir::of_command(&common.data)?;
    wire::open_metastore(&Config::load(common.config.as_deref())?, &data).await
}

/// A bundle that the configuration names is put in place whenever its file changes: whatever else were put would not stay.
fn refuse_where_a_file_decides(common: &Common) -> anyhow::Result<()> {
    let data = DataDir::of_command(&common.data)?;
    let config = Config::load(common.config.as_deref())?;
    let own = config.policies.as_ref().map(|configured| configured.value.clone());
    match own.or_else(|| data.running_server().and_then(|server| server.policies)) {
        Some(file) => bail!(
            "the server's configuration names `{file}`, which is put in place at every start and whenever it changes; edit that file instead"
        ),
        None => Ok(()),
    }
}

fn announce(common: &Common, revision: &BundleRevision) -> anyhow::Result<()> {
    if common.json {
        terminal::line(&serde_json::to_string(revision)?);
        return Ok(());
    }
    let BundleRevision { revision: number, hash, restores, .. } = revision;
    let restored = match restores {
        None => String::new(),
        Some(0) => ", as it is built in".to_owned(),
        Some(earlier) => format!(", as it was in revision {earlier}"),
    };
    terminal::line(&format!("bundle {hash} is active: {}, revision {number}{restored}", called(revision)));
    Ok(())
}

fn short(hash: &str) -> &str {
    hash.get(..SHORT).unwrap_or(hash)
}

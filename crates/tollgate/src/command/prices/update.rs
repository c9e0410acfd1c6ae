//! `tollgate prices update`. Nothing is put in place that cannot be right, and nothing drastic unasked.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use tollgate_config::{Config, PRICES_FILE, keep_prices, kept_prices, read_prices};
use tollgate_metastore::LOCAL_AUTHOR;
use tollgate_provider::price::{Catalog, CatalogDocument, CatalogFiles, Change, Diff, Verdict, builtin_id, diff};

use super::check::documents_in_use;
use super::{Checked, counted};
use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::{terminal, wire};

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// A YAML file of the catalogue's form, or a folder of them. They take the place of the files of the same providers;
    /// other providers keep their prices.
    #[arg(required_unless_present = "builtin")]
    path: Option<PathBuf>,
    /// Returns to the prices that come with the program.
    #[arg(long, conflicts_with = "path")]
    builtin: bool,
    /// Shows what would change and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Takes an update that loses many rows or changes a price more than tenfold.
    #[arg(long)]
    accept_large: bool,
}

pub(super) async fn run(common: &Common, config: &Config, args: UpdateArgs) -> anyhow::Result<()> {
    let data = DataDir::of_command(&common.data)?;
    let book = config.price_book(data.path())?;
    let kept = kept_prices(data.path())?;
    let (update, after) = match &args.path {
        Some(path) => replaced(&read_prices(path)?, kept.as_ref())?,
        None => (None, returned_to(kept.as_ref())?),
    };
    let concerned = |document: &CatalogDocument| {
        let name = Catalog::provider_name(&document.provider);
        after.iter().any(|other| Catalog::provider_name(&other.provider) == name)
    };
    let before: Vec<CatalogDocument> = documents_in_use(&book)?.into_iter().filter(concerned).collect();
    let diff = diff(&before, &after);
    let verdict = diff.verdict();
    // Whatever the files say by themselves, with the others and the operator's own they must make a catalogue.
    let next = config.price_book_with(update.clone(), &data.join(PRICES_FILE))?;
    let is_refused = matches!(verdict, Verdict::Refuse(_)) && !args.accept_large;
    let is_put = !args.dry_run && !is_refused && next.id() != book.id();
    if is_put {
        keep_prices(data.path(), update.as_ref())?;
    }
    if common.json {
        terminal::line(&as_json(&diff, &verdict, &next.id(), is_put).to_string());
    } else {
        show(&diff);
    }
    if let Verdict::Refuse(reasons) = &verdict {
        for reason in reasons {
            terminal::note(&format!("large: {reason}"));
        }
    }
    if args.dry_run {
        terminal::note("this was a dry run: nothing was changed");
        return Ok(());
    }
    if is_refused {
        bail!("the update changes much, so nothing was changed; look at it and say --accept-large if it is meant");
    }
    if !is_put {
        terminal::note("these prices are in use already");
        return Ok(());
    }
    record(config, &data, update.as_ref(), &diff).await
}

/// The update with `files` in it, and the documents of these.
fn replaced(
    files: &CatalogFiles,
    kept: Option<&CatalogFiles>,
) -> anyhow::Result<(Option<CatalogFiles>, Vec<CatalogDocument>)> {
    let checked = Checked::of(files);
    if checked.wrong() > 0 {
        checked.print();
        bail!("{}, so nothing was changed; correct the files and try again", checked.summary());
    }
    for finding in &checked.findings {
        terminal::note(&finding.to_string());
    }
    let update = match kept {
        Some(kept) => kept.updated_by(files)?,
        None => files.clone(),
    };
    Ok((Some(update), checked.documents))
}

/// The documents that come with the program, of the providers that an update has replaced.
fn returned_to(kept: Option<&CatalogFiles>) -> anyhow::Result<Vec<CatalogDocument>> {
    let Some(kept) = kept else { return Ok(Vec::new()) };
    let replaced: Vec<String> =
        kept.documents()?.iter().map(|document| Catalog::provider_name(&document.provider).to_owned()).collect();
    let mut builtin = Catalog::builtin_documents()?;
    builtin.retain(|document| replaced.contains(&document.provider));
    Ok(builtin)
}

/// Who changed what when is part of the log, as is every change of the control plane.
async fn record(config: &Config, data: &DataDir, update: Option<&CatalogFiles>, diff: &Diff) -> anyhow::Result<()> {
    let id = update.map_or_else(builtin_id, CatalogFiles::id);
    let metastore = wire::open_metastore(config, data).await?;
    metastore
        .record_change("prices.updated", &id, &sentence(diff), LOCAL_AUTHOR)
        .await
        .context("the prices are in place, but the change could not be recorded; put them in place again later")?;
    terminal::note(&format!("catalogue {id} is in place"));
    if data.running_server().is_some() {
        terminal::note(
            "the running server takes it up within seconds; what was recorded stays: `tollgate prices reprice`",
        );
    }
    Ok(())
}

fn sentence(diff: &Diff) -> String {
    format!(
        "{} added, {} removed, {} changed; {} where there were {}",
        counted(diff.added.len(), "model"),
        diff.removed.len(),
        counted(diff.changed.len(), "price"),
        counted(diff.rows_after, "price row"),
        diff.rows_before
    )
}

fn show(diff: &Diff) {
    for name in &diff.added {
        terminal::line(&format!("+ {name}"));
    }
    for name in &diff.removed {
        terminal::line(&format!("- {name}"));
    }
    for change in &diff.changed {
        terminal::line(&line(change));
    }
    terminal::line(&sentence(diff));
}

fn line(change: &Change) -> String {
    let amount = |usd: Option<tollgate_interaction::Usd>| usd.map_or_else(|| "none".to_owned(), |usd| usd.to_string());
    let share = change.basis_points().map_or_else(String::new, |points| {
        let sign = if points < 0 { '-' } else { '+' };
        format!("  ({sign}{}.{} %)", points.abs() / 100, points.abs() % 100 / 10)
    });
    format!("~ {}  {}  {} -> {}{share}", change.row, change.class, amount(change.old), amount(change.new))
}

fn as_json(diff: &Diff, verdict: &Verdict, catalog_id: &str, is_put: bool) -> serde_json::Value {
    let large = match verdict {
        Verdict::Accept => [].as_slice(),
        Verdict::Refuse(reasons) => reasons.as_slice(),
    };
    serde_json::json!({"diff": diff, "large": large, "catalog_id": catalog_id, "updated": is_put})
}

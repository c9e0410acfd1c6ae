//! `tollgate prices check`.

use std::path::Path;

use anyhow::bail;
use tollgate_config::{Config, PriceBook, read_prices};
use tollgate_provider::price::{Catalog, CatalogDocument};

use super::Checked;
use crate::cli::Common;
use crate::terminal;

pub(super) fn run(common: &Common, config: &Config, path: Option<&Path>) -> anyhow::Result<()> {
    let (checked, mut json) = match path {
        Some(path) => (Checked::of(&read_prices(path)?), serde_json::Map::new()),
        None => in_use(common, config)?,
    };
    if common.json {
        if let serde_json::Value::Object(counts) = checked.as_json() {
            json.extend(counts);
        }
        terminal::line(&serde_json::Value::Object(json).to_string());
    } else {
        checked.print();
        terminal::line(&checked.summary());
    }
    match checked.wrong() {
        0 => Ok(()),
        1 => bail!("1 mistake makes the catalogue unusable"),
        wrong => bail!("{wrong} mistakes make the catalogue unusable"),
    }
}

/// The catalogue in use, and where it is from.
fn in_use(common: &Common, config: &Config) -> anyhow::Result<(Checked, serde_json::Map<String, serde_json::Value>)> {
    // Looking leaves nothing behind: without a data directory there is no update.
    let book = config.price_book(&common.data)?;
    let mut checked = Checked { documents: documents_in_use(&book)?, findings: Vec::new() };
    checked.findings = tollgate_provider::price::check(&checked.documents);
    let updated: Vec<String> = match &book.update {
        Some(update) => update.documents()?.into_iter().map(|document| document.provider).collect(),
        None => Vec::new(),
    };
    let own: Vec<String> = match &book.own {
        Some(own) => own.documents()?.into_iter().map(|document| document.provider).collect(),
        None => Vec::new(),
    };
    if !common.json {
        terminal::note(&format!("catalogue {}", book.id()));
        let from = |what: &str, providers: &[String]| {
            if !providers.is_empty() {
                terminal::note(&format!("{what}: {}", providers.join(", ")));
            }
        };
        from("from an update", &updated);
        from("your own rows, before all others", &own);
        for stale in outdated(&book)? {
            terminal::note(&stale);
        }
    }
    let json = [("catalog_id", book.id().into()), ("updated", updated.into()), ("own", own.into())];
    Ok((checked, json.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()))
}

/// The documents that calls are priced by, without the operator's own rows.
pub(super) fn documents_in_use(book: &PriceBook) -> anyhow::Result<Vec<CatalogDocument>> {
    let mut documents = match &book.update {
        Some(update) => update.documents()?,
        None => Vec::new(),
    };
    let replaced: Vec<String> =
        documents.iter().map(|document| Catalog::provider_name(&document.provider).to_owned()).collect();
    let kept = Catalog::builtin_documents()?.into_iter();
    documents.extend(kept.filter(|document| !replaced.contains(&document.provider)));
    documents.sort_by(|one, other| one.provider.cmp(&other.provider));
    Ok(documents)
}

/// Files of an update that somebody looked at before the ones that came with the program since.
fn outdated(book: &PriceBook) -> anyhow::Result<Vec<String>> {
    let Some(update) = &book.update else { return Ok(Vec::new()) };
    let builtin = Catalog::builtin_documents()?;
    let mut outdated = Vec::new();
    for document in update.documents()? {
        let name = Catalog::provider_name(&document.provider);
        if let Some(newer) = builtin.iter().find(|other| other.provider == name && other.checked > document.checked) {
            outdated.push(format!(
                "the update's prices of `{name}` are of {}, those that came with this program of {}; `tollgate prices \
                 update --builtin` returns to these",
                document.checked, newer.checked
            ));
        }
    }
    Ok(outdated)
}

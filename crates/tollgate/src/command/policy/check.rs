//! `tollgate policy check`: a bundle by itself, and against the targets of a configuration.

use std::path::Path;

use anyhow::{Context, bail};
use tollgate_config::{Config, ConfiguredTarget};
use tollgate_interaction::Usage;
use tollgate_policy::Bundle;
use tollgate_policy::residency::{Passage, Survey, survey};
use tollgate_provider::price;

use super::load;
use crate::cli::Common;
use crate::terminal;

pub(super) fn run(common: &Common, file: &Path) -> anyhow::Result<()> {
    let (_, bundle) = load(file)?;
    let now_us = chrono::Utc::now().timestamp_micros();
    let remarks = bundle.remarks(now_us);
    let surveyed = surveyed(common, &bundle)?;
    if common.json {
        let remarks: Vec<String> = remarks.iter().map(ToString::to_string).collect();
        let found = serde_json::json!({
            "file": file, "valid": true, "hash": bundle.hash, "remarks": remarks, "residency": surveyed,
        });
        terminal::line(&found.to_string());
    } else {
        for remark in &remarks {
            terminal::note(&format!("{}: {remark}", file.display()));
        }
        if let Some(survey) = &surveyed {
            print(survey);
        }
        terminal::line(&format!("{}: no mistake found; bundle {}", file.display(), bundle.hash));
    }
    against_configuration(common, &bundle)
}

/// Refuses a bundle that a class of data could go nowhere under, with the targets there are, and says which of them have
/// no price, without which no budget counts them. Nothing is checked without a configuration.
pub(super) fn against_configuration(common: &Common, bundle: &Bundle) -> anyhow::Result<()> {
    let Some(survey) = surveyed(common, bundle)? else { return Ok(()) };
    let config = Config::load(common.config.as_deref())?;
    config.check_routes(bundle).context("the bundle does not fit the configuration")?;
    unpriced(common, &config)?;
    let calls = |class: Option<&str>| match class {
        Some(class) => format!("calls of class `{class}`"),
        None => "calls without a class".to_owned(),
    };
    let stuck: Vec<String> = survey.nowhere().map(calls).collect();
    if !stuck.is_empty() {
        bail!(
            "{} can go to no target of the configuration: every one is left out by a residency rule; add a target within \
             what the rules demand, say where the present ones are (`places`), or deny the calls in `access`",
            stuck.join(" and ")
        );
    }
    Ok(())
}

fn surveyed(common: &Common, bundle: &Bundle) -> anyhow::Result<Option<Survey>> {
    let Some(path) = &common.config else { return Ok(None) };
    let targets = Config::load(Some(path))?.targets_with(bundle);
    let facts: Vec<_> = targets.iter().map(|target| (target.name.clone(), target.facts())).collect();
    Ok(Some(survey(bundle, &facts)))
}

fn unpriced(common: &Common, config: &Config) -> anyhow::Result<()> {
    let catalog = config.price_book(&common.data)?.catalog;
    let nothing = Usage { input_tokens: Some(0), output_tokens: Some(0), ..Usage::default() };
    let at_us = chrono::Utc::now().timestamp_micros();
    for ConfiguredTarget { name, priced_as, model, .. } in &config.targets() {
        let call = price::Call { provider: priced_as, model, region: None, service_tier: None, usage: &nothing, at_us };
        let unpriced = |error: &price::PriceError| {
            matches!(error, price::PriceError::UnknownModel { .. } | price::PriceError::NotYetPriced { .. })
        };
        if let Some(error) = catalog.cost(&call).err().filter(|error| !model.is_empty() && unpriced(error)) {
            terminal::note(&format!("target `{name}`: {error}; until then no budget counts its calls"));
        }
    }
    Ok(())
}

fn print(survey: &Survey) {
    let class_of = |class: &Option<String>| class.clone().unwrap_or_else(|| "(none)".to_owned());
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or_default();
    let classes = width(&mut survey.rows.iter().map(|row| class_of(&row.class).chars().count())).max("class".len());
    let targets = width(&mut survey.rows.iter().map(|row| row.target.chars().count())).max("target".len());
    terminal::line(&format!("{:<classes$}  {:<targets$}  {:<7}  why", "class", "target", "may go"));
    for row in &survey.rows {
        let (may_go, why) = match &row.passage {
            Passage::Yes => ("yes", String::new()),
            Passage::No { rule, why } => ("no", format!("{rule}: {why}")),
            Passage::Depends { rule, on } => ("depends", format!("{rule}, if {on}")),
        };
        let line = format!("{:<classes$}  {:<targets$}  {may_go:<7}  {why}", class_of(&row.class), row.target);
        terminal::line(line.trim_end());
    }
    for reach in &survey.reach {
        let list = |places: &std::collections::BTreeSet<String>| places.iter().cloned().collect::<Vec<_>>().join(", ");
        let union = match reach.stays_in_eu {
            Some(true) => "stays in the European Union",
            Some(false) => "can leave the European Union",
            None => "can go nowhere",
        };
        terminal::line(&format!(
            "{}: {} of {} targets; {union}; inference in {}; storage in {}",
            class_of(&reach.class),
            reach.targets,
            survey.rows.iter().filter(|row| row.class == reach.class).count(),
            list(&reach.inference),
            list(&reach.storage),
        ));
    }
}

//! `tollgate policy check`: a bundle by itself, and against the models, targets and prices of a configuration. It ends either
//! in "no mistake found" or in the mistake, never in both.

use std::path::Path;

use anyhow::Context;
use fs_err as fs;
use serde_json::json;
use tollgate_config::{Config, ConfiguredTarget};
use tollgate_interaction::Usage;
use tollgate_policy::Bundle;
use tollgate_policy::bundle::{self, BundleError};
use tollgate_policy::residency::{Passage, Survey, calls_of, survey};
use tollgate_provider::price;
use tollgate_provider::price::Catalog;

use crate::cli::Common;
use crate::terminal;

pub(super) fn run(common: &Common, file: &Path) -> anyhow::Result<()> {
    let bundle = match bundle::load(&fs::read_to_string(file)?) {
        Ok(bundle) => bundle,
        Err(mistake) => {
            if common.json {
                let mistakes = located(std::slice::from_ref(&mistake));
                terminal::line(&json!({"file": file, "valid": false, "mistakes": mistakes}).to_string());
            }
            return Err(mistake).with_context(|| format!("`{}` is not a valid bundle", file.display()));
        }
    };
    let held = HeldAgainst::new(common, &bundle)?;
    let mut remarks = bundle.remarks(chrono::Utc::now().timestamp_micros());
    remarks.extend(held.iter().flat_map(|held| held.remarks.iter().cloned()));
    remarks.sort_by_key(|remark| (remark.line, remark.column));
    let survey = held.as_ref().map(|held| &held.survey);
    let mistakes = held.as_ref().map(|held| held.mistakes.as_slice()).unwrap_or_default();
    if common.json {
        let told: Vec<String> = remarks.iter().map(ToString::to_string).collect();
        let found = json!({
            "file": file, "valid": mistakes.is_empty(), "hash": bundle.hash, "mistakes": located(mistakes), "remarks": told,
            "residency": survey,
        });
        terminal::line(&found.to_string());
    } else {
        for remark in &remarks {
            terminal::note(&format!("{}: {remark}", file.display()));
        }
        if let Some(survey) = survey {
            print(survey);
        }
    }
    let Some(held) = held else { return announce(common, file, &bundle, remarks.len()) };
    for note in &held.unpriced {
        terminal::note(note);
    }
    held.refuse(file)?;
    announce(common, file, &bundle, remarks.len())
}

fn announce(common: &Common, file: &Path, bundle: &Bundle, remarks: usize) -> anyhow::Result<()> {
    let besides = match remarks {
        0 => String::new(),
        1 => ", 1 remark".to_owned(),
        many => format!(", {many} remarks"),
    };
    if !common.json {
        terminal::line(&format!("{}: no mistake found{besides}; bundle {}", file.display(), bundle.hash));
    }
    Ok(())
}

/// Refuses a bundle that does not fit the configuration, and says what is to be said of one that does. Nothing is held
/// against anything without a configuration.
pub(super) fn against_configuration(common: &Common, file: &Path, bundle: &Bundle) -> anyhow::Result<()> {
    let Some(held) = HeldAgainst::new(common, bundle)? else { return Ok(()) };
    for remark in &held.remarks {
        terminal::note(&format!("{}: {remark}", file.display()));
    }
    for note in &held.unpriced {
        terminal::note(note);
    }
    held.refuse(file)
}

/// What a configuration shows of a bundle.
struct HeldAgainst {
    /// Why it does not fit.
    mistakes: Vec<BundleError>,
    /// What is allowed and hardly meant.
    remarks: Vec<BundleError>,
    /// Which class of data can go to which target.
    survey: Survey,
    /// Targets of the configuration that no budget counts the calls of.
    unpriced: Vec<String>,
}

impl HeldAgainst {
    /// `None` if the command names no configuration.
    fn new(common: &Common, bundle: &Bundle) -> anyhow::Result<Option<HeldAgainst>> {
        let Some(path) = &common.config else { return Ok(None) };
        let config = Config::load(Some(path))?;
        let catalog = config.price_book(&common.data)?.catalog;
        let targets = config.targets_with(bundle);
        let facts: Vec<_> = targets.iter().map(|target| (target.name.clone(), target.facts())).collect();
        let survey = survey(bundle, &facts);
        let mut mistakes: Vec<BundleError> = config.check_routes(bundle).err().into_iter().collect();
        mistakes.extend(survey.stranded(bundle));
        let remarks = config.remarks_on(bundle, &catalog);
        Ok(Some(HeldAgainst { mistakes, remarks, survey, unpriced: unpriced(&config, &catalog) }))
    }

    fn refuse(&self, file: &Path) -> anyhow::Result<()> {
        let Some((first, others)) = self.mistakes.split_first() else { return Ok(()) };
        for other in others {
            terminal::note(&format!("{}: {other}", file.display()));
        }
        Err(first.clone()).with_context(|| format!("`{}` does not fit the configuration", file.display()))
    }
}

fn located(mistakes: &[BundleError]) -> Vec<serde_json::Value> {
    let located = |BundleError { line, column, message }: &BundleError| json!({"line": line, "column": column, "message": message});
    mistakes.iter().map(located).collect()
}

fn unpriced(config: &Config, catalog: &Catalog) -> Vec<String> {
    let nothing = Usage { input_tokens: Some(0), output_tokens: Some(0), ..Usage::default() };
    let at_us = chrono::Utc::now().timestamp_micros();
    let mut notes = Vec::new();
    for ConfiguredTarget { name, priced_as, model, .. } in &config.targets() {
        let call = price::Call { provider: priced_as, model, region: None, service_tier: None, usage: &nothing, at_us };
        let unpriced = |error: &price::PriceError| {
            matches!(error, price::PriceError::UnknownModel { .. } | price::PriceError::NotYetPriced { .. })
        };
        if let Some(error) = catalog.cost(&call).err().filter(|error| !model.is_empty() && unpriced(error)) {
            notes.push(format!("target `{name}`: {error}; until then no budget counts its calls"));
        }
    }
    notes
}

fn print(survey: &Survey) {
    let class_of = |class: &Option<String>| class.clone().unwrap_or_else(|| "without a class".to_owned());
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
        let of = survey.rows.iter().filter(|row| row.class == reach.class).count();
        let at = match reach.targets {
            0 => String::new(),
            _ => format!("; inference in {}; storage in {}", list(&reach.inference), list(&reach.storage)),
        };
        terminal::line(&format!(
            "{}: {} of {of} targets; {}{at}",
            calls_of(reach.class.as_deref()),
            reach.targets,
            reach.sentence(),
        ));
    }
}

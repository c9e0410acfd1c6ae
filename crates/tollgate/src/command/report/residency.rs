//! `tollgate report residency`: what was kept from where, and the proof that nothing went elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Args;
use tollgate_analytics::report::{self, Judges, PlacedTarget, ResidencyReport, TimeRange};
use tollgate_config::Config;
use tollgate_metastore::Metastore;
use tollgate_policy::bundle::{self, Bundle};

use super::moment;
use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::{terminal, wire};

#[derive(Debug, Args)]
pub(crate) struct ResidencyArgs {
    /// First moment covered: `2026-11-01` or `2026-11-01T00:00:00Z`.
    #[arg(long, value_parser = moment)]
    from: DateTime<Utc>,
    /// First moment no longer covered.
    #[arg(long, value_parser = moment)]
    to: DateTime<Utc>,
}

pub(super) async fn run(common: Common, args: ResidencyArgs) -> anyhow::Result<()> {
    let data = DataDir::create(&common.data)?;
    let config = Config::load(common.config.as_deref())?;
    let analytics = wire::read_only_analytics(&config, &data).await?;
    let bundles = bundles(wire::open_metastore(&config, &data).await?.as_ref()).await?;
    let known: Mutex<HashMap<(String, String), Option<PlacedTarget>>> = Mutex::default();
    let target = |provider: &str, model: &str| {
        let mut known = known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.entry((provider.to_owned(), model.to_owned())).or_insert_with(|| placed(&config, provider, model)).clone()
    };
    let range = TimeRange { from_us: args.from.timestamp_micros(), to_us: args.to.timestamp_micros() };
    let reading = analytics.reading();
    let report = report::residency(&reading, range, &Judges { bundles: &bundles, target: &target }).await?;
    if common.json {
        terminal::line(&serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    if data.running_server().is_some() {
        terminal::note("rows of the last seconds may still be on their way to the lake and are not in the report");
    }
    if report.leaked > 0 {
        bail!("{} attempts went where the bundle that decided does not let them go", report.leaked);
    }
    Ok(())
}

/// Every bundle that was in force, the built-in one among them.
async fn bundles(metastore: &dyn Metastore) -> anyhow::Result<BTreeMap<String, Bundle>> {
    let builtin = bundle::builtin_default()?;
    let mut bundles = BTreeMap::from([(builtin.hash.clone(), builtin)]);
    for revision in metastore.list_bundles().await? {
        if bundles.contains_key(&revision.hash) {
            continue;
        }
        let Some(yaml) = metastore.bundle_yaml(&revision.hash).await? else { continue };
        match bundle::load(&yaml) {
            Ok(loaded) => drop(bundles.insert(revision.hash, loaded)),
            // Of a version that allowed what this one does not: its calls cannot be judged, and are counted as such.
            Err(error) => terminal::note(&format!("bundle {} does not load any more: {error}", revision.hash)),
        }
    }
    Ok(bundles)
}

fn placed(config: &Config, provider: &str, model: &str) -> Option<PlacedTarget> {
    let target = config.target(provider, model)?;
    let facts = target.facts();
    Some(PlacedTarget { places: facts.places.clone(), tags: facts.tags.to_vec(), self_hosted: facts.self_hosted })
}

fn class_of(class: &str) -> &str {
    if class.is_empty() { "calls without a class" } else { class }
}

fn print(report: &ResidencyReport) {
    let ResidencyReport { calls, governed, attempts_judged, denied, blocked, leaks, leaked, unjudged } = report;
    terminal::line(&format!(
        "{calls} calls, {governed} of them under residency rules; {denied} denied for want of a target"
    ));
    for entry in blocked {
        let class = class_of(&entry.class);
        terminal::line(&format!(
            "kept back  {:>8}  {class} from {} by rule `{}`",
            entry.calls, entry.target, entry.rule
        ));
    }
    terminal::line(&format!("{leaked} leaks among {attempts_judged} attempts, each judged by the bundle that decided"));
    for leak in leaks {
        let class = class_of(&leak.class);
        let what = format!("{class} at {}: rule `{}`: {}", leak.target, leak.rule, leak.why);
        terminal::line(&format!("LEAK  {}  {}  {what}", leak.started_at, leak.interaction_id));
    }
    for (why, attempts) in unjudged {
        terminal::line(&format!("{attempts} attempts could not be judged: {why}"));
    }
    terminal::note(
        "places are those of the configuration as it is now; what each row recorded is in its column `region`",
    );
}

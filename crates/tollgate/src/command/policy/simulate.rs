//! `tollgate policy simulate`: what a bundle would have decided about the calls of the past. Asks the running server, which
//! knows the newest calls too, or reads the lake alone.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use fs_err as fs;
use tollgate_analytics::backtest::{
    ArmCount, BacktestReport, Change, GuardCount, GuardReplay, Limits, Percent, SampleRow, Trial,
};
use tollgate_analytics::report::TimeRange;
use tollgate_config::Config;
use tollgate_console::simulation::{SAMPLE_ROWS, Simulation, SimulationRequest, guard_sample, keys_of};
use tollgate_gateway::RouteBook;
use tollgate_policy::bundle;

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::remote::Remote;
use crate::wire::ConfiguredMarket;
use crate::{terminal, wire};

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// The bundle.
    file: PathBuf,
    /// First moment covered, by the start of a call: `2026-11-01` or `2026-11-01T00:00:00Z`.
    #[arg(long, value_parser = super::super::report::moment)]
    from: DateTime<Utc>,
    /// First moment no longer covered. Default: now.
    #[arg(long, value_parser = super::super::report::moment)]
    to: Option<DateTime<Utc>>,
    /// Only calls that the bundle with this hash decided; `own` for the bundle itself.
    #[arg(long, value_name = "HASH")]
    decided_by: Option<String>,
    /// Share of the calls that may newly be denied: `1%`.
    #[arg(long, value_name = "PERCENT")]
    max_denials: Option<Percent>,
    /// Growth of the cost: `+5%`; below zero, the least saving.
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    max_cost: Option<Percent>,
    /// Growth of the mean latency: `+10%`.
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    max_latency: Option<Percent>,
    /// Share of the calls that may go to another target: `20%`.
    #[arg(long, value_name = "PERCENT")]
    max_rerouted: Option<Percent>,
    /// Calls that may have been served where the bundle would not have let them go.
    #[arg(long, value_name = "CALLS")]
    max_violations: Option<u64>,
    /// URL of another machine's console.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) async fn run(common: &Common, args: SimulateArgs) -> anyhow::Result<()> {
    let yaml = fs::read_to_string(&args.file)?;
    let proposed = bundle::load(&yaml).with_context(|| format!("`{}` is not a valid bundle", args.file.display()))?;
    let to = args.to.unwrap_or_else(Utc::now);
    if args.from >= to {
        bail!("`--from {}` is not before `--to {}`", args.from.to_rfc3339(), to.to_rfc3339());
    }
    let limits = Limits {
        max_denials: args.max_denials,
        max_cost: args.max_cost,
        max_latency: args.max_latency,
        max_rerouted: args.max_rerouted,
        max_violations: args.max_violations,
    };
    let decided_by = args.decided_by.map(|hash| if hash == "own" { proposed.hash.clone() } else { hash });
    let data = DataDir::of_command(&common.data)?;
    let simulation = match Remote::find(args.url.as_deref(), &data)? {
        Some(remote) => {
            let request = SimulationRequest {
                bundle: yaml,
                from: args.from.timestamp_micros().to_string(),
                to: to.timestamp_micros().to_string(),
                decided_by,
                limits,
            };
            let request = serde_json::to_value(request)?;
            let answer = remote.post("/api/v1/policies/simulate", &request, "application/json").await?;
            serde_json::from_slice(&answer).context("the server's answer is not a back-test")?
        }
        None => {
            let range = TimeRange::new(args.from.timestamp_micros(), to.timestamp_micros());
            from_lake(common, &data, (proposed, &yaml), range, decided_by, &limits).await?
        }
    };
    if common.json {
        terminal::line(&serde_json::to_string(&simulation)?);
    } else {
        show(&simulation);
    }
    if simulation.report.replayed == 0 && !simulation.findings.is_empty() {
        bail!(
            "no call was put to the bundle, so nothing can be said of its limits; widen `--from` and `--to`, or leave \
             `--decided-by` out"
        );
    }
    if !simulation.is_accepted {
        let broken: Vec<&str> = simulation
            .findings
            .iter()
            .filter(|finding| !finding.is_kept)
            .map(|finding| finding.limit.as_str())
            .collect();
        bail!("the bundle goes beyond {}", broken.join(", "));
    }
    Ok(())
}

async fn from_lake(
    common: &Common,
    data: &DataDir,
    (proposed, yaml): (bundle::Bundle, &str),
    range: TimeRange,
    decided_by: Option<String>,
    limits: &Limits,
) -> anyhow::Result<Simulation> {
    terminal::note(
        "no server runs on this data directory: this is the lake alone, without calls that wait in a write-ahead log",
    );
    let config = Config::load(common.config.as_deref())?;
    let analytics = wire::read_only_analytics(&config, data).await?;
    let document = wire::open_metastore(&config, data).await?.control_document().await?;
    let catalog = config.price_book(data.path())?.catalog;
    // Asking where calls go makes none: no key is needed, and users are not hashed.
    let settings = config.gateway_settings([0; 32], String::new());
    let book = RouteBook::new(&settings, catalog).context("the configured providers and models")?;
    let changes = bundle::diff(&document.bundle_yaml, yaml)?;
    let trial = Trial {
        bundle: Arc::new(proposed),
        range,
        decided_by,
        sample: SAMPLE_ROWS,
        guard_sample: guard_sample(&changes),
        keys: keys_of(&document)?,
        market: Arc::new(ConfiguredMarket(book)),
    };
    Ok(Simulation::of(analytics.reading().backtest(trial).await?, limits, changes))
}

fn show(simulation: &Simulation) {
    let report = &simulation.report;
    let BacktestReport { bundle_name, bundle_hash, replayed, undecided, kept, .. } = report;
    terminal::line(&format!(
        "bundle `{bundle_name}` ({}): {replayed} calls put to it; {undecided} that no bundle had decided and {kept} that no \
         bundle has a say in are left out",
        &bundle_hash[..12.min(bundle_hash.len())]
    ));
    if report.own > 0 {
        terminal::line(&format!(
            "of {} calls that it had decided itself, {} are decided the same again, by the same rules; of {} that went to a \
             target, {} go to the same one first",
            report.own, report.own_agreed, report.own_routed, report.own_routes_agreed
        ));
    }
    for count in &report.decisions {
        terminal::line(&format!("{:>9}  {}", count.calls, words(count.change)));
    }
    for denial in &report.denials {
        terminal::line(&format!("rule `{}` denied {} and would deny {}", denial.rule, denial.before, denial.after));
    }
    for route in &report.routes {
        terminal::line(&format!("{} calls would go to `{}` instead of `{}`", route.calls, route.to, route.from));
    }
    for arm in &report.arms {
        let ArmCount { experiment, arm, before, after } = arm;
        terminal::line(&format!("arm `{arm}` of `{experiment}` had {before} calls and would have {after}"));
    }
    for sentence in report.routing.sentences() {
        terminal::line(&sentence);
    }
    if let Some(guards) = &report.guardrails {
        show_guards(guards);
    }
    for (rule, calls) in &report.violations {
        terminal::line(&format!("{calls} calls were served where `{rule}` would not have let them go"));
    }
    terminal::line(&format!(
        "cost: {} USD before, {} USD by estimate ({} calls estimated, {} at a price that is not known)",
        report.cost.logged_usd, report.cost.would_usd, report.cost.estimated, report.cost.unknown
    ));
    if let (Some(before), Some(after)) = (report.latency.logged_mean_us, report.latency.would_mean_us) {
        terminal::line(&format!("mean latency: {} ms before, {} ms by estimate", before / 1_000, after / 1_000));
    }
    for row in &report.sample {
        terminal::line(&sample(row));
    }
    for finding in &simulation.findings {
        let word = if finding.is_kept { "kept" } else { "NOT KEPT" };
        terminal::line(&format!("--{} {}: {} ({word})", finding.limit, finding.at_most, finding.found));
    }
}

fn show_guards(guards: &GuardReplay) {
    terminal::line(&guards.sentence());
    for guard in &guards.rules {
        let GuardCount { rule, action, before, .. } = guard;
        let would = guard.would().map_or_else(
            || "asks a service, so that it was not replayed".to_owned(),
            |would| format!("would in {would}"),
        );
        let looked_at = guards.looked_at;
        terminal::line(&format!(
            "  guardrail `{rule}` ({action}): of these {looked_at} calls it did find something in {before} and {would}"
        ));
    }
}

const fn words(change: Change) -> &'static str {
    match change {
        Change::Same => "as before",
        Change::Denied => "newly denied",
        Change::Allowed => "no longer denied",
        Change::OtherRule => "denied by another rule",
        Change::Rerouted => "to another target",
    }
}

fn sample(row: &SampleRow) -> String {
    let why = if row.why.is_empty() { String::new() } else { format!(": {}", row.why) };
    let by = row.rule_after.as_ref().or(row.rule_before.as_ref()).or(row.target_after.as_ref());
    let by = by.map_or_else(String::new, |by| format!(" ({by})"));
    format!("  {} {} {} {}{by}{why}", row.interaction_id, row.team, row.model, words(row.change))
}

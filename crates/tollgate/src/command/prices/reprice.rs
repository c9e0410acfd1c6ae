//! `tollgate prices reprice`. Corrections go through the running server's log; what they would be can also be told from
//! the lake alone.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use chrono::Utc;
use clap::Args;
use tollgate_config::Config;
use tollgate_console::prices::{ModelRepricing, RepriceMode, RepriceOrder, Repricing};
use tollgate_interaction::Usd;

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::remote::Remote;
use crate::wire::PriceAgain;
use crate::{terminal, wire};

#[derive(Debug, Args)]
pub(crate) struct RepriceArgs {
    /// First moment covered, by the start of a call: `2026-11-01` or `2026-11-01T00:00:00Z`.
    #[arg(long, value_parser = super::super::report::moment)]
    from: chrono::DateTime<Utc>,
    /// First moment no longer covered.
    #[arg(long, value_parser = super::super::report::moment)]
    to: chrono::DateTime<Utc>,
    /// Shows what would become another and appends nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the record; needed unless it is a dry run.
    #[arg(long, required_unless_present = "dry_run")]
    reason: Option<String>,
    /// URL of another machine's console.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) async fn run(common: &Common, config: &Config, args: RepriceArgs) -> anyhow::Result<()> {
    if args.from >= args.to {
        bail!("`--from {}` is not before `--to {}`", args.from.to_rfc3339(), args.to.to_rfc3339());
    }
    let data = DataDir::of_command(&common.data)?;
    let mode = if args.dry_run { RepriceMode::DryRun } else { RepriceMode::Append };
    let repricing = match Remote::find(args.url.as_deref(), &data)? {
        Some(remote) => {
            let repricing = ask_server(&remote, &args, mode).await?;
            if common.config.is_some() && args.url.is_none() {
                compare(config, &data, &repricing)?;
            }
            repricing
        }
        None if args.dry_run => from_lake(config, &data, &args).await?,
        None => bail!(
            "no server runs on this data directory, and corrections go through its log; start `tollgate serve`, or look with --dry-run"
        ),
    };
    if common.json {
        terminal::line(&serde_json::to_string(&repricing)?);
    } else {
        show(&repricing);
    }
    Ok(())
}

async fn ask_server(remote: &Remote, args: &RepriceArgs, mode: RepriceMode) -> anyhow::Result<Repricing> {
    let order = serde_json::json!({
        "from": args.from.to_rfc3339(),
        "to": args.to.to_rfc3339(),
        "mode": mode,
        "reason": args.reason.as_deref().unwrap_or(""),
    });
    let answer = remote.post("/api/v1/prices/reprice", &order, "application/json").await?;
    serde_json::from_slice(&answer).context("the server's answer is not a repricing")
}

/// Says so where the server prices by another catalogue than the configuration at hand would make.
fn compare(config: &Config, data: &DataDir, repricing: &Repricing) -> anyhow::Result<()> {
    let here = config.price_book(data.path())?.id();
    if here != repricing.catalog_id {
        terminal::note(&format!(
            "the running server priced by its catalogue {}, this configuration makes {here}: a server takes up a changed file of \
             `catalog.prices` within seconds, but a changed line `catalog.prices` only when it is restarted",
            repricing.catalog_id
        ));
    }
    Ok(())
}

async fn from_lake(config: &Config, data: &DataDir, args: &RepriceArgs) -> anyhow::Result<Repricing> {
    terminal::note(
        "no server runs on this data directory: this is the lake alone, without calls that wait in a write-ahead log",
    );
    let analytics = wire::read_only_analytics(config, data).await?;
    let (book, names) = (config.price_book(data.path())?, price_names(config));
    let order = RepriceOrder {
        from_us: args.from.timestamp_micros(),
        to_us: args.to.timestamp_micros(),
        mode: RepriceMode::DryRun,
        reason: String::new(),
        actor: String::new(),
    };
    let again = PriceAgain { book: &book, names: &names, now_us: Utc::now().timestamp_micros() };
    Ok(again.run(&analytics.reading(), &order, None).await?.0)
}

/// As a gateway with this configuration would name its providers to the catalogue.
fn price_names(config: &Config) -> BTreeMap<String, String> {
    let providers = config.gateway_settings([0; 32], String::new()).providers.into_iter();
    providers
        .map(|provider| {
            let list = provider.price_as.unwrap_or_else(|| provider.kind.as_str().to_owned());
            (provider.name, list)
        })
        .collect()
}

fn show(repricing: &Repricing) {
    for of_model in &repricing.by_model {
        terminal::line(&line(of_model));
    }
    let Repricing { calls, unchanged, changed, newly_priced, still_unpriced, no_longer_priced, .. } = repricing;
    terminal::line(&format!(
        "{calls} calls: {unchanged} stay, {changed} change, {newly_priced} get a cost, {still_unpriced} still have none, \
         {no_longer_priced} keep a cost that this catalogue does not know"
    ));
    let newly = match newly_priced {
        0 => String::new(),
        some => format!(" (nothing for the {some} without a cost)"),
    };
    terminal::line(&format!(
        "what changes: {} USD before{newly}, {} USD now, {} USD difference",
        repricing.old_usd,
        repricing.new_usd,
        signed(repricing.new_usd - repricing.old_usd)
    ));
    match repricing.mode {
        RepriceMode::DryRun => terminal::note("this was a dry run: nothing was appended"),
        RepriceMode::Append => terminal::note(&format!(
            "{} appended to `price_corrections`; `costs` counts with them, `interactions` stays as recorded",
            super::counted(usize::try_from(repricing.appended).unwrap_or(usize::MAX), "correction")
        )),
    }
}

fn line(of_model: &ModelRepricing) -> String {
    let ModelRepricing { provider, model, changed, newly_priced, still_unpriced, no_longer_priced, .. } = of_model;
    let mut line = format!("{provider}/{model}:");
    if changed + newly_priced > 0 {
        let difference = signed(of_model.new_usd - of_model.old_usd);
        line += &format!(
            " {changed} change, {newly_priced} get a cost: {} -> {} USD ({difference})",
            of_model.old_usd, of_model.new_usd
        );
    }
    if let Some(problem) = &of_model.problem {
        line += &format!(" {} without a price: {problem}", still_unpriced + no_longer_priced);
    }
    line
}

fn signed(usd: Usd) -> String {
    if usd > Usd::ZERO { format!("+{usd}") } else { usd.to_string() }
}

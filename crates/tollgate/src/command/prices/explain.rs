//! `tollgate prices explain`: which row of the catalogue applies to a call, by which step it was found, and the bill line
//! by line.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;
use tollgate_config::{Config, PriceBook};
use tollgate_interaction::{Usage, Usd};
use tollgate_policy::suggestion;
use tollgate_provider::price::{Beside, Call, Catalog, Explanation, FoundBy, Line, PriceError, Tier};

use super::place::place;
use crate::cli::Common;
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// `provider/model`, as a call names it; or the model alone, where one configured provider has it, or else one of the
    /// catalogue.
    model: String,
    /// The provider, of the configuration or of the catalogue.
    #[arg(long)]
    provider: Option<String>,
    /// Where it is served; by default the region of the configured provider.
    #[arg(long)]
    region: Option<String>,
    /// Tier of service, `batch` for a call of a batch; by default the standard one.
    #[arg(long)]
    tier: Option<String>,
    /// When: `2026-11-01` or `2026-11-01T00:00:00Z`; by default now.
    #[arg(long, value_parser = super::super::report::moment)]
    at: Option<DateTime<Utc>>,
    #[command(flatten)]
    usage: UsageArgs,
}

/// What was used, in tokens; parts are contained in the whole.
#[derive(Debug, Args)]
struct UsageArgs {
    /// Tokens read, cached ones included.
    #[arg(long, value_name = "N")]
    input: Option<u64>,
    /// Tokens written, reasoning included.
    #[arg(long, value_name = "N")]
    output: Option<u64>,
    /// Part of the input read from the provider's cache.
    #[arg(long, value_name = "N")]
    cached: Option<u64>,
    /// Part of the input written to a cache of five minutes.
    #[arg(long, value_name = "N")]
    cache_write_5m: Option<u64>,
    /// Part of the input written to a cache of an hour.
    #[arg(long, value_name = "N")]
    cache_write_1h: Option<u64>,
    /// Part of the input that was audio.
    #[arg(long, value_name = "N")]
    audio_input: Option<u64>,
    /// Part of the input that was images.
    #[arg(long, value_name = "N")]
    image_input: Option<u64>,
    /// Part of the output that was reasoning.
    #[arg(long, value_name = "N")]
    reasoning: Option<u64>,
    /// Part of the output that was audio.
    #[arg(long, value_name = "N")]
    audio_output: Option<u64>,
    /// Part of the output that was images.
    #[arg(long, value_name = "N")]
    image_output: Option<u64>,
    /// Searches of the web, in calls.
    #[arg(long, value_name = "N")]
    web_searches: Option<u64>,
    /// Other tools billed by the call.
    #[arg(long, value_name = "N")]
    other_tools: Option<u64>,
    /// Sound that was listened to, in seconds, such as `9.5`.
    #[arg(long, value_name = "S")]
    audio_seconds: Option<String>,
    /// Pictures that were drawn.
    #[arg(long, value_name = "N")]
    images: Option<u64>,
    /// Characters that were spoken.
    #[arg(long, value_name = "N")]
    characters: Option<u64>,
}

impl UsageArgs {
    fn beside(&self) -> Beside {
        let audio = Beside::read([self.audio_seconds.as_deref(), None, None]);
        Beside { images: self.images, characters: self.characters, ..audio }
    }

    fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.input,
            output_tokens: self.output,
            cache_read_input_tokens: self.cached,
            cache_write_5m_input_tokens: self.cache_write_5m,
            cache_write_1h_input_tokens: self.cache_write_1h,
            reasoning_output_tokens: self.reasoning,
            audio_input_tokens: self.audio_input,
            audio_output_tokens: self.audio_output,
            image_input_tokens: self.image_input,
            image_output_tokens: self.image_output,
            web_search_calls: self.web_searches,
            other_tool_calls: self.other_tools,
        }
    }
}

pub(super) fn run(common: &Common, config: &Config, args: &ExplainArgs) -> anyhow::Result<()> {
    // Looking leaves nothing behind: without a data directory there is no update.
    let book = config.price_book(&common.data)?;
    let place = place(config, &book, &args.model, args.provider.as_deref())?;
    let mut usage = args.usage.usage();
    let beside = args.usage.beside();
    let is_asked = !usage.is_empty() || !beside.is_empty();
    if !usage.is_empty() {
        // Who states one of them means none of the other.
        usage.input_tokens = usage.input_tokens.or(Some(0));
        usage.output_tokens = usage.output_tokens.or(Some(0));
    }
    let region = args.region.as_deref().or(place.region.as_deref());
    let call = Call {
        provider: &place.list,
        model: &place.model,
        region,
        service_tier: args.tier.as_deref(),
        usage: &usage,
        at_us: args.at.unwrap_or_else(Utc::now).timestamp_micros(),
    };
    let explanation = book.catalog.explain(&call, &beside).map_err(|error| no_price(error, &book.catalog, &call))?;
    if common.json {
        terminal::line(&as_json(&explanation, &call, &book, is_asked).to_string());
    } else {
        for line in lines(&explanation, &call, is_asked) {
            terminal::line(&line);
        }
        terminal::note(&format!("catalogue {}", book.id()));
    }
    if is_asked {
        explanation.cost.context("there is no cost for this usage")?;
    }
    Ok(())
}

/// With the nearest model that has a price, if it is the model that is not known.
fn no_price(error: PriceError, catalog: &Catalog, call: &Call<'_>) -> anyhow::Error {
    let hint = match &error {
        PriceError::UnknownModel { .. } => suggestion::phrase(call.model, catalog.models(call.provider)),
        _ => String::new(),
    };
    anyhow::anyhow!("{error}{hint}")
}

fn lines(explained: &Explanation, call: &Call<'_>, is_asked: bool) -> Vec<String> {
    let step = match explained.found_by {
        FoundBy::Id => "by its exact id".to_owned(),
        FoundBy::Alias => format!("by the alias `{}`", call.model),
        FoundBy::Snapshot => {
            format!("`{}` is a dated snapshot of it, and its file says that they cost the same", call.model)
        }
    };
    let or = |value: &Option<String>, otherwise: &str| value.clone().unwrap_or_else(|| otherwise.to_owned());
    let mut lines = vec![
        format!("model     {} at {}, found {step}", explained.model, explained.provider),
        format!("row       {}", explained.price_id),
        format!("in force  {}", if explained.from == "release" { "since ever" } else { &explained.from }),
        format!(
            "holds     tier {}, region {}, {}",
            or(&explained.service_tier, "standard"),
            or(&explained.region, "any without rows of its own"),
            explained.hours_utc.as_ref().map_or_else(|| "at any hour".to_owned(), |hours| format!("{hours} UTC")),
        ),
        format!("source    {}", explained.source),
    ];
    for tier in &explained.tiers {
        lines.push(tier_title(tier, explained.above_input_tokens, is_asked && explained.tiers.len() > 1));
        let width = tier.rates.iter().map(|rate| rate.class.len()).max().unwrap_or(0);
        for rate in &tier.rates {
            lines.push(format!("  {:width$}  {} USD {}", rate.class, rate.usd, rate.unit));
        }
    }
    if is_asked {
        lines.push("bill".to_owned());
        lines.extend(explained.lines.iter().map(bill_line));
        lines.push(match &explained.cost {
            Ok(cost) => format!("  total: {cost} USD, rounded once to trillionths, half to even"),
            Err(error) => format!("  no total: {error}"),
        });
    }
    lines
}

fn tier_title(tier: &Tier, applied: Option<u64>, is_told: bool) -> String {
    let title = match tier.above_input_tokens {
        None => "prices".to_owned(),
        Some(limit) => format!("prices above {limit} input tokens"),
    };
    if is_told && tier.above_input_tokens == applied { format!("{title} (applied)") } else { title }
}

fn bill_line(line: &Line) -> String {
    let billed_as = line.billed_as.map(|class| format!(" (at the price of {class})")).unwrap_or_default();
    format!("  {}: {} x {} / {} = {} USD{billed_as}", line.class, line.quantity, line.rate, line.per, exact(line))
}

/// The amount of a line with all its digits: it is not rounded, only the total is.
fn exact(line: &Line) -> String {
    const PLACES: usize = 18;
    let weight = 1_000_000 / i128::from(line.per);
    let units = i128::from(line.quantity).saturating_mul(line.rate.get()).saturating_mul(weight);
    let digits = format!("{units:0>width$}", width = PLACES + 1);
    let (whole, fraction) = digits.split_at(digits.len() - PLACES);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

fn as_json(explained: &Explanation, call: &Call<'_>, book: &PriceBook, is_asked: bool) -> serde_json::Value {
    let line = |line: &Line| {
        json!({
            "class": line.class, "quantity": line.quantity, "rate_usd": line.rate, "per": line.per,
            "billed_as": line.billed_as, "usd": exact(line),
        })
    };
    let cost: Option<Usd> = explained.cost.as_ref().ok().copied().filter(|_| is_asked);
    let problem = explained.cost.as_ref().err().filter(|_| is_asked).map(ToString::to_string);
    json!({
        "asked": {"model": call.model, "region": call.region, "service_tier": call.service_tier, "at_us": call.at_us},
        "provider": explained.provider,
        "model": explained.model,
        "found_by": explained.found_by.as_str(),
        "price_id": explained.price_id,
        "from": explained.from,
        "service_tier": explained.service_tier,
        "region": explained.region,
        "hours_utc": explained.hours_utc,
        "source": explained.source,
        "tiers": explained.tiers,
        "above_input_tokens": explained.above_input_tokens,
        "lines": explained.lines.iter().map(line).collect::<Vec<_>>(),
        "cost_usd": cost,
        "problem": problem,
        "catalog_id": book.id(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_bill_has_all_its_digits() {
        let line = |quantity, rate: &str, per| Line {
            class: "input",
            quantity,
            rate: rate.parse().unwrap(),
            per,
            billed_as: None,
        };
        assert_eq!(exact(&line(3, "0.0375", 1_000_000)), "0.0000001125");
        assert_eq!(exact(&line(1, "0.000000000001", 1_000_000)), "0.000000000000000001");
        assert_eq!(exact(&line(2, "10", 1_000)), "0.02");
        assert_eq!(exact(&line(2_000_000, "3", 1_000_000)), "6");
    }
}

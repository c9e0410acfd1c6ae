//! `/models`: where calls go. Every route with its targets: how each is doing in this process, what the log says of it, what
//! it costs, and why it rests if it does.

mod wording;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Html;
use tollgate_interaction::Usd;
use tollgate_policy::route::{CircuitState, ModelsSnapshot, RestReason, RouteLook, Strategy, TargetLook};

use self::wording::{Trial, Where};
use super::Tile;
use crate::access::Reader;
use crate::error::ConsoleError;
use crate::format::{self, UNKNOWN};
use crate::range::parameter;
use crate::shell::Shell;
use crate::state::ConsoleState;

/// Signals older than this are called old: a process renews its own every second.
const OLD_MS: u64 = 5_000;

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/models.html")]
pub struct ModelsPage {
    shell: Shell,
    tiles: Vec<Tile>,
    warning: Option<String>,
    routes: Vec<RouteView>,
    direct: Vec<TargetView>,
    /// Experiments on a model by its own name, which has no sheet to show them on.
    trials: Vec<Trial>,
    provenance: String,
}

#[derive(Debug)]
struct RouteView {
    alias: String,
    href: String,
    /// What sets it apart, a few words each.
    marks: Vec<String>,
    rule: Option<String>,
    /// HTML of the condition under which calls take it.
    when: Option<String>,
    trials: Vec<Trial>,
    is_weighted: bool,
    unknown: Vec<String>,
    targets: Vec<TargetView>,
}

#[derive(Debug)]
struct TargetView {
    name: String,
    href: String,
    weight: String,
    tone: &'static str,
    state: &'static str,
    /// Why and until when it rests, or nothing.
    why: String,
    in_flight: String,
    p50: String,
    p95: String,
    errors: String,
    errors_exact: String,
    is_failing: bool,
    price: String,
    quality: String,
    quality_exact: String,
    place: Where,
    context: String,
}

/// Answers `GET /models`.
///
/// # Errors
/// `routing_unknown` if this process routes no calls.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
) -> Result<Html<String>, ConsoleError> {
    let routing = state.instruments.routing().ok_or(ConsoleError::NoRouting)?;
    Ok(Html(ModelsPage::new(reader.shell(&state, "Models", "/models"), &routing).render()?))
}

impl ModelsPage {
    /// The page for a state of routing.
    #[must_use]
    pub fn new(shell: Shell, routing: &ModelsSnapshot) -> Self {
        // A model's own name is a route of one target: they share a table.
        let is_alias = |route: &&RouteLook| {
            route.rule.is_some() || !matches!(route.targets.as_slice(), [only] if only.name() == route.alias)
        };
        let (aliases, direct): (Vec<&RouteLook>, Vec<&RouteLook>) = routing.routes.iter().partition(is_alias);
        let at_us = routing.at_us;
        let has_sheet = |alias: &str| aliases.iter().any(|route| route.alias == alias);
        let trials = routing.experiments.iter().filter(|experiment| !has_sheet(&experiment.alias)).map(Trial::of);
        let trials = trials.collect();
        let direct = direct.iter().flat_map(|route| &route.targets).map(|target| TargetView::new(target, "", at_us));
        ModelsPage {
            shell,
            tiles: tiles(routing, aliases.len()),
            warning: warning(routing),
            direct: direct.collect(),
            routes: aliases.into_iter().map(|route| RouteView::new(route, routing)).collect(),
            trials,
            provenance: provenance(routing),
        }
    }
}

/// Every target once, however many routes lead to it.
fn distinct(routing: &ModelsSnapshot) -> Vec<&TargetLook> {
    let mut known: Vec<&TargetLook> = Vec::new();
    for target in routing.routes.iter().flat_map(|route| &route.targets) {
        if !known.iter().any(|before| before.provider == target.provider && before.model == target.model) {
            known.push(target);
        }
    }
    known
}

fn tiles(routing: &ModelsSnapshot, aliases: usize) -> Vec<Tile> {
    let targets = distinct(routing);
    let resting = targets.iter().filter(|target| target.health.resting_because.is_some()).count();
    let in_flight: u64 = targets.iter().map(|target| u64::from(target.health.in_flight)).sum();
    let age = match routing.signals_age_ms {
        Some(age_ms) => format::duration_us(age_ms.saturating_mul(1_000)),
        None => UNKNOWN.to_owned(),
    };
    let tile = |label, value: String, note: &str| Tile { label, value, note: note.to_owned(), ..Tile::default() };
    let whole = format!("of {} targets", format::count(targets.len() as u64));
    vec![
        tile("Routes", format::count(aliases as u64), "aliases and the policy’s own"),
        tile("Resting", format::count(resting as u64), &whole),
        tile("In flight", format::count(in_flight), "calls being answered"),
        tile("Signals", age, "since the log was last looked at"),
    ]
}

fn warning(routing: &ModelsSnapshot) -> Option<String> {
    match routing.signals_age_ms {
        None => Some(
            "No signals yet: latency, errors and quality are not known, and routing goes by what it measures itself."
                .to_owned(),
        ),
        Some(age_ms) if age_ms > OLD_MS => Some(format!(
            "The signals are {} old, more than the 5 s they should be: what routing knows of latency, errors and quality may be out of date.",
            format::duration_us(age_ms.saturating_mul(1_000))
        )),
        Some(_) => None,
    }
}

fn provenance(routing: &ModelsSnapshot) -> String {
    let signals = routing.signals_id.as_deref().unwrap_or("none");
    let bundle: String = routing.bundle_hash.chars().take(12).collect();
    format!(
        "Health and calls in flight are this process's own, as of {}. Latency and errors are those of the last 15 minutes in the \
         log, signals {signals}; quality is the lower bound of 30 days of feedback. Policy bundle {bundle}.",
        format::timestamp(routing.at_us)
    )
}

impl RouteView {
    fn new(route: &RouteLook, routing: &ModelsSnapshot) -> RouteView {
        let trials = routing.experiments.iter().filter(|experiment| experiment.alias == route.alias);
        let mut marks = vec![strategy(route.strategy).to_owned()];
        marks.extend(route.hedge_after.as_ref().map(|after| format!("hedged after {after}")));
        marks.extend(
            route
                .shadow
                .as_ref()
                .map(|(target, share)| format!("{} copied to {target}", format::percent(f64::from(*share) / 1e6))),
        );
        let total: u64 = route.targets.iter().map(|target| u64::from(target.weight)).sum();
        let weight = |target: &TargetLook| match total {
            0 => UNKNOWN.to_owned(),
            total => format::percent(f64::from(target.weight) / total as f64),
        };
        let targets = route.targets.iter().map(|target| TargetView::new(target, &weight(target), routing.at_us));
        RouteView {
            href: format!("/interactions?range=24h{}", parameter("model", &route.alias)),
            alias: route.alias.clone(),
            marks,
            rule: route.rule.clone(),
            when: route.when.as_ref().map(wording::condition),
            trials: trials.map(Trial::of).collect(),
            is_weighted: route.strategy == Strategy::Weighted,
            unknown: route.unknown.clone(),
            targets: targets.collect(),
        }
    }
}

impl TargetView {
    fn new(target: &TargetLook, weight: &str, at_us: i64) -> TargetView {
        let health = &target.health;
        let (tone, state) = match (health.circuit, health.resting_because) {
            (CircuitState::Closed, None) => ("o-success", "takes calls"),
            (CircuitState::HalfOpen, _) => ("o-interrupted", "being tried"),
            (CircuitState::Open | CircuitState::Closed, _) => ("o-failed", "resting"),
        };
        let why = match (health.resting_because, health.resting_until_us) {
            (Some(why), Some(until_us)) => rest(why, until_us, at_us),
            _ => String::new(),
        };
        // An older control plane knows whole milliseconds alone.
        let latency = |us: Option<u64>, ms: Option<u64>| {
            let us = us.or_else(|| ms.map(|ms| ms.saturating_mul(1_000)));
            us.map_or_else(|| UNKNOWN.to_owned(), format::latency_us)
        };
        let rate = (target.calls > 0).then(|| target.errors as f64 / target.calls as f64);
        TargetView {
            name: target.name(),
            href: format!("/interactions?range=1h{}", parameter("provider", &target.provider)),
            weight: weight.to_owned(),
            tone,
            state,
            why,
            in_flight: format::count(u64::from(health.in_flight)),
            p50: latency(target.p50_us, target.p50_ms),
            p95: latency(target.p95_us, target.p95_ms),
            errors: format::percent_or_unknown(rate),
            errors_exact: format!("{} of {}", target.errors, format::counted(target.calls, "attempt")),
            is_failing: rate.is_some_and(|rate| rate >= 0.05),
            price: price(target.input_price, target.output_price),
            quality: target
                .quality_lower
                .map_or_else(|| UNKNOWN.to_owned(), |lower| format!("≥ {:.2}", lower.to_f64())),
            quality_exact: match target.quality_mean {
                Some(mean) => {
                    format!("mean {:.3} of {}", mean.to_f64(), format::counted(target.quality_n, "judgement"))
                }
                None => "no feedback yet".to_owned(),
            },
            place: Where::of(target),
            context: format::count_or_unknown(target.context_tokens.map(u64::from)),
        }
    }
}

/// Dollars per million tokens, in and out.
fn price(input: Option<Usd>, output: Option<Usd>) -> String {
    match (input, output) {
        (None, None) => UNKNOWN.to_owned(),
        (input, output) => {
            let text = |price: Option<Usd>| price.map_or_else(|| UNKNOWN.to_owned(), format::usd);
            format!("{} / {}", text(input), text(output))
        }
    }
}

fn rest(why: RestReason, until_us: i64, at_us: i64) -> String {
    let why = match why {
        RestReason::Failures => "failed too often",
        RestReason::Credentials => "refused the gateway’s credentials",
        RestReason::Throttled => "asked to be left alone",
    };
    let left_s = (until_us - at_us + 999_999) / 1_000_000;
    if left_s <= 0 { format!("{why}; one call is trying it") } else { format!("{why}; for {left_s} s more") }
}

const fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Single => "one target",
        Strategy::Fallback => "fallback, in this order",
        Strategy::RoundRobin => "by turns",
        Strategy::Weighted => "by weight",
        Strategy::Cost => "cheapest for the call",
        Strategy::Latency => "less busy of two",
        Strategy::Fastest => "lowest median latency",
        Strategy::Quality => "cheapest that is good enough",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn page(routing: &ModelsSnapshot) -> String {
        let shell = crate::preview::shell("Models", "/models");
        ModelsPage::new(shell, routing).render().unwrap()
    }

    #[test]
    fn a_route_says_which_calls_take_it_and_its_alias_which_experiment_divides_them() {
        let html = page(&sample::routing());
        assert!(html.contains("<code>request.segment == &quot;gold&quot;</code> and <code>"), "{html}");
        assert!(html.contains(r##"<a href="/experiments#tone">"##) && html.contains("<b>80 %</b> control"), "{html}");
    }

    #[test]
    fn a_fast_target_has_a_median_and_a_target_without_a_place_says_so() {
        let mut routing = sample::routing();
        let target = &mut routing.routes[0].targets[0];
        (target.p50_us, target.p50_ms, target.region) = (Some(400), Some(1), None);
        target.places = Default::default();
        let html = page(&routing);
        assert!(html.contains(">0.4 ms</td>") && html.contains("not told") && html.contains("law: US"), "{html}");
        // As an older control plane tells it.
        routing.routes[0].targets[0].p50_us = None;
        assert!(page(&routing).contains(">1 ms</td>"));
    }

    #[test]
    fn an_experiment_on_a_model_by_its_own_name_is_shown_too() {
        let mut routing = sample::routing_at_first();
        routing.experiments = vec![tollgate_policy::route::ExperimentLook {
            alias: "sandbox/small".to_owned(),
            ..sample::routing().experiments.remove(0)
        }];
        assert!(page(&routing).contains(r##"href="/experiments#tone""##));
    }
}

//! Watches budgets: what step each account has reached and how it will end, told once in each window. Each alert is a
//! control event in the log before it goes anywhere, which is also how a restarted process knows what has been told.

mod history;
mod webhook;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_analytics::Analytics;
use tollgate_config::Config;
use tollgate_console::budgets::{AlertLine, BudgetBooks};
use tollgate_gateway::Gateway;
use tollgate_interaction::{ControlEvent, Governance, Usd};
use tollgate_policy::forecast::{Forecast, forecast, forecast_rolling};
use tollgate_policy::ledger::{Account, Reading, Tally, Unit};
use tollgate_policy::window::Window;
use tollgate_policy::{AllowanceKind, AllowanceView, Bundle};
use tollgate_wal::Appender;

use self::webhook::{ATTEMPTS, Webhook};
use super::feedback::pause;

/// How often steps are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often forecasts are made.
const FORECAST_INTERVAL: Duration = Duration::from_secs(60);
/// Alerts kept for the console; all of them are in `control_events`.
const KEPT_ALERTS: usize = 200;
/// Webhooks under way at once; further alerts are told in the log and on the console alone.
const MAX_DELIVERIES: usize = 64;

type Forecasts = HashMap<(String, String), Forecast>;

/// The watch, and what it has seen.
pub(super) struct BudgetWatch {
    gateway: Arc<Gateway>,
    analytics: Arc<Analytics>,
    appender: Appender,
    webhook: Option<Webhook>,
    forecasts: Mutex<Arc<Forecasts>>,
    alerts: Mutex<VecDeque<Told>>,
    deliveries: TaskTracker,
}

struct Told {
    id: String,
    line: AlertLine,
}

/// Something to be told.
struct Alert {
    /// Names the alert for good: the same step of the same account in the same window has the same one.
    id: String,
    action: &'static str,
    budget: String,
    scope: String,
    text: String,
}

/// When forecasts were made last, and of what.
struct Made {
    at: Instant,
    bundle: String,
    /// The tallies that had been read from the log by then: a bundle's are read some time after it becomes active.
    read: HashSet<usize>,
}

impl Made {
    fn is_stale(&self, bundle: &Bundle, read: &HashSet<usize>) -> bool {
        self.at.elapsed() >= FORECAST_INTERVAL || self.bundle != bundle.hash || !read.is_subset(&self.read)
    }
}

impl BudgetWatch {
    pub(super) fn new(
        config: &Config,
        gateway: Arc<Gateway>,
        analytics: Arc<Analytics>,
        appender: Appender,
    ) -> anyhow::Result<Arc<BudgetWatch>> {
        Ok(Arc::new(BudgetWatch {
            webhook: Webhook::of(config)?,
            gateway,
            analytics,
            appender,
            forecasts: Mutex::default(),
            alerts: Mutex::default(),
            deliveries: TaskTracker::new(),
        }))
    }

    /// What the console shows.
    pub(super) fn books(&self) -> BudgetBooks {
        BudgetBooks {
            bundle: self.gateway.bundle(),
            readings: self.gateway.readings(),
            forecasts: Arc::clone(&self.forecasts.lock()),
            alerts: self.alerts.lock().iter().map(|told| told.line.clone()).collect(),
            organisation: None,
        }
    }

    /// Why the shared ledger cannot be reached, in a sentence for every page.
    pub(super) fn trouble(&self) -> Option<String> {
        let (trouble, mode) = self.gateway.ledger_trouble()?;
        let meanwhile = match mode {
            tollgate_gateway::OnLedgerDown::Deny => "calls that budgets or limits are about are denied",
            tollgate_gateway::OnLedgerDown::Local => {
                "each gateway keeps every budget and limit for itself, so that several together may exceed them"
            }
        };
        Some(format!("{trouble}: {meanwhile} (`on_ledger_down: {}`)", mode.as_str()))
    }

    /// Watches until it is time to stop.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut told = None;
        let mut last: Option<Made> = None;
        while pause(INTERVAL, &shutdown).await {
            let bundle = self.gateway.bundle();
            let readings = self.gateway.readings();
            let is_read = |(account, reading): &(Account, Reading)| reading.age_s.map(|_| account.tally);
            let read: HashSet<usize> = readings.iter().filter_map(is_read).collect();
            if last.as_ref().is_none_or(|made| made.is_stale(&bundle, &read)) {
                self.forecast(&bundle, &readings).await;
                last = Some(Made { at: Instant::now(), bundle: bundle.hash.clone(), read });
            }
            let known = match &mut told {
                Some(known) => known,
                None => match history::already_told(&self.analytics).await {
                    Ok(known) => told.insert(known),
                    Err(error) => {
                        tracing::warn!(error = format!("{error:#}"), "what was told of budgets cannot be read yet");
                        continue;
                    }
                },
            };
            let now_us = chrono::Utc::now().timestamp_micros();
            for alert in self.alerts(&bundle, &readings, now_us) {
                if !known.contains(&alert.id) && self.tell(&alert, now_us, &shutdown).await {
                    known.insert(alert.id);
                }
            }
        }
        self.deliveries.close();
        self.deliveries.wait().await;
    }

    async fn forecast(&self, bundle: &Bundle, readings: &[(Account, Reading)]) {
        let now_us = chrono::Utc::now().timestamp_micros();
        let mut forecasts = Forecasts::new();
        let counts_dollars: HashSet<usize> =
            bundle.allowances().iter().filter(|view| view.unit == Unit::Usd).map(|view| view.tally).collect();
        for (place, tally) in bundle.tallies().iter().enumerate().filter(|(place, _)| counts_dollars.contains(place)) {
            if !is_forecast(&tally.window) {
                continue;
            }
            let days = match history::daily_spend(&self.analytics, tally, now_us).await {
                Ok(days) => days,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), tally = %tally, "budgets could not be forecast");
                    continue;
                }
            };
            for (account, reading) in readings.iter().filter(|(account, _)| account.tally == place) {
                let past = days.get(&account.scope).map_or(&[][..], Vec::as_slice);
                let found = match tally.window {
                    Window::Rolling { length_s } => {
                        let length_us = i64::try_from(length_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
                        forecast_rolling(past, length_us, Window::UTC_MONTH.at(now_us).to_us, now_us)
                    }
                    _ => forecast(past, reading.settled.usd, tally.window.at(now_us), now_us),
                };
                if let Some(found) = found {
                    forecasts.insert((tally.id.clone(), account.scope.clone()), found);
                }
            }
        }
        *self.forecasts.lock() = Arc::new(forecasts);
    }

    /// What there is to tell, told already or not.
    fn alerts(&self, bundle: &Bundle, readings: &[(Account, Reading)], now_us: i64) -> Vec<Alert> {
        let views = bundle.allowances();
        let forecasts = Arc::clone(&self.forecasts.lock());
        let mut alerts = Vec::new();
        for (account, reading) in readings {
            let Some(tally) = bundle.tallies().get(account.tally) else { continue };
            for view in bundle.about(account.tally, &account.scope).into_iter().filter_map(|place| views.get(place)) {
                if view.kind == AllowanceKind::Limit || reading.age_s.is_none() {
                    continue;
                }
                let about = About { view, tally, account, now_us };
                alerts.extend(view.steps.iter().filter_map(|step| {
                    let is_reached = reading.settled.get(view.unit) >= step.threshold(view.limit);
                    is_reached.then(|| about.step(step.at, &step.action))
                }));
                let expected = forecasts.get(&(tally.id.clone(), account.scope.clone()));
                let over = expected.filter(|found| view.unit == Unit::Usd && found.expected_usd.get() > view.limit);
                alerts.extend(over.map(|found| about.forecast(found)));
            }
        }
        alerts
    }

    /// Logs an alert, shows it, and sends it on its way; false if the log did not take it.
    async fn tell(self: &Arc<Self>, alert: &Alert, now_us: i64, shutdown: &CancellationToken) -> bool {
        let event = ControlEvent {
            event_id: alert.id.clone(),
            at_us: now_us,
            tenant: String::new(),
            actor: "budgets".to_owned(),
            action: alert.action.to_owned(),
            subject: format!("{} {}", alert.budget, alert.scope),
            detail: alert.text.clone(),
        };
        if let Err(error) = self.appender.append_durable(&Governance::Control(event).into()).await {
            tracing::warn!(%error, "an alert of a budget could not be logged yet; trying again");
            return false;
        }
        tracing::warn!(budget = %alert.budget, scope = %alert.scope, "{}", alert.text);
        let has_room = self.deliveries.len() < MAX_DELIVERIES;
        let delivery = if self.webhook.is_some() && has_room { "waiting" } else { "none" };
        let line = AlertLine {
            at_us: now_us,
            budget: alert.budget.clone(),
            scope: alert.scope.clone(),
            text: alert.text.clone(),
            delivery,
        };
        let mut alerts = self.alerts.lock();
        alerts.push_front(Told { id: alert.id.clone(), line });
        alerts.truncate(KEPT_ALERTS);
        drop(alerts);
        if delivery == "waiting" {
            let body = serde_json::json!({
                "type": alert.action,
                "timestamp": chrono::DateTime::from_timestamp_micros(now_us).map(|at| at.to_rfc3339()),
                "data": {"budget": alert.budget, "scope": alert.scope, "text": alert.text},
            });
            let (watch, id, stop) = (Arc::clone(self), alert.id.clone(), shutdown.clone());
            self.deliveries.spawn(async move { watch.deliver(&id, &body.to_string(), &stop).await });
        }
        true
    }

    async fn deliver(&self, id: &str, body: &str, shutdown: &CancellationToken) {
        let Some(webhook) = &self.webhook else { return };
        for attempt in 1..=ATTEMPTS {
            match webhook.send(id, body).await {
                Ok(()) => return self.note_delivery(id, "delivered"),
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    attempt,
                    "an alert was not delivered; {} attempts are left",
                    ATTEMPTS - attempt
                ),
            }
            if attempt == ATTEMPTS || !pause(Webhook::pause(attempt), shutdown).await {
                break;
            }
        }
        self.note_delivery(id, "failed");
    }

    fn note_delivery(&self, id: &str, delivery: &'static str) {
        for told in self.alerts.lock().iter_mut().filter(|told| told.id == id) {
            told.line.delivery = delivery;
        }
    }
}

/// A day of history says nothing about less than a day.
fn is_forecast(window: &Window) -> bool {
    match window {
        Window::Calendar { .. } => !window.is_shorter_than_a_week(),
        Window::Rolling { length_s } => *length_s >= 86_400,
        Window::InFlight => false,
    }
}

/// One budget of one account.
struct About<'a> {
    view: &'a AllowanceView,
    tally: &'a Tally,
    account: &'a Account,
    now_us: i64,
}

impl About<'_> {
    fn step(&self, at: Usd, action: &str) -> Alert {
        let percent = at.get() / (Usd::from_dollars(1).get() / 100);
        let text = format!("{} has used {percent} % of {}: {action}", self.scope(), self.limit());
        self.alert("budget.step_reached", &format!("step-{percent}"), text)
    }

    fn forecast(&self, found: &Forecast) -> Alert {
        let (scope, limit) = (self.scope(), self.limit());
        let expected = tollgate_console::format::usd(found.expected_usd);
        let text = if self.tally.window.is_calendar() {
            format!("{scope} is expected to end at {expected}, over {limit}")
        } else {
            format!("{scope} is expected to reach {expected} before the month is over, more than {limit}")
        };
        self.alert("budget.forecast_over", "forecast", text)
    }

    fn alert(&self, action: &'static str, what: &str, text: String) -> Alert {
        let window_us = self.tally.window.at(self.now_us).from_us;
        // A rolling window never begins anew: once a day is enough.
        let window_us = if self.tally.window.is_calendar() { window_us } else { self.now_us / DAY_US * DAY_US };
        let id = format!("{}|{}|{what}|{window_us}", self.view.id, self.scope());
        Alert { id, action, budget: self.view.id.clone(), scope: self.scope(), text }
    }

    fn scope(&self) -> String {
        self.tally.scope_text(&self.account.scope)
    }

    /// `100.00 USD this month`.
    fn limit(&self) -> String {
        let (amount, unit) = match self.view.unit {
            Unit::Usd => (Usd::new(self.view.limit).to_string(), "USD"),
            Unit::Tokens => (self.view.limit.to_string(), "tokens"),
            Unit::Calls | Unit::Concurrency => (self.view.limit.to_string(), "calls"),
        };
        format!("{amount} {unit} {}", self.view.window)
    }
}

const DAY_US: i64 = 86_400_000_000;

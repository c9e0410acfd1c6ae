//! `GET /api/v1/tail`: calls as they settle, as server-sent events. Events are `row` (a call, as JSON or as a line of the
//! page), `skipped` (there were more calls than are shown; the list has them all) and `pulse` (something is new).

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tollgate_analytics::report::{InteractionFilter, InteractionRow, Page, TimeRange};
use tollgate_interaction::InteractionId;

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::pages::call::CallRow;
use crate::params::Params;
use crate::state::ConsoleState;

/// Rows looked at after each change. More than a person can follow.
const ROWS: usize = 200;
/// How far back a call may have started and still be shown when it settles.
const WINDOW_US: i64 = 3_600_000_000;
/// A new viewer is shown what the page that opened the tail may have missed.
const CATCH_UP_US: i64 = 30_000_000;
/// At most four looks a second, and never more than a fifth of the time spent looking.
const LEAST_PAUSE: Duration = Duration::from_millis(250);
/// Browsers open a new stream by themselves; sessions that ended do not get one.
const LONGEST_STREAM: Duration = Duration::from_secs(30 * 60);

/// The stream.
///
/// # Errors
/// `parameter_invalid` for an unknown format.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ConsoleError> {
    let format = match params.get("format") {
        None | Some("json") => Format::Json,
        Some("html") => Format::Html,
        Some("pulse") => Format::Pulse,
        Some(other) => {
            let message = format!("`{other}` is not a usable `format`");
            return Err(ConsoleError::Invalid { message, hint: "It is one of `json`, `html`, `pulse`." });
        }
    };
    let shutdown = state.shutdown.clone();
    let tail = Tail::new(state, reader, params.filter(), format);
    let events = stream::unfold(tail, |mut tail| async move { tail.next().await.map(|events| (events, tail)) });
    let events = events.flat_map(stream::iter).map(Ok);
    let end = async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(LONGEST_STREAM) => {}
        }
    };
    Ok(Sse::new(events.take_until(Box::pin(end))).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Html,
    Pulse,
}

struct Tail {
    state: ConsoleState,
    reader: Reader,
    filter: InteractionFilter,
    format: Format,
    changed: watch::Receiver<u64>,
    seen: Seen,
    next_look: Instant,
    is_first: bool,
}

impl Tail {
    fn new(state: ConsoleState, reader: Reader, filter: InteractionFilter, format: Format) -> Self {
        let changed = state.ledger.changed();
        let seen = Seen::default();
        Tail { state, reader, filter, format, changed, seen, next_look: Instant::now(), is_first: true }
    }

    /// Waits for something new; `None` when nothing will come any more.
    async fn next(&mut self) -> Option<Vec<Event>> {
        if !self.is_first {
            self.changed.changed().await.ok()?;
            sleep_until(self.next_look).await;
        }
        self.changed.borrow_and_update();
        let begun = Instant::now();
        let events = match self.format {
            Format::Pulse => self.pulse(),
            Format::Json | Format::Html => self.rows().await,
        };
        self.next_look = Instant::now() + LEAST_PAUSE.max(begun.elapsed() * 4);
        self.is_first = false;
        Some(events)
    }

    fn pulse(&self) -> Vec<Event> {
        if self.is_first { Vec::new() } else { vec![Event::default().event("pulse").data("1")] }
    }

    async fn rows(&mut self) -> Vec<Event> {
        let now_us = self.state.now_us();
        let range = Some(TimeRange::last(WINDOW_US, now_us.saturating_add(60_000_000)));
        let filter = InteractionFilter { range, ..self.filter.clone() };
        let page = match self.reader.ledger(&self.state).interactions(&filter, Page { limit: ROWS, after: None }).await
        {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(code = error.code(), "the live tail missed a look: {error}");
                return Vec::new();
            }
        };
        let looked_at = page.rows.len();
        let mut fresh: Vec<InteractionRow> =
            page.rows.into_iter().filter(|row| self.seen.is_new(row.interaction_id)).collect();
        let mut events = Vec::new();
        if self.is_first {
            let ended_us = |row: &InteractionRow| row.started_at_us + i64::try_from(row.latency_us).unwrap_or(0);
            fresh.retain(|row| ended_us(row) > now_us - CATCH_UP_US);
        } else if fresh.len() == ROWS && looked_at == ROWS {
            events.push(Event::default().event("skipped").data("1"));
        }
        events.extend(fresh.iter().rev().filter_map(|row| self.event(row)));
        events
    }

    fn event(&self, row: &InteractionRow) -> Option<Event> {
        let data = match self.format {
            Format::Html => CallRow { row }.render().ok()?,
            Format::Json | Format::Pulse => serde_json::to_string(row).ok()?,
        };
        Some(Event::default().event("row").id(row.interaction_id.to_string()).data(data))
    }
}

/// The calls that were shown, as many as can come up again.
#[derive(Default)]
struct Seen {
    ids: HashSet<InteractionId>,
    oldest_first: VecDeque<InteractionId>,
}

impl Seen {
    fn is_new(&mut self, id: InteractionId) -> bool {
        const KEPT: usize = 16 * ROWS;
        if !self.ids.insert(id) {
            return false;
        }
        self.oldest_first.push_back(id);
        if self.oldest_first.len() > KEPT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

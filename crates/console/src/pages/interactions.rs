//! `/interactions`: every call, newest first, with a filter, pages by key, and a live tail.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Html;
use tollgate_analytics::report::{AsOf, FilterValues, InteractionFilter, InteractionPage, InteractionRow, Page};
use tollgate_interaction::{Dialect, Operation};

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::params::Params;
use crate::range::{Choice, Range, choices, parameter};
use crate::shell::Shell;
use crate::state::ConsoleState;

/// Answers `GET /interactions`.
///
/// # Errors
/// `parameter_invalid` for an unknown range or cursor; a report error if the log could not be read.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Html<String>, ConsoleError> {
    let (range, after) = (params.range(Range::Day)?, params.after()?);
    let span = range.at(state.now_us());
    let filter = InteractionFilter { range: Some(span), ..params.filter() };
    let ledger = reader.ledger(&state);
    let list = ledger.interactions(&filter, Page { after, ..Page::default() });
    let (list, values) = futures::try_join!(list, ledger.filter_values(span))?;
    let shell = reader.shell(&state, "Interactions", "/interactions");
    let page = InteractionsPage::new(shell, range, &filter, &values, list, after.is_none());
    Ok(Html(page.render()?))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/interactions.html")]
pub struct InteractionsPage {
    shell: Shell,
    ranges: Vec<Choice>,
    filters: Filters,
    rows: Vec<InteractionRow>,
    is_first_page: bool,
    tail_url: String,
    newest_href: String,
    older_href: Option<String>,
    as_of: AsOf,
}

/// The filter form as it stands.
#[derive(Debug)]
struct Filters {
    range: &'static str,
    id: String,
    choices: Vec<FilterChoice>,
    key: String,
    conversation: String,
}

impl Filters {
    fn is_active(&self) -> bool {
        let chosen = self.choices.iter().any(|choice| !choice.chosen.is_empty());
        chosen || !self.id.is_empty() || !self.key.is_empty() || !self.conversation.is_empty()
    }

    /// Everything but the range, as parameters of an address.
    fn parameters(&self) -> String {
        let mut text: String = self.choices.iter().map(|choice| parameter(choice.name, &choice.chosen)).collect();
        text.push_str(&parameter("id", &self.id));
        text.push_str(&parameter("key", &self.key));
        text.push_str(&parameter("conversation", &self.conversation));
        text
    }
}

#[derive(Debug)]
struct FilterChoice {
    name: &'static str,
    label: &'static str,
    chosen: String,
    values: Vec<String>,
}

fn formats() -> Vec<String> {
    Dialect::ALL.iter().map(Dialect::to_string).collect()
}

fn operations() -> Vec<String> {
    Operation::ALL.iter().map(Operation::to_string).collect()
}

fn filter_choice(name: &'static str, label: &'static str, chosen: &Option<String>, known: &[String]) -> FilterChoice {
    let chosen = chosen.clone().unwrap_or_default();
    let mut values = known.to_vec();
    if !chosen.is_empty() && !values.contains(&chosen) {
        values.push(chosen.clone());
    }
    FilterChoice { name, label, chosen, values }
}

impl InteractionsPage {
    /// Words a part of the list for people.
    #[must_use]
    pub fn new(
        shell: Shell,
        range: Range,
        filter: &InteractionFilter,
        values: &FilterValues,
        page: InteractionPage,
        is_first_page: bool,
    ) -> Self {
        let unknown = || "unknown".to_owned();
        let filters = Filters {
            range: range.as_str(),
            id: filter.id.clone().unwrap_or_default(),
            choices: vec![
                filter_choice("outcome", "Outcome", &filter.outcome, &values.outcomes),
                filter_choice("team", "Team", &filter.team, &values.teams),
                filter_choice("model", "Model", &filter.model, &values.models),
                filter_choice("provider", "Provider", &filter.provider, &values.providers),
                filter_choice("operation", "Operation", &filter.operation, &operations()),
                filter_choice("dialect", "Format", &filter.dialect, &formats()),
                filter_choice("cost", "Cost", &filter.unpriced.then(unknown), &[unknown()]),
            ],
            key: filter.api_key_id.clone().unwrap_or_default(),
            conversation: filter.conversation_id.clone().unwrap_or_default(),
        };
        let parameters = filters.parameters();
        let here = format!("/interactions?range={}{parameters}", range.as_str());
        InteractionsPage {
            shell,
            ranges: choices(Range::RECENT, range, "/interactions", &parameters),
            rows: page.rows,
            is_first_page,
            tail_url: format!("/api/v1/tail?format=html{parameters}"),
            older_href: page.next.map(|next| format!("{here}{}", parameter("after", &next))),
            newest_href: here,
            as_of: page.as_of,
            filters,
        }
    }
}

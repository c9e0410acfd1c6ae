//! `/search`: finds calls by the words of their prompts and answers.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Html;
use tollgate_search::{Hit, SearchQuery, SearchResult};

use crate::access::Reader;
use crate::access_log::purpose;
use crate::error::ConsoleError;
use crate::format;
use crate::params::Params;
use crate::range::parameter;
use crate::shell::Shell;
use crate::state::ConsoleState;

/// Hits on one page.
const HITS: usize = 20;

/// Answers `GET /search`. A query that cannot be understood is shown with what is wrong about it.
///
/// # Errors
/// `parameter_invalid` for a day that is none; an index error if the index could not be read.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    headers: HeaderMap,
    params: Params,
) -> Result<Html<String>, ConsoleError> {
    let offset = params.number("offset")?.unwrap_or(0);
    let query = SearchQuery { limit: HITS, offset, ..query(&params)? };
    let shell = reader.shell(&state, "Search", "/search");
    let form = QueryForm {
        text: params.text("q"),
        team: params.text("team"),
        model: params.text("model"),
        from: params.text("from"),
        to: params.text("to"),
    };
    let found = match form.text.is_empty() {
        true => Ok(SearchResult::default()),
        false => find(&state, &reader, query).await,
    };
    if let Ok(result) = &found
        && !form.text.is_empty()
    {
        let rows = Some(result.hits.len() as u64);
        state.record_access(&reader, "search", form.text.clone(), purpose(&headers, &params), rows).await?;
    }
    let page = match found {
        Ok(result) => SearchPage::new(shell, form, result, offset),
        Err(ConsoleError::Search(error)) if error.is_callers() => SearchPage::refused(shell, form, error.to_string()),
        Err(error) => return Err(error),
    };
    Ok(Html(page.render()?))
}

/// What the parameters ask for. Both days of `from` and `to` belong to the range.
///
/// # Errors
/// `parameter_invalid` for a day that is none.
pub fn query(params: &Params) -> Result<SearchQuery, ConsoleError> {
    const DAY_US: i64 = 86_400_000_000;
    let is_day = params.get("to").is_some_and(|to| to.len() == "2026-11-23".len());
    let to_us = params.time_us("to")?.map(|to_us| if is_day { to_us + DAY_US } else { to_us });
    Ok(SearchQuery {
        text: params.text("q"),
        team: params.owned("team"),
        model: params.owned("model"),
        provider: params.owned("provider"),
        outcome: params.owned("outcome"),
        only_teams: None,
        only_tenant: None,
        from_us: params.time_us("from")?,
        to_us,
        limit: params.number("limit")?.unwrap_or(HITS),
        offset: params.number("offset")?.unwrap_or(0),
    })
}

/// Asks the index, as far as it exists for the reader, on a thread that may block.
///
/// # Errors
/// A search error if the query cannot be understood or the index cannot be read.
pub async fn find(state: &ConsoleState, reader: &Reader, query: SearchQuery) -> Result<SearchResult, ConsoleError> {
    let ledger = reader.ledger(state);
    let found = tokio::task::spawn_blocking(move || ledger.search(&query)).await;
    let abandoned = |source| ConsoleError::Internal { what: "the search", source: Box::new(source) };
    Ok(found.map_err(abandoned)??)
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/search.html")]
pub struct SearchPage {
    shell: Shell,
    query: QueryForm,
    refused: Option<String>,
    total: u64,
    took: String,
    first: usize,
    hits: Vec<Hit>,
    newer_href: Option<String>,
    older_href: Option<String>,
}

/// The form as it was sent.
#[derive(Clone, Debug, Default)]
pub struct QueryForm {
    /// Words to find.
    pub text: String,
    /// Only of this team.
    pub team: String,
    /// Only with this model.
    pub model: String,
    /// From this day on, `2026-11-23`.
    pub from: String,
    /// Up to and with this day.
    pub to: String,
}

impl QueryForm {
    /// Everything in the form, as parameters of an address.
    fn parameters(&self) -> String {
        let fields =
            [("q", &self.text), ("team", &self.team), ("model", &self.model), ("from", &self.from), ("to", &self.to)];
        fields.iter().map(|(name, value)| parameter(name, value)).collect()
    }
}

impl SearchPage {
    /// The page with what was found from `offset` on.
    #[must_use]
    pub fn new(shell: Shell, query: QueryForm, result: SearchResult, offset: usize) -> Self {
        let parameters = query.parameters();
        let page = |offset: usize| format!("/search?offset={offset}{parameters}");
        let has_older = (offset + result.hits.len()) < usize::try_from(result.total).unwrap_or(usize::MAX);
        SearchPage {
            shell,
            refused: None,
            total: result.total,
            took: format!("in {}", format::duration_us(result.elapsed_us)),
            first: offset + 1,
            newer_href: (offset > 0).then(|| page(offset.saturating_sub(HITS))),
            older_href: (has_older && !result.hits.is_empty()).then(|| page(offset + HITS)),
            hits: result.hits,
            query,
        }
    }

    /// The page with what is wrong with the query.
    #[must_use]
    pub fn refused(shell: Shell, query: QueryForm, why: String) -> Self {
        SearchPage { refused: Some(why), ..SearchPage::new(shell, query, SearchResult::default(), 0) }
    }
}

//! `/reports`: evidence packs for those who check the log without trusting whoever runs it.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Html;

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::format;
use crate::range::Range;
use crate::shell::Shell;
use crate::state::ConsoleState;

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/reports.html")]
pub struct ReportsPage {
    shell: Shell,
    from: String,
    to: String,
}

/// Answers `GET /reports`.
///
/// # Errors
/// A defect of ours.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
) -> Result<Html<String>, ConsoleError> {
    Ok(Html(ReportsPage::new(reader.shell(&state, "Reports", "/reports"), state.now_us()).render()?))
}

impl ReportsPage {
    /// The page, with this month so far filled in.
    #[must_use]
    pub fn new(shell: Shell, now_us: i64) -> Self {
        const DAY_US: i64 = 86_400_000_000;
        let month = Range::ThisMonth.at(now_us);
        ReportsPage { shell, from: format::date(month.from_us), to: format::date(now_us + DAY_US) }
    }
}

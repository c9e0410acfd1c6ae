//! `/integrity`: whether the books are complete and unaltered, and how anybody can check.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Html;

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::format;
use crate::integrity::{IntegrityStatus, VerificationView};
use crate::shell::Shell;
use crate::state::ConsoleState;

/// Contradictions shown; the JSON API and the command line list more.
const SHOWN_PROBLEMS: usize = 50;

/// Answers `GET /integrity`.
///
/// # Errors
/// A defect of ours.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
) -> Result<Html<String>, ConsoleError> {
    render(&state, &reader, None)
}

/// Answers `POST /integrity`: verifies, and shows what was found.
///
/// # Errors
/// [`ConsoleError::NotVerified`] if the lake could not be read.
pub async fn verify(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
) -> Result<Html<String>, ConsoleError> {
    let found = state.integrity.verify().await.map_err(|why| ConsoleError::NotVerified { why })?;
    render(&state, &reader, Some(found))
}

fn render(
    state: &ConsoleState,
    reader: &Reader,
    found: Option<VerificationView>,
) -> Result<Html<String>, ConsoleError> {
    let shell = reader.shell(state, "Integrity", "/integrity");
    Ok(Html(IntegrityPage::new(shell, state.integrity.status(), found, state.now_us()).render()?))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/integrity.html")]
pub struct IntegrityPage {
    shell: Shell,
    status: IntegrityStatus,
    found: Option<VerificationView>,
    hidden_problems: u64,
    waiting_batches: u64,
    checkpoint_age: String,
    commit_age: String,
    wal_used: String,
    wal_quota: String,
    took: String,
}

impl IntegrityPage {
    /// Words what the process tells.
    #[must_use]
    pub fn new(shell: Shell, status: IntegrityStatus, found: Option<VerificationView>, now_us: i64) -> Self {
        let age = |at_us: Option<i64>| at_us.map_or_else(|| "never".to_owned(), |at_us| format::age(now_us - at_us));
        let mut found = found;
        let mut hidden_problems = 0;
        if let Some(found) = &mut found {
            hidden_problems = found.problems.len().saturating_sub(SHOWN_PROBLEMS) as u64 + found.unlisted_problems;
            found.problems.truncate(SHOWN_PROBLEMS);
        }
        let covered = status.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        IntegrityPage {
            shell,
            hidden_problems,
            waiting_batches: status.log_size.saturating_sub(covered),
            checkpoint_age: age(status.checkpoint.as_ref().map(|checkpoint| checkpoint.at_us)),
            commit_age: age(status.last_commit_at_us),
            wal_used: format::bytes(status.wal.size_bytes),
            wal_quota: format::bytes(status.wal.quota_bytes),
            took: found.as_ref().map_or_else(String::new, |found| format::duration_us(found.elapsed_ms * 1_000)),
            status,
            found,
        }
    }
}

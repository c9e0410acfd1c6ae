//! What is wrong with the cache, said once in the log and for as long as it lasts in its state.

use super::shelf::ShelfError;
use super::store::Shared;

/// What went wrong.
#[derive(Debug)]
pub(super) struct Trouble {
    words: String,
    /// That the file can be opened does not show that this is over: an answer has to be written for that.
    is_about_writing: bool,
}

impl Trouble {
    fn of(error: &ShelfError) -> Trouble {
        let mut words = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            words.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Trouble { words, is_about_writing: matches!(error, ShelfError::Full(_) | ShelfError::Failed(_)) }
    }
}

impl Shared {
    /// What went wrong, until it is over; `None` if all is well.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().as_ref().map(|trouble| trouble.words.clone())
    }

    /// Notes that the file cannot be used, or not for all. Whether that is something else than what is known.
    pub(super) fn is_in_trouble(&self, error: &ShelfError) -> bool {
        let trouble = Trouble::of(error);
        let mut known = self.trouble.lock();
        let is_new = known.as_ref().is_none_or(|known| known.words != trouble.words);
        if is_new && matches!(error, ShelfError::Full(_)) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the cache has no room on its disk: what it holds is given again, nothing is added until there is room"
            );
        } else if is_new {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the cache cannot be used: calls go to their providers until it can be opened again"
            );
        }
        *known = Some(trouble);
        is_new
    }

    /// Notes that the file is open.
    pub(super) fn is_opened(&self) {
        let is_over = self.trouble.lock().as_ref().is_some_and(|trouble| !trouble.is_about_writing);
        if is_over {
            self.is_written();
        }
    }

    /// Notes that an answer has been written down.
    pub(super) fn is_written(&self) {
        if self.trouble.lock().take().is_some() {
            tracing::info!("the cache can be used again");
        }
    }
}

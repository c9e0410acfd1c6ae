//! `bundle.review_by`: the day by which somebody should have looked at the bundle again. It expires without consequence for
//! calls, since rules that stop working by themselves would be worse than old ones; whoever checks the bundle is told.

use chrono::{DateTime, NaiveDate};
use serde_saphyr::Spanned;

use super::{Bundle, BundleError};

/// A day, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct ReviewBy {
    day: NaiveDate,
    line: u64,
    column: u64,
}

pub(super) fn compile(written: &Spanned<String>) -> Result<ReviewBy, BundleError> {
    let Ok(day) = NaiveDate::parse_from_str(&written.value, "%Y-%m-%d") else {
        let message = format!("`{}` is not a day; write it as `2027-02-01`", written.value);
        return Err(BundleError::new(written.referenced, message));
    };
    let BundleError { line, column, .. } = BundleError::new(written.referenced, "");
    Ok(ReviewBy { day, line, column })
}

impl Bundle {
    /// What is wrong with a bundle although it is valid, as of `now_us` (microseconds since 1970, UTC).
    #[must_use]
    pub fn remarks(&self, now_us: i64) -> Vec<BundleError> {
        let mut remarks = self.remarks.clone();
        let today = DateTime::from_timestamp_micros(now_us).unwrap_or_default().date_naive();
        if let Some(ReviewBy { day, line, column }) = self.review_by.clone().filter(|review| review.day < today) {
            let message =
                format!("the bundle was to be reviewed by {day}; review it, and set `review_by` to the next day");
            remarks.push(BundleError { line, column, message });
        }
        remarks
    }
}

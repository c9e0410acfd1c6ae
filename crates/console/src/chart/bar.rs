//! A bar in a table cell: a share of the largest row.

use std::fmt::Write;

use super::Tone;

/// Draws `share` (0 to 1) of the width of the cell.
#[must_use]
pub fn bar(share: f64, tone: Tone) -> String {
    let percent = (share.clamp(0.0, 1.0) * 100.0).max(if share > 0.0 { 0.6 } else { 0.0 });
    let mut svg = String::with_capacity(128);
    // Writing to a String cannot fail.
    let _ = write!(
        svg,
        r#"<svg class="meter" aria-hidden="true"><rect class="meter-back" width="100%" height="100%"/><rect class="{}" width="{percent:.2}%" height="100%"/></svg>"#,
        tone.class()
    );
    svg
}

//! A sparkline: the shape of a series without axes, beside the figure it belongs to.

use std::fmt::Write;

use super::Tone;

/// Draws `values` oldest first; gaps stay gaps. Nothing is drawn for fewer than two known values.
#[must_use]
pub fn spark(values: &[Option<f64>], tone: Tone) -> String {
    let known = values.iter().flatten().count();
    let largest = values.iter().flatten().copied().fold(0.0, f64::max);
    if known < 2 || largest <= 0.0 {
        return String::new();
    }
    let last = (values.len() - 1) as f64;
    let mut path = String::new();
    let mut pen_down = false;
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else {
            pen_down = false;
            continue;
        };
        let command = if pen_down { 'L' } else { 'M' };
        let (x, y) = (index as f64 / last * 100.0, 97.0 - value / largest * 94.0);
        // Writing to a String cannot fail.
        let _ = write!(path, "{command}{x:.1} {y:.1}");
        pen_down = true;
    }
    format!(
        r#"<svg class="spark" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true"><path class="line {}" d="{path}"/></svg>"#,
        tone.class()
    )
}

//! Something over time: stacked bars, stacked areas or lines, with axes, a legend and the table they were drawn from.

use std::fmt::Write;

use super::axis::{TimeTick, ValueAxis, time_ticks};
use super::{Series, Unit};
use crate::format;
use crate::html::escape;

/// How the series are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One bar per step, series on top of each other.
    Bars,
    /// Filled layers on top of each other.
    Area,
    /// One line per series.
    Lines,
}

/// A chart over evenly spaced steps.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeChart {
    /// Unique on its page; part of element ids.
    pub id: &'static str,
    /// Heading.
    pub title: String,
    /// The figure that sums the chart up, already formatted; empty for none.
    pub headline: String,
    /// What the values are.
    pub unit: Unit,
    /// How they are drawn.
    pub shape: Shape,
    /// Start of the first step. Microseconds since 1970, UTC.
    pub from_us: i64,
    /// Width of a step.
    pub step_us: i64,
    /// First at the bottom.
    pub series: Vec<Series>,
}

impl TimeChart {
    fn steps(&self) -> usize {
        self.series.iter().map(|series| series.values.len()).max().unwrap_or(0)
    }

    fn is_stacked(&self) -> bool {
        self.shape != Shape::Lines
    }

    fn largest(&self) -> f64 {
        let value = |series: &Series, step: usize| series.values.get(step).copied().flatten().unwrap_or(0.0);
        (0..self.steps())
            .map(|step| {
                let values = self.series.iter().map(|series| value(series, step));
                if self.is_stacked() { values.sum() } else { values.fold(0.0, f64::max) }
            })
            .fold(0.0, f64::max)
    }

    fn step_label(&self, step: usize) -> String {
        let at_us = self.from_us + step as i64 * self.step_us;
        if self.step_us >= 86_400_000_000 { format::day(at_us) } else { format::minute(at_us) }
    }

    /// The whole figure as HTML.
    #[must_use]
    pub fn figure(&self) -> String {
        let axis = ValueAxis::covering(self.largest(), self.unit == Unit::Count);
        let ticks = time_ticks(self.from_us, self.from_us + self.steps() as i64 * self.step_us);
        let mut html = String::with_capacity(16 * 1024);
        // Writing to a String cannot fail, here and below.
        let _ = write!(html, r#"<figure class="chart" data-chart aria-labelledby="{}-title">"#, self.id);
        self.caption(&mut html);
        html.push_str(r#"<div class="chart-body">"#);
        self.value_axis(&mut html, &axis);
        self.plot(&mut html, &axis, &ticks);
        time_axis(&mut html, &ticks);
        html.push_str("</div>");
        self.table(&mut html);
        html.push_str("</figure>");
        html
    }

    fn caption(&self, html: &mut String) {
        let (id, title) = (self.id, escape(&self.title));
        let _ = write!(html, r#"<figcaption><h2 class="chart-title" id="{id}-title">{title}</h2>"#);
        if !self.headline.is_empty() {
            let _ = write!(html, r#"<span class="chart-headline">{}</span>"#, escape(&self.headline));
        }
        if self.series.len() > 1 {
            html.push_str(r#"<ul class="legend">"#);
            for series in self.series.iter().rev() {
                let _ = write!(html, r#"<li class="{}">{}</li>"#, series.tone.class(), escape(&series.label));
            }
            html.push_str("</ul>");
        }
        html.push_str("</figcaption>");
    }

    fn value_axis(&self, html: &mut String, axis: &ValueAxis) {
        html.push_str(r#"<svg class="chart-y" aria-hidden="true">"#);
        for tick in &axis.ticks {
            let y = 100.0 - tick / axis.top() * 100.0;
            let _ = write!(html, r#"<text x="100%" y="{y:.2}%" dy=".32em">{}</text>"#, self.unit.tick(*tick));
        }
        html.push_str("</svg>");
    }

    fn plot(&self, html: &mut String, axis: &ValueAxis, ticks: &[TimeTick]) {
        let _ = write!(html, r#"<svg class="chart-plot" role="img" aria-label="{}">"#, escape(&self.summary()));
        for tick in &axis.ticks {
            let y = 100.0 - tick / axis.top() * 100.0;
            let class = if *tick == 0.0 { "base" } else { "grid" };
            let _ = write!(html, r#"<line class="{class}" x1="0" x2="100%" y1="{y:.2}%" y2="{y:.2}%"/>"#);
        }
        for tick in ticks {
            let x = tick.at * 100.0;
            let _ = write!(html, r#"<line class="mark" x1="{x:.2}%" x2="{x:.2}%" y1="100%" y2="100%"/>"#);
        }
        match self.shape {
            Shape::Bars => self.bars(html, axis.top()),
            Shape::Area => self.areas(html, axis.top()),
            Shape::Lines => self.lines(html, axis.top()),
        }
        self.hits(html);
        html.push_str("</svg>");
    }

    /// What a reader who cannot see the picture should know about it.
    fn summary(&self) -> String {
        let names: Vec<&str> = self.series.iter().map(|series| series.label.as_str()).collect();
        let last = self.steps().saturating_sub(1);
        let (from, to) = (self.step_label(0), self.step_label(last));
        let (names, most) = (names.join(", "), self.unit.value(self.largest()));
        format!("{}: {names}, {from} to {to} UTC, at most {most}. The data table below holds every value.", self.title)
    }

    fn bars(&self, html: &mut String, top: f64) {
        let width = 100.0 / self.steps().max(1) as f64;
        let gap = width * if self.steps() > 40 { 0.16 } else { 0.24 };
        for step in 0..self.steps() {
            let mut below = 0.0;
            for series in &self.series {
                let Some(value) = series.values.get(step).copied().flatten().filter(|value| *value > 0.0) else {
                    continue;
                };
                let height = value / top * 100.0;
                let (x, y) = (step as f64 * width + gap / 2.0, 100.0 - below - height);
                let (class, width) = (series.tone.class(), width - gap);
                let _ = write!(
                    html,
                    r#"<rect class="{class}" x="{x:.2}%" y="{y:.2}%" width="{width:.2}%" height="{height:.2}%"/>"#
                );
                below += height;
            }
        }
    }

    /// The middle of a step, in a box of 1000 × 1000 that is stretched over the plot.
    fn x_of(&self, step: usize) -> f64 {
        (step as f64 + 0.5) / self.steps().max(1) as f64 * 1000.0
    }

    fn areas(&self, html: &mut String, top: f64) {
        html.push_str(STRETCHED);
        let mut below = vec![0.0; self.steps()];
        for series in &self.series {
            let mut edge = String::new();
            let mut back = String::new();
            for (step, level) in below.iter_mut().enumerate() {
                let base_y = 1000.0 - *level / top * 1000.0;
                *level += series.values.get(step).copied().flatten().unwrap_or(0.0);
                let (x, y) = (self.x_of(step), 1000.0 - *level / top * 1000.0);
                let _ = write!(edge, "{}{x:.1} {y:.1}", if step == 0 { 'M' } else { 'L' });
                back.insert_str(0, &format!("L{x:.1} {base_y:.1}"));
            }
            let class = series.tone.class();
            let _ = write!(
                html,
                r#"<path class="area {class}" d="{edge}{back}Z"/><path class="line {class}" d="{edge}"/>"#
            );
        }
        html.push_str("</svg>");
    }

    fn lines(&self, html: &mut String, top: f64) {
        html.push_str(STRETCHED);
        for series in &self.series {
            let mut path = String::new();
            let mut pen_down = false;
            for step in 0..self.steps() {
                let Some(value) = series.values.get(step).copied().flatten() else {
                    pen_down = false;
                    continue;
                };
                let (x, y) = (self.x_of(step), 1000.0 - value / top * 1000.0);
                // A lone value between two gaps is drawn as a dash of its own.
                let lone = !pen_down && series.values.get(step + 1).copied().flatten().is_none();
                let _ = write!(path, "{}{x:.1} {y:.1}", if pen_down { 'L' } else { 'M' });
                if lone {
                    path.push_str("h4");
                }
                pen_down = true;
            }
            let _ = write!(html, r#"<path class="line {}" d="{path}"/>"#, series.tone.class());
        }
        html.push_str("</svg>");
    }

    /// One invisible column per step that carries the tooltip for browsers without script.
    fn hits(&self, html: &mut String) {
        let width = 100.0 / self.steps().max(1) as f64;
        html.push_str(r#"<g class="hits">"#);
        for step in 0..self.steps() {
            let x = step as f64 * width;
            let _ = write!(html, r#"<rect x="{x:.2}%" y="0" width="{width:.2}%" height="100%"><title>"#);
            let _ = write!(html, "{}", self.step_label(step));
            for series in &self.series {
                let value = series.values.get(step).copied().flatten();
                let value = value.map_or_else(|| format::UNKNOWN.to_owned(), |value| self.unit.value(value));
                let _ = write!(html, "\n{}: {value}", escape(&series.label));
            }
            html.push_str("</title></rect>");
        }
        html.push_str("</g>");
    }

    fn table(&self, html: &mut String) {
        let title = escape(&self.title);
        let _ = write!(
            html,
            r#"<details class="chart-data"><summary>Data table<span class="sr"> of {title}</span></summary><div class="scroll" tabindex="0" role="region" aria-label="{title}, data"><table class="grid"><thead><tr><th scope="col">Time, UTC</th>"#
        );
        for series in &self.series {
            let _ = write!(
                html,
                r#"<th scope="col" class="num" data-tone="{}">{}</th>"#,
                series.tone.class(),
                escape(&series.label)
            );
        }
        html.push_str("</tr></thead><tbody>");
        for step in 0..self.steps() {
            let _ = write!(html, r#"<tr><th scope="row">{}</th>"#, self.step_label(step));
            for series in &self.series {
                let value = series.values.get(step).copied().flatten();
                let value = value.map_or_else(|| format::UNKNOWN.to_owned(), |value| self.unit.value(value));
                let _ = write!(html, r#"<td class="num">{value}</td>"#);
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table></div></details>");
    }
}

/// Lines and areas are drawn in a box of their own, so that only they stretch.
const STRETCHED: &str =
    r#"<svg x="0" y="0" width="100%" height="100%" viewBox="0 0 1000 1000" preserveAspectRatio="none">"#;

fn time_axis(html: &mut String, ticks: &[TimeTick]) {
    html.push_str(r#"<svg class="chart-x" aria-hidden="true">"#);
    for (index, tick) in ticks.iter().enumerate() {
        let anchor = match tick.at {
            at if at < 0.03 => "start",
            at if at > 0.97 => "end",
            _ => "middle",
        };
        let class = if index % 2 == 1 { r#" class="minor""# } else { "" };
        let (x, label) = (tick.at * 100.0, &tick.label);
        let _ = write!(html, r#"<text{class} x="{x:.2}%" y="14" text-anchor="{anchor}">{label}</text>"#);
    }
    html.push_str("</svg>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Tone;

    fn chart(shape: Shape) -> TimeChart {
        TimeChart {
            id: "calls",
            title: "Calls".into(),
            headline: "12".into(),
            unit: Unit::Count,
            shape,
            from_us: 1_795_392_000_000_000,
            step_us: 3_600_000_000,
            series: vec![
                Series::known("<b>", Tone::Good, [1.0, 4.0, 0.0].into_iter()),
                Series { label: "failed".into(), tone: Tone::Bad, values: vec![Some(1.0), None, Some(2.0)] },
            ],
        }
    }

    #[test]
    fn names_from_the_log_are_escaped_everywhere() {
        for shape in [Shape::Bars, Shape::Area, Shape::Lines] {
            let html = chart(shape).figure();
            assert!(!html.contains("<b>"), "{html}");
            assert!(!html.contains("style="), "the content security policy forbids inline style");
        }
    }

    #[test]
    fn the_table_holds_every_value_and_says_where_there_is_none() {
        let html = chart(Shape::Lines).figure();
        assert_eq!(html.matches("<tr>").count(), 4);
        assert!(html.contains(r#"<td class="num">4</td><td class="num">—</td>"#), "{html}");
    }
}

//! What a run found: figures with their limits, and what was skipped. Passing is derived, never set.

use std::fmt::Display;

const MEASURED_CHARS_MAX: usize = 60;

/// One measured figure.
struct Figure {
    name: String,
    measured: String,
    limit: String,
    holds: bool,
}

/// The figures of one run.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
    notes: Vec<String>,
    skipped: Vec<String>,
}

impl Report {
    /// A run that could not reach its figures counts as failed, with the reason as its figure.
    pub(crate) fn broken(reason: &str) -> Report {
        let mut report = Report::default();
        report.require("run completes", false, reason);
        report
    }

    /// A figure that must not exceed its limit.
    pub(crate) fn at_most(&mut self, name: &str, measured: f64, limit: f64, unit: &str) {
        self.push(name, amount(measured, unit), format!("<= {}", amount(limit, unit)), measured <= limit);
    }

    /// A figure that must reach its limit.
    pub(crate) fn at_least(&mut self, name: &str, measured: f64, limit: f64, unit: &str) {
        self.push(name, amount(measured, unit), format!(">= {}", amount(limit, unit)), measured >= limit);
    }

    /// A count that must be exactly `limit`.
    pub(crate) fn exactly(&mut self, name: &str, measured: u64, limit: u64) {
        self.push(name, measured.to_string(), format!("= {limit}"), measured == limit);
    }

    /// A yes-or-no figure, with what was seen.
    pub(crate) fn require(&mut self, name: &str, holds: bool, seen: impl Display) {
        self.push(name, seen.to_string(), "yes".to_owned(), holds);
    }

    /// Something worth printing that no limit applies to.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Something that could not be run here, and why: printed and counted.
    pub(crate) fn skip(&mut self, text: impl Into<String>) {
        self.skipped.push(text.into());
    }

    /// True when every figure holds. A run without any figure has shown nothing, so it has not passed.
    pub(crate) fn passed(&self) -> bool {
        !self.figures.is_empty() && self.figures.iter().all(|figure| figure.holds)
    }

    /// How many parts were skipped.
    pub(crate) fn skipped_count(&self) -> usize {
        self.skipped.len()
    }

    /// The lines printed right after the run.
    pub(crate) fn rows(&self) -> Vec<String> {
        let mut rows: Vec<String> = self.notes.clone();
        rows.extend(self.skipped.iter().map(|skipped| format!("skipped: {skipped}")));
        rows.extend(self.figures.iter().map(|figure| {
            format!("{}: {} ({}) {}", figure.name, figure.measured, figure.limit, verdict(figure.holds))
        }));
        rows
    }

    /// The lines of the closing table.
    pub(crate) fn table_rows(&self, run: &str) -> Vec<String> {
        let mut rows: Vec<String> = self
            .figures
            .iter()
            .map(|figure| {
                let measured = shortened(&figure.measured);
                let result = verdict(figure.holds);
                format!("{run:<16} {:<44} {measured:>22} {:>16}  {result}", figure.name, figure.limit)
            })
            .collect();
        rows.extend(self.skipped.iter().map(|skipped| format!("{run:<16} skipped: {skipped}")));
        rows
    }

    fn push(&mut self, name: &str, measured: String, limit: String, holds: bool) {
        self.figures.push(Figure { name: name.to_owned(), measured, limit, holds });
    }
}

fn verdict(holds: bool) -> &'static str {
    if holds { "pass" } else { "FAIL" }
}

/// What fits into the table of a text that may be a whole log.
fn shortened(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(MEASURED_CHARS_MAX).collect()
}

fn amount(value: f64, unit: &str) -> String {
    let number =
        if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value}") } else { format!("{value:.3}") };
    if unit.is_empty() { number } else { format!("{number} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_passes_only_with_figures_that_all_hold() {
        assert!(!Report::default().passed());
        let mut report = Report::default();
        report.at_most("time", 1.5, 1.5, "s");
        report.exactly("lost", 0, 0);
        assert!(report.passed());
        report.at_least("ratio", 0.49, 0.5, "");
        assert!(!report.passed());
        assert!(!Report::broken("no server").passed());
    }
}

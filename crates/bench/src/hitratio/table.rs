//! The table of a run, and its verdicts.

use super::figures::{JUDGED, Row};
use super::replay::Found;
use crate::report::Report;

/// Mean reduction of misses against exact LRU that is aimed at, in percent, over all rows that are judged.
const REDUCTION_AIM: f64 = 6.5;

/// One row with what was measured, in the order of the policies.
pub(super) struct Measured {
    /// The cache and the trace.
    pub(super) row: Row,
    /// What each policy reached, nothing where it was not run.
    pub(super) found: Vec<Option<Found>>,
}

/// The table in Markdown: percentages of hits, and in parentheses what was held when it was full.
pub(super) fn markdown(policies: &[&str], measured: &[Measured]) -> String {
    let heads = ["trace and size", "wanted", "exact LRU", "S3-FIFO"];
    let mut lines = vec![format!("| {} | {} |", heads.join(" | "), policies.join(" | "))];
    lines.push(format!("|---|{}", "--:|".repeat(heads.len() - 1 + policies.len())));
    for Measured { row, found } in measured {
        let figure = |name| row.figure(name).map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let mut cells = vec![row.label(), row.size.to_string(), figure("LRU"), figure("S3FIFO")];
        cells.extend(found.iter().map(|found| found.as_ref().map_or(String::new(), cell)));
        lines.push(format!("| {} |", cells.join(" | ")));
    }
    lines.join("\n")
}

/// One measurement as a cell.
pub(super) fn cell(found: &Found) -> String {
    format!("{:.2} ({:.0})", found.hit_ratio, found.held)
}

/// Holds all rows against what is asked of them. The mean is judged if `is_whole`, over every row that there is.
pub(super) fn judge(policies: &[&str], measured: &[Measured], is_whole: bool) -> Report {
    let mut report = Report::default();
    let mut reductions = Vec::new();
    for Measured { row, found } in measured {
        for (policy, found) in policies.iter().zip(found) {
            let Some(found) = found else { continue };
            for (limit, why) in row.limits(policy) {
                report.at_least(&format!("{}, {policy}, {why}", row.label()), found.hit_ratio, limit, "%");
            }
            if let (true, true, Some(lru)) = (*policy == JUDGED, row.is_judged(), row.figure("LRU")) {
                reductions.push((found.hit_ratio - lru) / (100.0 - lru) * 100.0);
            }
        }
    }
    if reductions.is_empty() {
        return report;
    }
    let mean = reductions.iter().sum::<f64>() / reductions.len() as f64;
    let what = format!("misses less than exact LRU's, mean of {} rows", reductions.len());
    if is_whole {
        report.at_least(&what, mean, REDUCTION_AIM, "%");
    } else {
        report.note(format!("{what}: {mean:.2}%"));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hitratio::figures;

    #[test]
    fn rows_are_held_against_the_simulators() {
        let text = "\noltp,objects,0.1,18688,LRU,0.6,,x\noltp,objects,0.1,18688,S3FIFO,0.7,,x\n";
        let judged = |hit_ratio: f64| {
            let row = figures::rows(text).remove(0);
            let measured =
                Measured { row, found: vec![Some(Found { hit_ratio, held: 18_600.4, held_range: (0, 0) })] };
            (markdown(&[JUDGED], std::slice::from_ref(&measured)), judge(&[JUDGED], &[measured], true))
        };
        let (table, report) = judged(70.0);
        assert!(table.ends_with("| oltp 10% | 18688 | 60.00 | 70.00 | 70.00 (18600) |"), "{table}");
        assert!(report.passed());
        assert!(!judged(69.4).1.passed());
    }
}

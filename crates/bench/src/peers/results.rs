//! Everything that was found: samples, their medians, limits and tables.

use super::load::Sample;
use super::servers::{Target, VALKEY_JEMALLOC};
use super::workloads::{DATASETS, LATENCY};

/// Above this the load generator, not the server, may have set the pace.
const BUSY_SHARE: f64 = 0.97;

/// Whether more or less is better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    AtLeast,
    AtMost,
}

/// How a figure stands to its limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// What was aimed at.
    Aim,
    /// Within the limit.
    Holds,
    /// Beyond the limit.
    Missed,
}

/// A judged figure.
pub(super) struct Row {
    pub(super) title: String,
    pub(super) measured: String,
    pub(super) limit: String,
    pub(super) aim: String,
    pub(super) verdict: Verdict,
}

/// A table of figures by server.
pub(super) struct Grid {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub(super) fn new<'a>(title: &str, corner: &'a str, columns: impl IntoIterator<Item = &'a str>) -> Grid {
        let head = std::iter::once(corner).chain(columns).map(str::to_owned).collect();
        Grid { title: title.to_owned(), head, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, title: String, cells: Vec<String>) {
        self.rows.push(std::iter::once(title).chain(cells).collect());
    }
}

/// A table ready to be shown.
pub(super) struct Table {
    pub(super) title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The table in Markdown, aligned so that it can be read as it is.
    pub(super) fn markdown(&self) -> String {
        let columns = self.head.len();
        let width = |column: usize| {
            let cells = std::iter::once(&self.head).chain(&self.rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default().max(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let mut lines = vec![line(&self.head), line(&rule)];
        lines.extend(self.rows.iter().map(line));
        lines.join("\n")
    }
}

/// All results of a run.
#[derive(Default)]
pub(super) struct Results {
    samples: Vec<(&'static str, &'static str, Sample)>,
    pub(super) rows: Vec<Row>,
    pub(super) grids: Vec<Grid>,
    pub(super) notes: Vec<String>,
}

impl Results {
    /// Keeps a sample of a workload on a server.
    pub(super) fn add(&mut self, workload: &'static str, target: &'static str, sample: Sample) {
        self.samples.push((workload, target, sample));
    }

    /// The median over all rounds of something about a workload on a server.
    pub(super) fn median(&self, workload: &str, target: &str, of: impl Fn(&Sample) -> f64) -> Option<f64> {
        let samples = self.samples.iter().filter(|(name, server, _)| *name == workload && *server == target);
        median(samples.map(|(_, _, sample)| of(sample)).collect())
    }

    /// Median throughput.
    pub(super) fn median_rate(&self, workload: &str, target: &str) -> Option<f64> {
        self.median(workload, target, |sample| sample.found.rate)
    }

    /// Ratio of the median throughput to the baseline's.
    pub(super) fn ratio(&self, workload: &str, target: &str) -> Option<f64> {
        Some(self.median_rate(workload, target)? / self.median_rate(workload, VALKEY_JEMALLOC)?)
    }

    /// How much less processor time an operation takes than on the baseline; above one is better, as for throughput.
    fn cpu_ratio(&self, workload: &str, target: &str) -> Option<f64> {
        let cpu = |target| self.median(workload, target, |sample| sample.cpu_us);
        Some(cpu(VALKEY_JEMALLOC)? / cpu(target)?)
    }

    /// Holds a figure against its limit and its aim.
    pub(super) fn judge(
        &mut self,
        title: &str,
        measured: f64,
        unit: &str,
        direction: Direction,
        limit: f64,
        aim: Option<f64>,
    ) {
        let meets = |limit: f64| match direction {
            Direction::AtLeast => measured >= limit,
            Direction::AtMost => measured <= limit,
        };
        let verdict = match (meets(limit), aim.is_some_and(meets)) {
            (true, true) => Verdict::Aim,
            (true, false) => Verdict::Holds,
            (false, _) => Verdict::Missed,
        };
        let sign = if direction == Direction::AtLeast { ">=" } else { "<=" };
        let amount = |value: f64| format!("{} {unit}", rounded(value));
        self.rows.push(Row {
            title: title.to_owned(),
            measured: amount(measured),
            limit: format!("{sign} {}", amount(limit)),
            aim: aim.map(|aim| format!("{sign} {}", amount(aim))).unwrap_or_default(),
            verdict,
        });
    }

    /// All tables, in the order in which they are shown.
    pub(super) fn tables(&self, targets: &[Target]) -> Vec<Table> {
        let mut tables = Vec::new();
        tables.extend(self.throughput_table(targets));
        tables.extend(self.latency_table(targets));
        let grids = self.grids.iter();
        tables.extend(grids.map(|grid| Table {
            title: grid.title.clone(),
            head: grid.head.clone(),
            rows: grid.rows.clone(),
        }));
        tables.push(self.limits_table());
        tables
    }

    fn throughput_table(&self, targets: &[Target]) -> Option<Table> {
        let mut rows = Vec::new();
        for workload in DATASETS.iter().flat_map(|dataset| dataset.workloads) {
            for target in targets {
                let Some(rate) = self.median_rate(workload.name, target.name) else { continue };
                let of = |what: fn(&Sample) -> f64| {
                    self.median(workload.name, target.name, what).unwrap_or_default()
                };
                let busy = of(|sample| sample.found.load_cpu_share.unwrap_or_default());
                let latency = format!(
                    "{:.0} / {:.0} / {:.0}",
                    of(|sample| sample.found.latency_us.p50),
                    of(|sample| sample.found.latency_us.p99),
                    of(|sample| sample.found.latency_us.p999)
                );
                let ratio = self.ratio(workload.name, target.name);
                rows.push(vec![
                    workload.title.to_owned(),
                    target.name.to_owned(),
                    format!("{:.0}k{}", rate / 1e3, if busy > BUSY_SHARE { " *" } else { "" }),
                    format!("{:.2}", of(|sample| sample.cpu_us)),
                    self.cpu_ratio(workload.name, target.name)
                        .map(|ratio| format!("{ratio:.2}x"))
                        .unwrap_or_default(),
                    ratio.map(|ratio| format!("{ratio:.2}x")).unwrap_or_default(),
                    latency,
                ]);
            }
        }
        let head = ["workload", "server", "op/s", "CPU us/op", "CPU ratio", "ratio", "p50 / p99 / p99.9 us"];
        let title = format!(
            "Throughput, medians; ratios of throughput and of CPU per operation to {VALKEY_JEMALLOC} (* the load generator was as busy as the server)"
        );
        (!rows.is_empty()).then(|| Table { title, head: head.map(str::to_owned).to_vec(), rows })
    }

    fn latency_table(&self, targets: &[Target]) -> Option<Table> {
        let row = |target: &Target| {
            let of = |what: fn(&Sample) -> f64| self.median(LATENCY, target.name, what);
            Some(vec![
                target.name.to_owned(),
                format!("{:.0}", of(|sample| sample.found.latency_us.p50)?),
                format!("{:.0}", of(|sample| sample.found.latency_us.p99)?),
                format!("{:.0}", of(|sample| sample.found.latency_us.p999)?),
                format!("{:.2}", of(|sample| sample.cpu_us)?),
            ])
        };
        let rows: Vec<Vec<String>> = targets.iter().filter_map(row).collect();
        let head = ["server", "p50 us", "p99 us", "p99.9 us", "CPU us/op"].map(str::to_owned);
        let title =
            "Latency of GET at 70% of Valkey's saturation rate, from when requests fell due".to_owned();
        (!rows.is_empty()).then(|| Table { title, head: head.to_vec(), rows })
    }

    fn limits_table(&self) -> Table {
        let row = |row: &Row| {
            let verdict = match row.verdict {
                Verdict::Aim => "pass, aim reached",
                Verdict::Holds => "pass",
                Verdict::Missed => "**FAIL**",
            };
            [row.title.as_str(), &row.measured, &row.limit, &row.aim, verdict].map(str::to_owned).to_vec()
        };
        let head = ["figure", "measured", "limit", "aim", "result"].map(str::to_owned).to_vec();
        Table { title: "Limits".to_owned(), head, rows: self.rows.iter().map(row).collect() }
    }
}

/// The middle value; the mean of both for an even number.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((upper + values.get(values.len() / 2 - 1)?) / 2.0)
}

fn rounded(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn figures_are_held_against_both_limits() {
        let mut results = Results::default();
        for measured in [1.3, 1.5, 1.7] {
            results.judge("ratio", measured, "x", Direction::AtLeast, 1.4, Some(1.6));
            results.judge("time", -measured, "ms", Direction::AtMost, -1.4, Some(-1.6));
        }
        results.judge("ahead", 1.0, "x", Direction::AtLeast, 1.0, None);
        let verdicts: Vec<Verdict> = results.rows.iter().map(|row| row.verdict).collect();
        use Verdict::{Aim, Holds, Missed};
        assert_eq!(verdicts, [Missed, Missed, Holds, Holds, Aim, Aim, Holds]);
    }
}

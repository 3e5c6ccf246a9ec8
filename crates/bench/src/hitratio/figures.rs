//! What others measured on the traces, and what is asked of us: the rows of the table.

use std::collections::BTreeMap;

/// Caches of fewer objects have a row only if something is asked of them by name.
const OBJECTS_MIN: u64 = 100;
/// Points below the better of LRU and S3-FIFO that the adaptive policy may be.
const TOLERANCE: f64 = 0.5;

/// The policy that is judged on every row.
pub(super) const JUDGED: &str = "allkeys-adaptive";
/// The policy for caches that are limited by the bytes of their values.
pub(super) const BY_BYTES: &str = "allkeys-gdsf";

/// Hit ratios asked for by name: trace, unit, share, policy, percent.
const ASKED: [(&str, Unit, f64, &str, f64); 6] = [
    ("oltp", Unit::Objects, 0.01, JUDGED, 46.0),
    ("scarab_recs", Unit::Objects, 0.01, JUDGED, 42.3),
    ("orm_busy", Unit::Objects, 0.001, JUDGED, 49.5),
    ("corda", Unit::Objects, 0.001, JUDGED, 33.0),
    ("lirs_loop", Unit::Objects, 0.1, JUDGED, 8.5),
    ("cdn_adaptsize", Unit::Bytes, 0.1, BY_BYTES, 37.0),
];

/// What the size of a cache counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// Keys, all with values of one size.
    Objects,
    /// Bytes of the values, which have the sizes of the trace.
    Bytes,
}

/// One cache for one trace.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The trace's name.
    pub(super) trace: String,
    /// What `size` counts.
    pub(super) unit: Unit,
    /// Size of the cache as a share of the trace's distinct keys, or of their bytes.
    pub(super) share: f64,
    /// Size of the cache.
    pub(super) size: u64,
    /// Percentages of hits by algorithm, of simulators with exact lists.
    figures: BTreeMap<String, f64>,
}

impl Row {
    /// Percentage of hits of a simulated algorithm.
    pub(super) fn figure(&self, algorithm: &str) -> Option<f64> {
        self.figures.get(algorithm).copied()
    }

    /// Whether the general rule holds for it: never much below the better of LRU and S3-FIFO.
    pub(super) fn is_judged(&self) -> bool {
        self.unit == Unit::Objects && self.size >= OBJECTS_MIN
    }

    /// Percentages that a policy must reach here, and why.
    pub(super) fn limits(&self, policy: &str) -> Vec<(f64, &'static str)> {
        let mut limits: Vec<(f64, &str)> =
            self.asked().filter(|(asked, _)| *asked == policy).map(|(_, limit)| (limit, "asked")).collect();
        if let (true, Some(lru), Some(s3fifo)) =
            (self.is_judged() && policy == JUDGED, self.figure("LRU"), self.figure("S3FIFO"))
        {
            limits.push((lru.max(s3fifo) - TOLERANCE, "better of LRU and S3-FIFO"));
        }
        limits
    }

    /// Its name in tables.
    pub(super) fn label(&self) -> String {
        let unit = if self.unit == Unit::Bytes { " of bytes" } else { "" };
        format!("{} {}%{unit}", self.trace, (self.share * 1e3).round() / 10.0)
    }

    fn asked(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let (trace, unit, share) = (&self.trace, self.unit, self.share);
        let here = move |asked: &&(&str, Unit, f64, &str, f64)| {
            asked.0 == trace && asked.1 == unit && asked.2 == share
        };
        ASKED.iter().filter(here).map(|asked| (asked.3, asked.4))
    }
}

/// The rows to measure, in the order of the file. Those with a figure of LRU are caches; other lines tell how many keys a
/// server happened to hold.
pub(super) fn rows(figures: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in figures.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [trace, unit, share, size, algorithm, ratio, ..] = fields[..] else { continue };
        let unit = match unit {
            "objects" => Unit::Objects,
            "bytes" => Unit::Bytes,
            _ => continue,
        };
        let (Ok(share), Ok(size), Ok(ratio)) = (share.parse(), size.parse(), ratio.parse::<f64>()) else {
            continue;
        };
        let is_it = |row: &Row| row.trace == trace && row.unit == unit && row.size == size;
        let at = rows.iter().position(is_it).unwrap_or_else(|| {
            rows.push(Row { trace: trace.to_owned(), unit, share, size, figures: BTreeMap::new() });
            rows.len() - 1
        });
        if let Some(row) = rows.get_mut(at) {
            row.figures.insert(algorithm.to_owned(), ratio * 100.0);
        }
    }
    rows.retain(|row| row.figure("LRU").is_some() && (row.is_judged() || row.asked().next().is_some()));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_caches_that_something_is_asked_of() {
        let rows = rows(
            "trace,mode,cache_fraction,cache_size,algorithm,object_hit_ratio,byte_hit_ratio,source\n\
            oltp,objects,0.01,1869,LRU,0.4164,,x\n\
            oltp,objects,0.01,1869,S3FIFO,0.46469,,x\n\
            oltp,objects,0.01,1852,redis7,0.41344,,real server\n\
            lirs_multi3,objects,0.01,75,LRU,0.05,,too small\n\
            orm_busy,objects,0.001,76,LRU,0.5,,small but asked for\n\
            synth_kv52,bytes,0.01,873102,LRU,0.49,0.4,x\n\
            cdn_adaptsize,bytes,0.1,30421358,LRU,0.29831,0.3,x\n",
        );
        let labels: Vec<String> = rows.iter().map(Row::label).collect();
        assert_eq!(labels, ["oltp 1%", "orm_busy 0.1%", "cdn_adaptsize 10% of bytes"]);
        let limits: Vec<f64> = rows[0].limits(JUDGED).iter().map(|limit| limit.0).collect();
        assert_eq!(limits.len(), 2);
        assert!((limits[0] - 46.0).abs() < 1e-9 && (limits[1] - 45.969).abs() < 1e-9);
        assert_eq!(rows[2].limits(BY_BYTES), [(37.0, "asked")]);
        assert!(rows[0].limits("allkeys-lru").is_empty());
    }
}

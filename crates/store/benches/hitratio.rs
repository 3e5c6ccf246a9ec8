//! Hit ratios of the eviction policies on recorded traces, beside those of reference simulators.
//!
//! Reads `../shared/traces` beside the project (or `HYPERCACHE_TRACES`): what is measured there is described in its README.
//! Without it nothing is done. `cargo bench -p store --bench hitratio -- TRACE` replays one trace.
#![allow(missing_docs, reason = "a program")]
#![allow(clippy::print_stdout, reason = "it prints a table")]

#[path = "../tests/replay/mod.rs"]
mod replay;

use replay::{Cache, Request, Unit};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use store::eviction::Policy;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: u16 = 256;
/// Points below the better of LRU and S3-FIFO that the adaptive policy may be.
const TOLERANCE: f64 = 0.5;
/// Caches of fewer objects are printed, but not judged.
const OBJECTS_MIN: u64 = 100;
const POLICIES: [&str; 7] = [
    "allkeys-lru",
    "allkeys-s3fifo",
    "allkeys-adaptive",
    "allkeys-gdsf",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-ttl",
];
/// Hit ratios asked for: trace, unit, share of the keys, policy, percent.
const ASKED: [(&str, Unit, f64, &str, f64); 6] = [
    ("oltp", Unit::Objects, 0.01, "allkeys-adaptive", 46.0),
    ("scarab_recs", Unit::Objects, 0.01, "allkeys-adaptive", 42.3),
    ("orm_busy", Unit::Objects, 0.001, "allkeys-adaptive", 49.5),
    ("corda", Unit::Objects, 0.001, "allkeys-adaptive", 33.0),
    ("lirs_loop", Unit::Objects, 0.1, "allkeys-adaptive", 8.5),
    ("cdn_adaptsize", Unit::Bytes, 0.1, "allkeys-gdsf", 37.0),
];

/// One line of the table: trace, unit, share and size of the cache, and what others have measured.
struct Cell {
    trace: String,
    unit: Unit,
    share: f64,
    size: u64,
    figures: BTreeMap<String, f64>,
}

fn main() {
    let dir = std::env::var_os("HYPERCACHE_TRACES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces"),
        PathBuf::from,
    );
    let Ok(figures) = std::fs::read_to_string(dir.join("FIGURES.csv")) else {
        println!("skipped: there are no traces at {}", dir.display());
        return;
    };
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let (policies, traces): (Vec<String>, Vec<String>) =
        arguments.into_iter().partition(|argument| Policy::parse(argument).is_some());
    let policies: Vec<&str> =
        if policies.is_empty() { POLICIES.to_vec() } else { policies.iter().map(String::as_str).collect() };
    print!("{:<14}{:>7}{:>7}{:>8}", "trace", "unit", "share", "size");
    print!("{:>8}{:>8}", "LRU", "S3FIFO");
    policies.iter().for_each(|policy| print!("{:>10}", policy.split('-').next_back().unwrap_or("")));
    println!("  verdict");
    let mut missed = 0;
    let mut gains = Vec::new();
    let cells = cells(&figures);
    let mut names: Vec<&str> = cells.iter().map(|cell| cell.trace.as_str()).collect();
    names.dedup();
    for name in names {
        if !traces.is_empty() && !traces.iter().any(|trace| trace == name) {
            continue;
        }
        let requests = read(&dir.join(format!("{name}.trc.zst")));
        for cell in cells.iter().filter(|cell| cell.trace == name) {
            missed += u32::from(!line(cell, &policies, &requests, &mut gains));
        }
    }
    let mean = gains.iter().sum::<f64>() / gains.len().max(1) as f64;
    println!("mean miss reduction of adaptive against exact LRU over {} caches: {mean:.2}%", gains.len());
    println!("{missed} below what is asked");
}

/// Replays a trace under all policies and prints the line; whether it is as good as asked.
fn line(cell: &Cell, policies: &[&str], requests: &[Request], gains: &mut Vec<f64>) -> bool {
    let figure = |name: &str| cell.figures.get(name).copied();
    let (lru, s3fifo) = (figure("LRU"), figure("S3FIFO"));
    print!("{:<14}{:>7}{:>7}{:>8}", cell.trace, format!("{:?}", cell.unit).to_lowercase(), cell.share, cell.size);
    print!("{:>8.2}{:>8.2}", lru.unwrap_or(f64::NAN), s3fifo.unwrap_or(f64::NAN));
    let mut verdicts = Vec::new();
    for name in policies {
        let policy = Policy::parse(name).expect("a policy of the list");
        let ratio = replay(policy, cell, requests);
        print!("{ratio:>10.2}");
        let mut asked: Vec<f64> = ASKED
            .iter()
            .filter(|(trace, unit, share, policy, _)| {
                *trace == cell.trace && *unit == cell.unit && *share == cell.share && policy == name
            })
            .map(|asked| asked.4)
            .collect();
        let judged = *name == "allkeys-adaptive" && cell.unit == Unit::Objects && cell.size >= OBJECTS_MIN;
        if let (true, Some(lru), Some(s3fifo)) = (judged, lru, s3fifo) {
            asked.push(lru.max(s3fifo) - TOLERANCE);
            gains.push((ratio - lru) / (100.0 - lru) * 100.0);
        }
        for asked in asked {
            let fails = if ratio < asked { "BELOW" } else { "ok" };
            verdicts.push(format!("{} {asked:.2} {fails}", name.split('-').next_back().unwrap_or("")));
        }
    }
    println!("  {}", verdicts.join(", "));
    !verdicts.iter().any(|verdict| verdict.ends_with("BELOW"))
}

/// Percentage of hits.
fn replay(policy: Policy, cell: &Cell, requests: &[Request]) -> f64 {
    let mut cache = Cache::new(policy, PARTITIONS, cell.unit, cell.size);
    let hits = requests.iter().filter(|request| cache.request(request)).count();
    hits as f64 / requests.len() as f64 * 100.0
}

/// The lines for which there is a figure of LRU: others tell how sizes were rounded elsewhere.
fn cells(figures: &str) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    for line in figures.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [trace, unit, share, size, algorithm, ratio, ..] = fields[..] else { continue };
        let unit = if unit == "bytes" { Unit::Bytes } else { Unit::Objects };
        let (Ok(share), Ok(size), Ok(ratio)) = (share.parse(), size.parse(), ratio.parse::<f64>()) else { continue };
        let is_it = |cell: &&mut Cell| cell.trace == trace && cell.unit == unit && cell.size == size;
        let cell = match cells.iter_mut().find(is_it) {
            Some(cell) => cell,
            None => {
                let figures = BTreeMap::new();
                cells.push(Cell { trace: trace.to_owned(), unit, share, size, figures });
                cells.last_mut().expect("pushed above")
            }
        };
        cell.figures.insert(algorithm.to_owned(), ratio * 100.0);
    }
    cells.retain(|cell| cell.figures.contains_key("LRU"));
    cells
}

/// All requests of a trace.
fn read(path: &Path) -> Vec<Request> {
    let file = std::fs::File::open(path).expect("a trace for every line of the figures");
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(std::io::BufReader::new(file)).expect("zstd");
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes).expect("a whole trace");
    let word = |record: &[u8], at: usize| {
        u32::from_le_bytes(*record[at..].first_chunk().expect("records are of 20 bytes"))
    };
    bytes
        .chunks_exact(20)
        .map(|record| Request {
            time_seconds: word(record, 0),
            key: u64::from(word(record, 4)) | u64::from(word(record, 8)) << 32,
            bytes: word(record, 12),
            ttl_seconds: word(record, 16),
        })
        .collect()
}

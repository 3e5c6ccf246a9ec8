//! Hit ratios of the eviction policies on recorded traces, beside those of reference simulators.
//!
//! Reads `../shared/traces` beside the project (or `HYPERCACHE_TRACES`): what is measured there is described in its README.
//! Without it nothing is done. The simulators ignored times to live, so they are ignored here as well, except in the lines
//! of unit `ttl`, which compare our policies with one another.
//!
//! `cargo bench -p store --bench hitratio -- [TRACE]... [POLICY]... [seed=NUMBER]` replays a part; the seed is that of the
//! hashes, by which `adaptive` chooses its sample. As a test it replays the shortest trace.
#![allow(missing_docs, reason = "a program")]
#![allow(clippy::print_stdout, reason = "it prints a table")]

#[path = "../tests/replay/mod.rs"]
mod replay;

use replay::{Cache, HASH_SEED, Request, Unit};
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
const POLICIES: [&str; 6] =
    ["allkeys-lru", "allkeys-s3fifo", "allkeys-adaptive", "allkeys-gdsf", "allkeys-lfu", "allkeys-random"];
const SHORTEST: &str = "lirs_multi3";
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
    /// Times to live are kept.
    expires: bool,
    figures: BTreeMap<String, f64>,
}

fn main() {
    let dir = std::env::var_os("HYPERCACHE_TRACES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces"), PathBuf::from);
    let Ok(figures) = std::fs::read_to_string(dir.join("FIGURES.csv")) else {
        println!("skipped: there are no traces at {}", dir.display());
        return;
    };
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let seed = arguments.iter().find_map(|argument| argument.strip_prefix("seed=")?.parse().ok());
    let seed = seed.unwrap_or(HASH_SEED);
    let (policies, traces): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with("seed="))
        .partition(|argument| Policy::parse(argument).is_some());
    let policies = if policies.is_empty() { POLICIES.to_vec() } else { policies };
    print!("{:<14}{:>8}{:>7}{:>10}", "trace", "unit", "share", "size");
    print!("{:>8}{:>8}", "LRU", "S3FIFO");
    policies.iter().for_each(|policy| print!("{:>10}", policy.split('-').next_back().unwrap_or("")));
    println!("  verdict");
    let mut missed = 0;
    let mut gains = Vec::new();
    let cells = cells(&figures);
    let mut names: Vec<&str> = cells.iter().map(|cell| cell.trace.as_str()).collect();
    names.dedup();
    for name in names {
        if !traces.is_empty() && !traces.contains(&name) || is_test && name != SHORTEST {
            continue;
        }
        let requests = read(&dir.join(format!("{name}.trc.zst")));
        for cell in cells.iter().filter(|cell| cell.trace == name) {
            missed += u32::from(!line(cell, (&policies, seed), &requests, &mut gains));
        }
    }
    let mean = gains.iter().sum::<f64>() / gains.len().max(1) as f64;
    println!("mean miss reduction of adaptive against exact LRU over {} caches: {mean:.2}%", gains.len());
    println!("{missed} below what is asked");
}

/// Replays a trace under all policies and prints the line; whether it is as good as asked.
fn line(cell: &Cell, (policies, seed): (&[&str], u64), requests: &[Request], gains: &mut Vec<f64>) -> bool {
    let figure = |name: &str| cell.figures.get(name).copied();
    let (lru, s3fifo) = (figure("LRU"), figure("S3FIFO"));
    let mut ours = BTreeMap::new();
    print!("{:<14}{:>8}{:>7}{:>10}", cell.trace, label(cell), cell.share, cell.size);
    print!("{:>8.2}{:>8.2}", lru.unwrap_or(f64::NAN), s3fifo.unwrap_or(f64::NAN));
    let mut verdicts = Vec::new();
    for name in policies {
        let policy = Policy::parse(name).expect("a policy of the list");
        let ratio = replay(policy, cell, requests, seed);
        print!("{ratio:>10.2}");
        ours.insert(*name, ratio);
        let mut asked: Vec<f64> = ASKED
            .iter()
            .filter(|(trace, unit, share, policy, _)| {
                !cell.expires
                    && *trace == cell.trace
                    && *unit == cell.unit
                    && *share == cell.share
                    && policy == name
            })
            .map(|asked| asked.4)
            .collect();
        let judged = *name == "allkeys-adaptive" && cell.unit == Unit::Objects && cell.size >= OBJECTS_MIN;
        if let (true, Some(lru), Some(s3fifo)) = (judged, lru, s3fifo) {
            asked.push(lru.max(s3fifo) - TOLERANCE);
            gains.push((ratio - lru) / (100.0 - lru) * 100.0);
        }
        if let (true, Some(lru), Some(s3fifo)) =
            (cell.expires && judged, ours.get("allkeys-lru"), ours.get("allkeys-s3fifo"))
        {
            asked.push(lru.max(*s3fifo) - TOLERANCE);
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
fn replay(policy: Policy, cell: &Cell, requests: &[Request], seed: u64) -> f64 {
    let mut cache = Cache::seeded(policy, PARTITIONS, cell.unit, cell.size, seed);
    let ttl_seconds = |request: &Request| if cell.expires { request.ttl_seconds } else { 0 };
    let requests = requests.iter().map(|request| Request { ttl_seconds: ttl_seconds(request), ..*request });
    let (mut hits, mut count) = (0u32, 0u32);
    for request in requests {
        hits += u32::from(cache.request(&request));
        count += 1;
    }
    f64::from(hits) / f64::from(count) * 100.0
}

/// The lines for which there is a figure of LRU: others tell how sizes were rounded elsewhere.
fn cells(figures: &str) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    for line in figures.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [trace, unit, share, size, algorithm, ratio, ..] = fields[..] else { continue };
        let unit = if unit == "bytes" { Unit::Bytes } else { Unit::Objects };
        let (Ok(share), Ok(size), Ok(ratio)) = (share.parse(), size.parse(), ratio.parse::<f64>()) else {
            continue;
        };
        let is_it = |cell: &&mut Cell| cell.trace == trace && cell.unit == unit && cell.size == size;
        let cell = match cells.iter_mut().find(is_it) {
            Some(cell) => cell,
            None => {
                let figures = BTreeMap::new();
                cells.push(Cell { trace: trace.to_owned(), unit, share, size, expires: false, figures });
                cells.last_mut().expect("pushed above")
            }
        };
        cell.figures.insert(algorithm.to_owned(), ratio * 100.0);
    }
    cells.retain(|cell| cell.figures.contains_key("LRU"));
    let with_ttl = |cell: &&Cell| cell.trace.starts_with("synth_") && cell.unit == Unit::Objects;
    let again =
        |cell: &Cell| Cell { trace: cell.trace.clone(), expires: true, figures: BTreeMap::new(), ..*cell };
    let expiring: Vec<Cell> = cells.iter().filter(with_ttl).map(again).collect();
    cells.extend(expiring);
    cells.sort_by(|a, b| a.trace.cmp(&b.trace));
    cells
}

fn label(cell: &Cell) -> &'static str {
    match (cell.unit, cell.expires) {
        (_, true) => "ttl",
        (Unit::Objects, _) => "objects",
        (Unit::Bytes, _) => "bytes",
    }
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

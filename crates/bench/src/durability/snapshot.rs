//! What a save of 5 GB costs while writes go on: memory, and the slowest command.

use super::{Servers, Settings, order, persistence_figure};
use crate::Result;
use crate::peers::load::{Generator, words};
use crate::peers::servers::{Running, SERVER_PROCESSOR, Target};
use crate::report::Report;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// With values of so many bytes about 5 GB.
const KEYS: u64 = 4_700_000;
const VALUE_BYTES: u64 = 1_024;
/// Writes per second, over so many connections.
const RATE: &str = "20000";
const CONNECTIONS: &str = "50";
/// Seconds of writes before, which are the measure of the machine.
const QUIET_SECONDS: u64 = 10;
const POLL: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(600);
const MEMORY_LIMIT: f64 = 5.0;
const LATENCY_LIMIT_MS: f64 = 5.0;
const MIB: f64 = 1024.0 * 1024.0;

/// What a stretch of writes showed.
#[derive(Default)]
struct Stretch {
    p999_ms: f64,
    max_ms: f64,
    peak_bytes: u64,
}

/// Saves under writes, on every server.
///
/// # Errors
/// When a server misbehaves or the save fails.
pub(super) fn run(settings: &Settings, servers: &Servers, report: &mut Report) -> Result<()> {
    for target in servers.all() {
        measure(settings, target, report)?;
    }
    Ok(())
}

fn measure(settings: &Settings, target: &Target, report: &mut Report) -> Result<()> {
    let log = ["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
    let server = Running::start_with(target, SERVER_PROCESSOR, 1, &words(&log))?;
    let keys = settings.keys(KEYS);
    Generator::new(&settings.binary, &server).fill(keys, VALUE_BYTES, None)?;
    // Once, so that both stretches overwrite what was written one by one.
    let quiet = writes(settings, &server, keys)?;
    let before = server.resident()?;
    order(server.address, &["BGSAVE"])?;
    let began = Instant::now();
    let mut during = Stretch::default();
    while persistence_figure(server.address, "rdb_bgsave_in_progress")? != 0 {
        let stretch = writes(settings, &server, keys)?;
        during.p999_ms = during.p999_ms.max(stretch.p999_ms);
        during.max_ms = during.max_ms.max(stretch.max_ms);
        during.peak_bytes = during.peak_bytes.max(stretch.peak_bytes);
        if began.elapsed() > PATIENCE {
            return Err(format!("{} does not end its save", target.name).into());
        }
    }
    let info = format!("{} of {:.0} MiB", target.name, before as f64 / MIB);
    let extra = during.peak_bytes.saturating_sub(before) as f64 / before as f64 * 100.0;
    report.note(format!(
        "save of {info}: {:.1} s, slowest write {:.2} ms (p99.9 {:.2}), without a save {:.2} ms (p99.9 {:.2})",
        began.elapsed().as_secs_f64(),
        during.max_ms,
        during.p999_ms,
        quiet.max_ms,
        quiet.p999_ms
    ));
    if target.is_hypercache() {
        report.at_most("save of 5 GB: memory above that before", extra, MEMORY_LIMIT, "%");
        report.at_most("save of 5 GB: slowest write", during.max_ms, LATENCY_LIMIT_MS, "ms");
    } else {
        let copied = persistence_figure(server.address, "rdb_last_cow_size")? as f64 / MIB;
        report.note(format!(
            "save of {info}: {extra:.1} % above that before, and {copied:.0} MiB copied by its child"
        ));
    }
    Ok(())
}

/// Writes at a fixed rate for some seconds, and looks at the server's memory meanwhile.
fn writes(settings: &Settings, server: &Running, keys: u64) -> Result<Stretch> {
    let mut arguments = words(&["--command", "set", "--connections", CONNECTIONS, "--rate", RATE]);
    arguments.extend(words(&["--keys", &keys.to_string(), "--value-size", &VALUE_BYTES.to_string()]));
    arguments.extend(words(&["--warmup", "0", "--duration", &QUIET_SECONDS.to_string()]));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let found = Generator::new(&settings.binary, server).run(&arguments);
            ended.store(true, Ordering::Release);
            found
        });
        let mut peak_bytes = 0;
        while !ended.load(Ordering::Acquire) {
            peak_bytes = peak_bytes.max(server.resident()?);
            sleep(POLL);
        }
        let found = load.join().map_err(|_| "the thread of the load panicked")??;
        let latency = &found.latency_us;
        Ok(Stretch { p999_ms: latency.p999 / 1e3, max_ms: latency.max / 1e3, peak_bytes })
    })
}

//! Counters and histograms.
//!
//! Each worker has its own set, written by nobody else, so that counting costs an uncontended add; whoever reads
//! them adds the sets up. `CONFIG RESETSTAT` does not write to them either: it remembers what to subtract.

use commands::info::CommandStats;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Buckets of a latency histogram: four per power of two of nanoseconds, so a bound is within 25% of the value.
pub const BUCKETS: usize = 160;
const STEPS_PER_OCTAVE_LOG2: u32 = 2;

/// Numbers that only count up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Counter {
    /// Commands executed.
    Commands,
    /// Connections accepted.
    Connections,
    /// Connections refused at the limit.
    RejectedConnections,
    /// Bytes read from clients.
    InputBytes,
    /// Bytes written to clients.
    OutputBytes,
    /// Bytes read from other nodes.
    LinkInputBytes,
    /// Bytes written to other nodes.
    LinkOutputBytes,
    /// Reads that found their key.
    Hits,
    /// Reads that did not.
    Misses,
    /// Keys removed at their deadline.
    Expired,
    /// Keys removed to make room.
    Evicted,
    /// Commands sent on to another node.
    Forwarded,
    /// Commands held back for a while: no lease, no primary, a hand-over.
    HeldBack,
    /// Replies answered INDOUBT.
    InDoubt,
    /// Partitions copied whole to a peer.
    FullSyncs,
    /// Partitions of which a peer that lagged behind got only the records it lacked.
    BacklogSyncs,
    /// Partitions compared with a peer's copy, of which only what differs was sent.
    DifferenceSyncs,
    /// Bytes sent for copying and comparing partitions, live records apart.
    SyncBytes,
    /// Bytes of keys and values that a peer was found to hold already.
    SyncBytesSpared,
    /// Error replies.
    Errors,
    /// Wrong passwords.
    DeniedAuthentications,
    /// Commands that their users may not run.
    DeniedCommands,
    /// Commands with keys that their users may not use so.
    DeniedKeys,
    /// Commands with channels that their users may not use.
    DeniedChannels,
    /// Clients closed because of their output buffer.
    OutputLimitCloses,
    /// Read events handled.
    Reads,
    /// Write events handled.
    Writes,
}

const COUNTERS: usize = Counter::Writes as usize + 1;

/// Statistics of one command on one worker.
#[derive(Debug)]
pub struct CommandCounters {
    calls: AtomicU64,
    nanos: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    buckets: OnceLock<Box<[AtomicU64; BUCKETS]>>,
}

impl CommandCounters {
    fn bucket(&self, nanos: u64) -> &AtomicU64 {
        let buckets = self.buckets.get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        &buckets[bucket_of(nanos)]
    }
}

/// All numbers of one worker.
#[derive(Debug)]
pub struct Stats {
    counters: [AtomicU64; COUNTERS],
    commands: Vec<CommandCounters>,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Default for Stats {
    fn default() -> Stats {
        let command = || CommandCounters {
            calls: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            buckets: OnceLock::new(),
        };
        Stats {
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
            commands: (0..commands::table::count()).map(|_| command()).collect(),
            errors: Mutex::new(BTreeMap::new()),
        }
    }
}

impl Stats {
    /// Adds to a counter.
    #[inline]
    pub fn add(&self, counter: Counter, by: u64) {
        // A plain add: no other worker writes here, so nothing can be lost between load and store. The control
        // plane counts in a set of its own.
        let cell = &self.counters[counter as usize];
        cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
    }

    /// The counter's value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Relaxed)
    }

    /// Notes that a command ran `calls` times, for so long each time, and how often it answered with an error.
    #[inline]
    pub fn ran(&self, command: usize, calls: u64, nanos: u64, failed: u64) {
        let cell = &self.commands[command];
        cell.calls.store(cell.calls.load(Relaxed) + calls, Relaxed);
        cell.nanos.store(cell.nanos.load(Relaxed) + nanos * calls, Relaxed);
        if failed > 0 {
            cell.failed.store(cell.failed.load(Relaxed) + failed, Relaxed);
        }
        let bucket = cell.bucket(nanos);
        bucket.store(bucket.load(Relaxed) + calls, Relaxed);
    }

    /// Notes a command that ran outside the workers, where several threads count in one set.
    pub fn ran_outside(&self, command: usize, nanos: u64, hit: bool) {
        let cell = &self.commands[command];
        cell.calls.fetch_add(1, Relaxed);
        cell.nanos.fetch_add(nanos, Relaxed);
        cell.bucket(nanos).fetch_add(1, Relaxed);
        self.counters[Counter::Commands as usize].fetch_add(1, Relaxed);
        let lookup = if hit { Counter::Hits } else { Counter::Misses };
        self.counters[lookup as usize].fetch_add(1, Relaxed);
    }

    /// Notes that a command was refused before it ran.
    pub fn rejected(&self, command: usize) {
        let cell = &self.commands[command];
        cell.rejected.store(cell.rejected.load(Relaxed) + 1, Relaxed);
    }

    /// Notes an error reply by its prefix.
    #[cold]
    pub fn error(&self, reply: &[u8]) {
        self.add(Counter::Errors, 1);
        let prefix = reply.split(|&b| b == b' ' || b == b'\r').next().unwrap_or_default();
        let prefix = String::from_utf8_lossy(prefix.get(..ERROR_PREFIX_MAX).unwrap_or(prefix)).into_owned();
        let mut errors = self.errors.lock();
        if errors.len() < ERROR_PREFIXES_MAX || errors.contains_key(&prefix) {
            *errors.entry(prefix).or_insert(0) += 1;
        }
    }
}

const ERROR_PREFIX_MAX: usize = 32;
const ERROR_PREFIXES_MAX: usize = 128;

/// The sets of all workers, and the baseline of the last reset.
#[derive(Debug, Default)]
pub struct AllStats {
    sets: Vec<Stats>,
    baseline: Mutex<Option<Baseline>>,
}

#[derive(Debug, Default)]
struct Baseline {
    counters: Vec<u64>,
    commands: Vec<CommandTotals>,
    errors: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default)]
struct CommandTotals {
    calls: u64,
    nanos: u64,
    rejected: u64,
    failed: u64,
    buckets: Vec<u64>,
}

impl AllStats {
    /// One set per worker and one for the control plane.
    pub fn new(workers: usize) -> AllStats {
        AllStats { sets: (0..=workers).map(|_| Stats::default()).collect(), baseline: Mutex::new(None) }
    }

    /// The set of one worker; the number after the last worker's is the control plane's.
    pub fn of(&self, worker: usize) -> &Stats {
        &self.sets[worker]
    }

    /// A counter over all workers since the last reset.
    pub fn total(&self, counter: Counter) -> u64 {
        let now = self.raw(counter as usize);
        now - self.baseline.lock().as_ref().map_or(0, |base| base.counters[counter as usize])
    }

    /// Starts counting from zero.
    pub fn reset(&self) {
        let baseline = Baseline {
            counters: (0..COUNTERS).map(|counter| self.raw(counter)).collect(),
            commands: (0..commands::table::count()).map(|index| self.raw_command(index)).collect(),
            errors: self.raw_errors(),
        };
        *self.baseline.lock() = Some(baseline);
    }

    /// Error replies by prefix since the last reset.
    pub fn errors(&self) -> Vec<(String, u64)> {
        let mut errors = self.raw_errors();
        if let Some(base) = &*self.baseline.lock() {
            for (prefix, count) in &base.errors {
                errors.entry(prefix.clone()).and_modify(|now| *now -= count);
            }
        }
        errors.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Statistics of every command that ran or was refused since the last reset.
    pub fn commands(&self) -> Vec<CommandStats> {
        let baseline = self.baseline.lock();
        let rows = commands::table::all().iter().enumerate();
        rows.filter_map(|(index, row)| {
            let mut totals = self.raw_command(index);
            if let Some(base) = baseline.as_ref().and_then(|base| base.commands.get(index)) {
                totals.subtract(base);
            }
            (totals.calls + totals.rejected > 0).then(|| totals.describe(row.name))
        })
        .collect()
    }

    /// Bucket counts of one command over all workers since the start, for the metrics endpoint.
    pub fn buckets(&self, command: usize) -> (Vec<u64>, u64, u64) {
        let totals = self.raw_command(command);
        (totals.buckets, totals.calls, totals.nanos)
    }

    fn raw(&self, counter: usize) -> u64 {
        self.sets.iter().map(|set| set.counters[counter].load(Relaxed)).sum()
    }

    fn raw_command(&self, index: usize) -> CommandTotals {
        let mut totals = CommandTotals { buckets: vec![0; BUCKETS], ..CommandTotals::default() };
        for cell in self.sets.iter().map(|set| &set.commands[index]) {
            totals.calls += cell.calls.load(Relaxed);
            totals.nanos += cell.nanos.load(Relaxed);
            totals.rejected += cell.rejected.load(Relaxed);
            totals.failed += cell.failed.load(Relaxed);
            if let Some(buckets) = cell.buckets.get() {
                totals.buckets.iter_mut().zip(buckets.iter()).for_each(|(sum, n)| *sum += n.load(Relaxed));
            }
        }
        totals
    }

    fn raw_errors(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for set in &self.sets {
            for (prefix, count) in set.errors.lock().iter() {
                *all.entry(prefix.clone()).or_insert(0) += count;
            }
        }
        all
    }
}

impl CommandTotals {
    fn subtract(&mut self, base: &CommandTotals) {
        self.calls -= base.calls;
        self.nanos -= base.nanos;
        self.rejected -= base.rejected;
        self.failed -= base.failed;
        self.buckets.iter_mut().zip(&base.buckets).for_each(|(now, then)| *now -= then);
    }

    fn describe(&self, name: &'static str) -> CommandStats {
        let mut histogram: Vec<(u64, u64)> = Vec::new();
        let (mut cumulative, mut bound_us) = (0, 1u64);
        for (bucket, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            cumulative += count;
            while bound_us * 1_000 < bound_of(bucket) {
                bound_us *= 2;
            }
            match histogram.last_mut() {
                Some((bound, total)) if *bound == bound_us => *total = cumulative,
                _ => histogram.push((bound_us, cumulative)),
            }
        }
        CommandStats {
            name,
            calls: self.calls,
            usec: self.nanos / 1_000,
            rejected_calls: self.rejected,
            failed_calls: self.failed,
            percentiles_us: [0.5, 0.99, 0.999]
                .map(|share| percentile_ns(&self.buckets, share) as f64 / 1_000.0),
            histogram,
        }
    }
}

/// The bucket of a duration in nanoseconds.
#[inline]
pub fn bucket_of(nanos: u64) -> usize {
    let steps = 1 << STEPS_PER_OCTAVE_LOG2;
    if nanos < steps {
        return nanos as usize;
    }
    let octave = 63 - nanos.leading_zeros();
    let step = (nanos >> (octave - STEPS_PER_OCTAVE_LOG2)) as usize & (steps as usize - 1);
    (((octave - STEPS_PER_OCTAVE_LOG2 + 1) as usize) * steps as usize + step).min(BUCKETS - 1)
}

/// Upper bound of a bucket in nanoseconds.
pub fn bound_of(bucket: usize) -> u64 {
    let steps = 1usize << STEPS_PER_OCTAVE_LOG2;
    if bucket < steps {
        return bucket as u64 + 1;
    }
    let octave = bucket / steps - 1;
    ((steps + bucket % steps + 1) as u64) << octave
}

/// The bound below which a `share` of the counts lie, in nanoseconds; 0 without counts.
pub fn percentile_ns(buckets: &[u64], share: f64) -> u64 {
    let total: u64 = buckets.iter().sum();
    let wanted = (total as f64 * share).ceil() as u64;
    let mut seen = 0;
    for (bucket, count) in buckets.iter().enumerate() {
        seen += count;
        if seen >= wanted && total > 0 {
            return bound_of(bucket);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_bound_their_values_closely() {
        for nanos in (0..5_000).chain((0..40).map(|shift| 3u64 << shift)) {
            let bucket = bucket_of(nanos);
            if bucket < BUCKETS - 1 {
                assert!(nanos < bound_of(bucket), "{nanos}");
                assert!(bucket == 0 || nanos >= bound_of(bucket - 1), "{nanos} in {bucket}");
            }
        }
    }

    #[test]
    fn totals_add_up_and_reset() {
        let all = AllStats::new(1);
        all.of(0).add(Counter::Commands, 3);
        all.of(1).add(Counter::Commands, 4);
        assert_eq!(all.total(Counter::Commands), 7);
        let get = commands::table::lookup(b"get").expect("GET is in the table").index();
        all.of(0).ran(get, 1, 1_500, 0);
        all.of(0).ran(get, 1, 2_500, 1);
        let stats = all.commands();
        assert_eq!((stats[0].name, stats[0].calls, stats[0].failed_calls, stats[0].usec), ("get", 2, 1, 4));
        assert!(stats[0].percentiles_us[0] >= 1.5 && stats[0].percentiles_us[2] >= 2.5);
        all.of(0).error(b"WRONGTYPE Operation");
        assert_eq!(all.errors(), [("WRONGTYPE".to_owned(), 1)]);
        all.reset();
        assert_eq!((all.total(Counter::Commands), all.commands().len(), all.errors().len()), (0, 0, 0));
    }
}

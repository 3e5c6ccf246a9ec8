//! Directives of a running server: CONFIG GET, CONFIG SET, and getters for the threads that obey them.
//!
//! Values live in one locked [`Settings`]; numbers are mirrored in one atomic each, so that a thread may ask on
//! every command. CONFIG SET of several names is all or nothing: it works on a copy, which replaces the original
//! only when every name, every value and every relation between values is right.

use commands::events::Events;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use store::eviction::Policy;

use super::source::{Place, Settings};
use super::table::{self, DIRECTIVES, index_of};
use super::value::{Secret, Value};
use super::{BufferLimits, SavePoints, glob, relations};

/// Shown by CONFIG GET in place of a secret that no client needs.
const HIDDEN: &str = "***";

/// The values of every directive while the server runs. Shared by all threads, usually in an `Arc`.
#[derive(Debug)]
pub struct Directives {
    settings: RwLock<Settings>,
    numbers: Vec<AtomicU64>,
    generation: AtomicU64,
}

impl Directives {
    /// Directives that begin as `settings`.
    pub fn new(settings: Settings) -> Directives {
        let numbers = settings.values().map(|value| AtomicU64::new(value.bits())).collect();
        Directives { settings: RwLock::new(settings), numbers, generation: AtomicU64::new(0) }
    }

    /// CONFIG GET: name and value of every directive that matches one of the glob patterns, each once.
    pub fn get<'a>(&self, patterns: impl IntoIterator<Item = &'a str>) -> Vec<(&'static str, String)> {
        let patterns: Vec<&str> = patterns.into_iter().collect();
        let settings = self.read();
        let wanted = |name: &str| patterns.iter().any(|pattern| glob::matches(pattern, name));
        DIRECTIVES
            .iter()
            .zip(settings.values())
            .filter(|(directive, _)| wanted(directive.name))
            .map(|(directive, value)| (directive.name, shown(directive.name, value)))
            .collect()
    }

    /// CONFIG SET of one directive; the error is Redis's text, without the `ERR ` before it.
    pub fn set(&self, name: &str, value: &str) -> Result<(), String> {
        self.set_all(&[(name, value)])
    }

    /// CONFIG SET of several directives at once, all or nothing; the error is Redis's text, without `ERR `.
    pub fn set_all(&self, pairs: &[(&str, &str)]) -> Result<(), String> {
        let mut guard = self.settings.write().expect("no thread panics while it holds the settings");
        let candidate = changed(&guard, pairs)?;
        for (number, value) in self.numbers.iter().zip(candidate.values()) {
            number.store(value.bits(), Ordering::Relaxed);
        }
        *guard = candidate;
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Replaces a port 0 by the port that the system gave, so that CONFIG GET tells the truth.
    pub fn port_bound(&self, name: &str, port: u16) {
        let index = table::find(name).expect("the caller names one of the three ports");
        let mut guard = self.settings.write().expect("no thread panics while it holds the settings");
        let place = guard.place(index).clone();
        guard.set(index, Value::Number(i64::from(port)), place);
        self.numbers[index].store(u64::from(port), Ordering::Relaxed);
    }

    /// Counts changes: a thread that remembers it knows whether to ask for values that are not numbers again.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Memory for data in bytes; 0 is no limit.
    pub fn maxmemory(&self) -> u64 {
        self.number(const { index_of("maxmemory") })
    }

    /// What happens at that limit.
    pub fn maxmemory_policy(&self) -> Policy {
        match self.read().value(const { index_of("maxmemory-policy") }) {
            Value::Word(name) => Policy::parse(name).unwrap_or_default(),
            other => unreachable!("maxmemory-policy is {other:?}"),
        }
    }

    /// Most client connections.
    pub fn maxclients(&self) -> u64 {
        self.number(const { index_of("maxclients") })
    }

    /// Which keyspace events are published.
    pub fn notify_keyspace_events(&self) -> Events {
        let bits = self.number(const { index_of("notify-keyspace-events") });
        Events::from_bits(u32::try_from(bits).unwrap_or_default())
    }

    /// Seconds after which an idle client is disconnected; 0 is never.
    pub fn timeout(&self) -> u64 {
        self.number(const { index_of("timeout") })
    }

    /// Seconds between keep-alive probes; 0 is none.
    pub fn tcp_keepalive(&self) -> u64 {
        self.number(const { index_of("tcp-keepalive") })
    }

    /// Microseconds from which a command is slow; -1 is never.
    pub fn slowlog_log_slower_than(&self) -> i64 {
        self.number(const { index_of("slowlog-log-slower-than") }).cast_signed()
    }

    /// Most entries of the slow log.
    pub fn slowlog_max_len(&self) -> u64 {
        self.number(const { index_of("slowlog-max-len") })
    }

    /// Milliseconds from which an event is kept for LATENCY; 0 is never.
    pub fn latency_monitor_threshold(&self) -> u64 {
        self.number(const { index_of("latency-monitor-threshold") })
    }

    /// Largest argument of a command, in bytes.
    pub fn proto_max_bulk_len(&self) -> u64 {
        self.number(const { index_of("proto-max-bulk-len") })
    }

    /// Most unread request bytes of one client.
    pub fn client_query_buffer_limit(&self) -> u64 {
        self.number(const { index_of("client-query-buffer-limit") })
    }

    /// Runs of background work per second.
    pub fn hz(&self) -> u64 {
        self.number(const { index_of("hz") })
    }

    /// Whether remote clients are refused while there is no password.
    pub fn protected_mode(&self) -> bool {
        self.number(const { index_of("protected-mode") }) != 0
    }

    /// When all data is saved.
    pub fn save(&self) -> SavePoints {
        match self.read().value(const { index_of("save") }) {
            Value::SavePoints(points) => points.clone(),
            other => unreachable!("save is {other:?}"),
        }
    }

    /// Growth of the log, in percent of what was saved last, after which it is replaced by a snapshot; 0 is never.
    pub fn auto_aof_rewrite_percentage(&self) -> u64 {
        self.number(const { index_of("auto-aof-rewrite-percentage") })
    }

    /// Bytes of the log below which it is not replaced.
    pub fn auto_aof_rewrite_min_size(&self) -> u64 {
        self.number(const { index_of("auto-aof-rewrite-min-size") })
    }

    /// Whether snapshots are compressed.
    pub fn rdbcompression(&self) -> bool {
        self.number(const { index_of("rdbcompression") }) != 0
    }

    /// Bytes per second that a background save reads at most.
    pub fn save_bytes_per_second(&self) -> u64 {
        self.number(const { index_of("save-bytes-per-second") })
    }

    /// Limits of unsent replies.
    pub fn client_output_buffer_limit(&self) -> BufferLimits {
        match self.read().value(const { index_of("client-output-buffer-limit") }) {
            Value::BufferLimits(limits) => *limits,
            other => unreachable!("client-output-buffer-limit is {other:?}"),
        }
    }

    /// The password of clients; empty is none.
    pub fn requirepass(&self) -> Secret {
        self.read().secret(const { index_of("requirepass") }).clone()
    }

    /// The file of users, if there is one.
    pub fn aclfile(&self) -> Option<PathBuf> {
        match self.read().value(const { index_of("aclfile") }) {
            Value::Path(path) => Some(path.clone()).filter(|path| !path.as_os_str().is_empty()),
            other => unreachable!("aclfile is {other:?}"),
        }
    }

    /// The users that the configuration describes, each as in a file but for the word `user`.
    pub fn users(&self) -> Vec<String> {
        let users = self.read().secret(const { index_of("user") }).expose().to_owned();
        users.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Which channels new users may use: `allchannels` or `resetchannels`.
    pub fn acl_pubsub_default(&self) -> &'static str {
        match self.read().value(const { index_of("acl-pubsub-default") }) {
            Value::Word(word) => word,
            other => unreachable!("acl-pubsub-default is {other:?}"),
        }
    }

    /// Most entries of the log of what was refused.
    pub fn acllog_max_len(&self) -> u64 {
        self.number(const { index_of("acllog-max-len") })
    }

    /// One of debug, verbose, notice and warning.
    pub fn loglevel(&self) -> &'static str {
        match self.read().value(const { index_of("loglevel") }) {
            Value::Word(word) => word,
            other => unreachable!("loglevel is {other:?}"),
        }
    }

    fn number(&self, index: usize) -> u64 {
        self.numbers[index].load(Ordering::Relaxed)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Settings> {
        self.settings.read().expect("no thread panics while it holds the settings")
    }
}

/// A copy of `current` with `pairs` applied, or Redis's error text.
fn changed(current: &Settings, pairs: &[(&str, &str)]) -> Result<Settings, String> {
    let mut indices = Vec::with_capacity(pairs.len());
    for (name, _) in pairs {
        let index = table::find(name).filter(|index| DIRECTIVES[*index].in_file);
        indices.push(
            index
                .ok_or_else(|| format!("Unknown option or number of arguments for CONFIG SET - '{name}'"))?,
        );
    }
    let failed =
        |name: &str, why: &str| format!("CONFIG SET failed (possibly related to argument '{name}') - {why}");
    let mut seen = BTreeSet::new();
    for (index, (name, _)) in indices.iter().zip(pairs) {
        if !DIRECTIVES[*index].live {
            return Err(failed(name, "can't set immutable config"));
        }
        if !seen.insert(*index) {
            return Err(failed(name, "duplicate parameter"));
        }
    }
    let mut candidate = current.clone();
    for (index, (name, text)) in indices.iter().zip(pairs) {
        let value = DIRECTIVES[*index].kind.parse(text, Some(candidate.value(*index)));
        candidate.set(*index, value.map_err(|refusal| failed(name, &refusal.redis))?, Place::Command);
    }
    match (relations::contradictions(&candidate).first(), pairs.first()) {
        (Some(mistake), Some((name, _))) => Err(failed(name, &mistake.text)),
        _ => Ok(candidate),
    }
}

fn shown(name: &str, value: &Value) -> String {
    match value {
        Value::Secret(secret) if matches!(name, "cluster-secret" | "user") && !secret.is_empty() => {
            HIDDEN.to_string()
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_are_those_of_the_store() {
        let names: Vec<&str> = Policy::all().map(Policy::name).collect();
        assert_eq!(names, table::POLICIES);
    }
}

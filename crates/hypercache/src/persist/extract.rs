//! Reads out what a directory holds, as the commands that make it: for the day on which a node refuses to start.
//!
//! A damaged manifest or table of a snapshot is done without. The sound partitions are replayed as at a start of a node. Of a
//! damaged one, what stands before the damage is replayed; records behind it are left out, because they may change what the
//! damaged one made. So a key of such a partition may have an older value, or be there again although it was deleted; the
//! outcome says which partitions that concerns. All data is in memory meanwhile, as in the node.

use commands::generic::payload::{dump_collection, dump_filter};
use effect::{Effect, Elements, Kind};
use persistence::{Damage, Disk, Plan, Progress, RecoveryError, RecoverySink, Share};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use stdx::{PartitionId, Seq, Wall};
use store::{Filter, Partition};

/// What keys are hashed under here; nobody chooses keys against a process of this kind.
const HASH_SEED: u64 = 0;

/// Most elements of a command that is written: an even number, so that pairs stay together.
const COMMAND_ELEMENTS_MAX: usize = 1_000;

/// A partition of which only a part was extracted.
pub(crate) struct Partial {
    /// Which one.
    pub(crate) partition: PartitionId,
    /// Keys that were extracted.
    pub(crate) keys: u64,
    /// Records from the damage on, which were left out.
    pub(crate) left_out: u64,
    /// What is in the way; `None` for a copy that had not arrived completely.
    pub(crate) damage: Option<Damage>,
}

/// What was extracted, and what was not.
#[derive(Default)]
pub(crate) struct Extracted {
    /// Keys that were written.
    pub(crate) keys: u64,
    /// Keys whose time to live has ended.
    pub(crate) expired: u64,
    /// Filters that were being loaded piece by piece, which no single command makes.
    pub(crate) loading: u64,
    /// Partitions that are not complete in the file.
    pub(crate) partial: Vec<Partial>,
}

/// Writes the commands that make what `disk` holds to `out`: SELECT, SET, for filters and streams RESTORE, for
/// other collections the commands that add to them. Changes nothing on the disk.
///
/// # Errors
/// If the disk cannot be read, or `out` cannot be written.
pub(crate) fn extract(
    disk: Arc<dyn Disk>,
    now: Wall,
    out: &mut dyn Write,
) -> Result<Extracted, Box<dyn Error + Send + Sync>> {
    let plan = Plan::read_leniently(disk, Arc::new(Progress::default()))?;
    let mut rebuilt = Rebuilt { now, partitions: BTreeMap::new() };
    let partial = replay(&plan, &mut rebuilt)?;
    let mut writer = CommandWriter { out, now, db: 0, bytes: Vec::new(), done: Extracted::default() };
    let mut keys = BTreeMap::new();
    for (number, partition) in &rebuilt.partitions {
        let before = writer.done.keys;
        writer.partition(partition)?;
        keys.insert(*number, writer.done.keys - before);
    }
    let keys_of = |partition| keys.get(&partition).copied().unwrap_or_default();
    let partial = partial.into_iter().map(|one| Partial { keys: keys_of(one.partition), ..one });
    Ok(Extracted { partial: partial.collect(), ..writer.done })
}

/// Rebuilds all partitions as far as they are sound; those that are not complete, without their keys.
fn replay(plan: &Plan, rebuilt: &mut Rebuilt) -> Result<Vec<Partial>, RecoveryError> {
    let mut partial = BTreeMap::new();
    for (&partition, damage) in plan.refused() {
        partial.insert(partition, Partial { partition, keys: 0, left_out: 0, damage: Some(damage.clone()) });
    }
    let recovered = plan.replay(Share::ALL, rebuilt)?;
    let salvaged = plan.salvage(rebuilt)?;
    for one in recovered.into_iter().chain(salvaged) {
        let partition = one.partition.partition;
        if one.damage.is_some() || !one.partition.whole {
            let (left_out, damage) = (one.left_out, one.damage);
            partial.insert(partition, Partial { partition, keys: 0, left_out, damage });
        }
    }
    Ok(partial.into_values().collect())
}

/// Partitions without a node around them.
struct Rebuilt {
    now: Wall,
    partitions: BTreeMap<PartitionId, Partition>,
}

impl Rebuilt {
    /// Applies encoded effects; false if they are none, or nothing began the partition.
    fn apply(&mut self, partition: PartitionId, effects: &[u8]) -> bool {
        let Some(partition) = self.partitions.get_mut(&partition) else { return false };
        for effect in effect::decode(effects) {
            let Ok(effect) = effect else { return false };
            let hash = effect.key().map_or(0, |key| partition.hash(key));
            if !partition.apply(&effect, hash, self.now) {
                return false;
            }
        }
        drop(partition.take_garbage());
        true
    }
}

impl RecoverySink for Rebuilt {
    fn reset(&mut self, partition: PartitionId, _seq: Seq, _state: &[u8]) {
        self.partitions.insert(partition, Partition::new(HASH_SEED));
    }

    fn snapshot_chunk(&mut self, partition: PartitionId, _seq: Seq, effects: &[u8]) -> bool {
        self.apply(partition, effects)
    }

    fn record(&mut self, partition: PartitionId, _seq: Seq, effects: &[u8]) -> bool {
        self.apply(partition, effects)
    }

    fn state(&mut self, _partition: PartitionId, _state: &[u8]) {}
}

/// Writes partitions as commands.
struct CommandWriter<'a> {
    out: &'a mut dyn Write,
    now: Wall,
    /// The database that is selected.
    db: u8,
    bytes: Vec<u8>,
    done: Extracted,
}

impl CommandWriter<'_> {
    fn partition(&mut self, partition: &Partition) -> io::Result<()> {
        let mut outcome = Ok(());
        partition.for_each(&mut |effect| {
            if outcome.is_ok() {
                outcome = self.key(&effect);
            }
        });
        outcome
    }

    /// The command that makes the key.
    fn key(&mut self, effect: &Effect<'_>) -> io::Result<()> {
        let (db, expire_at) = match *effect {
            Effect::SetString { db, expire_at, .. }
            | Effect::SetFilter { db, expire_at, .. }
            | Effect::SetCollection { db, expire_at, .. } => (db, expire_at),
            _ => return Ok(()),
        };
        if expire_at.is_some_and(|at| at <= self.now) {
            self.done.expired += 1;
            return Ok(());
        }
        let deadline = expire_at.unwrap_or_default().0.to_string();
        self.done.keys += 1;
        match *effect {
            Effect::SetString { key, value, .. } => {
                let words = [&b"SET"[..], key, value, b"PXAT", deadline.as_bytes()];
                let count = if expire_at.is_some() { 5 } else { 3 };
                self.command(db, words.get(..count).unwrap_or(&words))
            }
            Effect::SetFilter { key, filter, .. } => match Filter::decode(filter) {
                Ok(whole) if !matches!(whole, Filter::Loading(_)) => {
                    self.restore(db, key, &deadline, &dump_filter(&whole))
                }
                _ => {
                    self.done.keys -= 1;
                    self.done.loading += 1;
                    Ok(())
                }
            },
            Effect::SetCollection { key, kind: Kind::Stream, elements, .. } => {
                // Only as a whole does a stream keep its groups with all that is pending.
                match dump_collection(Kind::Stream, elements) {
                    Some(payload) => self.restore(db, key, &deadline, &payload),
                    None => Ok(()),
                }
            }
            Effect::SetCollection { key, kind, elements, .. } => {
                self.collection(db, key, kind, elements)?;
                if expire_at.is_none() {
                    return Ok(());
                }
                self.command(db, &[b"PEXPIREAT", key, deadline.as_bytes()])
            }
            _ => Ok(()),
        }
    }

    fn restore(&mut self, db: u8, key: &[u8], deadline: &str, payload: &[u8]) -> io::Result<()> {
        self.command(db, &[b"RESTORE", key, deadline.as_bytes(), payload, b"REPLACE", b"ABSTTL"])
    }

    /// The commands that make a collection, of bounded length each.
    fn collection(&mut self, db: u8, key: &[u8], kind: Kind, elements: Elements<'_>) -> io::Result<()> {
        // A list's elements stand behind its revision.
        let (name, skipped): (&[u8], _) = match kind {
            Kind::Hash => (b"HSET", 0),
            Kind::List => (b"RPUSH", 1),
            Kind::Set => (b"SADD", 0),
            Kind::SortedSet => (b"ZADD", 0),
            Kind::Stream => return Ok(()),
        };
        self.command(db, &[b"DEL", key])?;
        let scores = if kind == Kind::SortedSet { score_texts(elements) } else { Vec::new() };
        let mut elements: Vec<&[u8]> = elements.iter().skip(skipped).collect();
        for (element, score) in elements.iter_mut().step_by(2).zip(&scores) {
            *element = score;
        }
        for part in elements.chunks(COMMAND_ELEMENTS_MAX) {
            let words: Vec<&[u8]> = [name, key].into_iter().chain(part.iter().copied()).collect();
            self.command(db, &words)?;
        }
        Ok(())
    }

    fn command(&mut self, db: u8, words: &[&[u8]]) -> io::Result<()> {
        self.bytes.clear();
        if db != self.db {
            protocol::encode_command(&mut self.bytes, &["SELECT", &db.to_string()]);
            self.db = db;
        }
        protocol::encode_command(&mut self.bytes, words);
        self.out.write_all(&self.bytes)
    }
}

/// The scores of a sorted set as ZADD takes them: the shortest digits that read back as the same number.
fn score_texts(elements: Elements<'_>) -> Vec<Vec<u8>> {
    let scores = elements.pairs().map(|(score, _)| {
        let mut text = Vec::new();
        let score = score.first_chunk().map_or(0.0, |bytes| f64::from_le_bytes(*bytes));
        protocol::format_double(score, &mut text);
        text
    });
    scores.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(effects: &[Effect<'_>], commands: &[&[&str]], expired: u64) {
        let mut partition = Partition::new(HASH_SEED);
        for effect in effects {
            let hash = effect.key().map_or(0, |key| partition.hash(key));
            assert!(partition.apply(effect, hash, Wall(1)), "{effect:?}");
        }
        let mut out = Vec::new();
        let done = Extracted::default();
        let mut writer = CommandWriter { out: &mut out, now: Wall(100), db: 0, bytes: Vec::new(), done };
        writer.partition(&partition).expect("memory takes everything");
        assert_eq!((writer.done.keys, writer.done.expired), (effects.len() as u64 - expired, expired));
        let mut expected = Vec::new();
        commands.iter().for_each(|words| protocol::encode_command(&mut expected, words));
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn keys_become_commands() {
        let set = |db, key, expire_at: Option<u64>| Effect::SetString {
            db,
            key,
            value: b"v",
            expire_at: expire_at.map(Wall),
        };
        check(&[set(0, b"k", None)], &[&["SET", "k", "v"]], 0);
        check(&[set(0, b"k", Some(100))], &[], 1);
        check(
            &[set(3, b"b", Some(101)), set(0, b"a", None)],
            &[&["SET", "a", "v"], &["SELECT", "3"], &["SET", "b", "v", "PXAT", "101"]],
            0,
        );
    }

    #[test]
    fn collections_become_commands() {
        let (half, infinite) = (0.5f64.to_le_bytes(), f64::INFINITY.to_le_bytes());
        let words: [&[u8]; 4] = [&infinite, b"b", &half, b"a"];
        let elements = Elements::words(&words);
        let kind = Kind::SortedSet;
        let set = Effect::SetCollection { db: 0, key: b"z", kind, elements, expire_at: Some(Wall(101)) };
        let commands: [&[&str]; 3] =
            [&["DEL", "z"], &["ZADD", "z", "0.5", "a", "inf", "b"], &["PEXPIREAT", "z", "101"]];
        check(&[set], &commands, 0);
        let elements = Elements::words(&[&[5, 0, 0, 0, 0, 0, 0, 0], b"a", b"b"]);
        let set = Effect::SetCollection { db: 0, key: b"l", kind: Kind::List, elements, expire_at: None };
        check(&[set], &[&["DEL", "l"], &["RPUSH", "l", "a", "b"]], 0);
    }

    #[test]
    fn a_stream_is_restored_as_a_whole() {
        let (id, fields) = (effect::StreamId { ms: 1, seq: 0 }, Elements::words(&[b"f", b"v"]));
        let change = effect::StreamChange::Append { id, fields };
        let mut out = Vec::new();
        let mut partition = Partition::new(HASH_SEED);
        partition.apply(&Effect::ChangeStream { db: 0, key: b"s", change }, partition.hash(b"s"), Wall(1));
        let done = Extracted::default();
        let mut writer = CommandWriter { out: &mut out, now: Wall(100), db: 0, bytes: Vec::new(), done };
        writer.partition(&partition).expect("memory takes everything");
        assert!(out.starts_with(b"*6\r\n$7\r\nRESTORE\r\n$1\r\ns\r\n$1\r\n0\r\n"));
        assert!(out.ends_with(b"$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n"));
    }
}

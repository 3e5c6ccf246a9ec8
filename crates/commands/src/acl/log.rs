//! The log of refused commands and failed authentications (`ACL LOG`), of one node.
//!
//! As in Redis, what is refused again within a minute for the same reason is counted in the entry that is there, which
//! becomes the newest.

use super::check::Denial;
use super::selector::Reason;
use protocol::Reply;
use std::collections::VecDeque;
use stdx::Wall;

/// Entries are merged if they are at most so far apart.
const MERGE_MS_MAX: u64 = 60_000;
/// How many of the newest entries are looked at for one to merge with.
const MERGE_LOOK: usize = 10;

/// Where a command came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogContext {
    /// A connection.
    Toplevel,
    /// A transaction.
    Multi,
    /// A script.
    Lua,
}

impl LogContext {
    fn name(self) -> &'static str {
        match self {
            LogContext::Toplevel => "toplevel",
            LogContext::Multi => "multi",
            LogContext::Lua => "lua",
        }
    }
}

/// What is to be logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// The command's name, the key or the channel; for authentication, the name of the command that tried.
    pub object: Vec<u8>,
    /// The user, or the name that was tried.
    pub user: Vec<u8>,
    /// Where it came from.
    pub context: LogContext,
    /// The client as `CLIENT LIST` prints it, without the newline.
    pub client: String,
}

impl Refused {
    /// A command that was refused to a user.
    pub fn command(denial: &Denial, user: &[u8], context: LogContext, client: String) -> Refused {
        Refused { reason: denial.reason, object: denial.object.clone(), user: user.to_vec(), context, client }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    refused: Refused,
    count: u64,
    id: u64,
    created: Wall,
    updated: Wall,
}

/// The entries, newest first.
#[derive(Clone, Debug, Default)]
pub struct AclLog {
    entries: VecDeque<Entry>,
    next_id: u64,
}

impl AclLog {
    /// Adds an entry, or counts it in one that is there; at most `entries_max` are kept.
    pub fn add(&mut self, refused: Refused, now: Wall, entries_max: usize) {
        let is_same = |entry: &Entry| {
            let old = &entry.refused;
            entry.updated.0.abs_diff(now.0) <= MERGE_MS_MAX
                && (old.reason, old.context) == (refused.reason, refused.context)
                && (&old.object, &old.user) == (&refused.object, &refused.user)
        };
        let found = self.entries.iter().take(MERGE_LOOK).position(is_same);
        if let Some(mut entry) = found.and_then(|at| self.entries.remove(at)) {
            entry.refused.client = refused.client;
            (entry.count, entry.updated) = (entry.count + 1, now);
            self.entries.push_front(entry);
            return;
        }
        self.entries.push_front(Entry { refused, count: 1, id: self.next_id, created: now, updated: now });
        self.next_id += 1;
        self.entries.truncate(entries_max);
    }

    /// Forgets all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Writes the newest `count` entries.
    pub fn write(&self, count: usize, now: Wall, reply: &mut Reply<'_>) {
        reply.array(self.entries.len().min(count));
        for Entry { refused, count, id, created, updated } in self.entries.iter().take(count) {
            reply.map(10);
            reply.bulk(b"count");
            reply.integer(count.cast_signed());
            reply.bulk(b"reason");
            reply.bulk(match refused.reason {
                Reason::Command => b"command",
                Reason::Key => b"key",
                Reason::Auth => b"auth",
                Reason::Channel => b"channel",
            });
            reply.bulk(b"context");
            reply.bulk(refused.context.name().as_bytes());
            reply.bulk(b"object");
            reply.bulk(&refused.object);
            reply.bulk(b"username");
            reply.bulk(&refused.user);
            reply.bulk(b"age-seconds");
            reply.double(now.0.saturating_sub(updated.0) as f64 / 1_000.0);
            reply.bulk(b"client-info");
            reply.bulk(refused.client.as_bytes());
            reply.bulk(b"entry-id");
            reply.integer(id.cast_signed());
            reply.bulk(b"timestamp-created");
            reply.integer(created.0.cast_signed());
            reply.bulk(b"timestamp-last-updated");
            reply.integer(updated.0.cast_signed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(object: &str) -> Refused {
        Refused {
            reason: Reason::Key,
            object: object.into(),
            user: b"u".to_vec(),
            context: LogContext::Toplevel,
            client: "id=1".to_owned(),
        }
    }

    #[test]
    fn merged_within_a_minute() {
        let mut log = AclLog::default();
        let order = |log: &AclLog| {
            let of = |entry: &Entry| {
                (String::from_utf8_lossy(&entry.refused.object).into_owned(), entry.count, entry.id)
            };
            log.entries.iter().map(of).collect::<Vec<_>>()
        };
        log.add(refused("a"), Wall(1), 3);
        log.add(refused("b"), Wall(2), 3);
        log.add(refused("a"), Wall(60_001), 3);
        assert_eq!(order(&log), [("a".into(), 2, 0), ("b".into(), 1, 1)]);
        log.add(refused("b"), Wall(60_003), 3);
        assert_eq!(order(&log), [("b".into(), 1, 2), ("a".into(), 2, 0), ("b".into(), 1, 1)]);
        log.add(refused("c"), Wall(60_003), 3);
        assert_eq!(log.entries.len(), 3);
    }
}

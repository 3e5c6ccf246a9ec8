//! A follower: applies the primary's stream to its copy and says how far it got.

use crate::log::Log;
use crate::message::Message;
use effect::Record;
use stdx::{Epoch, Seq};

/// The store behind a follower.
pub trait Applier {
    /// Drops everything.
    fn clear(&mut self);
    /// Applies encoded effects; false if they are corrupt.
    fn apply(&mut self, effects: &[u8]) -> bool;
}

/// How whole the follower's copy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// A whole copy up to its last record.
    Usable,
    /// A sync is under way; the copy must not be offered to anybody.
    Syncing,
}

/// One partition's follower (an in-sync replica or a learner: it cannot tell, and need not).
#[derive(Debug)]
pub struct Follower {
    reign: Epoch,
    stage: Stage,
    log: Log,
    committed: u64,
}

impl Follower {
    /// Follows the primary of `reign`, starting from a copy that ends with `log`.
    pub fn new(reign: Epoch, log: Log, stage: Stage) -> Follower {
        let committed = log.base_counter();
        Follower { reign, stage, log, committed }
    }

    /// The reign this follower obeys.
    pub fn reign(&self) -> Epoch {
        self.reign
    }

    /// How whole the copy is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Last record applied.
    pub fn last(&self) -> Seq {
        self.log.last()
    }

    /// Gives up the role; the log and stage are what the next role starts from.
    pub fn into_parts(self) -> (Log, Stage) {
        (self.log, self.stage)
    }

    /// Takes one message of the primary and returns the answer, if it wants one.
    pub fn step(&mut self, message: Message, copy: &mut dyn Applier) -> Option<Message> {
        let theirs = match &message {
            Message::Attach { reign, .. }
            | Message::Records { reign, .. }
            | Message::SyncBegin { reign, .. }
            | Message::Chunk { reign, .. } => *reign,
            // Answers to a primary; this partition has another role here now.
            Message::Position { .. }
            | Message::Ack { .. }
            | Message::Fenced { .. }
            | Message::Behind { .. } => {
                return None;
            }
        };
        if theirs < self.reign {
            return Some(Message::Fenced { reign: self.reign });
        }
        if theirs > self.reign {
            return Some(Message::Behind { reign: self.reign });
        }
        match message {
            Message::Attach { .. } => Some(self.position()),
            Message::Records { committed, records, .. } => self.records(committed, records, copy),
            Message::SyncBegin { at, .. } => {
                copy.clear();
                self.log = Log::starting_after(at);
                self.stage = Stage::Syncing;
                None
            }
            Message::Chunk { effects, done, .. } => self.chunk(&effects, done, copy),
            _ => None,
        }
    }

    fn position(&self) -> Message {
        Message::Position { reign: self.reign, last: self.log.last(), usable: self.stage == Stage::Usable }
    }

    fn records(&mut self, committed: u64, records: Vec<Record>, copy: &mut dyn Applier) -> Option<Message> {
        for record in records {
            let expected = self.log.last().counter + 1;
            if record.seq.counter < expected {
                continue;
            }
            if record.seq.counter > expected || !copy.apply(&record.effects) {
                // A hole or corruption: the copy is not what the stream assumes. Ask to be attached anew.
                self.stage = Stage::Syncing;
                return Some(self.position());
            }
            self.log.push(record);
        }
        self.committed = self.committed.max(committed);
        self.log.trim(self.committed);
        Some(Message::Ack { reign: self.reign, counter: self.log.last().counter, chunks: 0 })
    }

    fn chunk(&mut self, effects: &[u8], done: bool, copy: &mut dyn Applier) -> Option<Message> {
        if self.stage != Stage::Syncing {
            return Some(self.position());
        }
        if !copy.apply(effects) {
            return Some(self.position());
        }
        if done {
            self.stage = Stage::Usable;
        }
        Some(Message::Ack { reign: self.reign, counter: self.log.last().counter, chunks: 1 })
    }
}

//! A follower: applies the primary's stream to its copy and says how far it got.

use crate::difference::{Span, SpanDigest, salt};
use crate::log::Log;
use crate::message::Message;
use crate::records::Records;
use stdx::{Epoch, Seq};

/// The store behind a follower.
pub trait Applier {
    /// How the keys held are ordered, for comparing: copies with one number have every key at the same place. 0 if
    /// nothing is held.
    fn order(&self) -> u64;
    /// A copy comes now, in pieces with the records after `at` between them. Drops everything, unless it is to `keep` what
    /// will be compared.
    fn begin(&mut self, at: Seq, keep: bool);
    /// Compares what is held with these spans, which follow each other from `from` on: how far it came, at least a little, and
    /// where they differ. What is held there will be replaced; what is equal belongs to the copy as it is now.
    fn compare(&mut self, from: u64, spans: &[SpanDigest], salt: u64) -> (u64, Vec<Span>);
    /// Applies the effects of a record; false if they are corrupt.
    fn record(&mut self, seq: Seq, effects: &[u8]) -> bool;
    /// Removes what `replaces` covers and applies a piece of the copy, which is complete if this is the last; false if it
    /// is corrupt.
    fn chunk(&mut self, replaces: Option<Span>, effects: &[u8], is_last: bool) -> bool;
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
    /// The stream it listens to: the one attached last.
    stream: u64,
    /// It has complained about the stream and ignores the rest of it.
    broken: bool,
    stage: Stage,
    log: Log,
    committed: u64,
}

impl Follower {
    /// Follows the primary of `reign`, starting from a copy that ends with `log`.
    pub fn new(reign: Epoch, log: Log, stage: Stage) -> Follower {
        let committed = log.base_counter();
        Follower { reign, stream: 0, broken: false, stage, log, committed }
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
    pub fn step(&mut self, message: Message<'_>, copy: &mut dyn Applier) -> Option<Message<'static>> {
        // Answers to a primary find nobody: this partition has another role here now.
        let (theirs, stream) = message.sent_by_primary()?;
        if theirs < self.reign {
            return Some(Message::Fenced { reign: self.reign });
        }
        if theirs > self.reign {
            return Some(Message::Behind { reign: self.reign, stream });
        }
        if matches!(message, Message::Attach { .. }) && stream >= self.stream {
            (self.stream, self.broken) = (stream, false);
            return Some(self.position(copy));
        }
        if stream > self.stream {
            // Attached before this node, in the same reign, lost the role and got it again.
            self.stream = stream;
            return self.complain(copy);
        }
        if stream < self.stream || self.broken {
            return None;
        }
        match message {
            Message::Records { committed, records, .. } => self.records(committed, &records, copy),
            Message::SyncBegin { at, keep, .. } => {
                copy.begin(at, keep);
                self.log = Log::starting_after(at);
                self.stage = Stage::Syncing;
                None
            }
            Message::Compare { from, spans, .. } => self.compare(from, &spans, copy),
            Message::Chunk { replaces, effects, done, .. } => self.chunk(replaces, &effects, done, copy),
            _ => None,
        }
    }

    fn position(&self, copy: &dyn Applier) -> Message<'static> {
        let (usable, order) = (self.stage == Stage::Usable, copy.order());
        Message::Position { reign: self.reign, stream: self.stream, last: self.log.last(), usable, order }
    }

    /// The stream does not fit the copy: says so once and waits to be attached anew.
    fn complain(&mut self, copy: &dyn Applier) -> Option<Message<'static>> {
        self.broken = true;
        Some(self.position(copy))
    }

    fn records(
        &mut self,
        committed: u64,
        records: &Records<'_>,
        copy: &mut dyn Applier,
    ) -> Option<Message<'static>> {
        for (seq, effects) in records.iter() {
            let expected = self.log.last().counter + 1;
            if seq.counter < expected {
                continue;
            }
            if seq.counter > expected {
                // A hole. What is held is as whole as before, and may be all that is left if the primary dies now.
                return self.complain(copy);
            }
            if !copy.record(seq, effects) {
                self.stage = Stage::Syncing;
                return self.complain(copy);
            }
            self.log.push(seq, effects);
        }
        self.committed = self.committed.max(committed);
        self.log.trim(self.committed);
        Some(self.ack(0))
    }

    fn compare(
        &mut self,
        from: u64,
        spans: &[SpanDigest],
        copy: &mut dyn Applier,
    ) -> Option<Message<'static>> {
        if self.stage != Stage::Syncing {
            return self.complain(copy);
        }
        let (reached, spans) = copy.compare(from, spans, salt(self.reign, self.stream));
        Some(Message::Differing { reign: self.reign, stream: self.stream, reached, spans })
    }

    fn chunk(
        &mut self,
        replaces: Option<Span>,
        effects: &[u8],
        done: bool,
        copy: &mut dyn Applier,
    ) -> Option<Message<'static>> {
        if self.stage != Stage::Syncing || !copy.chunk(replaces, effects, done) {
            return self.complain(copy);
        }
        if done {
            self.stage = Stage::Usable;
        }
        Some(self.ack(1))
    }

    fn ack(&self, chunks: u32) -> Message<'static> {
        Message::Ack { reign: self.reign, stream: self.stream, counter: self.log.last().counter, chunks }
    }
}

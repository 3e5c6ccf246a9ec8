//! A client connection without its socket: bytes in, bytes out, replies in order.
//!
//! Replies are written in the order of their commands. A command whose reply cannot be written yet (forwarded,
//! waiting for its commit, held back) takes a slot; later replies queue behind it. While no slot is open, replies go
//! straight to the output, which is the usual case.

use crate::frame::Words;
use crate::partition::WatchToken;
use commands::Command;
use commands::session::{ReplyMode, Session};
use protocol::{Args as ParsedArgs, Parser};
use smallvec::SmallVec;
use std::collections::VecDeque;
use stdx::Mono;

/// Most replies of one connection that may be open at once; parsing stops above it.
pub(crate) const OPEN_REPLIES_MAX: usize = 16 * 1024;
/// A buffer that is empty and larger than this is given back.
pub(crate) const BUFFER_KEEP_BYTES: usize = 64 * 1024;

/// A reply that is not written yet: most are short.
pub(crate) type HeldReply = SmallVec<[u8; 24]>;

/// One reply that could not be written at once, or stands behind such a one.
#[derive(Debug)]
pub(crate) enum Slot {
    /// Known; waits for the slots before it.
    Ready(HeldReply),
    /// Known; waits for so many commits.
    Gated { reply: HeldReply, gates: u32 },
    /// Not known yet: forwarded or gathered.
    Waiting,
    /// Not known yet: held back in the worker; nothing behind it may run.
    Held,
    /// As `Waiting` or `Held`, but the reply is to be thrown away (`CLIENT REPLY OFF`).
    Discarded { held: bool },
}

/// A queued command of a transaction.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) command: &'static Command,
    pub(crate) db: u8,
    pub(crate) words: Words,
}

/// MULTI's queue.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) queue: Vec<Queued>,
    /// A command was refused while queueing: EXEC aborts.
    pub(crate) spoiled: bool,
    /// Database after the SELECTs queued so far.
    pub(crate) db: u8,
}

/// A watched key.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) db: u8,
    pub(crate) key: Vec<u8>,
    pub(crate) token: WatchToken,
}

/// Foretells the slots that [`Connection::reply`] and [`Connection::gate`] will give to replies not handed over yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RepliesToCome {
    next: u64,
    /// A slot is open, so that a reply that is ready takes one as well.
    open: bool,
    /// The last slot is ready: another ready reply joins it.
    joins: bool,
}

impl RepliesToCome {
    /// For a request of another node, whose reply is known by the request's id.
    pub(crate) fn by_id(id: u64) -> RepliesToCome {
        RepliesToCome { next: id, open: true, joins: false }
    }

    /// The slot that the next reply gets if it has to wait.
    #[inline(always)]
    pub(crate) fn gated(&self) -> u64 {
        self.next
    }

    /// The next reply is known to wait, or not.
    #[inline(always)]
    pub(crate) fn answered(&mut self, waits: bool) {
        if !waits && !self.open {
            return;
        }
        self.next += u64::from(waits || (self.open && !self.joins));
        self.joins = !waits && self.open;
        self.open |= waits;
    }
}

/// The state of one client connection.
pub(crate) struct Connection {
    pub(crate) session: Session,
    /// Bytes received and not yet consumed.
    pub(crate) input: Vec<u8>,
    /// Bytes to send.
    pub(crate) output: Vec<u8>,
    pub(crate) parser: Parser,
    pub(crate) parsed: ParsedArgs,
    slots: VecDeque<Slot>,
    first_slot: u64,
    /// Replies that are not known yet and not held back: forwarded or gathered.
    pub(crate) in_flight: u32,
    /// Map version under which those were routed.
    pub(crate) in_flight_version: u64,
    /// Commands held back.
    pub(crate) held: u32,
    pub(crate) transaction: Option<Transaction>,
    pub(crate) watches: Vec<Watched>,
    /// Read no more; close once the output is sent.
    pub(crate) closing: bool,
    /// Close as soon as the output is sent, without waiting for open replies.
    pub(crate) killed: bool,
    /// Has input to look at again once it is no longer stalled.
    pub(crate) stalled: bool,
    /// In the worker's list of connections to flush.
    pub(crate) flush_queued: bool,
    /// Until when its output waits for the replies behind it; see `worker::connections`.
    pub(crate) corked: Option<Mono>,
    /// Its record for CLIENT LIST is out of date.
    pub(crate) active: bool,
}

impl Connection {
    pub(crate) fn new(session: Session) -> Connection {
        Connection {
            session,
            input: Vec::new(),
            output: Vec::new(),
            parser: Parser::new(),
            parsed: ParsedArgs::new(),
            slots: VecDeque::new(),
            first_slot: 0,
            in_flight: 0,
            in_flight_version: 0,
            held: 0,
            transaction: None,
            watches: Vec::new(),
            closing: false,
            killed: false,
            stalled: false,
            flush_queued: false,
            corked: None,
            active: true,
        }
    }

    /// Whether replies may go straight to the output.
    pub(crate) fn is_direct(&self) -> bool {
        self.slots.is_empty()
    }

    /// The number the next slot will have.
    pub(crate) fn next_slot(&self) -> u64 {
        self.first_slot + self.slots.len() as u64
    }

    pub(crate) fn open_replies(&self) -> usize {
        self.slots.len()
    }

    /// The slots of the replies that come next.
    pub(crate) fn replies_to_come(&self) -> RepliesToCome {
        RepliesToCome {
            next: self.next_slot(),
            open: !self.is_direct(),
            joins: matches!(self.slots.back(), Some(Slot::Ready(_))),
        }
    }

    /// Moves on `CLIENT REPLY SKIP`; true if the reply of the command that has just run is to be thrown away.
    /// `before` is the mode in which the command began.
    pub(crate) fn discards(&mut self, before: ReplyMode) -> bool {
        match (before, self.session.reply_mode) {
            // CLIENT REPLY itself answers only when it switches on.
            (ReplyMode::SkipNow, ReplyMode::SkipNow) => {
                self.session.reply_mode = ReplyMode::On;
                true
            }
            (_, ReplyMode::SkipNext) => {
                self.session.reply_mode = ReplyMode::SkipNow;
                true
            }
            (_, ReplyMode::Off) => true,
            _ => false,
        }
    }

    /// Puts a reply in its place: `reply` was written for the command that has just run.
    pub(crate) fn reply(&mut self, reply: &[u8]) {
        match self.slots.back_mut() {
            None => self.output.extend_from_slice(reply),
            Some(Slot::Ready(bytes)) => bytes.extend_from_slice(reply),
            Some(_) => self.slots.push_back(Slot::Ready(HeldReply::from_slice(reply))),
        }
    }

    /// Opens a slot for a reply that is known but has to wait.
    pub(crate) fn gate(&mut self, reply: &[u8], gates: u32) {
        self.slots.push_back(Slot::Gated { reply: HeldReply::from_slice(reply), gates });
    }

    /// Opens a slot for a reply that is not known yet.
    pub(crate) fn await_reply(&mut self, held: bool, discard: bool) {
        self.slots.push_back(match (discard, held) {
            (true, held) => Slot::Discarded { held },
            (false, true) => Slot::Held,
            (false, false) => Slot::Waiting,
        });
        if held {
            self.held += 1;
        } else {
            self.in_flight += 1;
        }
    }

    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        let index = usize::try_from(number.checked_sub(self.first_slot)?).ok()?;
        self.slots.get_mut(index)
    }

    /// A forwarded command comes back unexecuted and is held now, or a held one is under way again.
    pub(crate) fn set_held(&mut self, number: u64, now_held: bool) {
        let changed = match self.slot(number) {
            Some(slot @ Slot::Waiting) if now_held => {
                *slot = Slot::Held;
                true
            }
            Some(slot @ Slot::Held) if !now_held => {
                *slot = Slot::Waiting;
                true
            }
            Some(Slot::Discarded { held }) if *held != now_held => {
                *held = now_held;
                true
            }
            _ => false,
        };
        if changed && now_held {
            self.held += 1;
            self.in_flight -= 1;
        } else if changed {
            self.held -= 1;
            self.in_flight += 1;
        }
    }

    /// The reply of a slot has become known; with `gates`, it still waits for so many commits.
    pub(crate) fn fill(&mut self, number: u64, reply: HeldReply, gates: u32) {
        let Some(slot) = self.slot(number) else { return };
        let (was_held, discard) = match slot {
            Slot::Waiting => (false, false),
            Slot::Held => (true, false),
            Slot::Discarded { held } => (*held, true),
            Slot::Ready(_) | Slot::Gated { .. } => return,
        };
        *slot = if discard {
            Slot::Ready(HeldReply::new())
        } else if gates > 0 {
            Slot::Gated { reply, gates }
        } else {
            Slot::Ready(reply)
        };
        if was_held {
            self.held -= 1;
        } else {
            self.in_flight -= 1;
        }
        self.advance();
    }

    /// As [`Connection::fill`] with a reply that stands somewhere else: the first in line goes straight to the output.
    pub(crate) fn fill_from(&mut self, number: u64, reply: &[u8]) {
        if number == self.first_slot && matches!(self.slots.front(), Some(Slot::Waiting)) {
            self.slots.pop_front();
            self.first_slot += 1;
            self.in_flight -= 1;
            self.output.extend_from_slice(reply);
            self.advance();
        } else {
            self.fill(number, HeldReply::from_slice(reply), 0);
        }
    }

    /// One of the commits a slot waits for has happened.
    pub(crate) fn release(&mut self, number: u64) {
        if let Some(slot @ Slot::Gated { .. }) = self.slot(number) {
            let Slot::Gated { reply, gates } = slot else { return };
            *gates -= 1;
            if *gates == 0 {
                *slot = Slot::Ready(std::mem::take(reply));
            }
        }
        self.advance();
    }

    /// The reply of a gated slot can no longer be given.
    pub(crate) fn fail(&mut self, number: u64, error: &[u8]) {
        if let Some(slot @ Slot::Gated { .. }) = self.slot(number) {
            // Only a discarded reply is empty, and stays so (`CLIENT REPLY OFF`).
            let discarded = matches!(slot, Slot::Gated { reply, .. } if reply.is_empty());
            *slot = Slot::Ready(if discarded { HeldReply::new() } else { HeldReply::from_slice(error) });
        }
        self.advance();
    }

    /// Moves finished slots from the front to the output.
    fn advance(&mut self) {
        while let Some(Slot::Ready(bytes)) = self.slots.front() {
            self.output.extend_from_slice(bytes);
            self.slots.pop_front();
            self.first_slot += 1;
        }
    }
}

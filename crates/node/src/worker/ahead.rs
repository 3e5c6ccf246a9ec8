//! Parsing ahead: the commands that have arrived are parsed together and their keys warmed up before the first runs.
//!
//! A look-up in a large table is two cache misses in a row. Taken one by one, commands pay them one after the other;
//! asked for together, the misses overlap. So the commands of a pipeline, and those of all connections on which
//! something has arrived in a turn, are parsed into one list of *steps*; then the keys' places in their tables are
//! prefetched for all of them, then their entries; then each connection runs its steps. Nothing but time depends on
//! it: a warmed key may be gone, or its partition elsewhere, when its command runs.

use super::Worker;
use crate::cells::Wandering;
use crate::connection::Connection;
use crate::spot::Spot;
use crate::target::Key;
use commands::{Args, Command, Run};
use protocol::{Args as ParsedArgs, Limits as ParseLimits, Parsed, Parser, ProtocolError};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::ops::Range;
use stdx::PartitionId;
use store::Warm;

/// Most commands parsed ahead.
const COMMANDS_MAX: usize = 64;
/// Most keys warmed up at once: a few cache lines each have to fit the first cache.
const KEYS_MAX: usize = 256;

/// Words that most commands have at most.
pub(super) const FEW_WORDS: usize = 6;

/// Room for the words of one command.
pub(super) type Words<'a> = SmallVec<[&'a [u8]; 16]>;

/// Commands parsed and not yet run.
#[derive(Default)]
pub(super) struct Ahead {
    parsed: Vec<ParsedArgs>,
    steps: Vec<Step>,
    spots: Vec<Spot>,
    /// Connections whose commands these are, in the order in which they will be run.
    seats: VecDeque<Seat>,
    /// For connections that are only looked at.
    scratch: ParsedArgs,
}

/// One command.
#[derive(Clone)]
pub(super) struct Step {
    /// Its row; `None` if there is none, and `commands::find` says why.
    pub(super) command: Option<&'static Command>,
    /// See [`Command::is_brief`].
    pub(super) brief: bool,
    /// Where it stands in the input.
    pub(super) span: Range<usize>,
    /// Its keys among the spots; fewer than it has if there was no room.
    spots: Range<usize>,
}

/// The commands of one connection.
pub(super) struct Seat {
    key: Key,
    pub(super) steps: Range<usize>,
    pub(super) tail: Tail,
    /// Where the input goes on if there are no steps: behind empty lines.
    pub(super) at: usize,
}

/// What comes behind the commands that were parsed.
pub(super) enum Tail {
    /// Perhaps more.
    Open,
    /// The beginning of one that has not arrived in full.
    Incomplete,
    /// Something that is not a command.
    Broken(ProtocolError),
}

impl Ahead {
    /// Forgets what was parsed and not run.
    fn clear(&mut self) {
        self.steps.clear();
        self.spots.clear();
        self.seats.clear();
    }

    /// What was parsed for this connection.
    pub(super) fn take_seat(&mut self, key: Key) -> Option<Seat> {
        let index = self.seats.iter().position(|seat| seat.key == key)?;
        self.seats.remove(index)
    }

    #[inline]
    pub(super) fn step(&self, index: usize) -> Option<&Step> {
        self.steps.get(index)
    }

    /// The places of a step's keys, in their order.
    #[inline]
    pub(super) fn spots(&self, step: &Step) -> &[Spot] {
        self.spots.get(step.spots.clone()).unwrap_or_default()
    }

    /// The words of a step, if they are few.
    #[inline]
    pub(super) fn few_words<'w, 'a>(
        &'a self,
        index: usize,
        input: &'a [u8],
        room: &'w mut [&'a [u8]; FEW_WORDS],
    ) -> Option<&'w [&'a [u8]]> {
        let (parsed, step) = (self.parsed.get(index)?, self.steps.get(index)?);
        let source = input.get(step.span.start..)?;
        let words = room.get_mut(..parsed.len())?;
        for (place, word) in words.iter_mut().enumerate() {
            *word = parsed.get(source, place)?;
        }
        Some(words)
    }

    /// Replaces the content of `words` by those of a step.
    #[inline]
    pub(super) fn words<'a>(&'a self, index: usize, input: &'a [u8], words: &mut Words<'a>) {
        words.clear();
        if let (Some(parsed), Some(step)) = (self.parsed.get(index), self.steps.get(index)) {
            parsed.fill(input.get(step.span.start..).unwrap_or_default(), words);
        }
    }

    /// Parses up to `most` commands of `input` from `at` on. `partial` holds the words of a first command that has
    /// arrived in part, now or earlier.
    fn parse(
        &mut self,
        key: Key,
        (parser, partial): (&mut Parser, &mut ParsedArgs),
        (input, mut at): (&[u8], usize),
        limits: &ParseLimits,
        most: usize,
    ) {
        let first = self.steps.len();
        let mut end = at;
        let mut tail = Tail::Open;
        while self.steps.len() < first.saturating_add(most).min(COMMANDS_MAX) {
            let index = self.steps.len();
            if self.parsed.len() == index {
                self.parsed.push(ParsedArgs::new());
            }
            let parsed = if index == first { &mut *partial } else { &mut self.parsed[index] };
            match parser.parse(input.get(end..).unwrap_or_default(), parsed, limits) {
                Ok(Parsed::Command { consumed }) => {
                    if index == first {
                        std::mem::swap(partial, &mut self.parsed[index]);
                        partial.clear();
                    }
                    self.steps.push(Step {
                        command: None,
                        brief: false,
                        span: end..end + consumed,
                        spots: 0..0,
                    });
                    end += consumed;
                }
                Ok(Parsed::Empty { consumed }) => {
                    end += consumed;
                    match self.steps.get_mut(first..).and_then(<[Step]>::last_mut) {
                        Some(step) => step.span.end = end,
                        None => at = end,
                    }
                }
                Ok(Parsed::Incomplete { .. }) => {
                    if index > first {
                        std::mem::swap(partial, &mut self.parsed[index]);
                    }
                    tail = Tail::Incomplete;
                    break;
                }
                Err(error) => {
                    tail = Tail::Broken(error);
                    break;
                }
            }
        }
        self.seats.push_back(Seat { key, steps: first..self.steps.len(), tail, at });
    }

    /// Finds the row of every step from `first` on, and with `place` where its keys are.
    fn plan(&mut self, first: usize, input: &[u8], place: impl Fn(&[u8]) -> Option<Spot>) {
        let Ahead { parsed, steps, spots, .. } = self;
        let mut words: Words<'_> = SmallVec::new();
        // Most commands of a pipeline are the same as the one before.
        let mut former: Option<(&[u8], usize, &'static Command)> = None;
        for (parsed, step) in parsed.iter().zip(steps.iter_mut()).skip(first) {
            let source = input.get(step.span.start..).unwrap_or_default();
            let Some(name) = parsed.get(source, 0) else { continue };
            let command = match former {
                Some((other, len, command)) if other == name && len == parsed.len() => command,
                _ => {
                    parsed.fill(source, &mut words);
                    let Ok(command) = commands::find(Args::new(&words)) else { continue };
                    // What a container's second word is for is not in the name.
                    former = (!command.name.contains('|')).then_some((name, words.len(), command));
                    command
                }
            };
            (step.command, step.brief) = (Some(command), command.is_brief());
            let start = spots.len();
            if step.brief {
                spots.extend(parsed.get(source, 1).and_then(&place));
            } else if matches!(command.run, Run::Read(_) | Run::Write(_) | Run::Fanout { .. }) {
                parsed.fill(source, &mut words);
                let args = Args::new(&words);
                let keys = command.key_positions(args).filter_map(|index| args.get(index));
                spots.extend(keys.take(KEYS_MAX.saturating_sub(start)).map_while(&place));
            }
            step.spots = start..spots.len();
        }
    }
}

impl Worker {
    /// Parses what has arrived on several connections and warms their keys up: for as many of them, from the first on,
    /// as there is room for. [`Worker::process`] is to be called for each of them next, in this order.
    pub fn prepare(&mut self, keys: &[Key]) -> usize {
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.clear();
        let (mut prepared, mut scratch) = (0, std::mem::take(&mut ahead.scratch));
        for &key in keys {
            if ahead.steps.len() >= COMMANDS_MAX || ahead.spots.len() >= KEYS_MAX {
                break;
            }
            prepared += 1;
            let Some(Some(connection)) = self.connections.get(key) else { continue };
            // A parser of its own: if the connection is not processed after all, nothing has happened to it.
            if connection.parser.is_at_start() {
                let own = (&mut Parser::new(), &mut scratch);
                self.look_ahead(&mut ahead, key, connection, own, (&connection.input, 0));
            }
        }
        ahead.scratch = scratch;
        self.warm_up(&ahead);
        self.ahead = ahead;
        prepared
    }

    /// Parses what has arrived on one connection and warms its keys up.
    pub(super) fn look_at(
        &self,
        ahead: &mut Ahead,
        key: Key,
        connection: &mut Connection,
        input: &[u8],
        at: usize,
    ) -> Seat {
        ahead.clear();
        let (mut parser, mut partial) =
            (std::mem::take(&mut connection.parser), std::mem::take(&mut connection.parsed));
        self.look_ahead(ahead, key, connection, (&mut parser, &mut partial), (input, at));
        (connection.parser, connection.parsed) = (parser, partial);
        if ahead.spots.len() > 1 {
            self.warm_up(ahead);
        }
        ahead.seats.pop_front().expect("one connection was looked at")
    }

    fn look_ahead(
        &self,
        ahead: &mut Ahead,
        key: Key,
        connection: &Connection,
        parser: (&mut Parser, &mut ParsedArgs),
        (input, at): (&[u8], usize),
    ) {
        let limits = self.parse_limits(connection);
        // Authenticating changes the limits of what follows.
        let most = if connection.session.authenticated { usize::MAX } else { 1 };
        let first = ahead.steps.len();
        ahead.parse(key, parser, (input, at), &limits, most);
        let (partitions, db) = (self.routing.partitions(), connection.session.db);
        ahead.plan(first, input, |key| {
            (partitions > 0).then(|| Spot {
                db,
                partition: PartitionId::of_key(key, partitions),
                hash: self.shared.hash(key),
            })
        });
    }

    /// Brings the keys of the steps closer, those of partitions that this node is primary of.
    fn warm_up(&self, ahead: &Ahead) {
        self.warm(ahead.spots.iter().filter(|spot| self.routing.own_reign(spot.partition).is_some()));
    }

    /// Brings keys closer: their places in the tables, then their entries.
    pub(super) fn warm<'s>(&self, spots: impl Iterator<Item = &'s Spot> + Clone) {
        if let Some(states) = self.cells.try_lock_all() {
            let warm =
                |spot: &Spot| states.get(usize::from(spot.partition.0))?.store.warm(spot.db, spot.hash);
            let warm: SmallVec<[Warm<'_>; KEYS_MAX]> = spots.filter_map(warm).collect();
            warm.iter().for_each(|warm| warm.prefetch_entry());
            return;
        }
        let mut lock = Wandering::default();
        for spot in spots.clone() {
            if let Some(state) = lock.try_go(&self.cells, spot.partition) {
                state.store.warm(spot.db, spot.hash);
            }
        }
        for spot in spots {
            // What is found cannot be kept while the lock wanders: walked to again, and close by now.
            if let Some(state) = lock.try_go(&self.cells, spot.partition)
                && let Some(warm) = state.store.warm(spot.db, spot.hash)
            {
                warm.prefetch_entry();
            }
        }
    }
}

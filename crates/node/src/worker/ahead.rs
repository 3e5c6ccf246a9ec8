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
use crate::routing::Routing;
use crate::spot::Spot;
use crate::target::Key;
use commands::{Command, Express, Run};
use protocol::{Args as ParsedArgs, Limits as ParseLimits, Parsed, Parser, ProtocolError};
use protocol::{Shape, ShapedArgs};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::ops::Range;
use stdx::PartitionId;
use store::{Locator, Partition};

/// Most commands parsed ahead.
pub(super) const COMMANDS_MAX: usize = 64;
/// Most keys warmed up at once: a few cache lines each have to fit the first cache.
const KEYS_MAX: usize = 256;
/// Beginnings of commands that are remembered: what one application sends over and over is a handful.
const SHAPES_MAX: usize = 4;

/// Words that most commands have at most.
pub(super) const FEW_WORDS: usize = 6;

/// Room for the words of one command.
pub(super) type Words<'a> = SmallVec<[&'a [u8]; 16]>;

/// Commands parsed and not yet run.
#[derive(Default)]
pub(super) struct Ahead {
    steps: Vec<Step>,
    spots: Vec<Spot>,
    /// Words of the commands that have no known shape, and how many of these vectors are in use.
    parsed: Vec<ParsedArgs>,
    parsed_len: usize,
    /// Connections whose commands these are, in the order in which they will be run.
    seats: VecDeque<Seat>,
    shapes: Shapes,
    /// For connections that are only looked at.
    scratch: ParsedArgs,
}

/// One command.
pub(super) struct Step {
    /// Its row; `None` if there is none, and `commands::find` says why.
    pub(super) command: Option<&'static Command>,
    /// Whether the lane takes it: see [`Command::is_brief`] and [`Express`].
    pub(super) brief: bool,
    /// See [`Command::express`].
    pub(super) express: Express,
    /// Where it stands in the input.
    pub(super) span: Range<usize>,
    words: StepWords,
    /// Its keys among the spots; fewer than it has if there was no room.
    spots: Range<u32>,
}

/// Where the words of a command are noted.
#[derive(Clone, Copy)]
enum StepWords {
    Shaped(ShapedArgs),
    /// A vector of `Ahead::parsed`.
    Parsed(usize),
}

/// How brief commands begin that were met lately.
#[derive(Default)]
struct Shapes {
    known: Vec<Known>,
    /// The one to be replaced next.
    next: usize,
}

/// A beginning, and what is known of the commands that begin so.
struct Known {
    shape: Shape,
    command: &'static Command,
    express: Express,
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

impl Shapes {
    /// What is known of the command at the start of `input`, its words and its length.
    #[inline(always)]
    fn find(&self, input: &[u8], limits: &ParseLimits) -> Option<(&Known, ShapedArgs, usize)> {
        for known in &self.known {
            if let Some((words, consumed)) = known.shape.find(input, limits) {
                return Some((known, words, consumed));
            }
        }
        None
    }

    fn learn(&mut self, shape: Shape, command: &'static Command) {
        if self.known.iter().any(|known| known.shape == shape) {
            return;
        }
        let known = Known { shape, command, express: command.express(shape.words()) };
        if self.known.len() < SHAPES_MAX {
            self.known.push(known);
        } else if let Some(place) = self.known.get_mut(self.next) {
            *place = known;
            self.next = (self.next + 1) % SHAPES_MAX;
        }
    }
}

impl Ahead {
    /// Forgets what was parsed and not run.
    fn clear(&mut self) {
        self.steps.clear();
        self.spots.clear();
        self.parsed_len = 0;
        self.seats.clear();
    }

    /// Several steps.
    #[inline]
    pub(super) fn several(&self, range: Range<usize>) -> &[Step] {
        self.steps.get(range).unwrap_or_default()
    }

    /// Key and place of a step that runs by [`Express::Get`] or [`Express::Set`].
    #[inline(always)]
    pub(super) fn key<'a>(&'a self, step: &Step, input: &'a [u8]) -> Option<(&'a [u8], &'a Spot)> {
        let StepWords::Shaped(words) = &step.words else { return None };
        Some((words.second(input.get(step.span.start..)?)?, self.spots.get(step.spots.start as usize)?))
    }

    /// Value of a step that runs by [`Express::Set`].
    #[inline(always)]
    pub(super) fn value<'a>(&self, step: &Step, input: &'a [u8]) -> Option<&'a [u8]> {
        let StepWords::Shaped(words) = &step.words else { return None };
        words.third(input.get(step.span.start..)?)
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
        self.spots.get(step.spots.start as usize..step.spots.end as usize).unwrap_or_default()
    }

    /// The words of a step, if they are few.
    #[inline]
    pub(super) fn few_words<'w, 'a>(
        &'a self,
        step: &Step,
        input: &'a [u8],
        room: &'w mut [&'a [u8]; FEW_WORDS],
    ) -> Option<&'w [&'a [u8]]> {
        let source = input.get(step.span.start..)?;
        match &step.words {
            StepWords::Shaped(shaped) => {
                let (words, len) = shaped.fill(source)?;
                *room.first_chunk_mut()? = words;
                room.get(..len)
            }
            StepWords::Parsed(index) => {
                let parsed = self.parsed.get(*index)?;
                let words = room.get_mut(..parsed.len())?;
                for (place, word) in words.iter_mut().enumerate() {
                    *word = parsed.get(source, place)?;
                }
                Some(words)
            }
        }
    }

    /// The words of a step that runs by [`Express::GetMany`], and what they are to be read from.
    #[inline]
    pub(super) fn parsed<'a>(&'a self, step: &Step, input: &'a [u8]) -> Option<(&'a ParsedArgs, &'a [u8])> {
        let StepWords::Parsed(parsed) = step.words else { return None };
        Some((self.parsed.get(parsed)?, input.get(step.span.start..)?))
    }

    /// Replaces the content of `words` by those of a step.
    pub(super) fn words<'a>(&'a self, index: usize, input: &'a [u8], words: &mut Words<'a>) {
        words.clear();
        let Some(step) = self.steps.get(index) else { return };
        let source = input.get(step.span.start..).unwrap_or_default();
        match step.words {
            StepWords::Shaped(shaped) => {
                words.extend(
                    shaped.fill(source).iter().flat_map(|(words, len)| words[..*len].iter().copied()),
                );
            }
            StepWords::Parsed(index) => {
                if let Some(parsed) = self.parsed.get(index) {
                    parsed.fill(source, words);
                }
            }
        }
    }

    /// Parses up to `most` commands of `input` from `at` on, finds their rows, and where their keys are.
    /// `partial` holds the words of a first command that has arrived in part, now or earlier.
    fn parse(
        &mut self,
        key: Key,
        (parser, partial): (&mut Parser, &mut ParsedArgs),
        (input, mut at): (&[u8], usize),
        (limits, most): (&ParseLimits, usize),
        placing: &Placing<'_>,
    ) {
        let first = self.steps.len();
        let end_max = first.saturating_add(most).min(COMMANDS_MAX);
        let (mut end, mut resumes) = (at, !parser.is_at_start());
        let mut tail = Tail::Open;
        while self.steps.len() < end_max {
            let rest = input.get(end..).unwrap_or_default();
            if !resumes && let Some((known, words, consumed)) = self.shapes.find(rest, limits) {
                let start = count(&self.spots);
                if let Some(spot) = words.second(rest).and_then(|key| placing.place(key)) {
                    self.spots.push(spot);
                }
                self.steps.push(Step {
                    command: Some(known.command),
                    brief: true,
                    express: known.express,
                    span: end..end + consumed,
                    words: StepWords::Shaped(words),
                    spots: start..count(&self.spots),
                });
                end += consumed;
                continue;
            }
            let index = self.parsed_len;
            if self.parsed.len() == index {
                self.parsed.push(ParsedArgs::new());
            }
            let parsed = if resumes { &mut *partial } else { &mut self.parsed[index] };
            match parser.parse(rest, parsed, limits) {
                Ok(Parsed::Command { consumed }) => {
                    if std::mem::take(&mut resumes) {
                        std::mem::swap(partial, &mut self.parsed[index]);
                        partial.clear();
                    }
                    self.parsed_len += 1;
                    self.plan(index, input, end..end + consumed, placing);
                    end += consumed;
                }
                Ok(Parsed::Empty { consumed }) => {
                    resumes = false;
                    end += consumed;
                    match self.steps.get_mut(first..).and_then(<[Step]>::last_mut) {
                        Some(step) => step.span.end = end,
                        None => at = end,
                    }
                }
                Ok(Parsed::Incomplete { .. }) => {
                    if !resumes {
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

    /// Adds the step of a command whose words are in the vector number `index`.
    fn plan(&mut self, index: usize, input: &[u8], span: Range<usize>, placing: &Placing<'_>) {
        let Ahead { parsed, steps, spots, shapes, .. } = self;
        let source = input.get(span.start..).unwrap_or_default();
        let (parsed, start) = (&parsed[index], count(spots));
        let (word, words) = (|index| parsed.get(source, index), parsed.len());
        let command = word(0).and_then(|name| commands::find_row(name, word(1), words));
        let mut brief = command.is_some_and(Command::is_brief);
        let mut express = Express::No;
        if let Some(command) = command {
            if brief && let Some(shape) = Shape::of(parsed, source) {
                shapes.learn(shape, command);
            }
            if matches!(command.run, Run::Read(_) | Run::Write(_) | Run::Fanout { .. }) {
                let keys = command.key_positions_among(words, word).filter_map(word);
                spots.extend(
                    keys.take(KEYS_MAX.saturating_sub(spots.len())).map_while(|key| placing.place(key)),
                );
            }
            // One that was not placed as a whole is not the lane's.
            if command.express(words) == Express::GetMany && (count(spots) - start) as usize == words - 1 {
                (brief, express) = (true, Express::GetMany);
            }
        }
        let words = StepWords::Parsed(index);
        steps.push(Step { command, brief, express, span, words, spots: start..count(spots) });
    }
}

/// What it takes to say where a key is.
struct Placing<'a> {
    routing: &'a Routing,
    partitions: u16,
    seed: u64,
    db: u8,
}

impl Placing<'_> {
    /// Where a key is; `None` before there is a cluster.
    #[inline(always)]
    fn place(&self, key: &[u8]) -> Option<Spot> {
        if self.partitions == 0 {
            return None;
        }
        let (slot, hash) = stdx::key::slot_and_hash(self.seed, key);
        let partition = PartitionId::of_slot(slot, self.partitions);
        let here = self.routing.own_reign(partition).is_some();
        Some(Spot { db: self.db, partition, locator: Locator::from(hash), here })
    }
}

/// How many there are: never more than [`KEYS_MAX`], and one per command.
#[inline]
fn count(spots: &[Spot]) -> u32 {
    spots.len() as u32
}

impl Worker {
    /// Parses what has arrived on several connections and warms their keys up: for as many of them, from the first on,
    /// as there is room for. [`Worker::process`] is to be called for each of them next, in this order.
    pub fn prepare(&mut self, keys: &[Key]) -> usize {
        let mut ahead = self.ahead.take().unwrap_or_default();
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
        self.warm(&mut ahead.spots);
        self.ahead = Some(ahead);
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
            self.warm(&mut ahead.spots);
        }
        ahead.seats.pop_front().expect("one connection was looked at")
    }

    fn look_ahead(
        &self,
        ahead: &mut Ahead,
        key: Key,
        connection: &Connection,
        parser: (&mut Parser, &mut ParsedArgs),
        input: (&[u8], usize),
    ) {
        let limits = self.parse_limits(connection);
        // Authenticating changes the limits of what follows.
        let most = if connection.session.authenticated { usize::MAX } else { 1 };
        let placing = Placing {
            routing: &self.routing,
            partitions: self.routing.partitions(),
            seed: self.shared.hash_seed(),
            db: connection.session.db,
        };
        ahead.parse(key, parser, input, (&limits, most), &placing);
    }

    /// Brings keys closer that this node is going to look up: their places in the tables, then their entries; and notes
    /// where they were seen.
    pub(super) fn warm(&self, spots: &mut [Spot]) {
        if let Some(states) = self.cells.try_lock_all() {
            let store = |spot: &Spot| -> Option<&Partition> {
                let state = states.get(usize::from(spot.partition.0)).filter(|_| spot.here)?;
                Some(&state.store)
            };
            for spot in spots.iter_mut() {
                if let Some(store) = store(spot) {
                    spot.locator = store.prefetch_place(spot.db, spot.locator.hash());
                }
            }
            for spot in spots.iter_mut() {
                if let Some(store) = store(spot) {
                    spot.locator = store.prefetch_entry(spot.db, spot.locator);
                }
            }
            return;
        }
        let mut lock = Wandering::default();
        for spot in spots.iter_mut().filter(|spot| spot.here) {
            if let Some(state) = lock.try_go(&self.cells, spot.partition) {
                spot.locator = state.store.prefetch_place(spot.db, spot.locator.hash());
            }
        }
        for spot in spots.iter_mut().filter(|spot| spot.here) {
            if let Some(state) = lock.try_go(&self.cells, spot.partition) {
                spot.locator = state.store.prefetch_entry(spot.db, spot.locator);
            }
        }
    }
}

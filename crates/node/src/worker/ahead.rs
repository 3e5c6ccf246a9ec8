//! Parsing ahead: the commands of a pipeline are parsed together and their keys warmed up before the first one runs.
//!
//! A look-up in a large table is three cache misses in a row. Parsed one by one, the commands of a pipeline pay them one
//! after the other; asked for together, the misses overlap. Nothing but time depends on it: a warmed key may be
//! gone, or its partition elsewhere, when its command runs.

use super::Worker;
use crate::connection::Connection;
use commands::{Args, Command, Run};
use protocol::{Args as ParsedArgs, Limits as ParseLimits, Parsed, ProtocolError};
use smallvec::SmallVec;
use stdx::PartitionId;

/// Most commands parsed ahead.
const COMMANDS_MAX: usize = 64;
/// Most keys warmed up at once: a few cache lines each have to fit the first cache.
const KEYS_MAX: usize = 128;

/// Commands parsed and not yet run, as ranges of one input.
#[derive(Default)]
pub(super) struct Ahead {
    parsed: Vec<ParsedArgs>,
    /// Start and end of each command in the input.
    spans: Vec<(usize, usize)>,
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

/// One command to run.
#[derive(Clone, Copy)]
pub(super) struct Next<'a> {
    pub(super) words: &'a [&'a [u8]],
    /// Its row; `None` if there is none, and `commands::find` says why.
    pub(super) command: Option<&'static Command>,
    /// Where the input goes on behind it.
    pub(super) end: usize,
}

pub(super) type FlatWords<'a> = SmallVec<[&'a [u8]; 3 * COMMANDS_MAX]>;

impl Ahead {
    /// Parses up to `most` commands of `input` from `at` on. `at` moves beyond empty lines before the first.
    pub(super) fn parse(
        &mut self,
        connection: &mut Connection,
        input: &[u8],
        at: &mut usize,
        limits: &ParseLimits,
        most: usize,
    ) -> Tail {
        self.spans.clear();
        let mut end = *at;
        while self.spans.len() < most.min(COMMANDS_MAX) {
            let index = self.spans.len();
            if self.parsed.len() == index {
                self.parsed.push(ParsedArgs::new());
            }
            // The connection's own holds the words of a command that has arrived in part.
            let parsed = if index == 0 { &mut connection.parsed } else { &mut self.parsed[index] };
            match connection.parser.parse(input.get(end..).unwrap_or_default(), parsed, limits) {
                Ok(Parsed::Command { consumed }) => {
                    if index == 0 {
                        std::mem::swap(&mut connection.parsed, &mut self.parsed[0]);
                        connection.parsed.clear();
                    }
                    self.spans.push((end, end + consumed));
                    end += consumed;
                }
                Ok(Parsed::Empty { consumed }) => {
                    end += consumed;
                    match self.spans.last_mut() {
                        Some(span) => span.1 = end,
                        None => *at = end,
                    }
                }
                Ok(Parsed::Incomplete { .. }) => {
                    if index > 0 {
                        std::mem::swap(&mut connection.parsed, &mut self.parsed[index]);
                    }
                    return Tail::Incomplete;
                }
                Err(error) => return Tail::Broken(error),
            }
        }
        Tail::Open
    }

    /// The words of all commands in one list, and for each command where its words end.
    pub(super) fn words<'a>(
        &'a self,
        input: &'a [u8],
        flat: &mut FlatWords<'a>,
        ends: &mut SmallVec<[u32; 64]>,
    ) {
        for (parsed, (start, _)) in self.parsed.iter().zip(&self.spans) {
            let source = input.get(*start..).unwrap_or_default();
            for index in 0..parsed.len() {
                flat.extend(parsed.get(source, index));
            }
            ends.push(u32::try_from(flat.len()).expect("a batch has far fewer words than 2^32"));
        }
    }

    /// Each command with its row.
    pub(super) fn commands<'a>(
        &'a self,
        flat: &'a [&'a [u8]],
        ends: &'a [u32],
    ) -> impl Iterator<Item = Next<'a>> + 'a {
        let mut start = 0;
        ends.iter().zip(&self.spans).map(move |(&words_end, &(_, end))| {
            let words = flat.get(start..words_end as usize).unwrap_or_default();
            start = words_end as usize;
            Next { words, command: commands::find(Args::new(words)).ok(), end }
        })
    }
}

impl Worker {
    /// Brings the keys of several commands closer, those of partitions that this node is primary of.
    pub(super) fn warm_up(&self, db: u8, commands: &[Next<'_>]) {
        let count = self.routing.partitions();
        if count == 0 {
            return;
        }
        let mut places: SmallVec<[(PartitionId, u64); KEYS_MAX]> = SmallVec::new();
        for Next { words, command, .. } in commands {
            let Some(command) = command else { continue };
            if !matches!(command.run, Run::Read(_) | Run::Write(_) | Run::Fanout { .. }) {
                continue;
            }
            let args = Args::new(words);
            for key in command.key_positions(args).filter_map(|index| args.get(index)) {
                if places.len() == KEYS_MAX {
                    break;
                }
                let partition = PartitionId::of_key(key, count);
                if self.routing.primary(partition) == Some(self.routing.me) {
                    places.push((partition, self.shared.hash(key)));
                }
            }
        }
        for (partition, hash) in &places {
            if let Some(state) = self.cells.get(usize::from(partition.0)).and_then(|c| c.state.try_lock()) {
                state.store.prefetch_place(db, *hash);
            }
        }
        for (partition, hash) in &places {
            if let Some(state) = self.cells.get(usize::from(partition.0)).and_then(|c| c.state.try_lock()) {
                state.store.prefetch_entry(db, *hash);
            }
        }
    }
}

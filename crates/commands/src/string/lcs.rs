//! LCS: the longest common subsequence of two strings, by the table that Redis builds, so that of several equally
//! long answers the same one is given.

use super::{INTEGER_TEXT_BYTES_MAX, ROW, string_of};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{CommandError, Outcome, answer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;
use stdx::limits;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "lcs",
    arity: -3,
    flags: Flags::READONLY,
    keys: Keys(&[KeySpec::range(1, 2, KeyFlags::RO.with(KeyFlags::ACCESS))]),
    since: "7.0.0",
    complexity: "O(N*M) where N and M are the lengths of s1 and s2, respectively",
    summary: "Finds the longest common substring.",
    run: Run::Read(lcs),
    ..ROW
}];

#[derive(Default)]
struct Options {
    length_only: bool,
    ranges: bool,
    with_match_length: bool,
    match_length_min: i64,
}

impl Options {
    fn parse(args: Args<'_>) -> Outcome<Options> {
        let mut options = Options::default();
        let mut words = args.tail(3).iter();
        while let Some(word) = words.next() {
            match word.to_ascii_lowercase().as_slice() {
                b"idx" => options.ranges = true,
                b"len" => options.length_only = true,
                b"withmatchlen" => options.with_match_length = true,
                b"minmatchlen" => {
                    let length = words.next().ok_or(CommandError::Syntax)?;
                    options.match_length_min = integer(length)?.max(0);
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        if options.ranges && options.length_only {
            return Err(CommandError::Other("If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }
}

fn lcs(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = compare(ctx, args, reply);
    answer(reply, outcome);
}

fn compare(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let a = read(ctx, args.at(1))?;
    let b = read(ctx, args.at(2))?;
    let options = Options::parse(args)?;
    let cells = (a.len() as u64 + 1) * (b.len() as u64 + 1);
    if cells.saturating_mul(size_of::<u32>() as u64) > limits::BULK_BYTES_MAX as u64 {
        return Err(CommandError::Other(
            "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    let table = Table::build(&a, &b);
    if options.length_only {
        reply.integer(i64::from(table.at(a.len(), b.len())));
    } else if options.ranges {
        let (matches, length) = (table.trace(&a, &b).1, table.at(a.len(), b.len()));
        reply_ranges(&matches, length, &options, reply);
    } else {
        reply.bulk(&table.trace(&a, &b).0);
    }
    Ok(())
}

fn read(ctx: &mut ReadCtx<'_>, key: &[u8]) -> Outcome<Vec<u8>> {
    let Some(entry) = ctx.get(key) else { return Ok(Vec::new()) };
    let string = string_of(&entry)
        .map_err(|_| CommandError::Other("The specified keys must contain string values"))?;
    Ok(string.as_bytes(&mut [0; INTEGER_TEXT_BYTES_MAX]).to_vec())
}

fn reply_ranges(matches: &[Match], length: u32, options: &Options, reply: &mut Reply<'_>) {
    let long_enough = |found: &&Match| i64::from(found.length) >= options.match_length_min;
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches.iter().filter(long_enough).count());
    for found in matches.iter().filter(long_enough) {
        reply.array(if options.with_match_length { 3 } else { 2 });
        for start in [found.a, found.b] {
            reply.array(2);
            reply.integer(i64::from(start));
            reply.integer(i64::from(start + found.length - 1));
        }
        if options.with_match_length {
            reply.integer(i64::from(found.length));
        }
    }
    reply.bulk(b"len");
    reply.integer(i64::from(length));
}

/// A run of equal bytes: where it starts in both strings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Match {
    a: u32,
    b: u32,
    length: u32,
}

/// Lengths of the longest common subsequence of every pair of prefixes.
struct Table {
    width: usize,
    cells: Vec<u32>,
}

impl Table {
    fn build(a: &[u8], b: &[u8]) -> Table {
        let width = b.len() + 1;
        let mut cells = vec![0u32; (a.len() + 1) * width];
        for i in 1..=a.len() {
            for j in 1..width {
                cells[i * width + j] = if a[i - 1] == b[j - 1] {
                    cells[(i - 1) * width + j - 1] + 1
                } else {
                    cells[(i - 1) * width + j].max(cells[i * width + j - 1])
                };
            }
        }
        Table { width, cells }
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    /// Walks back from the ends of both strings: the subsequence, and its runs from last to first.
    fn trace(&self, a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
        let (mut i, mut j) = (a.len(), b.len());
        let mut common = Vec::with_capacity(self.at(i, j) as usize);
        let mut matches: Vec<Match> = Vec::new();
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                common.push(a[i]);
                match matches.last_mut() {
                    Some(run) if run.a as usize == i + 1 && run.b as usize == j + 1 => {
                        *run = Match { a: run.a - 1, b: run.b - 1, length: run.length + 1 };
                    }
                    _ => matches.push(Match { a: i as u32, b: j as u32, length: 1 }),
                }
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        common.reverse();
        (common, matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_documentation() {
        let (a, b) = (b"ohmytext", b"mynewtext");
        let table = Table::build(a, b);
        let (common, matches) = table.trace(a, b);
        assert_eq!(common, b"mytext");
        assert_eq!(table.at(a.len(), b.len()), 6);
        assert_eq!(matches, [Match { a: 4, b: 5, length: 4 }, Match { a: 2, b: 0, length: 2 }]);
    }
}

//! BITCOUNT and BITPOS: what a part of a string holds.

use super::{READS, ROW, bits};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{CommandError, Outcome, answer_integer, integer};
use crate::string::{INTEGER_TEXT_BYTES_MAX, string_of};
use crate::table::{Command, Flags, Run};
use protocol::Reply;
use std::ops::Range;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "bitcount",
        arity: -2,
        flags: Flags::READONLY,
        keys: READS,
        since: "2.6.0",
        complexity: "O(N)",
        summary: "Counts the number of set bits (population counting) in a string.",
        run: Run::Read(bitcount),
        ..ROW
    },
    Command {
        name: "bitpos",
        arity: -3,
        flags: Flags::READONLY,
        keys: READS,
        since: "2.8.7",
        complexity: "O(N)",
        summary: "Finds the first set (1) or clear (0) bit in a string.",
        run: Run::Read(bitpos),
        ..ROW
    },
];

const BAD_BIT: CommandError = CommandError::Other("The bit argument must be 1 or 0.");

/// What the ends of a range count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn parse(word: Option<&[u8]>) -> Outcome<Unit> {
        match word {
            None => Ok(Unit::Byte),
            Some(word) if word.eq_ignore_ascii_case(b"bit") => Ok(Unit::Bit),
            Some(word) if word.eq_ignore_ascii_case(b"byte") => Ok(Unit::Byte),
            Some(_) => Err(CommandError::Syntax),
        }
    }

    /// The bits from `start` to `end`, both included and negative ones counted from the end of a string of so many bytes;
    /// `None` if there are none.
    fn resolve(self, start: i64, end: i64, bytes: usize) -> Option<Range<u64>> {
        let (total, bits) = match self {
            Unit::Byte => (bytes as i64, 8),
            Unit::Bit => (bytes as i64 * 8, 1),
        };
        let from_end = |index: i64| if index < 0 { index + total } else { index }.max(0);
        let (start, end) = (from_end(start), from_end(end).min(total - 1));
        (start <= end).then(|| start as u64 * bits..(end as u64 + 1) * bits)
    }
}

/// Which part of a string is meant.
#[derive(Clone, Copy)]
struct Part {
    start: i64,
    end: i64,
    unit: Unit,
}

impl Part {
    const ALL: Part = Part { start: 0, end: -1, unit: Unit::Byte };

    fn range(self, bytes: &[u8]) -> Option<Range<u64>> {
        self.unit.resolve(self.start, self.end, bytes.len())
    }
}

fn bitcount(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, count(ctx, args));
}

fn count(ctx: &mut ReadCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let part = match args.len() {
        2 => Part::ALL,
        4 | 5 => {
            let (start, end) = (integer(args.at(2))?, integer(args.at(3))?);
            Part { start, end, unit: Unit::parse(args.get(4))? }
        }
        _ => return Err(CommandError::Syntax),
    };
    let Some(entry) = ctx.get(args.at(1)) else { return Ok(0) };
    let string = string_of(&entry)?;
    // Ends before the beginning would both become the first place.
    let explicit = args.len() > 2;
    if explicit && part.start < 0 && part.end < 0 && part.start > part.end {
        return Ok(0);
    }
    let mut text = [0; INTEGER_TEXT_BYTES_MAX];
    let bytes = string.as_bytes(&mut text);
    Ok(part.range(bytes).map_or(0, |range| bits::count(bytes, range) as i64))
}

fn bitpos(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, position(ctx, args));
}

fn position(ctx: &mut ReadCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let bit = match integer(args.at(2))? {
        0 => false,
        1 => true,
        _ => return Err(BAD_BIT),
    };
    let part = parse_part(args)?;
    let Some(entry) = ctx.get(args.at(1)) else { return Ok(if bit { -1 } else { 0 }) };
    let mut text = [0; INTEGER_TEXT_BYTES_MAX];
    let bytes = string_of(&entry)?.as_bytes(&mut text);
    let Some(range) = part.range(bytes) else { return Ok(-1) };
    let end_is_open = args.len() < 5;
    Ok(match bits::find(bytes, bit, range) {
        Some(position) => position as i64,
        // After a string that is all ones, zeros follow without end.
        None if !bit && end_is_open => bytes.len() as i64 * 8,
        None => -1,
    })
}

/// The words after the bit, read in the order in which Redis does: start, unit, end.
fn parse_part(args: Args<'_>) -> Outcome<Part> {
    if args.len() == 3 {
        return Ok(Part::ALL);
    }
    if args.len() > 6 {
        return Err(CommandError::Syntax);
    }
    let start = integer(args.at(3))?;
    let unit = Unit::parse(args.get(5))?;
    let end = args.get(4).map_or(Ok(-1), integer)?;
    Ok(Part { start, end, unit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_redis_resolves_them() {
        assert_eq!(Unit::Byte.resolve(0, -1, 3), Some(0..24));
        assert_eq!(Unit::Byte.resolve(1, 100, 3), Some(8..24));
        assert_eq!(Unit::Byte.resolve(-2, -2, 3), Some(8..16));
        assert_eq!(Unit::Bit.resolve(-2, -1, 3), Some(22..24));
        assert_eq!(Unit::Bit.resolve(5, 30, 3), Some(5..24));
        // Both ends before the start: Redis clamps both to the first place.
        assert_eq!(Unit::Byte.resolve(-100, -90, 3), Some(0..8));
        assert_eq!(Unit::Bit.resolve(i64::MIN, i64::MIN, 3), Some(0..1));
        assert_eq!(Unit::Byte.resolve(2, 1, 3), None);
        assert_eq!(Unit::Bit.resolve(i64::MAX, i64::MAX, 3), None);
        assert_eq!(Unit::Byte.resolve(0, -1, 0), None);
    }
}

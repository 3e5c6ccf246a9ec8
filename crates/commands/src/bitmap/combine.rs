//! BITOP: one string out of several, bit by bit.

use super::ROW;
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer_integer};
use crate::string::{INTEGER_TEXT_BYTES_MAX, string_of};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "bitop",
    arity: -4,
    flags: Flags::WRITE.with(Flags::DENYOOM),
    keys: Keys(&[
        KeySpec::at(2, KeyFlags::OW.with(KeyFlags::UPDATE)),
        KeySpec::range(3, -1, KeyFlags::RO.with(KeyFlags::ACCESS)),
    ]),
    since: "2.6.0",
    complexity: "O(N)",
    summary: "Performs bitwise operations on multiple strings, and stores the result.",
    run: Run::Write(bitop),
    ..ROW
}];

const ONE_SOURCE: CommandError = CommandError::Other("BITOP NOT must be called with a single source key.");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(word: &[u8]) -> Outcome<Operation> {
        let names = [
            ("and", Operation::And),
            ("or", Operation::Or),
            ("xor", Operation::Xor),
            ("not", Operation::Not),
        ];
        let found = names.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, operation)| *operation).ok_or(CommandError::Syntax)
    }

    /// Combines what has come out so far with the next string. The shorter one goes on with zeros.
    fn combine(self, result: &mut Vec<u8>, next: &[u8]) {
        if next.len() > result.len() {
            result.resize(next.len(), 0);
        }
        let (both, alone) = result.split_at_mut(next.len());
        let pairs = both.iter_mut().zip(next);
        match self {
            Operation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                alone.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Operation::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
            Operation::Not => pairs.for_each(|(byte, other)| *byte = !other),
        }
    }
}

fn bitop(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, store_combined(ctx, args));
}

fn store_combined(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let operation = Operation::parse(args.at(1))?;
    let sources = args.tail(3);
    if operation == Operation::Not && sources.len() != 1 {
        return Err(ONE_SOURCE);
    }
    let mut result = Vec::new();
    for (index, key) in sources.iter().enumerate() {
        let mut text = [0; INTEGER_TEXT_BYTES_MAX];
        let entry = ctx.get(key);
        let bytes = match &entry {
            Some(entry) => string_of(entry)?.as_bytes(&mut text),
            None => &[],
        };
        if index == 0 && operation != Operation::Not {
            result.extend_from_slice(bytes);
        } else {
            operation.combine(&mut result, bytes);
        }
    }
    let destination = args.at(2);
    if !result.is_empty() {
        ctx.set_string(destination, &result, None);
    } else if ctx.peek(destination).is_some() {
        ctx.remove(destination);
    }
    Ok(result.len() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(operation: Operation, first: &[u8], next: &[u8], expected: &[u8]) {
        let mut result = first.to_vec();
        operation.combine(&mut result, next);
        assert_eq!(result, expected, "{operation:?}");
    }

    #[test]
    fn the_shorter_string_goes_on_with_zeros() {
        check(Operation::And, b"\xff\x0f\xff", b"\x81\xff", b"\x81\x0f\0");
        check(Operation::And, b"\xff", b"\x81\xff", b"\x81\0");
        check(Operation::Or, b"\x80\x01\x02", b"\x01", b"\x81\x01\x02");
        check(Operation::Or, b"\x80", b"\x01\x02", b"\x81\x02");
        check(Operation::Xor, b"\xff\x01", b"\x0f\x01\x80", b"\xf0\0\x80");
        check(Operation::Not, b"", b"\x0f\xff", b"\xf0\0");
        check(Operation::Xor, b"", b"", b"");
    }
}

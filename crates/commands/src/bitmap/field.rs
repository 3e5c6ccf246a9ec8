//! BITFIELD and BITFIELD_RO: integers of any width at any bit of a string.
//!
//! All subcommands are read first. A writing one makes the string as long as its field needs, even if OVERFLOW FAIL
//! leaves the field alone, as in Redis. Then each runs on what those before it have left.

use super::integer::{IntegerType, Overflow, Window};
use super::{READS, ROW, bit_offset, scaled_offset};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer, integer};
use crate::string::{INTEGER_TEXT_BYTES_MAX, check_length, string_of};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Effect;
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "bitfield",
        arity: -2,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(
            1,
            KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE).with(KeyFlags::VARIABLE_FLAGS),
        )
        .noted("This command allows both access and modification of the key")]),
        since: "3.2.0",
        complexity: "O(1) for each subcommand specified",
        summary: "Performs arbitrary bitfield integer operations on strings.",
        run: Run::Write(bitfield),
        ..ROW
    },
    Command {
        name: "bitfield_ro",
        arity: -2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: READS,
        since: "6.0.0",
        complexity: "O(1) for each subcommand specified",
        summary: "Performs arbitrary read-only bitfield integer operations on strings.",
        run: Run::Read(bitfield_ro),
        ..ROW
    },
];

const BAD_OVERFLOW: CommandError = CommandError::Other("Invalid OVERFLOW type specified");
const ONLY_GET: CommandError = CommandError::Other("BITFIELD_RO only supports the GET subcommand");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

/// One subcommand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Operation {
    action: Action,
    kind: IntegerType,
    /// Bit at which the field begins.
    offset: u64,
    overflow: Overflow,
}

impl Operation {
    /// Byte in which the field begins.
    fn at(self) -> usize {
        (self.offset / 8) as usize
    }

    /// Bits of that byte before the field.
    fn shift(self) -> u32 {
        (self.offset % 8) as u32
    }

    /// Length of the shortest string that holds the whole field.
    fn end(self) -> u64 {
        self.offset / 8 + self.kind.span_bytes(self.shift()) as u64
    }

    fn writes(self) -> bool {
        self.action != Action::Get
    }

    fn read(self, window: Window) -> i64 {
        self.kind.read(window, self.shift())
    }

    /// What the field holds afterwards; `None` if the overflow is refused.
    fn result(self, former: i64) -> Option<i64> {
        match self.action {
            Action::Get => Some(former),
            Action::Set(value) => self.kind.set(value, self.overflow),
            Action::Increment(increment) => self.kind.add(former, increment, self.overflow),
        }
    }
}

/// Reads all subcommands.
fn parse(args: Args<'_>) -> Outcome<Vec<Operation>> {
    let (mut operations, mut overflow) = (Vec::new(), Overflow::default());
    let mut rest = args.tail(2);
    while let Some((name, after)) = rest.split_first() {
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        rest = match *after {
            [kind, offset, ref after @ ..] if is(b"get") => {
                operations.push(parse_one(kind, offset, None, overflow, |_| Action::Get)?);
                after
            }
            [kind, offset, value, ref after @ ..] if is(b"set") => {
                operations.push(parse_one(kind, offset, Some(value), overflow, Action::Set)?);
                after
            }
            [kind, offset, value, ref after @ ..] if is(b"incrby") => {
                operations.push(parse_one(kind, offset, Some(value), overflow, Action::Increment)?);
                after
            }
            [how, ref after @ ..] if is(b"overflow") => {
                overflow = parse_overflow(how)?;
                after
            }
            _ => return Err(CommandError::Syntax),
        };
    }
    Ok(operations)
}

fn parse_one(
    kind: &[u8],
    offset: &[u8],
    value: Option<&[u8]>,
    overflow: Overflow,
    action: impl FnOnce(i64) -> Action,
) -> Outcome<Operation> {
    let kind = IntegerType::parse(kind)?;
    let offset = match offset.split_first() {
        Some((b'#', units)) => scaled_offset(units, kind.bits())?,
        _ => bit_offset(offset)?,
    };
    Ok(Operation { action: action(value.map_or(Ok(0), integer)?), kind, offset, overflow })
}

fn parse_overflow(word: &[u8]) -> Outcome<Overflow> {
    match word {
        _ if word.eq_ignore_ascii_case(b"wrap") => Ok(Overflow::Wrap),
        _ if word.eq_ignore_ascii_case(b"sat") => Ok(Overflow::Saturate),
        _ if word.eq_ignore_ascii_case(b"fail") => Ok(Overflow::Fail),
        _ => Err(BAD_OVERFLOW),
    }
}

fn bitfield_ro(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = read_fields(ctx, args, reply);
    answer(reply, outcome);
}

fn read_fields(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let operations = parse(args)?;
    if operations.iter().any(|operation| operation.writes()) {
        return Err(ONLY_GET);
    }
    let entry = ctx.get(args.at(1));
    let mut text = [0; INTEGER_TEXT_BYTES_MAX];
    let bytes = match &entry {
        Some(entry) => string_of(entry)?.as_bytes(&mut text),
        None => &[],
    };
    reply.array(operations.len());
    for operation in operations {
        reply.integer(operation.read(Window::of(bytes, operation.at())));
    }
    Ok(())
}

fn bitfield(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = run_all(ctx, args, reply);
    answer(reply, outcome);
}

fn run_all(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (key, operations) = (args.at(1), parse(args)?);
    let exists = match ctx.get(key) {
        Some(entry) => string_of(&entry).map(|_| true)?,
        None => false,
    };
    let writes = operations.iter().filter(|operation| operation.writes());
    let needed = writes.map(|operation| operation.end()).max().unwrap_or(0);
    // Redis checks where a field begins, and lets its end stand out of the longest string.
    check_length(needed, 0)?;
    if !exists && needed > 0 {
        ctx.bury_expired(key);
    }
    reply.array(operations.len());
    for operation in operations {
        match run_one(ctx, key, operation) {
            Some(value) => reply.integer(value),
            None => reply.null(),
        }
    }
    if length_of(ctx, key) < needed {
        ctx.emit(Effect::Splice { db: ctx.db, key, offset: needed - 1, bytes: &[0] });
    }
    Ok(())
}

/// Runs a subcommand, to which the string goes on with zeros; its answer.
fn run_one(ctx: &mut WriteCtx<'_>, key: &[u8], operation: Operation) -> Option<i64> {
    let window = window_of(ctx, key, operation.at());
    let former = operation.read(window);
    let result = operation.result(former)?;
    if result != former {
        let bytes = operation.kind.write(window, operation.shift(), result).to_bytes();
        let bytes = &bytes[..operation.kind.span_bytes(operation.shift())];
        ctx.emit(Effect::Splice { db: ctx.db, key, offset: operation.at() as u64, bytes });
    }
    // SET answers with what was there before.
    Some(if matches!(operation.action, Action::Set(_)) { former } else { result })
}

fn length_of(ctx: &WriteCtx<'_>, key: &[u8]) -> u64 {
    let entry = ctx.peek(key);
    entry.and_then(|entry| string_of(&entry).ok().map(|string| string.len() as u64)).unwrap_or(0)
}

fn window_of(ctx: &WriteCtx<'_>, key: &[u8], at: usize) -> Window {
    let entry = ctx.peek(key);
    match entry.as_ref().and_then(|entry| string_of(entry).ok()) {
        Some(string) => Window::of(string.as_bytes(&mut [0; INTEGER_TEXT_BYTES_MAX]), at),
        None => Window::of(&[], at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Outcome<Vec<Operation>> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        parse(Args::new(&words))
    }

    #[test]
    fn subcommands_in_order() {
        let operations =
            parse_words("bitfield k GET u4 1 overflow sat Set i8 #2 -3 OVERFLOW fail incrby u2 0 1");
        let operations = operations.expect("three of them");
        assert_eq!(operations.len(), 3);
        assert_eq!((operations[0].action, operations[0].end()), (Action::Get, 1));
        assert_eq!((operations[1].action, operations[1].offset), (Action::Set(-3), 16));
        assert_eq!((operations[1].overflow, operations[2].overflow), (Overflow::Saturate, Overflow::Fail));
        assert_eq!(parse_words("bitfield k"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_subcommand() {
        for line in ["get u8", "set u8 0", "incrby", "overflow", "got u8 0", "get u8 0 set"] {
            assert_eq!(parse_words(&format!("bitfield k {line}")), Err(CommandError::Syntax), "{line}");
        }
        assert_eq!(parse_words("bitfield k overflow x get u8 z"), Err(BAD_OVERFLOW));
        assert_eq!(parse_words("bitfield k set u8 0 x get"), Err(CommandError::NotInteger));
    }
}

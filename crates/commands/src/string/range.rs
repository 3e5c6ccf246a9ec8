//! Parts of strings: APPEND, SETRANGE, GETRANGE and STRLEN. Their effects carry only the bytes that change.

use super::{INTEGER_TEXT_BYTES_MAX, ROW, check_length, string_of};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Effect;
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "append",
        arity: 3,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::INSERT))]),
        since: "2.0.0",
        complexity: "O(1). The amortized time complexity is O(1) assuming the appended value is small \
            and the already present value is of any size, since the dynamic string library used by \
            Redis will double the free space available on every reallocation.",
        summary: "Appends a string to the value of a key. Creates the key if it doesn't exist.",
        run: Run::Write(append),
        ..ROW
    },
    Command {
        name: "strlen",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO)]),
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Returns the length of a string value.",
        run: Run::Read(strlen),
        ..ROW
    },
    Command {
        name: "getrange",
        arity: 4,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "2.4.0",
        complexity: "O(N) where N is the length of the returned string. The complexity is ultimately \
            determined by the returned length, but because creating a substring from an existing string \
            is very cheap, it can be considered O(1) for small strings.",
        summary: "Returns a substring of the string stored at a key.",
        run: Run::Read(getrange),
        ..ROW
    },
    Command {
        name: "substr",
        arity: 4,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "1.0.0",
        complexity: "O(N) where N is the length of the returned string. The complexity is ultimately \
            determined by the returned length, but because creating a substring from an existing string \
            is very cheap, it can be considered O(1) for small strings.",
        summary: "Returns a substring from a string value.",
        run: Run::Read(getrange),
        ..ROW
    },
    Command {
        name: "setrange",
        arity: 4,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))]),
        since: "2.2.0",
        complexity: "O(1), not counting the time taken to copy the new string in place. Usually, this \
            string is very small so the amortized complexity is O(1). Otherwise, complexity is O(M) \
            with M being the length of the value argument.",
        summary: "Overwrites a part of a string value with another by an offset. Creates the key if it \
            doesn't exist.",
        run: Run::Write(setrange),
        ..ROW
    },
];

fn append(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, append_bytes(ctx, args.at(1), args.at(2)));
}

fn append_bytes(ctx: &mut WriteCtx<'_>, key: &[u8], bytes: &[u8]) -> Outcome<i64> {
    let db = ctx.db;
    let Some(length) = length_of(ctx, key)? else {
        ctx.set_string(key, bytes, None);
        return Ok(bytes.len() as i64);
    };
    check_length(length, bytes.len())?;
    if !bytes.is_empty() {
        ctx.emit(Effect::Splice { db, key, offset: length, bytes });
    }
    Ok((length + bytes.len() as u64) as i64)
}

fn length_of(ctx: &mut WriteCtx<'_>, key: &[u8]) -> Outcome<Option<u64>> {
    match ctx.get(key) {
        None => Ok(None),
        Some(entry) => Ok(Some(string_of(&entry)?.len() as u64)),
    }
}

fn strlen(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = match ctx.get(args.at(1)) {
        None => Ok(0),
        Some(entry) => string_of(&entry).map(|string| string.len() as i64),
    };
    answer_integer(reply, outcome);
}

fn setrange(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, overwrite(ctx, args));
}

fn overwrite(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<i64> {
    let (db, key, bytes) = (ctx.db, args.at(1), args.at(3));
    let offset =
        u64::try_from(integer(args.at(2))?).map_err(|_| CommandError::Other("offset is out of range"))?;
    let length = length_of(ctx, key)?;
    if bytes.is_empty() {
        return Ok(length.unwrap_or(0) as i64);
    }
    check_length(offset, bytes.len())?;
    if length.is_none() {
        ctx.bury_expired(key);
    }
    ctx.emit(Effect::Splice { db, key, offset, bytes });
    Ok(length.unwrap_or(0).max(offset + bytes.len() as u64) as i64)
}

fn getrange(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_range(ctx, args, reply);
    answer(reply, outcome);
}

fn reply_range(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (start, end) = (integer(args.at(2))?, integer(args.at(3))?);
    let Some(entry) = ctx.get(args.at(1)) else {
        reply.bulk(b"");
        return Ok(());
    };
    let string = string_of(&entry)?;
    let mut text = [0; INTEGER_TEXT_BYTES_MAX];
    let bytes = string.as_bytes(&mut text);
    let range = resolve(start, end, bytes.len());
    reply.bulk(bytes.get(range).unwrap_or_default());
    Ok(())
}

/// The bytes from `start` to `end`, both included and negative ones counted from the end, as a range of a string
/// of `length` bytes.
fn resolve(start: i64, end: i64, length: usize) -> std::ops::Range<usize> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_end = |index: i64| if index < 0 { index.saturating_add(length as i64).max(0) } else { index };
    let start = from_end(start) as usize;
    let end = (from_end(end) as usize).saturating_add(1).min(length);
    start.min(end)..end
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn ranges_as_redis_resolves_them() {
        assert_eq!(resolve(0, -1, 5), 0..5);
        assert_eq!(resolve(-3, -2, 5), 2..4);
        assert_eq!(resolve(-100, 100, 5), 0..5);
        assert!(resolve(-1, -5, 5).is_empty());
        assert!(resolve(3, 1, 5).is_empty());
        assert!(resolve(0, -1, 0).is_empty());
        // Both ends before the start: Redis clamps both to the first byte.
        assert_eq!(resolve(-100, -90, 5), 0..1);
        assert!(resolve(i64::MAX, i64::MAX, 5).is_empty());
        assert!(resolve(i64::MIN, i64::MIN, 0).is_empty());
    }
}

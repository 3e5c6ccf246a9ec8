//! Commands that give a value another name or database. Both keys must be at one primary, except for MOVE, whose
//! key stays in its partition. Effects are final, so the value travels with them under its new name.

use super::ROW;
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::string::INTEGER_TEXT_BYTES_MAX;
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::{Cause, Effect, ElementsBuilder, Kind};
use protocol::Reply;
use stdx::{Wall, limits};
use store::ValueRef;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "rename",
        arity: 3,
        flags: Flags::WRITE,
        keys: Keys(&[
            KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE)),
            KeySpec::at(2, KeyFlags::OW.with(KeyFlags::UPDATE)),
        ]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Renames a key and overwrites the destination.",
        run: Run::Write(rename),
        ..ROW
    },
    Command {
        name: "renamenx",
        arity: 3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[
            KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE)),
            KeySpec::at(2, KeyFlags::OW.with(KeyFlags::INSERT)),
        ]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Renames a key only when the target key name doesn't exist.",
        run: Run::Write(renamenx),
        ..ROW
    },
    Command {
        name: "copy",
        arity: -3,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[
            KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS)),
            KeySpec::at(2, KeyFlags::OW.with(KeyFlags::UPDATE)),
        ]),
        since: "6.2.0",
        complexity: "O(N) worst case for collections, where N is the number of nested items. O(1) for \
            string values.",
        summary: "Copies the value of a key to a new key.",
        run: Run::Write(copy),
        ..ROW
    },
    Command {
        name: "move",
        arity: 3,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Moves a key to another database.",
        run: Run::Write(move_key),
        ..ROW
    },
];

/// A value taken out of the store, to be set elsewhere.
struct Taken {
    value: Value,
    expire_at: Option<Wall>,
}

/// The value: a filter is encoded.
enum Value {
    String(Vec<u8>),
    Filter(Vec<u8>),
    Collection(Kind, ElementsBuilder),
}

impl Taken {
    fn read(ctx: &mut WriteCtx<'_>, key: &[u8]) -> Outcome<Option<Taken>> {
        let Some(entry) = ctx.get(key) else { return Ok(None) };
        let value = match entry.value() {
            ValueRef::Filter(filter) => {
                let mut encoded = Vec::new();
                filter.encode(&mut encoded);
                Value::Filter(encoded)
            }
            ValueRef::String(string) => {
                Value::String(string.as_bytes(&mut [0; INTEGER_TEXT_BYTES_MAX]).to_vec())
            }
            collection => {
                let (kind, elements) = collection.elements().ok_or(CommandError::WrongType)?;
                Value::Collection(kind, elements)
            }
        };
        Ok(Some(Taken { value, expire_at: entry.expire_at() }))
    }

    fn set(&self, ctx: &mut WriteCtx<'_>, db: u8, key: &[u8]) {
        let expire_at = self.expire_at;
        ctx.emit(match &self.value {
            Value::String(value) => Effect::SetString { db, key, value, expire_at },
            Value::Filter(filter) => Effect::SetFilter { db, key, filter, expire_at },
            Value::Collection(kind, elements) => {
                Effect::SetCollection { db, key, kind: *kind, elements: elements.elements(), expire_at }
            }
        });
    }
}

fn rename(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = rename_key(ctx, args, false).map(|_| reply.ok());
    answer(reply, outcome);
}

fn renamenx(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = rename_key(ctx, args, true).map(i64::from);
    answer_integer(reply, outcome);
}

/// Whether the key has its new name; with `only_free`, a name that is taken is left alone.
fn rename_key(ctx: &mut WriteCtx<'_>, args: Args<'_>, only_free: bool) -> Outcome<bool> {
    let (from, to) = (args.at(1), args.at(2));
    let taken = Taken::read(ctx, from)?.ok_or(CommandError::NoSuchKey)?;
    if from == to || (only_free && ctx.peek(to).is_some()) {
        return Ok(!only_free);
    }
    taken.set(ctx, ctx.db, to);
    ctx.remove(from);
    Ok(true)
}

fn copy(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, copy_key(ctx, args).map(i64::from));
}

fn copy_key(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<bool> {
    let (from, to) = (args.at(1), args.at(2));
    let (mut replace, mut db) = (false, ctx.db);
    let mut words = args.tail(3).iter();
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if word.eq_ignore_ascii_case(b"db") {
            db = database(words.next().ok_or(CommandError::Syntax)?)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if db == ctx.db && from == to {
        return Err(CommandError::SameObject);
    }
    let Some(taken) = Taken::read(ctx, from)? else { return Ok(false) };
    if !replace && ctx.peek_in(db, to).is_some() {
        return Ok(false);
    }
    taken.set(ctx, db, to);
    Ok(true)
}

fn move_key(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, move_to(ctx, args).map(i64::from));
}

fn move_to(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<bool> {
    let (from, key, to) = (ctx.db, args.at(1), database(args.at(2))?);
    if from == to {
        return Err(CommandError::SameObject);
    }
    let Some(taken) = Taken::read(ctx, key)? else { return Ok(false) };
    if ctx.peek_in(to, key).is_some() {
        return Ok(false);
    }
    taken.set(ctx, to, key);
    ctx.emit(Effect::Remove { db: from, key, cause: Cause::Deleted });
    Ok(true)
}

/// The number of a database, with the errors of Redis's `getIntFromObjectOrReply` and `selectDb`.
fn database(word: &[u8]) -> Outcome<u8> {
    let number = i32::try_from(integer(word)?).map_err(|_| {
        CommandError::Other("value is out of range, value must between -2147483648 and 2147483647")
    })?;
    u8::try_from(number).ok().filter(|db| *db < limits::DATABASES).ok_or(CommandError::DatabaseRange)
}

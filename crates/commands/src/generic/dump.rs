//! DUMP and RESTORE, in the format of Redis's RDB (see [`super::payload`]), so that keys travel between both.

use super::ROW;
use super::payload::{self, PayloadError, Restored};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer, integer};
use crate::filter;
use crate::string::{INTEGER_TEXT_BYTES_MAX, signed};
use crate::table::{Categories, Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Effect;
use protocol::Reply;
use stdx::Wall;
use store::{Filter, ValueRef};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "dump",
        arity: 2,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "2.6.0",
        complexity: "O(1) to access the key and additional O(N*M) to serialize it, where N is the \
            number of Redis objects composing the value and M their average size. For small string \
            values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).",
        summary: "Returns a serialized representation of the value stored at a key.",
        tips: &["nondeterministic_output"],
        run: Run::Read(dump),
        ..ROW
    },
    Command {
        name: "restore",
        arity: -4,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(1, KeyFlags::OW.with(KeyFlags::UPDATE))]),
        categories: Categories::KEYSPACE.with(Categories::DANGEROUS),
        since: "2.6.0",
        complexity: "O(1) to create the new key and additional O(N*M) to reconstruct the serialized \
            value, where N is the number of Redis objects composing the value and M their average size. \
            For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply \
            O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting \
            values into sorted sets is O(log(N)).",
        summary: "Creates a key from the serialized representation of a value.",
        run: Run::Write(restore),
        ..ROW
    },
];

fn dump(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = dump_value(ctx, args.at(1), reply);
    answer(reply, outcome);
}

fn dump_value(ctx: &mut ReadCtx<'_>, key: &[u8], reply: &mut Reply<'_>) -> Outcome<()> {
    match ctx.get(key) {
        None => reply.null(),
        Some(entry) => {
            reply.bulk(&match entry.value() {
                ValueRef::Filter(Filter::Loading(_)) => return Err(filter::LOADING),
                ValueRef::Filter(whole) => payload::dump_filter(whole),
                ValueRef::String(string) => {
                    payload::dump_string(string.as_bytes(&mut [0; INTEGER_TEXT_BYTES_MAX]))
                }
                ValueRef::Stream(stream) => payload::dump_stream(stream),
                collection => {
                    let (kind, elements) = collection.elements().ok_or(CommandError::WrongType)?;
                    payload::dump_collection(kind, elements.elements()).ok_or(CommandError::WrongType)?
                }
            });
        }
    }
    Ok(())
}

/// The options of RESTORE.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

impl Options {
    /// IDLETIME and FREQ are checked and then dropped: access clocks are a node's own and no effect carries them.
    fn parse(args: Args<'_>) -> Outcome<Options> {
        let mut options = Options::default();
        let (mut idle_time, mut frequency) = (false, false);
        let mut words = args.tail(4).iter();
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case(b"replace") {
                options.replace = true;
            } else if word.eq_ignore_ascii_case(b"absttl") {
                options.absolute = true;
            } else if word.eq_ignore_ascii_case(b"idletime") && !frequency {
                idle_time = true;
                if integer(words.next().ok_or(CommandError::Syntax)?)? < 0 {
                    return Err(CommandError::Other("Invalid IDLETIME value, must be >= 0"));
                }
            } else if word.eq_ignore_ascii_case(b"freq") && !idle_time {
                frequency = true;
                if !(0..=255).contains(&integer(words.next().ok_or(CommandError::Syntax)?)?) {
                    return Err(CommandError::Other("Invalid FREQ value, must be >= 0 and <= 255"));
                }
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

fn restore(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = restore_value(ctx, args).map(|()| reply.ok());
    answer(reply, outcome);
}

fn restore_value(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<()> {
    let (key, now) = (args.at(1), ctx.now);
    let options = Options::parse(args)?;
    let exists = ctx.peek(key).is_some();
    if exists && !options.replace {
        return Err(CommandError::BusyKey);
    }
    let ttl = integer(args.at(2))?;
    if ttl < 0 {
        return Err(CommandError::Other("Invalid TTL value, must be >= 0"));
    }
    let value = payload::restore(args.at(3)).map_err(|error| match error {
        PayloadError::VersionOrChecksum => CommandError::Other("DUMP payload version or checksum are wrong"),
        PayloadError::Format => CommandError::Other("Bad data format"),
    })?;
    let expire_at = match ttl {
        0 => None,
        ttl if options.absolute => Some(ttl.unsigned_abs()),
        ttl => Some(ttl.saturating_add(signed(now)).unsigned_abs()),
    };
    let expire_at = expire_at.map(Wall);
    if expire_at.is_some_and(|at| at <= now) {
        if exists {
            ctx.remove(key);
        }
        return Ok(());
    }
    let db = ctx.db;
    ctx.emit(match &value {
        Restored::String(value) => Effect::SetString { db, key, value, expire_at },
        Restored::Filter(filter) => Effect::SetFilter { db, key, filter, expire_at },
        Restored::Collection(kind, elements) => {
            Effect::SetCollection { db, key, kind: *kind, elements: elements.elements(), expire_at }
        }
    });
    Ok(())
}

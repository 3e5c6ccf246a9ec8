//! Commands that add entries and trim: XADD and XTRIM, which share their options.

use super::ids::{self, NewId};
use super::{ROW, change, reply_id, stream_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::{Elements, StreamChange, StreamId};
use protocol::Reply;
use store::{Stream, Trim};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "xadd",
        arity: -5,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::UPDATE))
            .noted("UPDATE instead of INSERT because of the optional trimming feature")]),
        since: "5.0.0",
        complexity: "O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.",
        summary: "Appends a new message to a stream. Creates the key if it doesn't exist.",
        tips: &["nondeterministic_output"],
        run: Run::Write(xadd),
        ..ROW
    },
    Command {
        name: "xtrim",
        arity: -4,
        flags: Flags::WRITE,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::DELETE))]),
        since: "5.0.0",
        complexity: "O(N), with N being the number of evicted entries. Constant times are very small however, \
            since entries are organized in macro nodes containing multiple entries that can be released with a \
            single deallocation.",
        summary: "Deletes messages from the beginning of a stream.",
        tips: &["nondeterministic_output"],
        run: Run::Write(xtrim),
        ..ROW
    },
];

/// Most entries that an approximate trim without a LIMIT removes: a hundred blocks.
const APPROXIMATE_LIMIT: u64 = 10_000;
/// Longest entry, the sum of its fields and values (`STREAM_LISTPACK_MAX_SIZE`).
const ENTRY_BYTES_MAX: usize = 1 << 30;

/// The options of both.
#[derive(Default)]
struct Options {
    no_make: bool,
    trim: Option<Trim>,
    is_approximate: bool,
    limit: Option<u64>,
    /// XADD alone: the id, and where it stands.
    id: Option<(NewId, usize)>,
}

impl Options {
    /// Reads the words after the key, up to the id if there has to be one (t_stream.c:
    /// `streamParseAddOrTrimArgsOrReply`).
    fn parse(args: Args<'_>, adds: bool) -> Outcome<Options> {
        let mut options = Options::default();
        let mut at = 2;
        while let Some(word) = args.get(at) {
            let next = args.get(at + 1);
            if adds && word == b"*" {
                options.id = Some((NewId::Auto, at));
                break;
            }
            match next {
                Some(_) if word.eq_ignore_ascii_case(b"maxlen") || word.eq_ignore_ascii_case(b"minid") => {
                    at = options.parse_trim(args, at)?;
                }
                Some(limit) if word.eq_ignore_ascii_case(b"limit") => {
                    let limit = u64::try_from(integer(limit)?);
                    let limit = limit.map_err(|_| CommandError::Other("The LIMIT argument must be >= 0."))?;
                    options.limit = Some(limit);
                    at += 2;
                }
                _ if adds && word.eq_ignore_ascii_case(b"nomkstream") => {
                    options.no_make = true;
                    at += 1;
                }
                _ if adds => {
                    options.id = Some((ids::new_id(word)?, at));
                    break;
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        options.check(adds)
    }

    /// Reads MAXLEN or MINID at this place; where the next option is.
    fn parse_trim(&mut self, args: Args<'_>, at: usize) -> Outcome<usize> {
        if self.trim.is_some() {
            return Err(CommandError::Other(
                "syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let has_sign = args.len() > at + 2 && matches!(args.at(at + 1), b"~" | b"=");
        self.is_approximate = has_sign && args.at(at + 1) == b"~";
        let value_at = at + 1 + usize::from(has_sign);
        let value = args.at(value_at);
        self.trim = Some(if args.is(at, "maxlen") {
            let len = u64::try_from(integer(value)?);
            Trim::Length(len.map_err(|_| CommandError::Other("The MAXLEN argument must be >= 0."))?)
        } else {
            Trim::Before(ids::exact(value)?)
        });
        Ok(value_at + 1)
    }

    fn check(mut self, adds: bool) -> Outcome<Options> {
        if self.limit.is_some_and(|limit| limit > 0) && self.trim.is_none() {
            return Err(CommandError::Other(
                "syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if !adds && self.trim.is_none() {
            return Err(CommandError::Other("syntax error, XTRIM must be called with a trimming strategy"));
        }
        if self.limit.is_some() && !self.is_approximate {
            return Err(CommandError::Other(
                "syntax error, LIMIT cannot be used without the special ~ option",
            ));
        }
        if self.is_approximate {
            // A limit of zero is none.
            self.limit = Some(self.limit.unwrap_or(APPROXIMATE_LIMIT)).filter(|limit| *limit > 0);
        }
        Ok(self)
    }

    /// Trims the stream of a key; how many entries are gone.
    fn trim(&self, ctx: &mut WriteCtx<'_>, key: &[u8]) -> Outcome<u64> {
        let (Some(trim), Some(stream)) = (self.trim, stream_of(ctx.peek(key))?) else { return Ok(0) };
        let Some(trimmed) = stream.trimmed(trim, self.is_approximate, self.limit) else { return Ok(0) };
        change(ctx, key, StreamChange::Trim { through: trimmed.through });
        Ok(trimmed.count)
    }
}

fn xadd(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = add(ctx, args, reply);
    answer(reply, outcome);
}

fn add(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (key, options) = (args.at(1), Options::parse(args, true)?);
    let (id, id_at) = options.id.ok_or(CommandError::Arity("xadd"))?;
    let fields = args.tail(id_at + 1);
    if fields.is_empty() || fields.len() % 2 == 1 {
        return Err(CommandError::Arity("xadd"));
    }
    if id == NewId::Exact(StreamId::MIN) {
        return Err(CommandError::Other("The ID specified in XADD must be greater than 0-0"));
    }
    let now = ctx.now.0;
    let stream = stream_of(ctx.get(key))?;
    let is_missing = stream.is_none();
    if is_missing && options.no_make {
        reply.null();
        return Ok(());
    }
    let id = next_id(id, stream, now)?;
    if fields.iter().map(|word| word.len()).sum::<usize>() > ENTRY_BYTES_MAX {
        return Err(CommandError::Other("Elements are too large to be stored"));
    }
    if is_missing {
        ctx.bury_expired(key);
    }
    change(ctx, key, StreamChange::Append { id, fields: Elements::words(fields) });
    options.trim(ctx, key)?;
    reply_id(reply, id);
    Ok(())
}

/// The id of the next entry (t_stream.c: `xaddCommand`, `streamAppendItem`).
fn next_id(id: NewId, stream: Option<&Stream>, now: u64) -> Outcome<StreamId> {
    const NOT_GREATER: CommandError =
        CommandError::Other("The ID specified in XADD is equal or smaller than the target stream top item");
    let last = stream.map_or(StreamId::MIN, Stream::last_id);
    let following = last.next().ok_or(CommandError::Other(
        "The stream has exhausted the last possible ID, unable to add more items",
    ))?;
    let id = match id {
        NewId::Auto if now > last.ms => StreamId { ms: now, seq: 0 },
        NewId::Auto => following,
        NewId::NextOf(ms) if ms == last.ms => {
            StreamId { ms, seq: last.seq.checked_add(1).ok_or(NOT_GREATER)? }
        }
        NewId::NextOf(ms) => StreamId { ms, seq: 0 },
        NewId::Exact(id) => id,
    };
    if id > last { Ok(id) } else { Err(NOT_GREATER) }
}

fn xtrim(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = Options::parse(args, false).and_then(|options| {
        // A use, as of every command that looks at its key.
        stream_of(ctx.get(args.at(1)))?;
        options.trim(ctx, args.at(1))
    });
    answer_integer(reply, outcome.map(|count| count as i64));
}

//! SCANDUMP and LOADCHUNK: a filter in pieces, as `docs/formats/cuckoo.md` has them.
//!
//! The pieces are of our own format, for RedisBloom's filters have another layout and another hash. They are loaded in the
//! order in which they were dumped.

use super::{ADDING, ADDS, BLOOM_ROW, CUCKOO_ROW, FilterChange, ITEM_EXISTS, NOT_FOUND, READING};
use super::{existing, filter_of};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer};
use crate::table::{Command, Run};
use effect::Effect;
use protocol::Reply;
use store::{Filter, FilterKind};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "cf.scandump",
        arity: 3,
        flags: READING,
        complexity: "O(n), where n is the capacity",
        summary: "Begins an incremental save of the cuckoo filter",
        run: Run::Read(cf_scandump),
        ..CUCKOO_ROW
    },
    Command {
        name: "cf.loadchunk",
        arity: 4,
        flags: ADDING,
        keys: ADDS,
        complexity: "O(n), where n is the capacity",
        summary: "Restores a filter previously saved using SCANDUMP",
        run: Run::Write(cf_loadchunk),
        ..CUCKOO_ROW
    },
    Command {
        name: "bf.scandump",
        arity: 3,
        flags: READING,
        complexity: "O(n), where n is the capacity",
        summary: "Begins an incremental save of the bloom filter",
        run: Run::Read(bf_scandump),
        ..BLOOM_ROW
    },
    Command {
        name: "bf.loadchunk",
        arity: 4,
        flags: ADDING,
        keys: ADDS,
        complexity: "O(n), where n is the capacity",
        summary: "Restores a filter previously saved using SCANDUMP",
        run: Run::Write(bf_loadchunk),
        ..BLOOM_ROW
    },
];

/// Bytes of one piece, RedisBloom's `MAX_SCANDUMP_SIZE`.
const PIECE_BYTES: usize = 16 * 1024 * 1024;
/// Iterator of the piece that is the header.
const HEADER: i64 = 1;

const INVALID_POSITION: CommandError = CommandError::Bare("Invalid position");
const NOT_LOADED: CommandError = CommandError::Bare("Couldn't load chunk!");
const BAD_DATA: CommandError = CommandError::Other("received bad data");

fn cf_scandump(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let position = protocol::parse_i64(args.at(2)).filter(|position| *position >= 0).ok_or(INVALID_POSITION);
    let outcome = position.and_then(|position| {
        let filter = existing(ctx, args.at(1), FilterKind::Cuckoo)?;
        let is_empty = matches!(filter, Filter::Cuckoo(filter) if filter.items() == 0);
        match piece(filter, position).filter(|_| !is_empty) {
            Some((next, bytes)) => reply_piece(reply, next, &bytes),
            None => {
                reply.array(2);
                reply.integer(0);
                reply.null();
            }
        }
        Ok(())
    });
    answer(reply, outcome);
}

fn bf_scandump(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = existing(ctx, args.at(1), FilterKind::Bloom).and_then(|filter| {
        let not_numeric = CommandError::Bare("Second argument must be numeric");
        let position = protocol::parse_i64(args.at(2)).ok_or(not_numeric)?;
        let (next, bytes) = piece(filter, position).unwrap_or_default();
        reply_piece(reply, next, &bytes);
        Ok(())
    });
    answer(reply, outcome);
}

fn reply_piece(reply: &mut Reply<'_>, next: i64, bytes: &[u8]) {
    reply.array(2);
    reply.integer(next);
    reply.bulk(bytes);
}

/// The piece at an iterator and the iterator after it; `None` after the last one.
fn piece(filter: &Filter, position: i64) -> Option<(i64, Vec<u8>)> {
    let header = filter.header();
    let Some(offset) = position.checked_sub(HEADER).filter(|offset| *offset >= 0) else {
        return (position == 0).then_some((HEADER, header));
    };
    let mut bytes = Vec::new();
    let start = header.len().saturating_add(usize::try_from(offset).ok()?);
    filter.encode_range(start, PIECE_BYTES, &mut bytes);
    let next = position.checked_add(i64::try_from(bytes.len()).ok()?)?;
    (!bytes.is_empty()).then_some((next, bytes))
}

fn cf_loadchunk(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = load_cuckoo(ctx, args).map(|()| reply.ok());
    answer(reply, outcome);
}

fn load_cuckoo(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<()> {
    let (key, bytes) = (args.at(1), args.at(3));
    let position =
        protocol::parse_i64(args.at(2)).filter(|position| *position > 0).ok_or(INVALID_POSITION)?;
    let lens = loading(ctx, key, FilterKind::Cuckoo)?;
    if position == HEADER {
        let is_free = lens.is_none();
        return is_free
            .then(|| load_header(ctx, key, bytes, FilterKind::Cuckoo, CommandError::Bare("Invalid header")))
            .ok_or(ITEM_EXISTS)?;
    }
    let lens = lens.ok_or(NOT_FOUND)?.ok_or(NOT_LOADED)?;
    let offset = lens.offset(position, bytes).ok_or(NOT_LOADED)?;
    load_piece(ctx, key, offset, bytes).ok_or(NOT_LOADED)
}

fn bf_loadchunk(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = load_bloom(ctx, args).map(|()| reply.ok());
    answer(reply, outcome);
}

fn load_bloom(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<()> {
    let (key, bytes) = (args.at(1), args.at(3));
    let not_numeric = CommandError::Other("Second argument must be numeric");
    let position = protocol::parse_i64(args.at(2)).ok_or(not_numeric)?;
    let lens = loading(ctx, key, FilterKind::Bloom)?;
    if lens.is_none() && position == HEADER {
        return load_header(ctx, key, bytes, FilterKind::Bloom, BAD_DATA);
    }
    let lens = lens.ok_or(NOT_FOUND)?;
    if position <= HEADER || bytes.is_empty() {
        return Err(BAD_DATA);
    }
    let no_link = CommandError::Other("invalid offset - no link found");
    let lens = lens.ok_or(no_link.clone())?;
    let offset = lens.offset(position, bytes).ok_or(BAD_DATA)?;
    if offset != lens.loaded {
        return Err(no_link);
    }
    if bytes.len() as u64 > lens.whole - lens.loaded {
        return Err(CommandError::Other("invalid chunk - Too big for current filter"));
    }
    load_piece(ctx, key, offset, bytes).ok_or(BAD_DATA)
}

/// How far a filter is loaded, in bytes of its encoding.
struct Lens {
    header: u64,
    loaded: u64,
    whole: u64,
}

impl Lens {
    /// Where the piece that ends at an iterator begins.
    fn offset(&self, position: i64, bytes: &[u8]) -> Option<u64> {
        let end = u64::try_from(position - HEADER).ok()?;
        end.checked_sub(bytes.len() as u64)?.checked_add(self.header)
    }
}

/// `None` if `key` holds nothing; nothing inside if it holds a filter that is whole.
fn loading(ctx: &mut WriteCtx<'_>, key: &[u8], kind: FilterKind) -> Outcome<Option<Option<Lens>>> {
    let Some(entry) = ctx.get(key) else { return Ok(None) };
    Ok(Some(match filter_of(&entry, kind)? {
        Filter::Loading(loading) => Some(Lens {
            header: loading.header_len() as u64,
            loaded: loading.loaded_len() as u64,
            whole: loading.whole_len() as u64,
        }),
        _ => None,
    }))
}

/// Begins a filter with its header, and nothing more.
fn load_header(
    ctx: &mut WriteCtx<'_>,
    key: &[u8],
    header: &[u8],
    kind: FilterKind,
    error: CommandError,
) -> Outcome<()> {
    match Filter::decode(header) {
        Ok(Filter::Loading(loading))
            if loading.kind() == kind && loading.loaded_len() == loading.header_len() =>
        {
            ctx.emit(Effect::SetFilter { db: ctx.db, key, filter: header, expire_at: None });
            Ok(())
        }
        _ => Err(error),
    }
}

/// `None`, and nothing is changed, if the piece does not belong there.
fn load_piece(ctx: &mut WriteCtx<'_>, key: &[u8], offset: u64, bytes: &[u8]) -> Option<()> {
    if bytes.is_empty() {
        return None;
    }
    ctx.change_filter(key, |filter| match filter.load(offset, bytes) {
        Ok(()) => (Some(()), FilterChange::Loaded { offset, bytes }),
        Err(_) => (None, FilterChange::Nothing),
    })?
}

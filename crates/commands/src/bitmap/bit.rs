//! Single bits: SETBIT and GETBIT.

use super::{READS, ROW, bit_offset};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{CommandError, Outcome, answer_integer};
use crate::string::{INTEGER_TEXT_BYTES_MAX, string_of};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Effect;
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "setbit",
        arity: 4,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE))]),
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist.",
        run: Run::Write(setbit),
        ..ROW
    },
    Command {
        name: "getbit",
        arity: 3,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: READS,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Returns a bit value by offset.",
        run: Run::Read(getbit),
        ..ROW
    },
];

const BAD_BIT: CommandError = CommandError::Other("bit is not an integer or out of range");

fn setbit(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, set_bit(ctx, args).map(i64::from));
}

/// Sets a bit and gives back what it was.
fn set_bit(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<bool> {
    let (db, key) = (ctx.db, args.at(1));
    let offset = bit_offset(args.at(2))?;
    let on = match protocol::parse_i64(args.at(3)) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(BAD_BIT),
    };
    let (at, mask) = place(offset);
    let former = match ctx.get(key) {
        Some(entry) => string_of(&entry)?.as_bytes(&mut [0; INTEGER_TEXT_BYTES_MAX]).get(at).copied(),
        None => {
            ctx.bury_expired(key);
            None
        }
    };
    let byte = former.unwrap_or(0);
    let was = byte & mask != 0;
    // A bit beyond the end makes the string longer even if it is zero.
    if former.is_none() || was != on {
        let byte = if on { byte | mask } else { byte & !mask };
        ctx.emit(Effect::Splice { db, key, offset: at as u64, bytes: &[byte] });
    }
    Ok(was)
}

/// The byte in which a bit stands, and the bit there.
fn place(offset: u64) -> (usize, u8) {
    ((offset / 8) as usize, 128 >> (offset % 8))
}

fn getbit(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, bit_at(ctx, args).map(i64::from));
}

fn bit_at(ctx: &mut ReadCtx<'_>, args: Args<'_>) -> Outcome<bool> {
    let (at, mask) = place(bit_offset(args.at(2))?);
    let Some(entry) = ctx.get(args.at(1)) else { return Ok(false) };
    let string = string_of(&entry)?;
    let byte = string.as_bytes(&mut [0; INTEGER_TEXT_BYTES_MAX]).get(at).copied();
    Ok(byte.is_some_and(|byte| byte & mask != 0))
}

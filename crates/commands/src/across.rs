//! Commands whose keys have different primaries: what can be done with copies of the values, and how the outcome is made true.
//!
//! The node that is asked fetches every value ([`fetch`]), runs the command on a scratch partition, and answers; what the command
//! changed there goes to the primaries of the changed keys ([`apply`]), one after the other, as effects. The values are those of
//! slightly different moments, which every reader of several servers has to live with. Where the outcome depends on a value that is
//! changed, the change is made only if that is still the value that was fetched; else all of it begins anew.

use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::table::Command;
use effect::RecordBuilder;
use protocol::Reply;
use stdx::hash::hash64;

/// Seed of digests of fetched values: the same everywhere.
const DIGEST_SEED: u64 = 0x6163_726f_7373_2121;
/// The reply of [`apply`] when it was done.
pub const APPLIED: &[u8] = b"+OK\r\n";
/// The reply of [`apply`] when the value is another one by now, and nothing was done.
pub const CHANGED: &[u8] = b"+CHANGED\r\n";
/// The condition of [`apply`] that always holds.
pub const ANY: &[u8] = b"";

/// How a command that writes can be run on keys of different primaries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Across {
    /// It changes one key, whatever was there: the write of that key decides.
    Store,
    /// What it changes depends on the values: each change is made only on the value that was fetched.
    Compare,
    /// It takes an element from one key and adds it to another: taking decides.
    Transfer,
}

/// How this command can be run on keys of different primaries; `None` if it cannot.
pub fn across(command: &Command) -> Option<Across> {
    match command.name {
        "sinterstore" | "sunionstore" | "sdiffstore" | "zinterstore" | "zunionstore" | "zdiffstore"
        | "zrangestore" | "geosearchstore" | "georadius" | "georadiusbymember" | "bitop" => {
            Some(Across::Store)
        }
        "pfmerge" | "rename" | "renamenx" | "copy" => Some(Across::Compare),
        "lmove" | "rpoplpush" | "smove" | "blmove" | "brpoplpush" => Some(Across::Transfer),
        _ => None,
    }
}

/// Answers with the effect that sets the key in the second word, encoded; with an empty bulk if there is none.
pub fn fetch(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.bulk(&encoded(ctx.db, args.at(1), |key| ctx.get(key)));
}

/// Applies the encoded effects in the fourth word to the key in the second, if the condition in the third holds.
pub fn apply(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let (db, key, condition) = (ctx.db, args.at(1), args.get(2).unwrap_or(ANY));
    if condition != ANY && condition != digest(&encoded(db, key, |key| ctx.get(key))) {
        return reply.raw(CHANGED);
    }
    let effects: Result<Vec<_>, _> = effect::decode(args.get(3).unwrap_or_default()).collect();
    let Ok(effects) = effects else { return reply.error("ERR a node sent effects that are none") };
    if effects.iter().any(|effect| effect.key() != Some(key)) {
        return reply.error("ERR a node sent effects on another key");
    }
    ctx.bury_expired(key);
    effects.into_iter().for_each(|effect| ctx.emit(effect));
    reply.raw(APPLIED);
}

/// The condition of [`apply`] that a value is still the one that [`fetch`] has answered.
pub fn digest(fetched: &[u8]) -> [u8; 8] {
    hash64(DIGEST_SEED, fetched).to_le_bytes()
}

fn encoded<'c>(db: u8, key: &[u8], look: impl FnOnce(&[u8]) -> Option<store::EntryRef<'c>>) -> Vec<u8> {
    let mut record = RecordBuilder::new();
    if let Some(entry) = look(key) {
        entry.with_effect(db, &mut |effect| record.push(&effect));
    }
    record.take()
}

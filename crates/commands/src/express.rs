//! GET, MGET and the plain SET without a context.
//!
//! They are nearly all that a cache is asked for. What other handlers find out through their context (which of several
//! partitions, whether a key was placed, how a change is noted) is known here, so a pipeline of them pays for the store
//! and the reply alone. They do exactly what the handlers of their rows do, with the same parts.

use crate::context::Access;
use crate::string;
use crate::table::{Command, ReadFn, Run, WriteFn};
use effect::Effect;
use protocol::Reply;
use stdx::Wall;
use store::{EntryRef, Locator, Partition};

/// How a command may be run without a context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Express {
    /// Not at all.
    No,
    /// By [`get`].
    Get,
    /// By [`set`].
    Set,
    /// By [`get_one_of_many`] for each of its keys, all words but the first.
    GetMany,
}

/// What the commands of one client have in common.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The database that it has selected.
    pub db: u8,
    /// Whether looking at a key counts as an access.
    pub touch: bool,
    /// The time of its commands.
    pub now: Wall,
}

impl Command {
    /// How a command of this row with so many words may be run.
    pub fn express(&self, words: usize) -> Express {
        match self.run {
            // Should an address not be recognised, the command runs through its context, and is merely slower.
            Run::Read(run) if std::ptr::fn_addr_eq(run, string::get::get as ReadFn) && words == 2 => {
                Express::Get
            }
            Run::Write(run) if std::ptr::fn_addr_eq(run, string::set::set as WriteFn) && words == 3 => {
                Express::Set
            }
            Run::Fanout { local: Run::Read(run), .. }
                if std::ptr::fn_addr_eq(*run, string::many::mget as ReadFn) =>
            {
                Express::GetMany
            }
            _ => Express::No,
        }
    }
}

/// GET; true if the key was there.
#[inline(always)]
pub fn get(store: &mut Partition, client: Client, key: &[u8], at: Locator, reply: &mut Reply<'_>) -> bool {
    let entry = look_up(store, client, key, at);
    let found = entry.is_some();
    match entry.and_then(|entry| entry.plain()) {
        Some(bytes) => reply.bulk(bytes),
        None => string::get::reply_entry(reply, entry),
    }
    found
}

/// One value of the reply of MGET; true if the key was there.
#[inline(always)]
pub fn get_one_of_many(
    store: &mut Partition,
    client: Client,
    key: &[u8],
    at: Locator,
    reply: &mut Reply<'_>,
) -> bool {
    let entry = look_up(store, client, key, at);
    let found = entry.is_some();
    match entry.and_then(|entry| entry.plain()) {
        Some(bytes) => reply.bulk(bytes),
        None => string::many::reply_one_of_many(reply, entry),
    }
    found
}

#[inline(always)]
fn look_up<'s>(store: &'s mut Partition, client: Client, key: &[u8], at: Locator) -> Option<EntryRef<'s>> {
    let Client { db, touch, now } = client;
    if touch { store.get(db, key, at, now) } else { store.peek(db, key, at, now) }
}

/// SET of key and value with nothing else.
#[inline(always)]
pub fn set(
    access: &mut Access<'_>,
    client: Client,
    (key, value): (&[u8], &[u8]),
    at: Locator,
    reply: &mut Reply<'_>,
) {
    let effect = Effect::SetString { db: client.db, key, value, expire_at: None };
    access.emit(&effect, at, client.now);
    reply.ok();
}

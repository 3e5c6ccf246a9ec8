//! Keyspace events: what a command has done to a key, by the names that Redis has for it.
//!
//! An event follows from the command and from its effects; no handler knows of it. Each key that a command changes has the event of
//! the command ([`name_of`]), `del` behind it if the key is gone with that, and the events that have names of their own whatever the
//! command: deadlines, expiry, eviction, new keys.

use crate::args::Args;
use crate::table::{Command, Group};
use effect::{Cause, Effect, StreamChange};

/// Which events are published, as bits (`notify-keyspace-events`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Events(u32);

/// One letter of the directive for each bit, in the order in which Redis writes them.
const LETTERS: &[(u8, u32)] = &[
    (b'g', Events::GENERIC),
    (b'$', Events::STRING),
    (b'l', Events::LIST),
    (b's', Events::SET),
    (b'h', Events::HASH),
    (b'z', Events::SORTED_SET),
    (b'x', Events::EXPIRED),
    (b'e', Events::EVICTED),
    (b't', Events::STREAM),
    (b'd', Events::MODULE),
];
const REST: &[(u8, u32)] =
    &[(b'K', Events::KEYSPACE), (b'E', Events::KEYEVENT), (b'm', Events::KEY_MISS), (b'n', Events::NEW)];

impl Events {
    const KEYSPACE: u32 = 1;
    const KEYEVENT: u32 = 1 << 1;
    const GENERIC: u32 = 1 << 2;
    const STRING: u32 = 1 << 3;
    const LIST: u32 = 1 << 4;
    const SET: u32 = 1 << 5;
    const HASH: u32 = 1 << 6;
    const SORTED_SET: u32 = 1 << 7;
    const EXPIRED: u32 = 1 << 8;
    const EVICTED: u32 = 1 << 9;
    const STREAM: u32 = 1 << 10;
    const MODULE: u32 = 1 << 11;
    const KEY_MISS: u32 = 1 << 12;
    const NEW: u32 = 1 << 13;
    /// The letter `A`.
    const ALL: u32 = Events::GENERIC
        | Events::STRING
        | Events::LIST
        | Events::SET
        | Events::HASH
        | Events::SORTED_SET
        | Events::EXPIRED
        | Events::EVICTED
        | Events::STREAM
        | Events::MODULE;

    /// No events.
    pub const NONE: Events = Events(0);

    /// The events that the letters of the directive name; `None` if there is another letter.
    pub fn parse(letters: &str) -> Option<Events> {
        letters.bytes().try_fold(Events::NONE, |events, letter| {
            let bit = match letter {
                b'A' => Events::ALL,
                _ => LETTERS.iter().chain(REST).find(|(other, _)| *other == letter)?.1,
            };
            Some(Events(events.0 | bit))
        })
    }

    /// The letters as CONFIG GET answers them.
    pub fn letters(self) -> String {
        let mut letters = String::new();
        if self.0 & Events::ALL == Events::ALL {
            letters.push('A');
        } else {
            letters.extend(
                LETTERS.iter().filter(|(_, bit)| self.0 & bit != 0).map(|(letter, _)| char::from(*letter)),
            );
        }
        letters
            .extend(REST.iter().filter(|(_, bit)| self.0 & bit != 0).map(|(letter, _)| char::from(*letter)));
        letters
    }

    /// Whether anything is published: some events, by key or by event.
    pub fn is_on(self) -> bool {
        self.0 & (Events::KEYSPACE | Events::KEYEVENT) != 0
            && self.0 & !(Events::KEYSPACE | Events::KEYEVENT) != 0
    }

    /// As a number, to be kept in an atomic.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The events with this number.
    pub fn from_bits(bits: u32) -> Events {
        Events(bits)
    }
}

/// Something that has happened to a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its database.
    pub db: u8,
    /// The key.
    pub key: Vec<u8>,
    /// What happened.
    pub name: &'static str,
    class: u32,
}

impl Event {
    /// A key was removed at its deadline.
    pub fn expired(db: u8, key: &[u8]) -> Event {
        Event { db, key: key.to_vec(), name: "expired", class: Events::EXPIRED }
    }

    /// A key was evicted.
    pub fn evicted(db: u8, key: &[u8]) -> Event {
        Event { db, key: key.to_vec(), name: "evicted", class: Events::EVICTED }
    }

    /// Visits the messages that are published for it, as channel and message.
    pub fn messages(&self, events: Events, visit: &mut dyn FnMut(&[u8], &[u8])) {
        if events.0 & self.class == 0 {
            return;
        }
        if events.0 & Events::KEYSPACE != 0 {
            let channel = [format!("__keyspace@{}__:", self.db).as_bytes(), &self.key].concat();
            visit(&channel, self.name.as_bytes());
        }
        if events.0 & Events::KEYEVENT != 0 {
            visit(format!("__keyevent@{}__:{}", self.db, self.name).as_bytes(), &self.key);
        }
    }
}

/// The events of a command that has had these effects, encoded.
pub fn events_of(command: &Command, args: Args<'_>, effects: &[u8], out: &mut Vec<Event>) {
    let mut last: Option<(u8, &[u8])> = None;
    for effect in effect::decode(effects).flatten() {
        let (db, Some(key)) = (effect.db(), effect.key()) else { continue };
        let is_first = last.replace((db, key)) != Some((db, key));
        let mut push = |name, class| out.push(Event { db, key: key.to_vec(), name, class });
        match effect {
            Effect::Remove { cause: Cause::Expired, .. } => {
                push("expired", Events::EXPIRED);
                last = None;
            }
            Effect::Remove { cause: Cause::Evicted, .. } => push("evicted", Events::EVICTED),
            Effect::Remove { .. } => match name_of(command, args, &effect) {
                Some((name, class)) if takes_away(command) => {
                    if is_first {
                        push(name, class);
                    }
                    push("del", Events::GENERIC);
                }
                Some((name @ ("rename_from" | "move_from"), class)) => push(name, class),
                _ => push("del", Events::GENERIC),
            },
            Effect::ExpireAt { at: None, .. } => push("persist", Events::GENERIC),
            Effect::ExpireAt { .. } => push("expire", Events::GENERIC),
            Effect::ChangeStream { change, .. } => {
                if let Some(name) = name_of_change(command, &change) {
                    push(name, Events::STREAM);
                }
            }
            _ => {
                if let Some((name, class)) = name_of(command, args, &effect)
                    && is_first
                {
                    push(name, class);
                    if sets_deadline(command, args, &effect) {
                        push("expire", Events::GENERIC);
                    }
                }
            }
        }
    }
}

/// Whether SET or one of its kin has set a deadline, rather than kept one.
fn sets_deadline(command: &Command, args: Args<'_>, effect: &Effect<'_>) -> bool {
    let kept = || args.tail(3).iter().any(|word| word.eq_ignore_ascii_case(b"keepttl"));
    matches!(command.name, "set" | "setex" | "psetex")
        && matches!(effect, Effect::SetString { expire_at: Some(_), .. })
        && !kept()
}

/// Whether the command takes elements, so that its own event comes before `del`.
fn takes_away(command: &Command) -> bool {
    match command.group {
        Group::List => !matches!(command.name, "lset"),
        Group::Hash => command.name == "hdel",
        Group::Set => matches!(command.name, "srem" | "spop" | "smove"),
        Group::SortedSet => command.name.starts_with("zrem") || command.name.contains("pop"),
        _ => false,
    }
}

/// Name and class of the event of a command, for the key of this effect.
fn name_of(command: &Command, args: Args<'_>, effect: &Effect<'_>) -> Option<(&'static str, u32)> {
    let adds = match effect {
        Effect::SpliceList { elements, .. } => !elements.is_empty(),
        Effect::PutElements { .. } => true,
        _ => false,
    };
    let name = match command.name {
        "setex" | "psetex" | "setnx" | "mset" | "msetnx" | "getset" | "bitop" => "set",
        "incr" | "decr" | "decrby" => "incrby",
        "setbit" | "bitfield" => "setbit",
        "pfmerge" => "pfadd",
        "hmset" | "hsetnx" => "hset",
        "lpushx" => "lpush",
        "rpushx" => "rpush",
        "blpop" => "lpop",
        "brpop" => "rpop",
        "lmpop" | "blmpop" | "lmove" | "blmove" | "rpoplpush" | "brpoplpush" => {
            name_by_end(command, args, adds)
        }
        "smove" => {
            if adds {
                "sadd"
            } else {
                "srem"
            }
        }
        "zadd" if args.tail(2).iter().any(|word| word.eq_ignore_ascii_case(b"incr")) => "zincr",
        "zincrby" => "zincr",
        "geoadd" => "zadd",
        "bzpopmin" => "zpopmin",
        "bzpopmax" => "zpopmax",
        "zmpop" | "bzmpop" => {
            if args.iter().any(|word| word.eq_ignore_ascii_case(b"MAX")) {
                "zpopmax"
            } else {
                "zpopmin"
            }
        }
        "georadius" | "georadiusbymember" => "georadiusstore",
        "rename" | "renamenx" => match effect {
            Effect::Remove { .. } => "rename_from",
            _ => "rename_to",
        },
        "move" => match effect {
            Effect::Remove { .. } => "move_from",
            _ => "move_to",
        },
        "copy" => "copy_to",
        "sort" => "sortstore",
        name => name,
    };
    Some((name, class_of(command)?))
}

/// The event of a command on lists whose ends are given by its words.
fn name_by_end(command: &Command, args: Args<'_>, adds: bool) -> &'static str {
    let is_left = match command.name {
        "lmove" | "blmove" => args.is(if adds { 4 } else { 3 }, "LEFT"),
        "rpoplpush" | "brpoplpush" => adds,
        _ => {
            let is_end =
                |word: &&[u8]| word.eq_ignore_ascii_case(b"LEFT") || word.eq_ignore_ascii_case(b"RIGHT");
            args.iter().rfind(is_end).is_some_and(|word| word.eq_ignore_ascii_case(b"LEFT"))
        }
    };
    match (adds, is_left) {
        (true, true) => "lpush",
        (true, false) => "rpush",
        (false, true) => "lpop",
        (false, false) => "rpop",
    }
}

/// The event of a change of a stream. Of a consumer that a read or a claim makes there is none, because the change does not
/// tell whether it is new.
fn name_of_change(command: &Command, change: &StreamChange<'_>) -> Option<&'static str> {
    Some(match (change, command.name) {
        (StreamChange::Append { .. }, _) => "xadd",
        (StreamChange::Delete { .. }, _) => "xdel",
        (StreamChange::Trim { .. }, _) => "xtrim",
        (StreamChange::SetId { .. }, _) => "xsetid",
        (StreamChange::PutGroup { .. }, "xgroup|create") => "xgroup-create",
        (StreamChange::PutGroup { .. }, "xgroup|setid") => "xgroup-setid",
        (StreamChange::RemoveGroup { .. }, _) => "xgroup-destroy",
        (StreamChange::PutConsumer { .. }, "xgroup|createconsumer") => "xgroup-createconsumer",
        (StreamChange::RemoveConsumer { .. }, _) => "xgroup-delconsumer",
        _ => return None,
    })
}

fn class_of(command: &Command) -> Option<u32> {
    Some(match command.group {
        Group::Generic => Events::GENERIC,
        Group::String | Group::Bitmap | Group::HyperLogLog => Events::STRING,
        Group::List => Events::LIST,
        Group::Set => Events::SET,
        Group::Hash => Events::HASH,
        Group::SortedSet | Group::Geo => Events::SORTED_SET,
        Group::Stream => Events::STREAM,
        Group::Bloom | Group::Cuckoo => Events::MODULE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_redis() {
        for (letters, canonical) in
            [("", ""), ("KEA", "AKE"), ("Ex", "xE"), ("gxE", "gxE"), ("Kg$lshzxetd", "AK"), ("mnK", "Kmn")]
        {
            assert_eq!(Events::parse(letters).map(Events::letters).as_deref(), Some(canonical), "{letters}");
        }
        assert_eq!(Events::parse("KEq"), None);
        let is_on = |letters| Events::parse(letters).is_some_and(Events::is_on);
        assert!(is_on("Ex") && is_on("KA") && !is_on("K") && !is_on("gx") && !is_on(""));
    }

    /// As Redis has them (`notifyKeyspaceEvent` in t_stream.c): a trim by XADD is an event of its own, a delivery is none.
    #[test]
    fn changes_of_streams_have_their_events() {
        let check = |name: &str, changes: &[StreamChange<'_>], expected: &[&str]| {
            let (mut record, mut events) = (effect::RecordBuilder::new(), Vec::new());
            for change in changes {
                record.push(&Effect::ChangeStream { db: 0, key: b"k", change: *change });
            }
            let command = crate::table::lookup(name.as_bytes()).expect("a command");
            events_of(command, Args::new(&[name.as_bytes()]), record.bytes(), &mut events);
            assert_eq!(events.iter().map(|event| event.name).collect::<Vec<_>>(), expected, "{name}");
            assert!(events.iter().all(|event| event.class == Events::STREAM));
        };
        let (group, last) = (&b"g"[..], effect::StreamId::MAX);
        let append = StreamChange::Append { id: last, fields: effect::Elements::words(&[b"f", b"v"]) };
        let put = StreamChange::PutGroup { group, last, read: None };
        let seen = stdx::Wall(1);
        let consumer = StreamChange::PutConsumer { group, consumer: b"c", seen, active: None };
        check("xadd", &[append, StreamChange::Trim { through: last }], &["xadd", "xtrim"]);
        check("xgroup|create", &[put], &["xgroup-create"]);
        check("xgroup|createconsumer", &[consumer], &["xgroup-createconsumer"]);
        check("xreadgroup", &[put, consumer], &[]);
    }

    #[test]
    fn messages_go_to_the_key_and_to_the_event() {
        let event = Event::expired(3, b"k");
        let said = |letters| {
            let mut said = Vec::new();
            event.messages(Events::parse(letters).expect("letters"), &mut |channel, message| {
                said.push((String::from_utf8_lossy(channel).into_owned(), message.to_vec()));
            });
            said
        };
        assert_eq!(
            said("KEx"),
            [
                ("__keyspace@3__:k".to_owned(), b"expired".to_vec()),
                ("__keyevent@3__:expired".to_owned(), b"k".to_vec())
            ]
        );
        assert!(said("KEg").is_empty());
    }
}

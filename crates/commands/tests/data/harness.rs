//! A cluster of partitions in one place, without a node: runs commands the way a node dispatches them.
//!
//! With 256 partitions it plays three primaries, splits what spans them and merges the replies, so that every script
//! also proves that its commands are right on any subset of their keys.

use commands::generic::scan;
use commands::table::{self, KeyIter};
use commands::{Access, Args, Command, Gather, Merge, ReadCtx, Run, WriteCtx};
use effect::{Cause, Delivery, Effect, Elements, Hashes, Items, Kind, RecordBuilder, StreamChange, StreamId};
use protocol::{Reply, Value, Version};
use std::collections::BTreeSet;
use std::fmt::Write;
use stdx::hash::hash64;
use stdx::{PartitionId, Random, Wall};
use store::Partition;
use store::eviction::Policy;

/// When every script starts: late enough that absolute deadlines are in the future of any real server, too.
pub(crate) const START: Wall = Wall(4_000_000_000_000);
const PRIMARIES: u16 = 3;

/// Partitions and what happened to them.
pub(crate) struct Cluster {
    pub(crate) now: Wall,
    pub(crate) db: u8,
    pub(crate) version: Version,
    pub(crate) policy: Policy,
    partitions: u16,
    stores: Vec<Partition>,
    records: Vec<RecordBuilder>,
    touched: Vec<Vec<(u8, u64)>>,
    log: Vec<Vec<u8>>,
    /// Where the effects of a command begin in each log.
    begins: Vec<Vec<usize>>,
    ran: BTreeSet<&'static str>,
}

impl Cluster {
    pub(crate) fn new(partitions: u16) -> Cluster {
        let count = usize::from(partitions);
        Cluster {
            now: START,
            db: 0,
            version: Version::Resp2,
            policy: Policy::NoEviction,
            partitions,
            stores: (0..u64::from(partitions)).map(Partition::new).collect(),
            records: (0..count).map(|_| RecordBuilder::new()).collect(),
            touched: vec![Vec::new(); count],
            log: vec![Vec::new(); count],
            begins: vec![Vec::new(); count],
            ran: BTreeSet::new(),
        }
    }

    /// Names of the commands run so far, without those that were refused before they ran.
    pub(crate) fn ran(&self) -> &BTreeSet<&'static str> {
        &self.ran
    }

    /// Runs one command: its reply, and its effects rendered one by one.
    pub(crate) fn run(&mut self, words: &[Vec<u8>]) -> (Value, Vec<String>) {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let args = Args::new(&words);
        let mut out = Vec::new();
        match commands::find(args) {
            Err(error) => Reply::new(&mut out, self.version).error(&error.to_string()),
            Ok(command) => {
                self.ran.insert(command.name);
                self.dispatch(command, args, &mut out);
            }
        }
        let (value, used) = protocol::decode(&out).expect("a valid reply").expect("a whole reply");
        assert_eq!(used, out.len(), "one reply to {words:?}");
        (value, self.end_of_command())
    }

    fn dispatch(&mut self, command: &'static Command, args: Args<'_>, out: &mut Vec<u8>) {
        match &command.run {
            Run::Fanout { local, group, merge } => {
                self.fan_out(command, local, usize::from(*group), *merge, args, out);
            }
            Run::Partitions { local, merge, validate } => {
                if let Err(error) = validate(args) {
                    return Reply::new(out, self.version).error(&error);
                }
                let mut gather = Gather::new(Random::seeded(1));
                for id in 0..self.partitions {
                    let (db, now, partitions) = (self.db, self.now, self.partitions);
                    let mut accesses = self.accesses(&BTreeSet::from([id]));
                    local(&mut WriteCtx::new(db, now, partitions, &mut accesses), args, &mut gather);
                }
                gather.finish(*merge, &mut Reply::new(out, self.version));
            }
            Run::Scan => self.scan(args, out),
            Run::Blocking(blocking) => match (blocking.wait)(args) {
                Err(error) => Reply::new(out, self.version).error(&error),
                Ok(_) => {
                    let keys = command.key_positions(args);
                    self.local(&blocking.attempt, self.partitions_of(keys, args), args, out);
                    if out.is_empty() {
                        (blocking.nothing)(&mut Reply::new(out, self.version), true);
                    }
                }
            },
            run => {
                let keys = command.key_positions(args);
                self.local(run, self.partitions_of(keys, args), args, out);
            }
        }
    }

    fn partitions_of(&self, keys: KeyIter, args: Args<'_>) -> BTreeSet<u16> {
        let mut partitions: BTreeSet<u16> =
            keys.map(|at| PartitionId::of_key(args.at(at), self.partitions).0).collect();
        // As a node does: a command that names no keys after all runs anywhere.
        if partitions.is_empty() {
            partitions.insert(0);
        }
        partitions
    }

    fn accesses(&mut self, wanted: &BTreeSet<u16>) -> Vec<Access<'_>> {
        let parts = self.stores.iter_mut().zip(&mut self.records).zip(&mut self.touched).enumerate();
        parts
            .filter(|(id, _)| wanted.contains(&(*id as u16)))
            .map(|(id, ((store, record), touched))| Access {
                id: PartitionId(id as u16),
                store,
                record,
                touched,
                log: true,
            })
            .collect()
    }

    fn local(&mut self, run: &Run, wanted: BTreeSet<u16>, args: Args<'_>, out: &mut Vec<u8>) {
        let (db, now, partitions, policy) = (self.db, self.now, self.partitions, self.policy);
        let mut reply = Reply::new(out, self.version);
        let mut accesses = self.accesses(&wanted);
        match run {
            Run::Read(read) => {
                let mut context = ReadCtx::new(db, now, partitions, &mut accesses);
                context.policy = policy;
                read(&mut context, args, &mut reply);
            }
            Run::Write(write) => {
                write(&mut WriteCtx::new(db, now, partitions, &mut accesses), args, &mut reply);
            }
            _ => panic!("{args:?} is not a data command"),
        }
    }

    fn fan_out(
        &mut self,
        command: &Command,
        local: &Run,
        group: usize,
        merge: Merge,
        args: Args<'_>,
        out: &mut Vec<u8>,
    ) {
        let mut shares: Vec<(Vec<&[u8]>, Vec<usize>)> =
            vec![(vec![args.name()], Vec::new()); usize::from(PRIMARIES)];
        for (place, words) in args.tail(1).chunks_exact(group).enumerate() {
            let primary = PartitionId::of_key(words[0], self.partitions).0 % PRIMARIES;
            let (share, places) = &mut shares[usize::from(primary)];
            share.extend_from_slice(words);
            places.push(place);
        }
        let mut merged = vec![Value::Null; args.tail(1).len() / group];
        let mut sum = 0;
        for (share, places) in shares.iter().filter(|(_, places)| !places.is_empty()) {
            let (share, mut part) = (Args::new(share), Vec::new());
            self.local(local, self.partitions_of(command.key_positions(share), share), share, &mut part);
            let (value, _) = protocol::decode(&part).expect("a valid reply").expect("a whole reply");
            match (merge, value) {
                (Merge::Sum, Value::Integer(number)) => sum += number,
                (Merge::Ok, Value::Simple(text)) => assert_eq!(text, b"OK"),
                (Merge::PerKey, Value::Array(values)) => {
                    assert_eq!(values.len(), places.len());
                    places.iter().zip(values).for_each(|(place, value)| merged[*place] = value);
                }
                (merge, value) => panic!("{value:?} cannot be merged by {merge:?}"),
            }
        }
        let whole = match merge {
            Merge::Sum => Value::Integer(sum),
            Merge::PerKey => Value::Array(merged),
            _ => Value::Simple(b"OK".to_vec()),
        };
        whole.encode(&mut Reply::new(out, self.version));
    }

    fn scan(&mut self, args: Args<'_>, out: &mut Vec<u8>) {
        let (db, now, partitions) = (self.db, self.now, self.partitions);
        let request = match scan::parse_scan(args) {
            Ok(request) => request,
            Err(error) => return Reply::new(out, self.version).error(&error),
        };
        let (mut cursor, mut looked_at, mut keys) = (request.cursor, 0, Vec::new());
        loop {
            let (id, inner) = scan::split_cursor(cursor);
            if id.0 >= partitions {
                cursor = 0;
                break;
            }
            let mut accesses = self.accesses(&BTreeSet::from([id.0]));
            let ctx = ReadCtx::new(db, now, partitions, &mut accesses);
            let count = request.count - looked_at;
            let next = scan::scan_partition(&ctx, &request, inner, count, &mut looked_at, &mut keys);
            cursor = scan::cursor_after(id, next, partitions);
            if cursor == 0 || looked_at >= request.count {
                break;
            }
        }
        scan::reply_scan(cursor, &keys, &mut Reply::new(out, self.version));
    }

    fn end_of_command(&mut self) -> Vec<String> {
        let mut rendered = Vec::new();
        for (id, record) in self.records.iter_mut().enumerate() {
            assert_eq!(record.count(), self.touched[id].len(), "every effect touches a key");
            let bytes = record.take();
            self.touched[id].clear();
            for effect in effect::decode(&bytes) {
                rendered.push(render_effect(&effect.expect("what was encoded decodes")));
            }
            self.begins[id].push(self.log[id].len());
            self.log[id].extend_from_slice(&bytes);
        }
        rendered
    }

    /// What all partitions hold, in an order that does not depend on their number.
    pub(crate) fn digest(&self) -> Vec<String> {
        digest(&self.stores)
    }

    /// What partitions hold that begin as these are in the end, and then see the last part of their effects once more: as at a
    /// start from a snapshot that was taken while its log went on.
    pub(crate) fn overlapped_digest(&self, random: &mut Random) -> Vec<String> {
        let mut stores = Vec::new();
        for (id, (store, log)) in self.stores.iter().zip(&self.log).enumerate() {
            let mut copy = Partition::new(2_000 + id as u64);
            store.for_each(&mut |effect| self.apply(&mut copy, &effect));
            let begins = &self.begins[id];
            let begin = begins.get(random.below(begins.len().max(1) as u64) as usize).copied().unwrap_or(0);
            for effect in effect::decode(&log[begin..]) {
                self.apply(&mut copy, &effect.expect("what was encoded decodes"));
            }
            stores.push(copy);
        }
        digest(&stores)
    }

    fn apply(&self, store: &mut Partition, effect: &Effect<'_>) {
        let hash = effect.key().map_or(0, |key| store.hash(key));
        store.apply(effect, hash, self.now);
    }

    /// What partitions hold that have seen nothing but this cluster's effects.
    pub(crate) fn replayed_digest(&self) -> Vec<String> {
        let mut stores: Vec<Partition> =
            (0..u64::from(self.partitions)).map(|id| Partition::new(1_000 + id)).collect();
        for (store, log) in stores.iter_mut().zip(&self.log) {
            for effect in effect::decode(log) {
                self.apply(store, &effect.expect("what was encoded decodes"));
            }
        }
        digest(&stores)
    }
}

fn digest(stores: &[Partition]) -> Vec<String> {
    let mut lines = Vec::new();
    for store in stores {
        store.for_each(&mut |effect| lines.push(render_effect(&effect)));
    }
    lines.sort();
    lines
}

/// The rows of commands that the harness can run: those on keys.
pub(crate) fn data_commands() -> impl Iterator<Item = &'static Command> {
    table::all().iter().filter(|command| {
        let on_data = matches!(
            command.run,
            Run::Read(_)
                | Run::Write(_)
                | Run::Fanout { .. }
                | Run::Blocking(_)
                | Run::Partitions { .. }
                | Run::Scan
        );
        on_data && !command.keys.specs().iter().any(|spec| spec.flags.has(table::KeyFlags::NOT_KEY))
    })
}

fn quote(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// Bytes, or how many there are and a digest of them.
fn brief(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=64 => quote(bytes),
        len => format!("{len} bytes, {:016x}", hash64(0, bytes)),
    }
}

fn hexadecimal(hashes: &Hashes<'_>) -> String {
    hashes.iter().map(|hash| format!("{hash:016x}")).collect::<Vec<_>>().join(" ")
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Hash => "hash",
        Kind::List => "list",
        Kind::Set => "set",
        Kind::SortedSet => "sorted-set",
        Kind::Stream => "stream",
    }
}

/// Elements in order; those of hashes and sets sorted, because their order is the layout's. A score is shown as a number.
fn list(kind: Kind, elements: Elements<'_>) -> String {
    let mut shown: Vec<String> = match kind {
        Kind::Hash => {
            elements.pairs().map(|(field, value)| format!("{}={}", quote(field), brief(value))).collect()
        }
        Kind::SortedSet => elements
            .pairs()
            .map(|(score, member)| {
                let score = f64::from_le_bytes(score.try_into().expect("the eight bytes of a score"));
                format!("{score}={}", quote(member))
            })
            .collect(),
        _ => elements.iter().map(brief).collect(),
    };
    if matches!(kind, Kind::Hash | Kind::Set) {
        shown.sort();
    }
    format!("[{}]", shown.join(" "))
}

fn render_change(db: u8, key: &[u8], change: &StreamChange<'_>) -> String {
    let ids = |ids: Items<'_, StreamId>| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(" ");
    let (what, text) = match *change {
        StreamChange::Append { id, fields } => ("append-to", format!("{id} {}", list(Kind::List, fields))),
        StreamChange::Delete { ids: gone } => ("delete-from", ids(gone)),
        StreamChange::Trim { through } => ("trim", format!("through {through}")),
        StreamChange::SetId { last, added, deleted } => {
            ("set-id-of", format!("{last} added {added} deleted {deleted}"))
        }
        StreamChange::PutGroup { group, last, read } => {
            ("put-group", format!("{} at {last} read {read:?}", quote(group)))
        }
        StreamChange::RemoveGroup { group } => ("remove-group", quote(group)),
        StreamChange::PutConsumer { group, consumer, seen, active } => {
            let active = active.map(|at| at.0);
            let names = format!("{} {}", quote(group), quote(consumer));
            ("put-consumer", format!("{names} seen {} active {active:?}", seen.0))
        }
        StreamChange::RemoveConsumer { group, consumer } => {
            ("remove-consumer", format!("{} {}", quote(group), quote(consumer)))
        }
        StreamChange::PutPending { group, consumer, deliveries } => {
            let shown = deliveries.iter().map(|Delivery { id, at, count }| format!("{id}@{} x{count}", at.0));
            let shown = shown.collect::<Vec<_>>().join(" ");
            ("put-pending", format!("{} {} {shown}", quote(group), quote(consumer)))
        }
        StreamChange::RemovePending { group, ids: gone } => {
            ("remove-pending", format!("{} {}", quote(group), ids(gone)))
        }
    };
    format!("{what} {db} {} {text}", quote(key))
}

fn render_effect(effect: &Effect<'_>) -> String {
    match effect {
        Effect::SetString { db, key, value, expire_at } => {
            let mut line = format!("set {db} {} {}", quote(key), quote(value));
            if let Some(at) = expire_at {
                write!(line, " until {at}", at = at.0).expect("a string takes it");
            }
            line
        }
        Effect::Splice { db, key, offset, bytes } => {
            format!("splice {db} {} {offset} {}", quote(key), brief(bytes))
        }
        Effect::SetFilter { db, key, filter, expire_at } => {
            let mut line = format!("set-filter {db} {} {}", quote(key), brief(filter));
            if let Some(at) = expire_at {
                write!(line, " until {at}", at = at.0).expect("a string takes it");
            }
            line
        }
        Effect::CreateFilter { db, key, header } => {
            format!("create-filter {db} {} {}", quote(key), quote(header))
        }
        Effect::AddToFilter { db, key, revision, hashes } => {
            format!("add-to-filter {db} {} {revision} {}", quote(key), hexadecimal(hashes))
        }
        Effect::DeleteFromFilter { db, key, revision, hashes } => {
            format!("delete-from-filter {db} {} {revision} {}", quote(key), hexadecimal(hashes))
        }
        Effect::LoadFilter { db, key, offset, bytes } => {
            format!("load-filter {db} {} {offset} {}", quote(key), brief(bytes))
        }
        Effect::SetCollection { db, key, kind, elements, expire_at } => {
            let mut line = format!("set-{} {db} {} {}", name_of(*kind), quote(key), list(*kind, *elements));
            if let Some(at) = expire_at {
                write!(line, " until {at}", at = at.0).expect("a string takes it");
            }
            line
        }
        Effect::PutElements { db, key, kind, elements } => {
            format!("put-{} {db} {} {}", name_of(*kind), quote(key), list(*kind, *elements))
        }
        Effect::DropElements { db, key, kind, elements } => {
            format!("drop-{} {db} {} {}", name_of(*kind), quote(key), list(Kind::Set, *elements))
        }
        Effect::SpliceList { db, key, revision, index, removed, elements } => {
            let elements = list(Kind::List, *elements);
            format!("splice-list {db} {} {revision} {index} {removed} {elements}", quote(key))
        }
        Effect::ChangeStream { db, key, change } => render_change(*db, key, change),
        Effect::Remove { db, key, cause } => {
            let cause = match cause {
                Cause::Deleted => "deleted",
                Cause::Expired => "expired",
                Cause::Evicted => "evicted",
            };
            format!("remove {db} {} {cause}", quote(key))
        }
        Effect::ExpireAt { db, key, at: Some(at) } => format!("expire {db} {} at {}", quote(key), at.0),
        Effect::ExpireAt { db, key, at: None } => format!("persist {db} {}", quote(key)),
        Effect::Flush { db } => format!("flush {db}"),
    }
}

/// A reply on one line.
pub(crate) fn render(value: &Value) -> String {
    let join = |values: &[Value]| values.iter().map(render).collect::<Vec<_>>().join(", ");
    match value {
        Value::Simple(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Error(text) => format!("(error) {}", String::from_utf8_lossy(text)),
        Value::Integer(number) => format!("(integer) {number}"),
        Value::Bulk(bytes) => quote(bytes),
        Value::Null | Value::NullArray => "(nil)".to_owned(),
        Value::Array(values) => format!("[{}]", join(values)),
        Value::Set(values) => format!("~[{}]", join(values)),
        Value::Double(number) => format!("(double) {number}"),
        Value::Boolean(value) => format!("({value})"),
        Value::Map(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}: {}", render(key), render(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => format!("{other:?}"),
    }
}

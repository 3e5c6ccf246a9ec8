//! Commands that span nodes: split by primary, run in parts, merged into one reply.

use super::across::AcrossPlan;
use super::dispatch::{Meta, Outcome, Routes};
use super::transaction::ExecPlan;
use super::{IN_DOUBT, TRY_AGAIN, Worker, unconfirmed};
use crate::connection::Watched;
use crate::frame::{Request, Scope, Words};
use crate::routing::Destination;
use crate::target::{Delivery, Key, Owner, Target};
use commands::{Args, Command, Flags, Merge};
use protocol::{Reply, Value, Version};
use std::collections::BTreeMap;
use stdx::{Mono, NodeId, PartitionId};

/// How the parts become one reply.
pub(super) enum Kind {
    /// Parts hold shares of the keys; for `Merge::PerKey`, the places of each part's elements.
    Keys { merge: Merge, places: Vec<Vec<usize>>, writes: bool },
    /// Parts hold partitions.
    Partitions { merge: Merge, writes: bool },
    /// Parts are nodes; one that does not answer counts as empty.
    Nodes { merge: Merge },
    /// Parts are nodes that follow a change of users, which is answered so.
    Users { reply: Vec<u8> },
    /// Tokens of watched keys, in the order of the parts.
    Watch { connection: Key, keys: Vec<(u8, Vec<u8>)> },
    /// Values of keys of different primaries; or what became of a change that was made with them.
    Across(Box<AcrossPlan>),
    /// A transaction: part 0 is its keyed commands, the others follow.
    Exec(ExecPlan),
}

/// A command whose parts are under way.
pub(super) struct Gathering {
    pub(super) target: Target,
    pub(super) version: Version,
    pub(super) kind: Kind,
    pub(super) parts: Vec<Part>,
    pub(super) open: usize,
}

/// One part.
pub(super) enum Part {
    Waiting,
    Gated { reply: Vec<u8>, gates: u32 },
    Done(Vec<u8>),
}

impl Gathering {
    pub(super) fn new(target: Target, version: Version, kind: Kind, parts: usize) -> Gathering {
        let parts: Vec<Part> = (0..parts).map(|_| Part::Waiting).collect();
        Gathering { target, version, kind, open: parts.len(), parts }
    }
}

impl Worker {
    /// Splits a command by the primaries of its keys.
    pub(super) fn scatter_keys(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        meta: &Meta<'_>,
        (group, merge): (usize, Merge),
        target: Target,
    ) -> Option<Outcome> {
        let count = self.routing.partitions();
        let mut shares: BTreeMap<NodeId, (Words, Vec<usize>)> = BTreeMap::new();
        for (place, words) in args.tail(1).chunks(group).enumerate() {
            let key = words.first().copied().unwrap_or_default();
            let primary = self.routing.primary(PartitionId::of_key(key, count))?;
            let (share, places) =
                shares.entry(primary).or_insert_with(|| (Words::copy_of(&[args.name()]), Vec::new()));
            words.iter().for_each(|word| share.push(word));
            places.push(place);
        }
        let (shares, places): (Vec<Words>, Vec<Vec<usize>>) = shares.into_values().unzip();
        let kind = Kind::Keys { merge, places, writes: command.flags.has(Flags::WRITE) };
        let key = self.gatherings.insert(Gathering::new(target, meta.version, kind, shares.len()));
        let shares = shares.into_iter().map(|words| Request { words, ..meta.request(args) });
        Some(self.start_parts(key, command, shares, meta.deadline))
    }

    /// Splits a command over partitions by primary, unless all of them have the same one.
    pub(super) fn scatter_partitions(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        meta: &Meta<'_>,
        merge: Merge,
        target: Target,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        match self.routing.destination(meta.partitions) {
            Destination::Split => {}
            Destination::Here | Destination::There(_) | Destination::Nowhere => {
                return self.attempt_routed(command, args, meta, target, out);
            }
        }
        let mut shares: BTreeMap<NodeId, Vec<PartitionId>> = BTreeMap::new();
        for &partition in meta.partitions {
            shares.entry(self.routing.primary(partition)?).or_default().push(partition);
        }
        let kind = Kind::Partitions { merge, writes: command.flags.has(Flags::WRITE) };
        let key = self.gatherings.insert(Gathering::new(target, meta.version, kind, shares.len()));
        let shares = shares.into_values().map(|partitions| Request { partitions, ..meta.request(args) });
        Some(self.start_parts(key, command, shares, meta.deadline))
    }

    /// Runs a command on every node that is alive; at once if that is only this one.
    pub(super) fn scatter_nodes(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        meta: &Meta<'_>,
        merge: Merge,
        target: Target,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let me = self.routing.me;
        let map = &self.routing.map;
        let others: Vec<NodeId> =
            map.members.values().filter(|m| m.is_alive() && m.node != me).map(|m| m.node).collect();
        let meta = Meta { scope: Scope::Node, ..*meta };
        if others.is_empty() {
            return self.run_here(command, args, &meta, &[], target, out).unwrap_or(Outcome::Ready);
        }
        let kind = Kind::Nodes { merge };
        let key = self.gatherings.insert(Gathering::new(target, meta.version, kind, others.len() + 1));
        let mut own = Vec::new();
        if self.run_here(command, args, &meta, &[], target, &mut own).is_err() {
            own = TRY_AGAIN.to_vec();
        }
        self.deliveries.push_back((self.target(Owner::Gathering(key), 0), Delivery::Bytes(own)));
        for (part, node) in (1..).zip(others) {
            let target = self.target(Owner::Gathering(key), part);
            match self.link_to(node) {
                Some(link) => self.forward(link, Routes::new(), meta.request(args), target, meta.deadline),
                None => self.deliveries.push_back((target, Delivery::Bytes(TRY_AGAIN.to_vec()))),
            }
        }
        Outcome::Elsewhere
    }

    /// Starts all parts of a gathering.
    pub(super) fn start_parts(
        &mut self,
        key: Key,
        command: &'static Command,
        requests: impl Iterator<Item = Request>,
        deadline: Mono,
    ) -> Outcome {
        let mut held = false;
        for (part, request) in requests.enumerate() {
            held |= self.start_part(key, part, command, request, deadline);
        }
        if held { Outcome::Held } else { Outcome::Elsewhere }
    }

    /// Starts one part of a gathering; true if it is held.
    pub(super) fn start_part(
        &mut self,
        key: Key,
        part: usize,
        command: &'static Command,
        request: Request,
        deadline: Mono,
    ) -> bool {
        let target = self.target(Owner::Gathering(key), part as u64);
        let words: Vec<&[u8]> = request.words.iter().collect();
        let meta = Meta {
            scope: request.scope,
            db: request.db,
            version: request.version,
            touch: request.touch,
            partitions: &request.partitions,
            spots: &[],
            deadline,
        };
        let mut out = Vec::new();
        let outcome = self.submit(command, Args::new(&words), &meta, target, &mut out);
        match outcome {
            Outcome::Ready => self.deliveries.push_back((target, Delivery::Bytes(out))),
            Outcome::Gated(gates) => self.gate_part(key, target.slot, out, gates),
            Outcome::Elsewhere | Outcome::Held => {}
        }
        outcome == Outcome::Held
    }

    pub(super) fn gate_part(&mut self, key: Key, part: u64, reply: Vec<u8>, gates: u32) {
        if let Some(gathering) = self.gatherings.get_mut(key)
            && let Some(place) = gathering.parts.get_mut(part as usize)
        {
            *place = Part::Gated { reply, gates };
        }
    }

    pub(super) fn deliver_to_gathering(&mut self, key: Key, part: u64, delivery: Delivery) {
        let Some(gathering) = self.gatherings.get_mut(key) else { return };
        let Some(place) = gathering.parts.get_mut(part as usize) else { return };
        let done = match (delivery, &mut *place) {
            (_, Part::Done(_)) => return,
            (Delivery::Bytes(bytes), _) => bytes,
            (Delivery::Unconfirmed { wrote }, _) => unconfirmed(wrote).to_vec(),
            (Delivery::Released, Part::Gated { reply, gates }) => {
                *gates -= 1;
                if *gates > 0 {
                    return;
                }
                std::mem::take(reply)
            }
            (Delivery::Released, Part::Waiting) => return,
        };
        *place = Part::Done(done);
        gathering.open -= 1;
        if gathering.open == 0 {
            self.finish_gathering(key);
        }
    }

    fn finish_gathering(&mut self, key: Key) {
        let Some(gathering) = self.gatherings.remove(key) else { return };
        let Gathering { target, version, kind, parts, .. } = gathering;
        let parts: Vec<Vec<u8>> = parts
            .into_iter()
            .map(|part| match part {
                Part::Done(bytes) => bytes,
                Part::Waiting | Part::Gated { .. } => Vec::new(),
            })
            .collect();
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, version);
        match kind {
            Kind::Keys { writes: true, .. } | Kind::Partitions { writes: true, .. } if half_done(&parts) => {
                reply.raw(IN_DOUBT);
            }
            Kind::Keys { merge, places, .. } => merge_parts(merge, &parts, &places, false, &mut reply),
            Kind::Partitions { merge, .. } => merge_parts(merge, &parts, &[], false, &mut reply),
            Kind::Nodes { merge } => merge_parts(merge, &parts, &[], true, &mut reply),
            Kind::Users { reply: prepared } => reply.raw(&prepared),
            Kind::Watch { connection, keys } => self.finish_watch(connection, keys, &parts, &mut reply),
            Kind::Across(plan) => {
                self.go_on_across(*plan, target, version, parts);
                return;
            }
            Kind::Exec(plan) => {
                self.finish_exec(plan, target, version, parts);
                return;
            }
        }
        self.deliveries.push_back((target, Delivery::Bytes(bytes)));
    }

    fn finish_watch(
        &mut self,
        connection: Key,
        keys: Vec<(u8, Vec<u8>)>,
        parts: &[Vec<u8>],
        reply: &mut Reply<'_>,
    ) {
        let mut watched = Vec::new();
        for ((db, key), part) in keys.into_iter().zip(parts) {
            match super::transaction::decode_token(part) {
                Some(token) => watched.push(Watched { db, key, token }),
                None => {
                    reply.raw(part);
                    return;
                }
            }
        }
        if let Some(Some(connection)) = self.connections.get_mut(connection) {
            connection.watches.extend(watched);
            connection.session.watching = connection.watches.len();
        }
        reply.ok();
    }
}

/// Whether some parts of a write were executed, or may have been, and others not: an error that says "not executed"
/// would be a lie then.
fn half_done(parts: &[Vec<u8>]) -> bool {
    let failed = |part: &Vec<u8>| part.first() == Some(&b'-');
    parts.iter().any(failed) && parts.iter().any(|part| !failed(part) || part == IN_DOUBT)
}

/// Merges encoded replies. `lenient` leaves out parts that are errors, unless all are; otherwise the first error is the reply.
fn merge_parts(merge: Merge, parts: &[Vec<u8>], places: &[Vec<usize>], lenient: bool, reply: &mut Reply<'_>) {
    let mut values = Vec::with_capacity(parts.len());
    let failed = |part: &Vec<u8>| part.first() == Some(&b'-');
    let lenient = lenient && !parts.iter().all(failed);
    for part in parts {
        if part.first() == Some(&b'-') {
            if lenient {
                continue;
            }
            reply.raw(part);
            return;
        }
        match protocol::decode(part) {
            Ok(Some((value, _))) => values.push(value),
            Ok(None) | Err(_) => {
                reply.error("ERR a node answered with something that is not a reply");
                return;
            }
        }
    }
    match merge {
        Merge::Sum => reply.integer(values.iter().filter_map(Value::as_integer).sum()),
        Merge::Ok => reply.ok(),
        Merge::PerKey => per_key(values, places).encode(reply),
        Merge::Concat => Value::Array(values.into_iter().flat_map(elements).collect()).encode(reply),
        Merge::Union => {
            let mut all: Vec<Value> = values.into_iter().flat_map(elements).collect();
            all.sort_by(|a, b| a.as_bytes().cmp(&b.as_bytes()));
            all.dedup_by(|a, b| a.as_bytes() == b.as_bytes());
            Value::Array(all).encode(reply);
        }
        Merge::SumPairs => sum_pairs(values).encode(reply),
        Merge::AnyOne => {
            // The order of parts is the order of node ids; the caller's random choice is enough for a cache.
            let mut found: Vec<Value> =
                values.into_iter().filter(|value| !matches!(value, Value::Null | Value::NullArray)).collect();
            let index = (stdx::random::entropy_u64() % found.len().max(1) as u64) as usize;
            if found.is_empty() { reply.null() } else { found.swap_remove(index).encode(reply) }
        }
    }
}

fn elements(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) | Value::Set(items) | Value::Push(items) => items,
        Value::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
        _ => Vec::new(),
    }
}

fn per_key(values: Vec<Value>, places: &[Vec<usize>]) -> Value {
    let total = places.iter().map(Vec::len).sum();
    let mut all: Vec<Value> = (0..total).map(|_| Value::Null).collect();
    for (value, places) in values.into_iter().zip(places) {
        for (item, place) in elements(value).into_iter().zip(places) {
            if let Some(slot) = all.get_mut(*place) {
                *slot = item;
            }
        }
    }
    Value::Array(all)
}

/// Every part has the same names in the same order.
fn sum_pairs(values: Vec<Value>) -> Value {
    let mut parts = values.into_iter().map(elements);
    let mut sums = parts.next().unwrap_or_default();
    for part in parts {
        for (sum, item) in sums.iter_mut().zip(part) {
            if let (Value::Integer(sum), Value::Integer(number)) = (sum, item) {
                *sum += number;
            }
        }
    }
    Value::Array(sums)
}

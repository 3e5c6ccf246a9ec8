//! MULTI, EXEC, DISCARD, WATCH and UNWATCH; and which other commands a connection handles itself.
//!
//! A transaction is queued where the client is connected and executed, in one step under the locks of all its
//! partitions, by their common primary. Commands without keys (PING, PUBLISH, CONFIG ...) are run by the node that was
//! asked, after the keyed ones: their replies take their places, but they are not part of the atomic step.
//! WATCH asks the primary for a token; EXEC hands the tokens in, and the primary compares.

use super::Worker;
use super::dispatch::{CROSS_SLOT, Meta};
use super::gather::{Gathering, Kind};
use crate::connection::{Connection, Queued};
use crate::execute::access;
use crate::execute::{Executed, Refusal};
use crate::frame::{Request, Route, Scope, Words};
use crate::partition::WatchToken;
use crate::target::{Delivery, Key, Owner, Target};
use commands::acl::{LogContext, check_command};
use commands::session::ReplyMode;
use commands::{Access, Args, Command, Run, transaction as texts};
use protocol::{Reply, Version};
use smallvec::SmallVec;
use stdx::{Epoch, PartitionId};

/// What EXEC still has to do when its keyed commands have been run.
pub(super) struct ExecPlan {
    connection: Key,
    /// The queue in order: keyed ones (already in part 0) or those to be run here.
    entries: Vec<Entry>,
    /// Set once part 0 has been looked at.
    keyed: Option<Vec<Vec<u8>>>,
}

enum Entry {
    Keyed,
    /// No longer allowed: the error.
    Refused(String),
    Here {
        command: &'static Command,
        db: u8,
        words: Words,
    },
}

impl Worker {
    /// Runs a command of `Run::Connection`; `None` if it has to wait, else whether it answered with an error.
    pub(super) fn run_connection(
        &mut self,
        key: Key,
        connection: &mut Connection,
        command: &'static Command,
        args: Args<'_>,
        mode: ReplyMode,
    ) -> Option<bool> {
        match command.name {
            "multi" if connection.transaction.is_some() => {
                self.answer(connection, Err(texts::MULTI_NESTED), mode)
            }
            "multi" => {
                let db = connection.session.db;
                connection.transaction = Some(crate::connection::Transaction { db, ..Default::default() });
                (connection.session.in_multi, connection.session.multi_len) = (true, 0);
                self.answer(connection, Ok(()), mode)
            }
            "discard" if connection.transaction.is_none() => {
                self.answer(connection, Err(texts::DISCARD_WITHOUT_MULTI), mode)
            }
            // Tokens of a pipelined WATCH that come later would outlive them.
            "discard" | "unwatch" if connection.in_flight > 0 => None,
            "discard" => {
                end_transaction(connection);
                self.answer(connection, Ok(()), mode)
            }
            "unwatch" => {
                connection.watches.clear();
                connection.session.watching = 0;
                self.answer(connection, Ok(()), mode)
            }
            "watch" if connection.transaction.is_some() => {
                self.answer(connection, Err(texts::WATCH_INSIDE_MULTI), mode)
            }
            "watch" => self.watch(key, connection, args, mode),
            "exec" => self.exec(key, connection, mode),
            "wait" | "waitaof" => self.wait(key, connection, command, args, mode),
            // Whoever listens already hears nothing of a second MONITOR.
            "monitor" if connection.session.monitoring => Some(false),
            "monitor" => {
                self.begin_monitoring(key, connection);
                self.answer(connection, Ok(()), mode)
            }
            _ => self.answer(connection, Err("ERR this command is not available here"), mode),
        }
    }

    pub(super) fn answer(
        &mut self,
        connection: &mut Connection,
        result: Result<(), &str>,
        mode: ReplyMode,
    ) -> Option<bool> {
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, connection.session.version);
        match result {
            Ok(()) => reply.ok(),
            Err(text) => {
                reply.error(text);
                self.shared.stats.of(self.index).error(text.as_bytes());
            }
        }
        if !connection.discards(mode) {
            connection.reply(&bytes);
        }
        Some(result.is_err())
    }

    fn watch(
        &mut self,
        key: Key,
        connection: &mut Connection,
        args: Args<'_>,
        mode: ReplyMode,
    ) -> Option<bool> {
        let db = connection.session.db;
        let keys: Vec<(u8, Vec<u8>)> = args.tail(1).iter().map(|word| (db, word.to_vec())).collect();
        let target = self.target(Owner::Connection(key), connection.next_slot());
        connection.in_flight_version = self.in_flight_version(connection);
        let discard = connection.discards(mode);
        connection.await_reply(false, discard);
        let parts = keys.len();
        let words: Vec<Words> = keys.iter().map(|(_, name)| Words::copy_of(&[b"watch", name])).collect();
        let kind = Kind::Watch { connection: key, keys };
        let gathering = Gathering::new(target, connection.session.version, kind, parts);
        let gathering = self.gatherings.insert(gathering);
        let command = commands::table::lookup(b"watch").expect("WATCH is in the table");
        let deadline = self.deadline();
        for (part, words) in words.into_iter().enumerate() {
            let request = Request {
                scope: Scope::Watch,
                db,
                version: Version::Resp2,
                touch: false,
                partitions: Vec::new(),
                words,
            };
            if self.start_part(gathering, part, command, request, deadline) {
                connection.set_held(target.slot, true);
            }
        }
        Some(false)
    }

    pub(super) fn in_flight_version(&self, connection: &Connection) -> u64 {
        if connection.in_flight == 0 { self.routing.version().0 } else { connection.in_flight_version }
    }

    /// At the primary: registers a watched key and answers with its token.
    pub(super) fn run_watch(
        &mut self,
        args: Args<'_>,
        meta: &Meta<'_>,
        routes: &[Route],
        out: &mut Vec<u8>,
    ) -> Result<Executed, Refusal> {
        let [route] = routes else { return Err(Refusal::Stale) };
        let cell = self.cells.get(route.partition).ok_or(Refusal::Behind)?;
        let mut state = cell.state.lock();
        if state.reign < route.reign {
            return Err(Refusal::Behind);
        }
        if state.reign > route.reign || state.primary().is_none() {
            return Err(Refusal::Stale);
        }
        if state.handing_over || !self.shared.may_serve(self.now) {
            return Err(Refusal::NotNow);
        }
        let token = state.watch(meta.db, args.at(1), self.wall);
        drop(state);
        Reply::new(out, Version::Resp2).bulk(&encode_token(&token));
        Ok(Executed::default())
    }

    fn exec(&mut self, key: Key, connection: &mut Connection, mode: ReplyMode) -> Option<bool> {
        if connection.transaction.is_none() {
            return self.answer(connection, Err(texts::EXEC_WITHOUT_MULTI), mode);
        }
        // Tokens of a pipelined WATCH have to be here first.
        if connection.in_flight > 0 {
            return None;
        }
        let transaction = connection.transaction.take().unwrap_or_default();
        let watches = std::mem::take(&mut connection.watches);
        end_transaction(connection);
        if transaction.spoiled {
            return self.answer(connection, Err(texts::EXEC_ABORTED), mode);
        }
        for Queued { command, db, words } in &transaction.queue {
            let list: SmallVec<[&[u8]; 16]> = words.iter().collect();
            self.show_command(&connection.session, *db, command, Args::new(&list));
        }
        let count = self.routing.partitions();
        if count == 0 {
            return self.answer(connection, Err("CLUSTERDOWN The cluster has not been formed yet"), mode);
        }
        let mut partitions: Vec<PartitionId> =
            watches.iter().map(|watched| PartitionId::of_key(&watched.key, count)).collect();
        let mut words = encode_watches(&watches);
        let keyed = (&mut partitions, &mut words);
        let refusal = |command: &Command, args: Args<'_>| {
            let denial = check_command(&connection.session.user, command, args).err()?;
            self.note_denial(connection, &denial, LogContext::Multi);
            Some(denial.error_in_exec())
        };
        let entries = entries_of(transaction.queue, count, keyed, refusal);
        // A command that names no keys after all runs anywhere.
        if partitions.is_empty() && entries.iter().any(|entry| matches!(entry, Entry::Keyed)) {
            partitions.push(PartitionId(0));
        }
        partitions.sort_unstable();
        partitions.dedup();
        if self.routing.destination(&partitions) == crate::routing::Destination::Split {
            return self.answer(connection, Err(CROSS_SLOT), mode);
        }
        let target = self.target(Owner::Connection(key), connection.next_slot());
        connection.in_flight_version = self.routing.version().0;
        let discard = connection.discards(mode);
        // What follows must find the database that the transaction chooses, the users that it makes, and what runs behind its
        // keyed commands done.
        let has_rest = entries.iter().any(|entry| matches!(entry, Entry::Here { .. }));
        connection.await_reply(has_rest, discard);
        let version = connection.session.version;
        let plan = ExecPlan { connection: key, entries, keyed: None };
        let gathering = self.gatherings.insert(Gathering::new(target, version, Kind::Exec(plan), 1));
        if partitions.is_empty() {
            let part = self.target(Owner::Gathering(gathering), 0);
            self.deliveries.push_back((part, Delivery::Bytes(b"*0\r\n".to_vec())));
            return Some(false);
        }
        let command = commands::table::lookup(b"exec").expect("EXEC is in the table");
        let request = Request {
            scope: Scope::Transaction,
            db: connection.session.db,
            version,
            touch: !connection.session.no_touch,
            partitions,
            words,
        };
        if self.start_part(gathering, 0, command, request, self.deadline()) {
            connection.set_held(target.slot, true);
        }
        Some(false)
    }

    /// At the primary: checks the watched keys and runs the commands as one.
    pub(super) fn run_transaction(
        &mut self,
        args: Args<'_>,
        meta: &Meta<'_>,
        routes: &[Route],
        target: Target,
        out: &mut Vec<u8>,
    ) -> Result<Executed, Refusal> {
        let Some(plan) = decode_transaction(args) else {
            Reply::new(out, meta.version).error("ERR malformed transaction");
            return Ok(Executed::default());
        };
        let count = self.cells.len();
        let wall = self.wall;
        self.executor(meta, target, |executor| {
            executor.together(routes, &mut |executor, guards| {
                let mut keys: Vec<(u8, Option<Vec<u8>>)> = Vec::new();
                let mut reply = Reply::new(out, meta.version);
                let intact = plan.watches.iter().all(|(db, key, token)| {
                    let id = PartitionId::of_key(key, count);
                    guards
                        .iter()
                        .find(|(other, _)| *other == id)
                        .is_some_and(|(_, state)| state.unchanged(*db, key, token, wall))
                });
                if !intact {
                    reply.null_array();
                    return keys;
                }
                reply.array(plan.commands.len());
                for (db, words) in &plan.commands {
                    executor.db = *db;
                    let args = Args::new(words);
                    let command = match commands::find(args) {
                        Ok(command) => command,
                        Err(error) => {
                            reply.error(&error.to_string());
                            continue;
                        }
                    };
                    let mut all: Vec<Access<'_>> = guards
                        .iter_mut()
                        .map(|(id, state)| access(*id, state, executor.notes_events))
                        .collect();
                    executor.run((command, &command.run), &mut all, &[], args, &mut reply);
                    let positions = command.key_positions(args);
                    let named = positions.filter_map(|index| args.get(index));
                    keys.extend(named.map(|key| (*db, Some(key.to_vec()))));
                    keys.extend(command.derives_keys().then_some((*db, None)));
                }
                keys
            })
        })
    }

    /// The keyed part of a transaction has been answered: run the rest, or put the reply together.
    pub(super) fn finish_exec(
        &mut self,
        mut plan: ExecPlan,
        target: Target,
        version: Version,
        parts: Vec<Vec<u8>>,
    ) {
        let Some(keyed) = plan.keyed.take() else {
            let first = parts.into_iter().next().unwrap_or_default();
            let Some(keyed) = split_array(&first) else {
                // Aborted, or an error: that is the whole reply.
                self.deliveries.push_back((target, Delivery::Bytes(first)));
                return;
            };
            plan.keyed = Some(keyed);
            self.run_rest(plan, target, version);
            return;
        };
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, version);
        reply.array(plan.entries.len());
        let (mut keyed, mut rest) = (keyed.into_iter(), parts.into_iter());
        for entry in &plan.entries {
            let part = match entry {
                Entry::Keyed => keyed.next(),
                Entry::Here { .. } => rest.next(),
                Entry::Refused(text) => {
                    reply.error(text);
                    continue;
                }
            };
            reply.raw(&part.unwrap_or_default());
        }
        self.deliveries.push_back((target, Delivery::Bytes(bytes)));
    }

    fn run_rest(&mut self, mut plan: ExecPlan, target: Target, version: Version) {
        let connection = plan.connection;
        let mut rest = Vec::new();
        for entry in &mut plan.entries {
            if let Entry::Here { command, db, words } = entry {
                rest.push((*command, *db, std::mem::take(words)));
            }
        }
        if rest.is_empty() {
            self.finish_exec(plan, target, version, Vec::new());
            return;
        }
        let gathering = self.gatherings.insert(Gathering::new(target, version, Kind::Exec(plan), rest.len()));
        for (part, (command, db, words)) in rest.into_iter().enumerate() {
            match command.run {
                Run::Session(_) | Run::Connection | Run::Container => {
                    let bytes = self.run_late(connection, command, &words);
                    let target = self.target(Owner::Gathering(gathering), part as u64);
                    self.deliveries.push_back((target, Delivery::Bytes(bytes)));
                }
                _ => {
                    let request = Request {
                        scope: Scope::Keys,
                        db,
                        version,
                        touch: true,
                        partitions: Vec::new(),
                        words,
                    };
                    let held = self.start_part(gathering, part, command, request, self.deadline());
                    if held && let Some(Some(connection)) = self.connections.get_mut(connection) {
                        connection.set_held(target.slot, true);
                    }
                }
            }
        }
    }

    /// Runs a session command of a transaction when its turn has come.
    fn run_late(&mut self, key: Key, command: &'static Command, words: &Words) -> Vec<u8> {
        let Some(mut connection) = self.connections.get_mut(key).and_then(Option::take) else {
            return Vec::new();
        };
        let list: SmallVec<[&[u8]; 16]> = words.iter().collect();
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, connection.session.version);
        match command.run {
            Run::Session(run) => {
                let mut host = self.host(Some(key));
                let mut ctx =
                    commands::session::SessionCtx { session: &mut connection.session, host: &mut host };
                run(&mut ctx, Args::new(&list), &mut reply);
            }
            _ if command.name == "unwatch" => reply.ok(),
            _ if command.name == "monitor" => reply.error(commands::server::monitor::DENIED),
            // Nothing may wait here: how it is at this moment.
            _ => match self.wanted(command, Args::new(&list)) {
                Ok((wanted, _)) => self.reply_wait(wanted, &mut reply),
                Err(error) => reply.error(error),
            },
        }
        connection.closing |= connection.session.close_after_reply;
        if let Some(place) = self.connections.get_mut(key) {
            *place = Some(connection);
        }
        bytes
    }
}

pub(super) fn end_transaction(connection: &mut Connection) {
    connection.transaction = None;
    connection.watches.clear();
    (connection.session.in_multi, connection.session.multi_len) = (false, 0);
    connection.session.watching = 0;
}

/// What is to be done for each queued command: those on keys go to their primary, as `words`, with the `partitions` of their keys.
/// `refusal` gives the error of one that is no longer allowed.
fn entries_of(
    queue: Vec<Queued>,
    count: u16,
    (partitions, words): (&mut Vec<PartitionId>, &mut Words),
    refusal: impl Fn(&Command, Args<'_>) -> Option<String>,
) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(queue.len());
    for Queued { command, db, words: queued } in queue {
        let list: SmallVec<[&[u8]; 16]> = queued.iter().collect();
        let args = Args::new(&list);
        if let Some(error) = refusal(command, args) {
            entries.push(Entry::Refused(error));
            continue;
        }
        if !is_keyed(command) {
            drop(list);
            entries.push(Entry::Here { command, db, words: queued });
            continue;
        }
        let keys = command.key_positions(args).filter_map(|index| args.get(index));
        partitions.extend(keys.map(|key| PartitionId::of_key(key, count)));
        words.push(&command_header(db, list.len()));
        list.iter().for_each(|word| words.push(word));
        entries.push(Entry::Keyed);
    }
    entries
}

fn is_keyed(command: &Command) -> bool {
    matches!(
        command.run,
        Run::Read(_) | Run::Write(_) | Run::Fanout { .. } | Run::Blocking(_) | Run::Script(_)
    )
}

/// Transaction on the wire, as words: number of watches; per watch its token and key; per command a header with its
/// database and number of words, and the words.
struct WirePlan<'a> {
    watches: Vec<(u8, &'a [u8], WatchToken)>,
    commands: Vec<(u8, &'a [&'a [u8]])>,
}

fn encode_watches(watches: &[crate::connection::Watched]) -> Words {
    let mut words = Words::copy_of(&[&(watches.len() as u64).to_le_bytes()]);
    for watched in watches {
        let mut token = vec![watched.db];
        token.extend_from_slice(&encode_token(&watched.token));
        words.push(&token);
        words.push(&watched.key);
    }
    words
}

fn command_header(db: u8, words: usize) -> Vec<u8> {
    let mut header = vec![db];
    header.extend_from_slice(&(words as u64).to_le_bytes());
    header
}

fn decode_transaction(args: Args<'_>) -> Option<WirePlan<'_>> {
    let mut rest = args.as_slice();
    let (head, tail) = rest.split_first()?;
    let count = u64::from_le_bytes((*head).try_into().ok()?);
    rest = tail;
    let mut watches = Vec::new();
    for _ in 0..count {
        let ([token, key], tail) = rest.split_first_chunk::<2>()?;
        let (db, token) = token.split_first()?;
        watches.push((*db, *key, token_from(token)?));
        rest = tail;
    }
    let mut commands = Vec::new();
    while let Some((header, tail)) = rest.split_first() {
        let (db, words) = header.split_first()?;
        let words = usize::try_from(u64::from_le_bytes(words.try_into().ok()?)).ok()?;
        let (command, tail) = tail.split_at_checked(words)?;
        if command.is_empty() || *db >= stdx::limits::DATABASES {
            return None;
        }
        commands.push((*db, command));
        rest = tail;
    }
    Some(WirePlan { watches, commands })
}

fn encode_token(token: &WatchToken) -> [u8; 17] {
    let mut bytes = [0; 17];
    bytes[..8].copy_from_slice(&token.reign.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&token.counter.to_le_bytes());
    bytes[16] = u8::from(token.existed);
    bytes
}

fn token_from(bytes: &[u8]) -> Option<WatchToken> {
    let (reign, rest) = bytes.split_first_chunk::<8>()?;
    let (counter, rest) = rest.split_first_chunk::<8>()?;
    let [existed] = rest else { return None };
    Some(WatchToken {
        reign: Epoch(u64::from_le_bytes(*reign)),
        counter: u64::from_le_bytes(*counter),
        existed: *existed != 0,
    })
}

/// The token in a reply of a primary.
pub(super) fn decode_token(reply: &[u8]) -> Option<WatchToken> {
    let (value, _) = protocol::decode(reply).ok().flatten()?;
    token_from(value.as_bytes()?)
}

/// The encoded elements of an encoded array; `None` for anything else, a null array included.
fn split_array(reply: &[u8]) -> Option<Vec<Vec<u8>>> {
    let end = reply.iter().position(|&b| b == b'\n')? + 1;
    let (b'*', count) = (*reply.first()?, reply.get(1..end.checked_sub(2)?)?) else { return None };
    let count = usize::try_from(protocol::parse_i64(count)?).ok()?;
    let (mut at, mut parts) = (end, Vec::new());
    for _ in 0..count {
        let rest = reply.get(at..)?;
        let len = protocol::frame_len(rest).ok().flatten()?;
        parts.push(rest.get(..len)?.to_vec());
        at += len;
    }
    Some(parts)
}

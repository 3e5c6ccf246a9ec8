//! Scripts on this node: the engine's host, and the scripts that are remembered by their digests.
//!
//! A script runs under the locks of its partitions, as one command: its effects are one record. Every command that it calls takes the
//! way of any other, its events included. A key that the script has not declared is allowed if its partition is this node's; since the locks are
//! taken beforehand, a script that turns out to need another partition is run once more with all of this node's, unless it has
//! written by then.

use crate::execute::{Executed, Executor, Refusal, access};
use crate::frame::Route;
use crate::host::NodeHost;
use crate::pubsub::Outgoing;
use crate::shared::Shared;
use ::scripting::{Engine, Host, Level, Refusal as Refused, Script, ScriptError, Settings, Tick};
use commands::acl::User;
use commands::events::{Event, events_of};
use commands::session::{Session, SessionCtx};
use commands::table::Scripted;
use commands::{Access, Args, Command, FindError, Flags, Run, WriteCtx, scripting};
use protocol::{Reply, Value, Version};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use stdx::Mono;
use store::eviction::Policy;

/// Longest that a script runs before it is ended: nothing else of its partitions runs meanwhile.
const RUN_MAX: Duration = Duration::from_secs(5);
/// Most scripts that are remembered; above it all are forgotten, and clients send them anew.
const SCRIPTS_MAX: usize = 10_000;

/// The scripts that a node remembers.
#[derive(Debug, Default)]
pub(crate) struct Scripts(HashMap<Vec<u8>, Script>);

impl Scripts {
    /// Remembers a script.
    ///
    /// # Errors
    /// When its first line is no line of a script.
    pub(crate) fn add(&mut self, body: &[u8]) -> Result<Script, ScriptError> {
        let script = Script::new(body)?;
        if self.0.len() >= SCRIPTS_MAX {
            self.0.clear();
        }
        self.0.insert(script.sha().to_vec(), script.clone());
        Ok(script)
    }

    /// The script of this digest, in whatever case.
    pub(crate) fn get(&self, digest: &[u8]) -> Option<&Script> {
        self.0.get(&digest.to_ascii_lowercase())
    }

    pub(crate) fn flush(&mut self) {
        self.0.clear();
    }
}

/// Makes an engine, or gives the one that there is.
pub(crate) fn engine(place: &mut Option<Box<Engine>>) -> &mut Engine {
    place.get_or_insert_with(|| Box::new(Engine::new(Settings::default())))
}

impl Executor<'_> {
    /// Runs a script on locked partitions; `true` instead if it needs others of this node and has changed nothing.
    pub(crate) fn script(
        &mut self,
        command: &Command,
        args: Args<'_>,
        routes: &[Route],
        has_all: bool,
        reply: &mut Reply<'_>,
    ) -> Result<Result<Executed, NeedsAll>, Refusal> {
        let mut locked = self.lock(routes)?;
        let mut states = locked.states(routes);
        self.admit(routes, &states)?;
        let (before, encodes) = (reply.len(), self.notes_events);
        let needs_all = {
            let mut accesses: Vec<Access<'_>> =
                states.iter_mut().map(|(id, state)| access(*id, state, encodes)).collect();
            self.run_script(command, args, &mut accesses, reply) && !has_all
        };
        let db = self.db;
        // It may have read anything.
        let executed = self.close(&mut states, |state| state.dirty_counter_of_all(db));
        drop(states);
        let executed = self.finish(locked, executed);
        if needs_all && !executed.wrote {
            reply.truncate(before);
            return Ok(Err(NeedsAll));
        }
        Ok(Ok(executed))
    }

    /// Runs a script and answers; whether it has asked for a key of a partition that is not locked.
    pub(crate) fn run_script<'g>(
        &mut self,
        command: &Command,
        args: Args<'_>,
        accesses: &'g mut [Access<'g>],
        reply: &mut Reply<'_>,
    ) -> bool {
        let Run::Script(scripted) = command.run else { return false };
        let (keys, arguments) = match scripting::keys_and_arguments(args) {
            Ok(words) => words,
            Err(error) => {
                reply.error(&error.to_string());
                return false;
            }
        };
        let script = match self.script_of(scripted, args.at(1)) {
            Ok(script) => script,
            Err(text) => {
                reply.error(&text);
                return false;
            }
        };
        let no_writes = script.flags().is_some_and(|flags| flags.contains(::scripting::Flags::NO_WRITES));
        if scripted.is_read_only() && script.flags().is_some() && !no_writes {
            reply.error(Refused::WritesByReadOnlyCommand.text());
            return false;
        }
        let mut context = WriteCtx::new(self.db, self.wall, self.cells.len(), accesses);
        context.touch = self.touch;
        let mut host = ScriptHost {
            context,
            shared: self.shared,
            policy: self.policy,
            started: self.now,
            is_read_only: scripted.is_read_only() || no_writes,
            lacks_keys: false,
            notes_events: self.notes_events,
            events: self.events,
            outgoing: self.outgoing,
            worker: self.target.worker,
        };
        self.shared.script_is_killed.store(false, Ordering::Relaxed);
        self.shared.script_runs.fetch_add(1, Ordering::Relaxed);
        let outcome = engine(self.engine).eval(&script, keys, arguments, &mut host);
        self.shared.script_runs.fetch_sub(1, Ordering::Relaxed);
        let lacks_keys = host.lacks_keys;
        match outcome {
            Ok(value) => value.encode(reply),
            Err(error) => reply.error(&String::from_utf8_lossy(error.text())),
        }
        lacks_keys
    }

    fn script_of(&self, scripted: Scripted, word: &[u8]) -> Result<Script, String> {
        if scripted.is_by_digest() {
            let found = self.shared.scripts.lock().get(word).cloned();
            return found.ok_or_else(|| Refused::NoScript.text().to_owned());
        }
        Script::new(word).map_err(|error| String::from_utf8_lossy(error.text()).into_owned())
    }
}

/// The script needs partitions of this node that were not locked.
#[derive(Debug)]
pub(crate) struct NeedsAll;

/// What a running script asks.
struct ScriptHost<'e, 'g> {
    context: WriteCtx<'g>,
    shared: &'e Shared,
    policy: Policy,
    started: Mono,
    is_read_only: bool,
    /// It has asked for a key of a partition that is not locked.
    lacks_keys: bool,
    notes_events: bool,
    events: &'e mut Vec<Event>,
    outgoing: &'e mut Vec<Outgoing>,
    worker: u16,
}

impl Host for ScriptHost<'_, '_> {
    fn call(&mut self, words: &[&[u8]], resp3: bool) -> Value {
        let version = if resp3 { Version::Resp3 } else { Version::Resp2 };
        let mut out = Vec::new();
        if let Err(refused) = self.run(Args::new(words), &mut Reply::new(&mut out, version)) {
            return Value::Error(refused.into_bytes());
        }
        match protocol::decode(&out) {
            Ok(Some((value, _))) => value,
            _ => Value::Null,
        }
    }

    fn acl_check(&mut self, words: &[&[u8]]) -> Option<bool> {
        commands::find(Args::new(words)).is_ok().then_some(true)
    }

    fn log(&mut self, level: Level, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        match level {
            Level::Debug | Level::Verbose => tracing::debug!(target: "script", "{text}"),
            Level::Notice => tracing::info!(target: "script", "{text}"),
            Level::Warning => tracing::warn!(target: "script", "{text}"),
        }
    }

    fn tick(&mut self) -> Tick {
        let is_late = self.shared.clock.mono().since(self.started) > RUN_MAX;
        if is_late || self.shared.script_is_killed.load(Ordering::Relaxed) {
            Tick::Kill
        } else {
            Tick::Continue
        }
    }
}

impl ScriptHost<'_, '_> {
    /// Runs a command of the script; the error is the whole reply.
    fn run(&mut self, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), String> {
        let command = commands::find(args).map_err(|error| match error {
            FindError::Arity(_) => Refused::WrongArity.text().to_owned(),
            _ => Refused::UnknownCommand.text().to_owned(),
        })?;
        if command.flags.has(Flags::NOSCRIPT) {
            return Err(Refused::NotFromScript.text().to_owned());
        }
        if command.flags.has(Flags::WRITE) && self.is_read_only {
            return Err(Refused::ReadOnlyScript.text().to_owned());
        }
        if command.flags.has(Flags::DENYOOM) && self.shared.is_full() {
            return Err("OOM command not allowed when used memory > 'maxmemory'.".to_owned());
        }
        let keys = command.key_positions(args).filter_map(|at| args.get(at));
        let is_local = |key: &[u8]| self.context.has_partition_of(key);
        if !keys.into_iter().all(is_local) {
            self.lacks_keys = true;
            return Err(Refused::NotLocal.text().to_owned());
        }
        self.dispatch(command, &command.run, args, reply)
    }

    fn dispatch(
        &mut self,
        command: &'static Command,
        run: &Run,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<(), String> {
        match run {
            Run::Read(read) => self.context.reading(self.policy, |context| read(context, args, reply)),
            Run::Write(write) if self.notes_events => {
                let events = &mut *self.events;
                self.context.noting_effects(
                    |context| write(context, args, reply),
                    |effects| events_of(command, args, effects, events),
                );
            }
            Run::Write(write) => write(&mut self.context, args, reply),
            Run::Fanout { local, .. } => return self.dispatch(command, local, args, reply),
            Run::Blocking(blocking) => {
                let before = reply.len();
                self.dispatch(command, &blocking.attempt, args, reply)?;
                if reply.len() == before {
                    (blocking.nothing)(reply, false);
                }
            }
            Run::Session(_) | Run::Nodes { .. } => self.ask_node(run, args, reply),
            _ => return Err(Refused::NotFromScript.text().to_owned()),
        }
        Ok(())
    }

    /// A command that asks the node, or the session, of which the script has one of its own.
    fn ask_node(&mut self, run: &Run, args: Args<'_>, reply: &mut Reply<'_>) {
        let now = self.shared.clock.mono();
        let mut host = NodeHost {
            shared: self.shared,
            worker: self.worker,
            connection: None,
            outgoing: self.outgoing,
            now,
        };
        match run {
            Run::Session(run) => {
                let mut session =
                    Session::new(0, String::new(), String::new(), now, Arc::new(User::unrestricted()));
                session.db = self.context.db;
                session.version = reply.version();
                run(&mut SessionCtx { session: &mut session, host: &mut host }, args, reply);
                self.context.db = session.db;
            }
            Run::Nodes { local, .. } => local(&mut host, args, reply),
            _ => {}
        }
    }
}

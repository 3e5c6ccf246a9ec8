//! Serving a connection: from bytes to commands to replies in order.

use super::ahead::{Ahead, Tail};
use super::dispatch::{Meta, Outcome};
use super::{OUT_OF_MEMORY, Worker, ahead, dispatch, transaction};
use crate::connection::{Connection, OPEN_REPLIES_MAX, Queued};
use crate::eviction::Room;
use crate::frame::{Scope, Words};
use crate::spot::Spot;
use crate::stats::Counter;
use crate::target::{Key, Owner};
use commands::acl::{LogContext, check_command};
use commands::host::{Pause, SlowlogEntry};
use commands::server::monitor;
use commands::session::{ReplyMode, SessionCtx};
use commands::table::SessionFn;
use commands::{Args, Command, Flags, Run, pubsub, transaction as texts};
use protocol::{Limits as ParseLimits, Reply};
use std::ops::Range;
use stdx::PartitionId;

/// What to do after a command.
enum Next {
    /// Go on with the next one.
    Continue,
    /// This one was not begun: come back to it later.
    Wait,
}

/// As Redis's slow log: arguments beyond this are summed up in the last one.
const SLOWLOG_ARGUMENTS_MAX: usize = 32;
/// As Redis's slow log: longer arguments are cut.
const SLOWLOG_ARGUMENT_BYTES_MAX: usize = 128;
/// Samples of one latency event, as Redis keeps them.
const LATENCY_SAMPLES_MAX: usize = 160;

impl Worker {
    /// Runs the commands that have arrived on a connection, as far as they can be run now.
    pub fn process(&mut self, key: Key) {
        let Some(mut connection) = self.connections.get_mut(key).and_then(Option::take) else { return };
        let mut input = std::mem::take(&mut connection.input);
        let mut ahead = self.ahead.take().unwrap_or_default();
        connection.stalled = false;
        connection.active = true;
        let mut at = 0;
        while !connection.closing {
            if self.must_wait(&connection) {
                connection.stalled = true;
                break;
            }
            let prepared = if at == 0 { ahead.take_seat(key) } else { None };
            let is_own = prepared.is_none();
            let seat = match prepared {
                Some(seat) => seat,
                None => self.look_at(&mut ahead, key, &mut connection, &input, at),
            };
            at = seat.at;
            let complete = self.run_steps(key, &mut connection, &ahead, &input, seat.steps, &mut at);
            if !complete {
                // What was parsed and not run is parsed again when its turn comes.
                connection.parser.reset();
                connection.parsed.clear();
                break;
            }
            match seat.tail {
                Tail::Open if at == input.len() => break,
                Tail::Open => {}
                Tail::Incomplete if at == input.len() => break,
                // Whoever only looked has kept nothing of a partial command.
                Tail::Incomplete if !is_own => {}
                Tail::Incomplete => {
                    connection.closing |= input.len() - at > self.limits.query_bytes_max;
                    break;
                }
                Tail::Broken(error) => {
                    let mode = connection.session.reply_mode;
                    self.answer_error(&mut connection, &format!("ERR {}", error.message()), mode);
                    connection.closing = true;
                }
            }
        }
        self.ahead = Some(ahead);
        input.drain(..at);
        connection.input = input;
        let limit = self.limits.output_bytes_max_normal;
        if limit > 0 && connection.output.len() > limit {
            connection.closing = true;
            connection.output.clear();
            self.stat(Counter::OutputLimitCloses, 1);
        }
        if let Some(place) = self.connections.get_mut(key) {
            *place = Some(connection);
        }
        self.queue_flush(key);
    }

    /// Runs commands that were parsed ahead; false if it had to stop before the last. `at` moves behind what was run.
    fn run_steps(
        &mut self,
        key: Key,
        connection: &mut Connection,
        ahead: &Ahead,
        input: &[u8],
        steps: Range<usize>,
        at: &mut usize,
    ) -> bool {
        let mut next = steps.start;
        while let Some(step) = ahead.step(next).filter(|_| next < steps.end && !connection.closing) {
            if next > steps.start && self.must_wait(connection) {
                connection.stalled = true;
                return false;
            }
            let ran = self.run_lane(key, connection, ahead, input, next..steps.end);
            if ran > 0 {
                next += ran;
                *at = ahead.step(next - 1).map_or(*at, |step| step.span.end);
                continue;
            }
            let mut words = ahead::Words::new();
            ahead.words(next, input, &mut words);
            match self.handle(key, connection, Args::new(&words), step.command, ahead.spots(step)) {
                Next::Continue => (*at, next) = (step.span.end, next + 1),
                Next::Wait => {
                    connection.stalled = true;
                    return false;
                }
            }
        }
        true
    }

    /// Whether the next command has to wait for replies of earlier ones.
    fn must_wait(&self, connection: &Connection) -> bool {
        connection.held > 0
            || connection.open_replies() >= OPEN_REPLIES_MAX
            || (connection.in_flight > 0 && connection.in_flight_version != self.routing.version().0)
    }

    pub(super) fn parse_limits(&self, connection: &Connection) -> ParseLimits {
        if connection.session.authenticated {
            ParseLimits { bulk_bytes_max: self.limits.bulk_bytes_max, ..ParseLimits::default() }
        } else {
            ParseLimits::unauthenticated()
        }
    }

    /// Runs one command of a connection, or queues it in its transaction.
    fn handle(
        &mut self,
        key: Key,
        connection: &mut Connection,
        args: Args<'_>,
        command: Option<&'static Command>,
        spots: &[Spot],
    ) -> Next {
        let mode = connection.session.reply_mode;
        self.refresh_user(key, connection);
        if connection.closing {
            return Next::Continue;
        }
        let command = match self.admit(connection, args, command) {
            Ok(command) => command,
            Err(error) => {
                if error.starts_with(texts::EXEC_REFUSED) {
                    // Tokens of a pipelined WATCH that come later would outlive it.
                    if connection.in_flight > 0 {
                        return Next::Wait;
                    }
                    transaction::end_transaction(connection);
                } else if let Some(transaction) = &mut connection.transaction {
                    transaction.spoiled = true;
                }
                self.answer_error(connection, &error, mode);
                return Next::Continue;
            }
        };
        if self.paused(command) {
            return Next::Wait;
        }
        if connection.transaction.is_some() && !is_immediate(command) {
            return self.queue(connection, command, args, mode);
        }
        let started = self.now;
        let (commands_before, failed) = match command.run {
            Run::Session(run) => (1, self.run_session(key, connection, command, run, args, mode)),
            Run::Connection => match self.run_connection(key, connection, command, args, mode) {
                Some(failed) => (1, failed),
                None => return Next::Wait,
            },
            _ => (1, self.run_routed(key, connection, command, (args, spots), mode)),
        };
        self.show_command(&connection.session, connection.session.db, command, args);
        self.stat(Counter::Commands, commands_before);
        self.account(connection, command, args, started, failed);
        Next::Continue
    }

    /// Finds the command and checks whether this session may run it now.
    fn admit(
        &mut self,
        connection: &mut Connection,
        args: Args<'_>,
        command: Option<&'static Command>,
    ) -> Result<&'static Command, String> {
        let command = match command {
            Some(command) => command,
            None => commands::find(args).map_err(|error| error.to_string())?,
        };
        let session = &connection.session;
        let refusal = if !session.authenticated && !command.flags.has(Flags::NO_AUTH) {
            Some("NOAUTH Authentication required.".to_owned())
        } else if connection.transaction.is_some() && command.flags.has(Flags::NO_MULTI) {
            Some(texts::NOT_IN_TRANSACTION.to_owned())
        } else if let Err(denial) = check_command(&session.user, command, args) {
            let in_multi = connection.transaction.is_some();
            let context = if in_multi { LogContext::Multi } else { LogContext::Toplevel };
            self.note_denial(connection, &denial, context);
            Some(denial.error(&session.user))
        } else if matches!(command.run, Run::Script(_)) && !session.user.is_unrestricted() {
            // What a script calls is not checked, so it has to be allowed everything.
            Some(SCRIPTS_NEED_ALL.to_owned())
        } else if session.restricted_by_subscription() && !pubsub::allowed_while_subscribed(command) {
            Some(pubsub::refused_while_subscribed(command.name))
        } else if session.monitoring && !monitor::allows(command) {
            Some(monitor::NO_KEYS.to_owned())
        } else if self.shared.is_loading.load(std::sync::atomic::Ordering::Acquire)
            && !command.flags.has(Flags::LOADING)
        {
            Some("LOADING Redis is loading the dataset in memory".to_owned())
        } else if command.flags.has(Flags::DENYOOM) && self.is_out_of_memory() {
            Some(OUT_OF_MEMORY.to_owned())
        } else {
            None
        };
        match refusal {
            Some(text) => {
                self.shared.stats.of(self.index).rejected(command.index());
                Err(text)
            }
            None => Ok(command),
        }
    }

    fn answer_error(&mut self, connection: &mut Connection, text: &str, mode: ReplyMode) {
        self.shared.stats.of(self.index).error(text.as_bytes());
        if connection.discards(mode) {
            return;
        }
        let mut bytes = Vec::new();
        Reply::new(&mut bytes, connection.session.version).error(text);
        connection.reply(&bytes);
    }

    /// Whether CLIENT PAUSE holds this command back.
    fn paused(&self, command: &Command) -> bool {
        if !self.shared.is_paused.load(std::sync::atomic::Ordering::Acquire) {
            return false;
        }
        let writes = command.flags.has(Flags::WRITE) || command.flags.has(Flags::MAY_REPLICATE);
        match *self.shared.paused.lock() {
            Some(paused) if paused.until > self.now => {
                (paused.what == Pause::All || writes) && command.name != "client|unpause"
            }
            _ => false,
        }
    }

    pub(super) fn end_pause(&mut self) {
        let over = matches!(*self.shared.paused.lock(), Some(paused) if paused.until <= self.now);
        if over {
            self.shared.pause(None);
        }
    }

    fn queue(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        args: Args<'_>,
        mode: ReplyMode,
    ) -> Next {
        let Some(transaction) = &mut connection.transaction else { return Next::Continue };
        let db = transaction.db;
        if command.name == "select" {
            let chosen = args.get(1).and_then(protocol::parse_i64).and_then(|db| u8::try_from(db).ok());
            transaction.db = chosen.filter(|db| *db < stdx::limits::DATABASES).unwrap_or(db);
        }
        transaction.queue.push(Queued { command, db, words: Words::copy_of(args.as_slice()) });
        connection.session.multi_len = transaction.queue.len();
        if !connection.discards(mode) {
            connection.reply(protocol::reply::QUEUED);
        }
        Next::Continue
    }

    /// Runs a command of the session; true if it answered with an error.
    pub(super) fn run_session(
        &mut self,
        key: Key,
        connection: &mut Connection,
        command: &'static Command,
        run: SessionFn,
        args: Args<'_>,
        mode: ReplyMode,
    ) -> bool {
        if command.name.starts_with("client|") {
            self.refresh_record(connection);
        }
        let mut bytes = Vec::new();
        let mut host = self.host(Some(key));
        let mut reply = Reply::new(&mut bytes, connection.session.version);
        run(&mut SessionCtx { session: &mut connection.session, host: &mut host }, args, &mut reply);
        self.after_session(key, connection);
        let failed = bytes.first() == Some(&b'-');
        if failed {
            self.shared.stats.of(self.index).error(&bytes[1..]);
        }
        if !connection.discards(mode) {
            connection.reply(&bytes);
        }
        failed
    }

    /// Looks at what a session command has changed.
    fn after_session(&mut self, key: Key, connection: &mut Connection) {
        if !connection.session.monitoring {
            self.end_monitoring(key);
        }
        if !connection.session.in_multi {
            connection.transaction = None;
        }
        if connection.session.watching == 0 {
            connection.watches.clear();
        }
        connection.closing |= connection.session.close_after_reply;
    }

    /// Runs a command that is routed by its keys, partitions or nodes; true if it answered with an error at once.
    fn run_routed(
        &mut self,
        key: Key,
        connection: &mut Connection,
        command: &'static Command,
        (args, spots): (Args<'_>, &[Spot]),
        mode: ReplyMode,
    ) -> bool {
        let direct = connection.is_direct();
        let mut out = if direct { std::mem::take(&mut connection.output) } else { Vec::new() };
        let mark = out.len();
        let target = self.target(Owner::Connection(key), connection.next_slot());
        let session = &connection.session;
        let meta = Meta {
            scope: Scope::Keys,
            db: session.db,
            version: session.version,
            touch: !session.no_touch,
            partitions: &[] as &[PartitionId],
            spots,
            deadline: self.deadline(),
        };
        let outcome = self.submit(command, args, &meta, target, &mut out);
        let discard = connection.discards(mode);
        let mut failed = false;
        match outcome {
            Outcome::Ready => {
                let reply = &out[mark..];
                if reply.first() == Some(&b'-') {
                    failed = true;
                    self.shared.stats.of(self.index).error(&reply[1..]);
                }
                if discard {
                    out.truncate(mark);
                } else if !direct {
                    connection.reply(&out);
                }
            }
            Outcome::Gated(gates) => connection.gate(if discard { &[] } else { &out[mark..] }, gates),
            Outcome::Elsewhere | Outcome::Held => {
                if connection.in_flight == 0 {
                    connection.in_flight_version = self.routing.version().0;
                }
                connection.await_reply(matches!(outcome, Outcome::Held), discard);
                connection.session.blocked = self.blocked_connections.contains_key(&key);
            }
        }
        if direct {
            if !matches!(outcome, Outcome::Ready) {
                out.truncate(mark);
            }
            connection.output = out;
        }
        failed
    }

    /// Statistics and slow log of a command that has just run.
    fn account(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        args: Args<'_>,
        started: stdx::Mono,
        failed: bool,
    ) {
        // Running a command on partitions has read the clock at its end, for the lease.
        if self.now == started {
            self.now = self.shared.clock.mono();
        }
        let ended = self.now;
        let nanos = ended.0 - started.0;
        self.shared.stats.of(self.index).ran(command.index(), 1, nanos, u64::from(failed));
        connection.session.last_command = command.name;
        connection.session.last_interaction = ended;
        if command.name != "asking" {
            connection.session.asking = false;
        }
        if self.is_slow(nanos) {
            self.log_if_slow(connection, command, args, nanos);
        }
    }

    /// Whether so long a command may be worth noting.
    #[inline]
    pub(super) fn is_slow(&self, nanos: u64) -> bool {
        let (slow_us, latency_ms) = (self.limits.slowlog_slower_than_us, self.limits.latency_threshold_ms);
        (slow_us >= 0 && nanos / 1_000 >= slow_us.unsigned_abs())
            || (latency_ms > 0 && nanos / 1_000_000 >= latency_ms)
    }

    /// Notes a slow command in the slow log and as a latency event, as the limits say.
    #[cold]
    pub(super) fn log_if_slow(
        &mut self,
        connection: &Connection,
        command: &Command,
        args: Args<'_>,
        nanos: u64,
    ) {
        let micros = nanos / 1_000;
        let threshold = self.limits.slowlog_slower_than_us;
        if threshold >= 0 && micros >= threshold.unsigned_abs() && !command.flags.has(Flags::SKIP_SLOWLOG) {
            self.log_slow(connection, command, args, micros);
        }
        let latency_ms = self.limits.latency_threshold_ms;
        if latency_ms > 0 && micros / 1_000 >= latency_ms {
            self.log_latency(command, micros / 1_000);
        }
    }

    fn log_slow(&mut self, connection: &Connection, command: &Command, args: Args<'_>, duration_us: u64) {
        let mut arguments: Vec<Vec<u8>> = Vec::new();
        for (index, word) in args.iter().enumerate() {
            if index + 1 == SLOWLOG_ARGUMENTS_MAX && args.len() > SLOWLOG_ARGUMENTS_MAX {
                let more = args.len() - SLOWLOG_ARGUMENTS_MAX + 1;
                arguments.push(format!("... ({more} more arguments)").into_bytes());
                break;
            }
            if commands::acl::is_secret(command, args, index) {
                arguments.push(b"(redacted)".to_vec());
                continue;
            }
            let cut = word.get(..SLOWLOG_ARGUMENT_BYTES_MAX).unwrap_or(word);
            let mut argument = cut.to_vec();
            if word.len() > cut.len() {
                argument.extend_from_slice(format!("... ({} more bytes)", word.len() - cut.len()).as_bytes());
            }
            arguments.push(argument);
        }
        let mut log = self.shared.slowlog.lock();
        let entry = SlowlogEntry {
            id: log.next_id,
            at: self.wall,
            duration_us,
            arguments,
            addr: connection.session.addr.clone(),
            name: connection.session.name.clone(),
        };
        log.next_id += 1;
        log.entries.push_back(entry);
        while log.entries.len() > self.limits.slowlog_len_max {
            log.entries.pop_front();
        }
    }

    fn log_latency(&mut self, command: &Command, ms: u64) {
        let name = if command.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        let mut events = self.shared.latency_events.lock();
        let event = events.entry(name.to_owned()).or_insert_with(|| commands::host::LatencyEvent {
            name: name.to_owned(),
            samples: Vec::new(),
            max_ms: 0,
        });
        event.max_ms = event.max_ms.max(ms);
        event.samples.push((self.wall, ms));
        if event.samples.len() > LATENCY_SAMPLES_MAX {
            event.samples.remove(0);
        }
    }

    /// Runs a call from outside the workers.
    pub(super) fn run_call(&mut self, call: crate::call::Call) {
        let words: Vec<&[u8]> = call.words.iter().collect();
        let args = Args::new(&words);
        let command = match commands::find(args) {
            Ok(command) => command,
            Err(error) => {
                let mut bytes = Vec::new();
                Reply::new(&mut bytes, call.version).error(&error.to_string());
                (call.respond)(bytes);
                return;
            }
        };
        if let Some(user) = &call.user
            && let Err(text) = self.check_call(user, command, args)
        {
            let mut bytes = Vec::new();
            Reply::new(&mut bytes, call.version).error(&text);
            (call.respond)(bytes);
            return;
        }
        if matches!(command.run, Run::Session(_) | Run::Connection | Run::Container) {
            let mut bytes = Vec::new();
            Reply::new(&mut bytes, call.version).error("ERR this command needs a connection of its own");
            (call.respond)(bytes);
            return;
        }
        let caller = super::Caller { reply: Vec::new(), gates: 0, respond: call.respond };
        let key = self.callers.insert(caller);
        let target = self.target(Owner::Call(key), 0);
        let meta = dispatch::Meta {
            scope: Scope::Keys,
            db: call.db,
            version: call.version,
            touch: true,
            partitions: &[],
            spots: &[],
            deadline: self.deadline(),
        };
        let mut out = Vec::new();
        let started = self.now;
        let outcome = if command.flags.has(Flags::DENYOOM) && self.is_out_of_memory() {
            Reply::new(&mut out, call.version).error(OUT_OF_MEMORY);
            Outcome::Ready
        } else {
            self.submit(command, args, &meta, target, &mut out)
        };
        self.stat(Counter::Commands, 1);
        self.now = self.shared.clock.mono();
        let failed = matches!(outcome, Outcome::Ready) && out.first() == Some(&b'-');
        let nanos = self.now.0 - started.0;
        self.shared.stats.of(self.index).ran(command.index(), 1, nanos, u64::from(failed));
        match outcome {
            Outcome::Ready => self.deliver_to_caller(key, crate::target::Delivery::Bytes(out)),
            Outcome::Gated(gates) => self.deliver_gated(target, out, gates),
            Outcome::Elsewhere | Outcome::Held => {}
        }
    }

    /// Whether there is no room for more data, and none could be made by eviction.
    pub(super) fn is_out_of_memory(&mut self) -> bool {
        if self.has_room() {
            return false;
        }
        // Before a client is told so, look whether CONFIG SET has changed limit or policy since the last tick.
        self.refresh_limits();
        !self.has_room()
    }

    /// Makes room by eviction if there is none.
    fn has_room(&mut self) -> bool {
        let limit = self.limits.memory_bytes_max;
        if limit == 0 || self.shared.memory_used() <= limit {
            return true;
        }
        let (mut count, pump) = (0, &mut self.pump);
        let room = self.shared.make_room(limit, self.now, &mut |evicted| {
            count += 1;
            pump.extend(evicted);
        });
        self.stat(Counter::Evicted, count);
        room == Room::Enough
    }
}

/// The refusal of a script of a user with limited permissions.
const SCRIPTS_NEED_ALL: &str =
    "NOPERM Scripts run only for users who may run every command on every key and channel";

/// Commands that run at once even between MULTI and EXEC.
fn is_immediate(command: &Command) -> bool {
    matches!(command.name, "multi" | "exec" | "discard" | "watch" | "quit" | "reset")
}

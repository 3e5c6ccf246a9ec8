//! A node for tests: an honest, single-threaded, in-memory implementation of `Host`, and a client of it.
//!
//! It keeps what it is told (subscriptions, configuration, pauses) and answers from it, so that a test observes a
//! command's effect through another command or through a field, never through a canned reply.

use commands::acl::{AclLog, Refused, User, Users};
use commands::args::Args;
use commands::host::*;
use commands::info::{CommandStats, InfoData};
use commands::session::{ChannelKind, Session, SessionCtx};
use commands::{Run, find, pubsub};
use protocol::{Reply, Version};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use stdx::{Clock, Mono, Slot, Wall};

/// Half past midnight, some day in 2023, in milliseconds.
pub(crate) const NOW: Wall = Wall(1_700_000_000_123);

pub(crate) struct TestHost {
    /// Scripts, each its own digest.
    pub(crate) scripts: Vec<Vec<u8>>,
    pub(crate) clock: Clock,
    pub(crate) users: Arc<Users>,
    pub(crate) file: Option<Vec<u8>>,
    pub(crate) log: AclLog,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) immutable: Vec<&'static str>,
    pub(crate) config_file: bool,
    pub(crate) data: InfoData,
    pub(crate) stats: Vec<CommandStats>,
    pub(crate) errors: Vec<(String, u64)>,
    pub(crate) others: BTreeMap<u64, Session>,
    pub(crate) paused: Option<(Mono, Pause)>,
    pub(crate) unblocked: Vec<(u64, Unblock)>,
    pub(crate) subscriptions: BTreeMap<(u8, Vec<u8>), Vec<u64>>,
    pub(crate) delivered: Vec<(u64, Vec<u8>)>,
    pub(crate) slow: Vec<SlowlogEntry>,
    pub(crate) events: Vec<LatencyEvent>,
    pub(crate) view: ClusterView,
    pub(crate) keys: BTreeMap<u16, Vec<Vec<u8>>>,
    pub(crate) saves: Vec<bool>,
    pub(crate) save_outcome: Result<(), SaveError>,
    pub(crate) stopping: Option<ShutdownMode>,
    pub(crate) refuse_shutdown: bool,
    pub(crate) purged: usize,
}

/// One connection to a node.
pub(crate) struct Client {
    pub(crate) host: TestHost,
    pub(crate) session: Session,
}

impl Client {
    pub(crate) fn new() -> Client {
        let host = TestHost::new();
        let now = host.clock.mono();
        let session = Session::new(
            7,
            "127.0.0.1:50000".into(),
            "127.0.0.1:6379".into(),
            now,
            Arc::new(User::unrestricted()),
        );
        Client { host, session }
    }

    pub(crate) fn resp3() -> Client {
        let mut client = Client::new();
        client.session.version = Version::Resp3;
        client
    }

    /// Runs a line of words separated by blanks (`""` is an empty word); the bytes of the reply, which are known to
    /// be whole frames: every aggregate has as many elements as it says.
    pub(crate) fn send(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> =
            line.split(' ').map(|word| if word == "\"\"" { "" } else { word }.as_bytes()).collect();
        self.run(&words)
    }

    pub(crate) fn run(&mut self, words: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.session.version);
        let args = Args::new(words);
        match find(args) {
            Err(error) => reply.error(&error.to_string()),
            Ok(command)
                if self.session.restricted_by_subscription()
                    && !pubsub::allowed_while_subscribed(command) =>
            {
                reply.error(&pubsub::refused_while_subscribed(command.name));
            }
            Ok(command) => {
                self.session.last_command = command.name;
                self.session.last_interaction = self.host.clock.mono();
                match command.run {
                    Run::Session(run) => {
                        run(
                            &mut SessionCtx { session: &mut self.session, host: &mut self.host },
                            args,
                            &mut reply,
                        );
                    }
                    Run::Nodes { local, .. } => local(&mut self.host, args, &mut reply),
                    Run::Users(plan) => match plan(&self.host, args) {
                        Err(text) => reply.error(&text),
                        Ok(plan) => {
                            let users = plan.change.apply(&self.host.users).expect("a plan can be read");
                            self.host.users = Arc::new(users);
                            match plan.count {
                                Some(count) => reply.integer(count),
                                None => reply.ok(),
                            }
                        }
                    },
                    _ => panic!("{} is not a command of the session", command.name),
                }
            }
        }
        let mut rest = &out[..];
        while !rest.is_empty() {
            let length = protocol::frame_len(rest).expect("a well-formed reply").expect("a whole reply");
            rest = &rest[length..];
        }
        String::from_utf8(out).expect("the tests use text")
    }

    /// Asserts the exact bytes of a reply.
    #[track_caller]
    pub(crate) fn check(&mut self, line: &str, expected: &str) {
        assert_eq!(self.send(line), expected, "{line}");
    }

    /// The text of a bulk or verbatim reply, without its header.
    #[track_caller]
    pub(crate) fn text(&mut self, line: &str) -> String {
        let reply = self.send(line);
        let (header, rest) = reply.split_once("\r\n").expect("a header");
        let length: usize = header[1..].parse().expect("the length of a text");
        assert_eq!(rest.len(), length + 2, "{line}: {reply}");
        let text = &rest[..length];
        if header.starts_with('=') { text[4..].to_owned() } else { text.to_owned() }
    }
}

fn kind_number(kind: ChannelKind) -> u8 {
    match kind {
        ChannelKind::Channel => 0,
        ChannelKind::Pattern => 1,
        ChannelKind::Shard => 2,
    }
}

impl TestHost {
    fn new() -> TestHost {
        let clock = Clock::manual(NOW);
        let config = [
            ("latency-monitor-threshold", "0"),
            ("maxmemory", "0"),
            ("maxmemory-policy", "noeviction"),
            ("port", "6379"),
        ];
        let mut data = InfoData::default();
        data.server.now = NOW;
        data.server.uptime = Duration::from_secs(3);
        TestHost {
            scripts: Vec::new(),
            clock,
            users: Arc::default(),
            file: None,
            log: AclLog::default(),
            config: config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            immutable: vec!["port"],
            config_file: false,
            data,
            stats: Vec::new(),
            errors: Vec::new(),
            others: BTreeMap::new(),
            paused: None,
            unblocked: Vec::new(),
            subscriptions: BTreeMap::new(),
            delivered: Vec::new(),
            slow: Vec::new(),
            events: Vec::new(),
            view: ClusterView::default(),
            keys: BTreeMap::new(),
            stopping: None,
            saves: Vec::new(),
            save_outcome: Ok(()),
            refuse_shutdown: false,
            purged: 0,
        }
    }

    /// Gives the default user a password.
    pub(crate) fn set_password(&mut self, password: &[u8]) {
        Arc::make_mut(&mut self.users).set_default_password(password);
    }

    /// Another connection to the same node.
    pub(crate) fn connect(&mut self, id: u64) -> &mut Session {
        let now = self.clock.mono();
        let session = Session::new(
            id,
            format!("10.0.0.{id}:1000"),
            "127.0.0.1:6379".into(),
            now,
            Arc::new(User::unrestricted()),
        );
        self.others.entry(id).or_insert(session)
    }

    fn deliver(&mut self, kind: ChannelKind, name: &[u8], write: &dyn Fn(&mut Reply<'_>)) -> u64 {
        let sessions =
            self.subscriptions.get(&(kind_number(kind), name.to_vec())).cloned().unwrap_or_default();
        for id in &sessions {
            let mut out = Vec::new();
            write(&mut Reply::new(&mut out, Version::Resp2));
            self.delivered.push((*id, out));
        }
        sessions.len() as u64
    }
}

impl Host for TestHost {
    fn wall(&self) -> Wall {
        self.clock.wall()
    }

    fn mono(&self) -> Mono {
        self.clock.mono()
    }

    fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users)
    }

    fn all_channels_by_default(&self) -> bool {
        false
    }

    fn users_file(&self) -> Option<String> {
        self.file.as_ref().map(|_| "users.acl".to_owned())
    }

    fn read_users(&self) -> Result<Vec<u8>, String> {
        Ok(self.file.clone().unwrap_or_default())
    }

    fn save_users(&mut self, text: &[u8]) -> Result<(), String> {
        self.file = Some(text.to_vec());
        Ok(())
    }

    fn refused(&mut self, refused: Refused) {
        let now = self.clock.wall();
        self.log.add(refused, now, 128);
    }

    fn acl_log(&mut self, with: &mut dyn FnMut(&mut AclLog)) {
        with(&mut self.log);
    }

    fn config(&self) -> Vec<(String, String)> {
        self.config.clone().into_iter().collect()
    }

    fn config_set(&mut self, pairs: &[(&str, &[u8])]) -> Result<(), ConfigError> {
        for (name, _) in pairs {
            if !self.config.contains_key(*name) {
                return Err(ConfigError::Unknown { name: (*name).to_owned() });
            }
            if self.immutable.contains(name) {
                let reason = "can't set immutable config".to_owned();
                return Err(ConfigError::Refused { name: (*name).to_owned(), reason });
            }
        }
        for (name, value) in pairs {
            self.config.insert((*name).to_owned(), String::from_utf8_lossy(value).into_owned());
        }
        Ok(())
    }

    fn config_rewrite(&mut self) -> Result<(), String> {
        if self.config_file { Ok(()) } else { Err("The server is running without a config file".into()) }
    }

    fn reset_statistics(&mut self) {
        self.stats.clear();
        self.errors.clear();
    }

    fn info(&self) -> InfoData {
        self.data.clone()
    }

    fn command_stats(&self) -> Vec<CommandStats> {
        self.stats.clone()
    }

    fn error_stats(&self) -> Vec<(String, u64)> {
        self.errors.clone()
    }

    fn clients(&self) -> Vec<ClientInfo> {
        self.others.values().map(|session| session.describe(self.clock.mono())).collect()
    }

    fn kill_client(&mut self, id: u64) -> bool {
        self.others.remove(&id).is_some()
    }

    fn pause_clients(&mut self, until: Mono, what: Pause) {
        let (before, kind) = self.paused.unwrap_or((until, what));
        self.paused = Some((before.max(until), kind.max(what)));
    }

    fn unpause_clients(&mut self) {
        self.paused = None;
    }

    fn unblock_client(&mut self, id: u64, how: Unblock) -> bool {
        match self.others.get_mut(&id).filter(|session| session.blocked) {
            Some(session) => {
                session.blocked = false;
                self.unblocked.push((id, how));
                true
            }
            None => false,
        }
    }

    fn subscribe(&mut self, session: u64, kind: ChannelKind, name: &[u8]) {
        let sessions = self.subscriptions.entry((kind_number(kind), name.to_vec())).or_default();
        assert!(!sessions.contains(&session), "subscribed twice");
        sessions.push(session);
    }

    fn unsubscribe(&mut self, session: u64, kind: ChannelKind, name: &[u8]) {
        let key = (kind_number(kind), name.to_vec());
        let sessions = self.subscriptions.get_mut(&key).expect("somebody is subscribed");
        sessions.retain(|other| *other != session);
        if sessions.is_empty() {
            self.subscriptions.remove(&key);
        }
    }

    fn publish(&mut self, kind: ChannelKind, channel: &[u8], message: &[u8]) -> u64 {
        if kind == ChannelKind::Shard {
            return self.deliver(kind, channel, &|reply| pubsub::smessage(reply, channel, message));
        }
        let mut received = self.deliver(kind, channel, &|reply| pubsub::message(reply, channel, message));
        for pattern in self.subscribed_names(ChannelKind::Pattern) {
            if commands::glob::matches(&pattern, channel) {
                received += self.deliver(ChannelKind::Pattern, &pattern, &|reply| {
                    pubsub::pmessage(reply, &pattern, channel, message);
                });
            }
        }
        received
    }

    fn subscribed_names(&self, kind: ChannelKind) -> Vec<Vec<u8>> {
        let ours = self.subscriptions.keys().filter(|(number, _)| *number == kind_number(kind));
        ours.map(|(_, name)| name.clone()).collect()
    }

    fn subscriber_count(&self, kind: ChannelKind, name: &[u8]) -> u64 {
        self.subscriptions
            .get(&(kind_number(kind), name.to_vec()))
            .map_or(0, |sessions| sessions.len() as u64)
    }

    fn script_load(&mut self, body: &[u8]) -> Result<String, String> {
        self.scripts.push(body.to_vec());
        Ok(String::from_utf8_lossy(body).into_owned())
    }

    fn script_exists(&self, digest: &[u8]) -> bool {
        self.scripts.iter().any(|script| script == digest)
    }

    fn script_flush(&mut self) {
        self.scripts.clear();
    }

    fn script_kill(&mut self) -> Result<(), String> {
        Err("NOTBUSY No scripts in execution right now.".to_owned())
    }

    fn slowlog(&self, count: usize) -> Vec<SlowlogEntry> {
        self.slow.iter().rev().take(count).cloned().collect()
    }

    fn slowlog_len(&self) -> usize {
        self.slow.len()
    }

    fn slowlog_reset(&mut self) {
        self.slow.clear();
    }

    fn latency_events(&self) -> Vec<LatencyEvent> {
        self.events.clone()
    }

    fn latency_reset(&mut self, event: Option<&[u8]>) -> usize {
        let before = self.events.len();
        self.events.retain(|kept| event.is_some_and(|name| name != kept.name.as_bytes()));
        before - self.events.len()
    }

    fn cluster_enabled(&self) -> bool {
        false
    }

    fn cluster_view(&self) -> ClusterView {
        self.view.clone()
    }

    fn count_keys_in_slot(&self, slot: Slot) -> u64 {
        self.keys.get(&slot.0).map_or(0, |keys| keys.len() as u64)
    }

    fn keys_in_slot(&self, slot: Slot, count: usize) -> Vec<Vec<u8>> {
        self.keys.get(&slot.0).into_iter().flatten().take(count).cloned().collect()
    }

    fn save(&mut self, wait: bool) -> Result<(), SaveError> {
        self.saves.push(wait);
        self.save_outcome.clone()
    }

    fn shutdown(&mut self, mode: ShutdownMode) -> Result<(), String> {
        if self.refuse_shutdown {
            return Err("Errors trying to SHUTDOWN. Check logs.".into());
        }
        self.stopping = Some(mode);
        Ok(())
    }

    fn abort_shutdown(&mut self) -> bool {
        self.stopping.take().is_some()
    }

    fn purge_memory(&mut self) {
        self.purged += 1;
    }
}

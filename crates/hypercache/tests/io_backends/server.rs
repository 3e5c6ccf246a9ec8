//! A sole node in this process, served by the io threads alone: no control plane, no HTTP.

use cluster::map::{ClusterMap, MapCommand, Member, MemberState, UserUpdate};
use cluster::planner::{self, PlanLimits};
use commands::host::{ConfigError, NodeHealth, SaveError, ShutdownMode};
use commands::info::InfoData;
use hypercache::config::IoBackend;
use hypercache::io::{Backend, Settings, Threads};
use node::{Limits, NodeConfig, Platform, Shared, UsersAnswer, UsersOutcome};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use stdx::{Clock, NodeId};
use tokio::sync::mpsc;

/// Longest a test waits for a reply.
const PATIENCE: Duration = Duration::from_secs(20);

struct TestPlatform(Limits);

impl Platform for TestPlatform {
    fn config(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn config_set(&self, _pairs: &[(&str, &[u8])]) -> Result<(), ConfigError> {
        Ok(())
    }

    fn config_rewrite(&self) -> Result<(), String> {
        Ok(())
    }

    fn propose_users(&self, _update: UserUpdate, answer: UsersAnswer) {
        answer(UsersOutcome::Failed("there is nobody to agree with".to_owned()));
    }

    fn limits(&self) -> Limits {
        self.0
    }

    fn complete_info(&self, _info: &mut InfoData) {}

    fn health(&self, _node: NodeId) -> NodeHealth {
        NodeHealth::Up
    }

    fn save(&self, _wait: bool) -> Result<(), SaveError> {
        Err(SaveError::Failed("nothing is kept on disk".to_owned()))
    }

    fn shutdown(&self, _mode: ShutdownMode) -> Result<(), String> {
        Ok(())
    }

    fn abort_shutdown(&self) -> bool {
        false
    }

    fn purge_memory(&self) {}
}

/// A served node, stopped when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    threads: Option<Threads>,
}

impl Server {
    /// Starts one, or says why the backend cannot be used.
    pub(crate) fn start(backend: IoBackend, threads: usize, limits: Limits) -> std::io::Result<Server> {
        let config = NodeConfig {
            node: NodeId(1),
            name: "node-1".into(),
            workers: threads,
            wait_for_in_sync: true,
            forward_timeout: Duration::from_secs(2),
            resp_port: 6379,
        };
        let shared = Shared::new(config, Clock::system(), Arc::new(TestPlatform(limits)), 7);
        shared.apply_map(Arc::new(sole_member()));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        // Nobody opens links, and a sole member wants none.
        let (wanted, _requests) = mpsc::unbounded_channel();
        let settings = Settings { threads, keepalive: Duration::from_secs(60), backend };
        let threads = hypercache::io::start(settings, listener, &shared, wanted)?;
        Ok(Server { address, threads: Some(threads) })
    }

    pub(crate) fn backend(&self) -> Backend {
        self.threads.as_ref().expect("not stopped").backend()
    }

    pub(crate) fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a plain socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a plain socket");
        stream.set_nodelay(true).expect("a plain socket");
        Client { stream }
    }

    /// Asks the threads to stop, and returns what waits for them.
    pub(crate) fn stop(&mut self) -> Threads {
        let threads = self.threads.take().expect("stopped once");
        threads.handle().stop();
        threads
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.join();
        }
    }
}

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn send(&mut self, words: &[&[u8]]) {
        let mut bytes = Vec::new();
        encode(&mut bytes, words);
        self.stream.write_all(&bytes).expect("the server reads");
    }

    /// Reads exactly what is expected.
    pub(crate) fn expect(&mut self, expected: &[u8]) {
        let mut found = vec![0; expected.len()];
        self.stream.read_exact(&mut found).expect("a reply in time");
        let at = found.iter().zip(expected).position(|(found, expected)| found != expected);
        assert_eq!(at, None, "replies differ from this byte on, of {}", expected.len());
    }

    pub(crate) fn check(&mut self, words: &[&[u8]], expected: &[u8]) {
        self.send(words);
        self.expect(expected);
    }

    /// Everything up to the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the server closes in time");
        rest
    }
}

/// Appends a command.
pub(crate) fn encode(bytes: &mut Vec<u8>, words: &[&[u8]]) {
    protocol::encode_command(bytes, words);
}

/// The reply that carries `value`.
pub(crate) fn bulk(value: &[u8]) -> Vec<u8> {
    let mut reply = format!("${}\r\n", value.len()).into_bytes();
    reply.extend_from_slice(value);
    reply.extend_from_slice(b"\r\n");
    reply
}

fn sole_member() -> ClusterMap {
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let member = Member {
        node: NodeId(1),
        incarnation: 1,
        name: "node-1".into(),
        zone: None,
        weight: 1,
        resp: address(6300),
        http: address(8300),
        gossip: address(7300),
        state: MemberState::Up,
        recovered: Vec::new(),
    };
    let mut map = ClusterMap::default();
    for command in [
        MapCommand::Bootstrap { cluster_id: 1, partitions: 16, replication_factor: 1 },
        MapCommand::Register { member },
    ] {
        assert_eq!(map.apply(&command).refused, None);
    }
    while !planner::is_settled(&map) {
        let changes = planner::plan(&map, PlanLimits::default());
        assert!(!changes.is_empty(), "a sole member takes every partition");
        map.apply(&MapCommand::Changes(changes));
    }
    map
}

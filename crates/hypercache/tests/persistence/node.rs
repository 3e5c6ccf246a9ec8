//! A node as a process of its own, a client that shows replies as text, and the other commands of the program.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;
use stdx::{Clock, Mono, Random};

/// Longest a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// A wait that has an end.
struct Wait(Clock, Mono);

impl Wait {
    fn begin() -> Wait {
        let clock = Clock::system();
        let now = clock.mono();
        Wait(clock, now)
    }

    /// Pauses; false once it has taken too long.
    fn goes_on(&self) -> bool {
        std::thread::sleep(PAUSE);
        self.0.mono().since(self.1) < PATIENCE
    }
}

/// A directory and ports, with a process or without.
pub(crate) struct Node {
    dir: tempfile::TempDir,
    ports: [u16; 3],
    appendfsync: &'static str,
    child: Option<Child>,
}

impl Node {
    /// A running node with an empty directory.
    pub(crate) fn start(appendfsync: &'static str) -> Node {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut node = Node { dir, ports: free_ports(), appendfsync, child: None };
        node.restart();
        node
    }

    /// Starts the process and waits until it serves.
    pub(crate) fn restart(&mut self) {
        self.child = Some(self.spawn(self.path(), self.ports));
        let wait = Wait::begin();
        while self.try_client().is_none_or(|mut client| client.ask(&["GET", "nothing"]) != "(nil)") {
            let ended = self.child.as_mut().expect("spawned above").try_wait().expect("a child of ours");
            assert!(ended.is_none() && wait.goes_on(), "it does not serve: {}", self.log());
        }
    }

    /// Starts the process, which is expected to refuse; what it says.
    pub(crate) fn refusal(&self) -> String {
        self.refusal_of(self.ports)
    }

    /// The same for a second process with the same directory.
    pub(crate) fn refusal_of_another(&self) -> String {
        self.refusal_of(free_ports())
    }

    fn refusal_of(&self, ports: [u16; 3]) -> String {
        let log = tempfile::tempdir().expect("a temporary directory");
        let status = wait(&mut self.spawn(log.path(), ports));
        let said = log_in(log.path());
        assert_eq!(status.code(), Some(1), "{said}");
        said
    }

    fn spawn(&self, log_dir: &Path, [resp, http, gossip]: [u16; 3]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypercache"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HYPERCACHE_")) {
            command.env_remove(name);
        }
        let flags = ["--appendonly", "yes", "--io-threads", "1", "--node-id", "alone"];
        command.arg("server").args(flags).args(["--appendfsync", self.appendfsync]);
        command.arg("--dir").arg(self.path());
        for (name, port) in [("--port", resp), ("--http-port", http), ("--gossip-port", gossip)] {
            command.arg(name).arg(port.to_string());
        }
        let log = File::create(log_dir.join("stderr")).expect("a writable directory");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("the binary runs")
    }

    /// Ends the process as a crash does.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("a child of ours");
        wait(&mut child);
    }

    /// Ends the process by the command.
    pub(crate) fn shut_down(&mut self) {
        let mut client = self.client();
        client.send(&["SHUTDOWN"]).expect("the node reads");
        let status = wait(&mut self.child.take().expect("it runs"));
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Client {
        self.try_client().expect("the node listens")
    }

    fn try_client(&self) -> Option<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[0])).ok()?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_nodelay(true))
            .expect("a plain socket");
        Some(Client(BufReader::new(stream)))
    }

    /// A line of INFO persistence.
    pub(crate) fn info(&self, field: &str) -> String {
        let info = self.client().ask(&["INFO", "persistence"]);
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in {info}")).to_owned()
    }

    /// Waits until a line of INFO persistence is this.
    pub(crate) fn wait_for(&self, field: &str, value: &str) {
        let wait = Wait::begin();
        while self.info(field) != value {
            assert!(wait.goes_on(), "{field} is {}", self.info(field));
        }
    }

    /// What the last process has said.
    pub(crate) fn log(&self) -> String {
        log_in(self.path())
    }

    /// The node's directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The directory of its log.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.path().join("appendonlydir")
    }

    /// The newest segment of its log that has frames.
    pub(crate) fn last_segment(&self) -> PathBuf {
        let mut names: Vec<_> = std::fs::read_dir(self.log_path())
            .expect("readable")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        names.sort();
        names.pop().expect("a segment")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            wait(&mut child);
        }
    }
}

fn log_in(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("stderr")).unwrap_or_default()
}

fn wait(child: &mut Child) -> ExitStatus {
    let wait = Wait::begin();
    loop {
        match child.try_wait().expect("a child of ours") {
            Some(status) => return status,
            None if wait.goes_on() => {}
            None => {
                child.kill().expect("a child of ours");
                panic!("it does not end");
            }
        }
    }
}

/// Ports below those that the kernel gives to outgoing connections, so that a restarted node finds its own again.
fn free_ports() -> [u16; 3] {
    let mut random = Random::system();
    let mut held = Vec::new();
    while held.len() < 3 {
        let port = 12_000 + random.below(18_000) as u16;
        let address = (Ipv4Addr::LOCALHOST, port);
        if let (Ok(tcp), Ok(udp)) = (TcpListener::bind(address), UdpSocket::bind(address)) {
            held.push((port, tcp, udp));
        }
    }
    [held[0].0, held[1].0, held[2].0]
}

/// A connection.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    /// Sends a command and gives the reply as text: errors begin with `-`, `-closed` if there is nobody, elements of an array are
    /// joined by spaces.
    pub(crate) fn ask(&mut self, words: &[&str]) -> String {
        match self.send(words) {
            Ok(()) => self.reply(),
            Err(_) => "-closed".to_owned(),
        }
    }

    /// Sends commands that must be answered so.
    #[track_caller]
    pub(crate) fn check(&mut self, asked: &[(&str, &str)]) {
        for (command, expected) in asked {
            let words: Vec<_> = command.split(' ').collect();
            assert_eq!(self.ask(&words), *expected, "{command}");
        }
    }

    fn send(&mut self, words: &[&str]) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        protocol::encode_command(&mut bytes, words);
        self.0.get_mut().write_all(&bytes)
    }

    /// Sends commands that were extracted; all replies must be OK.
    pub(crate) fn load(&mut self, commands: &[u8]) {
        let mut bytes = commands.to_vec();
        protocol::encode_command(&mut bytes, &["ECHO", "all of it"]);
        self.0.get_mut().write_all(&bytes).expect("the node reads");
        loop {
            match self.reply().as_str() {
                "OK" => {}
                "all of it" => return,
                other => panic!("{other}"),
            }
        }
    }

    fn reply(&mut self) -> String {
        let mut line = String::new();
        if self.0.read_line(&mut line).is_err() || line.is_empty() {
            return "-closed".to_owned();
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at(1);
        match kind {
            "+" | ":" => rest.to_owned(),
            "$" | "*" if rest == "-1" => "(nil)".to_owned(),
            "$" => {
                let length: usize = rest.parse().expect("a length");
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).expect("a whole reply");
                bytes.truncate(length);
                String::from_utf8_lossy(&bytes).into_owned()
            }
            "*" => {
                let length: usize = rest.parse().expect("a length");
                (0..length).map(|_| self.reply()).collect::<Vec<_>>().join(" ")
            }
            _ => line.to_owned(),
        }
    }
}

/// Runs `hypercache check`: exit code, and what it prints.
pub(crate) fn check_directory(dir: &Path, extract: Option<&Path>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypercache"));
    command.arg("check").arg(dir);
    if let Some(file) = extract {
        command.arg("--extract").arg(file);
    }
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&text).into_owned())
}

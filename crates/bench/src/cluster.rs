//! A cluster of real server processes on this machine's loopback address.
//!
//! Every node has a directory, a log file and three fixed ports of its own, so that it can be killed and started
//! again as the same node with the very same command line, as a supervisor would. Signals go to process ids this
//! program started, and dropping a cluster kills what is left of it.

use crate::http_client::HttpClient;
use crate::ports::free_ports;
use crate::resp_client::{Reply, RespClient};
use crate::{Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(10);
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const LOG_TAIL_LINES: usize = 12;

/// How long forming may take before a run gives up (the limit that counts is the `form` run's).
pub(crate) const FORM_TIMEOUT: Duration = Duration::from_secs(30);

/// What differs between the clusters that runs ask for.
#[derive(Clone)]
pub(crate) struct Options {
    /// How many nodes start at first.
    pub(crate) nodes: usize,
    /// Further flags for every node.
    pub(crate) flags: Vec<String>,
    /// The processor that every node is bound to, if any.
    pub(crate) processor: Option<usize>,
}

impl Options {
    /// A cluster of `nodes` with the defaults of the server.
    pub(crate) fn nodes(nodes: usize) -> Options {
        Options { nodes, flags: Vec::new(), processor: None }
    }

    /// The same with one more flag and its value.
    pub(crate) fn flag(mut self, name: &str, value: &str) -> Options {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }
}

/// Where a node listens: all that a client needs.
#[derive(Clone, Debug)]
pub(crate) struct NodeAddress {
    /// The node's name.
    pub(crate) name: String,
    /// Its RESP address.
    pub(crate) resp: SocketAddr,
    /// Its HTTP address.
    pub(crate) http: SocketAddr,
}

/// One server process, running or not.
pub(crate) struct Node {
    /// Where it listens.
    pub(crate) address: NodeAddress,
    dir: PathBuf,
    command: Vec<String>,
    child: Option<Child>,
}

/// The processes of one cluster and the directory they live in.
pub(crate) struct Cluster {
    /// The nodes, in the order in which they were first started.
    pub(crate) nodes: Vec<Node>,
    dir: PathBuf,
    binary: PathBuf,
    options: Options,
    seed_gossip_port: u16,
}

/// What `GET /api/cluster/status` says.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    /// True when placement is as the ring wants it and every replica is in sync.
    pub(crate) settled: bool,
    /// Partitions with fewer in-sync copies than asked for.
    pub(crate) under_replicated: u64,
    /// All members known to the node.
    pub(crate) members: Vec<Member>,
}

/// One member in a [`Status`].
#[derive(Debug, Deserialize)]
pub(crate) struct Member {
    /// The node's name.
    pub(crate) name: String,
    /// `up`, `suspect`, `down` or `leaving`.
    pub(crate) state: String,
    /// Partitions it executes.
    pub(crate) primaries: u64,
}

impl Cluster {
    /// Starts all nodes at once and returns without waiting for them to form.
    ///
    /// # Errors
    /// When the program does not exist or no ports or directories are to be had.
    pub(crate) fn start(binary: &Path, options: &Options) -> Result<Cluster> {
        if !binary.exists() {
            return Err(format!("{} is not built", binary.display()).into());
        }
        let mut cluster = Cluster {
            nodes: Vec::new(),
            dir: fresh_directory(binary)?,
            binary: binary.to_path_buf(),
            options: options.clone(),
            seed_gossip_port: 0,
        };
        for _ in 0..options.nodes {
            cluster.define_node()?;
        }
        for node in &mut cluster.nodes {
            node.start()?;
        }
        Ok(cluster)
    }

    /// Starts all nodes and waits until they have formed.
    ///
    /// # Errors
    /// As for [`Cluster::start`], and when they do not form in time.
    pub(crate) fn formed(binary: &Path, options: &Options) -> Result<Cluster> {
        let cluster = Cluster::start(binary, options)?;
        cluster.wait_settled(options.nodes, FORM_TIMEOUT)?;
        Ok(cluster)
    }

    /// Starts one more node, which joins through the first; returns its index.
    ///
    /// # Errors
    /// As for [`Cluster::start`].
    pub(crate) fn add_node(&mut self) -> Result<usize> {
        self.define_node()?;
        let index = self.nodes.len() - 1;
        self.nodes[index].start()?;
        Ok(index)
    }

    /// The addresses of all nodes.
    pub(crate) fn addresses(&self) -> Vec<NodeAddress> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// Waits until every running node answers ready and counts `size` members.
    ///
    /// # Errors
    /// When that takes longer than `timeout`: says what each node answered last, with the end of its log.
    pub(crate) fn wait_ready(&self, size: usize, timeout: Duration) -> Result<Duration> {
        self.wait_for("ready", timeout, |node| node.ready(size))
    }

    /// Waits until every running node says: settled, nothing under-replicated, exactly `size` members and all up.
    ///
    /// # Errors
    /// As for [`Cluster::wait_ready`].
    pub(crate) fn wait_settled(&self, size: usize, timeout: Duration) -> Result<Duration> {
        self.wait_for("settled", timeout, |node| {
            node.ready(size)?;
            let status = node.status()?;
            let up = status.members.iter().filter(|member| member.state == "up").count();
            let known = status.members.iter().filter(|member| member.state != "down").count();
            if status.settled && status.under_replicated == 0 && up == size && known == size {
                return Ok(());
            }
            let states: Vec<String> =
                status.members.iter().map(|member| format!("{} {}", member.name, member.state)).collect();
            let (settled, missing) = (status.settled, status.under_replicated);
            Err(format!("settled={settled} under_replicated={missing} members: {}", states.join(", ")).into())
        })
    }

    fn wait_for(
        &self,
        what: &str,
        timeout: Duration,
        check: impl Fn(&Node) -> Result<()>,
    ) -> Result<Duration> {
        let started = Instant::now();
        loop {
            let running: Vec<&Node> = self.nodes.iter().filter(|node| node.child.is_some()).collect();
            let failures: Vec<String> = running
                .iter()
                .filter_map(|node| check(node).err().map(|error| format!("{}: {error}", node.address.name)))
                .collect();
            if failures.is_empty() {
                return Ok(started.elapsed());
            }
            let ended = running.iter().find(|node| node.has_ended());
            if let Some(node) = ended {
                return Err(format!("{} ended by itself\n{}", node.address.name, node.log_tail()).into());
            }
            if started.elapsed() > timeout {
                let logs: String = running.iter().map(|node| node.log_tail()).collect();
                return Err(format!("not {what} after {timeout:?}: {}\n{logs}", failures.join("; ")).into());
            }
            sleep(POLL);
        }
    }

    fn define_node(&mut self) -> Result<()> {
        let [resp, http, gossip] = free_ports(3)?[..] else {
            return Err("three ports were asked for".into());
        };
        let name = format!("node-{}", self.nodes.len() + 1);
        let dir = self.dir.join(&name);
        fs::create_dir_all(&dir)?;
        let mut command = launcher(self.options.processor);
        command.push(self.binary.display().to_string());
        command.extend(["server", "--node-id", &name, "--bind", "127.0.0.1"].map(str::to_owned));
        for (flag, port) in [("--port", resp), ("--http-port", http), ("--gossip-port", gossip)] {
            command.extend([flag.to_owned(), port.to_string()]);
        }
        command.extend(["--dir".to_owned(), dir.join("data").display().to_string()]);
        if self.nodes.is_empty() {
            self.seed_gossip_port = gossip;
        } else {
            command.extend(["--join".to_owned(), format!("127.0.0.1:{}", self.seed_gossip_port)]);
        }
        command.extend(self.options.flags.iter().cloned());
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let address = NodeAddress { name, resp: at(resp), http: at(http) };
        self.nodes.push(Node { address, dir, command, child: None });
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Err(error) = node.kill() {
                eprintln!("{}: {error}", node.address.name);
            }
        }
        // The logs of a run that panicked are what explains it: they stay.
        if !std::thread::panicking()
            && std::env::var_os("ACCEPTANCE_KEEP_LOGS").is_none()
            && let Err(error) = fs::remove_dir_all(&self.dir)
        {
            eprintln!("{}: {error}", self.dir.display());
        }
    }
}

impl Node {
    /// Starts the process with the same command line as ever.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&mut self) -> Result<()> {
        fs::create_dir_all(self.dir.join("data"))?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let (program, arguments) = self.command.split_first().ok_or("an empty command line")?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        self.child = Some(child);
        Ok(())
    }

    /// The process id of the running process.
    ///
    /// # Errors
    /// When it is not running.
    pub(crate) fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().ok_or_else(|| self.not_running())?.id())
    }

    /// `kill -9`, and waits until the process is gone. Nothing happens when it does not run.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP: the process stays but does nothing.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// True while the process runs.
    pub(crate) fn alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// When it still runs after `timeout`.
    pub(crate) fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let not_running = self.not_running();
        let child = self.child.as_mut().ok_or(not_running)?;
        let started = Instant::now();
        while started.elapsed() < timeout {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            sleep(POLL);
        }
        Err(format!("{} still runs after {timeout:?}\n{}", self.address.name, self.log_tail()).into())
    }

    /// SIGTERM, and the exit status of the clean shutdown that must follow.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub(crate) fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_exit(STOP_TIMEOUT)
    }

    /// The resident memory of the process, in bytes.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        resident_bytes(self.pid()?)
    }

    /// What the node says of the cluster.
    ///
    /// # Errors
    /// When it does not answer, or with something else.
    pub(crate) fn status(&self) -> Result<Status> {
        let reply =
            HttpClient::new(self.address.http, STATUS_TIMEOUT).request("GET", "/api/cluster/status", b"")?;
        Ok(serde_json::from_value(reply.json()?)?)
    }

    fn ready(&self, size: usize) -> Result<()> {
        let mut client = HttpClient::new(self.address.http, STATUS_TIMEOUT);
        let ready = client.request("GET", "/readyz", b"")?.status;
        let health = client.request("GET", "/health", b"")?.json()?;
        let counted = health["cluster_size"].as_u64().unwrap_or_default();
        if ready == 200 && health["healthy"] == true && counted == size as u64 {
            // Ready means that a Redis client is served, too.
            let reply = RespClient::connect(self.address.resp, STATUS_TIMEOUT)?.command(&["PING"])?;
            let pong = reply == Reply::Simple("PONG".to_owned());
            return if pong { Ok(()) } else { Err(format!("PING was answered {reply:?}").into()) };
        }
        Err(format!("readyz {ready}, health {health}").into())
    }

    /// True when the process has ended but nobody has asked for its exit status yet.
    fn has_ended(&self) -> bool {
        let Ok(pid) = self.pid() else { return true };
        // The state follows the name in brackets; Z is a process that only waits to be asked.
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let raw = i32::try_from(self.pid()?)?;
        let pid = Pid::from_raw(raw).ok_or("no process has id 0")?;
        Ok(kill_process(pid, signal)?)
    }

    fn not_running(&self) -> Error {
        format!("{} is not running", self.address.name).into()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n    ");
        format!("  {} log:\n    {tail}\n", self.address.name)
    }
}

/// The resident memory of any process, in bytes.
///
/// # Errors
/// When there is no such process.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line =
        status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS: the process has ended")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("VmRSS without a number")?.parse()?;
    Ok(kib * 1024)
}

/// What comes before the program: it dies with us even if we are killed, and keeps to its processor.
pub(crate) fn launcher(processor: Option<usize>) -> Vec<String> {
    let mut command: Vec<String> = Vec::new();
    if Path::new("/usr/bin/setpriv").exists() {
        command.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
    }
    if let Some(processor) = processor {
        command.extend(["taskset".to_owned(), "-c".to_owned(), processor.to_string()]);
    }
    command
}

/// An empty directory for one cluster, beside the program under test.
fn fresh_directory(binary: &Path) -> Result<PathBuf> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let base = binary.parent().and_then(Path::parent).unwrap_or(Path::new("target")).join("acceptance");
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let dir = base.join(format!("{}-{serial}", std::process::id()));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

//! The demo's server processes: their ports, files, start, end, and whether they form a whole cluster.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::Watch;
use crate::admin_client::AdminClient;

/// How long the cluster may take to form before the demo gives up.
pub(super) const FORM_LIMIT: Duration = Duration::from_secs(20);
/// How long one request of the demo may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a node may take to shut down cleanly before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// How many lines of a node's log are shown when something fails.
const LAST_WORDS_LINES: usize = 8;
/// Most attempts to find a free port that the demo has not given out yet.
const PORT_ATTEMPTS_MAX: usize = 100;

/// One server process and where it listens.
pub(super) struct Node {
    /// Its node-id.
    pub(super) name: String,
    /// Its RESP port.
    pub(super) resp_port: u16,
    http_port: u16,
    gossip_port: u16,
    dir: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// The address of its RESP port.
    pub(super) fn resp(&self) -> String {
        format!("127.0.0.1:{}", self.resp_port)
    }

    /// The address of its HTTP port.
    pub(super) fn http(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    /// A client of its HTTP port.
    pub(super) fn client(&self) -> AdminClient {
        AdminClient::new(&self.http(), REQUEST_TIMEOUT)
    }

    fn log(&self) -> PathBuf {
        self.dir.with_extension("log")
    }
}

/// Every process of the demo. Stops them when dropped.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    notes: Vec<String>,
    files: Option<TempDir>,
    directory: PathBuf,
    secret: String,
    watch: Watch,
}

impl Nodes {
    /// Chooses ports and makes a directory for `count` nodes; starts nothing yet.
    pub(super) fn prepare(count: usize, watch: Watch) -> Result<Nodes, String> {
        let files = tempfile::Builder::new().prefix("hypercache-demo-").tempdir();
        let files = files.map_err(|error| format!("cannot make a temporary directory: {error}"))?;
        let directory = files.path().to_path_buf();
        let secret = format!("{:016x}{:016x}", stdx::random::entropy_u64(), stdx::random::entropy_u64());
        let mut nodes =
            Nodes { nodes: Vec::new(), notes: Vec::new(), files: Some(files), directory, secret, watch };
        let mut taken = Vec::new();
        for (number, offset) in (1..=count).zip(0_u16..) {
            let name = format!("node-{number}");
            let mut choose = |what: &str, wanted: u16| -> Result<u16, String> {
                let port = choose_port(wanted, &taken)?;
                taken.push(port);
                if port != wanted {
                    nodes.notes.push(format!("{what} port {wanted} of {name} is taken, using {port}"));
                }
                Ok(port)
            };
            let resp_port = choose("RESP", 6379 + offset)?;
            let http_port = choose("HTTP", 8080 + offset)?;
            let gossip_port = choose("gossip", 7946 + offset)?;
            let dir = nodes.directory.join(&name);
            nodes.nodes.push(Node { name, resp_port, http_port, gossip_port, dir, child: None });
        }
        Ok(nodes)
    }

    /// Where the files and logs are.
    pub(super) fn directory(&self) -> String {
        self.directory.display().to_string()
    }

    /// What the user should know about the choice of ports.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The nodes in order, running or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node at `index`, counted round and round.
    pub(super) fn at(&self, index: usize) -> &Node {
        &self.nodes[index % self.nodes.len()]
    }

    /// The position of the node called `name`.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// Starts every node: the first creates the cluster, the others join it.
    pub(super) fn start_all(&mut self) -> Result<(), String> {
        let seed = self.nodes.first().map(|node| node.gossip_port);
        self.start(0, &[])?;
        for index in 1..self.nodes.len() {
            self.start(index, seed.as_slice())?;
        }
        Ok(())
    }

    /// Starts a node again, with all the others to find its cluster by.
    pub(super) fn restart(&mut self, index: usize) -> Result<(), String> {
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != index);
        let seeds: Vec<u16> = others.map(|(_, node)| node.gossip_port).collect();
        self.start(index, &seeds)
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self, index: usize) -> Result<(), String> {
        let Some(mut child) = self.nodes[index].child.take() else { return Ok(()) };
        child.kill().and_then(|()| child.wait()).map_err(|error| format!("cannot kill: {error}"))?;
        Ok(())
    }

    fn start(&mut self, index: usize, seeds: &[u16]) -> Result<(), String> {
        let node = &mut self.nodes[index];
        let failed =
            |what: &str, error: &dyn std::fmt::Display| format!("cannot {what} {}: {error}", node.name);
        fs::create_dir_all(&node.dir).map_err(|error| failed("make the directory of", &error))?;
        let log = File::options().create(true).append(true).open(node.log());
        let log = log.map_err(|error| failed("open the log of", &error))?;
        let copy = log.try_clone().map_err(|error| failed("open the log of", &error))?;
        let program = std::env::current_exe().map_err(|error| failed("find the program for", &error))?;
        let mut command = Command::new(program);
        command.arg("server").stdin(Stdio::null()).stdout(log).stderr(copy);
        command.args(["--node-id", &node.name, "--bind", "127.0.0.1"]).arg("--dir").arg(&node.dir);
        let ports = [
            ("--port", node.resp_port),
            ("--http-port", node.http_port),
            ("--gossip-port", node.gossip_port),
        ];
        for (flag, port) in ports {
            command.arg(flag).arg(port.to_string());
        }
        for seed in seeds {
            command.arg("--join").arg(format!("127.0.0.1:{seed}"));
        }
        // A terminal's Ctrl-C reaches the demo alone, which then stops its nodes in order.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.arg("--stop-with-parent").arg(std::process::id().to_string());
        // The demo's nodes are all alike, whatever the user's shell configures for real ones.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HYPERCACHE_") {
                command.env_remove(name);
            }
        }
        // In the environment, because arguments can be read by every user of the machine.
        command.env("HYPERCACHE_CLUSTER_SECRET", &self.secret);
        node.child = Some(command.spawn().map_err(|error| failed("start", &error))?);
        Ok(())
    }

    /// Waits until every node sees all the others up, is ready, and every partition has its replicas in sync.
    pub(super) fn wait_until_whole(&mut self, limit: Duration) -> Result<(), String> {
        let watch = self.watch.clone();
        let whole = watch.until(limit, || match self.reap().first() {
            // Waiting for a process that has ended is in vain; the reason is in its log.
            Some(name) => Ok(Err(format!("{name} has ended"))),
            None => self.check_whole().map(Ok),
        });
        whole.and_then(|whole| whole)
    }

    fn check_whole(&self) -> Result<(), String> {
        for node in &self.nodes {
            if node.child.is_none() {
                return Err(format!("{} is not running", node.name));
            }
            let client = node.client();
            let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", node.name);
            let health = client.get("/health").map_err(|error| failed(&error))?.json();
            if health["cluster_size"].as_u64() != Some(self.nodes.len() as u64) {
                return Err(failed(&format!(
                    "sees {} of {} nodes",
                    health["cluster_size"],
                    self.nodes.len()
                )));
            }
            let ready = client.get("/readyz").map_err(|error| failed(&error))?;
            if ready.status != 200 {
                return Err(failed(&ready.complaint()));
            }
            let status = client.get("/api/cluster/status").map_err(|error| failed(&error))?.json();
            let members = status["members"].as_array().map(Vec::as_slice).unwrap_or_default();
            if members.len() != self.nodes.len() || members.iter().any(|member| member["state"] != "up") {
                return Err(failed(&"not every member is up"));
            }
            if status["settled"] != true || status["under_replicated"] != 0 {
                return Err(failed(&format!(
                    "{} partitions lack a replica in sync",
                    status["under_replicated"]
                )));
            }
        }
        Ok(())
    }

    /// Names of the nodes that have ended by themselves since the last call.
    pub(super) fn reap(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child
                && matches!(child.try_wait(), Ok(Some(_)))
            {
                node.child = None;
                ended.push(node.name.clone());
            }
        }
        ended
    }

    /// The end of every node's log, for the user to see what went wrong.
    pub(super) fn last_words(&self) -> String {
        let mut words = String::new();
        for node in &self.nodes {
            words += &format!("--- {}\n", node.name);
            words += &last_lines(&node.log());
        }
        words
    }

    /// Leaves the files behind, for the user to look into.
    pub(super) fn keep_files(&mut self) {
        if let Some(files) = self.files.take() {
            self.directory = files.keep();
        }
    }

    /// Asks every process to stop, and kills those that do not.
    pub(super) fn stop_all(&mut self) {
        for child in self.nodes.iter().filter_map(|node| node.child.as_ref()) {
            // A process that has ended already is what is wanted.
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_child(child),
                rustix::process::Signal::TERM,
            );
        }
        let start = self.watch.clock.mono();
        while self.nodes.iter().any(|node| node.child.is_some()) {
            self.reap();
            if self.watch.clock.mono().since(start) >= STOP_LIMIT {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for mut child in self.nodes.iter_mut().filter_map(|node| node.child.take()) {
            // As above; there is nothing stronger than SIGKILL to try next.
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.stop_all();
    }
}

/// `wanted` if it is free for TCP and UDP on loopback and not in `taken`, else another that is.
fn choose_port(wanted: u16, taken: &[u16]) -> Result<u16, String> {
    let free = |port: u16| -> Option<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        let port = listener.local_addr().ok()?.port();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        (socket.is_ok() && !taken.contains(&port)).then_some(port)
    };
    free(wanted)
        .or_else(|| (0..PORT_ATTEMPTS_MAX).find_map(|_| free(0)))
        .ok_or_else(|| format!("port {wanted} is taken and no other is free"))
}

fn last_lines(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| format!("no log: {error}"));
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(LAST_WORDS_LINES)..).unwrap_or_default();
    tail.iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_replaced_by_a_free_one() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
        let held = holder.local_addr().expect("it is bound").port();
        let other = choose_port(held, &[]).expect("some port is free");
        assert_ne!(other, held);
        let third = choose_port(other, &[other]).expect("some port is free");
        assert_ne!(third, other, "a port is given out once");
    }
}

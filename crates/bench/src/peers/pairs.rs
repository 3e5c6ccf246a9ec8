//! Comparisons of two set-ups: one server thread against two, and replicated writes against Valkey's.

use super::load::{Generator, words};
use super::results::{Direction, Grid, Results};
use super::servers::{BOTH_PROCESSORS, Running, Target, VALKEY_JEMALLOC};
use super::workloads::{REPLICATED, SECOND_THREAD};
use super::{Settings, main_target, progress};
use crate::Result;
use crate::cluster::{Cluster, Options};
use crate::resp_client::{Reply, RespClient};
use std::time::{Duration, Instant};

const KEYS: u64 = 1_000_000;
const SECOND_THREAD_LIMIT: f64 = 1.15;
const SECOND_THREAD_AIM: f64 = 1.05;
const REPLICATED_LIMIT: f64 = 1.5;
const REPLICATED_AIM: f64 = 3.0;
const NODES: usize = 3;
const SYNC_TIMEOUT: Duration = Duration::from_secs(20);

/// CPU per operation of two server threads against one, on the same two processors as the load.
///
/// # Errors
/// When a server does not start or misbehaves.
pub(super) fn second_thread(settings: &Settings, targets: &[Target], results: &mut Results) -> Result<()> {
    let Some(target) = main_target(targets).filter(|_| settings.wants(SECOND_THREAD)) else { return Ok(()) };
    let keys = settings.keys(KEYS);
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..settings.rounds {
        for threads in [1, 2] {
            let server = Running::start(target, BOTH_PROCESSORS, threads)?;
            let generator =
                Generator { processors: BOTH_PROCESSORS, ..Generator::new(&settings.binary, &server) };
            generator.fill(keys, 64, None)?;
            let mut arguments = timing(settings, keys);
            arguments.extend(words(&[
                "--command",
                "get",
                "--pipeline",
                "16",
                "--threads",
                &threads.to_string(),
            ]));
            let sample = generator.sample(&[server.pid()], &arguments)?;
            progress(&format!(
                "{threads} threads: {:.3} us CPU, {:.0} op/s",
                sample.cpu_us, sample.found.rate
            ));
            costs[threads - 1].push(sample.cpu_us);
        }
    }
    let [one, two] = costs.map(|costs| super::results::median(costs).unwrap_or_default());
    let mut grid = Grid::new(
        "GET, pipeline 16, server and load on the same two processors: CPU us per operation",
        "threads",
        [target.name],
    );
    grid.push("1".to_owned(), vec![format!("{one:.3}")]);
    grid.push("2".to_owned(), vec![format!("{two:.3}")]);
    results.grids.push(grid);
    let title = "CPU per operation of two threads over one";
    results.judge(title, two / one, "x", Direction::AtMost, SECOND_THREAD_LIMIT, Some(SECOND_THREAD_AIM));
    Ok(())
}

/// SETs that two copies confirm: ours through one node of three, Valkey's by WAIT after every pipeline.
///
/// # Errors
/// As for [`second_thread`].
pub(super) fn replicated(settings: &Settings, targets: &[Target], results: &mut Results) -> Result<()> {
    let valkey = targets.iter().find(|target| target.name == VALKEY_JEMALLOC);
    let Some(valkey) = valkey.filter(|_| settings.wants(REPLICATED)) else { return Ok(()) };
    let keys = settings.keys(KEYS);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..settings.rounds {
        ours.push(replicated_by_us(settings, keys)?);
        theirs.push(replicated_by_valkey(settings, valkey, keys)?);
        progress(&format!(
            "round {} replicated SET: {:.0} op/s, Valkey {:.0} op/s",
            round + 1,
            ours[round],
            theirs[round]
        ));
    }
    let (ours, theirs) = (super::results::median(ours), super::results::median(theirs));
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(()) };
    let names = ["HyperCache, three nodes, acks=insync", "Valkey, primary and replica, WAIT 1"];
    let mut grid =
        Grid::new("SET 64 B, pipeline 16, confirmed by two copies, all on two processors: op/s", "", names);
    grid.push("median".to_owned(), vec![format!("{ours:.0}"), format!("{theirs:.0}")]);
    results.grids.push(grid);
    let title = "replicated SET over Valkey with WAIT";
    results.judge(title, ours / theirs, "x", Direction::AtLeast, REPLICATED_LIMIT, Some(REPLICATED_AIM));
    Ok(())
}

fn replicated_by_us(settings: &Settings, keys: u64) -> Result<f64> {
    let options = Options::nodes(NODES)
        .flag("--replication-factor", "2")
        .flag("--acks", "insync")
        .flag("--io-threads", "1");
    let cluster = Cluster::formed(&settings.binary, &options)?;
    let address = cluster.nodes[0].address.resp;
    let generator =
        Generator { binary: &settings.binary, processors: BOTH_PROCESSORS, address, protocol: "resp" };
    Ok(generator.run(&replicated_sets(settings, keys))?.rate)
}

fn replicated_by_valkey(settings: &Settings, valkey: &Target, keys: u64) -> Result<f64> {
    let primary = Running::start(valkey, BOTH_PROCESSORS, 1)?;
    let port = primary.address.port().to_string();
    let follow = words(&["--replicaof", "127.0.0.1", &port]);
    let _replica = Running::start_with(valkey, BOTH_PROCESSORS, 1, &follow)?;
    let mut client = RespClient::connect(primary.address, SYNC_TIMEOUT)?;
    let started = Instant::now();
    loop {
        client.command(&["SET", "probe", "x"])?;
        if client.command(&["WAIT", "1", "500"])? == Reply::Integer(1) {
            break;
        }
        if started.elapsed() > SYNC_TIMEOUT {
            return Err("Valkey's replica does not follow".into());
        }
    }
    let generator = Generator { processors: BOTH_PROCESSORS, ..Generator::new(&settings.binary, &primary) };
    let mut arguments = replicated_sets(settings, keys);
    arguments.extend(words(&["--wait", "1"]));
    Ok(generator.run(&arguments)?.rate)
}

fn replicated_sets(settings: &Settings, keys: u64) -> Vec<String> {
    let mut arguments = timing(settings, keys);
    arguments.extend(words(&["--command", "set", "--pipeline", "16"]));
    arguments
}

fn timing(settings: &Settings, keys: u64) -> Vec<String> {
    let measured = settings.measured.as_secs_f64();
    let (warmup, duration) = ((measured / 4.0).to_string(), measured.to_string());
    words(&[
        "--keys",
        &keys.to_string(),
        "--value-size",
        "64",
        "--connections",
        "50",
        "--warmup",
        &warmup,
        "--duration",
        &duration,
    ])
}

//! Malformed input, case after case: the server must answer with the right error or close, and stay what it was.
//!
//! Every case is a connection of its own: its bytes are sent in one or two pieces, then our side is closed, and
//! what comes back until the server closes too is judged. So a server that hangs, that leaks a connection, or
//! that answers a truncated frame is found, and no case hides behind an earlier one. The server's memory is
//! sampled throughout. `cases` makes the inputs.

mod cases;

use crate::Result;
use crate::cluster::{Cluster, NodeAddress, Options, resident_bytes};
use crate::context::Context;
use crate::report::Report;
use crate::resp_client::{Reply, RespClient, decode};
use cases::{Case, Expect};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::Duration;
use stdx::Random;

const WORKERS: u64 = 4;
const CASE_TIMEOUT: Duration = Duration::from_secs(10);
const GROWTH_LIMIT_MB: f64 = 64.0;
const SAMPLE_EVERY: Duration = Duration::from_millis(20);
const SAMPLES_MAX: usize = 10;
/// Hanging connections cost their whole timeout each: after so many a worker has shown enough.
const HUNG_MAX: u64 = 10;
/// Closed connections keep their address for a minute: spreading them over loopback addresses leaves enough.
const SOURCE_ADDRESSES: u64 = 200;
/// One case in so many is followed by a PING on a connection that was there from the start.
const PING_EVERY: u64 = 500;

/// Runs all cases against one node.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let total = context.operations(1_000_000, 20_000);
    let mut cluster = Cluster::formed(&context.binary, &Options::nodes(1).flag("--replication-factor", "1"))?;
    let node = cluster.nodes[0].address.clone();
    let pid = cluster.nodes[0].pid()?;
    let before = resident_bytes(pid)?;
    let stop = AtomicBool::new(false);
    let peak = AtomicU64::new(before);
    let mut findings = Findings::default();
    let broken = thread::scope(|scope| {
        scope.spawn(|| sample_memory(pid, &peak, &stop));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let random = Random::seeded(context.seed ^ worker << 40);
                let node = &node;
                scope.spawn(move || work(node, total.div_ceil(WORKERS), random))
            })
            .collect();
        let mut broken = None;
        for worker in workers {
            match worker.join().expect("a worker returns its errors") {
                Ok(found) => findings.add(found),
                Err(error) => broken = Some(error),
            }
        }
        stop.store(true, Relaxed);
        broken
    });
    let mut report = Report::default();
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let peak = peak.load(Relaxed);
    report.note(format!("seed {}; {} cases", context.seed, findings.cases));
    report.note(format!("memory {:.1} MB before, {:.1} MB at most", megabytes(before), megabytes(peak)));
    findings.samples.iter().for_each(|sample| report.note(sample.clone()));
    if let Some(error) = broken {
        report.require("all cases run", false, error);
    }
    report.exactly("wrong answers", findings.wrong, 0);
    report.exactly("connections left hanging", findings.hung, 0);
    report.at_most("memory growth", megabytes(peak.saturating_sub(before)), GROWTH_LIMIT_MB, "MB");
    let alive = cluster.nodes[0].alive() && cluster.nodes[0].pid()? == pid;
    report.require(
        "the same process still serves",
        alive && ping(&mut connect(&node)?).is_ok(),
        format!("pid {pid}"),
    );
    Ok(report)
}

#[derive(Default)]
struct Findings {
    cases: u64,
    wrong: u64,
    hung: u64,
    samples: Vec<String>,
}

impl Findings {
    fn add(&mut self, other: Findings) {
        self.cases += other.cases;
        self.wrong += other.wrong;
        self.hung += other.hung;
        self.samples.extend(other.samples);
        self.samples.truncate(SAMPLES_MAX);
    }

    fn judge(&mut self, case: &Case, answer: &Answer) {
        let verdict = match answer {
            Answer::Hung => {
                self.hung += 1;
                Err("the server neither answered nor closed".to_owned())
            }
            Answer::Bytes { bytes, reset } => {
                let verdict = case.expect.judge(bytes, *reset);
                self.wrong += u64::from(verdict.is_err());
                verdict
            }
        };
        if let Err(why) = verdict
            && self.samples.len() < SAMPLES_MAX
        {
            let sent = &case.bytes[..case.bytes.len().min(80)];
            self.samples.push(format!("{why}; sent {} bytes: {}", case.bytes.len(), sent.escape_ascii()));
        }
    }
}

impl Expect {
    /// Whether what came back is an allowed answer. After a reset a reply may have been lost on the way.
    fn judge(self, answer: &[u8], reset: bool) -> std::result::Result<(), String> {
        let shown = || answer[..answer.len().min(80)].escape_ascii().to_string();
        match self {
            Expect::Silence if answer.is_empty() => Ok(()),
            Expect::Silence => Err(format!("an incomplete command was answered: {}", shown())),
            Expect::ProtocolError(text) => {
                let right = answer.starts_with(b"-ERR Protocol error: ")
                    && answer.windows(text.len()).any(|window| window == text.as_bytes());
                if right || (reset && answer.is_empty()) {
                    Ok(())
                } else {
                    Err(format!("wanted {text:?}, got {}", shown()))
                }
            }
            Expect::CommandError => match decode(answer) {
                Ok(Some((Reply::Error(text), length)))
                    if text.starts_with("ERR ") && length == answer.len() =>
                {
                    Ok(())
                }
                _ => Err(format!("wanted one -ERR reply, got {}", shown())),
            },
            Expect::Replies => well_formed(answer).map_err(|error| format!("{error} in {}", shown())),
        }
    }
}

/// Whether the bytes are whole replies, one after another.
fn well_formed(mut answer: &[u8]) -> Result<()> {
    while !answer.is_empty() {
        let (_, length) = decode(answer)?.ok_or("a reply that is cut off")?;
        answer = &answer[length..];
    }
    Ok(())
}

enum Answer {
    Bytes { bytes: Vec<u8>, reset: bool },
    Hung,
}

fn work(node: &NodeAddress, cases: u64, mut random: Random) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut steady = connect(node)?;
    for index in 0..cases {
        let case = Case::random(&mut random);
        let answer = play(node, &case, &mut random).map_err(|error| format!("case {index}: {error}"))?;
        findings.cases += 1;
        findings.judge(&case, &answer);
        if findings.hung >= HUNG_MAX {
            break;
        }
        if index % PING_EVERY == 0 {
            ping(&mut steady)?;
        }
    }
    Ok(findings)
}

fn play(node: &NodeAddress, case: &Case, random: &mut Random) -> Result<Answer> {
    let mut stream = connect_from(node.resp, random)?;
    let cut = if random.chance(0.3) { random.below(case.bytes.len() as u64 + 1) as usize } else { 0 };
    let (first, second) = case.bytes.split_at(cut);
    // The server may close before it has taken everything: that is an answer, not a failure of the run.
    let sent = stream.write_all(first).and_then(|()| stream.write_all(second));
    let mut reset = sent.is_err();
    // A protocol error must close by itself; everything else is told that no more will come.
    if !matches!(case.expect, Expect::ProtocolError(_))
        && sent.is_ok()
        && stream.shutdown(Shutdown::Write).is_err()
    {
        reset = true;
    }
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Ok(Answer::Bytes { bytes, reset }),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(Answer::Hung),
        Err(_) => Ok(Answer::Bytes { bytes, reset: true }),
    }
}

fn connect_from(address: SocketAddr, random: &mut Random) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let source = Ipv4Addr::new(127, 0, 0, 2 + random.below(SOURCE_ADDRESSES) as u8);
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&address.into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CASE_TIMEOUT))?;
    stream.set_write_timeout(Some(CASE_TIMEOUT))?;
    Ok(stream)
}

fn connect(node: &NodeAddress) -> Result<RespClient> {
    Ok(RespClient::connect(node.resp, CASE_TIMEOUT)?)
}

fn ping(client: &mut RespClient) -> Result<()> {
    match client.command(&["PING"])? {
        Reply::Simple(text) if text == "PONG" => Ok(()),
        other => Err(format!("PING was answered {other:?}").into()),
    }
}

fn sample_memory(pid: u32, peak: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        // When the process has ended there is nothing to sample; the run finds that out by itself.
        let Ok(bytes) = resident_bytes(pid) else { return };
        peak.fetch_max(bytes, Relaxed);
        sleep(SAMPLE_EVERY);
    }
}

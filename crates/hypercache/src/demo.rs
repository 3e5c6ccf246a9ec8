//! `hypercache demo`: a real cluster of server processes on this machine, and seven things a cluster must do.
//!
//! Nothing is simulated: every node is this same program run as `hypercache server`, every step goes over HTTP or
//! RESP as a user's would, and the kill is a SIGKILL. Whatever the demo starts ends with it: at the end, on Ctrl-C
//! and SIGTERM, when it panics (`Nodes` stops them when dropped), and even when it is killed itself
//! (`--stop-with-parent`).

mod nodes;
mod resp;
mod scenario;
mod screen;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use stdx::Clock;

use nodes::Nodes;
use scenario::Scenario;
use screen::Screen;

/// How often a condition is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(20);

/// Time, and the user's wish to stop: what every wait of the demo needs.
#[derive(Clone)]
struct Watch {
    clock: Clock,
    stop: Arc<AtomicBool>,
}

impl Watch {
    fn new() -> io::Result<Watch> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Watch { clock: Clock::system(), stop })
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tries until `attempt` succeeds; the last failure after `limit`, or when the user stops the demo.
    fn until<T>(&self, limit: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, String> {
        let start = self.clock.mono();
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(_) if self.is_stopped() => return Err("stopped".to_string()),
                Err(why) if self.clock.mono().since(start) >= limit => {
                    return Err(format!("{why} (for {} s)", limit.as_secs()));
                }
                Err(_) => sleep(POLL),
            }
        }
    }
}

/// Runs the demo with `count` nodes; if `once`, ends it after the scenario.
pub fn run(count: usize, once: bool) -> ExitCode {
    let mut screen = Screen::new(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    match play(count, once, &mut screen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            // Standard error may be closed; the exit code still tells.
            let _ = writeln!(io::stderr(), "demo: {why}");
            ExitCode::FAILURE
        }
    }
}

fn play(count: usize, once: bool, screen: &mut Screen) -> Result<bool, String> {
    let watch = Watch::new().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let start = watch.clock.mono();
    let mut nodes = Nodes::prepare(count, watch.clone())?;
    screen.line(&format!(
        "HyperCache demo: {count} server processes on this machine, files in {}",
        nodes.directory()
    ));
    for note in nodes.notes() {
        screen.line(&format!("  note: {note}"));
    }
    nodes.start_all()?;
    match nodes.wait_until_whole(nodes::FORM_LIMIT) {
        Ok(()) => {}
        Err(_) if watch.is_stopped() => return Ok(false),
        Err(why) => return Err(format!("the cluster did not form: {why}\n{}", nodes.last_words())),
    }
    let millis = watch.clock.mono().since(start).as_millis();
    screen.line(&format!("Formed a cluster of {count} in {millis} ms\n"));

    let passed = Scenario::new(&mut nodes, &watch).run(screen);
    let all = passed == scenario::STEPS;
    let total = watch.clock.mono().since(start).as_millis();
    screen.line(&format!("\n{passed}/{} passed, {total} ms in all", scenario::STEPS));
    if !all {
        nodes.keep_files();
        screen.line(&format!("The logs are kept in {}", nodes.directory()));
    }
    if !once && !watch.is_stopped() {
        stay_up(&mut nodes, &watch, screen);
    }
    nodes.stop_all();
    Ok(all)
}

fn stay_up(nodes: &mut Nodes, watch: &Watch, screen: &mut Screen) {
    screen.line("\nThe cluster is up; every node answers for all keys:");
    for node in nodes.iter() {
        screen.line(&format!("  {}   RESP {}   HTTP http://{}", node.name, node.resp(), node.http()));
    }
    if let Some(first) = nodes.iter().next() {
        screen.line(&format!("\n  Dashboard   http://{}/", first.http()));
        screen.line(&format!("  Redis       redis-cli -p {} set greeting hello", first.resp_port));
        screen.line(&format!("  HTTP        curl http://{}/api/cache/greeting", first.http()));
        screen.line(&format!("  Cluster     hypercache cluster status --http {}", first.http()));
    }
    screen.line("\nCtrl-C stops everything.");
    while !watch.is_stopped() {
        sleep(POLL * 5);
        for name in nodes.reap() {
            screen.line(&format!("{name} has ended"));
        }
    }
    screen.line("\nStopping...");
}

//! The table of runs: one row per acceptance line, one file per row.

mod clients;
mod cross_node;
mod dashboard;
mod demo;
mod differential;
mod form;
mod http;
mod idle_memory;
mod join_leave;
mod kill;
mod latency;
mod malformed;
mod pause;
mod redis_benchmark;
mod restart;

use crate::context::Context;
use crate::report::Report;

/// One acceptance line.
pub(crate) struct Line {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) what: &'static str,
    /// The run itself.
    pub(crate) run: fn(&Context) -> crate::Result<Report>,
}

/// All runs, in the order of `all`.
pub(crate) const LINES: &[Line] = &[
    Line { name: "form", what: "three processes started together form a cluster", run: form::run },
    Line { name: "demo", what: "hypercache demo --once", run: demo::run },
    Line {
        name: "cross-node",
        what: "random operations through random nodes, each read back through another",
        run: cross_node::run,
    },
    Line { name: "kill", what: "kill -9 of a random node under write load", run: kill::run },
    Line {
        name: "restart",
        what: "kill -9 of all nodes under write load with an append-only log",
        run: restart::run,
    },
    Line { name: "pause", what: "a stopped primary goes on after others took over", run: pause::run },
    Line { name: "join-leave", what: "a fourth node joins and leaves under load", run: join_leave::run },
    Line { name: "latency", what: "cross-node GET beside local GET", run: latency::run },
    Line { name: "idle-memory", what: "resident memory of idle nodes", run: idle_memory::run },
    Line { name: "http", what: "HTTP GET beside RESP GET on one processor", run: http::run },
    Line {
        name: "malformed",
        what: "malformed input gets the right error or is closed",
        run: malformed::run,
    },
    Line {
        name: "differential",
        what: "random programs, every reply compared with redis-server",
        run: differential::run,
    },
    Line { name: "redis-benchmark", what: "redis-benchmark runs clean", run: redis_benchmark::run },
    Line { name: "clients", what: "client libraries through each of three nodes", run: clients::run },
    Line { name: "dashboard", what: "the dashboard in headless Chromium", run: dashboard::run },
];

//! The table of workloads with their limits: ratios of medians to Valkey with jemalloc, one server thread each.

/// Keys and values that workloads share.
pub(super) struct Dataset {
    pub(super) keys: u64,
    pub(super) value_bytes: u64,
    pub(super) workloads: &'static [Workload],
}

/// One workload of the closed loop.
pub(super) struct Workload {
    /// Its name on the command line and in results.
    pub(super) name: &'static str,
    /// Its name in tables.
    pub(super) title: &'static str,
    /// What the load generator is told, beyond keys, values and times.
    pub(super) arguments: &'static [&'static str],
    /// The least ratio, and the one aimed at.
    pub(super) limit: Limit,
    /// The same on the epoll path, where it has limits of its own.
    pub(super) epoll: Option<Limit>,
}

/// Limits of a ratio where more is better.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    pub(super) at_least: f64,
    pub(super) aim: f64,
}

const fn limit(at_least: f64, aim: f64) -> Limit {
    Limit { at_least, aim }
}

const PLAIN_EPOLL: Option<Limit> = Some(limit(1.15, 1.25));
const DEEP_EPOLL: Option<Limit> = Some(limit(2.5, 4.0));

/// All of them.
pub(super) const DATASETS: &[Dataset] = &[
    Dataset {
        keys: 1_000_000,
        value_bytes: 64,
        workloads: &[
            Workload {
                name: "get-p1",
                title: "GET 64 B, no pipeline",
                arguments: &["--command", "get", "--pipeline", "1"],
                limit: limit(1.4, 1.6),
                epoll: PLAIN_EPOLL,
            },
            Workload {
                name: "set-p1",
                title: "SET 64 B, no pipeline",
                arguments: &["--command", "set", "--pipeline", "1"],
                limit: limit(1.4, 1.6),
                epoll: PLAIN_EPOLL,
            },
            Workload {
                name: "get-p16",
                title: "GET 64 B, pipeline 16",
                arguments: &["--command", "get", "--pipeline", "16"],
                limit: limit(1.9, 2.5),
                epoll: None,
            },
            Workload {
                name: "set-p16",
                title: "SET 64 B, pipeline 16",
                arguments: &["--command", "set", "--pipeline", "16"],
                limit: limit(2.0, 2.8),
                epoll: None,
            },
            Workload {
                name: "get-p64",
                title: "GET 64 B, pipeline 64",
                arguments: &["--command", "get", "--pipeline", "64"],
                limit: limit(3.0, 4.5),
                epoll: DEEP_EPOLL,
            },
            Workload {
                name: "set-p64",
                title: "SET 64 B, pipeline 64",
                arguments: &["--command", "set", "--pipeline", "64"],
                limit: limit(2.8, 4.5),
                epoll: DEEP_EPOLL,
            },
            Workload {
                name: "mget-32",
                title: "MGET of 32 keys, 64 B",
                arguments: &["--command", "mget:32", "--pipeline", "1"],
                limit: limit(2.5, 4.0),
                epoll: None,
            },
        ],
    },
    Dataset {
        keys: 1_000_000,
        value_bytes: 1_024,
        workloads: &[
            Workload {
                name: "get-1k",
                title: "GET 1 KiB, no pipeline",
                arguments: &["--command", "get", "--pipeline", "1"],
                limit: limit(1.4, 1.65),
                epoll: None,
            },
            Workload {
                name: "set-1k",
                title: "SET 1 KiB, no pipeline",
                arguments: &["--command", "set", "--pipeline", "1"],
                limit: limit(1.4, 1.65),
                epoll: None,
            },
        ],
    },
    Dataset {
        keys: 5_000_000,
        value_bytes: 64,
        workloads: &[Workload {
            name: "mixed-zipf",
            title: "80% GET, 20% SET, zipf 0.99, 5 M keys, pipeline 16",
            arguments: &[
                "--command",
                "mixed",
                "--read-ratio",
                "0.8",
                "--distribution",
                "zipf:0.99",
                "--pipeline",
                "16",
            ],
            limit: limit(2.0, 3.0),
            epoll: None,
        }],
    },
];

/// The parts that are not ratios of throughput.
pub(super) const LATENCY: &str = "p99-at-70";
pub(super) const MEMORY: &str = "memory";
pub(super) const GROWTH: &str = "growth";
pub(super) const IDLE: &str = "idle";
pub(super) const SECOND_THREAD: &str = "second-thread";
pub(super) const REPLICATED: &str = "replicated-set";

/// Names of all workloads and parts.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let closed = DATASETS.iter().flat_map(|dataset| dataset.workloads).map(|workload| workload.name);
    closed.chain([LATENCY, MEMORY, GROWTH, IDLE, SECOND_THREAD, REPLICATED])
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = super::names().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

//! A node and a cluster small enough to see through: a map for the store, and switches for what can go wrong.

use bytes::Bytes;
use commands::Args;
use commands::acl::{User, check_command};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hypercache::http::{
    Admin, Backend, CommandFigures, EventFeed, Figures, FilterFigures, Gate, GossipFigures, Lag, Pending,
    Place, RaftFigures, Respond,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::broadcast;

/// Keys that begin so live on `node-2`.
pub(crate) const ELSEWHERE: &[u8] = b"far:";

/// A value and its milliseconds to live.
type Kept = (Vec<u8>, Option<u64>);

/// A store. Keys that live elsewhere are in it too, but cannot be read at once.
#[derive(Default)]
pub(crate) struct Store {
    /// Values and milliseconds to live, by key.
    pub(crate) values: Mutex<BTreeMap<Vec<u8>, Kept>>,
    /// Every command is answered with this, if it is set.
    pub(crate) error: Mutex<Option<&'static str>>,
    /// Commands are dropped unanswered, as by a node that stops.
    pub(crate) is_mute: AtomicBool,
    /// Commands that came through [`Backend::call`].
    pub(crate) calls: AtomicU64,
}

impl Store {
    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.values.lock().get(key).map(|(value, _)| value.clone())
    }

    pub(crate) fn put(&self, key: &[u8], value: &[u8]) {
        self.values.lock().insert(key.to_vec(), (value.to_vec(), None));
    }

    fn run(&self, words: &[&[u8]]) -> Vec<u8> {
        if let Some(error) = *self.error.lock() {
            return format!("-{error}\r\n").into_bytes();
        }
        match *words {
            [b"GET", key] => match self.get(key) {
                Some(value) => [format!("${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat(),
                None => b"$-1\r\n".to_vec(),
            },
            [b"SET", key, value, ref rest @ ..] => {
                let ttl = match rest {
                    [] => None,
                    [b"PX", ms] => Some(std::str::from_utf8(ms).expect("digits").parse().expect("a number")),
                    _ => return b"-ERR syntax error\r\n".to_vec(),
                };
                self.values.lock().insert(key.to_vec(), (value.to_vec(), ttl));
                b"+OK\r\n".to_vec()
            }
            [b"DEL", key] => {
                format!(":{}\r\n", u8::from(self.values.lock().remove(key).is_some())).into_bytes()
            }
            _ => b"-ERR unknown command\r\n".to_vec(),
        }
    }
}

impl Backend for Store {
    fn read_now(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let is_possible = !key.starts_with(ELSEWHERE) && self.error.lock().is_none();
        is_possible.then(|| self.get(key))
    }

    fn place_of(&self, key: &[u8]) -> Place {
        let local = !key.starts_with(ELSEWHERE);
        Place { primary_name: if local { "node-1" } else { "node-2" }.to_owned(), local }
    }

    fn call(&self, user: &Arc<User>, words: &[&[u8]], respond: Respond) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let args = Args::new(words);
        if let Err(denial) = check_command(user, commands::find(args).expect("a command"), args) {
            return respond(format!("-{}\r\n", denial.error(user)).into_bytes());
        }
        if !self.is_mute.load(Ordering::Relaxed) {
            respond(self.run(words));
        }
    }

    fn figures(&self) -> Figures {
        let mut figures = Figures {
            items: self.values.lock().len() as u64,
            held_back: 4,
            in_doubt: 5,
            ..Figures::default()
        };
        figures.info.stats.keyspace_hits = 3;
        figures.info.stats.keyspace_misses = 1;
        figures.info.memory.dataset = 1_000;
        figures.info.memory.maxmemory = 4_000;
        figures.info.hypercache.partitions_primary = 86;
        figures.lags = vec![Lag { peer: "a \"node\"\\".to_owned(), records: 7, not_streaming: 2 }];
        figures.commands = vec![CommandFigures {
            name: "get".to_owned(),
            calls: 6,
            nanos: 9_000,
            failed: 1,
            rejected: 0,
            buckets: vec![(896, 1), (1_024, 2), (1_280, 2), (u64::MAX, 1)],
        }];
        figures.info.replication.syncs.by_difference = 8;
        figures.info.replication.syncs.bytes_spared = 9_000;
        figures
    }

    fn filters(&self) -> FilterFigures {
        let mut figures = FilterFigures::default();
        let cuckoo = store::FilterFigures { filters: 2, items: 30, capacity: 80, memory_bytes: 500 };
        let bloom = store::FilterFigures { filters: 1, items: 10, capacity: 20, memory_bytes: 100 };
        (figures.held.cuckoo, figures.held.bloom) = (cuckoo, bloom);
        (figures.syncs.by_difference, figures.syncs.bytes_sent) = (7, 70);
        figures
    }
}

/// A cluster that is as its fields say.
pub(crate) struct Cluster {
    pub(crate) ready: AtomicBool,
    pub(crate) healthy: AtomicBool,
    pub(crate) failure: OnceLock<String>,
    pub(crate) left: AtomicBool,
    pub(crate) forgotten: Mutex<Vec<String>>,
    pub(crate) ring: Mutex<String>,
    pub(crate) happened: broadcast::Sender<serde_json::Value>,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            ready: AtomicBool::new(true),
            healthy: AtomicBool::new(true),
            failure: OnceLock::new(),
            left: AtomicBool::new(false),
            forgotten: Mutex::default(),
            ring: Mutex::new("[{\"partition\":0}]".to_owned()),
            happened: broadcast::channel(16).0,
        }
    }
}

impl Admin for Cluster {
    fn status_json(&self) -> String {
        "{\"cluster_id\":\"c1\",\"members\":[]}".to_owned()
    }

    fn ring_json(&self) -> String {
        self.ring.lock().clone()
    }

    fn nodes_json(&self) -> String {
        "{\"node-1\":{\"keys\":1}}".to_owned()
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    fn cluster_size(&self) -> usize {
        3
    }

    fn leave(&self) -> Pending<'_, Result<(), String>> {
        self.left.store(true, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }

    fn forget<'a>(&'a self, node: &'a str) -> Pending<'a, Result<(), String>> {
        let known = node == "node 2";
        if known {
            self.forgotten.lock().push(node.to_owned());
        }
        Box::pin(async move { if known { Ok(()) } else { Err(format!("no member is called {node}")) } })
    }

    fn events(&self) -> Box<dyn EventFeed> {
        Box::new(self.happened.subscribe())
    }

    fn recent_events_json(&self) -> String {
        "[{\"text\":\"before\"}]".to_owned()
    }

    fn raft_figures(&self) -> RaftFigures {
        RaftFigures { term: 2, is_leader: true, last_log: 10, applied: 9, voters: 3 }
    }

    fn gossip_figures(&self) -> GossipFigures {
        GossipFigures { alive: 3, suspected: 1, ..GossipFigures::default() }
    }

    fn accept_link(&self, request: Request<Incoming>) -> Pending<'_, Response<Full<Bytes>>> {
        let upgrade = request.headers().get("upgrade").cloned();
        Box::pin(async move {
            let mut response = Response::new(Full::new(Bytes::new()));
            let Some(upgrade) = upgrade else {
                *response.status_mut() = hyper::StatusCode::UPGRADE_REQUIRED;
                return response;
            };
            *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("upgrade", upgrade);
            tokio::spawn(async move {
                let upgraded = hyper::upgrade::on(request).await.expect("the upgrade happens");
                let parts = upgraded.downcast::<hyper_util::rt::TokioIo<tokio::net::TcpStream>>();
                let mut stream = parts.map_err(drop).expect("the stream is as it came").io.into_inner();
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"linked").await.expect("the peer reads");
            });
            response
        })
    }
}

/// One password, `sesame`, once it is closed; `reader` may only read keys that begin with `k`.
#[derive(Default)]
pub(crate) struct Door {
    pub(crate) closed: AtomicBool,
}

impl Gate for Door {
    fn guest(&self) -> Option<Arc<User>> {
        (!self.closed.load(Ordering::Relaxed)).then(|| Arc::new(User::unrestricted()))
    }

    fn admits(&self, user: &[u8], password: &[u8]) -> Option<Arc<User>> {
        match (user, password) {
            (b"default", b"sesame") => Some(Arc::new(User::unrestricted())),
            (b"reader", b"sesame") => {
                let mut reader = User::new(user, false);
                [&b"+get"[..], b"~k*"].iter().for_each(|rule| reader.apply(rule, false).expect("a rule"));
                Some(Arc::new(reader))
            }
            _ => None,
        }
    }
}

//! A real node behind the HTTP port.

use super::auth::Gate;
use super::backend::{Backend, Place, Respond};
use super::figures::{CommandFigures, Figures, FilterFigures, Lag};
use commands::acl::User;
use node::stats::{Counter, bound_of};
use node::{Call, Shared, Words};
use protocol::Version;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The database of the cache API.
const DB: u8 = 0;

/// A node's shared state as a [`Backend`].
pub struct NodeBackend {
    shared: Arc<Shared>,
    next_worker: AtomicUsize,
}

impl NodeBackend {
    /// Commands go to the workers in turn.
    pub fn new(shared: Arc<Shared>) -> NodeBackend {
        NodeBackend { shared, next_worker: AtomicUsize::new(0) }
    }

    fn commands(&self) -> Vec<CommandFigures> {
        let stats = self.shared.stats();
        let index_of = |name: &str| commands::table::all().iter().position(|row| row.name == name);
        let ran = stats.commands().into_iter();
        ran.map(|command| {
            let (buckets, calls, nanos) =
                index_of(command.name).map_or_else(Default::default, |at| stats.buckets(at));
            let counted = buckets.iter().enumerate().filter(|(_, count)| **count > 0);
            CommandFigures {
                name: command.name.to_ascii_lowercase(),
                calls,
                nanos,
                failed: command.failed_calls,
                rejected: command.rejected_calls,
                buckets: counted.map(|(bucket, count)| (bound_of(bucket), *count)).collect(),
            }
        })
        .collect()
    }

    fn lags(&self) -> Vec<Lag> {
        let map = self.shared.map();
        let lags = self.shared.replication_lag().into_iter();
        lags.map(|(node, (records, not_streaming))| {
            let name = map.members.get(&node).map(|member| member.name.clone());
            Lag {
                peer: name.unwrap_or_else(|| format!("{:x}", node.0)),
                records,
                not_streaming: not_streaming as u64,
            }
        })
        .collect()
    }
}

impl Backend for NodeBackend {
    #[inline]
    fn read_now(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.shared.read_now(DB, key)
    }

    fn place_of(&self, key: &[u8]) -> Place {
        let place = self.shared.place_of(key);
        Place { primary_name: place.primary_name, local: place.local }
    }

    fn call(&self, user: &Arc<User>, words: &[&[u8]], respond: Respond) {
        let worker = self.next_worker.fetch_add(1, Ordering::Relaxed);
        let (user, words) = (Some(Arc::clone(user)), Words::copy_of(words));
        self.shared.call(worker, Call { user, db: DB, version: Version::Resp2, words, respond });
    }

    fn figures(&self) -> Figures {
        let stats = self.shared.stats();
        let items = |db| self.shared.keys_as_primary(db).0;
        Figures {
            info: self.shared.info(),
            items: (0..stdx::limits::DATABASES).map(items).sum(),
            held_back: stats.total(Counter::HeldBack),
            in_doubt: stats.total(Counter::InDoubt),
            full_syncs: stats.total(Counter::FullSyncs),
            commands: self.commands(),
            lags: self.lags(),
        }
    }

    fn filters(&self) -> FilterFigures {
        FilterFigures { held: self.shared.filters_as_primary(), syncs: self.shared.syncs() }
    }
}

/// A node's users as a [`Gate`].
pub struct UsersGate(pub Arc<Shared>);

impl Gate for UsersGate {
    fn guest(&self) -> Option<Arc<User>> {
        Some(Arc::clone(self.0.users().default_user())).filter(|user| user.is_open())
    }

    fn admits(&self, user: &[u8], password: &[u8]) -> Option<Arc<User>> {
        self.0.users().authenticate(user, password)
    }
}

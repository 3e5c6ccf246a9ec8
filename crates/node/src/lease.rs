//! Whether this node may serve what the map says it owns.
//!
//! Rule 3 of the design: a primary serves only under a lease granted through the Raft leader. The control plane
//! keeps the [`cluster::lease::LeaseHolder`]; what the data plane needs of it is one number, the instant at which the
//! lease ends. A sole member needs none, because nobody else could take over from it.

use std::sync::atomic::{AtomicU64, Ordering};
use stdx::Mono;

/// The end of the lease; shared by all workers.
#[derive(Debug, Default)]
pub struct Lease {
    until_ns: AtomicU64,
}

impl Lease {
    /// The lease holds until `until`.
    pub fn extend(&self, until: Mono) {
        self.until_ns.store(until.0, Ordering::Release);
    }

    /// There is no lease.
    pub fn revoke(&self) {
        self.until_ns.store(0, Ordering::Release);
    }

    /// Whether it is held at `now`.
    pub fn holds(&self, now: Mono) -> bool {
        now.0 < self.until_ns.load(Ordering::Acquire)
    }

    /// Its end, zero if there is none.
    pub fn until(&self) -> Mono {
        Mono(self.until_ns.load(Ordering::Acquire))
    }
}

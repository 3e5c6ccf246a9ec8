//! Commands on one key that is on another node, as a run of the lane meets them: sent on without leaving the run.
//!
//! What goes over the link and what is remembered of it is as for any other forwarded command; see `dispatch`.

use super::links::Link;
use super::peer_requests::IdHasher;
use super::{Flush, Forward};
use crate::frame;
use crate::routing::Routing;
use crate::target::{Key, Keyed, Target};
use protocol::Version;
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use stdx::{Mono, NodeId, PartitionId};

/// Links to other nodes, by node.
pub(super) type Peers = HashMap<NodeId, Key, BuildHasherDefault<IdHasher>>;

/// What it takes to send commands to other nodes.
pub(super) struct Away<'w> {
    pub(super) routing: &'w Routing,
    pub(super) peers: &'w Peers,
    pub(super) links: &'w mut Keyed<Link>,
    pub(super) forwards: &'w mut Keyed<Forward>,
    pub(super) flush: &'w mut Vec<Flush>,
    pub(super) deadline: Mono,
    /// Links that are up, of nodes that commands of this run were sent to.
    pub(super) known: SmallVec<[(NodeId, Key); 4]>,
    /// Commands sent.
    pub(super) sent: u64,
}

impl Away<'_> {
    /// Sends a command with a key in `partition` to its primary; the reply will be delivered to `target`. `None` if that
    /// cannot be done now, and nothing has happened.
    #[inline]
    pub(super) fn send(
        &mut self,
        (db, version, touch): (u8, Version, bool),
        partition: PartitionId,
        words: &[&[u8]],
        target: Target,
    ) -> Option<()> {
        let node = self.routing.primary(partition).filter(|node| *node != self.routing.me)?;
        let link_key = self.link_to(node)?;
        let link = self.links.get_mut(link_key)?;
        let (route, key) = (self.routing.route(partition), self.forwards.next_key());
        let id = u64::from(key.index) << 32 | u64::from(key.generation);
        let (era, deadline) = (link.era, self.deadline);
        let request = frame::encode_brief(&mut link.output, (id, era), route, (db, version, touch), words);
        if !std::mem::replace(&mut link.flush_queued, true) {
            self.flush.push(Flush::Link(link_key));
        }
        let routes = smallvec![route];
        self.forwards.insert(Forward { request, routes, target, link: link_key, deadline, part_of: None });
        self.sent += 1;
        Some(())
    }

    /// The link to a node, if it is up.
    fn link_to(&mut self, node: NodeId) -> Option<Key> {
        if let Some((_, key)) = self.known.iter().find(|(known, _)| *known == node) {
            return Some(*key);
        }
        let key = *self.peers.get(&node)?;
        self.links.get(key).filter(|link| !link.closing)?;
        self.known.push((node, key));
        Some(key)
    }
}

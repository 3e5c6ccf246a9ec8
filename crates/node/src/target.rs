//! Where a reply goes when it cannot be written at once.

use stdx::NodeId;

/// A place in a slab, with the generation that tells a reused place from the one meant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// Index in the slab.
    pub index: u32,
    /// Running number of the occupant.
    pub generation: u32,
}

/// Who waits for a reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Owner {
    /// A client connection; the slot is its place in the connection's order of replies.
    Connection(Key),
    /// A link; the slot is the request's id.
    Link(Key),
    /// A command split over nodes; the slot is the part.
    Gathering(Key),
    /// A caller outside the workers (HTTP, embedded); the slot is unused.
    Call(Key),
    /// A client whose command waits for data; the slot is the round of its attempts.
    Blocked(Key),
}

/// The worker, the owner and its slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Target {
    pub(crate) worker: u16,
    pub(crate) owner: Owner,
    pub(crate) slot: u64,
}

/// What happens to a waiting reply.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The reply itself.
    Bytes(Vec<u8>),
    /// One of the commits it waited for has happened.
    Released,
    /// One of them never will: what was written may or may not survive, what was read must not be told.
    Unconfirmed {
        /// Whether the command wrote.
        wrote: bool,
    },
}

/// What a client that waits for data gets when there may be some: nothing, so that it tries again.
pub(crate) fn wakes(target: Target) -> (Target, Delivery) {
    (target, Delivery::Bytes(Vec::new()))
}

/// Keyed slab with generations.
#[derive(Debug)]
pub(crate) struct Keyed<T> {
    slab: slab::Slab<(u32, T)>,
    generation: u32,
}

impl<T> Keyed<T> {
    pub(crate) fn new() -> Keyed<T> {
        Keyed { slab: slab::Slab::new(), generation: 0 }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.generation = self.generation.wrapping_add(1);
        let index = self.slab.insert((self.generation, value));
        Key { index: u32::try_from(index).expect("fewer than 2^32 entries"), generation: self.generation }
    }

    /// The key of what is inserted next.
    pub(crate) fn next_key(&self) -> Key {
        let index = u32::try_from(self.slab.vacant_key()).expect("fewer than 2^32 entries");
        Key { index, generation: self.generation.wrapping_add(1) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (generation, value) = self.slab.get_mut(key.index as usize)?;
        (*generation == key.generation).then_some(value)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let (generation, value) = self.slab.get(key.index as usize)?;
        (*generation == key.generation).then_some(value)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(self.slab.remove(key.index as usize).1)
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.slab
            .iter()
            .map(|(index, (generation, _))| Key {
                index: u32::try_from(index).expect("fewer than 2^32 entries"),
                generation: *generation,
            })
            .collect()
    }
}

/// Mail between workers, and from the control plane to workers.
pub(crate) enum Mail {
    /// Something happened to waiting replies.
    Deliver(Vec<(Target, Delivery)>),
    /// The partition has something to send to its peers.
    Pump(stdx::PartitionId),
    /// The map, the lease or a pause changed: look at what is held.
    Changed,
    /// Messages for subscribers on this worker.
    Publish(Vec<crate::pubsub::Outgoing>),
    /// A command for a client that listens to commands.
    Monitor(Key, std::sync::Arc<[u8]>),
    /// Close a connection.
    Kill(Key),
    /// Tell the other nodes which keyspace events are wanted.
    WantEvents,
    /// End the waiting of a connection's command.
    Unblock(Key, commands::host::Unblock),
    /// A proposal to change users was answered.
    Users(Box<crate::worker::users::UsersAnswered>),
    /// Run a request for somebody outside.
    Call(crate::call::Call),
    /// The member is gone from the map or is another incarnation now: drop links to it.
    Forget(NodeId),
    /// An answer to a primary may leave.
    Answer {
        /// Over which link.
        link: Key,
        /// About which partition.
        partition: stdx::PartitionId,
        /// The answer.
        answer: replication::Message<'static>,
    },
}

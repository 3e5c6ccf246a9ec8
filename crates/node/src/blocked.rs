//! Clients of one partition whose commands wait for data, by the keys they wait for.
//!
//! A client stands in the queue of each of its keys, in the order in which clients began to wait. When a key changes, as many of its
//! clients are woken as there are elements that they could take; each of them tries again and stands in line anew, at its old place,
//! if somebody else was faster. What only reads is woken by every change. The queues live under the partition's lock and do not move
//! with it: when this node is the primary no longer, all are woken and look for the next one.

use crate::target::Target;
use std::collections::HashMap;
use stdx::Wall;
use store::{Partition, ValueRef};

/// Database and hash of a key.
type Place = (u8, u64);

/// Who waits in one partition.
#[derive(Default)]
pub(crate) struct BlockedClients {
    queues: HashMap<Place, Queue>,
    /// Awaited keys that have changed since anybody was woken.
    changed: Vec<Place>,
}

struct Queue {
    key: Vec<u8>,
    /// In the order in which they began to wait.
    clients: Vec<Client>,
}

/// One client in one queue.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    /// When it began to wait, in nanoseconds of the wall clock of the node that it is connected to.
    pub(crate) since: u64,
    /// Who is told.
    pub(crate) target: Target,
    /// Whether it takes what it finds.
    pub(crate) takes: bool,
}

impl BlockedClients {
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// One more client waits for a key.
    pub(crate) fn add(&mut self, place: Place, key: &[u8], client: Client) {
        let queue =
            self.queues.entry(place).or_insert_with(|| Queue { key: key.to_vec(), clients: Vec::new() });
        let at = queue.clients.partition_point(|other| other.since <= client.since);
        queue.clients.insert(at, client);
    }

    /// A client waits for a key no longer.
    pub(crate) fn remove(&mut self, place: Place, target: Target) {
        if let Some(queue) = self.queues.get_mut(&place) {
            queue.clients.retain(|client| client.target != target);
            if queue.clients.is_empty() {
                self.queues.remove(&place);
            }
        }
    }

    /// These keys have changed.
    pub(crate) fn note(&mut self, touched: &[Place]) {
        self.changed.extend(touched.iter().filter(|place| self.queues.contains_key(*place)));
    }

    /// Takes those out of the queues of changed keys who may find something now.
    pub(crate) fn wake(&mut self, store: &Partition, now: Wall, woken: &mut Vec<Target>) {
        let mut changed = std::mem::take(&mut self.changed);
        for place in changed.drain(..) {
            self.wake_for(place, store, now, true, woken);
        }
        self.changed = changed;
    }

    /// Takes those out of the queues who take something that is there: whoever was woken for it has not come.
    pub(crate) fn sweep(&mut self, store: &Partition, now: Wall, woken: &mut Vec<Target>) {
        let places: Vec<Place> = self.queues.keys().copied().collect();
        for place in places {
            self.wake_for(place, store, now, false, woken);
        }
    }

    /// Takes all of them out.
    pub(crate) fn wake_all(&mut self, woken: &mut Vec<Target>) {
        self.changed.clear();
        woken.extend(self.queues.drain().flat_map(|(_, queue)| queue.clients).map(|client| client.target));
    }

    fn wake_for(
        &mut self,
        place: Place,
        store: &Partition,
        now: Wall,
        has_changed: bool,
        woken: &mut Vec<Target>,
    ) {
        let Some(queue) = self.queues.get_mut(&place) else { return };
        let (db, hash) = place;
        let mut available = store.peek(db, &queue.key, hash, now).map_or(0, |entry| elements(entry.value()));
        queue.clients.retain(|client| {
            let wakes = if client.takes { available > 0 } else { has_changed };
            available -= usize::from(client.takes && wakes);
            if wakes {
                woken.push(client.target);
            }
            !wakes
        });
        if queue.clients.is_empty() {
            self.queues.remove(&place);
        }
    }
}

/// How many elements clients could take.
fn elements(value: ValueRef<'_>) -> usize {
    value.elements_len().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Key, Owner};
    use effect::{Effect, Elements, Kind};

    const NOW: Wall = Wall(1);

    fn client(number: u32, takes: bool) -> Client {
        let owner = Owner::Blocked(Key { index: number, generation: 0 });
        Client {
            since: u64::from(number),
            target: Target { worker: 0, owner, slot: u64::from(number) },
            takes,
        }
    }

    fn put(store: &mut Partition, members: &[&[u8]]) -> Place {
        let hash = store.hash(b"key");
        let elements = Elements::words(members);
        store.apply(&Effect::PutElements { db: 0, key: b"key", kind: Kind::Set, elements }, hash, NOW);
        (0, hash)
    }

    fn slots(woken: &mut Vec<Target>) -> Vec<u64> {
        woken.drain(..).map(|target| target.slot).collect()
    }

    #[test]
    fn those_who_take_are_woken_in_order_and_only_for_what_is_there() {
        let (mut store, mut blocked, mut woken) = (Partition::new(1), BlockedClients::default(), Vec::new());
        let place = (0, store.hash(b"key"));
        for number in [3, 1, 2, 4] {
            blocked.add(place, b"key", client(number, true));
        }
        blocked.add(place, b"key", client(9, false));
        blocked.wake(&store, NOW, &mut woken);
        assert!(woken.is_empty(), "nothing has changed");
        put(&mut store, &[b"a", b"b"]);
        blocked.note(&[(1, 7), place]);
        blocked.wake(&store, NOW, &mut woken);
        assert_eq!(slots(&mut woken), [1, 2, 9]);
        blocked.remove(place, client(3, true).target);
        blocked.sweep(&store, NOW, &mut woken);
        assert_eq!(slots(&mut woken), [4]);
        assert!(blocked.is_empty());
        blocked.add(place, b"key", client(5, true));
        blocked.add(place, b"key", client(6, false));
        blocked.wake_all(&mut woken);
        assert_eq!((slots(&mut woken), blocked.is_empty()), (vec![5, 6], true));
    }
}

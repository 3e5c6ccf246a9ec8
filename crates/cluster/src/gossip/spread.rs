//! User events: how they look on the wire, and how each is delivered once.
//!
//! An event travels as one of the engine's custom broadcasts: `node u64 | incarnation u64 | counter u64 | name length
//! u8 | name | payload`. The engine asks the handler about each item it receives; the handler keeps the ids of the
//! most recent events, so an item is delivered and passed on at its first arrival only. The engine owns the handler
//! and gives no way to look into it, so what was delivered comes out through a channel.

use super::report::{Event, EventId};
use super::wire::{DecodeError, Reader};
use foca::{BroadcastHandler, Invalidates};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use stdx::NodeId;

/// Most bytes of an event's name and payload together: leaves room for the news a datagram also carries.
pub const EVENT_BYTES_MAX: usize = 512;
/// Longest name of an event in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 64;
/// Most events that may wait to be spread by a node.
pub const EVENTS_QUEUED_MAX: usize = 256;
/// How many recent events a node remembers in order to deliver each once.
pub const EVENTS_RECENT_MAX: usize = 4_096;

/// An event's id as the engine's key: a newer event never displaces another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key(EventId);

impl Invalidates for Key {
    fn invalidates(&self, other: &Key) -> bool {
        self == other
    }
}

/// The engine's side: decides what is new.
pub(super) struct Spreader {
    recent: BTreeSet<EventId>,
    /// The same ids from the oldest to the newest.
    order: VecDeque<EventId>,
    queued: Arc<AtomicUsize>,
    delivered: Sender<Event>,
}

/// The driver's side.
pub(super) struct Inbox {
    /// Events queued in the engine, told by the driver after each call, for the handler to see.
    pub(super) queued: Arc<AtomicUsize>,
    pub(super) delivered: Receiver<Event>,
}

/// Makes both sides.
pub(super) fn pair() -> (Spreader, Inbox) {
    let (sender, receiver) = channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let spreader = Spreader {
        recent: BTreeSet::new(),
        order: VecDeque::new(),
        queued: Arc::clone(&queued),
        delivered: sender,
    };
    (spreader, Inbox { queued, delivered: receiver })
}

/// Encodes an event whose sizes were checked.
pub(super) fn encode(id: EventId, name: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(25 + name.len() + payload.len());
    for word in [id.node.0, id.incarnation, id.counter] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.push(u8::try_from(name.len()).expect("the length of a name is checked before"));
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(payload);
    out
}

fn decode(item: &[u8]) -> Result<(EventId, String, Vec<u8>), DecodeError> {
    let mut reader = Reader::new(item);
    let id = EventId { node: NodeId(reader.u64()?), incarnation: reader.u64()?, counter: reader.u64()? };
    let name = reader.text(EVENT_NAME_BYTES_MAX)?;
    let payload = reader.rest();
    if name.len() + payload.len() > EVENT_BYTES_MAX {
        return Err(DecodeError::Unknown("size of an event"));
    }
    Ok((id, name, payload.to_vec()))
}

impl Spreader {
    /// True at the first sight of `id`.
    fn is_new(&mut self, id: EventId) -> bool {
        if !self.recent.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > EVENTS_RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
        true
    }
}

impl<T> BroadcastHandler<T> for Spreader {
    type Key = Key;
    type Error = DecodeError;

    fn receive_item(&mut self, item: &[u8], sender: Option<&T>) -> Result<Option<Key>, DecodeError> {
        let (id, name, payload) = decode(item)?;
        if !self.is_new(id) {
            return Ok(None);
        }
        if sender.is_none() {
            return Ok(Some(Key(id)));
        }
        let event = Event::User { from: id.node, name, payload, id };
        self.delivered.send(event).expect("the driver keeps the receiving end for as long as the engine");
        // A node with a full queue still delivers, and leaves passing on to the others.
        let queued = self.queued.fetch_add(1, Ordering::Relaxed);
        Ok((queued < EVENTS_QUEUED_MAX).then_some(Key(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(counter: u64) -> EventId {
        EventId { node: NodeId(1), incarnation: 2, counter }
    }

    fn receive(spreader: &mut Spreader, item: &[u8]) -> Result<Option<Key>, DecodeError> {
        spreader.receive_item(item, Some(&()))
    }

    #[test]
    fn an_event_is_delivered_and_passed_on_once() {
        let (mut spreader, inbox) = pair();
        let item = encode(id(1), "deploy", b"v2");
        assert_eq!(receive(&mut spreader, &item), Ok(Some(Key(id(1)))));
        assert_eq!(receive(&mut spreader, &item), Ok(None));
        let expected =
            Event::User { from: NodeId(1), name: "deploy".into(), payload: b"v2".to_vec(), id: id(1) };
        assert_eq!(inbox.delivered.try_iter().collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn memory_and_queue_are_bounded() {
        let (mut spreader, inbox) = pair();
        let mut passed_on = 0;
        for counter in 0..2 * EVENTS_RECENT_MAX as u64 {
            let answer = receive(&mut spreader, &encode(id(counter), "n", b"")).expect("a good event");
            passed_on += usize::from(answer.is_some());
        }
        assert_eq!(passed_on, EVENTS_QUEUED_MAX);
        assert_eq!(spreader.recent.len(), EVENTS_RECENT_MAX);
        assert_eq!(spreader.order.len(), EVENTS_RECENT_MAX);
        assert_eq!(inbox.delivered.try_iter().count(), 2 * EVENTS_RECENT_MAX);
    }

    #[test]
    fn bad_items_are_refused() {
        let (mut spreader, inbox) = pair();
        let mut long_name = encode(id(1), "n", b"");
        long_name[24] = 65;
        for bad in [&encode(id(1), "n", b"")[..24], &long_name, &encode(id(1), "n", &[0; EVENT_BYTES_MAX])] {
            assert!(receive(&mut spreader, bad).is_err());
        }
        assert_eq!(inbox.delivered.try_iter().count(), 0);
    }
}

//! A whole stream as elements: for copies, snapshots and comparisons.
//!
//! ```text
//! numbers: last id, greatest deleted id, added, entries, groups
//! entry:   numbers: id, pairs;  field, value, ...
//! group:   name;  numbers: last id, read, consumers
//! consumer: name;  numbers: seen, active, pending
//! pending: numbers: id, when, how often
//! ```
//! An id is two numbers. Numbers are eight bytes each, lowest first, those of one line in one element; what is not known is the
//! greatest number. Groups, consumers and pending entries come in order, so equal streams are equal elements.

use super::Stream;
use effect::{Delivery, Elements, ElementsBuilder, Items, StreamChange, StreamId};
use stdx::Wall;

/// What is not known, or never was.
const NONE: u64 = u64::MAX;

impl Stream {
    /// Everything.
    pub(crate) fn push_whole(&self, out: &mut ElementsBuilder) {
        let (last, deleted) = (self.last, self.deleted);
        push(
            out,
            &[last.ms, last.seq, deleted.ms, deleted.seq, self.added, self.len, self.groups.len() as u64],
        );
        for entry in self.range(StreamId::MIN, StreamId::MAX) {
            push(out, &[entry.id().ms, entry.id().seq, entry.len() as u64]);
            for (field, value) in entry.fields() {
                out.push(field);
                out.push(value);
            }
        }
        for (name, group) in self.groups() {
            out.push(name);
            let (last, read) = (group.last_id(), group.entries_read().unwrap_or(NONE));
            push(out, &[last.ms, last.seq, read, group.consumers_len() as u64]);
            for (name, consumer) in group.consumers() {
                out.push(name);
                let active = consumer.active().map_or(NONE, |at| at.0);
                push(out, &[consumer.seen().0, active, consumer.pending_len() as u64]);
                for id in consumer.pending_range(StreamId::MIN..=StreamId::MAX) {
                    let (at, count) =
                        group.pending(id).map_or((0, 0), |pending| (pending.at().0, pending.count()));
                    push(out, &[id.ms, id.seq, at, count]);
                }
            }
        }
    }

    /// Fills an empty stream with everything that another has. `None`, and it has a part, if these elements are none of a
    /// stream.
    pub(crate) fn put_whole(&mut self, whole: Elements<'_>) -> Option<()> {
        let mut elements = whole.iter();
        let [last_ms, last_seq, deleted_ms, deleted_seq, added, entries, groups] = numbers(elements.next()?)?;
        let mut strings = Vec::new();
        for _ in 0..entries {
            let [ms, seq, pairs] = numbers(elements.next()?)?;
            strings.clear();
            for _ in 0..pairs.checked_mul(2)? {
                strings.push(elements.next()?);
            }
            self.append(StreamId { ms, seq }, Elements::words(&strings));
        }
        self.last = StreamId { ms: last_ms, seq: last_seq };
        self.deleted = StreamId { ms: deleted_ms, seq: deleted_seq };
        self.added = added;
        for _ in 0..groups {
            let group = elements.next()?;
            let [ms, seq, read, consumers] = numbers(elements.next()?)?;
            let read = Some(read).filter(|read| *read != NONE);
            self.put_group(group, StreamId { ms, seq }, read);
            for _ in 0..consumers {
                let consumer = elements.next()?;
                let [seen, active, pending] = numbers(elements.next()?)?;
                let (seen, active) = (Wall(seen), Some(Wall(active)).filter(|at| at.0 != NONE));
                self.change_group(StreamChange::PutConsumer { group, consumer, seen, active });
                for _ in 0..pending {
                    let [ms, seq, at, count] = numbers(elements.next()?)?;
                    let delivery = Delivery { id: StreamId { ms, seq }, at: Wall(at), count };
                    let deliveries = Items::new(std::slice::from_ref(&delivery));
                    self.change_group(StreamChange::PutPending { group, consumer, deliveries });
                }
            }
        }
        Some(())
    }
}

fn push(out: &mut ElementsBuilder, numbers: &[u64]) {
    let mut bytes = [0; 56];
    for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    out.push(&bytes[..numbers.len() * 8]);
}

/// So many numbers, if these are as many.
fn numbers<const N: usize>(element: &[u8]) -> Option<[u64; N]> {
    let (numbers, rest) = element.as_chunks();
    let numbers: &[[u8; 8]; N] = numbers.try_into().ok()?;
    rest.is_empty().then(|| numbers.map(u64::from_le_bytes))
}

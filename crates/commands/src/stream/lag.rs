//! How far a group is: how many entries it has read, and how many it has still to read, as far as that can be told.
//!
//! Deleted entries between the group and the end of its stream make it unknown, as in Redis (t_stream.c:
//! `streamRangeHasTombstones`, `streamEstimateDistanceFromFirstEverEntry`, `streamReplyWithCGLag`).

use effect::StreamId;
use store::{Group, Stream};

/// What a group has read after the next entry was delivered to it, one of this id.
pub(super) fn read_through(stream: &Stream, read: Option<u64>, id: StreamId) -> Option<u64> {
    match read {
        Some(read) if !has_deleted_from(stream, id) => Some(read + 1),
        read if stream.entries_added() == 0 => read,
        _ => place_of(stream, id),
    }
}

/// How many entries of the stream the group has not read yet.
pub(super) fn lag(stream: &Stream, group: &Group) -> Option<i64> {
    let added = stream.entries_added();
    if added == 0 {
        return Some(0);
    }
    let read = match group.entries_read() {
        Some(read) if !has_deleted_from(stream, group.last_id()) => Some(read),
        _ => place_of(stream, group.last_id()),
    };
    read.map(|read| added.wrapping_sub(read).cast_signed())
}

/// Whether an entry was deleted that stood at this id or behind it, and not before all that are there.
fn has_deleted_from(stream: &Stream, id: StreamId) -> bool {
    let deleted = stream.max_deleted_id();
    deleted != StreamId::MIN && id <= deleted && stream.oldest_id().is_some_and(|first| first <= deleted)
}

/// How many entries were ever added up to this id, if that can be told.
fn place_of(stream: &Stream, id: StreamId) -> Option<u64> {
    let (added, len, last) = (stream.entries_added(), stream.len(), stream.last_id());
    if added == 0 {
        return Some(0);
    }
    if id == last || (len == 0 && id < last) {
        return Some(added);
    }
    if id > last {
        return None;
    }
    let first = stream.oldest_id().unwrap_or_default();
    let deleted = stream.max_deleted_id();
    if deleted != StreamId::MIN && deleted >= first {
        return None;
    }
    match id.cmp(&first) {
        std::cmp::Ordering::Less => Some(added.wrapping_sub(len)),
        std::cmp::Ordering::Equal => Some(added.wrapping_sub(len).wrapping_add(1)),
        std::cmp::Ordering::Greater => None,
    }
}

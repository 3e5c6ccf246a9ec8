//! What the log holds of one partition, as far as the order of its frames depends on it.
//!
//! The same rules are checked where frames are appended and where they are read: what the first refuses as a mistake of the
//! caller, the second refuses as damage.

use crate::frame::Kind;
use stdx::Seq;

/// Whether a partition's data stand in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Hold {
    /// Not held: there is nothing to recover.
    #[default]
    Nothing,
    /// Reading began in the middle of the log, or behind damage: what came before is not known.
    Unknown,
    /// A copy is being received.
    Copying,
    /// Held.
    Whole,
}

/// One partition's place in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Track {
    pub(crate) hold: Hold,
    /// Sequence of the newest record; `None` if it is not known.
    pub(crate) last: Option<Seq>,
}

impl Track {
    /// Nothing is known.
    pub(crate) const UNKNOWN: Track = Track { hold: Hold::Unknown, last: None };

    /// Takes the next frame of the partition.
    ///
    /// # Errors
    /// Which rule it breaks; the track is as before then.
    pub(crate) fn admit(&mut self, kind: Kind, seq: Seq) -> Result<(), &'static str> {
        let hold = match (kind, self.hold) {
            (Kind::Emptied, _) => Hold::Whole,
            (Kind::CopyBegun, _) => Hold::Copying,
            (_, Hold::Nothing) => return Err("the partition is not held here"),
            (Kind::Dropped, _) => Hold::Nothing,
            (Kind::CopyChunk | Kind::CopyEnded, Hold::Whole) => return Err("no copy has begun"),
            (Kind::CopyEnded, Hold::Copying) => Hold::Whole,
            (Kind::Effects | Kind::CopyChunk | Kind::CopyEnded | Kind::State | Kind::SnapshotMark, hold) => {
                hold
            }
            _ => return Err("a frame that has no place in a log"),
        };
        match (kind, self.last) {
            (Kind::Emptied | Kind::CopyBegun, _) | (_, None) => {}
            (Kind::Effects, Some(last)) if !follows(last, seq) => {
                return Err("the sequence does not follow that of the record before it");
            }
            (Kind::Effects, Some(_)) => {}
            (_, Some(last)) if last != seq => return Err("the sequence is not that of the record before it"),
            (_, Some(_)) => {}
        }
        self.hold = hold;
        self.last = Some(seq);
        Ok(())
    }
}

/// The next record: the counter is one higher, and the epoch never falls.
fn follows(last: Seq, seq: Seq) -> bool {
    last.counter.checked_add(1) == Some(seq.counter) && seq.epoch >= last.epoch
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Epoch;

    #[track_caller]
    fn check(start: Track, frames: &[(Kind, u64, u64)], expected: Result<Hold, &str>) {
        let mut track = start;
        let result = frames
            .iter()
            .try_for_each(|&(kind, epoch, counter)| track.admit(kind, Seq { epoch: Epoch(epoch), counter }));
        match expected {
            Ok(hold) => assert_eq!((result, track.hold), (Ok(()), hold), "{frames:?}"),
            Err(part) => assert!(result.expect_err("refused").contains(part), "{frames:?}"),
        }
    }

    #[test]
    fn frames_of_a_partition_follow_each_other() {
        use Kind::{CopyBegun, CopyChunk, CopyEnded, Dropped, Effects, Emptied, SnapshotMark, State};
        let nothing = Track::default();
        check(nothing, &[(Emptied, 1, 0), (Effects, 1, 1), (Effects, 3, 2), (State, 3, 2)], Ok(Hold::Whole));
        check(nothing, &[(CopyBegun, 5, 9), (CopyChunk, 5, 9), (Effects, 5, 10)], Ok(Hold::Copying));
        check(nothing, &[(CopyBegun, 5, 9), (CopyEnded, 5, 9), (SnapshotMark, 5, 9)], Ok(Hold::Whole));
        check(nothing, &[(Emptied, 9, 50), (Emptied, 2, 7), (Effects, 2, 8)], Ok(Hold::Whole));
        check(nothing, &[(Emptied, 1, 0), (Dropped, 1, 0)], Ok(Hold::Nothing));
        check(nothing, &[(Effects, 1, 1)], Err("not held"));
        check(nothing, &[(Emptied, 1, 0), (Dropped, 1, 0), (State, 1, 0)], Err("not held"));
        check(nothing, &[(Emptied, 1, 0), (Effects, 1, 2)], Err("does not follow"));
        check(nothing, &[(Emptied, 2, 0), (Effects, 1, 1)], Err("does not follow"));
        check(nothing, &[(Emptied, 1, 0), (CopyChunk, 1, 0)], Err("no copy has"));
        check(nothing, &[(Emptied, 1, 0), (State, 1, 1)], Err("not that of"));
        check(nothing, &[(Emptied, 1, 0), (Kind::Chunk, 1, 0)], Err("no place"));
        check(Track::UNKNOWN, &[(Effects, 4, 40), (Effects, 4, 41), (CopyEnded, 4, 41)], Ok(Hold::Unknown));
        check(Track::UNKNOWN, &[(Effects, 4, 40), (Effects, 4, 42)], Err("does not follow"));
    }
}

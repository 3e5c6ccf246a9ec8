//! A partition's data as the replication of it sees them: what a follower's stream changes, and what a primary's copies are
//! read from.
//!
//! A follower's journal gets a whole copy in every sync, also where the copy that it holds is compared and corrected: what is
//! equal it writes from its own memory in the moment in which that is known. So the journal needs to know nothing of
//! comparing. What it holds was captured piece by piece with the records between them, as in any other copy, and until
//! its end it says that there is no whole one.

use crate::journal::{Copying, Kept};
use effect::RecordBuilder;
use replication::{Applier, ChunkSource, Span, SpanDigest};
use stdx::{Epoch, Seq, Wall};
use store::{PLACE_END, Partition};

/// A span that is compared has so many keys, or a few more.
const SPAN_KEYS: usize = 16;
/// Or fewer, if they and their values take so many bytes.
const SPAN_BYTES: usize = 4 * 1024;
/// Spans of one question, all of which are walked under the partition's lock.
const QUESTION_SPANS_MAX: usize = 64;
/// Or fewer, if what is in them takes so many bytes.
const QUESTION_BYTES_MAX: usize = 256 * 1024;
/// Keys that a follower walks for one answer, and the most that one piece makes it remove. Larger than a question, so that
/// it is answered whole where the copies are alike.
const ANSWER_KEYS_MAX: usize = 2 * SPAN_KEYS * QUESTION_SPANS_MAX;

/// The data of a follower.
pub(crate) struct Copy<'a> {
    pub(crate) store: &'a mut Partition,
    pub(crate) now: Wall,
    pub(crate) born: Epoch,
    pub(crate) kept: Option<&'a Kept>,
    pub(crate) copying: &'a mut Option<Copying>,
}

impl Applier for Copy<'_> {
    fn order(&self) -> u64 {
        order(self.store)
    }

    fn begin(&mut self, at: Seq, keep: bool) {
        if !keep {
            self.store.clear();
        }
        *self.copying = None;
        if let Some(Kept { journal, partition, .. }) = self.kept {
            journal.copy_begun(*partition, self.born, at);
        }
    }

    fn record(&mut self, seq: Seq, effects: &[u8]) -> bool {
        let applied = apply_all(self.store, effects, self.now);
        if let Some(Kept { journal, partition, .. }) = self.kept.filter(|_| applied) {
            journal.record(*partition, seq, effects);
        }
        if let Some(copying) = self.copying {
            copying.written.extend_from_slice(effects);
        }
        applied
    }

    fn compare(&mut self, from: u64, spans: &[SpanDigest], salt: u64) -> (u64, Vec<Span>) {
        let (mut differing, mut equal): (Vec<Span>, _) = (Vec::new(), RecordBuilder::new());
        let (mut at, mut keys_left) = (from, ANSWER_KEYS_MAX);
        for SpanDigest { to, digest } in spans {
            let here = self.store.stretch(at, *to, (keys_left, usize::MAX), salt);
            let is_cut = here.to < *to;
            if is_cut && at > from {
                break;
            }
            if !is_cut && here.digest == *digest {
                if self.kept.is_some() {
                    self.store.snapshot_stretch(at, *to, usize::MAX, &mut equal);
                }
            } else if let Some(last) = differing.last_mut().filter(|last| last.to == at) {
                last.to = here.to;
            } else {
                differing.push(Span { from: at, to: here.to });
            }
            at = here.to;
            keys_left = keys_left.saturating_sub(here.keys);
            if is_cut || keys_left == 0 {
                break;
            }
        }
        if let Some(Kept { journal, partition, .. }) = self.kept.filter(|_| !equal.bytes().is_empty()) {
            journal.copy_piece(*partition, equal.bytes());
        }
        (at, differing)
    }

    fn chunk(&mut self, replaces: Option<Span>, effects: &[u8], is_last: bool) -> bool {
        if let Some(span) = replaces {
            self.store.clear_stretch(span.from, span.to, self.now);
        }
        let applied = apply_all(self.store, effects, self.now);
        if let Some(Kept { journal, partition, .. }) = self.kept.filter(|_| applied) {
            journal.copy_piece(*partition, effects);
            if is_last {
                journal.copy_ended(*partition);
            }
        }
        applied
    }
}

/// Applies encoded effects; false if they are corrupt or cannot be applied.
pub(crate) fn apply_all(store: &mut Partition, effects: &[u8], now: Wall) -> bool {
    for effect in effect::decode(effects) {
        let Ok(effect) = effect else { return false };
        let hash = effect.key().map_or(0, |key| store.hash(key));
        if !store.apply(&effect, hash, now) {
            return false;
        }
    }
    true
}

/// The data of a primary.
pub(crate) struct Chunks<'a> {
    pub(crate) store: &'a Partition,
}

impl ChunkSource for Chunks<'_> {
    fn chunk(&mut self, cursor: Option<(u8, u64)>) -> (Vec<u8>, Option<(u8, u64)>) {
        let mut record = RecordBuilder::new();
        let (db, at) = cursor.unwrap_or((0, 0));
        let next = self.store.snapshot_chunk(db, at, replication::CHUNK_BYTES, &mut record);
        (record.take(), next)
    }

    fn order(&self) -> u64 {
        order(self.store)
    }

    fn digests(&mut self, from: u64, salt: u64) -> Vec<(SpanDigest, u64)> {
        let (mut spans, mut at, mut bytes) = (Vec::new(), from, 0);
        while at < PLACE_END && spans.len() < QUESTION_SPANS_MAX && bytes < QUESTION_BYTES_MAX {
            let stretch = self.store.stretch(at, PLACE_END, (SPAN_KEYS, SPAN_BYTES), salt);
            spans.push((SpanDigest { to: stretch.to, digest: stretch.digest }, stretch.bytes as u64));
            at = stretch.to;
            bytes += stretch.bytes;
        }
        spans
    }

    fn piece_of(&mut self, span: Span) -> (Vec<u8>, u64) {
        let mut record = RecordBuilder::new();
        let to = self.store.snapshot_stretch(span.from, span.to, replication::CHUNK_BYTES, &mut record);
        (record.take(), to)
    }
}

/// In what order keys are walked; 0 if there are none, so that an empty side means a whole copy.
fn order(store: &Partition) -> u64 {
    if store.is_empty() { 0 } else { store.order() }
}

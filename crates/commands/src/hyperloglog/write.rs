//! PFADD and PFMERGE, and how a changed sketch is stored: as splices of what is different, so that the deadline stays
//! and the log does not get 12 KiB for one register.

use super::sketch::{COUNT_STALE_AT, Encoding, Sketch, Union, encoding_of, would_change};
use super::{ROW, sketch_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{Outcome, answer, answer_integer};
use crate::string::INTEGER_TEXT_BYTES_MAX;
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use effect::Effect;
use protocol::Reply;
use stdx::Wall;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "pfadd",
        arity: -2,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RW.with(KeyFlags::INSERT))]),
        complexity: "O(1) to add every element.",
        summary: "Adds elements to a HyperLogLog key. Creates the key if it doesn't exist.",
        run: Run::Write(pfadd),
        ..ROW
    },
    Command {
        name: "pfmerge",
        arity: -2,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[
            KeySpec::at(1, KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::INSERT)),
            KeySpec::from(2, 1, KeyFlags::RO.with(KeyFlags::ACCESS)),
        ]),
        complexity: "O(N) to merge N HyperLogLogs, but with high constant times.",
        summary: "Merges one or more HyperLogLog values into a single key.",
        run: Run::Write(pfmerge),
        ..ROW
    },
];

/// Differences that are closer than this go into one splice.
const BLOCK_BYTES: usize = 32;

fn pfadd(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    answer_integer(reply, add(ctx, args).map(i64::from));
}

/// Adds the elements; whether anything has changed.
fn add(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<bool> {
    let (key, elements) = (args.at(1), args.tail(2));
    let former = match ctx.get(key) {
        None => None,
        Some(entry) => {
            let mut scratch = [0; INTEGER_TEXT_BYTES_MAX];
            let bytes = sketch_of(&entry, &mut scratch)?;
            // Most elements of a sketch that has seen many change nothing: they cost no copy.
            if encoding_of(bytes)? == Encoding::Dense && !would_change(bytes, elements) {
                return Ok(false);
            }
            Some(Former { sketch: Sketch::of(bytes), expire_at: entry.expire_at() })
        }
    };
    let mut sketch = former.as_ref().map_or_else(Sketch::new, |former| former.sketch.clone());
    let mut changed = former.is_none();
    for element in elements {
        changed |= sketch.add(element)?;
    }
    if changed {
        sketch.forget_count();
        store(ctx, key, former.as_ref(), &sketch);
    }
    Ok(changed)
}

fn pfmerge(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = merge(ctx, args).map(|()| reply.ok());
    answer(reply, outcome);
}

fn merge(ctx: &mut WriteCtx<'_>, args: Args<'_>) -> Outcome<()> {
    let (mut union, mut dense, mut former) = (Union::new(), false, None);
    for (index, key) in args.tail(1).iter().enumerate() {
        let Some(entry) = ctx.get(key) else { continue };
        let mut scratch = [0; INTEGER_TEXT_BYTES_MAX];
        let bytes = sketch_of(&entry, &mut scratch)?;
        dense |= encoding_of(bytes)? == Encoding::Dense;
        union.add(bytes)?;
        if index == 0 {
            former = Some(Former { sketch: Sketch::of(bytes), expire_at: entry.expire_at() });
        }
    }
    let mut sketch = former.as_ref().map_or_else(Sketch::new, |former| former.sketch.clone());
    if dense {
        sketch.make_dense()?;
    }
    for (index, value) in union.registers() {
        sketch.raise(index, value)?;
    }
    sketch.forget_count();
    store(ctx, args.at(1), former.as_ref(), &sketch);
    Ok(())
}

/// What a key held.
pub(super) struct Former {
    pub(super) sketch: Sketch,
    pub(super) expire_at: Option<Wall>,
}

/// Makes `key` hold `sketch`, until the same deadline as before. Always a write, even if nothing is different.
pub(super) fn store(ctx: &mut WriteCtx<'_>, key: &[u8], former: Option<&Former>, sketch: &Sketch) {
    let (db, new) = (ctx.db, sketch.as_bytes());
    let Some(former) = former else {
        ctx.bury_expired(key);
        // Not as a string that is set: OBJECT ENCODING says `raw` of a sketch, however short.
        return ctx.emit(Effect::Splice { db, key, offset: 0, bytes: new });
    };
    let old = former.sketch.as_bytes();
    if new.len() < old.len() {
        return ctx.set_string(key, new, former.expire_at);
    }
    let mut splices = differences(old, new);
    if splices.is_empty() {
        splices.push(COUNT_STALE_AT..COUNT_STALE_AT + 1);
    }
    for range in splices {
        ctx.emit(Effect::Splice { db, key, offset: range.start as u64, bytes: &new[range] });
    }
}

/// Where `new` differs from `old`, which is not longer.
fn differences(old: &[u8], new: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
    for start in (0..new.len()).step_by(BLOCK_BYTES) {
        let end = new.len().min(start + BLOCK_BYTES);
        let before = old.get(start..end.min(old.len())).unwrap_or_default();
        let after = &new[start..end];
        if before == after {
            continue;
        }
        let differs = |at: &usize| before.get(*at) != after.get(*at);
        let first = (0..after.len()).find(differs).unwrap_or(0);
        let last = (0..after.len()).rfind(differs).unwrap_or(first);
        match ranges.last_mut() {
            Some(range) if range.end + BLOCK_BYTES > start + first => range.end = start + last + 1,
            _ => ranges.push(start + first..start + last + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Random;

    #[test]
    fn differences_make_the_new_out_of_the_old() {
        let mut random = Random::seeded(8);
        for _ in 0..2_000 {
            let mut old = vec![0; random.below(400) as usize];
            random.fill(&mut old);
            let mut new = old.clone();
            new.resize(old.len() + random.below(3) as usize * 20, 0);
            for _ in 0..random.below(4) {
                let at = random.below(new.len() as u64) as usize;
                new.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1);
            }
            let ranges = differences(&old, &new);
            for range in &ranges {
                old.resize(old.len().max(range.end), 0);
                assert_ne!(old.get(range.start..range.start + 1), None);
                old[range.clone()].copy_from_slice(&new[range.clone()]);
            }
            assert_eq!(old, new);
            assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
        assert!(differences(b"same", b"same").is_empty());
        assert_eq!(differences(b"abcd", b"aXcd").first(), Some(&(1..2)));
    }
}

//! What an allocation costs: the one model that all memory accounting uses.
//!
//! A limit of memory that counted only requested bytes would be overrun by a third with small values. The model is
//! that of mimalloc, which the server runs on (`mi_good_size`): blocks of one word, then of a multiple of 16 bytes, up
//! to eight words, then four sizes to a doubling. Nodes and slots ask for exactly such a size, so nothing of what they
//! pay for lies idle, and a value may grow within its block.

const WORD_BYTES: usize = 8;
/// Alignment of every block above one word.
const STEP_BYTES: usize = 16;
/// Up to here blocks come in steps, above in quarters of a power of two.
const STEPS_BYTES_MAX: usize = 64;
/// Above, memory comes straight from the system, in pages (`MI_LARGE_MAX_OBJ_SIZE`).
const BLOCK_BYTES_MAX: usize = 512 * 1024;
const PAGE_BYTES: usize = 4096;

/// Bytes that an allocation of `requested` bytes takes from the system.
#[inline]
pub(crate) const fn allocation_bytes(requested: usize) -> usize {
    if requested <= WORD_BYTES {
        return if requested == 0 { 0 } else { WORD_BYTES };
    }
    if requested <= STEPS_BYTES_MAX {
        return requested.next_multiple_of(STEP_BYTES);
    }
    if requested > BLOCK_BYTES_MAX {
        return requested.saturating_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1);
    }
    let quarter_log = (requested - 1).ilog2() - 2;
    (((requested - 1) >> quarter_log) + 1) << quarter_log
}

/// How many elements, from `len` on, fill a block as `Vec` and `Box` ask for one. Theirs is mimalloc's aligned
/// allocation, which needs room to align within the block: all of one element's size is left for that.
#[inline]
pub(crate) const fn filling_len<T>(len: usize) -> usize {
    allocation_bytes((len + 1) * size_of::<T>()) / size_of::<T>() - 1
}

/// What elements of `capacity` take, be it one of [`filling_len`] or not.
#[inline]
pub(crate) const fn slice_bytes<T>(capacity: usize) -> usize {
    if capacity == 0 { 0 } else { allocation_bytes(capacity * size_of::<T>() + align_of::<T>() - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_idempotent_and_rise() {
        let mut former = 0;
        for requested in 0..=1 << 20 {
            let bytes = allocation_bytes(requested);
            assert!(bytes >= requested && bytes >= former);
            assert_eq!(allocation_bytes(bytes), bytes);
            former = bytes;
            if cfg!(miri) && requested == 2_000 {
                break;
            }
        }
        assert_eq!(
            [1, 9, 17, 33, 56, 65, 129, 7_000].map(allocation_bytes),
            [8, 16, 32, 48, 64, 80, 160, 7_168]
        );
        assert!(allocation_bytes(usize::MAX) > 1 << 40, "no overflow");
    }

    #[test]
    fn a_filling_slice_fills_its_block() {
        for len in 1..2_000 {
            let filling = filling_len::<u64>(len);
            assert!(filling >= len);
            assert_eq!(slice_bytes::<u64>(filling), filling * 8 + 8);
            assert_eq!(filling_len::<u64>(filling), filling);
        }
        assert_eq!((filling_len::<u32>(2), slice_bytes::<u32>(3), slice_bytes::<u64>(0)), (3, 16, 0));
    }

    #[cfg(not(miri))]
    #[test]
    #[allow(unsafe_code)]
    fn agrees_with_the_allocator() {
        for requested in (1..=256 * 1024).chain((256 * 1024..=8 << 20).step_by(1_013)) {
            // SAFETY: a pure function of a number (mimalloc.h, `mi_good_size`).
            let good = unsafe { libmimalloc_sys::mi_good_size(requested) };
            assert_eq!(allocation_bytes(requested), good, "{requested}");
        }
    }
}

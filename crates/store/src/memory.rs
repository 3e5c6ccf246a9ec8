//! What an allocation costs: the one model that all memory accounting uses.
//!
//! A limit of memory that counted only requested bytes would be overrun by a third with small values. The model is
//! that of mimalloc, which the server runs on (`mi_good_size`): blocks of one word, then of a multiple of 16 bytes, up
//! to eight words, then four sizes to a doubling. Nodes and slots ask for exactly such a size, so nothing of what they
//! pay for lies idle, and a value may grow within its block.

pub(crate) use stdx::allocator::class_bytes as allocation_bytes;

/// How many elements, from `len` on, fill a block.
#[inline]
pub(crate) const fn filling_len<T>(len: usize) -> usize {
    allocation_bytes(len * size_of::<T>()) / size_of::<T>()
}

/// What elements of `capacity` take, be it one of [`filling_len`] or not.
#[inline]
pub(crate) const fn slice_bytes<T>(capacity: usize) -> usize {
    allocation_bytes(capacity * size_of::<T>())
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
            assert_eq!(slice_bytes::<u64>(filling), filling * 8);
            assert_eq!(filling_len::<u64>(filling), filling);
        }
        assert_eq!((filling_len::<u32>(3), slice_bytes::<u32>(3), slice_bytes::<u64>(0)), (4, 16, 0));
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

//! mimalloc as the process's allocator.
//!
//! The usual binding asks for every block with its alignment, and mimalloc then takes the next larger size for most sizes
//! that are no power of two: 64 bytes for 48. Its blocks are aligned to 16 bytes anyway, so only a larger alignment is
//! asked for here, and a block takes what `stdx::allocator::class_bytes` says.
#![allow(unsafe_code)]

use libmimalloc_sys as ffi;
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

/// Alignment of every block of at least so many bytes (`MI_MAX_ALIGN_SIZE`).
const BLOCK_ALIGNMENT: usize = 16;

/// The allocator.
#[derive(Clone, Copy, Debug)]
pub struct Mimalloc;

/// Whether a block is aligned well enough without being asked to.
#[inline]
fn is_plain(layout: Layout) -> bool {
    layout.align() <= size_of::<usize>()
        || (layout.align() <= BLOCK_ALIGNMENT && layout.size() >= BLOCK_ALIGNMENT)
}

// SAFETY: mimalloc's functions keep the promises of malloc, which are those of `GlobalAlloc`: blocks of at least the size
// asked for, aligned to 8 bytes always and to 16 from 16 bytes on (mimalloc's types.h, `MI_MAX_ALIGN_SIZE`), or as asked;
// `mi_free` takes both kinds. None of them unwinds.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and any power of two as alignment are allowed.
        unsafe {
            if is_plain(layout) {
                ffi::mi_malloc(layout.size()).cast()
            } else {
                ffi::mi_malloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe {
            if is_plain(layout) {
                ffi::mi_zalloc(layout.size()).cast()
            } else {
                ffi::mi_zalloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, _layout: Layout) {
        // SAFETY: the caller gives back a block of this allocator, once.
        unsafe { ffi::mi_free(pointer.cast::<c_void>()) };
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller owns this block of this allocator; the alignment of a smaller block may be needed as well.
        unsafe {
            if layout.align() <= size_of::<usize>() {
                ffi::mi_realloc(pointer.cast::<c_void>(), new_size).cast()
            } else {
                ffi::mi_realloc_aligned(pointer.cast::<c_void>(), new_size, layout.align()).cast()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::allocator::class_bytes;

    #[test]
    fn blocks_are_aligned_and_take_their_class() {
        for size in (1..1_100).chain([4_096, 5_000, 65_536, 70_000, 524_288, 600_000, 3 << 20]) {
            for align in [1, 8, 16, 64, 4096] {
                let layout = Layout::from_size_align(size, align).expect("small");
                // SAFETY: the size is not zero, and each block is given back once with its layout.
                unsafe {
                    let block = Mimalloc.alloc(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(align), "{layout:?}");
                    if is_plain(layout) {
                        assert_eq!(ffi::mi_good_size(size), class_bytes(size), "{layout:?}");
                        assert!(ffi::mi_usable_size(block.cast()) >= size);
                    }
                    block.write_bytes(7, size);
                    let grown = Mimalloc.realloc(block, layout, size * 2);
                    assert!(!grown.is_null() && grown.addr().is_multiple_of(align), "{layout:?}");
                    assert_eq!((grown.read(), grown.add(size - 1).read()), (7, 7));
                    let layout = Layout::from_size_align(size * 2, align).expect("small");
                    Mimalloc.dealloc(grown, layout);
                    let zeroed = Mimalloc.alloc_zeroed(layout);
                    assert_eq!((zeroed.read(), zeroed.add(size * 2 - 1).read()), (0, 0));
                    Mimalloc.dealloc(zeroed, layout);
                }
            }
        }
    }
}

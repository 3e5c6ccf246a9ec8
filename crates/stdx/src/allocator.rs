//! What the allocator holds, counted: the truth behind `used_memory`.
//!
//! [`Counting`] stands before an allocator and adds up the size classes of what it has handed out. Every thread counts
//! in a place of its own, without an atomic exchange; whoever asks adds the places up. A place may be negative: memory
//! is often given back by another thread than the one that asked for it.
//!
//! The size classes are mimalloc's (`mi_bin` of its `page-queue.c`): words up to 8 in steps of two, then four steps per
//! power of two. They are worked out here rather than asked for, because giving back has to subtract exactly what
//! asking has added, and because the same sum tells what one entry costs.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

/// Threads that count alone; later ones share the last place.
const PLACES: usize = 64;
/// Largest size that has a class; beyond, sizes are whole pages.
const CLASSED_BYTES_MAX: usize = 512 * 1024;
const PAGE_BYTES: usize = 4096;
const WORD_BYTES: usize = 8;
/// Alignment of every block above one word.
const STEP_BYTES: usize = 16;
/// Up to here blocks come in steps, above in quarters of a power of two.
const STEPS_BYTES_MAX: usize = 64;

/// Bytes that an allocation of `requested` bytes takes.
#[inline]
pub const fn class_bytes(requested: usize) -> usize {
    if requested <= WORD_BYTES {
        return if requested == 0 { 0 } else { WORD_BYTES };
    }
    if requested <= STEPS_BYTES_MAX {
        return requested.next_multiple_of(STEP_BYTES);
    }
    if requested > CLASSED_BYTES_MAX {
        return requested.saturating_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1);
    }
    let quarter_log = (requested - 1).ilog2() - 2;
    (((requested - 1) >> quarter_log) + 1) << quarter_log
}

/// An allocator that counts.
pub struct Counting<A> {
    inner: A,
    places: [Place; PLACES],
}

/// Bytes counted by one thread; a cache line of its own.
#[repr(align(64))]
struct Place(AtomicIsize);

/// How many threads have asked for a place.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Number of this thread's place. Needs neither memory nor a destructor, so an allocator may use it.
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl<A> Counting<A> {
    /// Counts what `inner` hands out.
    pub const fn new(inner: A) -> Counting<A> {
        Counting { inner, places: [const { Place(AtomicIsize::new(0)) }; PLACES] }
    }

    /// Bytes held now, as size classes.
    pub fn held_bytes(&self) -> u64 {
        let sum: isize = self.places.iter().map(|place| place.0.load(Relaxed)).sum();
        // Seen between two threads' halves of one movement, the sum may be off for a moment.
        u64::try_from(sum).unwrap_or(0)
    }

    #[inline]
    fn count(&self, by: isize) {
        let index = PLACE.with(|place| match place.get() {
            usize::MAX => {
                let index = THREADS.fetch_add(1, Relaxed).min(PLACES - 1);
                place.set(index);
                index
            }
            index => index,
        });
        let place = &self.places[index].0;
        if index == PLACES - 1 {
            place.fetch_add(by, Relaxed);
        } else {
            // Nobody else writes here, so nothing can be lost between load and store.
            place.store(place.load(Relaxed) + by, Relaxed);
        }
    }
}

#[inline]
fn counted(size: usize) -> isize {
    class_bytes(size).cast_signed()
}

// SAFETY: every call is handed on to `inner` as it came, and its result comes back as it is; counting neither allocates
// nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `inner` asks for.
        let pointer = unsafe { self.inner.alloc(layout) };
        if !pointer.is_null() {
            self.count(counted(layout.size()));
        }
        pointer
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let pointer = unsafe { self.inner.alloc_zeroed(layout) };
        if !pointer.is_null() {
            self.count(counted(layout.size()));
        }
        pointer
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.count(-counted(layout.size()));
        // SAFETY: as in `alloc`.
        unsafe { self.inner.dealloc(pointer, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let moved = unsafe { self.inner.realloc(pointer, layout, new_size) };
        if !moved.is_null() {
            self.count(counted(new_size) - counted(layout.size()));
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[test]
    fn classes_are_those_of_the_allocator() {
        let expected = [
            (0, 0),
            (1, 8),
            (8, 8),
            (9, 16),
            (17, 32),
            (56, 64),
            (64, 64),
            (65, 80),
            (124, 128),
            (129, 160),
            (161, 192),
            (1_025, 1_280),
            (65_537, 81_920),
            (524_288, 524_288),
            (524_289, 528_384),
        ];
        for (requested, class) in expected {
            assert_eq!(class_bytes(requested), class, "{requested}");
        }
        assert!(
            (1..if cfg!(miri) { 300 } else { 200_000 })
                .all(|size| class_bytes(size) >= size && class_bytes(class_bytes(size)) == class_bytes(size))
        );
    }

    #[test]
    fn what_is_held_is_what_was_asked_for_and_not_given_back() {
        static ALLOCATOR: Counting<System> = Counting::new(System);
        let layout = |size| Layout::from_size_align(size, 8).expect("small");
        // SAFETY: sizes are not zero, and every pointer is given back once with the layout it has at the end.
        unsafe {
            let first = ALLOCATOR.alloc(layout(100));
            let second = ALLOCATOR.alloc_zeroed(layout(64));
            assert_eq!(ALLOCATOR.held_bytes(), 112 + 64);
            assert_eq!(second.read(), 0);
            let first = ALLOCATOR.realloc(first, layout(100), 300);
            assert_eq!(ALLOCATOR.held_bytes(), 320 + 64);
            let address = first.expose_provenance();
            std::thread::spawn(move || {
                ALLOCATOR.dealloc(std::ptr::with_exposed_provenance_mut(address), layout(300));
            })
            .join()
            .expect("nothing panics there");
            assert_eq!(ALLOCATOR.held_bytes(), 64, "another thread gave it back");
            ALLOCATOR.dealloc(second, layout(64));
        }
        assert_eq!(ALLOCATOR.held_bytes(), 0);
    }
}

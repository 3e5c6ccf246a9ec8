//! Asks the processor to bring memory closer before it is needed.
//!
//! A look-up meets three cache misses in a row: marks, slot, node. For a batch of commands the misses of all of them can
//! overlap if they are asked for first. The only `unsafe` of this crate: the instruction takes a pointer.
#![allow(unsafe_code)]

/// Brings the cache line of `target` closer. Changes nothing but the time of a later access.
#[inline(always)]
pub(crate) fn prefetch<T: ?Sized>(target: &T) {
    line(std::ptr::from_ref(target).cast());
}

/// Brings the first bytes of a slice closer, two cache lines at most.
#[inline(always)]
pub(crate) fn prefetch_start(bytes: &[u8]) {
    line(bytes.as_ptr());
    if let Some(second) = bytes.get(CACHE_LINE_BYTES) {
        prefetch(second);
    }
}

const CACHE_LINE_BYTES: usize = 64;

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn line(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: PREFETCHT0 neither faults nor reads: an address is a hint (Intel SDM, volume 2, PREFETCHh), and this one
    // comes from a reference or a slice anyway. SSE is part of every x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
fn line(_address: *const u8) {}

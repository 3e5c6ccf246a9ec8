//! Asks the processor to bring memory closer before it is needed.
//!
//! A look-up meets two cache misses in a row: slot and node. For a batch of commands the misses of all of them can
//! overlap if they are asked for first. `unsafe`, because the instruction takes a pointer.
#![allow(unsafe_code)]

/// Brings the cache line of `target` closer. Changes nothing but the time of a later access.
#[inline(always)]
pub(crate) fn prefetch<T: ?Sized>(target: &T) {
    prefetch_address(std::ptr::from_ref(target).cast());
}

/// Brings the cache line of an address closer, be it valid or not.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn prefetch_address(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: PREFETCHT0 neither faults nor reads: an address is a hint (Intel SDM, volume 2, PREFETCHh). SSE is part
    // of every x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

/// Brings the cache line of an address closer, be it valid or not.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
pub(crate) fn prefetch_address(_address: *const u8) {}

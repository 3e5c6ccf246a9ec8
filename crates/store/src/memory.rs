//! What an allocation costs: the one model that all memory accounting uses.
//!
//! A limit of memory that counted only requested bytes would be overrun by a third with small values. The model is
//! that of common allocators: a header of 8 bytes, sizes in steps of 16, at least 32.

const HEADER_BYTES: usize = 8;
const STEP_BYTES: usize = 16;
const LEAST_BYTES: usize = 32;

/// Bytes that an allocation of `requested` bytes takes from the system.
pub(crate) fn allocation_bytes(requested: usize) -> usize {
    match requested {
        0 => 0,
        _ => (requested + HEADER_BYTES).next_multiple_of(STEP_BYTES).max(LEAST_BYTES),
    }
}

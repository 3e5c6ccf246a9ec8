//! Huge pages for data, where all of one is in use.
//!
//! A look-up in a large table misses the processor's cache of address translations as well as its cache of data, and huge
//! pages spare it the former. But a process that asks for them beforehand has two megabytes resident for every few
//! kilobytes that it touches first, and what its allocator has free among data is resident as well: with a million
//! small keys, an eighth of everything. So memory comes in small pages, and whenever more of it is in use this puts those
//! blocks together of which every page is. A kernel that cannot (before Linux 6.1), or must not (`never` in
//! `/sys/kernel/mm/transparent_hugepage/enabled`), is left alone.
#![allow(unsafe_code)]

use crate::platform::Allocator;
use std::collections::HashSet;
use std::io;
use std::ptr::NonNull;
use std::time::Duration;

/// How often memory is looked at.
const PERIOD: Duration = Duration::from_millis(100);
/// Growth after which there may be new blocks to put together, and below which a process counts as small.
const GROWTH_BYTES: u64 = 32 * 1024 * 1024;
/// Regions of the allocator are larger than this; stacks and buffers are smaller.
const REGION_BYTES_MIN: usize = 32 * 1024 * 1024;
/// A huge page.
const BLOCK_BYTES: usize = 2 * 1024 * 1024;
/// Blocks put together per period: some 20 ms of work in idle time.
const BLOCKS_PER_PERIOD_MAX: usize = 32;
/// Where the kernel says whether it may.
const MODE_FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
/// `MADV_COLLAPSE` of Linux 6.1 (madvise(2)).
const MADV_COLLAPSE: i32 = 25;

/// Puts blocks together as memory grows; for ever, or until it turns out to be impossible.
pub(crate) async fn watch(allocator: Allocator) {
    let mode = std::fs::read_to_string(MODE_FILE).unwrap_or_default();
    if mode.is_empty() || mode.contains("[never]") {
        return;
    }
    let mut blocks = Blocks::default();
    let mut next = GROWTH_BYTES;
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        let held = (allocator.held_bytes)();
        if held < next {
            continue;
        }
        let step = in_idle_time(move || {
            let outcome = blocks.step();
            (blocks, outcome)
        });
        match step.await {
            Ok((after, Ok(finished))) => {
                blocks = after;
                if finished {
                    next = held + GROWTH_BYTES;
                }
            }
            Ok((_, Err(error))) => return tracing::debug!(%error, "no huge pages"),
            Err(error) => return tracing::warn!(%error, "no huge pages"),
        }
    }
}

/// Runs `work` on a thread of its own that gets what time the processors have left, so that no command waits for it: beside
/// a worker on the same processor it would otherwise take turns of several milliseconds.
///
/// # Errors
/// When there can be no further thread.
async fn in_idle_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("huge-pages".into()).spawn(move || {
        let no_priority = libc::sched_param { sched_priority: 0 };
        // SAFETY: the structure is read during the call only (sched_setscheduler(2)); 0 is the calling thread. Where it is
        // not allowed, the thread has the priority of any other, which delays but breaks nothing.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const no_priority) };
        // Nobody waits any more once the server has stopped.
        let _ = done.send(work());
    })?;
    result.await.map_err(io::Error::other)
}

/// The blocks that were put together, or could not be, by their addresses: each is tried once. What the allocator gives back
/// later is taken apart again, and left so.
#[derive(Default)]
struct Blocks(HashSet<usize>);

impl Blocks {
    /// Looks for blocks of which all pages are resident and puts them together, a bounded number of them; true if
    /// there are no more.
    ///
    /// # Errors
    /// When it is of no use to try again.
    fn step(&mut self) -> io::Result<bool> {
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        let blocks = maps.lines().filter_map(region).flat_map(|(start, len)| {
            let first = start.next_multiple_of(BLOCK_BYTES);
            (first..start + len).step_by(BLOCK_BYTES).take_while(move |at| at + BLOCK_BYTES <= start + len)
        });
        let spare = Spare::new()?;
        let mut collapsed = 0;
        for block in blocks {
            if self.0.contains(&block) || !is_resident(block) {
                continue;
            }
            spare.prepare();
            collapse(block)?;
            self.0.insert(block);
            collapsed += 1;
            if collapsed == BLOCKS_PER_PERIOD_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Start and length of a large private anonymous region that can be written to, from its line of `/proc/self/maps`.
fn region(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (access, offset, device, inode) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let name = fields.next().unwrap_or_default();
    let anonymous = offset == "00000000" && device == "00:00" && inode == "0";
    if access != "rw-p" || !anonymous || !(name.is_empty() || name.starts_with("[anon")) {
        return None;
    }
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let len = end.checked_sub(start)?;
    (len >= REGION_BYTES_MIN).then_some((start, len))
}

/// Whether every page of a block is in memory.
fn is_resident(block: usize) -> bool {
    let mut pages = [0u8; BLOCK_BYTES / 4096];
    if rustix::param::page_size() != BLOCK_BYTES / pages.len() {
        return false;
    }
    // SAFETY: one byte is written for each page of the range (mincore(2)); a range that is no longer mapped is an error.
    let result = unsafe {
        libc::mincore(std::ptr::without_provenance_mut(block), BLOCK_BYTES, pages.as_mut_ptr().cast())
    };
    result == 0 && pages.iter().all(|page| page & 1 == 1)
}

/// A huge page that is taken and given back right before the kernel needs one, which then takes this. In a virtual machine the
/// first touch of memory can cost milliseconds for a block; it must not happen while the kernel keeps commands from
/// the block that it puts together.
struct Spare(NonNull<libc::c_void>);

impl Spare {
    /// Reserves the addresses.
    ///
    /// # Errors
    /// When there are none.
    fn new() -> io::Result<Spare> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice touches no other (mmap(2)).
        let start = unsafe { libc::mmap(std::ptr::null_mut(), 2 * BLOCK_BYTES, access, kind, -1, 0) };
        match NonNull::new(start) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED => Ok(Spare(start)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Has a huge page in hand for a moment. Where there is none to be had, nothing is gained and nothing lost.
    fn prepare(&self) {
        let padding = self.0.as_ptr().align_offset(BLOCK_BYTES);
        // SAFETY: the reservation is two blocks long, so an aligned block is within it, and nobody else knows of it.
        unsafe {
            let block = self.0.as_ptr().cast::<u8>().add(padding);
            libc::madvise(block.cast(), BLOCK_BYTES, libc::MADV_HUGEPAGE);
            block.write_volatile(1);
            libc::madvise(block.cast(), BLOCK_BYTES, libc::MADV_DONTNEED);
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, and nothing refers to it any more.
        unsafe { libc::munmap(self.0.as_ptr(), 2 * BLOCK_BYTES) };
    }
}

/// Makes a block one huge page, if it can be done now.
///
/// # Errors
/// When the kernel does not know how.
fn collapse(block: usize) -> io::Result<()> {
    // SAFETY: MADV_COLLAPSE changes neither the content nor the extent of any mapping (madvise(2)); if the region is gone
    // by now the call fails, or collapses whatever has taken its place, which is as harmless.
    let result =
        unsafe { libc::madvise(std::ptr::without_provenance_mut(block), BLOCK_BYTES, MADV_COLLAPSE) };
    match io::Error::last_os_error() {
        error if result != 0 && error.raw_os_error() == Some(libc::EINVAL) => Err(error),
        // Done; or no memory, or a page that is busy or has gone.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_anonymous_regions_are_found_and_nothing_else() {
        let arena = "20000000000-20040000000 rw-p 00000000 00:00 0";
        assert_eq!(region(arena), Some((0x200_0000_0000, 1 << 30)));
        assert_eq!(
            region("20000000000-20040000000 rw-p 00000000 00:00 0 [anon:data]").map(|r| r.1),
            Some(1 << 30)
        );
        for other in [
            "20000000000-20040000000 r--p 00000000 00:00 0",
            "20000000000-20040000000 rw-p 00000000 fe:00 17 /usr/lib/libc.so.6",
            "7ffd00000000-7ffd40000000 rw-p 00000000 00:00 0 [stack]",
            "20000000000-20000400000 rw-p 00000000 00:00 0",
            "20040000000-20000000000 rw-p 00000000 00:00 0",
            "nonsense",
            "",
        ] {
            assert_eq!(region(other), None, "{other}");
        }
    }

    #[test]
    fn blocks_in_use_are_put_together_and_keep_their_content() {
        let bytes = vec![7u8; 2 * REGION_BYTES_MIN];
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
        let address = bytes.as_ptr().addr();
        assert!(maps.lines().filter_map(region).any(|(at, len)| (at..at + len).contains(&address)));
        let block = address.next_multiple_of(BLOCK_BYTES);
        assert!(is_resident(block));
        let mut blocks = Blocks::default();
        let finished = (0..1_000).find_map(|_| match blocks.step() {
            Ok(finished) => finished.then_some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        if let Err(error) = finished.expect("every step that does not finish puts blocks together") {
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error}");
        }
        assert!(bytes.iter().all(|byte| *byte == 7));
        assert!(!is_resident(BLOCK_BYTES), "nothing is mapped at the bottom of the address space");
    }

    #[test]
    fn memory_that_was_never_touched_stays_away() {
        let bytes: Vec<u8> = vec![0; 2 * REGION_BYTES_MIN];
        assert!(!is_resident(bytes.as_ptr().addr().next_multiple_of(BLOCK_BYTES)));
    }
}

//! Huge pages for data, once there is some.
//!
//! A look-up in a large table misses the processor's cache of address translations as well as its cache of data, and huge
//! pages spare it the former. But a process at rest that has them touches two megabytes where it needs a few kilobytes. So
//! the allocator is built to leave them alone, and this asks the kernel for them in the allocator's large regions when
//! memory has grown. A kernel without transparent huge pages, or with `never` as their mode, ignores that.
#![allow(unsafe_code)]

use crate::platform::Allocator;
use std::time::Duration;

/// How often the growth is looked at.
const PERIOD: Duration = Duration::from_millis(100);
/// Growth after which there may be new regions, and below which a process counts as small.
const GROWTH_BYTES: u64 = 32 * 1024 * 1024;
/// Regions of the allocator are larger than this; stacks and buffers are smaller.
const REGION_BYTES_MIN: usize = 32 * 1024 * 1024;

/// Asks for huge pages whenever the allocator has grown; for ever.
pub(crate) async fn watch(allocator: Allocator) {
    let mut next = GROWTH_BYTES;
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        let held = (allocator.held_bytes)();
        if held < next {
            continue;
        }
        next = held + GROWTH_BYTES;
        match std::fs::read_to_string("/proc/self/maps") {
            Ok(maps) => maps.lines().filter_map(region).for_each(advise),
            Err(error) => {
                tracing::debug!(%error, "no huge pages: the process's regions cannot be read");
                return;
            }
        }
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

fn advise((start, len): (usize, usize)) {
    // SAFETY: MADV_HUGEPAGE changes neither the content nor the extent of any mapping (madvise(2)); if the region is gone
    // by now the call fails, or advises on whatever has taken its place, which is as harmless.
    let result = unsafe { libc::madvise(std::ptr::without_provenance_mut(start), len, libc::MADV_HUGEPAGE) };
    if result != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "no huge pages for a region");
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
    fn a_region_may_be_advised_on_and_one_that_is_gone_as_well() {
        let bytes = vec![7u8; 2 * REGION_BYTES_MIN];
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
        let address = bytes.as_ptr().addr();
        let found = maps.lines().filter_map(region).find(|(at, len)| (*at..at + len).contains(&address));
        advise(found.expect("the vector lies in a large region"));
        assert!(bytes.iter().all(|byte| *byte == 7));
        drop(bytes);
        advise((0x1000, REGION_BYTES_MIN));
    }
}

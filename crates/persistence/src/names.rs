//! Names of files: which is a segment, which a snapshot.

/// The manifest.
pub(crate) const MANIFEST: &str = "manifest";
/// The manifest while it is written.
pub(crate) const MANIFEST_NEW: &str = "manifest.tmp";

/// `aof-0000000001.log`.
pub(crate) fn segment(number: u64) -> String {
    format!("aof-{number:010}.log")
}

/// `snapshot-0000000001.snap`.
pub(crate) fn snapshot(number: u64) -> String {
    format!("snapshot-{number:010}.snap")
}

/// The number of a segment's name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    number(name, "aof-", ".log").filter(|number| segment(*number) == name)
}

/// The number of a snapshot's name.
pub(crate) fn snapshot_number(name: &str) -> Option<u64> {
    number(name, "snapshot-", ".snap").filter(|number| snapshot(*number) == name)
}

fn number(name: &str, before: &str, after: &str) -> Option<u64> {
    name.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_written_are_read() {
        for number in [0, 1, 9_999_999_999, u64::MAX] {
            assert_eq!(segment_number(&segment(number)), Some(number));
            assert_eq!(snapshot_number(&snapshot(number)), Some(number));
        }
        for name in ["aof-1.log", "aof-+000000001.log", "aof-0000000001.log.bak", "snapshot-0000000001.log"] {
            assert_eq!((segment_number(name), snapshot_number(name)), (None, None), "{name}");
        }
    }
}

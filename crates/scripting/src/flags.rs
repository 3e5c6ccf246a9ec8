//! What a script declares about itself: `#!lua flags=...` and the flags of a function.

/// Redis's names, each at the number of its bit; lists show them in this order.
const NAMES: [&str; 5] = ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];

/// A set of flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flags(u8);

impl Flags {
    /// Makes no writes, and may not.
    pub const NO_WRITES: Flags = Flags(1 << 0);
    /// May run, and write, above `maxmemory`.
    pub const ALLOW_OOM: Flags = Flags(1 << 1);
    /// May run on a replica that has lost its primary.
    pub const ALLOW_STALE: Flags = Flags(1 << 2);
    /// May not run in a cluster.
    pub const NO_CLUSTER: Flags = Flags(1 << 3);
    /// May access keys of several slots.
    pub const ALLOW_CROSS_SLOT: Flags = Flags(1 << 4);

    /// The flag of this exact name.
    pub fn by_name(name: &[u8]) -> Option<Flags> {
        NAMES.iter().position(|known| known.as_bytes() == name).map(|bit| Flags(1 << bit))
    }

    /// The flag of this name in any case, as functions give them.
    pub(crate) fn by_name_of_any_case(name: &[u8]) -> Option<Flags> {
        Flags::by_name(&name.to_ascii_lowercase())
    }

    /// True if every flag of `other` is set.
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// The names of the flags that are set, in Redis's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits_agree() {
        let all = [
            Flags::NO_WRITES,
            Flags::ALLOW_OOM,
            Flags::ALLOW_STALE,
            Flags::NO_CLUSTER,
            Flags::ALLOW_CROSS_SLOT,
        ];
        for (flag, name) in all.into_iter().zip(NAMES) {
            assert_eq!(Flags::by_name(name.as_bytes()), Some(flag));
            assert_eq!(flag.names().collect::<Vec<_>>(), [name]);
        }
        assert_eq!(Flags::by_name(b"No-Writes"), None);
        assert_eq!(Flags::by_name_of_any_case(b"No-Writes"), Some(Flags::NO_WRITES));
        let two = Flags::NO_WRITES.with(Flags::NO_CLUSTER);
        assert!(two.contains(Flags::NO_CLUSTER) && !two.contains(Flags::ALLOW_OOM));
    }
}

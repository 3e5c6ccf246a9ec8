//! The bit sets of a command row: flags, ACL categories and what a command does with its keys.
//!
//! Bit sets with named constants rather than slices of enums, so that a row is built in a `const` and a test of a
//! flag on the hot path is one AND. The names are those that COMMAND INFO prints; the order of the constants is
//! Redis 7.2's printing order.

macro_rules! bit_set {
    ($(#[$doc:meta])* $name:ident($inner:ty) { $($(#[$bit_doc:meta])* $bit:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $name($inner);

        impl $name {
            bit_set!(@bits $inner, 0; $($(#[$bit_doc])* $bit,)*);

            /// Every bit with its printed name, in printing order.
            pub const ALL: &'static [($name, &'static str)] = &[$(($name::$bit, $text)),*];

            /// No bit at all.
            pub const NONE: $name = $name(0);

            /// The union of both sets.
            pub const fn with(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }

            /// Whether every bit of `other` is in this set.
            #[inline]
            pub const fn has(self, other: $name) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any bit of `other` is in this set.
            #[inline]
            pub const fn has_any(self, other: $name) -> bool {
                self.0 & other.0 != 0
            }

            /// The printed names of the bits in this set, in printing order.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                $name::ALL.iter().filter(move |(bit, _)| self.has(*bit)).map(|(_, text)| *text)
            }

            /// The bit with this printed name, whatever its case.
            pub fn from_name(name: &[u8]) -> Option<$name> {
                $name::ALL.iter().find(|(_, text)| text.as_bytes().eq_ignore_ascii_case(name)).map(|(bit, _)| *bit)
            }
        }
    };
    (@bits $inner:ty, $at:expr; $(#[$bit_doc:meta])* $bit:ident, $($rest:tt)*) => {
        $(#[$bit_doc])*
        pub const $bit: Self = Self(1 << ($at));
        bit_set!(@bits $inner, $at + 1; $($rest)*);
    };
    (@bits $inner:ty, $at:expr;) => {};
}

bit_set! {
    /// The flags of a command, as COMMAND INFO prints them.
    Flags(u32) {
        /// May change keys.
        WRITE = "write",
        /// Only reads keys.
        READONLY = "readonly",
        /// Refused when memory is full and nothing may be evicted.
        DENYOOM = "denyoom",
        /// An operator's command.
        ADMIN = "admin",
        /// Belongs to pub/sub: allowed to a subscribed RESP2 client.
        PUBSUB = "pubsub",
        /// Not allowed in a script.
        NOSCRIPT = "noscript",
        /// May block the client.
        BLOCKING = "blocking",
        /// Allowed while data is being loaded.
        LOADING = "loading",
        /// Allowed on a replica whose data is stale.
        STALE = "stale",
        /// Not shown to MONITOR.
        SKIP_MONITOR = "skip_monitor",
        /// Not put in the slow log (it may hold secrets).
        SKIP_SLOWLOG = "skip_slowlog",
        /// Accepted on a slot that is being imported.
        ASKING = "asking",
        /// Constant or logarithmic time.
        FAST = "fast",
        /// Needs no authentication.
        NO_AUTH = "no_auth",
        /// May be replicated although it is not a write.
        MAY_REPLICATE = "may_replicate",
        /// May come without any key.
        NO_MANDATORY_KEYS = "no_mandatory_keys",
        /// Refused while data is loaded in the background.
        NO_ASYNC_LOADING = "no_async_loading",
        /// Not allowed inside MULTI.
        NO_MULTI = "no_multi",
        /// The key specifications do not name every key.
        MOVABLE_KEYS = "movablekeys",
        /// Allowed while a script runs too long.
        ALLOW_BUSY = "allow_busy",
    }
}

bit_set! {
    /// ACL categories, printed with an `@` before the name.
    Categories(u32) {
        /// Works on keys whatever their type.
        KEYSPACE = "keyspace",
        /// Writes (implied by the flag).
        READ = "read",
        /// Reads (implied by the flag).
        WRITE = "write",
        /// Sets.
        SET = "set",
        /// Sorted sets.
        SORTED_SET = "sortedset",
        /// Lists.
        LIST = "list",
        /// Hashes.
        HASH = "hash",
        /// Strings.
        STRING = "string",
        /// Bitmaps.
        BITMAP = "bitmap",
        /// HyperLogLog.
        HYPERLOGLOG = "hyperloglog",
        /// Geographical indexes.
        GEO = "geo",
        /// Streams.
        STREAM = "stream",
        /// Pub/sub (implied by the flag).
        PUBSUB = "pubsub",
        /// Administration (implied by the flag).
        ADMIN = "admin",
        /// Fast (implied by the flag).
        FAST = "fast",
        /// Not fast (implied by the missing flag).
        SLOW = "slow",
        /// May block (implied by the flag).
        BLOCKING = "blocking",
        /// Can harm the service (implied by ADMIN).
        DANGEROUS = "dangerous",
        /// The connection itself.
        CONNECTION = "connection",
        /// Transactions.
        TRANSACTION = "transaction",
        /// Scripts and functions.
        SCRIPTING = "scripting",
        /// Bloom filters.
        BLOOM = "bloom",
        /// Cuckoo filters.
        CUCKOO = "cuckoo",
    }
}

bit_set! {
    /// What a command does with the keys that one specification names, as COMMAND INFO prints it.
    KeyFlags(u16) {
        /// Reads the value, changes nothing.
        RO = "RO",
        /// Reads and changes the value.
        RW = "RW",
        /// Overwrites the value, whatever it was.
        OW = "OW",
        /// Removes the key.
        RM = "RM",
        /// The reply tells something about the content.
        ACCESS = "access",
        /// Changes the content.
        UPDATE = "update",
        /// Adds content without changing what is there.
        INSERT = "insert",
        /// Removes content.
        DELETE = "delete",
        /// Not a key, but routed like one (a shard channel).
        NOT_KEY = "not_key",
        /// May leave out some keys.
        INCOMPLETE = "incomplete",
        /// The flags depend on the arguments.
        VARIABLE_FLAGS = "variable_flags",
    }
}

impl Flags {
    /// The categories that these flags imply, by the rule of Redis's `setImplicitACLCategories`.
    pub const fn categories(self) -> Categories {
        let mut implied = Categories::NONE;
        if self.has(Flags::WRITE) {
            implied = implied.with(Categories::WRITE);
        }
        if self.has(Flags::READONLY) {
            implied = implied.with(Categories::READ);
        }
        if self.has(Flags::ADMIN) {
            implied = implied.with(Categories::ADMIN).with(Categories::DANGEROUS);
        }
        if self.has(Flags::PUBSUB) {
            implied = implied.with(Categories::PUBSUB);
        }
        if self.has(Flags::BLOCKING) {
            implied = implied.with(Categories::BLOCKING);
        }
        implied.with(if self.has(Flags::FAST) { Categories::FAST } else { Categories::SLOW })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_printing_order() {
        let flags = Flags::FAST.with(Flags::WRITE).with(Flags::DENYOOM);
        assert_eq!(flags.names().collect::<Vec<_>>(), ["write", "denyoom", "fast"]);
        assert!(flags.has(Flags::WRITE) && !flags.has(Flags::READONLY));
        assert_eq!(flags.categories().names().collect::<Vec<_>>(), ["write", "fast"]);
        let admin = Flags::ADMIN.categories();
        assert_eq!(admin.names().collect::<Vec<_>>(), ["admin", "slow", "dangerous"]);
        assert_eq!(Categories::from_name(b"SortedSet"), Some(Categories::SORTED_SET));
        assert_eq!(Categories::from_name(b"nosuch"), None);
    }
}

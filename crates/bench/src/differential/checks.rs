//! How the replies to a command are compared: exactly, unless the command may answer in any order or at random.

use super::value::Value;

/// A way to compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Check {
    /// The same in every byte.
    Exact,
    /// The same elements in any order.
    Unordered,
    /// The same pairs of elements in any order.
    UnorderedPairs,
    /// The same number, give or take the time that has passed: in seconds or milliseconds.
    Time {
        /// Milliseconds of one unit.
        unit_ms: u64,
    },
    /// The same but for times that are a server's own.
    ButTimes,
    /// The same type: figures of a server's own.
    Kind,
    /// Random elements of a collection that does not change; `probe` reads all of it.
    Random {
        /// What reads the collection.
        probe: Probe,
    },
    /// Random elements that are taken away.
    Pop,
    /// One step of a walk: both are walked to their ends.
    Walk {
        /// Where the cursor stands among the words.
        cursor: usize,
        /// How many elements belong together: 2 for a field and its value.
        group: usize,
    },
    /// A payload that the other server has to understand.
    Dump,
    /// The estimate of one sketch, which redis-server notes in the sketch itself.
    Estimate,
    /// The number of keys, among which a server may count some whose time is over.
    Size,
    /// The replies of a transaction, each compared as its command asks.
    Exec,
}

/// What reads a whole collection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Probe {
    /// All keys.
    Keys,
    /// A set.
    Members,
    /// A hash.
    Fields,
    /// A sorted set.
    Scores,
}

/// The check for a command.
pub(super) fn check_of(words: &[Vec<u8>]) -> Check {
    let name = words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    let second = words.get(1).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    match name.as_slice() {
        b"KEYS" | b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"HKEYS" | b"HVALS" => Check::Unordered,
        b"HGETALL" => Check::UnorderedPairs,
        b"TTL" | b"EXPIRETIME" => Check::Time { unit_ms: 1_000 },
        b"PTTL" | b"PEXPIRETIME" => Check::Time { unit_ms: 1 },
        b"SRANDMEMBER" => Check::Random { probe: Probe::Members },
        b"HRANDFIELD" => Check::Random { probe: Probe::Fields },
        b"ZRANDMEMBER" => Check::Random { probe: Probe::Scores },
        b"RANDOMKEY" => Check::Random { probe: Probe::Keys },
        b"SPOP" => Check::Pop,
        b"SCAN" => Check::Walk { cursor: 1, group: 1 },
        b"SSCAN" => Check::Walk { cursor: 2, group: 1 },
        b"HSCAN" | b"ZSCAN" => Check::Walk { cursor: 2, group: 2 },
        b"DUMP" => Check::Dump,
        b"PFCOUNT" if words.len() == 2 => Check::Estimate,
        b"DBSIZE" if words.len() == 1 => Check::Size,
        b"EXEC" => Check::Exec,
        b"XPENDING" | b"XINFO" => Check::ButTimes,
        b"COMMAND" if words.len() == 1 => Check::Kind,
        b"TIME" | b"LASTSAVE" | b"HELLO" | b"CONFIG" => Check::Kind,
        b"MEMORY" if second == b"USAGE" => Check::Kind,
        b"OBJECT" if second == b"IDLETIME" => Check::Kind,
        b"OBJECT" if second == b"FREQ" => Check::Kind,
        _ => Check::Exact,
    }
}

impl Check {
    /// Whether the command needs a conversation of its own, not only a reply.
    pub(super) fn is_conversation(self) -> bool {
        !matches!(
            self,
            Check::Exact
                | Check::Unordered
                | Check::UnorderedPairs
                | Check::Time { .. }
                | Check::ButTimes
                | Check::Kind
                | Check::Exec
        )
    }
}

impl Probe {
    /// The command that reads everything.
    pub(super) fn words(self, key: Option<&Vec<u8>>) -> Vec<Vec<u8>> {
        let key = key.cloned().unwrap_or_default();
        let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect();
        match self {
            Probe::Keys => words(&[b"KEYS", b"*"]),
            Probe::Members => words(&[b"SMEMBERS", &key]),
            Probe::Fields => words(&[b"HGETALL", &key]),
            Probe::Scores => words(&[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]),
        }
    }

    /// How many elements of the probe's reply belong together.
    pub(super) fn group(self) -> usize {
        if matches!(self, Probe::Fields | Probe::Scores) { 2 } else { 1 }
    }
}

/// The elements of a reply in groups, whether they came as pairs of their own, as a map or in one row.
pub(super) fn groups(value: &Value, group: usize) -> Vec<Vec<Value>> {
    let elements = value.elements().unwrap_or(std::slice::from_ref(value));
    if elements.iter().all(|element| element.elements().is_some()) {
        return elements.iter().filter_map(|element| element.elements().map(<[Value]>::to_vec)).collect();
    }
    elements.chunks(group.max(1)).map(<[Value]>::to_vec).collect()
}

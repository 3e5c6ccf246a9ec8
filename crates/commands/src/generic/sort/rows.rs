//! The rows of SORT and SORT_RO.

use super::{sort, sort_ro};
use crate::generic::ROW;
use crate::table::{Categories, Command, Find, Flags, KeyFlags, KeySpec, Keys, Run};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "sort",
        arity: -2,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::at(1, READ), DERIVED, STORE]),
        categories: TYPES,
        since: "1.0.0",
        complexity: COST,
        summary: "Sorts the elements in a list, a set, or a sorted set, optionally storing the result.",
        run: Run::Write(sort),
        ..ROW
    },
    Command {
        name: "sort_ro",
        arity: -2,
        flags: Flags::READONLY.with(Flags::MOVABLE_KEYS),
        keys: Keys(&[KeySpec::at(1, READ), DERIVED]),
        categories: TYPES,
        since: "7.0.0",
        complexity: COST,
        summary: "Returns the sorted elements of a list, a set, or a sorted set.",
        run: Run::Read(sort_ro),
        ..ROW
    },
];

const READ: KeyFlags = KeyFlags::RO.with(KeyFlags::ACCESS);
const TYPES: Categories =
    Categories::SET.with(Categories::SORTED_SET).with(Categories::LIST).with(Categories::DANGEROUS);
const COST: &str = "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of \
    returned elements. When the elements are not sorted, complexity is O(N).";
const DERIVED: KeySpec = KeySpec {
    first: 2,
    find: Find::Nowhere,
    flags: READ,
    notes: "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of \
        the key we sort",
};
const STORE: KeySpec = KeySpec {
    first: 2,
    find: Find::Option { word: "STORE", others: &[("LIMIT", 2), ("GET", 1), ("BY", 1)] },
    flags: KeyFlags::OW.with(KeyFlags::UPDATE),
    notes: "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the \
        argument array",
};

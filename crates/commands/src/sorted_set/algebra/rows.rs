//! The rows of unions, intersections and differences.

use super::{zdiff, zdiffstore, zinter, zintercard, zinterstore, zunion, zunionstore};
use crate::sorted_set::ROW;
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "zunion",
        since: "6.2.0",
        complexity: "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.",
        summary: "Returns the union of multiple sorted sets.",
        run: Run::Read(zunion),
        ..SHOWN
    },
    Command {
        name: "zinter",
        since: "6.2.0",
        complexity: INTERSECTION_COST,
        summary: "Returns the intersect of multiple sorted sets.",
        run: Run::Read(zinter),
        ..SHOWN
    },
    Command {
        name: "zdiff",
        since: "6.2.0",
        complexity: DIFFERENCE_COST,
        summary: "Returns the difference between multiple sorted sets.",
        run: Run::Read(zdiff),
        ..SHOWN
    },
    Command {
        name: "zintercard",
        since: "7.0.0",
        complexity: "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.",
        summary: "Returns the number of members of the intersect of multiple sorted sets.",
        run: Run::Read(zintercard),
        ..SHOWN
    },
    Command {
        name: "zunionstore",
        since: "2.0.0",
        complexity: "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.",
        summary: "Stores the union of multiple sorted sets in a key.",
        run: Run::Write(zunionstore),
        ..STORED
    },
    Command {
        name: "zinterstore",
        since: "2.0.0",
        complexity: INTERSECTION_COST,
        summary: "Stores the intersect of multiple sorted sets in a key.",
        run: Run::Write(zinterstore),
        ..STORED
    },
    Command {
        name: "zdiffstore",
        since: "6.2.0",
        complexity: DIFFERENCE_COST,
        summary: "Stores the difference of multiple sorted sets in a key.",
        run: Run::Write(zdiffstore),
        ..STORED
    },
];

const SHOWN: Command = Command {
    arity: -3,
    flags: Flags::READONLY.with(Flags::MOVABLE_KEYS),
    keys: Keys(&[KeySpec::counted(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
    ..ROW
};
const STORED: Command = Command {
    arity: -4,
    flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::MOVABLE_KEYS),
    keys: Keys(&[
        KeySpec::at(1, KeyFlags::OW.with(KeyFlags::UPDATE)),
        KeySpec::counted(2, KeyFlags::RO.with(KeyFlags::ACCESS)),
    ]),
    ..ROW
};
const INTERSECTION_COST: &str = "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.";
const DIFFERENCE_COST: &str = "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.";

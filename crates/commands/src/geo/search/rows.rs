//! The rows of searches.

use super::{georadius, georadius_ro, georadiusbymember, georadiusbymember_ro, geosearch, geosearchstore};
use crate::geo::ROW;
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "georadius",
        arity: -6,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::MOVABLE_KEYS),
        keys: Keys(&[
            KeySpec::at(1, READ),
            KeySpec::keyword(6, "STORE", OVERWRITE),
            KeySpec::keyword(6, "STOREDIST", OVERWRITE),
        ]),
        since: "3.2.0",
        complexity: RADIUS_COST,
        summary: "Queries a geospatial index for members within a distance from a coordinate, optionally stores the result.",
        run: Run::Write(georadius),
        ..ROW
    },
    Command {
        name: "georadiusbymember",
        arity: -5,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::MOVABLE_KEYS),
        keys: Keys(&[
            KeySpec::at(1, READ),
            KeySpec::keyword(5, "STORE", OVERWRITE),
            KeySpec::keyword(5, "STOREDIST", OVERWRITE),
        ]),
        since: "3.2.0",
        complexity: RADIUS_COST,
        summary: "Queries a geospatial index for members within a distance from a member, optionally stores the result.",
        run: Run::Write(georadiusbymember),
        ..ROW
    },
    Command {
        name: "georadius_ro",
        arity: -6,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, READ)]),
        since: "3.2.10",
        complexity: RADIUS_COST,
        summary: "Returns members from a geospatial index that are within a distance from a coordinate.",
        run: Run::Read(georadius_ro),
        ..ROW
    },
    Command {
        name: "georadiusbymember_ro",
        arity: -5,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, READ)]),
        since: "3.2.10",
        complexity: RADIUS_COST,
        summary: "Returns members from a geospatial index that are within a distance from a member.",
        run: Run::Read(georadiusbymember_ro),
        ..ROW
    },
    Command {
        name: "geosearch",
        arity: -7,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, READ)]),
        since: "6.2.0",
        complexity: SEARCH_COST,
        summary: "Queries a geospatial index for members inside an area of a box or a circle.",
        run: Run::Read(geosearch),
        ..ROW
    },
    Command {
        name: "geosearchstore",
        arity: -8,
        flags: Flags::WRITE.with(Flags::DENYOOM),
        keys: Keys(&[KeySpec::at(1, OVERWRITE), KeySpec::at(2, READ)]),
        since: "6.2.0",
        complexity: SEARCH_COST,
        summary: "Queries a geospatial index for members inside an area of a box or a circle, optionally stores the result.",
        run: Run::Write(geosearchstore),
        ..ROW
    },
];

const READ: KeyFlags = KeyFlags::RO.with(KeyFlags::ACCESS);
const OVERWRITE: KeyFlags = KeyFlags::OW.with(KeyFlags::UPDATE);
const RADIUS_COST: &str = "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.";
const SEARCH_COST: &str = "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape";

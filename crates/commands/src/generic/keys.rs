//! Commands that ask whether keys exist, or make them not to. All but TYPE span the cluster.

use super::ROW;
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Merge, Run};
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "del",
        arity: -2,
        flags: Flags::WRITE,
        keys: Keys(&[KeySpec::from(1, 1, KeyFlags::RM.with(KeyFlags::DELETE))]),
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys that will be removed. When a key to remove \
            holds a value other than a string, the individual complexity for this key is O(M) where M \
            is the number of elements in the list, set, sorted set or hash. Removing a single key that \
            holds a string value is O(1).",
        summary: "Deletes one or more keys.",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: Run::Fanout { local: &Run::Write(del), group: 1, merge: Merge::Sum },
        ..ROW
    },
    Command {
        name: "unlink",
        arity: -2,
        flags: Flags::WRITE.with(Flags::FAST),
        keys: Keys(&[KeySpec::from(1, 1, KeyFlags::RM.with(KeyFlags::DELETE))]),
        since: "4.0.0",
        complexity: "O(1) for each key removed regardless of its size. Then the command does O(N) work \
            in a different thread in order to reclaim memory, where N is the number of allocations the \
            deleted objects where composed of.",
        summary: "Asynchronously deletes one or more keys.",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: Run::Fanout { local: &Run::Write(unlink), group: 1, merge: Merge::Sum },
        ..ROW
    },
    Command {
        name: "exists",
        arity: -2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::from(1, 1, KeyFlags::RO)]),
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys to check.",
        summary: "Determines whether one or more keys exist.",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: Run::Fanout { local: &Run::Read(exists), group: 1, merge: Merge::Sum },
        ..ROW
    },
    Command {
        name: "touch",
        arity: -2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::from(1, 1, KeyFlags::RO)]),
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys that will be touched.",
        summary: "Returns the number of existing keys out of those specified after updating the time \
            they were last accessed.",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: Run::Fanout { local: &Run::Read(touch), group: 1, merge: Merge::Sum },
        ..ROW
    },
    Command {
        name: "type",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO)]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Determines the type of value stored at a key.",
        run: Run::Read(type_of),
        ..ROW
    },
];

fn del(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let mut removed = 0;
    for key in args.tail(1) {
        if ctx.peek(key).is_some() {
            ctx.remove(key);
            removed += 1;
        }
    }
    reply.integer(removed);
}

/// The same as DEL: the store never frees a large value under the partition's lock, whoever removes it.
fn unlink(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    del(ctx, args, reply);
}

fn exists(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.integer(args.tail(1).iter().filter(|key| ctx.peek(key).is_some()).count() as i64);
}

fn touch(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    // TOUCH asks for it, whatever the connection's NO-TOUCH mode says.
    ctx.touch = true;
    reply.integer(args.tail(1).iter().filter(|key| ctx.get(key).is_some()).count() as i64);
}

fn type_of(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.simple(ctx.peek(args.at(1)).map_or("none", |entry| entry.value().type_name()));
}

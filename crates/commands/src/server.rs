//! The server family: what an operator or a client library asks of a node. The rows are here; what needs more than a
//! few lines has a file of its own below or beside this one (CONFIG, SLOWLOG, LATENCY).

pub mod command;
pub mod info;
pub mod memory;
pub mod monitor;
mod persistence;
pub(crate) mod refused;
pub(crate) mod rows;

use crate::args::Args;
use crate::host::ShutdownMode;
use crate::info::REDIS_VERSION;
use crate::session::SessionCtx;
use crate::table::{Categories, Command, Flags, Run};
use protocol::Reply;
use rows::{
    ADMIN, EMPTY, LOADING_STALE, LOADING_STALE_FAST, NONDETERMINISTIC, NOT_AN_INTEGER, SESSION, SYNTAX_ERROR,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    crate::acl::ACL,
    persistence::BGREWRITEAOF,
    persistence::BGSAVE,
    command::COMMAND,
    Command {
        name: "info",
        arity: -1,
        flags: LOADING_STALE,
        categories: Categories::DANGEROUS,
        since: "1.0.0",
        summary: "Returns information and statistics about the server.",
        tips: rows::ALL_SHARDS_SPECIAL,
        run: Run::Session(info::info),
        ..EMPTY
    },
    persistence::LASTSAVE,
    Command {
        name: "lolwut",
        arity: -1,
        flags: Flags::READONLY.with(Flags::FAST),
        since: "5.0.0",
        complexity: "O(N) where N is the number of nodes",
        summary: "Displays computer art and the Redis version",
        run: Run::Session(lolwut),
        ..EMPTY
    },
    memory::MEMORY,
    monitor::MONITOR,
    Command {
        name: "role",
        flags: SESSION.with(Flags::FAST),
        categories: Categories::ADMIN.with(Categories::DANGEROUS),
        since: "2.8.12",
        summary: "Returns the replication role.",
        run: Run::Session(role),
        ..EMPTY
    },
    persistence::SAVE,
    Command {
        name: "shutdown",
        arity: -1,
        flags: ADMIN.with(Flags::NO_MULTI).with(Flags::ALLOW_BUSY),
        since: "1.0.0",
        complexity: "O(N) when saving, where N is the total number of keys in all databases when saving data, \
                     otherwise O(1)",
        summary: "Synchronously saves the database(s) to disk and shuts down the Redis server.",
        run: Run::Session(shutdown),
        ..EMPTY
    },
    Command {
        name: "time",
        flags: LOADING_STALE_FAST,
        since: "2.6.0",
        summary: "Returns the server time.",
        tips: NONDETERMINISTIC,
        run: Run::Session(time),
        ..EMPTY
    },
];

/// `TIME`: seconds and microseconds, as strings. The wall clock has a resolution of a millisecond.
fn time(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let now = ctx.host.wall().0;
    reply.array(2);
    reply.bulk((now / 1_000).to_string().as_bytes());
    reply.bulk((now % 1_000 * 1_000).to_string().as_bytes());
}

/// `ROLE`: towards clients every node is a master; its replicas are the nodes that copy its partitions.
fn role(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let replication = ctx.host.info().replication;
    reply.array(3);
    reply.bulk(b"master");
    reply.integer(replication.offset as i64);
    reply.array(replication.replicas.len());
    for replica in &replication.replicas {
        reply.array(3);
        reply.bulk(replica.host.as_bytes());
        reply.bulk(replica.port.to_string().as_bytes());
        reply.bulk(replica.offset.to_string().as_bytes());
    }
}

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE]` or `SHUTDOWN ABORT`. A shutdown that begins has no reply: the connection
/// ends.
fn shutdown(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let (mut mode, mut abort) = (ShutdownMode::default(), false);
    let (mut save, mut nosave) = (false, false);
    for at in 1..args.len() {
        if args.is(at, "nosave") {
            nosave = true;
        } else if args.is(at, "save") {
            save = true;
        } else if args.is(at, "now") {
            mode.now = true;
        } else if args.is(at, "force") {
            mode.force = true;
        } else if args.is(at, "abort") {
            abort = true;
        } else {
            return reply.error(SYNTAX_ERROR);
        }
    }
    if (save && nosave) || (abort && (save || nosave || mode.now || mode.force)) {
        return reply.error(SYNTAX_ERROR);
    }
    if abort {
        return if ctx.host.abort_shutdown() {
            reply.ok();
        } else {
            reply.error("ERR No shutdown in progress.");
        };
    }
    mode.save = (save || nosave).then_some(save);
    if let Err(reason) = ctx.host.shutdown(mode) {
        reply.error(&format!("ERR {reason}"));
    }
}

/// Characters that stand for a slot range's primary in [`lolwut`].
const RING_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Columns and rows of the picture.
const RING_SIZE: (usize, usize) = (33, 17);

/// `LOLWUT [VERSION version]`: the ring as it is now, a letter for each primary, and the version.
fn lolwut(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    if args.is(1, "version") && args.len() > 2 && protocol::parse_i64(args.at(2)).is_none() {
        return reply.error(NOT_AN_INTEGER);
    }
    let view = ctx.host.cluster_view();
    let (columns, rows) = RING_SIZE;
    let mut text = String::with_capacity((columns + 1) * rows + 64);
    for row in 0..rows {
        let line: String = (0..columns).map(|column| ring_cell(&view, column, row)).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str(&format!("\nRedis ver. {REDIS_VERSION}\n"));
    reply.verbatim("txt", text.as_bytes());
}

fn ring_cell(view: &crate::host::ClusterView, column: usize, row: usize) -> char {
    let (columns, rows) = RING_SIZE;
    // Distances from the centre, in rows: a character is about twice as high as it is wide.
    let x = (column as f64 - (columns / 2) as f64) / 2.0;
    let y = row as f64 - (rows / 2) as f64;
    let radius = (rows / 2) as f64;
    if !(radius - 2.5..=radius + 0.3).contains(&x.hypot(y)) {
        return ' ';
    }
    // Clockwise from the top, a full turn being all slots.
    let turn = (x.atan2(-y) / std::f64::consts::TAU).rem_euclid(1.0);
    let slot = (turn * f64::from(stdx::crc16::SLOTS)) as u16;
    let range = view.ranges.iter().find(|range| range.first.0 <= slot && slot <= range.last.0);
    range.map_or('.', |range| char::from(RING_LETTERS[range.primary % RING_LETTERS.len()]))
}

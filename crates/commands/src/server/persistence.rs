//! Saving: SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, and what INFO tells of it.
//!
//! A snapshot and a rewritten append-only file are the same thing here: all data as it is, after which older files are not
//! needed. So BGSAVE and BGREWRITEAOF do the same, and each says so in its own words.

use super::info::Text;
use super::rows::{EMPTY, LOADING_STALE_FAST, NONDETERMINISTIC, SYNTAX_ERROR};
use crate::args::Args;
use crate::host::SaveError;
use crate::info::{InfoData, PersistenceInfo};
use crate::session::SessionCtx;
use crate::table::{Categories, Command, Flags, Run};
use protocol::Reply;

/// Flags of commands that save.
const SAVING: Flags = Flags::NOSCRIPT.with(Flags::ADMIN).with(Flags::NO_ASYNC_LOADING);
const IN_PROGRESS: &str = "ERR Background save already in progress";

pub(super) const BGREWRITEAOF: Command = Command {
    name: "bgrewriteaof",
    flags: SAVING,
    since: "1.0.0",
    summary: "Asynchronously rewrites the append-only file to disk.",
    run: Run::Session(bgrewriteaof),
    ..EMPTY
};

pub(super) const BGSAVE: Command = Command {
    name: "bgsave",
    arity: -1,
    flags: SAVING,
    since: "1.0.0",
    summary: "Asynchronously saves the database(s) to disk.",
    run: Run::Session(bgsave),
    ..EMPTY
};

pub(super) const LASTSAVE: Command = Command {
    name: "lastsave",
    flags: LOADING_STALE_FAST,
    categories: Categories::ADMIN.with(Categories::DANGEROUS),
    since: "1.0.0",
    summary: "Returns the Unix timestamp of the last successful save to disk.",
    tips: NONDETERMINISTIC,
    run: Run::Session(lastsave),
    ..EMPTY
};

pub(super) const SAVE: Command = Command {
    name: "save",
    flags: SAVING.with(Flags::NO_MULTI),
    since: "1.0.0",
    complexity: "O(N) where N is the total number of keys in all databases",
    summary: "Synchronously saves the database(s) to disk.",
    run: Run::Session(save),
    ..EMPTY
};

fn refuse(reply: &mut Reply<'_>, error: &SaveError, in_progress: &str) {
    match error {
        SaveError::InProgress => reply.error(in_progress),
        SaveError::Failed(reason) => reply.error(&format!("ERR {reason}")),
    }
}

/// `BGREWRITEAOF`.
fn bgrewriteaof(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    match ctx.host.save(false) {
        Ok(()) => reply.simple("Background append only file rewriting started"),
        Err(error) => {
            refuse(reply, &error, "ERR Background append only file rewriting already in progress");
        }
    }
}

/// `BGSAVE [SCHEDULE]`: with SCHEDULE, a save under way will do.
fn bgsave(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let schedule = args.len() == 2 && args.is(1, "schedule");
    if args.len() > 1 && !schedule {
        return reply.error(SYNTAX_ERROR);
    }
    match ctx.host.save(false) {
        Ok(()) => reply.simple("Background saving started"),
        Err(SaveError::InProgress) if schedule => reply.simple("Background saving scheduled"),
        Err(error) => refuse(reply, &error, IN_PROGRESS),
    }
}

/// `SAVE`: nothing else runs on this thread meanwhile.
fn save(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    match ctx.host.save(true) {
        Ok(()) => reply.ok(),
        Err(error) => refuse(reply, &error, IN_PROGRESS),
    }
}

/// `LASTSAVE`: before the first save, the start, as in Redis.
fn lastsave(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    reply.integer(last_save_unix_seconds(&ctx.host.info()) as i64);
}

fn last_save_unix_seconds(data: &InfoData) -> u64 {
    let started = || super::info::started_unix_seconds(data);
    data.persistence.last_save.map_or_else(started, |at| at.0 / 1_000)
}

/// `# Persistence`.
pub(super) fn section(out: &mut Text, data: &InfoData) {
    let PersistenceInfo { loading, log, saving, .. } = &data.persistence;
    out.field("loading", u8::from(loading.is_some()));
    if let Some(loading) = loading {
        out.field("loading_start_time", loading.started.0 / 1_000);
        out.field("loading_total_bytes", loading.total_bytes);
        out.field("loading_loaded_bytes", loading.loaded_bytes);
        let share = loading.loaded_bytes as f64 / loading.total_bytes.max(1) as f64;
        out.field("loading_loaded_perc", format_args!("{:.2}", share * 100.0));
        let spent = data.server.now.0.saturating_sub(loading.started.0) as f64 / 1_000.0;
        let eta = if share > 0.0 { (spent / share - spent).ceil() as u64 } else { 1 };
        out.field("loading_eta_seconds", eta.max(1));
    }
    out.zeros(&["async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    out.field("current_fork_perc", "0.00");
    out.field("current_save_keys_processed", saving.partitions_done);
    out.field("current_save_keys_total", saving.partitions);
    out.field("rdb_changes_since_last_save", saving.changes);
    out.field("rdb_bgsave_in_progress", u8::from(saving.since.is_some()));
    out.field("rdb_last_save_time", last_save_unix_seconds(data));
    let status = |ok: bool| if ok { "ok" } else { "err" };
    let seconds = |spent: Option<std::time::Duration>| spent.map_or(-1, |spent| spent.as_secs() as i64);
    out.field("rdb_last_bgsave_status", status(!saving.failed));
    out.field("rdb_last_bgsave_time_sec", seconds(saving.took));
    out.field("rdb_current_bgsave_time_sec", seconds(saving.since));
    out.field("rdb_saves", saving.saves);
    out.zeros(&["rdb_last_cow_size", "rdb_last_load_keys_expired"]);
    out.field("rdb_last_load_keys_loaded", data.persistence.keys_loaded);
    out.field("aof_enabled", u8::from(log.is_some()));
    out.field("aof_rewrite_in_progress", u8::from(log.is_some() && saving.since.is_some()));
    out.zeros(&["aof_rewrite_scheduled"]);
    out.field("aof_last_rewrite_time_sec", seconds(saving.took));
    out.field("aof_current_rewrite_time_sec", seconds(saving.since));
    out.field("aof_last_bgrewrite_status", status(!saving.failed));
    out.field("aof_rewrites", saving.saves);
    out.field("aof_rewrites_consecutive_failures", u8::from(saving.failed));
    let fenced = log.as_ref().and_then(|log| log.failure.as_deref());
    out.field("aof_last_write_status", status(fenced.is_none()));
    out.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    if let Some(log) = log {
        out.field("aof_current_size", log.bytes);
        out.field("aof_base_size", log.base_bytes);
        out.zeros(&["aof_pending_rewrite"]);
        out.field("aof_buffer_length", log.buffered_bytes);
        out.zeros(&["aof_pending_bio_fsync", "aof_delayed_fsync"]);
        if let Some(failure) = fenced {
            out.field("aof_failure", failure);
        }
    }
}

//! CLIENT LIST, INFO and KILL: one line per connection, and filters over connections.
//!
//! The host gives every connection of the node as data; choosing and printing happen here, on the same record, so
//! that LIST and KILL cannot disagree about what a filter means.

use crate::args::Args;
use crate::host::{ClientFlags, ClientInfo, ClientKind};
use crate::server::rows::SYNTAX_ERROR;
use crate::session::SessionCtx;
use protocol::Reply;

const INVALID_ID: &str = "ERR Invalid client ID";

/// `CLIENT INFO`.
pub(super) fn info(ctx: &mut SessionCtx<'_>, _: Args<'_>, reply: &mut Reply<'_>) {
    let text = line(&ctx.session.describe(ctx.host.mono()));
    reply.verbatim("txt", text.as_bytes());
}

/// `CLIENT LIST [TYPE type] [ID id [id ...]]`.
pub(super) fn list(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let mut clients = clients(ctx);
    if args.len() == 4 && args.is(2, "type") {
        match kind(args.at(3)) {
            Ok(kind) => clients.retain(|client| Some(client.kind) == kind),
            Err(error) => return reply.error(&error),
        }
    } else if args.len() > 3 && args.is(2, "id") {
        let mut ids = Vec::with_capacity(args.len() - 3);
        for word in args.tail(3) {
            let Some(id) = protocol::parse_i64(word) else { return reply.error(INVALID_ID) };
            ids.push(id);
        }
        clients.retain(|client| i64::try_from(client.id).is_ok_and(|id| ids.contains(&id)));
    } else if args.len() != 2 {
        return reply.error(SYNTAX_ERROR);
    }
    let text: String = clients.iter().map(line).collect();
    reply.verbatim("txt", text.as_bytes());
}

/// `CLIENT KILL addr`, or `CLIENT KILL option value [option value ...]`.
pub(super) fn kill(ctx: &mut SessionCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let old_form = args.len() == 3;
    let filter = if old_form {
        Filter { addr: Some(args.at(2)), skip_me: false, ..Filter::default() }
    } else {
        match Filter::parse(ctx, args) {
            Ok(filter) => filter,
            Err(error) => return reply.error(&error),
        }
    };
    let mine = ctx.session.id;
    let mut killed = 0;
    for client in clients(ctx) {
        if !filter.matches(&client) || (filter.skip_me && client.id == mine) {
            continue;
        }
        if client.id == mine {
            // The reply still goes out, as in Redis.
            ctx.session.close_after_reply = true;
            killed += 1;
        } else if ctx.host.kill_client(client.id) {
            killed += 1;
        }
    }
    match (old_form, killed) {
        (true, 0) => reply.error("ERR No such client"),
        (true, _) => reply.ok(),
        (false, _) => reply.integer(killed),
    }
}

/// What `CLIENT KILL` looks for: everything that is given must hold.
struct Filter<'a> {
    id: Option<u64>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    /// `Some(None)` is a class that exists in Redis and has no member here.
    kind: Option<Option<ClientKind>>,
    user: Option<&'a [u8]>,
    age_seconds_min: Option<u64>,
    skip_me: bool,
}

impl Default for Filter<'_> {
    fn default() -> Self {
        Filter {
            id: None,
            addr: None,
            laddr: None,
            kind: None,
            user: None,
            age_seconds_min: None,
            skip_me: true,
        }
    }
}

impl<'a> Filter<'a> {
    fn parse(ctx: &SessionCtx<'_>, args: Args<'a>) -> Result<Filter<'a>, String> {
        let mut filter = Filter::default();
        let mut at = 2;
        while at < args.len() {
            let Some(value) = args.get(at + 1) else { return Err(SYNTAX_ERROR.to_owned()) };
            if args.is(at, "id") {
                filter.id = Some(positive(value).ok_or("ERR client-id should be greater than 0")?);
            } else if args.is(at, "maxage") {
                let not_a_number = "ERR maxage is not an integer or out of range";
                protocol::parse_i64(value).ok_or(not_a_number)?;
                filter.age_seconds_min = Some(positive(value).ok_or("ERR maxage should be greater than 0")?);
            } else if args.is(at, "type") {
                filter.kind = Some(kind(value)?);
            } else if args.is(at, "addr") {
                filter.addr = Some(value);
            } else if args.is(at, "laddr") {
                filter.laddr = Some(value);
            } else if args.is(at, "user") {
                if ctx.host.users().get(value).is_none() {
                    return Err(format!("ERR No such user '{}'", String::from_utf8_lossy(value)));
                }
                filter.user = Some(value);
            } else if args.is(at, "skipme") && args.is(at + 1, "yes") {
                filter.skip_me = true;
            } else if args.is(at, "skipme") && args.is(at + 1, "no") {
                filter.skip_me = false;
            } else {
                return Err(SYNTAX_ERROR.to_owned());
            }
            at += 2;
        }
        Ok(filter)
    }

    fn matches(&self, client: &ClientInfo) -> bool {
        self.id.is_none_or(|id| client.id == id)
            && self.addr.is_none_or(|addr| client.addr.as_bytes() == addr)
            && self.laddr.is_none_or(|laddr| client.laddr.as_bytes() == laddr)
            && self.kind.is_none_or(|kind| kind == Some(client.kind))
            && self.user.is_none_or(|user| client.user.as_bytes() == user)
            && self.age_seconds_min.is_none_or(|age| client.age_seconds >= age)
    }
}

fn positive(word: &[u8]) -> Option<u64> {
    protocol::parse_i64(word).and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

/// A class by name; `None` for Redis's classes of replication links, which are not client connections here.
fn kind(word: &[u8]) -> Result<Option<ClientKind>, String> {
    match word.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Some(ClientKind::Normal)),
        b"pubsub" => Ok(Some(ClientKind::Pubsub)),
        b"master" | b"slave" | b"replica" => Ok(None),
        _ => Err(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(word))),
    }
}

/// The connections of this node by number, the caller's as it is now.
fn clients(ctx: &SessionCtx<'_>) -> Vec<ClientInfo> {
    let mut clients = ctx.host.clients();
    clients.retain(|client| client.id != ctx.session.id);
    clients.push(ctx.session.describe(ctx.host.mono()));
    clients.sort_by_key(|client| client.id);
    clients
}

/// One line of `CLIENT LIST`, its newline included; fields as Redis 7.2's `catClientInfoString`.
pub fn line(client: &ClientInfo) -> String {
    let buffers = &client.buffers;
    let total = buffers.query + buffers.query_free + buffers.reply_capacity + buffers.reply + buffers.multi;
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} \
         qbuf={} qbuf-free={} argv-mem=0 multi-mem={} rbs={} rbp={} obl={} oll=0 omem=0 tot-mem={total} events={} \
         cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}\n",
        client.id,
        client.addr,
        client.laddr,
        client.fd,
        String::from_utf8_lossy(&client.name),
        client.age_seconds,
        client.idle_seconds,
        flag_letters(client.flags),
        client.db,
        client.channels,
        client.patterns,
        client.shard_channels,
        client.multi_len.map_or(-1, |queued| queued as i64),
        buffers.query,
        buffers.query_free,
        buffers.multi,
        buffers.reply_capacity,
        buffers.reply,
        buffers.reply,
        if buffers.reply > 0 { "rw" } else { "r" },
        if client.command.is_empty() { "NULL" } else { client.command },
        client.user,
        client.version.number(),
        String::from_utf8_lossy(&client.lib_name),
        String::from_utf8_lossy(&client.lib_ver),
    )
}

fn flag_letters(flags: ClientFlags) -> String {
    let letters = [
        (flags.monitoring, 'O'),
        (flags.pubsub, 'P'),
        (flags.transaction, 'x'),
        (flags.blocked, 'b'),
        (flags.closing, 'c'),
        (flags.readonly, 'r'),
        (flags.no_evict, 'e'),
        (flags.no_touch, 'T'),
    ];
    let text: String = letters.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
    if text.is_empty() { "N".to_owned() } else { text }
}

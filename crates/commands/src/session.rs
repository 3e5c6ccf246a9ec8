//! What one client connection is to the commands: plain data, no I/O.
//!
//! The node owns a `Session` per connection and lends it to handlers through [`SessionCtx`]; everything that is not
//! the session itself is asked of the [`Host`]. A transaction's queue and the watched keys live in the node: the
//! session only says whether there is one, so that a handler (`RESET`) can end it by clearing the flag, and `CLIENT
//! LIST` can print it. The node looks at the flags after every command.

use crate::acl::User;
use crate::host::{ClientFlags, ClientInfo, ClientKind, Host};
use protocol::Version;
use std::collections::BTreeSet;
use std::sync::Arc;
use stdx::Mono;

/// The state of one connection that commands may read and change.
#[derive(Clone, Debug)]
pub struct Session {
    /// Number of the connection on this node, from 1, never reused.
    pub id: u64,
    /// Selected database, 0 to 15.
    pub db: u8,
    /// Protocol version that replies are written in.
    pub version: Version,
    /// `CLIENT SETNAME`; empty when unnamed.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO LIB-NAME`.
    pub lib_name: Vec<u8>,
    /// `CLIENT SETINFO LIB-VER`.
    pub lib_ver: Vec<u8>,
    /// May run commands other than those without authentication (HELLO, AUTH, QUIT, RESET).
    pub authenticated: bool,
    /// The user as it was when the node last looked.
    pub user: Arc<User>,
    /// The users' generation at that time, for the node.
    pub users_seen: u64,
    /// The peer, `host:port`.
    pub addr: String,
    /// Our end, `host:port`.
    pub laddr: String,
    /// File descriptor, as `CLIENT LIST` prints it; -1 when the connection has none.
    pub fd: i32,
    /// When the connection was accepted.
    pub created: Mono,
    /// When its last command arrived.
    pub last_interaction: Mono,
    /// Full name of its last command (`client|list`); empty before the first.
    pub last_command: &'static str,
    /// `CLIENT NO-EVICT ON`.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH ON`: reads do not touch access clocks.
    pub no_touch: bool,
    /// `CLIENT REPLY`.
    pub reply_mode: ReplyMode,
    /// `MONITOR`: it listens to the commands of the node. Cleared by `RESET`: the node then forgets it.
    pub monitoring: bool,
    /// `READONLY`: the client accepts reads from a replica.
    pub readonly: bool,
    /// `ASKING`: holds for the next command only; the node clears it.
    pub asking: bool,
    /// Between `MULTI` and `EXEC`. Cleared by `RESET`: the node then drops the queue.
    pub in_multi: bool,
    /// Commands queued since `MULTI`.
    pub multi_len: usize,
    /// Keys watched. Set to 0 by `RESET`: the node then forgets them.
    pub watching: usize,
    /// Waits in a blocking command.
    pub blocked: bool,
    /// What it is subscribed to.
    pub subscriptions: Subscriptions,
    /// The connection closes once the replies so far are written.
    pub close_after_reply: bool,
    /// Sizes of the connection's buffers, kept up to date by the connection.
    pub buffers: Buffers,
}

/// Whether replies are sent (`CLIENT REPLY`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplyMode {
    /// Every reply is sent.
    #[default]
    On,
    /// No reply is sent.
    Off,
    /// The reply of the next command is not sent; when it begins the node moves on to `SkipNow`.
    SkipNext,
    /// The reply of the command that runs now is not sent; when it ends the node moves back to `On`.
    SkipNow,
}

/// Names of channels and patterns a session listens to, in the order they are confirmed in by `UNSUBSCRIBE`.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    /// `SUBSCRIBE`.
    pub channels: BTreeSet<Vec<u8>>,
    /// `PSUBSCRIBE`.
    pub patterns: BTreeSet<Vec<u8>>,
    /// `SSUBSCRIBE`.
    pub shard_channels: BTreeSet<Vec<u8>>,
}

/// Bytes in a connection's buffers, as `CLIENT LIST` prints them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Buffers {
    /// Unparsed request bytes.
    pub query: usize,
    /// Room left in the request buffer.
    pub query_free: usize,
    /// Capacity of the reply buffer.
    pub reply_capacity: usize,
    /// Reply bytes not yet written.
    pub reply: usize,
    /// Bytes of queued commands of a transaction.
    pub multi: usize,
}

/// The sort of thing subscribed to or published on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChannelKind {
    /// A channel by name.
    Channel,
    /// A glob pattern over channel names.
    Pattern,
    /// A shard channel: a space of names of its own.
    Shard,
}

impl Session {
    /// A session that has just been accepted: RESP2, database 0, the default user.
    pub fn new(id: u64, addr: String, laddr: String, now: Mono, default_user: Arc<User>) -> Session {
        Session {
            id,
            db: 0,
            version: Version::Resp2,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            authenticated: default_user.is_open(),
            user: default_user,
            users_seen: 0,
            addr,
            laddr,
            fd: -1,
            created: now,
            last_interaction: now,
            last_command: "",
            no_evict: false,
            no_touch: false,
            reply_mode: ReplyMode::On,
            monitoring: false,
            readonly: false,
            asking: false,
            in_multi: false,
            multi_len: 0,
            watching: 0,
            blocked: false,
            subscriptions: Subscriptions::default(),
            close_after_reply: false,
            buffers: Buffers::default(),
        }
    }

    /// Whether only the subscription commands may run now: subscribed, and the protocol cannot tell pushes apart.
    pub fn restricted_by_subscription(&self) -> bool {
        self.version == Version::Resp2 && self.subscriptions.total() > 0
    }

    /// What `CLIENT LIST` prints of this session.
    pub fn describe(&self, now: Mono) -> ClientInfo {
        let subscribed = self.subscriptions.total() > 0;
        ClientInfo {
            id: self.id,
            addr: self.addr.clone(),
            laddr: self.laddr.clone(),
            fd: self.fd,
            name: self.name.clone(),
            age_seconds: now.since(self.created).as_secs(),
            idle_seconds: now.since(self.last_interaction).as_secs(),
            kind: if subscribed { ClientKind::Pubsub } else { ClientKind::Normal },
            flags: ClientFlags {
                blocked: self.blocked,
                closing: self.close_after_reply,
                monitoring: self.monitoring,
                no_evict: self.no_evict,
                no_touch: self.no_touch,
                pubsub: subscribed,
                readonly: self.readonly,
                transaction: self.in_multi,
            },
            db: self.db,
            channels: self.subscriptions.channels.len(),
            patterns: self.subscriptions.patterns.len(),
            shard_channels: self.subscriptions.shard_channels.len(),
            multi_len: self.in_multi.then_some(self.multi_len),
            buffers: self.buffers,
            command: self.last_command,
            user: String::from_utf8_lossy(self.user.name()).into_owned(),
            version: self.version,
            lib_name: self.lib_name.clone(),
            lib_ver: self.lib_ver.clone(),
        }
    }
}

impl Subscriptions {
    /// Adds a name; false if it was there already.
    pub fn insert(&mut self, kind: ChannelKind, name: &[u8]) -> bool {
        let names = self.names_mut(kind);
        !names.contains(name) && names.insert(name.to_vec())
    }

    /// Takes a name out; false if it was not there.
    pub fn remove(&mut self, kind: ChannelKind, name: &[u8]) -> bool {
        self.names_mut(kind).remove(name)
    }

    /// Takes all names of one kind out.
    pub fn take(&mut self, kind: ChannelKind) -> BTreeSet<Vec<u8>> {
        std::mem::take(self.names_mut(kind))
    }

    /// The names of one kind.
    pub fn names(&self, kind: ChannelKind) -> &BTreeSet<Vec<u8>> {
        match kind {
            ChannelKind::Channel => &self.channels,
            ChannelKind::Pattern => &self.patterns,
            ChannelKind::Shard => &self.shard_channels,
        }
    }

    /// The number that a confirmation of this kind carries: channels and patterns count together, shard channels
    /// apart.
    pub fn confirmed_count(&self, kind: ChannelKind) -> usize {
        match kind {
            ChannelKind::Channel | ChannelKind::Pattern => self.channels.len() + self.patterns.len(),
            ChannelKind::Shard => self.shard_channels.len(),
        }
    }

    /// All subscriptions of every kind.
    pub fn total(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    fn names_mut(&mut self, kind: ChannelKind) -> &mut BTreeSet<Vec<u8>> {
        match kind {
            ChannelKind::Channel => &mut self.channels,
            ChannelKind::Pattern => &mut self.patterns,
            ChannelKind::Shard => &mut self.shard_channels,
        }
    }
}

/// What a `Run::Session` handler works on.
pub struct SessionCtx<'a> {
    /// The connection that sent the command.
    pub session: &'a mut Session,
    /// The node it is connected to.
    pub host: &'a mut dyn Host,
}

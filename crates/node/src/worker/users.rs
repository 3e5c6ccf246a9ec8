//! Changes of users, and connections whose users have changed.
//!
//! `ACL SETUSER` is worked out here against the users as they are, proposed to the cluster, and planned anew if somebody was
//! faster. Once it is agreed on, all nodes that can be reached are asked to say when they follow it; then the client has its reply.
//! So what was taken from a user is taken everywhere, and `AUTH` as a new user works on every node.

use super::Worker;
use super::dispatch::{Meta, Outcome, Routes};
use super::gather::{Gathering, Kind};
use crate::connection::Connection;
use crate::frame::{Request, Scope, Words};
use crate::stats::Counter;
use crate::target::{Delivery, Key, Mail, Owner, Target};
use crate::users::{UsersOutcome, update_of};
use commands::acl::{Denial, LogContext, Reason, Refused, User, outlives_subscriptions};
use commands::table::UsersFn;
use commands::{Args, Command};
use protocol::{Reply, Version};
use std::sync::Arc;
use std::time::Duration;
use stdx::NodeId;

/// Longest wait for other nodes to follow a change that is agreed on: one that is cut off follows when it is back.
const FOLLOW_MAX: Duration = Duration::from_secs(1);

/// A proposal that has been answered.
pub(crate) struct UsersAnswered {
    pub(crate) outcome: UsersOutcome,
    /// The command, to be planned anew.
    request: Request,
    target: Target,
    deadline: stdx::Mono,
    /// The reply when all has been done.
    reply: Vec<u8>,
}

impl Worker {
    /// Plans a change of users and proposes it.
    pub(super) fn attempt_users(
        &mut self,
        plan: UsersFn,
        args: Args<'_>,
        meta: &Meta<'_>,
        target: Target,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let expected = self.shared.users.version();
        let planned = plan(&self.host(None), args);
        let plan = match planned {
            Ok(plan) => plan,
            Err(text) => {
                Reply::new(out, meta.version).error(&text);
                return Outcome::Ready;
            }
        };
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, meta.version);
        match plan.count {
            Some(count) => reply.integer(count),
            None => reply.ok(),
        }
        if plan.change.users.is_empty() && !plan.change.replaces {
            out.extend_from_slice(&bytes);
            return Outcome::Ready;
        }
        let (shared, worker) = (Arc::clone(&self.shared), self.index);
        let (request, deadline) = (meta.request(args), meta.deadline);
        let answer = Box::new(move |outcome| {
            let answered = UsersAnswered { outcome, request, target, deadline, reply: bytes };
            shared.post(worker, Mail::Users(Box::new(answered)));
        });
        self.shared.platform.propose_users(update_of(&plan.change, expected), answer);
        Outcome::Held
    }

    /// A proposal was answered.
    pub(super) fn users_answered(&mut self, answered: UsersAnswered) {
        let UsersAnswered { outcome, request, target, deadline, reply } = answered;
        match outcome {
            UsersOutcome::Agreed(version) => self.await_followers(version, target, reply),
            UsersOutcome::Stale => self.hold(request, target, deadline),
            UsersOutcome::Failed(reason) => {
                let mut bytes = Vec::new();
                let text = format!("ERR the users could not be changed: {reason}");
                Reply::new(&mut bytes, request.version).error(&text);
                self.deliveries.push_back((target, Delivery::Bytes(bytes)));
            }
        }
    }

    /// Asks every node that is alive to say when it follows this version.
    fn await_followers(&mut self, version: u64, target: Target, reply: Vec<u8>) {
        let me = self.routing.me;
        let members = self.routing.map.members.values();
        let others: Vec<NodeId> = members
            .filter(|member| member.is_alive() && member.node != me)
            .map(|member| member.node)
            .collect();
        let kind = Kind::Users { reply };
        let gathering = Gathering::new(target, Version::Resp2, kind, others.len() + 1);
        let gathering = self.gatherings.insert(gathering);
        let command = commands::table::lookup(b"acl|setuser").expect("ACL SETUSER is in the table");
        let request = Request {
            scope: Scope::Users,
            db: 0,
            version: Version::Resp2,
            touch: false,
            partitions: Vec::new(),
            words: Words::copy_of(&[version.to_string().as_bytes()]),
        };
        let deadline = self.now + FOLLOW_MAX;
        self.start_part(gathering, 0, command, request.clone(), deadline);
        for (part, node) in (1..).zip(others) {
            let target = self.target(Owner::Gathering(gathering), part);
            match self.link_to(node) {
                Some(link) => self.forward(link, Routes::new(), request.clone(), target, deadline),
                None => self.deliveries.push_back((target, Delivery::Bytes(Vec::new()))),
            }
        }
    }

    /// Whether this node follows the version of a request of [`Scope::Users`].
    pub(super) fn follows(&self, args: Args<'_>) -> bool {
        let wanted = protocol::parse_i64(args.name()).and_then(|version| u64::try_from(version).ok());
        wanted.is_some_and(|version| self.shared.users.version() >= version)
    }

    /// Looks at every connection after the users have changed.
    pub(super) fn refresh_users(&mut self) {
        let generation = self.shared.users.generation();
        if std::mem::replace(&mut self.users_seen, generation) == generation {
            return;
        }
        for key in self.connections.keys() {
            let Some(mut connection) = self.connections.get_mut(key).and_then(Option::take) else { continue };
            self.refresh_user(key, &mut connection);
            let closes = connection.closing;
            if let Some(place) = self.connections.get_mut(key) {
                *place = Some(connection);
            }
            if closes {
                self.queue_flush(key);
            }
        }
    }

    /// Takes over what its user is now. A connection whose user is gone, or that listens to what its user may no longer
    /// hear, ends once it has what it was promised.
    pub(super) fn refresh_user(&self, key: Key, connection: &mut Connection) {
        let generation = self.shared.users.generation();
        let session = &mut connection.session;
        if session.users_seen == generation {
            return;
        }
        session.users_seen = generation;
        let users = self.shared.users.users();
        let is_over = match users.get(session.user.name()) {
            Some(user) if Arc::ptr_eq(user, &session.user) => false,
            Some(user) => {
                session.user = Arc::clone(user);
                !outlives_subscriptions(user, &session.subscriptions)
            }
            None => {
                (session.user, session.authenticated) = (Arc::clone(users.default_user()), false);
                true
            }
        };
        if is_over {
            connection.closing = true;
            connection.killed |= self.blocked_connections.contains_key(&key);
        } else if Arc::ptr_eq(&session.user, users.default_user()) {
            // Connected while it had a password, which is wanted no longer.
            session.authenticated |= session.user.is_open();
        }
    }

    /// Notes a command that was refused to a connection's user.
    #[cold]
    pub(super) fn note_denial(&self, connection: &Connection, denial: &Denial, context: LogContext) {
        let client = commands::client::list::line(&connection.session.describe(self.now));
        let user = connection.session.user.name();
        self.refused(Refused::command(denial, user, context, client.trim_end().to_owned()));
    }

    /// The error of a command that has waited for data, if the user who waits may run it no longer.
    pub(super) fn refusal_of_blocked(
        &self,
        target: Target,
        command: &Command,
        args: Args<'_>,
    ) -> Option<String> {
        let Owner::Connection(key) = target.owner else { return None };
        // While it is being served, it was checked a moment ago.
        let connection = self.connections.get(key)?.as_deref()?;
        let users = self.shared.users.users();
        let user = users.get(connection.session.user.name())?;
        let denial = commands::acl::check_command(user, command, args).err()?;
        self.note_denial(connection, &denial, LogContext::Toplevel);
        Some(denial.error(user))
    }

    /// Whether `user` may run a command that comes from outside the connections; the error is the whole error reply.
    pub(super) fn check_call(&self, user: &User, command: &Command, args: Args<'_>) -> Result<(), String> {
        commands::acl::check_command(user, command, args).map_err(|denial| {
            let context = LogContext::Toplevel;
            self.refused(Refused::command(&denial, user.name(), context, "id=0 name=http".to_owned()));
            denial.error(user)
        })
    }

    fn refused(&self, refused: Refused) {
        self.stat(denied(refused.reason), 1);
        self.shared.users.log.lock().add(refused, self.wall, self.limits.acl_log_len_max);
    }
}

/// What counts a refusal.
pub(crate) fn denied(reason: Reason) -> Counter {
    match reason {
        Reason::Auth => Counter::DeniedAuthentications,
        Reason::Command => Counter::DeniedCommands,
        Reason::Key => Counter::DeniedKeys,
        Reason::Channel => Counter::DeniedChannels,
    }
}

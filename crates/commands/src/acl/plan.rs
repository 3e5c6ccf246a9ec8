//! Changes of users: worked out at the node that was asked, against the users as it knows them, then agreed on by the cluster.
//!
//! A plan is made of what users are to be, not of rules, so that it has the same outcome on every node. If the users have
//! changed meanwhile it is refused and made anew.

use super::user::{DEFAULT_USER, User};
use super::users::Users;
use crate::args::Args;
use crate::host::Host;

const NO_FILE: &str = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the \
     ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to \
     store users in the Redis configuration.";
const NOT_SAVED: &str =
    "ERR There was an error trying to save the ACLs. Please check the server logs for more information";

/// What users are to become.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UsersChange {
    /// All users but these are to go.
    pub replaces: bool,
    /// Name and description, or `None` for one that is to go.
    pub users: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A change, and the reply once it has happened: `OK`, or a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The change.
    pub change: UsersChange,
    /// The number to reply.
    pub count: Option<i64>,
}

impl Plan {
    fn ok(change: UsersChange) -> Plan {
        Plan { change, count: None }
    }
}

/// `ACL SETUSER name [rule ...]`.
pub(super) fn set_user(host: &dyn Host, args: Args<'_>) -> Result<Plan, String> {
    let user = host.users().changed(args.at(2), args.tail(3), host.all_channels_by_default())?;
    let users = vec![(user.name().to_vec(), Some(user.rules()))];
    Ok(Plan::ok(UsersChange { replaces: false, users }))
}

/// `ACL DELUSER name [name ...]`: all of them or, if one is the default user, none.
pub(super) fn delete_users(host: &dyn Host, args: Args<'_>) -> Result<Plan, String> {
    if args.tail(2).contains(&DEFAULT_USER) {
        return Err("ERR The 'default' user cannot be removed".to_owned());
    }
    let mut left: Users = (*host.users()).clone();
    let gone = args.tail(2).iter().filter(|name| left.remove(name));
    let users: Vec<_> = gone.map(|name| (name.to_vec(), None)).collect();
    let count = Some(users.len() as i64);
    Ok(Plan { change: UsersChange { replaces: false, users }, count })
}

/// `ACL LOAD`: the users of this node's file become the users of the cluster.
pub(super) fn load(host: &dyn Host, _: Args<'_>) -> Result<Plan, String> {
    let path = host.users_file().ok_or_else(|| NO_FILE.to_owned())?;
    let text = host
        .read_users()
        .map_err(|error| format!("ERR Error loading ACLs, opening file '{path}': {error}"))?;
    let users = Users::from_file(&path, &text, host.all_channels_by_default())
        .map_err(|error| format!("ERR {error}"))?;
    let described = |user: &std::sync::Arc<User>| (user.name().to_vec(), Some(user.rules()));
    Ok(Plan::ok(UsersChange { replaces: true, users: users.iter().map(described).collect() }))
}

/// `ACL SAVE`: the users go into this node's file.
pub(super) fn save(host: &mut dyn Host) -> Result<(), String> {
    if host.users_file().is_none() {
        return Err(NO_FILE.to_owned());
    }
    let text = host.users().to_file();
    host.save_users(&text).map_err(|_logged| NOT_SAVED.to_owned())
}

impl UsersChange {
    /// Makes the change. The error names a description that this version cannot read; nothing has happened then.
    pub fn apply(&self, users: &Users) -> Result<Users, String> {
        let mut changed = if self.replaces { Users::default() } else { users.clone() };
        for (name, description) in &self.users {
            match description {
                Some(description) => changed.put_described(name, description)?,
                None => {
                    changed.remove(name);
                }
            }
        }
        Ok(changed)
    }
}

//! The users of this node: those of its configuration, and over them what the cluster has agreed on.
//!
//! Readers keep an immutable table. A change replaces it and raises the *generation*, which every connection compares
//! before it runs something: so nobody runs anything under permissions that have been taken away, and looking costs one load.

use cluster::map::{UserTable, UserUpdate};
use commands::acl::{AclLog, User, Users, UsersChange};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a proposal to change users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UsersOutcome {
    /// Agreed on, as this version of the table.
    Agreed(u64),
    /// The users had changed meanwhile.
    Stale,
    /// Not agreed on, or not known to be; why.
    Failed(String),
}

/// Gets the outcome of a proposal, exactly once, on any thread.
pub type UsersAnswer = Box<dyn FnOnce(UsersOutcome) + Send>;

/// Users and the log of what was refused.
pub(crate) struct UserState {
    generation: AtomicU64,
    users: RwLock<Arc<Users>>,
    /// What of the map is in `users`.
    agreed: Mutex<UserTable>,
    pub(crate) log: Mutex<AclLog>,
}

impl UserState {
    pub(crate) fn new(first: Users) -> UserState {
        UserState {
            generation: AtomicU64::new(0),
            users: RwLock::new(Arc::new(first)),
            agreed: Mutex::default(),
            log: Mutex::default(),
        }
    }

    /// Changes with the users. To be read before them.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users.read())
    }

    /// Version of the cluster's table that is in force here.
    pub(crate) fn version(&self) -> u64 {
        self.agreed.lock().version
    }

    /// Takes over what the cluster has agreed on; whether anything is new.
    pub(crate) fn follow(&self, table: &UserTable) -> bool {
        let mut agreed = self.agreed.lock();
        if table.version <= agreed.version {
            return false;
        }
        let is_whole = table.whole_since > agreed.version;
        let mut users = if is_whole { Users::default() } else { (*self.users()).clone() };
        let is_new = |name: &String| is_whole || agreed.users.get(name) != table.users.get(name);
        for (name, description) in table.users.iter().filter(|(name, _)| is_new(name)) {
            let (name, description) = (decode(name), description.as_deref().map(decode));
            match description {
                None => {
                    users.remove(&name);
                }
                // From a version that knows more: better nothing than too much.
                Some(text) if users.put_described(&name, &text).is_err() => {
                    users.put(User::new(&name, false));
                }
                Some(_) => {}
            }
        }
        for name in agreed.users.keys().filter(|name| !table.users.contains_key(*name)) {
            users.remove(&decode(name));
        }
        *agreed = table.clone();
        self.replace(users);
        true
    }

    /// Gives the default user of this node a password, or none (`requirepass`).
    pub(crate) fn set_default_password(&self, password: &[u8]) {
        let _order = self.agreed.lock();
        let mut users = (*self.users()).clone();
        users.set_default_password(password);
        self.replace(users);
    }

    fn replace(&self, users: Users) {
        *self.users.write() = Arc::new(users);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// A change as it is proposed to the cluster.
pub(crate) fn update_of(change: &UsersChange, expected: u64) -> UserUpdate {
    let own = |(name, rules): &(Vec<u8>, Option<Vec<u8>>)| (encode(name), rules.as_deref().map(encode));
    UserUpdate { expected, replaces: change.replaces, users: change.users.iter().map(own).collect() }
}

/// Names and patterns are bytes, the map is text: one character for each byte.
fn encode(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn decode(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character).unwrap_or(b'?')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn table(version: u64, whole_since: u64, users: &[(&str, Option<&str>)]) -> UserTable {
        let own = |(name, text): &(&str, Option<&str>)| ((*name).to_owned(), text.map(str::to_owned));
        UserTable { version, whole_since, users: users.iter().map(own).collect::<BTreeMap<_, _>>() }
    }

    fn names(state: &UserState) -> Vec<String> {
        state.users().iter().map(|user| String::from_utf8_lossy(user.name()).into_owned()).collect()
    }

    #[test]
    fn what_was_agreed_lies_over_the_own_users() {
        let mut first = Users::default();
        first.put(User::new(b"own", false));
        let state = UserState::new(first);
        assert!(state.follow(&table(2, 0, &[("a", Some("on +get")), ("gone", None)])));
        assert!(!state.follow(&table(2, 0, &[])), "an old one");
        assert_eq!(
            (names(&state), state.generation()),
            (vec!["a".into(), "default".into(), "own".into()], 1)
        );
        state.set_default_password(b"x");
        assert!(state.follow(&table(3, 0, &[("a", Some("on +get")), ("b", Some("on +of-a-later-version"))])));
        assert!(!state.users().default_user().is_open(), "set by this node's configuration");
        assert!(!state.users().get(b"b").expect("there").is_enabled());
        assert!(state.follow(&table(4, 4, &[("c", Some("on")), ("default", Some("on nopass +@all"))])));
        assert_eq!(names(&state), ["c", "default"]);
        assert!(state.follow(&table(5, 4, &[("default", Some("on nopass +@all"))])));
        assert_eq!(names(&state), ["default"]);
    }

    #[test]
    fn bytes_survive_as_text() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), all);
    }
}

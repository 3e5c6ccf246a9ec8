//! The users that the cluster has agreed on, for whoever checks permissions: to the map they are text.
//!
//! Only what was changed while the cluster ran is here; every node begins with the users of its own configuration and lays
//! these over them. So a node that joins, or comes back, has what was decided meanwhile.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{ClusterMap, Refusal};

/// Most bytes of all names and descriptions together: the table travels in every snapshot of the map.
pub const USERS_BYTES_MAX: usize = 1 << 20;

/// The users that were changed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UserTable {
    /// Raised by one with every change.
    pub version: u64,
    /// The version in which all users were replaced last; 0: never. From then on the nodes' own users do not count.
    pub whole_since: u64,
    /// Names with descriptions; `None` for one that is not to be, whatever a node's configuration says.
    pub users: BTreeMap<String, Option<String>>,
}

/// A change of some users, or of all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UserUpdate {
    /// The table's version that it was worked out from; at another one it is refused.
    pub expected: u64,
    /// These are all users from now on.
    pub replaces: bool,
    /// Names with descriptions; `None` for one that goes.
    pub users: Vec<(String, Option<String>)>,
}

impl UserTable {
    /// Whether nothing was ever changed.
    pub fn is_untouched(&self) -> bool {
        self.version == 0
    }

    /// Whether it is what `update` left behind: then the update has come twice.
    fn is_result_of(&self, update: &UserUpdate) -> bool {
        self.version == update.expected + 1
            && (!update.replaces || self.whole_since == self.version)
            && update
                .users
                .iter()
                .all(|(name, description)| self.users.get(name).cloned().flatten() == *description)
    }

    fn bytes(&self) -> usize {
        let of = |(name, description): (&String, &Option<String>)| {
            name.len() + description.as_ref().map_or(0, String::len)
        };
        self.users.iter().map(of).sum()
    }
}

impl ClusterMap {
    /// Changes users; whether anything has changed.
    pub(super) fn set_users(&mut self, update: &UserUpdate) -> Result<bool, Refusal> {
        if self.users.is_result_of(update) {
            return Ok(false);
        }
        if self.users.version != update.expected {
            return Err(Refusal::StaleUsers);
        }
        let mut table = self.users.clone();
        table.version += 1;
        if update.replaces {
            table.users.clear();
            table.whole_since = table.version;
        }
        for (name, description) in &update.users {
            // Where nodes' own users do not count, none of them has to be taken out.
            if description.is_none() && table.whole_since > 0 {
                table.users.remove(name);
            } else {
                table.users.insert(name.clone(), description.clone());
            }
        }
        if table.bytes() > USERS_BYTES_MAX {
            return Err(Refusal::Invalid);
        }
        self.users = table;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::MapCommand;

    fn update(expected: u64, replaces: bool, users: &[(&str, Option<&str>)]) -> MapCommand {
        let own = |(name, text): &(&str, Option<&str>)| ((*name).to_owned(), text.map(str::to_owned));
        MapCommand::SetUsers(UserUpdate { expected, replaces, users: users.iter().map(own).collect() })
    }

    #[test]
    fn users_change_in_order_and_once() {
        let mut map = ClusterMap::default();
        map.apply(&MapCommand::Bootstrap { cluster_id: 1, partitions: 1, replication_factor: 1 });
        let version = map.version;
        let first = update(0, false, &[("a", Some("on")), ("b", None)]);
        assert_eq!(map.apply(&first).refused, None);
        assert_eq!(map.apply(&first).refused, None, "a proposal may come twice");
        assert_eq!((map.users.version, map.version.0), (1, version.0 + 1));
        assert_eq!(map.apply(&update(0, false, &[("a", Some("off"))])).refused, Some(Refusal::StaleUsers));
        map.apply(&update(1, true, &[("c", Some("on"))]));
        assert_eq!((map.users.whole_since, map.users.users.len()), (2, 1));
        map.apply(&update(2, false, &[("c", None)]));
        assert!(map.users.users.is_empty() && map.users.version == 3);
        let long = "x".repeat(USERS_BYTES_MAX + 1);
        assert_eq!(map.apply(&update(3, false, &[("d", Some(&long))])).refused, Some(Refusal::Invalid));
        let text = serde_json::to_string(&map).expect("plain data");
        assert_eq!(serde_json::from_str::<ClusterMap>(&text).expect("its own text"), map);
    }
}

//! The users of a node: a table that is never changed in place, so that a reader keeps what it has.

use super::rule::{has_blanks, merge_selectors};
use super::user::{DEFAULT_USER, User};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All users, by name; the default user is always among them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Users(BTreeMap<Vec<u8>, Arc<User>>);

impl Default for Users {
    fn default() -> Users {
        Users(BTreeMap::from([(DEFAULT_USER.to_vec(), Arc::new(User::unrestricted()))]))
    }
}

impl Users {
    /// The user of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.0.get(name)
    }

    /// The user of connections that have not authenticated as another.
    pub fn default_user(&self) -> &Arc<User> {
        self.get(DEFAULT_USER).expect("the default user cannot be removed")
    }

    /// All of them, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.0.values()
    }

    /// The user of this name and password.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        self.get(name).filter(|user| user.admits(password)).cloned()
    }

    /// Adds a user, or replaces the one of its name.
    pub fn put(&mut self, user: User) {
        self.0.insert(user.name().to_vec(), Arc::new(user));
    }

    /// Takes a user out; never the default one.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        name != DEFAULT_USER && self.0.remove(name).is_some()
    }

    /// The user that `ACL SETUSER name rules...` makes; the error is a whole error reply.
    pub fn changed(&self, name: &[u8], rules: &[&[u8]], all_channels: bool) -> Result<User, String> {
        if has_blanks(name) {
            return Err("ERR Usernames can't contain spaces or null characters".to_owned());
        }
        let rules = merge_selectors(rules).map_err(|word| {
            let word = String::from_utf8_lossy(word);
            format!("ERR Unmatched parenthesis in acl selector starting at '{word}'.")
        })?;
        let mut user = self.get(name).map_or_else(|| User::new(name, all_channels), |user| (**user).clone());
        for rule in &rules {
            user.apply(rule, all_channels).map_err(|error| {
                let rule = String::from_utf8_lossy(rule);
                format!("ERR Error in ACL SETUSER modifier '{rule}': {error}")
            })?;
        }
        Ok(user)
    }

    /// Gives the default user this password alone, or none (`requirepass`).
    pub fn set_default_password(&mut self, password: &[u8]) {
        let mut user = (**self.default_user()).clone();
        let rule = [b">", password].concat();
        let rules: [&[u8]; 2] =
            if password.is_empty() { [b"resetpass", b"nopass"] } else { [b"resetpass", &rule] };
        for rule in rules {
            user.apply(rule, false).expect("these rules are always right");
        }
        self.put(user);
    }

    /// Adds or replaces the user that a description (`on ~* +@all`) makes.
    pub fn put_described(&mut self, name: &[u8], description: &[u8]) -> Result<(), String> {
        self.put(described(name, description, false)?);
        Ok(())
    }

    /// The lines of an ACL file.
    pub fn to_file(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for user in self.iter() {
            text.extend_from_slice(&[b"user ", user.name(), b" ", &user.rules()].concat());
            text.push(b'\n');
        }
        text
    }

    /// Reads an ACL file, called `path` in errors. All mistakes are told together, in Redis's words.
    pub fn from_file(path: &str, text: &[u8], all_channels: bool) -> Result<Users, String> {
        let (mut users, mut errors) = (Users::default(), String::new());
        let mut seen = std::collections::BTreeSet::new();
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            match file_line(path, number, line, all_channels) {
                Ok(user) if !seen.insert(user.name().to_vec()) => {
                    let name = String::from_utf8_lossy(user.name());
                    errors.push_str(&format!("WARNING: Duplicate user '{name}' found on line {number}. "));
                }
                Ok(user) => users.put(user),
                Err(error) => errors.push_str(&error),
            }
        }
        if errors.is_empty() {
            return Ok(users);
        }
        Err(errors
            + "WARNING: ACL errors detected, no change to the previously active ACL rules was performed")
    }
}

/// A user as `ACL LIST` shows it.
pub fn line(user: &User) -> Vec<u8> {
    [b"user ", user.name(), b" ", &user.describe()].concat()
}

/// The user that a description makes; the error is the rule and what is wrong with it.
pub fn described(name: &[u8], description: &[u8], all_channels: bool) -> Result<User, String> {
    let words: Vec<&[u8]> = description.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    let rules = merge_selectors(&words)
        .map_err(|word| format!("Unmatched parenthesis in '{}'", String::from_utf8_lossy(word)))?;
    let mut user = User::new(name, all_channels);
    for rule in &rules {
        user.apply(rule, all_channels)
            .map_err(|error| format!("'{}': {error}", String::from_utf8_lossy(rule)))?;
    }
    Ok(user)
}

fn file_line(path: &str, number: usize, line: &[u8], all_channels: bool) -> Result<User, String> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [b"user", name, rules @ ..] = &words[..] else {
        return Err(format!("{path}:{number} should start with user keyword followed by the username. "));
    };
    if has_blanks(name) {
        let name = String::from_utf8_lossy(name);
        return Err(format!("'{path}:{number}: username '{name}' contains invalid characters. "));
    }
    let rules = merge_selectors(rules)
        .map_err(|_| format!("{path}:{number}: Unmatched parenthesis in selector definition."))?;
    let (mut user, mut errors, mut has_other) = (User::new(name, all_channels), String::new(), false);
    for rule in &rules {
        match user.apply(rule.trim_ascii(), all_channels) {
            Ok(()) => {}
            Err(error @ super::RuleError::Unknown) => {
                let rule = String::from_utf8_lossy(rule);
                errors.push_str(&format!("{path}:{number}: Error in applying operation '{rule}': {error}. "));
            }
            // Only the first: it may be the cause of the others. The rule may be a secret.
            Err(error) if !std::mem::replace(&mut has_other, true) => {
                errors.push_str(&format!("{path}:{number}: {error}. "));
            }
            Err(_) => {}
        }
    }
    if errors.is_empty() { Ok(user) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(users: &Users, line: &str) -> Result<User, String> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        users.changed(words[0], &words[1..], false)
    }

    #[test]
    fn a_description_makes_the_same_user() {
        let mut users = Users::default();
        for line in [
            "a on >x ~k* %R~r %RW~* ~z +@read -get +config|get",
            "b (+get ~x) (+set",
            "c off &ch -@all allkeys",
        ] {
            if let Ok(user) = changed(&users, line) {
                users.put(user);
            }
        }
        assert_eq!(users.iter().len(), 3, "b has an error");
        for user in users.iter() {
            let again = described(user.name(), &user.rules(), true).expect("its own description");
            assert_eq!(again, **user);
        }
        assert_eq!(Users::from_file("f", &users.to_file(), false), Ok(users));
    }

    #[test]
    fn errors() {
        let users = Users::default();
        let check =
            |line: &str, error: &str| assert_eq!(changed(&users, line), Err(error.to_owned()), "{line}");
        check(
            "a +nosuch",
            "ERR Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in ACL",
        );
        check("a on (+get ~x", "ERR Unmatched parenthesis in acl selector starting at '(+get'.");
        check("a\t on", "ERR Usernames can't contain spaces or null characters");
        let file = b"user a on\n\nusr b\nuser a off\nuser c +nosuch ~* ~a >ok\n";
        let expected = "f:3 should start with user keyword followed by the username. \
             WARNING: Duplicate user 'a' found on line 4. \
             f:5: Error in applying operation '+nosuch': Unknown command or category name in ACL. \
             f:5: Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
             effect. Try 'resetkeys' to start with an empty list of patterns. \
             WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
        assert_eq!(Users::from_file("f", file, false), Err(expected.to_owned()));
    }

    #[test]
    fn the_default_user_stays() {
        let mut users = Users::default();
        assert!(!users.remove(DEFAULT_USER));
        users.set_default_password(b"secret");
        assert!(users.authenticate(DEFAULT_USER, b"secret").is_some() && !users.default_user().is_open());
        assert!(users.authenticate(DEFAULT_USER, b"").is_none() && users.authenticate(b"x", b"").is_none());
        users.set_default_password(b"");
        assert!(users.default_user().is_open());
    }
}

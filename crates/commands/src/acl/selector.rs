//! A selector: one set of permissions of a user. A command is allowed if any of its user's selectors allows it as a whole.

use super::permitted::Permitted;
use super::rule::{RuleError, has_blanks};
use crate::args::Args;
use crate::flags::{Flags, KeyFlags};
use crate::glob;
use crate::table::Command;

/// What may be done with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Access {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Access {
    const BOTH: Access = Access { read: true, write: true };

    /// What a command does with a key. Whoever neither learns nor changes anything of its content (`EXISTS` does learn
    /// whether it is there, which Redis does not count) needs neither.
    pub(super) fn of(flags: KeyFlags) -> Access {
        const WRITES: KeyFlags = KeyFlags::INSERT.with(KeyFlags::DELETE).with(KeyFlags::UPDATE);
        Access { read: flags.has(KeyFlags::ACCESS), write: flags.has_any(WRITES) }
    }

    fn covers(self, wanted: Access) -> bool {
        (self.read || !wanted.read) && (self.write || !wanted.write)
    }

    fn with(self, other: Access) -> Access {
        Access { read: self.read || other.read, write: self.write || other.write }
    }
}

/// A key that a command names, by its index among the words, and what it does with it.
pub(super) type KeyUse = (usize, Access);
/// A channel that a command names, by its index, and whether it is a pattern.
pub(super) type ChannelUse = (usize, bool);

/// What a description is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// To be shown, as Redis does.
    Shown,
    /// To be read again. Redis shows `%RW~*` as `~*`, behind which it reads no other pattern.
    Stored,
}

/// Why a selector does not allow a command. The order is that in which Redis prefers them in its error.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// The command itself.
    Command,
    /// A key.
    Key,
    /// A failed authentication: only in the log.
    Auth,
    /// A channel.
    Channel,
}

/// One set of permissions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Selector {
    pub(super) commands: Permitted,
    /// `None`: all keys.
    keys: Option<Vec<(Access, Vec<u8>)>>,
    /// `None`: all channels.
    channels: Option<Vec<Vec<u8>>>,
}

impl Selector {
    /// Nothing, but perhaps all channels (`acl-pubsub-default`).
    pub(super) fn none(all_channels: bool) -> Selector {
        Selector {
            commands: Permitted::none(),
            keys: Some(Vec::new()),
            channels: if all_channels { None } else { Some(Vec::new()) },
        }
    }

    /// Everything.
    pub(super) fn all() -> Selector {
        Selector { commands: Permitted::all(), keys: None, channels: None }
    }

    /// Whether nothing at all has to be checked.
    pub(super) fn is_unrestricted(&self) -> bool {
        self.commands.is_all() && self.keys.is_none() && self.channels.is_none()
    }

    /// Applies one rule.
    pub(super) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => self.keys = None,
            b"resetkeys" => self.keys = Some(Vec::new()),
            b"allchannels" | b"&*" => self.channels = None,
            b"resetchannels" => self.channels = Some(Vec::new()),
            b"allcommands" | b"+@all" => self.commands = Permitted::all(),
            b"nocommands" | b"-@all" => self.commands = Permitted::none(),
            _ => match rule {
                [b'~', pattern @ ..] => return self.add_keys(Access::BOTH, pattern),
                [b'%', rest @ ..] => {
                    let (access, pattern) = access(rest, self.keys.is_none())?;
                    return self.add_keys(access, pattern);
                }
                [b'&', pattern @ ..] => return self.add_channels(pattern),
                [b'+' | b'-', ..] => return self.commands.apply(rule),
                _ => return Err(RuleError::Syntax),
            },
        }
        Ok(())
    }

    fn add_keys(&mut self, access: Access, pattern: &[u8]) -> Result<(), RuleError> {
        let keys = self.keys.as_mut().ok_or(RuleError::AllKeys)?;
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match keys.iter_mut().find(|(_, old)| old == pattern) {
            Some((old, _)) => *old = old.with(access),
            None => keys.push((access, pattern.to_vec())),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        let channels = self.channels.as_mut().ok_or(RuleError::AllChannels)?;
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        if !channels.iter().any(|old| old == pattern) {
            channels.push(pattern.to_vec());
        }
        Ok(())
    }

    /// Whether a command may run; if not, why, and the index of the word that it is about.
    pub(super) fn check(
        &self,
        command: &Command,
        args: Args<'_>,
        keys: &[KeyUse],
        channels: &[ChannelUse],
    ) -> Result<(), (Reason, usize)> {
        if !command.flags.has(Flags::NO_AUTH) && !self.commands.allows(command, args.get(1)) {
            return Err((Reason::Command, 0));
        }
        let word = |index: usize| args.get(index).unwrap_or_default();
        if let Some((index, _)) = keys.iter().find(|(index, access)| !self.allows_key(word(*index), *access))
        {
            return Err((Reason::Key, *index));
        }
        match channels.iter().find(|(index, is_pattern)| !self.allows_channel(word(*index), *is_pattern)) {
            Some((index, _)) => Err((Reason::Channel, *index)),
            None => Ok(()),
        }
    }

    fn allows_key(&self, key: &[u8], wanted: Access) -> bool {
        let Some(patterns) = &self.keys else { return true };
        patterns.iter().any(|(access, pattern)| access.covers(wanted) && glob::matches(pattern, key))
    }

    /// A pattern of PSUBSCRIBE is allowed only if it stands among the patterns to the letter.
    pub(super) fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let Some(patterns) = &self.channels else { return true };
        patterns.iter().any(
            |pattern| {
                if is_pattern { pattern == channel } else { glob::matches(pattern, channel) }
            },
        )
    }

    /// `keys` of `ACL GETUSER`.
    pub(super) fn describe_keys(&self, form: Form) -> Vec<u8> {
        let Some(patterns) = &self.keys else { return b"~*".to_vec() };
        let words = patterns.iter().map(|(access, pattern)| {
            let prefix: &[u8] = match (access.read, access.write) {
                (true, false) => b"%R~",
                (false, true) => b"%W~",
                _ if form == Form::Stored && pattern == b"*" => b"%RW~",
                _ => b"~",
            };
            [prefix, pattern].concat()
        });
        words.collect::<Vec<_>>().join(&b' ')
    }

    /// `channels` of `ACL GETUSER`.
    pub(super) fn describe_channels(&self) -> Vec<u8> {
        let Some(patterns) = &self.channels else { return b"&*".to_vec() };
        patterns.iter().map(|pattern| [b"&", &pattern[..]].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// The whole, as `ACL LIST` prints it.
    pub(super) fn describe(&self, form: Form) -> Vec<u8> {
        let mut text = self.describe_keys(form);
        if !text.is_empty() {
            text.push(b' ');
        }
        if self.channels.is_some() {
            text.extend_from_slice(b"resetchannels ");
        }
        let channels = self.describe_channels();
        text.extend_from_slice(&channels);
        if !channels.is_empty() {
            text.push(b' ');
        }
        text.extend_from_slice(&self.commands.describe());
        text
    }
}

/// The letters and the pattern of `%RW~pattern`, without the percent sign.
fn access(rest: &[u8], has_all_keys: bool) -> Result<(Access, &[u8]), RuleError> {
    if has_all_keys {
        return Err(RuleError::AllKeys);
    }
    let mut access = Access { read: false, write: false };
    for (index, letter) in rest.iter().enumerate() {
        match letter.to_ascii_uppercase() {
            b'R' if !access.read => access.read = true,
            b'W' if !access.write => access.write = true,
            b'~' if access.read || access.write => {
                return Ok((access, rest.get(index + 1..).unwrap_or_default()));
            }
            _ => return Err(RuleError::Syntax),
        }
    }
    // Letters without a tilde: the empty pattern, as Redis reads it.
    if access.read || access.write { Ok((access, &[])) } else { Err(RuleError::Syntax) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(rules: &str) -> Result<Selector, RuleError> {
        let mut selector = Selector::none(false);
        rules.split_whitespace().try_for_each(|rule| selector.apply(rule.as_bytes()))?;
        Ok(selector)
    }

    #[test]
    fn patterns_are_kept_once_and_described() {
        let check = |rules: &str, expected: &str| {
            let text = selector(rules)
                .map(|selector| String::from_utf8_lossy(&selector.describe(Form::Shown)).into_owned());
            assert_eq!(text.as_deref(), Ok(expected), "{rules}");
        };
        check("", "resetchannels -@all");
        check("~a %R~b %W~b %RW~c %r~d ~a", "~a ~b ~c %R~d resetchannels -@all");
        check("~a allkeys &x &x &y", "~* resetchannels &x &y -@all");
        check("~* resetkeys &x allchannels +@all", "&* +@all");
        assert_eq!(selector("~* ~a"), Err(RuleError::AllKeys));
        assert_eq!(selector("~* %Q~a"), Err(RuleError::AllKeys));
        assert_eq!(selector("&* &a"), Err(RuleError::AllChannels));
        assert_eq!(selector("%~a"), Err(RuleError::Syntax));
        assert_eq!(selector("%RR~a"), Err(RuleError::Syntax));
        assert_eq!(selector("nosuch"), Err(RuleError::Syntax));
    }
}

//! Which commands a selector allows: a bit for each row of the table, and the words that set them.
//!
//! As in Redis 7.2 the rules are kept in the order in which they were given, without those that a later one makes
//! meaningless, and are what `ACL LIST` prints.

use super::rule::{RuleError, has_blanks};
use crate::flags::Categories;
use crate::table::{self, Command};

const WORDS: usize = crate::lookup::ROWS_COUNT.div_ceil(64);

/// The commands that are allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Permitted {
    bits: [u64; WORDS],
    /// Every command, with nothing taken away since: no bit has to be looked at.
    all: bool,
    /// The rules start from all commands, not from none.
    starts_with_all: bool,
    /// Rules since then: `+get`, `-@admin`.
    rules: Vec<Vec<u8>>,
    /// First arguments that are allowed of commands that are not.
    first_arguments: Vec<(usize, Vec<u8>)>,
}

impl Permitted {
    /// Nothing.
    pub(super) fn none() -> Permitted {
        Permitted {
            bits: [0; WORDS],
            all: false,
            starts_with_all: false,
            rules: Vec::new(),
            first_arguments: Vec::new(),
        }
    }

    /// Everything.
    pub(super) fn all() -> Permitted {
        Permitted { bits: [u64::MAX; WORDS], all: true, starts_with_all: true, ..Permitted::none() }
    }

    /// Whether all commands are allowed, and the rules say so in one word.
    pub(super) fn is_all(&self) -> bool {
        self.all
    }

    /// Whether a command is allowed, whose word behind its name is `argument`.
    pub(super) fn allows(&self, command: &Command, argument: Option<&[u8]>) -> bool {
        let index = command.index();
        self.all
            || self.has(index)
            || argument.is_some_and(|argument| {
                self.first_arguments
                    .iter()
                    .any(|(of, allowed)| *of == index && allowed.eq_ignore_ascii_case(argument))
            })
    }

    /// `+command`, `+command|argument`, `-command`, `+@category` or `-@category`.
    pub(super) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let (allow, name) = match rule {
            [b'+', name @ ..] => (true, name),
            [b'-', name @ ..] => (false, name),
            _ => return Err(RuleError::Syntax),
        };
        if let [b'@', category @ ..] = name {
            return self.category(category, name, allow);
        }
        if let Some(bar) = name.iter().rposition(|&byte| byte == b'|').filter(|_| allow) {
            return self.part(name, bar);
        }
        let command = table::lookup(name).ok_or(RuleError::Unknown)?;
        self.set(command, allow);
        self.remember(command.name.as_bytes(), allow);
        Ok(())
    }

    fn category(&mut self, category: &[u8], name: &[u8], allow: bool) -> Result<(), RuleError> {
        let category = Categories::from_name(category).ok_or(RuleError::Unknown)?;
        self.remember(name, allow);
        table::all().iter().filter(|command| command.acl().has(category)).for_each(|it| self.set(it, allow));
        Ok(())
    }

    /// `+container|subcommand`, or `+command|first-argument`.
    fn part(&mut self, name: &[u8], bar: usize) -> Result<(), RuleError> {
        let (of, part) = (name.get(..bar).unwrap_or_default(), name.get(bar + 1..).unwrap_or_default());
        let command = table::lookup(of).ok_or(RuleError::Unknown)?;
        if command.name.contains('|') {
            return Err(RuleError::OfSubcommand);
        }
        if part.is_empty() || has_blanks(part) {
            return Err(RuleError::Syntax);
        }
        if command.subcommands.is_empty() {
            let entry = (command.index(), part.to_vec());
            let is_same =
                |(index, kept): &(usize, Vec<u8>)| *index == entry.0 && kept.eq_ignore_ascii_case(part);
            if !self.first_arguments.iter().any(is_same) {
                self.first_arguments.push(entry);
            }
        } else {
            self.set(table::lookup(name).ok_or(RuleError::Unknown)?, true);
        }
        self.remember(name, true);
        Ok(())
    }

    /// Allows or forbids a command with its subcommands.
    fn set(&mut self, command: &Command, allow: bool) {
        let index = command.index();
        self.first_arguments.retain(|(of, _)| *of != index);
        // The subcommands of a container stand behind it.
        for index in index..=index + command.subcommands.len() {
            if let Some(word) = self.bits.get_mut(index / 64) {
                let bit = 1 << (index % 64);
                *word = if allow { *word | bit } else { *word & !bit };
            }
        }
        self.all &= allow;
    }

    fn has(&self, index: usize) -> bool {
        self.bits.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Puts a rule at the end, and takes out those that it replaces.
    fn remember(&mut self, name: &[u8], allow: bool) {
        let mut rule = vec![if allow { b'+' } else { b'-' }];
        rule.extend(name.to_ascii_lowercase());
        self.rules.retain(|old| {
            let rest = old.get(1..).and_then(|old| old.strip_prefix(&rule[1..]));
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"|"))
        });
        self.rules.push(rule);
    }

    /// The rules as `ACL LIST` prints them.
    pub(super) fn describe(&self) -> Vec<u8> {
        let mut text = if self.starts_with_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for rule in &self.rules {
            text.push(b' ');
            text.extend_from_slice(rule);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_bits_agree() {
        let mut permitted = Permitted::none();
        for rule in ["+@read", "-get", "+config|get", "+select|0", "+GET", "-config"] {
            permitted.apply(rule.as_bytes()).expect(rule);
        }
        assert_eq!(permitted.describe(), b"-@all +@read +select|0 +get -config");
        let row = |name: &str| table::lookup(name.as_bytes()).expect(name);
        assert!(permitted.allows(row("get"), None) && permitted.allows(row("strlen"), None));
        assert!(!permitted.allows(row("config|get"), None) && !permitted.allows(row("set"), None));
        assert!(permitted.allows(row("select"), Some(b"0")) && !permitted.allows(row("select"), Some(b"1")));
        let check =
            |rule: &str, error| assert_eq!(Permitted::all().apply(rule.as_bytes()), Err(error), "{rule}");
        check("+nosuch", RuleError::Unknown);
        check("-@nosuch", RuleError::Unknown);
        check("+config|nosuch", RuleError::Unknown);
        check("-select|0", RuleError::Unknown);
        check("+get|", RuleError::Syntax);
        check("+config|get|x", RuleError::OfSubcommand);
    }

    #[test]
    fn all_but_one_is_not_all() {
        let mut permitted = Permitted::all();
        assert!(permitted.is_all());
        permitted.apply(b"-flushall").expect("a command");
        assert!(!permitted.is_all());
        assert_eq!(permitted.describe(), b"+@all -flushall");
        permitted.apply(b"+flushall").expect("a command");
        assert!(permitted.allows(table::lookup(b"flushall").expect("a command"), None));
    }
}

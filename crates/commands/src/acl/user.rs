//! One user: flags, passwords and selectors, the rules that change them, and the text that describes them.

use super::password::Digest;
use super::rule::RuleError;
use super::selector::{Form, Selector};

/// Name of the user every connection is until it authenticates as another.
pub const DEFAULT_USER: &[u8] = b"default";

/// What `ACL SETUSER` makes and connections are checked against. Never changed in place: a change makes a new one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    name: Vec<u8>,
    enabled: bool,
    no_password: bool,
    skip_sanitize: bool,
    passwords: Vec<Digest>,
    root: Selector,
    selectors: Vec<Selector>,
    /// Some selector has nothing to check.
    unrestricted: bool,
}

impl User {
    /// A user as it is when its name is first seen: off, without a password and without permissions, but perhaps for all
    /// channels (`acl-pubsub-default`).
    pub fn new(name: &[u8], all_channels: bool) -> User {
        User {
            name: name.to_vec(),
            enabled: false,
            no_password: false,
            skip_sanitize: false,
            passwords: Vec::new(),
            root: Selector::none(all_channels),
            selectors: Vec::new(),
            unrestricted: false,
        }
    }

    /// The default user of a server whose configuration says nothing: on, without a password, and free to do everything.
    pub fn unrestricted() -> User {
        User {
            enabled: true,
            no_password: true,
            root: Selector::all(),
            unrestricted: true,
            ..User::new(DEFAULT_USER, false)
        }
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether it may do everything, so that nothing has to be checked.
    #[inline]
    pub fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }

    /// Whether one may authenticate as this user.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether it takes any password.
    pub fn needs_no_password(&self) -> bool {
        self.no_password
    }

    /// Whether a connection is this user without authenticating, if it is the default one.
    pub fn is_open(&self) -> bool {
        self.enabled && self.no_password
    }

    /// Whether this is its password, and it is not disabled. Every digest is looked at.
    pub fn admits(&self, password: &[u8]) -> bool {
        let given = Digest::of(password);
        let known = self.passwords.iter().fold(false, |known, digest| known | digest.matches(&given));
        self.enabled && (self.no_password || known)
    }

    /// Applies one rule of `ACL SETUSER`.
    pub fn apply(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        let outcome = self.change(rule, all_channels);
        let unrestricted = self.all_selectors().any(Selector::is_unrestricted);
        self.unrestricted = unrestricted;
        outcome
    }

    fn change(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"skip-sanitize-payload" => self.skip_sanitize = true,
            b"sanitize-payload" => self.skip_sanitize = false,
            b"nopass" => (self.no_password, self.passwords) = (true, Vec::new()),
            b"resetpass" => (self.no_password, self.passwords) = (false, Vec::new()),
            b"clearselectors" => self.selectors.clear(),
            b"reset" => *self = User::new(&self.name, all_channels),
            _ => match rule {
                [b'>', password @ ..] => self.add_password(Digest::of(password)),
                [b'#', hash @ ..] => self.add_password(Digest::parse(hash).ok_or(RuleError::BadHash)?),
                [b'<', password @ ..] => return self.remove_password(Digest::of(password)),
                [b'!', hash @ ..] => {
                    return self.remove_password(Digest::parse(hash).ok_or(RuleError::BadHash)?);
                }
                [b'(', rules @ .., b')'] => {
                    let mut selector = Selector::none(all_channels);
                    for rule in rules.split(|byte| byte.is_ascii_whitespace()).filter(|rule| !rule.is_empty())
                    {
                        selector.apply(rule)?;
                    }
                    self.selectors.push(selector);
                }
                _ => return self.root.apply(rule),
            },
        }
        Ok(())
    }

    fn add_password(&mut self, digest: Digest) {
        if !self.passwords.contains(&digest) {
            self.passwords.push(digest);
        }
        self.no_password = false;
    }

    fn remove_password(&mut self, digest: Digest) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| *known == digest).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// The flags, in the order in which they are printed.
    pub(super) fn flags(&self) -> impl Iterator<Item = &'static str> {
        let flags = [
            (self.enabled, "on"),
            (!self.enabled, "off"),
            (self.no_password, "nopass"),
            (self.skip_sanitize, "skip-sanitize-payload"),
            (!self.skip_sanitize, "sanitize-payload"),
        ];
        flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name)
    }

    pub(super) fn passwords(&self) -> &[Digest] {
        &self.passwords
    }

    pub(super) fn root(&self) -> &Selector {
        &self.root
    }

    /// Those besides the root.
    pub(super) fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    pub(super) fn all_selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// The rules that make this user of a new one, as `ACL LIST` shows them.
    pub fn describe(&self) -> Vec<u8> {
        self.describe_as(Form::Shown)
    }

    /// The rules that make this user of a new one, as files and other nodes get them.
    pub fn rules(&self) -> Vec<u8> {
        self.describe_as(Form::Stored)
    }

    fn describe_as(&self, form: Form) -> Vec<u8> {
        let mut text = Vec::new();
        for flag in self.flags() {
            text.extend_from_slice(flag.as_bytes());
            text.push(b' ');
        }
        for digest in &self.passwords {
            text.extend_from_slice(format!("#{digest} ").as_bytes());
        }
        text.extend_from_slice(&self.root.describe(form));
        for selector in &self.selectors {
            text.extend_from_slice(b" (");
            text.extend_from_slice(&selector.describe(form));
            text.push(b')');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &str, expected: &str) {
        let mut user = User::new(b"u", false);
        for rule in rules.split(';') {
            user.apply(rule.as_bytes(), false).expect(rule);
        }
        assert_eq!(String::from_utf8_lossy(&user.describe()), expected, "{rules}");
    }

    #[test]
    fn described_as_redis_does() {
        check("on;off", "off sanitize-payload resetchannels -@all");
        check("on;nopass;+@all;~*;&*", "on nopass sanitize-payload ~* &* +@all");
        check(
            ">secret;nopass;#2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
            "off sanitize-payload #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b resetchannels -@all",
        );
        check(
            "( +get  ~a );skip-sanitize-payload;()",
            "off skip-sanitize-payload resetchannels -@all (~a resetchannels -@all +get) (resetchannels -@all)",
        );
        check("on;(+get);reset", "off sanitize-payload resetchannels -@all");
    }

    #[test]
    fn passwords() {
        let mut user = User::new(b"u", false);
        let mut apply = |rule: &str| user.apply(rule.as_bytes(), false);
        apply(">a").expect("a rule");
        apply(">b").expect("a rule");
        assert_eq!(apply("<c"), Err(RuleError::NoSuchPassword));
        assert_eq!(apply("#c"), Err(RuleError::BadHash));
        assert!(!user.admits(b"a"), "it is off");
        user.apply(b"on", false).expect("a rule");
        assert!(user.admits(b"a") && user.admits(b"b") && !user.admits(b"c") && !user.is_open());
        user.apply(b"<a", false).expect("a rule");
        assert!(!user.admits(b"a"));
        user.apply(b"nopass", false).expect("a rule");
        assert!(user.admits(b"anything") && user.is_open());
    }

    #[test]
    fn unrestricted_by_any_selector() {
        let mut user = User::new(b"u", false);
        user.apply(b"(+@all ~* &*)", false).expect("a rule");
        assert!(user.is_unrestricted());
        user.apply(b"clearselectors", false).expect("a rule");
        assert!(!user.is_unrestricted() && User::unrestricted().is_unrestricted());
    }
}

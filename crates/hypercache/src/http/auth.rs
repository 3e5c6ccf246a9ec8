//! Users over HTTP: `Authorization: Basic` with a user and a password, so that a browser can ask for them, or `Bearer` with the
//! default user's password or `user:password`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use commands::Args;
use commands::acl::{DEFAULT_USER, User, check_command};
use hyper::header::{AUTHORIZATION, HeaderMap};
use std::sync::Arc;

/// Longest credential that is looked at.
const CREDENTIAL_LEN_MAX: usize = 8 * 1024;

/// Who may come in. Asked for every request, since users can change while the server runs.
pub trait Gate: Send + Sync + 'static {
    /// The user of whoever gives no name or a wrong one; `None`: they have to authenticate.
    fn guest(&self) -> Option<Arc<User>>;
    /// The user of this name and password. Must compare in constant time.
    fn admits(&self, user: &[u8], password: &[u8]) -> Option<Arc<User>>;
}

/// A gate for servers without a password.
#[derive(Clone, Copy, Debug)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn guest(&self) -> Option<Arc<User>> {
        Some(Arc::new(User::unrestricted()))
    }

    fn admits(&self, _user: &[u8], _password: &[u8]) -> Option<Arc<User>> {
        self.guest()
    }
}

/// The user of a request with these headers; `None` if it may not pass.
#[inline]
pub(crate) fn user_of(gate: &dyn Gate, headers: &HeaderMap) -> Option<Arc<User>> {
    headers.get(AUTHORIZATION).and_then(|given| presented(gate, given.as_bytes())).or_else(|| gate.guest())
}

fn presented(gate: &dyn Gate, given: &[u8]) -> Option<Arc<User>> {
    let space = given.iter().position(|&byte| byte == b' ').filter(|_| given.len() <= CREDENTIAL_LEN_MAX)?;
    let (scheme, credential) = given.split_at(space);
    let credential = credential.trim_ascii();
    // RFC 9110, section 11.1: schemes are compared without case.
    if scheme.eq_ignore_ascii_case(b"bearer") {
        // The named user first: a default user without a password would take everything for one.
        let named = split(credential).and_then(|(user, password)| gate.admits(user, password));
        return named.or_else(|| gate.admits(DEFAULT_USER, credential));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = STANDARD.decode(credential).ok()?;
    let (user, password) = split(&pair)?;
    gate.admits(if user.is_empty() { DEFAULT_USER } else { user }, password)
}

/// RFC 7617, section 2: the first colon ends the user.
fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = pair.iter().position(|&byte| byte == b':')?;
    Some((&pair[..colon], &pair[colon + 1..]))
}

/// Whether a user may run a command; the error is that of the command.
pub(crate) fn permits(user: &User, words: &[&[u8]]) -> Result<(), String> {
    let args = Args::new(words);
    let command = commands::find(args).map_err(|error| error.to_string())?;
    check_command(user, command, args).map_err(|denial| denial.error(user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    struct Closed;

    impl Gate for Closed {
        fn guest(&self) -> Option<Arc<User>> {
            None
        }

        fn admits(&self, user: &[u8], password: &[u8]) -> Option<Arc<User>> {
            let known = [(&b"default"[..], &b"open: sesame"[..]), (b"alice", b"pw")];
            known.contains(&(user, password)).then(|| Arc::new(User::new(user, false)))
        }
    }

    fn check(header: Option<&str>, expected: bool) {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(header).expect("a legal header"));
        }
        assert_eq!(user_of(&Closed, &headers).is_some(), expected, "{header:?}");
        assert!(user_of(&OpenGate, &headers).is_some(), "an open gate asks for nothing");
    }

    #[test]
    fn only_the_right_password_passes() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        check(Some("Bearer open: sesame"), true);
        check(Some("bearer  open: sesame"), true);
        check(Some(&basic("default:open: sesame")), true);
        check(Some(&basic(":open: sesame")), true);
        check(Some("Bearer alice:pw"), true);
        check(Some("Bearer alice:open: sesame"), false);
        check(Some(&basic("alice:pw")), true);
        check(Some(&basic("someone:open: sesame")), false);
        check(Some(&basic("default")), false);
        check(Some("Basic %%%"), false);
        check(Some("Bearer"), false);
        check(Some("Bearer wrong"), false);
        check(Some("Digest open: sesame"), false);
        check(None, false);
    }
}

//! Passwords over HTTP: `Authorization: Bearer PASSWORD`, or `Basic` with a user and a password, so that a browser
//! can ask for it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};

/// The user that a bearer token belongs to, as in Redis.
const DEFAULT_USER: &[u8] = b"default";
/// Longest credential that is looked at.
const CREDENTIAL_LEN_MAX: usize = 8 * 1024;

/// Who may come in. Asked for every request, since passwords can change while the server runs.
pub trait Gate: Send + Sync + 'static {
    /// Whether clients have to authenticate.
    fn is_closed(&self) -> bool;
    /// Whether this is a user's password. Must compare in constant time.
    fn admits(&self, user: &[u8], password: &[u8]) -> bool;
}

/// A gate for servers without a password.
#[derive(Clone, Copy, Debug)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn is_closed(&self) -> bool {
        false
    }

    fn admits(&self, _user: &[u8], _password: &[u8]) -> bool {
        true
    }
}

/// Whether a request with these headers may pass.
#[inline]
pub(crate) fn passes(gate: &dyn Gate, headers: &HeaderMap) -> bool {
    !gate.is_closed() || headers.get(AUTHORIZATION).is_some_and(|given| presents(gate, given.as_bytes()))
}

fn presents(gate: &dyn Gate, given: &[u8]) -> bool {
    let Some(space) =
        given.iter().position(|&byte| byte == b' ').filter(|_| given.len() <= CREDENTIAL_LEN_MAX)
    else {
        return false;
    };
    let (scheme, credential) = given.split_at(space);
    let credential = credential.trim_ascii();
    // RFC 9110, section 11.1: schemes are compared without case.
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return gate.admits(DEFAULT_USER, credential);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return false;
    }
    let Ok(pair) = STANDARD.decode(credential) else { return false };
    // RFC 7617, section 2: the first colon ends the user.
    let Some(colon) = pair.iter().position(|&byte| byte == b':') else { return false };
    let (user, password) = (&pair[..colon], &pair[colon + 1..]);
    gate.admits(if user.is_empty() { DEFAULT_USER } else { user }, password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    struct Closed;

    impl Gate for Closed {
        fn is_closed(&self) -> bool {
            true
        }

        fn admits(&self, user: &[u8], password: &[u8]) -> bool {
            (user, password) == (b"default", b"open: sesame")
        }
    }

    fn check(header: Option<&str>, expected: bool) {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(header).expect("a legal header"));
        }
        assert_eq!(passes(&Closed, &headers), expected, "{header:?}");
        assert!(passes(&OpenGate, &headers), "an open gate asks for nothing");
    }

    #[test]
    fn only_the_right_password_passes() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        check(Some("Bearer open: sesame"), true);
        check(Some("bearer  open: sesame"), true);
        check(Some(&basic("default:open: sesame")), true);
        check(Some(&basic(":open: sesame")), true);
        check(Some(&basic("someone:open: sesame")), false);
        check(Some(&basic("default")), false);
        check(Some("Basic %%%"), false);
        check(Some("Bearer"), false);
        check(Some("Bearer wrong"), false);
        check(Some("Digest open: sesame"), false);
        check(None, false);
    }
}

//! The dashboard as a response: put together once, with a policy that lets a browser run its script and no other.

use super::respond::{self, Body};
use crate::dashboard;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Response;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use sha2::{Digest, Sha256};

/// The page and its policy.
pub(crate) struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    pub(crate) fn new() -> Page {
        let html = dashboard::page();
        let policy = HeaderValue::from_str(&policy(&html)).expect("a policy is ASCII");
        Page { html: Bytes::from(html), policy }
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = respond::fresh("text/html; charset=utf-8", self.html.clone());
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

/// Allows the page's own script, by its hash (CSP level 3), its inline style and its event stream; nothing else.
fn policy(html: &str) -> String {
    let script = html.split_once("<script>").and_then(|(_, rest)| rest.split_once("</script>"));
    let (script, _) = script.expect("the page has one script without attributes");
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        STANDARD.encode(Sha256::digest(script))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_allowed_by_its_hash() {
        // The digest of "x".
        let expected = "script-src 'sha256-LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=';";
        assert!(policy("<p><script>x</script>").contains(expected), "{}", policy("<script>x</script>"));
        assert!(!Page::new().html.is_empty());
    }
}

//! What can go wrong with a request, and how the client is told: a status and always the same JSON.

use super::backend::Reply;
use super::respond::{self, Body};
use super::{Server, json};
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use std::borrow::Cow;

/// A request that was not carried out, or of which that is not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    /// A short name: the reason phrase of the status, or the code of the command's error reply.
    pub(crate) error: Cow<'static, str>,
    /// What a person should know.
    pub(crate) message: Cow<'static, str>,
    /// Methods that the path has, for 405.
    pub(crate) allow: Option<&'static str>,
    /// The rest of the request's body is still on its way.
    pub(crate) closes: bool,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Failure {
        let error = Cow::Borrowed(status.canonical_reason().unwrap_or("Error"));
        Failure { status, error, message: message.into(), allow: None, closes: false }
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// From a reply that is not what the command answers when it succeeds.
    pub(crate) fn from_reply(reply: Option<Reply<'_>>) -> Failure {
        let Some(Reply::Error(text)) = reply else {
            return Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the command's reply made no sense");
        };
        let (code, message) = text.split_once(' ').unwrap_or((text, text));
        let status = match code {
            "OOM" => StatusCode::INSUFFICIENT_STORAGE,
            // Not executed, and safe to send again (rule 9 of the design).
            "CLUSTERDOWN" | "TRYAGAIN" | "NOREPLICAS" | "LOADING" => StatusCode::SERVICE_UNAVAILABLE,
            // Executed, but unconfirmed.
            "INDOUBT" => StatusCode::GATEWAY_TIMEOUT,
            "NOPERM" => StatusCode::FORBIDDEN,
            "WRONGTYPE" => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut failure = Failure::new(status, message.to_owned());
        failure.error = Cow::Owned(code.to_owned());
        failure
    }

    /// The response.
    pub(crate) fn into_response(self, server: &Server) -> Response<Body> {
        let mut out = Vec::with_capacity(128 + self.message.len());
        out.extend_from_slice(b"{\"success\":false,\"error\":");
        json::string(&mut out, &self.error);
        out.extend_from_slice(b",\"message\":");
        json::string(&mut out, &self.message);
        out.extend_from_slice(b",\"node\":");
        json::string(&mut out, &server.node_name);
        out.push(b'}');
        let mut response = respond::json(self.status, out);
        let headers = response.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"HyperCache\", charset=\"UTF-8\""),
            );
        }
        if self.closes {
            headers.insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_replies_have_their_status() {
        for (reply, status, error, message) in [
            ("OOM command not allowed", 507, "OOM", "command not allowed"),
            ("CLUSTERDOWN no lease", 503, "CLUSTERDOWN", "no lease"),
            ("TRYAGAIN moving", 503, "TRYAGAIN", "moving"),
            ("NOREPLICAS too few", 503, "NOREPLICAS", "too few"),
            ("INDOUBT unconfirmed", 504, "INDOUBT", "unconfirmed"),
            ("WRONGTYPE a list", 409, "WRONGTYPE", "a list"),
            ("NOPERM No permissions to access a key", 403, "NOPERM", "No permissions to access a key"),
            ("ERR something", 500, "ERR", "something"),
            ("ODD", 500, "ODD", "ODD"),
        ] {
            let failure = Failure::from_reply(Some(Reply::Error(reply)));
            assert_eq!(
                (failure.status.as_u16(), &*failure.error, &*failure.message),
                (status, error, message)
            );
        }
        assert_eq!(Failure::from_reply(None).status.as_u16(), 500);
        assert_eq!(Failure::from_reply(Some(Reply::Simple)).status.as_u16(), 500);
    }
}

//! The cache API: `GET`, `PUT`, `POST` and `DELETE /api/cache/{key}`.

use super::backend::{Place, Reply};
use super::failure::Failure;
use super::respond::{self, Body};
use super::{Server, auth, json, key, value};
use bytes::Bytes;
use commands::acl::User;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{EXPECT, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::debug;

/// The methods of a key.
pub(crate) const ALLOW: &str = "GET, HEAD, PUT, POST, DELETE";
/// What a response of the hot route takes besides key and value, about.
const ENVELOPE_BYTES: usize = 128;
/// How long the next part of a body may take to come.
const BODY_PART_MAX: Duration = Duration::from_secs(30);
/// Of a body over the limit so much is read and forgotten, because many clients read a response only after they have
/// sent everything.
const DISCARD_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Carries out a request on the key written as `encoded` in its path.
pub(crate) async fn handle(
    server: &Server,
    user: &Arc<User>,
    correlation: &HeaderValue,
    encoded: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Failure> {
    let key = decode(encoded)?;
    match *request.method() {
        Method::GET | Method::HEAD => get(server, user, correlation, &key).await,
        Method::PUT | Method::POST => set(server, (user, correlation), &key, request).await,
        _ => delete(server, user, correlation, &key).await,
    }
}

/// Answers a read of a key that lives here, without waiting for anything; `None` if that is not possible.
#[inline]
pub(crate) fn get_now(server: &Server, user: &User, encoded: &str) -> Option<Response<Body>> {
    let key = decode(encoded).ok()?;
    // Whoever may not is refused, and noted, by the node.
    if !user.is_unrestricted() && auth::permits(user, &[b"get", &key]).is_err() {
        return None;
    }
    let found = server.backend.read_now(&key)?;
    Some(answer_read(server, &key, found.as_deref(), None))
}

fn decode(encoded: &str) -> Result<Cow<'_, [u8]>, Failure> {
    let key = key::decode(encoded).map_err(|at| {
        Failure::bad_request(format!(
            "the key has a % without two hex digits after it, at character {}",
            at + 1
        ))
    })?;
    if key.is_empty() { Err(Failure::bad_request("the key is empty")) } else { Ok(key) }
}

async fn get(
    server: &Server,
    user: &Arc<User>,
    correlation: &HeaderValue,
    key: &[u8],
) -> Result<Response<Body>, Failure> {
    let place = server.backend.place_of(key);
    note(server, correlation, "GET", &place);
    let reply = call(server, user, &[b"GET", key]).await?;
    let found = match Reply::parse(&reply) {
        Some(Reply::Bulk(found)) => Some(found),
        Some(Reply::Null) => None,
        other => return Err(Failure::from_reply(other)),
    };
    Ok(answer_read(server, key, found, Some(&place)))
}

async fn set(
    server: &Server,
    (user, correlation): (&Arc<User>, &HeaderValue),
    key: &[u8],
    request: Request<Incoming>,
) -> Result<Response<Body>, Failure> {
    let body = read_body(server, request).await?;
    let store = value::parse(&body)?;
    drop(body);
    let place = server.backend.place_of(key);
    note(server, correlation, "SET", &place);
    let ttl = store.ttl_ms.map(|ms| ms.to_string());
    let reply = match &ttl {
        Some(ttl) => call(server, user, &[b"SET", key, &store.value, b"PX", ttl.as_bytes()]).await?,
        None => call(server, user, &[b"SET", key, &store.value]).await?,
    };
    match Reply::parse(&reply) {
        Some(Reply::Simple) => {}
        other => return Err(Failure::from_reply(other)),
    }
    let message = if place.local { "Stored locally" } else { "Forwarded to primary node" };
    let mut out = Vec::with_capacity(ENVELOPE_BYTES);
    out.extend_from_slice(b"{\"success\":true,\"message\":");
    json::string(&mut out, message);
    write_nodes(&mut out, server, Some(&place));
    out.push(b'}');
    Ok(respond::json(StatusCode::OK, out))
}

async fn delete(
    server: &Server,
    user: &Arc<User>,
    correlation: &HeaderValue,
    key: &[u8],
) -> Result<Response<Body>, Failure> {
    let place = server.backend.place_of(key);
    note(server, correlation, "DEL", &place);
    let reply = call(server, user, &[b"DEL", key]).await?;
    let deleted = match Reply::parse(&reply) {
        Some(Reply::Integer(count)) => count > 0,
        other => return Err(Failure::from_reply(other)),
    };
    let mut out = Vec::with_capacity(ENVELOPE_BYTES);
    out.extend_from_slice(b"{\"success\":true,\"message\":\"Delete processed\"");
    write_nodes(&mut out, server, Some(&place));
    out.extend_from_slice(b",\"deleted\":");
    json::boolean(&mut out, deleted);
    out.push(b'}');
    Ok(respond::json(StatusCode::OK, out))
}

/// The response to a read; `place` is `None` for a key that was read here.
fn answer_read(server: &Server, key: &[u8], found: Option<&[u8]>, place: Option<&Place>) -> Response<Body> {
    let local = place.is_none_or(|place| place.local);
    let mut out = Vec::with_capacity(ENVELOPE_BYTES + key.len() + found.map_or(0, <[u8]>::len));
    let status = match found {
        Some(value) => {
            out.extend_from_slice(b"{\"success\":true,\"data\":{\"key\":");
            json::string(&mut out, &String::from_utf8_lossy(key));
            out.extend_from_slice(b",\"value\":");
            value::write(&mut out, value);
            out.push(b'}');
            StatusCode::OK
        }
        None => {
            out.extend_from_slice(
                b"{\"success\":false,\"message\":\"Key not found\",\"error\":\"Key not found\"",
            );
            StatusCode::NOT_FOUND
        }
    };
    write_nodes(&mut out, server, place);
    out.extend_from_slice(b",\"local\":");
    json::boolean(&mut out, local);
    out.extend_from_slice(b",\"forwarded\":");
    json::boolean(&mut out, !local);
    out.push(b'}');
    respond::json(status, out)
}

fn write_nodes(out: &mut Vec<u8>, server: &Server, place: Option<&Place>) {
    out.extend_from_slice(b",\"node\":");
    json::string(out, &server.node_name);
    out.extend_from_slice(b",\"primary\":");
    json::string(out, place.map_or(&server.node_name, |place| &place.primary_name));
}

/// The links between nodes carry commands, not requests: where a request goes on to is noted here, under its id.
fn note(server: &Server, correlation: &HeaderValue, command: &str, place: &Place) {
    if !place.local {
        let correlation_id = correlation.to_str().unwrap_or_default();
        debug!(correlation_id, command, node = server.node_name, primary = place.primary_name, "forwarding");
    }
}

async fn call(server: &Server, user: &Arc<User>, words: &[&[u8]]) -> Result<Vec<u8>, Failure> {
    let (sender, receiver) = oneshot::channel();
    // The receiver is gone when the client is: then nobody wants the reply.
    server.backend.call(user, words, Box::new(move |reply| drop(sender.send(reply))));
    receiver.await.map_err(|_| Failure::unavailable("the node is stopping and did not run the command"))
}

async fn read_body(server: &Server, request: Request<Incoming>) -> Result<Bytes, Failure> {
    // Who waits to be told to go on has sent nothing yet, and is refused at once.
    let waits = request.headers().contains_key(EXPECT);
    let mut incoming = request.into_body();
    let announced = incoming.size_hint();
    if announced.lower() > server.max_body as u64 {
        let heard_out = !waits && announced.lower() <= DISCARD_BYTES_MAX;
        return Err(too_large(server, &mut incoming, heard_out).await);
    }
    let Some(first) = next_part(&mut incoming).await? else { return Ok(Bytes::new()) };
    if incoming.is_end_stream() && first.len() <= server.max_body {
        return Ok(first);
    }
    let mut body = Vec::with_capacity(first.len().max(announced.exact().unwrap_or(0) as usize));
    let mut part = Some(first);
    while let Some(bytes) = part {
        if body.len() + bytes.len() > server.max_body {
            return Err(too_large(server, &mut incoming, true).await);
        }
        body.extend_from_slice(&bytes);
        part = next_part(&mut incoming).await?;
    }
    Ok(Bytes::from(body))
}

/// The refusal of a body over the limit. A client that is `heard_out` has sent everything, or very much, by then; else
/// what it still sends would make its system drop the response.
async fn too_large(server: &Server, incoming: &mut Incoming, heard_out: bool) -> Failure {
    let message = format!("the body is larger than {} bytes (http-max-body)", server.max_body);
    let mut failure = Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message);
    failure.closes = true;
    let mut discarded = 0;
    while heard_out && discarded <= DISCARD_BYTES_MAX {
        match next_part(incoming).await {
            Ok(Some(bytes)) => discarded += bytes.len() as u64,
            Ok(None) => {
                failure.closes = false;
                break;
            }
            Err(broken) => return broken,
        }
    }
    failure
}

async fn next_part(incoming: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    loop {
        let frame = tokio::time::timeout(BODY_PART_MAX, incoming.frame()).await.map_err(|_| {
            let mut failure = Failure::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
            failure.closes = true;
            failure
        })?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(Failure::bad_request(format!("the body is broken: {error}"))),
            // Trailers are of no use here.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(_trailers) => {}
            },
        }
    }
}

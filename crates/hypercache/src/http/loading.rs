//! What the HTTP port answers before there is a node behind it: the data are still being loaded.
//!
//! Supervisors learn that the process is alive and not ready, so that nobody kills it for taking long. Every connection is
//! closed behind its answer: the next one meets the node.

use super::respond::{self, Body};
use super::{ACCEPT_REST, json};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// Most connections at a time.
const CONNECTIONS_MAX: usize = 256;
/// How long a connection may take to send its request.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// Serves until it is dropped. `progress` tells the bytes loaded, and how many there are.
///
/// # Errors
/// When the listener cannot be used at all.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    node_name: String,
    progress: impl Fn() -> (u64, u64) + Send + Sync + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (node_name, progress) = (Arc::new(node_name), Arc::new(progress));
    // Dropping the set ends its connections.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) if connections.len() < CONNECTIONS_MAX => stream,
            Ok(_) => continue,
            Err(error) => {
                warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let (node_name, progress) = (Arc::clone(&node_name), Arc::clone(&progress));
        connections.spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = answer(request.uri().path(), &node_name, progress());
                async move { Ok::<_, Infallible>(response) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_MAX)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                debug!(%error, "an HTTP connection broke");
            }
        });
    }
}

fn answer(path: &str, node_name: &str, (done, total): (u64, u64)) -> Response<Body> {
    let reason = format!("this node loads its data: {done} of {total} bytes");
    let (status, said) = match path {
        "/livez" => (StatusCode::OK, r#"{"alive":true"#),
        "/health" => (StatusCode::SERVICE_UNAVAILABLE, r#"{"healthy":false"#),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, r#"{"ready":false"#),
        _ => (StatusCode::SERVICE_UNAVAILABLE, r#"{"success":false,"error":"LOADING""#),
    };
    let mut out = said.as_bytes().to_vec();
    out.extend_from_slice(b",\"node\":");
    json::string(&mut out, node_name);
    out.extend_from_slice(if status == StatusCode::OK { b",\"loading\":" } else { b",\"reason\":" });
    json::string(&mut out, &reason);
    out.push(b'}');
    let mut response = respond::json(status, out);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};

    fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers and closes");
        stream.shutdown(Shutdown::Both).ok();
        answer
    }

    #[test]
    fn says_that_it_loads_and_gives_the_port_back() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let door =
            runtime.spawn(serve(listener.try_clone().expect("a handle"), "n\"1".to_owned(), || (3, 9)));
        let live = ask(address, "/livez");
        assert!(live.starts_with("HTTP/1.1 200 OK\r\n"), "{live}");
        assert!(
            live.ends_with(
                r#"{"alive":true,"node":"n\"1","loading":"this node loads its data: 3 of 9 bytes"}"#
            )
        );
        for (path, body) in [
            (
                "/health",
                r#"{"healthy":false,"node":"n\"1","reason":"this node loads its data: 3 of 9 bytes"}"#,
            ),
            ("/readyz", r#"{"ready":false,"node":"n\"1","reason":"this node loads its data: 3 of 9 bytes"}"#),
            (
                "/api/cache/k",
                r#"{"success":false,"error":"LOADING","node":"n\"1","reason":"this node loads its data: 3 of 9 bytes"}"#,
            ),
        ] {
            let answer = ask(address, path);
            assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
            assert!(answer.contains("retry-after: 1\r\n") && answer.ends_with(body), "{answer}");
        }
        door.abort();
        assert!(runtime.block_on(door).is_err_and(|error| error.is_cancelled()));
        // The listener is whoever's it was; nobody answers until its owner does.
        drop(listener);
        assert!(TcpStream::connect(address).is_err());
    }
}

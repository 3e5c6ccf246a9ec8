//! From a request to its handler, and what every response has in common.

use super::backend::Reply;
use super::connection::Activity;
use super::failure::Failure;
use super::respond::Body;
use super::{Server, admin, auth, cache, correlation, filters, metrics, stream};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode, Uri};
use std::sync::Arc;
use tracing::{debug, info};

const CACHE: &str = "/api/cache/";
const FORGET: &str = "/api/cluster/forget/";
const READS: &str = "GET, HEAD";

/// Where a path leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Route<'a> {
    Cache(&'a str),
    Health,
    Live,
    Ready,
    Status,
    Metrics,
    Filters,
    Leave,
    Forget(&'a str),
    Page,
    Events,
    Link,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Route<'a>> {
        if let Some(key) = path.strip_prefix(CACHE) {
            return Some(Route::Cache(key));
        }
        Some(match path {
            "/health" => Route::Health,
            "/livez" => Route::Live,
            "/readyz" => Route::Ready,
            "/metrics" => Route::Metrics,
            "/api/filter/stats" => Route::Filters,
            "/" => Route::Page,
            "/api/cluster/status" => Route::Status,
            "/api/cluster/leave" => Route::Leave,
            "/api/events/stream" => Route::Events,
            "/internal/link" => Route::Link,
            _ => return path.strip_prefix(FORGET).map(Route::Forget),
        })
    }

    /// The methods it has, as `Allow` writes them.
    fn allow(self) -> &'static str {
        match self {
            Route::Cache(_) => cache::ALLOW,
            Route::Leave | Route::Forget(_) => "POST",
            Route::Link | Route::Events => "GET",
            _ => READS,
        }
    }

    fn allows(self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }

    /// The command that a user must be allowed for it; those of the cache API are checked where they run.
    fn needs(self) -> Option<&'static [u8]> {
        match self {
            Route::Leave | Route::Forget(_) => Some(b"shutdown"),
            Route::Status | Route::Metrics | Route::Filters | Route::Page | Route::Events => Some(b"info"),
            Route::Cache(_) | Route::Health | Route::Live | Route::Ready | Route::Link => None,
        }
    }

    /// Probes come from supervisors that know no password, and links prove the cluster's secret instead.
    fn is_exempt(self) -> bool {
        matches!(self, Route::Health | Route::Live | Route::Ready | Route::Link)
    }
}

/// Answers a request. Never fails: what goes wrong is a response too.
pub(crate) async fn handle(
    server: &Arc<Server>,
    activity: &Arc<Activity>,
    request: Request<Incoming>,
) -> Response<Body> {
    let busy = activity.begin();
    let correlation = server.correlations.id_of(request.headers());
    let mut response = match answer_now(server, &request) {
        Some(response) => {
            log(server, &correlation, request.method(), request.uri(), response.status());
            response
        }
        None => {
            let (method, uri) = (request.method().clone(), request.uri().clone());
            let answered = dispatch(server, activity, &correlation, request).await;
            let response = answered.unwrap_or_else(|failure| {
                explain(&correlation, &failure);
                failure.into_response(server)
            });
            log(server, &correlation, &method, &uri, response.status());
            response
        }
    };
    server.counts.responded(response.status().as_u16());
    response.headers_mut().insert(&correlation::HEADER, correlation);
    drop(busy);
    response
}

/// The hot route: a read of a key that lives here.
#[inline]
fn answer_now(server: &Server, request: &Request<Incoming>) -> Option<Response<Body>> {
    if request.method() != Method::GET {
        return None;
    }
    let key = request.uri().path().strip_prefix(CACHE)?;
    let user = auth::user_of(&*server.gate, request.headers())?;
    cache::get_now(server, &user, key)
}

async fn dispatch(
    server: &Arc<Server>,
    activity: &Arc<Activity>,
    correlation: &HeaderValue,
    request: Request<Incoming>,
) -> Result<Response<Body>, Failure> {
    let uri = request.uri().clone();
    let route = Route::of(uri.path());
    let user = auth::user_of(&*server.gate, request.headers());
    if !route.is_some_and(Route::is_exempt) && user.is_none() {
        return Err(Failure::new(
            StatusCode::UNAUTHORIZED,
            "a password is required: Authorization: Bearer or Basic",
        ));
    }
    let route = route
        .ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path())))?;
    if !route.allows(request.method()) {
        let message = format!("{} has the methods {}", uri.path(), route.allow());
        return Err(Failure {
            allow: Some(route.allow()),
            ..Failure::new(StatusCode::METHOD_NOT_ALLOWED, message)
        });
    }
    refuse_foreign_pages(&request)?;
    if let (Some(user), Some(word)) = (&user, route.needs()) {
        auth::permits(user, &[word]).map_err(|text| Failure::from_reply(Some(Reply::Error(&text))))?;
    }
    match (route, &user) {
        (Route::Cache(key), Some(user)) => cache::handle(server, user, correlation, key, request).await,
        (route, _) => administer(server, activity, route, request).await,
    }
}

/// Everything but the cache API.
async fn administer(
    server: &Arc<Server>,
    activity: &Arc<Activity>,
    route: Route<'_>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Failure> {
    match route {
        Route::Cache(_) => unreachable!("nobody gets here without a user"),
        Route::Health => Ok(admin::health(server)),
        Route::Live => Ok(admin::live(server)),
        Route::Ready => Ok(admin::ready(server)),
        Route::Status => Ok(admin::status(server)),
        Route::Metrics => Ok(metrics::response(server)),
        Route::Filters => Ok(filters::stats(server)),
        Route::Leave => admin::leave(server).await,
        Route::Forget(node) => admin::forget(server, node).await,
        Route::Page => Ok(server.page.response()),
        Route::Events => stream::open(server, activity),
        Route::Link => Ok(admin::link(server, request).await),
    }
}

/// A page from elsewhere can make a browser send requests here. It cannot read the answers, but a write needs none.
/// Browsers say where a request comes from (W3C Fetch Metadata); other clients say nothing.
fn refuse_foreign_pages(request: &Request<Incoming>) -> Result<(), Failure> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    if is_read || matches!(site, None | Some(b"same-origin" | b"none")) {
        return Ok(());
    }
    Err(Failure::new(StatusCode::FORBIDDEN, "pages from elsewhere may not change anything here"))
}

fn log(server: &Server, correlation: &HeaderValue, method: &Method, uri: &Uri, status: StatusCode) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        let correlation_id = correlation.to_str().unwrap_or_default();
        debug!(correlation_id, node = server.node_name, %method, path = uri.path(), status = status.as_u16(), "HTTP request");
    }
}

/// Failures that are not the client's doing are worth a line in the log.
fn explain(correlation: &HeaderValue, failure: &Failure) {
    if failure.status.is_server_error() {
        let correlation_id = correlation.to_str().unwrap_or_default();
        info!(correlation_id, status = failure.status.as_u16(), error = %failure.error, message = %failure.message, "HTTP request failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods() {
        let check = |path, route: Option<Route<'_>>| assert_eq!(Route::of(path), route, "{path}");
        check("/api/cache/a/b%20c", Some(Route::Cache("a/b%20c")));
        check("/api/cluster/forget/node-2", Some(Route::Forget("node-2")));
        check("/api/cluster/status", Some(Route::Status));
        check("/api/filter/stats", Some(Route::Filters));
        check("/api/cache", None);
        check("/api", None);
        check("/health/", None);
        assert!(Route::Cache("k").allows(&Method::DELETE) && !Route::Cache("k").allows(&Method::PATCH));
        assert!(Route::Health.allows(&Method::HEAD) && !Route::Health.allows(&Method::POST));
        assert!(Route::Leave.allows(&Method::POST) && !Route::Leave.allows(&Method::GET));
        assert!(!Route::Metrics.is_exempt() && Route::Live.is_exempt());
    }
}

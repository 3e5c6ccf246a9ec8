//! Servers with a policy, and one measurement: a fresh server, its limit, the trace.

use super::connection::{Answer, Connection};
use super::figures::{Row, Unit};
use super::limit::{Limit, counted, value_bytes};
use super::replay::{Found, replay, window_for};
use super::trace::Request;
use crate::Result;
use crate::peers::servers::{BOTH_PROCESSORS, Running, Target};
use std::collections::HashSet;

/// How policies of Redis are named.
const REDIS_PREFIX: &str = "redis:";
/// Replays until the bytes held are as wanted.
const ATTEMPTS_MAX: usize = 4;
const BYTES_TOLERANCE: f64 = 0.01;
/// Keys asked for their lengths at a time.
const LENGTHS_WINDOW: usize = 64;

/// A server with one of its policies.
pub(super) struct Contender<'a> {
    /// As on the command line.
    pub(super) name: &'a str,
    target: &'a Target,
}

impl<'a> Contender<'a> {
    /// The contender of a name such as `allkeys-lru` or `redis:allkeys-lru`; nothing if its server is not there.
    pub(super) fn new(name: &'a str, ours: &'a Target, redis: Option<&'a Target>) -> Option<Contender<'a>> {
        let target = if name.starts_with(REDIS_PREFIX) { redis? } else { ours };
        Some(Contender { name, target })
    }

    /// Replays a trace in a cache of the row's size.
    ///
    /// # Errors
    /// When the server does not start or refuses anything.
    pub(super) fn measure(&self, row: &Row, requests: &[Request]) -> Result<Found> {
        match row.unit {
            Unit::Objects => self.by_objects(row.size, requests),
            Unit::Bytes => self.by_bytes(row.size, requests),
        }
    }

    fn by_objects(&self, size: u64, requests: &[Request]) -> Result<Found> {
        let value_bytes = value_bytes(size, requests.len());
        let mut limit = {
            let (server, mut connection) = self.start()?;
            Limit::measured(&server, self.target, &mut connection, size, value_bytes)?
        };
        let (_server, mut connection) = self.start()?;
        limit.apply(&mut connection)?;
        replay(&mut connection, requests, Some(value_bytes), window_for(size), &mut limit)
    }

    /// What a byte of a value takes depends on which values are kept, so whole replays find the limit, each on a fresh server.
    fn by_bytes(&self, size: u64, requests: &[Request]) -> Result<Found> {
        let mut allowance = size as f64;
        for attempt in 1.. {
            let (server, mut connection) = self.start()?;
            let mut limit = Limit::fixed(counted(&server, self.target)? + allowance as u64);
            limit.apply(&mut connection)?;
            let mut found = replay(&mut connection, requests, None, 1, &mut limit)?;
            found.held = bytes_held(&mut connection, requests)? as f64;
            let ratio = size as f64 / found.held.max(1.0);
            if (ratio - 1.0).abs() <= BYTES_TOLERANCE || attempt == ATTEMPTS_MAX {
                return Ok(found);
            }
            allowance *= ratio;
        }
        Err("no attempt was made".into())
    }

    fn start(&self) -> Result<(Running, Connection)> {
        let policy = self.name.strip_prefix(REDIS_PREFIX).unwrap_or(self.name);
        let more = ["--maxmemory-policy", policy].map(str::to_owned);
        let server = Running::start_with(self.target, BOTH_PROCESSORS, 1, &more)?;
        let connection = Connection::open(server.address)?;
        Ok((server, connection))
    }
}

/// Bytes of all values that are there at the end.
fn bytes_held(connection: &mut Connection, requests: &[Request]) -> Result<u64> {
    let distinct: HashSet<u64> = requests.iter().map(|request| request.key).collect();
    let distinct: Vec<u64> = distinct.into_iter().collect();
    let mut bytes = 0;
    for window in distinct.chunks(LENGTHS_WINDOW) {
        window.iter().for_each(|key| connection.push("STRLEN", *key));
        connection.send()?;
        for key in window {
            match connection.answer()? {
                Answer::Integer(length) => bytes += length,
                other => return Err(format!("STRLEN of key {key}: {other:?}").into()),
            }
        }
    }
    Ok(bytes)
}

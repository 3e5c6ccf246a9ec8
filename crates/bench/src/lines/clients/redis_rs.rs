//! redis-rs through one node: plain and cluster connections, pipelines, pub/sub and transactions.

use crate::Result;
use crate::cluster::NodeAddress;
use redis::cluster::{ClusterClient, cluster_pipe};
use redis::{Client, Commands, Connection, ConnectionLike, pipe, transaction};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
const KEYS: usize = 300;

/// Runs all checks; returns how many there were.
///
/// # Errors
/// The first check that does not hold, or the library's error.
pub(super) fn check(node: &NodeAddress, beside: &NodeAddress) -> Result<usize> {
    let mut checks = Checks { passed: 0 };
    plain(&mut checks, node, beside)?;
    cluster(&mut checks, node, beside)?;
    Ok(checks.passed)
}

struct Checks {
    passed: usize,
}

impl Checks {
    fn that(&mut self, name: &str, holds: bool) -> Result<()> {
        if !holds {
            return Err(format!("FAIL {name} (after {} checks)", self.passed).into());
        }
        self.passed += 1;
        Ok(())
    }
}

fn connect(node: &NodeAddress, options: &str) -> Result<Connection> {
    let connection =
        Client::open(format!("redis://{}/{options}", node.resp))?.get_connection_with_timeout(TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    Ok(connection)
}

fn plain(checks: &mut Checks, node: &NodeAddress, beside: &NodeAddress) -> Result<()> {
    for options in ["", "?protocol=resp3"] {
        let mut client = connect(node, options)?;
        let mut other = connect(beside, "")?;
        checks.that("plain: PING", client.check_connection())?;
        let base = format!("redis-rs:plain:{}{options}", node.name);
        let keys: Vec<String> = (0..KEYS).map(|index| format!("{base}:{index}")).collect();
        pipelined(checks, &mut client, &keys, "plain")?;
        let values: Vec<usize> = other.mget(&keys)?;
        checks.that("plain: MGET through another node", values == (0..KEYS).collect::<Vec<_>>())?;
        transactions(checks, &mut client, &mut other, &base)?;
    }
    publishes(checks, node, beside)
}

fn cluster(checks: &mut Checks, node: &NodeAddress, beside: &NodeAddress) -> Result<()> {
    let mut client = ClusterClient::builder([format!("redis://{}/", node.resp)])
        .connection_timeout(TIMEOUT)
        .response_timeout(TIMEOUT)
        .build()?
        .get_connection()?;
    let mut other = connect(beside, "")?;
    let base = format!("redis-rs:cluster:{}", node.name);
    for index in 0..KEYS {
        let key = format!("{base}:{index}");
        let () = client.set(&key, index)?;
        let value: usize = client.get(&key)?;
        checks.that("cluster: GET after SET", value == index)?;
    }
    let value: usize = other.get(format!("{base}:7"))?;
    checks.that("cluster: value through a plain node", value == 7)?;
    // The library splits a pipeline by the owners of its keys; an ordinary pipe needs a connection to one node.
    let (mut writes, mut reads) = (cluster_pipe(), cluster_pipe());
    for index in 0..KEYS {
        let key = format!("{base}:pipelined:{index}");
        writes.set(&key, index).ignore();
        reads.get(&key);
    }
    let () = writes.query(&mut client)?;
    let values: Vec<usize> = reads.query(&mut client)?;
    checks.that("cluster: pipelined GET", values == (0..KEYS).collect::<Vec<_>>())
}

fn pipelined(checks: &mut Checks, client: &mut Connection, keys: &[String], mode: &str) -> Result<()> {
    let mut writes = pipe();
    let mut reads = pipe();
    for (index, key) in keys.iter().enumerate() {
        writes.set(key, index).ignore();
        reads.get(key);
    }
    let () = writes.query(client)?;
    let values: Vec<usize> = reads.query(client)?;
    checks.that(&format!("{mode}: pipelined GET"), values == (0..keys.len()).collect::<Vec<_>>())
}

fn transactions(
    checks: &mut Checks,
    client: &mut Connection,
    other: &mut Connection,
    base: &str,
) -> Result<()> {
    let (first, second) = (format!("{{{base}}}:first"), format!("{{{base}}}:second"));
    let () = client.set(&first, 1)?;
    let results: (i64, String) =
        pipe().atomic().incr(&first, 1).set(&second, "two").ignore().get(&second).query(client)?;
    checks.that("plain: MULTI", results == (2, "two".to_owned()))?;
    // The first attempt is disturbed by a write through another node: WATCH must make the library try again.
    let mut attempts = 0;
    let (value,): (i64,) = transaction(client, &[&first], |client, pipe| {
        attempts += 1;
        let read: i64 = client.get(&first)?;
        if attempts == 1 {
            let () = other.set(&first, 100)?;
        }
        pipe.set(&first, read + 1).ignore().get(&first).query(client)
    })?;
    checks.that("plain: WATCH sees a write through another node", attempts == 2 && value == 101)
}

fn publishes(checks: &mut Checks, node: &NodeAddress, beside: &NodeAddress) -> Result<()> {
    let channel = format!("redis-rs:channel:{}", node.name);
    let mut subscriber = connect(node, "")?;
    let mut publisher = connect(beside, "")?;
    let mut subscription = subscriber.as_pubsub();
    subscription.subscribe(&channel)?;
    subscription.psubscribe(format!("{channel}:*"))?;
    let () = publisher.publish(&channel, "hello")?;
    let message: String = subscription.get_message()?.get_payload()?;
    checks.that("plain: message from another node", message == "hello")?;
    let () = publisher.publish(format!("{channel}:x"), "again")?;
    let message: String = subscription.get_message()?.get_payload()?;
    checks.that("plain: pattern message from another node", message == "again")
}

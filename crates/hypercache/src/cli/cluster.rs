//! `hypercache cluster status|leave|forget`: asks a node over its HTTP port.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use super::{complain, print};
use crate::admin_client::{AdminClient, Response};
use crate::config::Kind;

/// How long a status may take.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a node may take to hand its partitions over before it leaves.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) fn command() -> Command {
    let http = Arg::new("http")
        .long("http")
        .value_name("HOST:PORT")
        .default_value("127.0.0.1:8080")
        .global(true)
        .help("HTTP address of the node to ask");
    let password = Arg::new("requirepass")
        .long("requirepass")
        .value_name("PASSWORD")
        .global(true)
        .help("Password of the cluster [default: the environment's HYPERCACHE_REQUIREPASS]");
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the status as JSON");
    let node = Arg::new("node").value_name("NODE").required(true).help("Name of the node");
    Command::new("cluster")
        .about("Look at a running cluster, or take nodes out of it")
        .after_help(
            "Examples:\n  hypercache cluster status\n  hypercache cluster leave --http 127.0.0.1:8081\n  hypercache \
             cluster forget node-3",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .args([http, password])
        .subcommand(Command::new("status").about("Members, their state, and how data is spread").arg(json))
        .subcommand(Command::new("leave").about("Hand over the partitions of the node at --http and stop it"))
        .subcommand(Command::new("forget").about("Remove a node that is down and will not come back").arg(node))
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let (action, matches) = matches.subcommand().expect("clap requires one of the subcommands");
    let address = matches.get_one::<String>("http").expect("it has a default");
    let password = matches.get_one::<String>("requirepass").cloned();
    let password = password.or_else(|| std::env::var("HYPERCACHE_REQUIREPASS").ok()).unwrap_or_default();
    let client = |timeout| AdminClient::new(address, timeout).with_password(&password);
    let nothing = Value::Object(serde_json::Map::new());
    let answer = match action {
        "status" => client(STATUS_TIMEOUT).get("/api/cluster/status"),
        "leave" => client(LEAVE_TIMEOUT).post("/api/cluster/leave", &nothing),
        _ => {
            let node = matches.get_one::<String>("node").expect("clap requires it");
            // A name of this kind needs no percent-encoding in a path.
            if node.is_empty() || Kind::Name.parse(node, None).is_err() {
                complain(&format!("{node:?} is not the name of a node"));
                return ExitCode::from(super::EXIT_USAGE);
            }
            client(STATUS_TIMEOUT).post(&format!("/api/cluster/forget/{node}"), &nothing)
        }
    };
    match answer {
        Ok(response) if !response.is_success() => {
            complain(&response.complaint());
            ExitCode::FAILURE
        }
        Ok(response) if action == "status" => show(&response, matches.get_flag("json")),
        Ok(response) => {
            let json = response.json();
            print(&format!("{}\n", json["message"].as_str().unwrap_or("done")))
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn show(response: &Response, as_json: bool) -> ExitCode {
    let status = response.json();
    if as_json {
        return print(&format!("{status:#}\n"));
    }
    if !status["members"].is_array() {
        complain(&"the node's answer is no cluster status");
        return ExitCode::FAILURE;
    }
    print(&render(&status))
}

/// The status as a table.
fn render(status: &Value) -> String {
    let settled = if status["settled"] == Value::Bool(true) { "settled" } else { "moving partitions" };
    let mut out = format!(
        "cluster {} seen by {}: epoch {}, leader {}, {} partitions in {} copies, {settled}, {} under-replicated\n\n",
        text(&status["cluster_id"]),
        text(&status["node"]),
        text(&status["epoch"]),
        text(&status["leader"]),
        text(&status["partitions"]),
        text(&status["replication_factor"]),
        text(&status["under_replicated"]),
    );
    let columns = ["name", "state", "resp", "http", "gossip", "primaries", "replicas", "learners", "voter"];
    let mut rows = vec![columns.map(|column| column.to_uppercase()).to_vec()];
    for member in status["members"].as_array().into_iter().flatten() {
        rows.push(columns.iter().map(|column| text(&member[*column])).collect());
    }
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_string(),
        Value::Bool(true) => "yes".to_string(),
        Value::Bool(false) => "no".to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_shown_as_a_table() {
        let status = serde_json::json!({
            "cluster_id": "c1", "epoch": 12, "replication_factor": 2, "partitions": 256, "settled": true,
            "leader": "node-1", "node": "node-2", "under_replicated": 0,
            "members": [
                {"name": "node-1", "state": "up", "resp": "127.0.0.1:6379", "http": "127.0.0.1:8080",
                 "gossip": "127.0.0.1:7946", "primaries": 128, "replicas": 128, "learners": 0, "voter": true},
                {"name": "node-2", "state": "suspect"},
            ],
        });
        let shown = render(&status);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "cluster c1 seen by node-2: epoch 12, leader node-1, 256 partitions in 2 copies, settled, 0 under-replicated",
                "",
                "NAME    STATE    RESP            HTTP            GOSSIP          PRIMARIES  REPLICAS  LEARNERS  VOTER",
                "node-1  up       127.0.0.1:6379  127.0.0.1:8080  127.0.0.1:7946  128        128       0         yes",
                "node-2  suspect  -               -               -               -          -         -         -",
            ]
        );
    }
}

//! The command line: what can be asked for, and who answers.
//!
//! The flags of `hypercache server` are made from the table of directives, so that a new directive is a flag with
//! help without a line here. Exit codes: 0 for success, 1 for failure, 2 for a mistake of the user's.

mod check;
mod cluster;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::{self, DIRECTIVES, Directive, Mistake};
use crate::platform::Allocator;
use crate::{demo, load, server};

/// Exit code for wrong flags, wrong or contradictory values.
const EXIT_USAGE: u8 = 2;
/// Most nodes of a demo: their ports stay in one row, and two cores still carry them.
const DEMO_NODES_MAX: i64 = 9;
/// Fewest: with two nodes no majority is left after the kill that the demo shows.
const DEMO_NODES_MIN: i64 = 3;
/// Most nodes that `multi-node-demo` numbers.
const NUMBERED_NODES_MAX: i64 = 100;

const EXAMPLES: &str = "\
Examples:
  hypercache server                                    one node: RESP on 6379, HTTP and dashboard on 8080
  hypercache server --port 6380 --http-port 8081 --gossip-port 7947 --dir node-2 --join 127.0.0.1:7946
                                                       a second node that joins it
  hypercache demo                                      three nodes on this machine, and a tour of what they do
  hypercache cluster status                            who is in the cluster
  hypercache bench --populate                          how fast is it, over 50 connections
  hypercache check hypercache-data                     is the data on this node's disk sound?
  hypercache config show > hypercache.toml             a documented file with every directive

Any Redis client works: redis-cli -p 6379 set greeting hello
So does HTTP:           curl -X POST localhost:8080/api/cache/greeting -d '{\"value\": \"hello\", \"ttl\": 60}'";

const SERVER_EXAMPLES: &str = "\
Every flag is also a line of the --config file and an environment variable (HYPERCACHE_HTTP_PORT for --http-port).
A flag takes precedence over the environment, the environment over the file. Bytes: 1k = 1000, 1kb = 1024, mb, gb.

Examples:
  hypercache server --maxmemory 2gb --requirepass secret
  hypercache server --config /etc/hypercache.toml --node-id cache-1
  hypercache server --bind 0.0.0.0 --requirepass secret --cluster-secret s3cret --join cache.internal:7946";

/// Runs the command line `arguments`, the program's name first, in a process that allocates with `allocator`; returns the
/// exit code of the process.
pub fn run(arguments: impl IntoIterator<Item = OsString>, allocator: Allocator) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        // clap knows which of its errors are help and version, to standard output with code 0.
        Err(error) => {
            let printed = error.print();
            return match (error.exit_code(), printed) {
                (0, Ok(())) => ExitCode::SUCCESS,
                _ => ExitCode::from(EXIT_USAGE),
            };
        }
    };
    match matches.subcommand() {
        Some(("server", matches)) => run_server(matches, allocator),
        Some(("config", matches)) => run_config(matches),
        Some(("demo", matches)) => {
            let nodes = usize::try_from(number(matches, "nodes")).expect("clap checked the range");
            demo::run(nodes, matches.get_flag("once"))
        }
        Some(("multi-node-demo", matches)) => run_numbered(matches, allocator),
        Some(("cluster", matches)) => cluster::run(matches),
        Some(("check", matches)) => check::run(matches),
        Some(("bench", matches)) => run_bench(matches),
        _ => unreachable!("clap requires one of the subcommands"),
    }
}

/// The whole command line.
pub fn command() -> Command {
    Command::new("hypercache")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A distributed Redis-compatible cache in one binary: any Redis client, or plain HTTP, on any node.")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(server_command())
        .subcommand(demo_command())
        .subcommand(numbered_command())
        .subcommand(cluster::command())
        .subcommand(check::command())
        .subcommand(load::command::command())
        .subcommand(config_command())
}

fn server_command() -> Command {
    let stop_with_parent = Arg::new("stop-with-parent")
        .long("stop-with-parent")
        .value_name("PROCESS")
        .hide(true)
        .value_parser(value_parser!(i32).range(1..));
    Command::new("server")
        .about("Run a node in the foreground")
        .after_help(SERVER_EXAMPLES)
        .args(DIRECTIVES.iter().map(flag))
        .arg(stop_with_parent)
}

/// The flag of a directive. All may be repeated: the last counts, or all of them for `join`.
fn flag(directive: &'static Directive) -> Arg {
    let mut help = directive.doc.split(". ").next().unwrap_or_default().trim_end_matches('.').to_string();
    if !directive.default.is_empty() {
        help += &format!(" [default: {}]", directive.default);
    }
    Arg::new(directive.name)
        .long(directive.name)
        .value_name(directive.kind.placeholder())
        .help(help)
        .help_heading(directive.section.title())
        .action(ArgAction::Append)
        .allow_negative_numbers(true)
}

fn config_command() -> Command {
    let file = Arg::new("file").value_name("FILE").required(true).help("A TOML file");
    Command::new("config")
        .about("Check a configuration file, or show what can be configured")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(Command::new("check").about("Explain every mistake in a file, with its line").arg(file))
        .subcommand(Command::new("show").about("Print a documented TOML file with every default"))
        .subcommand(Command::new("docs").about("Print the reference of all directives as Markdown"))
}

fn demo_command() -> Command {
    let nodes = Arg::new("nodes")
        .long("nodes")
        .value_name("N")
        .default_value("3")
        .value_parser(value_parser!(i64).range(DEMO_NODES_MIN..=DEMO_NODES_MAX))
        .help("How many nodes to start");
    let once = Arg::new("once")
        .long("once")
        .action(ArgAction::SetTrue)
        .help("Stop afterwards; exit code 0 if all steps passed");
    Command::new("demo")
        .about("Start a cluster on this machine, show seven things it does, and keep it running")
        .arg(nodes)
        .arg(once)
}

fn numbered_command() -> Command {
    let number = Arg::new("number")
        .value_name("N")
        .required(true)
        .value_parser(value_parser!(i64).range(1..=NUMBERED_NODES_MAX))
        .help("Number of the node: HTTP on 8079+N, gossip on 7945+N, RESP on 6378+N");
    let seed = Arg::new("seed")
        .value_name("SEED")
        .value_parser(NonEmptyStringValueParser::new())
        .help("HOST:GOSSIP_PORT to join [default: 127.0.0.1:7946, and none for node 1]");
    Command::new("multi-node-demo")
        .about("Run numbered node N of a cluster by hand, one terminal each")
        .after_help("Examples:\n  hypercache multi-node-demo 1\n  hypercache multi-node-demo 2\n  hypercache multi-node-demo 3 127.0.0.1:7947")
        .arg(number)
        .arg(seed)
}

fn number(matches: &ArgMatches, name: &str) -> i64 {
    *matches.get_one::<i64>(name).expect("clap requires it or has a default")
}

fn run_server(matches: &ArgMatches, allocator: Allocator) -> ExitCode {
    if let Some(parent) = matches.get_one::<i32>("stop-with-parent")
        && let Err(error) = stop_with_parent(*parent)
    {
        complain(&error);
        return ExitCode::FAILURE;
    }
    let mut flags = Vec::new();
    for directive in DIRECTIVES {
        for value in matches.get_many::<String>(directive.name).into_iter().flatten() {
            flags.push((directive.name.to_string(), value.clone()));
        }
    }
    start(&flags, allocator)
}

fn run_numbered(matches: &ArgMatches, allocator: Allocator) -> ExitCode {
    let n = number(matches, "number");
    let seed =
        matches.get_one::<String>("seed").cloned().or_else(|| (n > 1).then(|| "127.0.0.1:7946".to_string()));
    let dir = std::env::temp_dir().join("hypercache-multi-node-demo").join(format!("node-{n}"));
    let mut flags = vec![
        ("node-id".to_string(), format!("node-{n}")),
        ("http-port".to_string(), (8079 + n).to_string()),
        ("gossip-port".to_string(), (7945 + n).to_string()),
        ("port".to_string(), (6378 + n).to_string()),
        ("dir".to_string(), dir.display().to_string()),
    ];
    flags.extend(seed.map(|seed| ("join".to_string(), seed)));
    start(&flags, allocator)
}

/// Loads the configuration and runs the server with it.
fn start(flags: &[(String, String)], allocator: Allocator) -> ExitCode {
    let loaded = config::process_environment().and_then(|environment| config::load(flags, &environment));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&mistakes),
    };
    for warning in &loaded.warnings {
        complain(&format!("warning: {warning}"));
    }
    match server::run(loaded.config, allocator) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Has the kernel stop this process when its parent, `parent`, ends: the demo leaves nothing behind even if it is
/// killed. Systems without that are left to the demo's own cleaning up.
fn stop_with_parent(parent: i32) -> Result<(), String> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| format!("cannot follow the parent process: {error}"))?;
    // The parent may have ended before the kernel was asked.
    match rustix::process::getppid() {
        Some(now) if now.as_raw_nonzero().get() == parent => Ok(()),
        _ => Err(format!("the parent process {parent} has ended")),
    }
}

/// Error replies make a run worthless, so they fail it; the report is printed all the same.
fn run_bench(matches: &ArgMatches) -> ExitCode {
    match load::command::run(matches) {
        Ok((report, true)) => print(&report),
        Ok((report, false)) => {
            print(&report);
            complain(&"the server answered with errors");
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run_config(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("show", _)) => print(&config::toml_document()),
        Some(("docs", _)) => print(&config::markdown()),
        Some(("check", matches)) => {
            let file = matches.get_one::<String>("file").expect("clap requires it");
            let checked = config::check_file(Path::new(file));
            if checked.mistakes.is_empty() {
                return print(&format!("{file}: ok, {} directives\n", checked.directives));
            }
            refuse(&checked.mistakes)
        }
        _ => unreachable!("clap requires one of the subcommands"),
    }
}

fn refuse(mistakes: &[Mistake]) -> ExitCode {
    for mistake in mistakes {
        complain(mistake);
    }
    let plural = if mistakes.len() == 1 { "mistake" } else { "mistakes" };
    complain(&format!("{} {plural} in the configuration", mistakes.len()));
    ExitCode::from(EXIT_USAGE)
}

/// Writes to standard error. If even that is closed there is nobody left to tell.
fn complain(text: &impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes to standard output; a reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("cannot write: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_directive_is_a_flag_in_both_forms() {
        for directive in DIRECTIVES {
            for arguments in
                [vec![format!("--{}", directive.name), "-1".into()], vec![format!("--{}=-1", directive.name)]]
            {
                let line = ["hypercache".to_string(), "server".to_string()].into_iter().chain(arguments);
                let matches = command().try_get_matches_from(line).expect("it is a flag");
                let (_, server) = matches.subcommand().expect("server was given");
                assert_eq!(server.get_one::<String>(directive.name).map(String::as_str), Some("-1"));
            }
        }
    }
}

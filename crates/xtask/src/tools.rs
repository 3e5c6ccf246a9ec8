//! Installs what tests and checks need, and only what is missing: system programs by the package manager,
//! everything else under `.tools/` of the checkout, where `git clean` finds it.

use crate::Result;
use crate::command::{cargo, on_path, output_of, run};
use std::path::{Path, PathBuf};

const CARGO_DENY_VERSION: &str = "0.20.2";

/// The nightly toolchain that Miri comes from, pinned: it is not in every one of them.
const MIRI_TOOLCHAIN: &str = "nightly-2026-05-20";

/// Programs that tests call, with the Debian package each comes from.
const SYSTEM_PROGRAMS: &[(&str, &str)] = &[
    ("redis-server", "redis-server"),
    ("redis-benchmark", "redis-tools"),
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("python3", "python3-venv"),
];

/// Client libraries of other languages, pinned: a new release must not break an old commit.
const PYTHON_PACKAGES: &[&str] = &["redis==8.1.0"];
const NODE_PACKAGES: &[&str] = &["ioredis@5.11.1", "puppeteer-core@24.43.1"];

/// Where tools of this checkout live.
pub(crate) fn tools_dir(root: &Path) -> PathBuf {
    root.join(".tools")
}

/// Installs all that `cargo xtask test` needs.
///
/// # Errors
/// When a package cannot be installed; says which.
pub(crate) fn install_for_tests(root: &Path) -> Result<()> {
    install_system_programs(root)?;
    install_python_packages(root)?;
    install_node_packages(root)
}

/// The `cargo-deny` program, installed if this version is nowhere yet.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn cargo_deny(root: &Path) -> Result<PathBuf> {
    let ours = tools_dir(root).join("bin/cargo-deny");
    let wanted = format!("cargo-deny {CARGO_DENY_VERSION}");
    for candidate in [ours.as_path(), Path::new("cargo-deny")] {
        let version = output_of(root, &candidate.display().to_string(), &["--version"]);
        if version.is_some_and(|version| version.trim() == wanted) {
            return Ok(candidate.to_path_buf());
        }
    }
    let tools = tools_dir(root).display().to_string();
    // Unoptimised and without its optional parts it builds in a minute on two cores, and checks just as well.
    let fast = ["--profile", "dev", "--config", "profile.dev.debug=false", "--no-default-features"];
    let mut arguments = vec!["install", "--locked", "cargo-deny", "--version", CARGO_DENY_VERSION];
    arguments.extend(["--root", &tools]);
    arguments.extend(fast);
    cargo(root, &arguments)?;
    Ok(ours)
}

/// The name of a toolchain with Miri, installed if it is not there yet.
///
/// # Errors
/// When it cannot be fetched, or when toolchains are not managed by rustup here.
pub(crate) fn miri(root: &Path) -> Result<&'static str> {
    if !on_path("rustup") {
        return Err("Miri needs rustup, which is not on the path".to_owned());
    }
    // Works only if the standard library's source, which Miri builds first, can be found as well.
    let probe = ["run", MIRI_TOOLCHAIN, "cargo", "miri", "setup", "--quiet"];
    if output_of(root, "rustup", &probe).is_some() {
        return Ok(MIRI_TOOLCHAIN);
    }
    let install =
        ["toolchain", "install", MIRI_TOOLCHAIN, "--profile", "minimal", "--component", "miri,rust-src"];
    run(root, "rustup", &install)
        .map_err(|error| format!("Miri's toolchain {MIRI_TOOLCHAIN} cannot be installed: {error}"))?;
    Ok(MIRI_TOOLCHAIN)
}

fn install_system_programs(root: &Path) -> Result<()> {
    let mut missing: Vec<&str> = SYSTEM_PROGRAMS
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    if !Path::new("/usr/share/fonts/truetype").is_dir() && missing.contains(&"chromium") {
        missing.push("fonts-dejavu-core");
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !on_path("apt-get") {
        return Err(format!("please install by hand: {}", missing.join(", ")));
    }
    let quiet = ["-o", "Dpkg::Use-Pty=0", "-q", "-y"];
    run(root, "apt-get", &["update", "-q"])?;
    let mut arguments = vec!["install", "--no-install-recommends"];
    arguments.extend(quiet);
    arguments.extend(missing);
    run(root, "apt-get", &arguments)
}

fn install_python_packages(root: &Path) -> Result<()> {
    let venv = tools_dir(root).join("venv");
    let stamp = Stamp::new(&venv, PYTHON_PACKAGES);
    if stamp.holds() {
        return Ok(());
    }
    run(root, "python3", &["-m", "venv", &venv.display().to_string()])?;
    let pip = venv.join("bin/pip").display().to_string();
    let mut arguments = vec!["install", "--quiet", "--disable-pip-version-check"];
    arguments.extend(PYTHON_PACKAGES);
    run(root, &pip, &arguments)?;
    stamp.write()
}

fn install_node_packages(root: &Path) -> Result<()> {
    let dir = tools_dir(root).join("node");
    let stamp = Stamp::new(&dir, NODE_PACKAGES);
    if stamp.holds() {
        return Ok(());
    }
    let prefix = dir.display().to_string();
    let mut arguments = vec!["install", "--prefix", &prefix, "--no-audit", "--no-fund", "--silent"];
    arguments.extend(NODE_PACKAGES);
    std::fs::create_dir_all(&dir).map_err(|error| format!("{prefix}: {error}"))?;
    run(root, "npm", &arguments)?;
    stamp.write()
}

/// A file that says which packages a directory was filled with, so that a changed pin installs anew.
struct Stamp {
    path: PathBuf,
    content: String,
}

impl Stamp {
    fn new(dir: &Path, packages: &[&str]) -> Stamp {
        Stamp { path: dir.join("installed"), content: packages.join("\n") }
    }

    fn holds(&self) -> bool {
        std::fs::read_to_string(&self.path).is_ok_and(|content| content == self.content)
    }

    fn write(&self) -> Result<()> {
        std::fs::write(&self.path, &self.content).map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

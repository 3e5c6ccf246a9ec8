//! Which crate may depend on which: dependencies point downwards only, and every edge is decided here.

use crate::Result;
use std::fs;
use std::path::Path;

/// Each crate with those of ours it may use. A crate that is not in the table is a finding, so that a new crate is
/// a decision; removing an edge needs none.
const ALLOWED: &[(&str, &[&str])] = &[
    ("stdx", &[]),
    ("protocol", &["stdx"]),
    ("effect", &["stdx"]),
    ("store", &["stdx", "effect"]),
    ("scripting", &["protocol"]),
    ("commands", &["stdx", "protocol", "effect", "store"]),
    ("persistence", &["stdx"]),
    ("replication", &["stdx", "effect"]),
    ("cluster", &["stdx"]),
    ("node", &["stdx", "protocol", "effect", "store", "scripting", "commands", "replication", "cluster"]),
    (
        "hypercache",
        &["stdx", "protocol", "effect", "store", "commands", "persistence", "replication", "cluster", "node"],
    ),
    ("bench", &["stdx", "protocol"]),
    ("xtask", &[]),
];

/// Crates that stand at the top and have nothing they must not know.
const TOP: &[&str] = &["hypercache", "bench", "xtask"];

/// Checks every crate's manifest and the opening of its root file.
///
/// # Errors
/// When a manifest cannot be read.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let crates = root.join("crates");
    let entries = fs::read_dir(&crates).map_err(|error| format!("{}: {error}", crates.display()))?;
    for entry in entries {
        let dir = entry.map_err(|error| error.to_string())?.path();
        let Ok(manifest) = fs::read_to_string(dir.join("Cargo.toml")) else { continue };
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        findings.extend(check_manifest(name, &manifest));
        if !TOP.contains(&name) {
            let opening = fs::read_to_string(dir.join("src/lib.rs")).unwrap_or_default();
            findings.extend(check_opening(name, &opening));
        }
    }
    Ok(findings)
}

fn check_manifest(name: &str, manifest: &str) -> Vec<String> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
        return vec![format!(
            "crates/{name}: not in the table of crate edges (crates/xtask/src/tidy/edges.rs)"
        )];
    };
    let is_ours = |dependency: &str| ALLOWED.iter().any(|(known, _)| *known == dependency);
    dependencies(manifest)
        .into_iter()
        .filter(|dependency| is_ours(dependency) && !allowed.contains(dependency) && *dependency != name)
        .map(|dependency| format!("crates/{name}: must not depend on {dependency}"))
        .collect()
}

/// The names in the dependency tables of a manifest, as far as our own manifests use TOML. Tests may use what the crate
/// itself must not know: a real store behind the replication protocol proves more than a double.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let of_tests = table.starts_with("dev-dependencies");
            inside = table.ends_with("dependencies") && !of_tests;
            // The long form: [dependencies.name]
            if let Some((parent, name)) = table.rsplit_once('.')
                && parent.ends_with("dependencies")
                && !of_tests
            {
                names.push(name);
            }
        } else if inside && !line.starts_with('#') {
            let end =
                line.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(line.len());
            if end > 0 {
                names.push(&line[..end]);
            }
        }
    }
    names
}

fn check_opening(name: &str, root_file: &str) -> Option<String> {
    let opening: String = root_file
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase();
    (!opening.contains("must not know"))
        .then(|| format!("crates/{name}/src/lib.rs:1: the opening does not say what the crate must not know"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upward_edge_is_found_in_any_form() {
        for upward in [
            "[dependencies]\nstdx.workspace = true\nnode.workspace = true",
            "[build-dependencies]\nnode = { path = \"../node\" }",
            "[target.'cfg(unix)'.dependencies.node]\nworkspace = true",
        ] {
            assert_eq!(
                check_manifest("store", upward),
                ["crates/store: must not depend on node"],
                "{upward}"
            );
        }
        let fine = "[package]\nname = \"store\"\n[dependencies]\nstdx.workspace = true\nbytes = \"1\"\n\
            [dev-dependencies]\nnode.workspace = true";
        assert!(check_manifest("store", fine).is_empty());
        assert_eq!(check_manifest("newcomer", "").len(), 1);
    }

    #[test]
    fn the_opening_says_what_the_crate_must_not_know() {
        assert!(check_opening("store", "//! Values.\n//!\n//! Must not know the disk.\n").is_none());
        assert!(check_opening("store", "//! Values.\nuse x; // must not know\n").is_some());
    }
}

//! House rules that no compiler checks: crate edges, file and function sizes, forbidden words, links.
//!
//! Each rule is a function from text to findings, and every finding names its file and line. Exceptions are
//! written at the place itself, with a reason, never in a list here, so that they are seen in review.

mod edges;
mod links;
mod rust;
mod scan;

use crate::Result;
use std::fs;
use std::path::{Path, PathBuf};

const SKIPPED_DIRS: &[&str] = &["target", ".git", ".tools", "node_modules"];

/// Runs every rule over the checkout.
///
/// # Errors
/// When there is any finding; they are printed first.
pub(crate) fn tidy(root: &Path) -> Result<()> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let mut findings = edges::check(root)?;
    let (mut rust_files, mut documents) = (0, 0);
    for path in &files {
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => {
                rust_files += 1;
                findings.extend(rust::check(&name, &read(path)?));
            }
            Some("md") => {
                documents += 1;
                findings.extend(links::check(&name, &read(path)?, &|target| exists(path, target)));
            }
            _ => {}
        }
    }
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        return Err(format!("{} findings", findings.len()));
    }
    println!("tidy: {rust_files} source files and {documents} documents are in order");
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !SKIPPED_DIRS.contains(&name) {
            collect(&path, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn exists(document: &Path, target: &str) -> bool {
    document.parent().is_some_and(|dir| dir.join(target).exists())
}

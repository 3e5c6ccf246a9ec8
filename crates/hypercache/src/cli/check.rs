//! `hypercache check DIR [--extract FILE]`: what is on a node's disk, what of it is damaged, and all that is sound as commands.
//!
//! Exit codes: 0 if the directory is sound, 1 if it is damaged, 2 if it cannot be read or the file cannot be written.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgMatches, Command};
use persistence::{Damage, Disk, FileReport, RealDisk, Report};
use stdx::{Clock, PartitionId};

use super::{EXIT_USAGE, complain, print};
use crate::config::DIRECTIVES;
use crate::persist::extract::{Extracted, Partial, extract};

/// Lines about one kind of finding; a damaged disk may have thousands.
const LINES_MAX: usize = 100;
/// Bytes handed to the system at once.
const WRITE_BYTES: usize = 1024 * 1024;

const EXAMPLES: &str = "\
Exit codes: 0 if the directory is sound, 1 if it is damaged, 2 if it cannot be read.

Examples:
  hypercache check hypercache-data                            what is there, and is it sound?
  hypercache check hypercache-data --extract rescued.resp     all that is sound, as commands
  redis-cli -p 6379 --pipe < rescued.resp                     ... for any node that runs";

pub(super) fn command() -> Command {
    let dir = Arg::new("dir")
        .value_name("DIR")
        .required(true)
        .value_parser(PathBufValueParser::new())
        .help("A node's `dir`, or the directory of the log in it");
    let file = Arg::new("extract")
        .long("extract")
        .value_name("FILE")
        .value_parser(PathBufValueParser::new())
        .help("Write all that is sound to this new file, as commands that `redis-cli --pipe` loads");
    Command::new("check")
        .about("Look a node's log and snapshots over without changing them, and save what is sound")
        .after_help(EXAMPLES)
        .arg(dir)
        .arg(file)
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let given = matches.get_one::<PathBuf>("dir").expect("clap requires it");
    let dir = log_directory(given);
    let refused = |error: &dyn std::fmt::Display| {
        complain(&format!("{}: {error}", dir.display()));
        ExitCode::from(EXIT_USAGE)
    };
    let disk: Arc<dyn Disk> = match RealDisk::open_to_read(&dir) {
        Ok(disk) => Arc::new(disk),
        Err(error) => return refused(&error),
    };
    let report = match persistence::check(&disk) {
        Ok(report) => report,
        Err(error) => return refused(&error),
    };
    if report.files.is_empty() && report.damage.is_empty() && !dir.join("manifest").exists() {
        return refused(&"there is no log here");
    }
    let mut text = render(&dir, &report);
    if let Some(file) = matches.get_one::<PathBuf>("extract") {
        match extract_to(file, disk) {
            Ok(extracted) => text += &render_extracted(file, &extracted),
            Err(error) => {
                print(&text);
                return refused(&format!("nothing is extracted to {}: {error}", file.display()));
            }
        }
    }
    match print(&text) {
        ExitCode::SUCCESS if !report.is_sound() => ExitCode::FAILURE,
        code => code,
    }
}

/// The directory of the log: in a node's directory it has a name of its own, which may be the usual one.
fn log_directory(given: &Path) -> PathBuf {
    let named = DIRECTIVES.iter().find(|directive| directive.name == "appenddirname");
    let inner = given.join(named.map_or("", |directive| directive.default));
    if inner.is_dir() { inner } else { given.to_owned() }
}

/// Writes the commands to a file that is not there yet.
fn extract_to(
    path: &Path,
    disk: Arc<dyn Disk>,
) -> Result<Extracted, Box<dyn std::error::Error + Send + Sync>> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let extracted = write(file, disk);
    if extracted.is_err() {
        // Half of the data must not be taken for all of it.
        let _ = std::fs::remove_file(path);
    }
    extracted
}

fn write(file: File, disk: Arc<dyn Disk>) -> Result<Extracted, Box<dyn std::error::Error + Send + Sync>> {
    let mut out = BufWriter::with_capacity(WRITE_BYTES, file);
    let extracted = extract(disk, Clock::system().wall(), &mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(extracted)
}

/// The report for a person.
fn render(dir: &Path, report: &Report) -> String {
    let mut text = format!("{}\n\n", dir.display());
    text += &lines(report.files.iter().map(file_line));
    let whole = report.partitions.iter().filter(|partition| partition.whole).count();
    let count = report.partitions.len();
    text += &format!("\npartitions that can be recovered: {count}, whole: {whole}\n");
    let incomplete = report.partitions.iter().filter(|partition| !partition.whole);
    if whole < count {
        let incomplete = ranges(incomplete.map(|partition| partition.partition));
        text += &format!("a copy had not arrived completely, other nodes have it: {incomplete}\n");
    }
    let snapshots = damaged_in_snapshots(report);
    if !snapshots.is_empty() {
        text += &format!("but damaged in a snapshot: {}\n", ranges(snapshots.into_iter()));
    }
    if !report.refused.is_empty() {
        let refused = ranges(report.refused.keys().copied());
        text += &format!("partitions that cannot be recovered: {} ({refused})\n", report.refused.len());
    }
    if let Some(tail) = &report.tail {
        text += &format!(
            "the log's torn end is cut at the next start: {} bytes of {} from offset {} on, {} sound frames among them\n",
            tail.bytes, tail.file, tail.offset, tail.frames_behind
        );
    }
    let damage = damage(report);
    if !damage.is_empty() {
        text += &format!("\n{}", lines(damage.iter().map(|damage| format!("{damage}\n"))));
    }
    text + if report.is_sound() { "\nsound\n" } else { "\ndamaged\n" }
}

/// Recovery reads the partitions of a snapshot only when it comes to them, so they count as recoverable.
fn damaged_in_snapshots(report: &Report) -> BTreeSet<PartitionId> {
    let snapshots = report.files.iter().filter(|file| file.needed && file.name.ends_with(".snap"));
    let damaged: BTreeSet<_> =
        snapshots.flat_map(|file| &file.unsound).filter_map(|damage| damage.partition).collect();
    let recoverable = report.partitions.iter().map(|found| found.partition);
    recoverable.filter(|partition| damaged.contains(partition)).collect()
}

fn file_line(file: &FileReport) -> String {
    let frames: Vec<_> = file.frames.iter().map(|(kind, count)| format!("{count} {kind:?}")).collect();
    let frames = if frames.is_empty() { "no frames".to_owned() } else { frames.join(", ") };
    let needed = if file.needed { "" } else { " (not needed: removed at the next start)" };
    format!("{}  {} bytes: {frames}{needed}\n", file.name, file.bytes)
}

/// Every damage once: what concerns any partition is not repeated for each, and the torn end is none.
fn damage(report: &Report) -> Vec<&Damage> {
    let tail = report.tail.as_ref();
    let torn =
        |damage: &Damage| tail.is_some_and(|tail| tail.file == damage.file && tail.offset <= damage.offset);
    let needed = report.files.iter().filter(|file| file.needed);
    let found = needed.flat_map(|file| &file.unsound).filter(|damage| !torn(damage));
    let mut places = BTreeSet::new();
    let all = report.damage.iter().chain(found);
    all.filter(|damage| places.insert((damage.file.as_str(), damage.offset))).collect()
}

/// The first lines, and how many more there are.
fn lines(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(LINES_MAX);
    let mut text: String = all.take(LINES_MAX).collect();
    if more > 0 {
        text += &format!("and {more} more\n");
    }
    text
}

/// Numbers as `1-3, 7`.
fn ranges(partitions: impl Iterator<Item = PartitionId>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for PartitionId(number) in partitions {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let texts = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn render_extracted(file: &Path, extracted: &Extracted) -> String {
    let Extracted { keys, expired, loading, partial } = extracted;
    let file = file.display();
    let mut text =
        format!("\n{keys} keys are in {file}; load them with `redis-cli -p PORT --pipe < {file}`\n");
    if *expired > 0 {
        text += &format!("{expired} keys whose time to live has ended are left out\n");
    }
    if *loading > 0 {
        text += &format!("{loading} filters that were being loaded by LOADCHUNK are left out\n");
    }
    text + &lines(partial.iter().map(partial_line))
}

fn partial_line(partial: &Partial) -> String {
    let Partial { partition, keys, left_out, damage } = partial;
    match damage {
        Some(damage) => format!(
            "partition {partition} is incomplete: {keys} keys as before the damage, {left_out} records from there on are missing: \
             {damage}\n"
        ),
        None => format!(
            "partition {partition} is incomplete: {keys} keys of a copy that had not arrived completely\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_one_range() {
        let check = |numbers: &[u16], text: &str| {
            assert_eq!(ranges(numbers.iter().copied().map(PartitionId)), text);
        };
        check(&[], "");
        check(&[7], "7");
        check(&[0, 1, 2, 5, 7, 8, u16::MAX], "0-2, 5, 7-8, 65535");
    }
}

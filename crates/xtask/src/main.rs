//! `cargo xtask`: everything this project automates, one word per job.
//!
//! Standard library only, so that it builds in seconds on a cold checkout. What it runs is printed before it runs;
//! a step that fails ends the whole command with a non-zero exit code. `ci` is continuous integration, no more
//! and no less, so that what passes here passes there.

#![allow(clippy::print_stdout, reason = "printing what runs is part of the job")]

mod accept;
mod ci;
mod command;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a step may fail with: a message for a person.
type Result<T> = std::result::Result<T, String>;

const EXIT_USAGE: u8 = 2;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  ci [--without-miri]        format, clippy, tidy, deny, miri, test: what continuous integration runs
  test                       install what tests need, cargo test, each bench once, and the short acceptance set
  miri                       unit tests of crates with unsafe code under Miri, which it installs
  tidy                       house rules that no compiler checks
  deny                       licences, bans, sources, and advisories where their database can be fetched
  setup                      only install what tests need
  accept [NAME...|all] [--short] [--rounds N] [--operations N] [--seed N]
                             acceptance runs against real processes; all of them without a name
  bench latency|http|memory  the acceptance runs that are benches
  bench peers [--rounds N] [--workload NAME..] [--peers NAME,..] [--short] [--seconds S]
                             beside Valkey, Redis and memcached; a whole run writes docs/performance.md
  bench hitratio [--short] [--trace NAME..] [--share SHARE..] [--policy NAME..]
                             hit ratios of recorded traces, beside Redis and simulators
  bench durability [set] [recovery] [snapshot] [--short] [--rounds N]
                             what persistence costs and how fast data come back, beside Redis
  bench expiry [dead-keys|burst|memory].. [--short] [--rounds N] [--seconds S] [--seed N]
                             dead keys held, latency while a million expire, memory above its limit; beside Redis
  campaign kill|restart|pause|cross-node|malformed [--rounds N] [--operations N] [--seed N]
                             long forms of the runs that search for faults
  campaign differential [--commands N] [--seed N] [--family NAME]..
                             five million random commands, every reply compared with redis-server
  campaign crash-images      100,000 states in which a crash may leave a disk, or PERSISTENCE_IMAGES of them
  campaign bit-flips         100,000 flipped bits in closed logs and as many in others, or PERSISTENCE_IMAGES of each
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = root();
    let Some((job, rest)) = arguments.split_first() else {
        println!("{USAGE}");
        return ExitCode::from(EXIT_USAGE);
    };
    let done = match job.as_str() {
        "ci" => ci::ci(&root, rest),
        "test" => ci::test(&root),
        "miri" => ci::miri(&root),
        "tidy" => tidy::tidy(&root),
        "deny" => ci::deny(&root),
        "setup" => tools::install_for_tests(&root),
        "accept" => accept::accept(&root, rest),
        "bench" => accept::bench(&root, rest),
        "campaign" => accept::campaign(&root, rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => {
            eprintln!("xtask: there is no job named {other:?}\n\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {job}: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's root: two levels above this crate.
fn root() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.ancestors().nth(2).unwrap_or(crate_dir).to_path_buf()
}

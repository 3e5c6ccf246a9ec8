//! The command line of a run: which server binary, how long, from which seed, and where to keep what it leaves.

use crate::Result;
use std::path::{Path, PathBuf};
use stdx::Random;

/// Everything a run is told from outside.
pub(crate) struct Context {
    /// The `hypercache` program under test.
    pub(crate) binary: PathBuf,
    /// True for the sizes that continuous integration uses.
    pub(crate) short: bool,
    /// Overrides a run's number of rounds.
    pub(crate) rounds: Option<u64>,
    /// Overrides a run's number of operations or cases.
    pub(crate) operations: Option<u64>,
    /// The families of commands that `differential` is about; all if there is none.
    pub(crate) families: Vec<String>,
    /// Where every random choice of the run starts; printed, so that a run can be repeated.
    pub(crate) seed: u64,
    /// The seed that was asked for with `--seed`, if one was.
    pub(crate) asked_seed: Option<u64>,
    /// The repository's root, for client scripts and artefacts.
    pub(crate) root: PathBuf,
}

impl Context {
    /// Splits the command line into the names of runs and their context.
    ///
    /// # Errors
    /// An option that does not exist, lacks its value, or whose value is not a number.
    pub(crate) fn parse(arguments: &[String]) -> Result<(Vec<String>, Context)> {
        let root = repository_root();
        let mut context = Context {
            binary: root.join("target/release/hypercache"),
            short: false,
            rounds: None,
            operations: None,
            families: Vec::new(),
            seed: Random::system().next_u64() >> 32,
            asked_seed: None,
            root,
        };
        let mut names = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--short" => context.short = true,
                "--rounds" => context.rounds = Some(value()?.parse()?),
                "--family" => context.families.push(value()?.clone()),
                "--operations" | "--commands" => context.operations = Some(value()?.parse()?),
                "--seed" => {
                    context.seed = value()?.parse()?;
                    context.asked_seed = Some(context.seed);
                }
                "--binary" => context.binary = PathBuf::from(value()?),
                option if option.starts_with('-') => return Err(format!("unknown option {option}").into()),
                name => names.push(name.to_owned()),
            }
        }
        Ok((names, context))
    }

    /// The number of rounds: as asked, or by length of run.
    pub(crate) fn rounds(&self, full: u64, short: u64) -> u64 {
        self.rounds.unwrap_or(if self.short { short } else { full })
    }

    /// The number of operations: as asked, or by length of run.
    pub(crate) fn operations(&self, full: u64, short: u64) -> u64 {
        self.operations.unwrap_or(if self.short { short } else { full })
    }

    /// Where artefacts for people (screenshots) are kept.
    pub(crate) fn artefacts(&self) -> PathBuf {
        self.root.join("target/artefacts")
    }
}

/// The workspace's root: two levels above this crate, as it was laid out when built.
fn repository_root() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.ancestors().nth(2).unwrap_or(crate_dir).to_path_buf()
}

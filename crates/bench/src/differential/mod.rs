//! The differential test: random programs run in redis-server and in HyperCache, and every reply is compared.
//!
//! [`program`] makes a program from a seed: commands of the [`families`], written in the notation of [`grammar`], with words of
//! the [`vocabulary`]. [`runner`] sends it in pipelines to redis-server, to one HyperCache node and to a random node of a
//! cluster of three, in RESP2 or RESP3. [`compare`] says whether two replies are equal: exactly, or as [`checks`] asks of
//! commands that answer in any order; [`conversation`] looks into what is random, walks and payloads. At the end of
//! each program [`state`] compares all that the servers hold. A difference passes only if one of the [`rules`] explains
//! it; [`shrink`] shortens a program that shows another.
//!
//! What is not compared: when a key expires to the millisecond, what happens under failures, and commands that the
//! reference does not have.

mod checks;
mod compare;
mod conversation;
mod families;
mod grammar;
mod link;
mod payload;
mod program;
mod rules;
mod runner;
mod servers;
mod shrink;
mod state;
mod times;
mod value;
mod vocabulary;

use crate::Result;
use crate::context::Context;
use crate::report::Report;
use program::{Program, generate};
use rules::Rules;
use runner::{Counts, Difference, Runner, command_text};
use servers::Servers;
use std::collections::BTreeMap;

const COMMANDS: u64 = 5_000_000;
const COMMANDS_SHORT: u64 = 20_000;
/// The first seed of a short pass that is given none.
const SHORT_SEED: u64 = 1;
/// Differences that are shortened and printed; of the others only the number counts.
const SHOWN_MAX: usize = 40;
/// Programs with differences after which a run has shown enough.
const DIFFERENT_MAX: u64 = 1_000;
/// Programs that a busy cluster may break off, in a thousand.
const INTERRUPTED_PER_MILLE_MAX: f64 = 5.0;

/// Compares until enough commands have run.
///
/// # Errors
/// When a server does not start, or the reference fails.
pub(crate) fn run(context: &Context) -> Result<Report> {
    let wanted = context.operations(COMMANDS, COMMANDS_SHORT);
    let known = |name: &String| families::FAMILIES.iter().any(|family| family.name == *name);
    if let Some(unknown) = context.families.iter().find(|name| !known(name)) {
        let names: Vec<&str> = families::FAMILIES.iter().map(|family| family.name).collect();
        return Err(format!("no family named {unknown:?}; there are {}", names.join(", ")).into());
    }
    let mut run = Differential {
        servers: Servers::start(context)?,
        families: context.families.clone(),
        rules: Rules::default(),
        counts: Counts::default(),
        programs: 0,
        different: 0,
        signatures: BTreeMap::new(),
    };
    // A short pass is a check of a change, and has to answer the same for the same code; a campaign looks for what is new.
    let first = if context.short { context.asked_seed.unwrap_or(SHORT_SEED) } else { context.seed };
    println!("   seed {first}; reference {}", run.servers.version);
    while run.counts.commands < wanted && run.different < DIFFERENT_MAX {
        run.next(first.wrapping_add(run.programs))?;
    }
    Ok(run.report(wanted))
}

struct Differential {
    servers: Servers,
    families: Vec<String>,
    rules: Rules,
    counts: Counts,
    programs: u64,
    different: u64,
    /// How often each kind of difference was met.
    signatures: BTreeMap<String, u64>,
}

impl Differential {
    fn next(&mut self, seed: u64) -> Result<()> {
        let program = generate(seed, &self.families);
        self.programs += 1;
        let ours = self.servers.ours.iter_mut().collect();
        let runner =
            Runner { redis: &mut self.servers.redis, ours, rules: &mut self.rules, counts: &mut self.counts };
        if let Some(difference) = runner.run(&program)? {
            self.different += 1;
            let times = self.signatures.entry(difference.signature.clone()).or_default();
            *times += 1;
            if *times == 1 && self.signatures.len() <= SHOWN_MAX {
                self.show(&program, &difference)?;
            }
        }
        Ok(())
    }

    /// Prints a difference with the shortest program that shows it.
    fn show(&mut self, program: &Program, found: &Difference) -> Result<()> {
        // What shortening runs is no part of the figures.
        let (mut rules, mut counts) = (Rules::default(), Counts::default());
        let (shorter, difference) = shrink::shrink(program, found, |candidate| {
            let ours = self.servers.ours.iter_mut().filter(|party| party.name == found.party).collect();
            let redis = &mut self.servers.redis;
            Runner { redis, ours, rules: &mut rules, counts: &mut counts }.run(candidate)
        })?;
        let names = self.families.iter().map(|name| format!(" --family {name}")).collect::<String>();
        println!("   DIFFERENCE {}", difference.signature.trim());
        println!(
            "     in {}, RESP{}; --seed {} --commands 1{names}",
            found.party, program.protocol, program.seed
        );
        for line in &shorter.lines {
            let other = if line.connection > 0 { "  (second connection)" } else { "" };
            println!("     > {}{other}", command_text(&line.words));
        }
        println!("     {}: {}", difference.why, difference.command);
        println!("     redis:      {}", difference.theirs);
        println!("     hypercache: {}", difference.ours);
        Ok(())
    }

    fn report(&self, wanted: u64) -> Report {
        let mut report = Report::default();
        let counts = &self.counts;
        report.note(format!(
            "{} programs, {} commands, {} replies and {} keys compared with {}",
            self.programs, counts.commands, counts.compared, counts.keys, self.servers.version
        ));
        for (rule, count) in self.rules.used() {
            report.note(format!("allowed difference {rule}: {count} times"));
        }
        for (signature, count) in &self.signatures {
            report.note(format!("difference in {count} programs: {signature}"));
        }
        report.at_least("commands", counts.commands as f64, wanted as f64, "");
        report.exactly("programs with unexplained differences", self.different, 0);
        let share = counts.interrupted as f64 * 1_000.0 / self.programs.max(1) as f64;
        report.at_most(
            "programs broken off by a busy cluster",
            share,
            INTERRUPTED_PER_MILLE_MAX,
            "per mille",
        );
        report
    }
}

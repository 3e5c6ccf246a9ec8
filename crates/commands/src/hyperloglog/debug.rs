//! PFDEBUG and PFSELFTEST: a look at what a sketch is made of.

use super::sketch::{Encoding, Sketch, body, encoding_of};
use super::sparse::Runs;
use super::write::{Former, store};
use super::{ROW, dense, selftest, sketch_of};
use crate::args::Args;
use crate::context::WriteCtx;
use crate::error::{CommandError, Outcome, answer};
use crate::session::SessionCtx;
use crate::string::INTEGER_TEXT_BYTES_MAX;
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "pfdebug",
        arity: 3,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::ADMIN),
        keys: Keys(&[KeySpec::at(2, KeyFlags::RW.with(KeyFlags::ACCESS))]),
        complexity: "N/A",
        summary: "Internal commands for debugging HyperLogLog values.",
        run: Run::Write(pfdebug),
        ..ROW
    },
    Command {
        name: "pfselftest",
        arity: 1,
        flags: Flags::ADMIN,
        complexity: "N/A",
        summary: "An internal command for testing HyperLogLog values.",
        run: Run::Session(pfselftest),
        ..ROW
    },
];

const NO_SUCH_KEY: CommandError = CommandError::Other("The specified key does not exist");
const NOT_SPARSE: CommandError = CommandError::Other("HLL encoding is not sparse");
/// Any; always the same, so that a failure can be seen again.
const SELFTEST_SEED: u64 = 1;

fn pfdebug(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = debug(ctx, args, reply);
    answer(reply, outcome);
}

fn debug(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let key = args.at(2);
    let former = {
        let entry = ctx.get(key).ok_or(NO_SUCH_KEY)?;
        let mut scratch = [0; INTEGER_TEXT_BYTES_MAX];
        let bytes = sketch_of(&entry, &mut scratch)?;
        Former { sketch: Sketch::of(bytes), expire_at: entry.expire_at() }
    };
    let encoding = encoding_of(former.sketch.as_bytes())?;
    if args.is(1, "getreg") {
        let sketch = make_dense(ctx, key, &former)?;
        let mut registers = Vec::new();
        dense::for_each(body(sketch.as_bytes()), |value| registers.push(value));
        reply.array(registers.len());
        registers.iter().for_each(|value| reply.integer(i64::from(*value)));
    } else if args.is(1, "decode") {
        if encoding == Encoding::Dense {
            return Err(NOT_SPARSE);
        }
        reply.bulk(decode(body(former.sketch.as_bytes()))?.as_bytes());
    } else if args.is(1, "encoding") {
        reply.simple(if encoding == Encoding::Dense { "dense" } else { "sparse" });
    } else if args.is(1, "todense") {
        make_dense(ctx, key, &former)?;
        reply.integer(i64::from(encoding == Encoding::Sparse));
    } else {
        let name = String::from_utf8_lossy(args.at(1));
        return Err(CommandError::Echo(format!("Unknown PFDEBUG subcommand '{name}'")));
    }
    Ok(())
}

/// The sketch in the dense encoding, which the key has from now on.
fn make_dense(ctx: &mut WriteCtx<'_>, key: &[u8], former: &Former) -> Outcome<Sketch> {
    let mut sketch = former.sketch.clone();
    if !sketch.is_dense() {
        sketch.make_dense()?;
        store(ctx, key, Some(former), &sketch);
    }
    Ok(sketch)
}

/// The runs as text: `z` and `Z` for zeros in one byte and in two, `v` for a value; then how many registers.
fn decode(runs: &[u8]) -> Outcome<String> {
    let mut words = Vec::new();
    for run in Runs::of(runs) {
        let run = run?;
        words.push(match (run.value, run.bytes) {
            (0, 1) => format!("z:{}", run.len),
            (0, _) => format!("Z:{}", run.len),
            (value, _) => format!("v:{value},{}", run.len),
        });
    }
    Ok(words.join(" "))
}

fn pfselftest(_ctx: &mut SessionCtx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = selftest::run(SELFTEST_SEED).map(|()| reply.ok());
    answer(reply, outcome.map_err(CommandError::Echo));
}

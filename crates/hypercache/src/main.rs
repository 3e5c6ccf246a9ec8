//! The hypercache binary: everything is in the library, so that tests and embedding programs reach it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    hypercache::cli::run(std::env::args_os())
}

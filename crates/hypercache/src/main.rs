//! The hypercache binary: everything is in the library, so that tests and embedding programs reach it too.

use hypercache::allocator::Mimalloc;
use hypercache::platform::Allocator;
use std::process::ExitCode;
use stdx::allocator::Counting;

#[global_allocator]
static ALLOCATOR: Counting<Mimalloc> = Counting::new(Mimalloc);

fn main() -> ExitCode {
    let allocator = Allocator { name: "mimalloc", held_bytes: || ALLOCATOR.held_bytes() };
    hypercache::cli::run(std::env::args_os(), allocator)
}

//! The hypercache binary: everything is in the library, so that tests and embedding programs reach it too.

use hypercache::platform::Allocator;
use mimalloc::MiMalloc;
use std::process::ExitCode;
use stdx::allocator::Counting;

#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting::new(MiMalloc);

fn main() -> ExitCode {
    let allocator = Allocator { name: "mimalloc", held_bytes: || ALLOCATOR.held_bytes() };
    hypercache::cli::run(std::env::args_os(), allocator)
}

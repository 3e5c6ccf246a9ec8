//! The running server: opens the ports and serves until it is told to stop.

use std::error::Error;
use std::process::ExitCode;

use crate::config::Config;

/// Runs a node in the foreground; returns the exit code of the process.
pub fn run(config: Config) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    Err(format!("{}: this build contains no server", config.node_id).into())
}

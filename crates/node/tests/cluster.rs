//! Whole nodes in one process: real workers, shared state and coordinators over links, leases and maps that the test
//! delays, cuts and reorders. One binary, so that the harness is compiled once.

mod harness;
mod scenarios;

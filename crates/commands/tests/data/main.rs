//! The commands on keys, run without a node: golden scripts and random programs over one harness.

mod golden;
mod harness;
mod hyperloglog;
mod pieces;
mod random;

//! Random programs in redis-server and in HyperCache: see [`crate::differential`].

use crate::Result;
use crate::context::Context;
use crate::differential;
use crate::report::Report;

/// Runs it.
pub(crate) fn run(context: &Context) -> Result<Report> {
    differential::run(context)
}

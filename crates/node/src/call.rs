//! Requests from outside the workers: HTTP handlers and embedded users.

use crate::frame::Words;
use commands::acl::User;
use protocol::Version;
use std::sync::Arc;

/// A command to run, and what to do with its reply.
pub struct Call {
    /// Who asks; `None`: the server itself, who may do everything.
    pub user: Option<Arc<User>>,
    /// Database.
    pub db: u8,
    /// Protocol version of the reply.
    pub version: Version,
    /// The words.
    pub words: Words,
    /// Gets the encoded reply, exactly once, on the worker's thread: it must not block.
    pub respond: Box<dyn FnOnce(Vec<u8>) + Send>,
}

//! Users and what they may do (Redis's ACL).
//!
//! ```text
//!   users --- user --- password*                     a command of a connection
//!               |                                              |
//!               +--- selector+ --- commands: bits by row       v
//!                             +--- keys: patterns         check_command
//!                             +--- channels: patterns          |
//!                                                     allowed, or a denial: its error, an entry of the log
//! ```
//! All of this is plain data and pure functions. A node keeps the table of users, replaces it as a whole when something
//! changes, and asks [`check_command`] before anything runs for somebody. A user that may do everything is recognised by one flag.
//!
//! # Left out
//! Argon2 and other slow digests: users come from Redis's files and go back into them, where a password is its SHA-256.
//! Databases per user, which only Valkey knows.

mod check;
mod commands;
mod log;
mod password;
mod permitted;
mod plan;
mod rule;
mod selector;
mod show;
mod user;
mod users;

pub use check::{Denial, check_command, is_secret, outlives_subscriptions};
pub(crate) use commands::ACL;
pub use log::{AclLog, LogContext, Refused};
pub use password::Digest;
pub use plan::{Plan, UsersChange};
pub use rule::RuleError;
pub use selector::Reason;
pub use user::{DEFAULT_USER, User};
pub use users::{Users, described, line};

//! The HyperCache server: connections, HTTP, dashboard, configuration, command line.

pub mod admin_client;
pub mod allocator;
pub mod cli;
pub mod config;
pub mod control;
pub mod dashboard;
pub mod demo;
pub mod http;
mod huge_pages;
pub mod io;
pub mod load;
pub mod persist;
pub mod platform;
pub mod server;
mod users_file;

//! The HyperCache server: connections, HTTP, dashboard, configuration, command line.

pub mod admin_client;
pub mod cli;
pub mod config;
pub mod dashboard;
pub mod demo;
pub mod io;
pub mod platform;
pub mod server;

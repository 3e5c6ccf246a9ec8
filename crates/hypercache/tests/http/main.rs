//! The HTTP port over real sockets, on a double of the node and of the cluster.

mod admin;
mod cache;
mod client;
mod double;
mod limits;
mod metrics;
mod server;
mod stream;

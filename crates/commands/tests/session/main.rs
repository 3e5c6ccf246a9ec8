//! Commands of the session, the server and the cluster against an in-memory node, byte for byte in RESP2 and RESP3.
//! Expected bytes were taken from a running Redis where it has the command.

mod acl;
mod client;
mod cluster;
mod connection;
mod docs;
mod double;
mod pubsub;
mod server;

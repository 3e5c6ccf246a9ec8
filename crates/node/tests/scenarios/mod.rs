//! What a cluster promises, one file per promise. Names say which of the design's cluster rules they cover.

mod across;
mod any_node;
mod blocking;
mod chaos;
mod commit;
mod coordinator;
mod events;
mod filters;
mod leases;
mod monitor;
mod order;
mod resync;
mod scripts;
mod users;

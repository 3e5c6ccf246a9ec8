//! A simulated disk that knows what is durable, and the enumeration of what a crash may leave of it.
//!
//! [`SimDisk`] keeps a journal of everything done to it. [`Replay`] goes through a journal operation by operation, and
//! at every point gives [`images`](Replay::image): disks as a crash at that point may leave them. The model is harsher than any
//! file system known to us: of what was not synced, any bytes may be missing or rubbish in any sector, any length in between may
//! be found, and creations, renames and removals may be lost one by one, in any order.
//!
//! With [`campaign`] it runs random work on a log and checks the recovery of every image.

pub mod campaign;
mod disk;
pub mod flips;
mod image;
pub mod model;
pub mod work;

pub use disk::{Fault, SimDisk};
pub use image::{Image, Replay};

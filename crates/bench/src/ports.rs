//! Free ports for servers, chosen below the range that the kernel hands to outgoing connections.
//!
//! A killed server must find its own port free when it is restarted: a port from the ephemeral range could be
//! taken meanwhile by any client's connection.

use crate::Result;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use stdx::Random;

const PORT_LOW: u64 = 12_000;
const PORT_HIGH: u64 = 30_000;
const ATTEMPTS_MAX: usize = 1_000;

/// Picks `count` different ports of the loopback address that are free for TCP and UDP now.
///
/// # Errors
/// When so many random ports are taken that something else must be wrong.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let mut random = Random::system();
    let mut held = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        if held.len() == count {
            break;
        }
        let port = (PORT_LOW + random.below(PORT_HIGH - PORT_LOW)) as u16;
        let address = (Ipv4Addr::LOCALHOST, port);
        if let (Ok(tcp), Ok(udp)) = (TcpListener::bind(address), UdpSocket::bind(address)) {
            held.push((port, tcp, udp));
        }
    }
    if held.len() < count {
        return Err(format!("found only {} of {count} free ports", held.len()).into());
    }
    Ok(held.iter().map(|(port, _, _)| *port).collect())
}

//! Whether this kernel, as this process may use it, does what the loop needs.
//!
//! Containers forbid io_uring in several ways, and the features the loop needs came in several versions (multishot
//! receive last, in Linux 6.0). Trying every operation once on a pair of sockets covers all of them.

use super::super::sockets::Outgoing;
use super::sys::{Completion, Haste, Ring, Token};
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long one operation may take here.
const STEP_MAX: Duration = Duration::from_secs(2);
const TOKEN: Token = Token { index: 1, generation: 1 };

/// Tries every kind of operation; the error says which was refused.
pub(crate) fn probe() -> io::Result<()> {
    let refused =
        |what: &'static str| move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
    let mut ring = Ring::new().map_err(refused("setting up a ring"))?;
    ring.enable().map_err(refused("enabling a ring"))?;
    let (near, far) = UnixStream::pair()?;
    ring.receive(&near, TOKEN)?;
    for haste in [Haste::Patient, Haste::Prompt] {
        ring.send(&far, TOKEN, Outgoing::new(b"?".to_vec()), haste)?;
        let seen = collect(&mut ring, 2).map_err(refused("waiting"))?;
        for completion in seen {
            match completion {
                Completion::Received { result: Ok(Some(filled)), more: true, .. } => {
                    if ring.take(filled, |bytes| bytes != b"?") {
                        return Err(unexpected("receive"));
                    }
                }
                Completion::Received { result: Err(error), .. } => {
                    return Err(refused("multishot receive")(error));
                }
                Completion::Sent { outgoing, error: None, .. } if outgoing.unsent().is_empty() => {}
                Completion::Sent { error: Some(error), .. } => return Err(refused("send")(error)),
                _ => return Err(unexpected("receive and send")),
            }
        }
    }
    ring.cancel_receive(TOKEN)?;
    match collect(&mut ring, 1)?.pop() {
        Some(Completion::Received { result: Err(_), more: false, .. }) if ring.under_way() == 0 => Ok(()),
        _ => Err(unexpected("cancel")),
    }
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{what}: not as expected"))
}

/// Waits for so many completions, as long as they come.
fn collect(ring: &mut Ring, count: usize) -> io::Result<Vec<Completion>> {
    let mut happened = Vec::new();
    while happened.len() < count {
        let before = happened.len();
        ring.wait(STEP_MAX, &mut happened)?;
        if happened.len() == before {
            break;
        }
    }
    Ok(happened)
}

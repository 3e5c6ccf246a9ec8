//! What the cache API needs of a node, and how a command's reply is read.

use super::figures::{Figures, FilterFigures};
use commands::acl::User;
use std::sync::Arc;

/// Gets the encoded RESP2 reply of a command, exactly once, or is dropped when there will be none.
pub type Respond = Box<dyn FnOnce(Vec<u8>) + Send>;

/// Keys and values, here and on the other nodes.
pub trait Backend: Send + Sync + 'static {
    /// Reads a key of database 0 at once, on this thread. `None`: that is not possible now, because the key lives
    /// elsewhere or something about it is not settled; then `GET` must be [called](Backend::call).
    fn read_now(&self, key: &[u8]) -> Option<Option<Vec<u8>>>;
    /// Where a key lives.
    fn place_of(&self, key: &[u8]) -> Place;
    /// Runs a command in database 0 for a user, wherever its keys live.
    fn call(&self, user: &Arc<User>, words: &[&[u8]], respond: Respond);
    /// The numbers for `/metrics`.
    fn figures(&self) -> Figures;
    /// The numbers for `/api/filter/stats`.
    fn filters(&self) -> FilterFigures;
}

/// Where a key lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Name of the node that is its primary; empty while there is none.
    pub primary_name: String,
    /// Whether that is this node.
    pub local: bool,
}

/// A reply of RESP2, as far as the commands of the cache API give one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reply<'a> {
    Simple,
    Integer(u64),
    Bulk(&'a [u8]),
    Null,
    Error(&'a str),
}

impl<'a> Reply<'a> {
    /// Reads a whole reply; `None` if it is not one of these.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Reply<'a>> {
        let (kind, rest) = bytes.split_first()?;
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..end]);
        match kind {
            b'+' => Some(Reply::Simple),
            b'-' => Some(Reply::Error(line.unwrap_or("ERR an error that is not text"))),
            b':' => line.ok()?.parse().ok().map(Reply::Integer),
            b'$' if line == Ok("-1") => Some(Reply::Null),
            b'$' => {
                let length: usize = line.ok()?.parse().ok()?;
                rest.get(end + 2..)?.get(..length).map(Reply::Bulk)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies() {
        let check = |bytes: &[u8], expected| assert_eq!(Reply::parse(bytes), expected, "{bytes:?}");
        check(b"+OK\r\n", Some(Reply::Simple));
        check(b":1\r\n", Some(Reply::Integer(1)));
        check(b"$-1\r\n", Some(Reply::Null));
        check(b"$0\r\n\r\n", Some(Reply::Bulk(b"")));
        check(b"$4\r\na\r\nb\r\n", Some(Reply::Bulk(b"a\r\nb")));
        check(b"-OOM command not allowed\r\n", Some(Reply::Error("OOM command not allowed")));
        for wrong in [&b""[..], b"$5\r\nabc", b"$x\r\n", b":-1\r\n", b"*0\r\n", b"+OK"] {
            check(wrong, None);
        }
    }
}

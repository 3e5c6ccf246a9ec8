//! Keys by where they live, found as any HTTP user could find it: a reply names the key's primary.

use crate::Result;
use crate::cluster::NodeAddress;
use crate::http_client::{HttpClient, key_path};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
const SEARCH_MAX: usize = 20_000;

/// Keys that exist, with the value `0`.
pub(crate) struct Placed {
    /// Keys whose primary is the node asked for.
    pub(crate) there: Vec<String>,
    /// Keys whose primary is another.
    pub(crate) elsewhere: Vec<String>,
}

/// Writes candidates until `count` keys of each kind are known.
///
/// # Errors
/// When writes fail, or the node is primary of next to nothing, or of next to everything.
pub(crate) fn keys_by_primary(through: &NodeAddress, primary: &str, count: usize) -> Result<Placed> {
    let mut client = HttpClient::new(through.http, TIMEOUT);
    let mut placed = Placed { there: Vec::new(), elsewhere: Vec::new() };
    for candidate in 0..SEARCH_MAX {
        let key = format!("placed:{candidate}");
        let reply = client.request("PUT", &key_path(key.as_bytes()), br#"{"value":"0"}"#)?;
        if reply.status != 200 {
            return Err(format!("PUT {key}: {} {}", reply.status, reply.json()?).into());
        }
        let side =
            if reply.json()?["primary"] == primary { &mut placed.there } else { &mut placed.elsewhere };
        if side.len() < count {
            side.push(key);
        }
        if placed.there.len() == count && placed.elsewhere.len() == count {
            return Ok(placed);
        }
    }
    let (there, elsewhere) = (placed.there.len(), placed.elsewhere.len());
    Err(format!("of {SEARCH_MAX} keys only {there} have {primary} as primary and {elsewhere} have not")
        .into())
}

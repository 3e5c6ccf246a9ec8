//! As much of a Redis client as the demo needs: one command, one reply, over one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest string that the demo expects back, in bytes.
const BULK_LEN_MAX: usize = 1 << 20;

/// A RESP2 reply that is not an array.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// A simple or bulk string.
    Text(String),
    /// An integer.
    Integer(i64),
    /// Nothing.
    Null,
}

/// Sends `command` to the node at `address`; an error reply or a broken connection is an `Err` in words.
pub(super) fn ask(address: &str, command: &[&str]) -> Result<Reply, String> {
    let exchange = || -> Result<Reply, String> {
        let target: SocketAddr = address.parse().map_err(|_| "not an address".to_string())?;
        let mut stream = TcpStream::connect_timeout(&target, TIMEOUT).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(|error| error.to_string())?;
        let mut request = format!("*{}\r\n", command.len());
        for word in command {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        read_reply(&mut BufReader::new(stream))
    };
    exchange().map_err(|why| format!("{} at {address}: {why}", command.join(" ")))
}

fn read_reply(reader: &mut impl BufRead) -> Result<Reply, String> {
    let mut line = String::new();
    reader.take(BULK_LEN_MAX as u64).read_line(&mut line).map_err(|error| error.to_string())?;
    let line = line.strip_suffix("\r\n").ok_or("the reply is cut short")?;
    let (kind, rest) = line.split_at_checked(1).ok_or("an empty reply")?;
    match kind {
        "+" => Ok(Reply::Text(rest.to_string())),
        "-" => Err(rest.to_string()),
        ":" => rest.parse().map(Reply::Integer).map_err(|_| "not an integer".to_string()),
        "$" if rest == "-1" => Ok(Reply::Null),
        "$" => {
            let length =
                rest.parse().ok().filter(|length| *length <= BULK_LEN_MAX).ok_or("a wrong length")?;
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes).map_err(|error| error.to_string())?;
            bytes.truncate(length);
            String::from_utf8(bytes).map(Reply::Text).map_err(|_| "not text".to_string())
        }
        _ => Err(format!("an unexpected reply {line:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies() {
        let check = |bytes: &str, expected: Result<Reply, &str>| {
            assert_eq!(read_reply(&mut bytes.as_bytes()), expected.map_err(str::to_string), "{bytes:?}");
        };
        check("+OK\r\n", Ok(Reply::Text("OK".into())));
        check("$5\r\nhello\r\n", Ok(Reply::Text("hello".into())));
        check("$-1\r\n", Ok(Reply::Null));
        check(":-2\r\n", Ok(Reply::Integer(-2)));
        check("-ERR no\r\n", Err("ERR no"));
        check("*1\r\n", Err("an unexpected reply \"*1\""));
        check("+OK", Err("the reply is cut short"));
        check("$99999999\r\n", Err("a wrong length"));
    }
}

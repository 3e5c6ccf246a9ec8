//! The inputs of the `malformed` run, each with the answers it allows.

use crate::resp_client::encode;
use stdx::Random;

const MEGABYTE: usize = 1024 * 1024;
/// Redis refuses an inline command once 64 KiB have come without a line end.
const INLINE_TOO_LONG: usize = 66 * 1024;
const RANDOM_BYTES_MAX: u64 = 300;
const MUTATIONS_MAX: u64 = 4;

/// What a case allows.
#[derive(Clone, Copy)]
pub(super) enum Expect {
    /// The command is not whole: no reply may come.
    Silence,
    /// `-ERR Protocol error: ...` with this text, then the server closes by itself.
    ProtocolError(&'static str),
    /// One `-ERR` reply, and the connection stays open for more.
    CommandError,
    /// Whatever comes must be whole replies.
    Replies,
}

/// One input.
pub(super) struct Case {
    /// The bytes to send.
    pub(super) bytes: Vec<u8>,
    /// What may come back.
    pub(super) expect: Expect,
}

impl Case {
    /// A case of a random kind.
    pub(super) fn random(random: &mut Random) -> Case {
        match random.below(1_000) {
            0..200 => truncated(random),
            200..300 => bad_count(random),
            300..400 => bad_length(random),
            400..450 => large_but_allowed(random),
            450..650 => random_bytes(random),
            650..900 => mutated(random),
            900..940 => nothing(random),
            940..990 => not_a_command(random),
            990..998 => endless_inline(INLINE_TOO_LONG, random),
            _ => endless_inline(MEGABYTE, random),
        }
    }
}

fn case(bytes: impl Into<Vec<u8>>, expect: Expect) -> Case {
    Case { bytes: bytes.into(), expect }
}

fn valid_frame(random: &mut Random) -> Vec<u8> {
    let key = format!("malformed:{}", random.below(100));
    let mut value = vec![0; random.below(60) as usize];
    random.fill(&mut value);
    let mut frame = Vec::new();
    match random.below(6) {
        0 => encode(&[b"SET".as_slice(), key.as_bytes(), &value], &mut frame),
        1 => encode(&[b"GET".as_slice(), key.as_bytes()], &mut frame),
        2 => encode(&[b"MGET".as_slice(), key.as_bytes(), b"other"], &mut frame),
        3 => encode(&[b"SET".as_slice(), key.as_bytes(), &value, b"EX", b"100"], &mut frame),
        4 => encode(&[b"HELLO".as_slice(), b"2"], &mut frame),
        _ => encode(&[b"PING".as_slice(), &value], &mut frame),
    }
    frame
}

fn truncated(random: &mut Random) -> Case {
    let mut frame = valid_frame(random);
    frame.truncate(1 + random.below(frame.len() as u64 - 1) as usize);
    case(frame, Expect::Silence)
}

fn bad_count(random: &mut Random) -> Case {
    const COUNTS: &[&str] =
        &["1000000000", "1048577", "2147483648", "99999999999999999999", "abc", "1x", " 1", "+-1", "0x10"];
    let count = COUNTS[random.below(COUNTS.len() as u64) as usize];
    case(format!("*{count}\r\n$4\r\nPING\r\n"), Expect::ProtocolError("invalid multibulk length"))
}

fn bad_length(random: &mut Random) -> Case {
    const LENGTHS: &[&str] = &[
        "-5",
        "-1",
        "536870913",
        "2147483648",
        "99999999999999999999",
        "abc",
        "4x",
        " 4",
        "-9223372036854775808",
    ];
    if random.chance(0.2) {
        return case("*1\r\n:4\r\nPING\r\n", Expect::ProtocolError("expected '$', got ':'"));
    }
    let length = LENGTHS[random.below(LENGTHS.len() as u64) as usize];
    case(format!("*1\r\n${length}\r\nPING\r\n"), Expect::ProtocolError("invalid bulk length"))
}

/// Sizes within the limits that never arrive: nothing may be set aside for them.
fn large_but_allowed(random: &mut Random) -> Case {
    const FRAMES: &[&str] = &[
        "*1048576\r\n$3\r\nSET\r\n",
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nx",
        "*2\r\n$536870912\r\n",
        "*1000000\r\n",
        "*2\r\n$3\r\nGET\r\n$100000000\r\nabc",
    ];
    case(FRAMES[random.below(FRAMES.len() as u64) as usize], Expect::Silence)
}

fn random_bytes(random: &mut Random) -> Case {
    let mut bytes = vec![0; random.below(RANDOM_BYTES_MAX) as usize];
    random.fill(&mut bytes);
    case(bytes, Expect::Replies)
}

/// One or two valid frames with a few bytes changed, added, removed or doubled.
fn mutated(random: &mut Random) -> Case {
    let mut bytes = valid_frame(random);
    if random.chance(0.5) {
        bytes.extend(valid_frame(random));
    }
    for _ in 0..=random.below(MUTATIONS_MAX) {
        let at = random.below(bytes.len() as u64) as usize;
        let byte = random.next_u64() as u8;
        match random.below(5) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 if bytes.len() > 1 => {
                bytes.remove(at);
            }
            3 => bytes[at] = b"0123456789*$-\r\n"[usize::from(byte) % 15],
            _ => {
                let tail = bytes[at..].to_vec();
                bytes.extend(tail);
            }
        }
    }
    case(bytes, Expect::Replies)
}

/// Input that is complete and asks for nothing.
fn nothing(random: &mut Random) -> Case {
    const INPUTS: &[&str] = &["\r\n", "\n", "*0\r\n", "*-1\r\n", "\r\n\r\n*0\r\n", "*-5\r\n", "   \r\n"];
    case(INPUTS[random.below(INPUTS.len() as u64) as usize], Expect::Silence)
}

fn not_a_command(random: &mut Random) -> Case {
    let mut name = vec![0; 1 + random.below(20) as usize];
    random.fill(&mut name);
    // No command is this long, so that no random name is one.
    name.extend_from_slice(b" is no command at all");
    let mut frame = Vec::new();
    if random.chance(0.5) {
        encode(&[name.as_slice(), b"argument"], &mut frame);
    } else {
        encode(&[b"GET".as_slice()], &mut frame);
    }
    case(frame, Expect::CommandError)
}

fn endless_inline(length: usize, random: &mut Random) -> Case {
    let letter = b'a' + random.below(26) as u8;
    case(vec![letter; length], Expect::ProtocolError("too big inline request"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_cases() {
        let (mut a, mut b) = (Random::seeded(9), Random::seeded(9));
        assert!((0..200).all(|_| Case::random(&mut a).bytes == Case::random(&mut b).bytes));
    }
}

//! How JSON values are kept in Redis strings, and back.
//!
//! A JSON string is stored as exactly its bytes, so it is the same string over RESP and back. Any other value is
//! stored as its compact JSON text followed by [`JSON_MARK`]. The mark begins with a byte that no UTF-8 text contains,
//! and JSON strings are UTF-8: so no string that comes over HTTP can ever be taken for a marked value, nothing needs
//! escaping, and both directions are exact. (No mark made of legal text could give that: for every such mark there is
//! a string that ends with it.) It stands at the end so that RESP clients see the JSON text first.
//!
//! Read over HTTP, bytes with the mark after valid JSON are that value; other UTF-8 is a JSON string; anything else
//! is given in base64, and said to be so.

use super::failure::Failure;
use super::json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What follows the JSON text of a stored value that is not a string. `0xFF` occurs in no UTF-8 text.
pub const JSON_MARK: &[u8] = b"\xffjson";
/// Longest time to live, in seconds: ten years.
pub const TTL_SECONDS_MAX: u64 = 10 * 31_557_600;

/// A request to store something, read and checked.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Store {
    /// The bytes to store.
    pub(crate) value: Vec<u8>,
    /// Milliseconds to live, at least 1; `None`: for ever.
    pub(crate) ttl_ms: Option<u64>,
}

/// The body of a request to store something; unknown fields are ignored.
#[derive(Deserialize)]
#[serde(expecting = "an object with the field \"value\"")]
struct Wire<'a> {
    // Not an `Option` to serde: a `null` is a value here, and only an absent field is none.
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    ttl: Option<&'a RawValue>,
}

fn present<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(input).map(Some)
}

/// Reads the body of a request to store something.
///
/// # Errors
/// 400 with what is wrong and, for syntax, where.
pub(crate) fn parse(body: &[u8]) -> Result<Store, Failure> {
    // serde takes an array for a struct, field by field; users do not.
    if body.trim_ascii_start().first().is_some_and(|&byte| byte != b'{') {
        return Err(Failure::bad_request("the body must be a JSON object with the field \"value\""));
    }
    let wire: Wire<'_> = serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("the body is not valid JSON: {error}")))?;
    let value = wire.value.ok_or_else(|| Failure::bad_request("the field \"value\" is missing"))?;
    let ttl_ms = wire.ttl.map_or(Ok(None), |ttl| parse_ttl(ttl.get()))?;
    Ok(Store { value: stored(value.get())?, ttl_ms })
}

/// The bytes to store for the JSON text of a value.
fn stored(text: &str) -> Result<Vec<u8>, Failure> {
    if text.starts_with('"') {
        let decoded: Result<Cow<'_, str>, _> = serde_json::from_str(text);
        let unpaired =
            |error| Failure::bad_request(format!("the field \"value\" is not a valid string: {error}"));
        return decoded.map(|string| string.into_owned().into_bytes()).map_err(unpaired);
    }
    let mut bytes = json::compact(text);
    bytes.extend_from_slice(JSON_MARK);
    Ok(bytes)
}

/// Milliseconds of a time to live in seconds; `null` and 0 are none.
fn parse_ttl(text: &str) -> Result<Option<u64>, Failure> {
    let refused = |why: &str| {
        let shown: String = text.chars().take(40).collect();
        Failure::bad_request(format!(
            "the field \"ttl\" must be a number of seconds from 0 to {TTL_SECONDS_MAX}: {shown} {why}"
        ))
    };
    if text == "null" {
        return Ok(None);
    }
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err(refused("is not a number"));
    }
    let seconds: f64 = text.parse().map_err(|_| refused("is not a number"))?;
    if seconds < 0.0 {
        return Err(refused("is negative"));
    }
    if seconds > TTL_SECONDS_MAX as f64 {
        return Err(refused("is too large"));
    }
    // Rounded up: a time to live that was asked for never becomes none.
    Ok(Some((seconds * 1_000.0).ceil() as u64).filter(|&ms| ms > 0))
}

/// Appends the JSON of stored bytes, and a field `encoding` if they had to be encoded.
#[inline]
pub(crate) fn write(out: &mut Vec<u8>, stored: &[u8]) {
    match std::str::from_utf8(stored) {
        Ok(text) => json::string(out, text),
        Err(_) => write_marked_or_binary(out, stored),
    }
}

fn write_marked_or_binary(out: &mut Vec<u8>, stored: &[u8]) {
    if let Some(text) = stored.strip_suffix(JSON_MARK).and_then(valid_json) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(stored).as_bytes());
    out.extend_from_slice(b"\",\"encoding\":\"base64\"");
}

/// Anybody can write the mark over RESP: what stands before it goes into a response only if it is JSON.
fn valid_json(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    Some(raw.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parsed(body: &str) -> Store {
        parse(body.as_bytes()).expect("a good body")
    }

    fn read(stored: &[u8]) -> Value {
        let mut out = b"{\"value\":".to_vec();
        write(&mut out, stored);
        out.push(b'}');
        serde_json::from_slice(&out).expect("always JSON")
    }

    #[test]
    fn strings_are_their_bytes_and_come_back() {
        let marked = String::from_utf8_lossy(JSON_MARK).into_owned();
        for text in [
            "",
            "hello",
            "42",
            "null",
            "{\"a\":1}",
            "\u{1}42",
            "\u{0}",
            "\u{ff}json",
            "4\u{ff}json",
            &marked,
            "\u{1f600}\"\\",
        ] {
            let stored = parsed(&json!({"value": text}).to_string()).value;
            assert_eq!(stored, text.as_bytes());
            assert_eq!(read(&stored), json!({"value": text}));
        }
    }

    #[test]
    fn other_values_are_marked_and_come_back_typed() {
        for (written, kept) in [
            ("42", "42"),
            ("-0.50", "-0.50"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("true", "true"),
            ("null", "null"),
            ("[ ]", "[]"),
            ("{ \"a\" : [1, \" x \"] }", "{\"a\":[1,\" x \"]}"),
        ] {
            let stored = parsed(&format!("{{\"value\": {written} }}")).value;
            assert_eq!(stored, [kept.as_bytes(), JSON_MARK].concat());
            let mut out = Vec::new();
            write(&mut out, &stored);
            assert_eq!(out, kept.as_bytes());
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_encoded() {
        let encoded = |bytes: &[u8]| json!({"value": STANDARD.encode(bytes), "encoding": "base64"});
        for bytes in [
            &b"\xff"[..],
            b"\x00\xfe\xff",
            b"\xffjson",
            b"{\xffjson",
            b"1 2\xffjson",
            b"\xff1\xffjson",
            b"42\xff",
        ] {
            assert_eq!(read(bytes), encoded(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn times_to_live() {
        let check = |ttl: &str, expected: Option<u64>| {
            assert_eq!(parsed(&format!("{{\"value\":1,\"ttl\":{ttl}}}")).ttl_ms, expected, "{ttl}");
        };
        check("60", Some(60_000));
        check("0.5", Some(500));
        check("1e1", Some(10_000));
        check("0.0000001", Some(1));
        check("315576000", Some(315_576_000_000));
        check("0", None);
        check("-0.0", None);
        check("null", None);
        assert_eq!(parsed("{\"value\":1}").ttl_ms, None);
        for (ttl, why) in [
            ("-1", "negative"),
            ("-1e400", "negative"),
            ("1e400", "too large"),
            ("315576001", "too large"),
            ("\"60\"", "not a number"),
            ("true", "not a number"),
            ("[1]", "not a number"),
            ("{}", "not a number"),
        ] {
            let failure = parse(format!("{{\"value\":1,\"ttl\":{ttl}}}").as_bytes()).expect_err("a bad ttl");
            assert!(
                failure.message.contains(why) && failure.status.as_u16() == 400,
                "{ttl}: {}",
                failure.message
            );
        }
    }

    #[test]
    fn bad_bodies_are_explained() {
        for (body, why) in [
            (&b""[..], "EOF"),
            (b"{\"value\": }", "line 1 column 11"),
            (b"{\"value\":1", "EOF"),
            (b"{\"value\":1} x", "trailing characters at line 1 column 13"),
            (b"{}", "\"value\" is missing"),
            (b"{\"Value\":1}", "\"value\" is missing"),
            (b"[1,2]", "must be a JSON object"),
            (b"\"x\"", "must be a JSON object"),
            (b"{\"value\":1,\"value\":2}", "duplicate field"),
            (b"{\"value\":\"\\ud800\"}", "not a valid string"),
            (b"{\"value\":\"\xff\"}", "unicode"),
            (b"{\"value\":\"a\nb\"}", "control character"),
            (b"{\"value\":NaN}", "expected value"),
            (b"{\"value\":01}", "invalid number"),
        ] {
            let failure = parse(body).expect_err("a bad body");
            assert!(failure.message.contains(why), "{}: {}", String::from_utf8_lossy(body), failure.message);
        }
        assert_eq!(parsed(" {\"other\":[{}],\"value\":\"x\",\"ttl\":null}\n").value, b"x");
    }
}

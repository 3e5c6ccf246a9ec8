//! A reply as a tree that owns its bytes, and the writing of commands: the client's side of the wire.
//!
//! Servers write replies with [`Reply`] and never build this tree; it is for those who read replies: links,
//! the merging of fan-out replies, the HTTP gateway, the load generator and tests.

use crate::reply::{Reply, Version};

/// One reply of RESP2 or RESP3.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A simple string, without line breaks.
    Simple(Vec<u8>),
    /// An error, its code first. RESP3's blob errors are read as this too.
    Error(Vec<u8>),
    /// An integer.
    Integer(i64),
    /// A string of any bytes.
    Bulk(Vec<u8>),
    /// RESP3's null, and RESP2's null bulk.
    Null,
    /// RESP2's null array; written as the plain null in RESP3.
    NullArray,
    /// An array.
    Array(Vec<Value>),
    /// Keys and values, in the order sent.
    Map(Vec<(Value, Value)>),
    /// A set, in the order sent.
    Set(Vec<Value>),
    /// A message that answers no command.
    Push(Vec<Value>),
    /// A double.
    Double(f64),
    /// A boolean.
    Boolean(bool),
    /// Decimal text of an integer of any size.
    BigNumber(Vec<u8>),
    /// A text for people.
    Verbatim {
        /// `txt` or `mkd`.
        format: [u8; 3],
        /// The text without its format.
        text: Vec<u8>,
    },
    /// A reply with attributes that a client may ignore.
    Attribute {
        /// Keys and values, in the order sent.
        attributes: Vec<(Value, Value)>,
        /// The reply itself.
        value: Box<Value>,
    },
}

impl Value {
    /// A string of any bytes.
    pub fn bulk(bytes: impl Into<Vec<u8>>) -> Value {
        Value::Bulk(bytes.into())
    }

    /// True for an error reply.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    /// The bytes of a string of any kind, errors excluded.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(bytes) | Value::Bulk(bytes) | Value::BigNumber(bytes) => Some(bytes),
            Value::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The value of an integer reply.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// Appends this reply in the version of `reply`. RESP2 gets what [`Reply`] makes of each type, and no
    /// attributes.
    pub fn encode(&self, reply: &mut Reply<'_>) {
        match self {
            Value::Simple(text) => reply.line(b'+', text),
            Value::Error(text) => reply.line(b'-', text),
            Value::Integer(value) => reply.integer(*value),
            Value::Bulk(bytes) => reply.bulk(bytes),
            Value::Null => reply.null(),
            Value::NullArray => reply.null_array(),
            Value::Array(values) => {
                reply.array(values.len());
                encode_all(values, reply);
            }
            Value::Map(pairs) => {
                reply.map(pairs.len());
                encode_pairs(pairs, reply);
            }
            Value::Set(values) => {
                reply.set(values.len());
                encode_all(values, reply);
            }
            Value::Push(values) => {
                reply.push(values.len());
                encode_all(values, reply);
            }
            Value::Double(value) => reply.double(*value),
            Value::Boolean(value) => reply.boolean(*value),
            Value::BigNumber(text) => match reply.version() {
                Version::Resp2 => reply.bulk(text),
                Version::Resp3 => reply.line(b'(', text),
            },
            Value::Verbatim { format, text } => reply.verbatim_bytes(*format, text),
            Value::Attribute { attributes, value } => {
                if reply.attribute(attributes.len()) {
                    encode_pairs(attributes, reply);
                }
                value.encode(reply);
            }
        }
    }
}

/// Appends a command as clients send it: an array of bulks.
pub fn encode_command<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    let mut writer = Reply::new(out, Version::Resp2);
    writer.array(args.len());
    for arg in args {
        writer.bulk(arg.as_ref());
    }
}

fn encode_all(values: &[Value], reply: &mut Reply<'_>) {
    for value in values {
        value.encode(reply);
    }
}

fn encode_pairs(pairs: &[(Value, Value)], reply: &mut Reply<'_>) {
    for (key, value) in pairs {
        key.encode(reply);
        value.encode(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_bulks() {
        let mut out = Vec::new();
        encode_command(&mut out, &["SET", "k", ""]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
    }

    #[test]
    fn resp2_has_a_form_for_every_type() {
        let value = Value::Attribute {
            attributes: vec![(Value::bulk("ttl"), Value::Integer(1))],
            value: Box::new(Value::Map(vec![
                (Value::Simple(b"a".to_vec()), Value::Boolean(true)),
                (Value::Null, Value::NullArray),
                (Value::Double(1.5), Value::BigNumber(b"12".to_vec())),
                (Value::Set(vec![]), Value::Push(vec![])),
                (Value::Error(b"ERR x".to_vec()), Value::Verbatim { format: *b"txt", text: b"t".to_vec() }),
            ])),
        };
        let mut out = Vec::new();
        value.encode(&mut Reply::new(&mut out, Version::Resp2));
        let expect =
            "*10\r\n+a\r\n:1\r\n$-1\r\n*-1\r\n$3\r\n1.5\r\n$2\r\n12\r\n*0\r\n*0\r\n-ERR x\r\n$1\r\nt\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }

    #[test]
    fn accessors() {
        assert_eq!(Value::bulk("x").as_bytes(), Some(b"x".as_slice()));
        assert_eq!(Value::Error(b"ERR".to_vec()).as_bytes(), None);
        assert!(Value::Error(b"ERR".to_vec()).is_error());
        assert_eq!(Value::Integer(5).as_integer(), Some(5));
        assert_eq!(Value::Null.as_integer(), None);
    }
}

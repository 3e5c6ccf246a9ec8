//! Bytes of a [`Message`]: tag, fixed-width little-endian fields, records as they stand in the log.
//!
//! Links are TCP and authenticated, so a message has no checksum of its own; records in a file have one.

use crate::difference::{Span, SpanDigest};
use crate::message::Message;
use crate::records::Records;
use std::fmt;
use stdx::{Epoch, Seq};

const ATTACH: u8 = 1;
const RECORDS: u8 = 2;
const SYNC_BEGIN: u8 = 3;
const CHUNK: u8 = 4;
const POSITION: u8 = 5;
const ACK: u8 = 6;
const FENCED: u8 = 7;
const BEHIND: u8 = 8;
const COMPARE: u8 = 9;
const DIFFERING: u8 = 10;

/// The bytes are not a message of this version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodecError;

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed replication message")
    }
}

impl std::error::Error for CodecError {}

/// Fields of the two messages that there is one of for every write.
const OFTEN_BYTES: usize = 1 + 8 + 8 + 8 + 4;

/// They are put together first, and appended at once.
fn often(tag: u8, reign: Epoch, (stream, counter): (u64, u64), last: u32) -> [u8; OFTEN_BYTES] {
    let mut fields = [0; OFTEN_BYTES];
    fields[0] = tag;
    fields[1..9].copy_from_slice(&reign.0.to_le_bytes());
    fields[9..17].copy_from_slice(&stream.to_le_bytes());
    fields[17..25].copy_from_slice(&counter.to_le_bytes());
    fields[25..].copy_from_slice(&last.to_le_bytes());
    fields
}

/// Appends `message` to `out`.
pub fn encode(out: &mut Vec<u8>, message: &Message<'_>) {
    match message {
        Message::Records { reign, stream, committed, records } => {
            let records = records.as_bytes();
            let len = u32::try_from(records.len()).expect("a message holds far less than 4 GiB");
            out.reserve(OFTEN_BYTES + records.len());
            out.extend_from_slice(&often(RECORDS, *reign, (*stream, *committed), len));
            out.extend_from_slice(records);
        }
        Message::Ack { reign, stream, counter, chunks } => {
            out.extend_from_slice(&often(ACK, *reign, (*stream, *counter), *chunks));
        }
        Message::Attach { reign, stream, last } => {
            head(out, ATTACH, *reign);
            put_u64(out, *stream);
            put_seq(out, *last);
        }
        Message::SyncBegin { reign, stream, at, keep } => {
            head(out, SYNC_BEGIN, *reign);
            put_u64(out, *stream);
            put_seq(out, *at);
            out.push(u8::from(*keep));
        }
        Message::Compare { reign, stream, from, spans } => {
            head(out, COMPARE, *reign);
            put_u64(out, *stream);
            put_u64(out, *from);
            put_u32(out, spans.len());
            for SpanDigest { to, digest: [first, second] } in spans {
                [to, first, second].into_iter().for_each(|number| put_u64(out, *number));
            }
        }
        Message::Chunk { reign, stream, replaces, effects, done } => {
            head(out, CHUNK, *reign);
            put_u64(out, *stream);
            out.push(u8::from(*done) | u8::from(replaces.is_some()) << 1);
            if let Some(span) = replaces {
                put_span(out, *span);
            }
            put_bytes(out, effects);
        }
        Message::Position { reign, stream, last, usable, order } => {
            head(out, POSITION, *reign);
            put_u64(out, *stream);
            put_seq(out, *last);
            out.push(u8::from(*usable));
            put_u64(out, *order);
        }
        Message::Differing { reign, stream, reached, spans } => {
            head(out, DIFFERING, *reign);
            put_u64(out, *stream);
            put_u64(out, *reached);
            put_u32(out, spans.len());
            spans.iter().for_each(|span| put_span(out, *span));
        }
        Message::Fenced { reign } => head(out, FENCED, *reign),
        Message::Behind { reign, stream } => {
            head(out, BEHIND, *reign);
            put_u64(out, *stream);
        }
    }
}

/// Reads one message that fills `bytes` exactly.
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, CodecError> {
    let mut reader = Reader { bytes };
    let tag = reader.u8()?;
    let reign = Epoch(reader.u64()?);
    if tag == FENCED {
        return if reader.bytes.is_empty() { Ok(Message::Fenced { reign }) } else { Err(CodecError) };
    }
    let stream = reader.u64()?;
    let message = match tag {
        ATTACH => Message::Attach { reign, stream, last: reader.seq()? },
        RECORDS => {
            let committed = reader.u64()?;
            let records = Records::checked(reader.sized()?)?;
            Message::Records { reign, stream, committed, records }
        }
        SYNC_BEGIN => {
            let at = reader.seq()?;
            Message::SyncBegin { reign, stream, at, keep: reader.u8()? != 0 }
        }
        COMPARE => {
            let from = reader.u64()?;
            Message::Compare { reign, stream, from, spans: reader.many(Reader::span_digest)? }
        }
        CHUNK => {
            let bits = reader.u8()?;
            let replaces = if bits & 2 != 0 { Some(reader.span()?) } else { None };
            Message::Chunk { reign, stream, replaces, effects: reader.sized()?.into(), done: bits & 1 != 0 }
        }
        POSITION => {
            let (last, usable) = (reader.seq()?, reader.u8()? != 0);
            Message::Position { reign, stream, last, usable, order: reader.u64()? }
        }
        DIFFERING => {
            let reached = reader.u64()?;
            Message::Differing { reign, stream, reached, spans: reader.many(Reader::span)? }
        }
        ACK => Message::Ack { reign, stream, counter: reader.u64()?, chunks: reader.u32()? },
        BEHIND => Message::Behind { reign, stream },
        _ => return Err(CodecError),
    };
    if reader.bytes.is_empty() { Ok(message) } else { Err(CodecError) }
}

fn head(out: &mut Vec<u8>, tag: u8, reign: Epoch) {
    out.push(tag);
    put_u64(out, reign.0);
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    let value = u32::try_from(value).expect("a message holds far less than 4 GiB");
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_seq(out: &mut Vec<u8>, seq: Seq) {
    put_u64(out, seq.epoch.0);
    put_u64(out, seq.counter);
}

fn put_span(out: &mut Vec<u8>, span: Span) {
    put_u64(out, span.from);
    put_u64(out, span.to);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len());
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or(CodecError)?;
        self.bytes = rest;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, CodecError> {
        self.take(1)?.first().copied().ok_or(CodecError)
    }

    fn u32(&mut self) -> Result<u32, CodecError> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| CodecError)?))
    }

    fn u64(&mut self) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| CodecError)?))
    }

    fn seq(&mut self) -> Result<Seq, CodecError> {
        Ok(Seq { epoch: Epoch(self.u64()?), counter: self.u64()? })
    }

    fn span(&mut self) -> Result<Span, CodecError> {
        Ok(Span { from: self.u64()?, to: self.u64()? })
    }

    fn span_digest(&mut self) -> Result<SpanDigest, CodecError> {
        Ok(SpanDigest { to: self.u64()?, digest: [self.u64()?, self.u64()?] })
    }

    /// A count and as many of what `read` reads. Memory is taken only for what is there.
    fn many<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, CodecError>) -> Result<Vec<T>, CodecError> {
        let count = self.u32()?;
        (0..count).map(|_| read(self)).collect()
    }

    fn sized(&mut self) -> Result<&'a [u8], CodecError> {
        let len = self.u32()? as usize;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_truncation_is_refused() {
        let seq = Seq { epoch: Epoch(3), counter: 9 };
        let (reign, stream) = (Epoch(4), 6);
        let span = Span { from: 3, to: 4 };
        let mut records = Records::default();
        records.push(seq, b"abc");
        records.push(seq, b"");
        let messages = [
            Message::Attach { reign, stream, last: seq },
            Message::Records { reign, stream, committed: 8, records },
            Message::SyncBegin { reign, stream, at: seq, keep: true },
            Message::Compare { reign, stream, from: 1, spans: vec![SpanDigest { to: 7, digest: [8, 9] }; 2] },
            Message::Chunk { reign, stream, replaces: None, effects: b"xyz"[..].into(), done: true },
            Message::Chunk { reign, stream, replaces: Some(span), effects: b"xyz"[..].into(), done: false },
            Message::Position { reign, stream, last: seq, usable: false, order: 5 },
            Message::Differing { reign, stream, reached: 9, spans: vec![span; 3] },
            Message::Ack { reign, stream, counter: 7, chunks: 2 },
            Message::Fenced { reign },
            Message::Behind { reign, stream },
        ];
        for message in &messages {
            let mut bytes = Vec::new();
            encode(&mut bytes, message);
            assert_eq!(decode(&bytes).as_ref(), Ok(message));
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), Err(CodecError), "{message:?} cut at {cut}");
            }
        }
        assert_eq!(decode(&[99; 40]), Err(CodecError));
    }
}

//! An entry of a stream, as a reader sees it.

use crate::varint::split_bytes;
use effect::StreamId;

/// One entry: its id, and its fields with their values.
#[derive(Clone, Copy, Debug)]
pub struct StreamEntry<'a> {
    id: StreamId,
    len: usize,
    /// The fields, if they are apart from the values.
    names: Option<&'a [u8]>,
    values: &'a [u8],
}

impl<'a> StreamEntry<'a> {
    pub(super) fn new(
        id: StreamId,
        len: usize,
        names: Option<&'a [u8]>,
        values: &'a [u8],
    ) -> StreamEntry<'a> {
        StreamEntry { id, len, names, values }
    }

    /// Its id.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// How many fields it has.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The fields with their values, in the order in which they were given.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (mut names, mut values) = (self.names, self.values);
        std::iter::from_fn(move || {
            let (name, rest) = split_bytes(names.unwrap_or(values))?;
            match &mut names {
                Some(names) => *names = rest,
                None => values = rest,
            }
            let (value, rest) = split_bytes(values)?;
            values = rest;
            Some((name, value))
        })
    }
}

//! Things of a few numbers in order, as a command has them or as a record carries them: what [`crate::Elements`] is to byte
//! strings.

use crate::Corrupt;
use crate::varint::{Reader, write_varint};
use std::fmt;
use std::marker::PhantomData;

/// Something that can be an item.
pub(crate) trait Item: Copy + PartialEq + fmt::Debug {
    fn write(&self, out: &mut Vec<u8>);
    fn read(reader: &mut Reader<'_>) -> Result<Self, Corrupt>;
}

/// Items in order.
#[derive(Clone, Copy)]
pub struct Items<'a, T>(Form<'a, T>);

#[derive(Clone, Copy)]
enum Form<'a, T> {
    Slice(&'a [T]),
    /// One after the other; that there are so many was seen when they were read.
    Encoded {
        bytes: &'a [u8],
        count: usize,
        of: PhantomData<T>,
    },
}

#[allow(private_bounds)]
impl<'a, T: Item> Items<'a, T> {
    /// These items.
    pub fn new(items: &'a [T]) -> Items<'a, T> {
        Items(Form::Slice(items))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self.0 {
            Form::Slice(items) => items.len(),
            Form::Encoded { count, .. } => count,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let (items, bytes): (&[T], &[u8]) = match self.0 {
            Form::Slice(items) => (items, &[]),
            Form::Encoded { bytes, .. } => (&[], bytes),
        };
        let mut reader = Reader::new(bytes);
        let encoded =
            std::iter::from_fn(move || if reader.is_empty() { None } else { T::read(&mut reader).ok() });
        items.iter().copied().chain(encoded)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        write_varint(out, self.len() as u64);
        match self.0 {
            Form::Slice(items) => items.iter().for_each(|item| item.write(out)),
            Form::Encoded { bytes, .. } => out.extend_from_slice(bytes),
        }
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Items<'a, T>, Corrupt> {
        let count = reader.varint()?;
        let from = reader.clone();
        for _ in 0..count {
            T::read(reader)?;
        }
        let count = usize::try_from(count).map_err(|_| reader.corrupt("length beyond memory"))?;
        Ok(Items(Form::Encoded { bytes: from.until(reader), count, of: PhantomData }))
    }
}

impl<T: Item> PartialEq for Items<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<T: Item> Eq for Items<'_, T> {}

impl<T: Item> fmt::Debug for Items<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter()).finish()
    }
}

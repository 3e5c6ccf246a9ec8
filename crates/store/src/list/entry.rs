//! One element's bytes in a chunk, and what the element would take in a listpack.
//!
//! ```text
//! +---------------+=========+-----------------------+
//! | varint length | element | the length, backwards |
//! +---------------+=========+-----------------------+
//! ```
//! The length behind the element is its varint with the bytes in reverse order, so that a reader that comes from the
//! right finds it as one from the left does. Most elements are shorter than 128 bytes: two bytes more than they are.

use crate::varint::{read_varint, varint_len, write_varint};

/// Bytes of the entry of an element of this length.
#[inline]
pub(super) fn entry_len(element_len: usize) -> usize {
    element_len + 2 * varint_len(element_len)
}

/// Writes the entry of `element`, which takes exactly `out`.
pub(super) fn write(out: &mut [u8], element: &[u8]) {
    debug_assert_eq!(out.len(), entry_len(element.len()));
    let length_len = write_varint(out, element.len());
    let (front, back) = out.split_at_mut(out.len() - length_len);
    front[length_len..].copy_from_slice(element);
    back.copy_from_slice(&front[..length_len]);
    back.reverse();
}

/// The first element of these entries, and the entries behind it.
#[inline]
pub(super) fn first(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, length_len) = read_varint(entries)?;
    let (element, rest) = entries.get(length_len..)?.split_at_checked(length)?;
    Some((element, rest.get(length_len..)?))
}

/// The last element of these entries, and the entries before it.
#[inline]
pub(super) fn last(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, length_len) = read_varint(entries.iter().rev())?;
    let end = entries.len().checked_sub(length_len)?;
    let start = end.checked_sub(length)?;
    Some((entries.get(start..end)?, entries.get(..start.checked_sub(length_len)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_from_both_ends() {
        let elements: Vec<Vec<u8>> =
            [0, 1, 127, 128, 300, 16_383, 16_384].iter().map(|&len| vec![len as u8; len]).collect();
        let mut entries = Vec::new();
        for element in &elements {
            let start = entries.len();
            entries.resize(start + entry_len(element.len()), 0);
            write(&mut entries[start..], element);
        }
        let mut rest = &entries[..];
        for element in &elements {
            let (found, behind) = first(rest).expect("another entry");
            assert_eq!(found, element);
            rest = behind;
        }
        assert!(rest.is_empty() && first(rest).is_none() && last(rest).is_none());
        rest = &entries;
        for element in elements.iter().rev() {
            let (found, before) = last(rest).expect("another entry");
            assert_eq!(found, element);
            rest = before;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn cut_entries_are_none() {
        let mut entry = vec![0; entry_len(300)];
        write(&mut entry, &[7; 300]);
        for cut in 0..entry.len() {
            assert_eq!(first(&entry[..cut]), None);
        }
        assert_eq!(last(&[5]), None);
        assert_eq!(last(&[1, 1]), None);
    }
}

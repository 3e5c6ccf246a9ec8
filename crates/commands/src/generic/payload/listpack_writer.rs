//! A listpack that is being written, as [`super::listpack`] reads it. Numbers are written as numbers, whoever brings them as text.

use super::listpack::LISTPACK_HEAD_BYTES;

const END: u8 = 0xff;
/// What stands for more entries than two bytes count.
const COUNT_UNKNOWN: u16 = u16::MAX;

/// Entries so far, behind room for the head.
pub(super) struct Writer {
    bytes: Vec<u8>,
    count: usize,
}

impl Writer {
    pub(super) fn new() -> Writer {
        Writer { bytes: vec![0; LISTPACK_HEAD_BYTES], count: 0 }
    }

    pub(super) fn string(&mut self, entry: &[u8]) {
        if let Some(number) = protocol::parse_i64(entry) {
            return self.integer(number);
        }
        let start = self.bytes.len();
        match entry.len() {
            len @ 0..0x40 => self.bytes.push(0x80 | len as u8),
            len @ 0x40..0x1000 => self.bytes.extend_from_slice(&(0xe000 | len as u16).to_be_bytes()),
            len => {
                self.bytes.push(0xf0);
                self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(entry);
        self.end_entry(start);
    }

    pub(super) fn integer(&mut self, number: i64) {
        let (start, bytes) = (self.bytes.len(), number.to_le_bytes());
        match number {
            0..=0x7f => self.bytes.push(number as u8),
            -0x1000..=0xfff => {
                self.bytes.extend_from_slice(&(0xc000 | (number & 0x1fff) as u16).to_be_bytes());
            }
            -0x8000..=0x7fff => self.tagged(0xf1, &bytes[..2]),
            -0x80_0000..=0x7f_ffff => self.tagged(0xf2, &bytes[..3]),
            -0x8000_0000..=0x7fff_ffff => self.tagged(0xf3, &bytes[..4]),
            _ => self.tagged(0xf4, &bytes),
        }
        self.end_entry(start);
    }

    /// The whole listpack.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let total = self.bytes.len() as u32;
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        self.bytes[4..LISTPACK_HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes the length of the entry behind it: seven bits a byte, the highest first, all but the first marked.
    fn end_entry(&mut self, start: usize) {
        let len = self.bytes.len() - start;
        let groups = super::listpack::backward_bytes(len);
        for group in (0..groups).rev() {
            let mark = if group + 1 == groups { 0 } else { 0x80 };
            self.bytes.push((len >> (7 * group)) as u8 & 0x7f | mark);
        }
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::listpack::listpack;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut entries: Vec<Vec<u8>> =
            [0, 1, 63, 64, 4_095, 4_096, 20_000].map(|len| vec![b'x'; len]).into();
        for bit in 0..64 {
            for number in [1i64 << bit, (1i64 << bit).wrapping_sub(1), (1i64 << bit).wrapping_neg()] {
                entries.push(number.to_string().into_bytes());
            }
        }
        let mut writer = Writer::new();
        entries.iter().for_each(|entry| writer.string(entry));
        assert_eq!(listpack(&writer.finish()), Some(entries));
    }

    /// As `lpAppend` of redis-server writes them: DUMP of a hash.
    #[test]
    fn bytes_are_those_of_redis() {
        let mut writer = Writer::new();
        for entry in
            ["f", "v", "n", "-5000", "big", "1234567890123", "neg", "-100000", "m", "8000000", "e", ""]
        {
            writer.string(entry.as_bytes());
        }
        let expected = b"::\0\0\0\x0c\0\x81f\x02\x81v\x02\x81n\x02\xf1x\xec\x03\x83big\x04\xf4\xcb\x04\xfbq\x1f\x01\0\0\x09\x83neg\x04\xf2`y\xfe\x04\x81m\x02\xf2\0\x12z\x04\x81e\x02\x80\x01\xff";
        assert_eq!(writer.finish(), expected[1..]);
    }
}

//! Reads the frames of a file one after the other, and finds its way again behind damage.
//!
//! The window over the file holds what one frame needs and at least a block, so memory is bounded by the largest frame.
//! Behind a damaged header the next frame is looked for at every byte; it counts only if header and payload are both sound,
//! so that 64 bits of checksum stand between noise and a frame.

use crate::disk::ReadFile;
use crate::frame::{FRAME_HEADER_BYTES, Header, Seed};
use std::io;

/// Bytes read at once, unless a frame needs more.
const BLOCK_BYTES: u64 = 256 * 1024;

/// Frames of one file from an offset on.
pub(crate) struct FrameReader {
    file: Box<dyn ReadFile>,
    seed: Seed,
    /// Where reading ends.
    end: u64,
    next: u64,
    window: Vec<u8>,
    window_at: u64,
    /// The header that was decoded last, and where.
    decoded: (u64, Option<Header>),
}

/// What stands at a place of the file.
pub(crate) enum Item<'a> {
    /// A sound frame; `bytes` are all of it.
    Frame { offset: u64, header: Header, payload: &'a [u8], bytes: &'a [u8] },
    /// Anything else.
    Unsound(Unsound),
}

/// A stretch of a file that is not a sound frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unsound {
    pub(crate) offset: u64,
    /// The header, if it is sound and only the payload is not.
    pub(crate) header: Option<Header>,
    pub(crate) what: &'static str,
}

impl FrameReader {
    /// Reads from `start` to `end`.
    pub(crate) fn new(file: Box<dyn ReadFile>, seed: Seed, start: u64, end: u64) -> FrameReader {
        FrameReader {
            file,
            seed,
            end,
            next: start,
            window: Vec::new(),
            window_at: start,
            decoded: (u64::MAX, None),
        }
    }

    /// Where the next frame begins.
    pub(crate) fn offset(&self) -> u64 {
        self.next
    }

    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn next(&mut self) -> io::Result<Option<Item<'_>>> {
        let offset = self.next;
        if offset >= self.end {
            return Ok(None);
        }
        let header = self.header_at(offset)?;
        let Some(header) = header else {
            self.next = self.resume_after(offset)?;
            let short = self.end - offset < FRAME_HEADER_BYTES as u64;
            let what = if short { "a frame cut short" } else { "no frame begins here" };
            return Ok(Some(Item::Unsound(Unsound { offset, header: None, what })));
        };
        if header.frame_bytes() > self.end - offset {
            self.next = self.end;
            let what = "the file ends inside of this frame";
            return Ok(Some(Item::Unsound(Unsound { offset, header: Some(header), what })));
        }
        self.next = offset + header.frame_bytes();
        let seed = self.seed;
        let bytes = self.bytes(offset, header.frame_bytes())?;
        let (_, payload) = bytes.split_at(FRAME_HEADER_BYTES);
        if seed.sum(payload) != header.payload_sum {
            let what = "the payload does not match its checksum";
            return Ok(Some(Item::Unsound(Unsound { offset, header: Some(header), what })));
        }
        Ok(Some(Item::Frame { offset, header, payload, bytes }))
    }

    /// Goes on behind a frame without reading its payload, if the header is sound; false where it is not.
    pub(crate) fn skip_if(&mut self, unwanted: impl FnOnce(&Header) -> bool) -> io::Result<bool> {
        let offset = self.next;
        match self.header_at(offset)? {
            Some(header) if header.frame_bytes() <= self.end - offset && unwanted(&header) => {
                self.next = offset + header.frame_bytes();
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn header_at(&mut self, offset: u64) -> io::Result<Option<Header>> {
        let seed = self.seed;
        if self.end.saturating_sub(offset) < FRAME_HEADER_BYTES as u64 {
            return Ok(None);
        }
        if self.decoded.0 != offset {
            self.decoded = (offset, Header::decode(seed, self.bytes(offset, FRAME_HEADER_BYTES as u64)?));
        }
        Ok(self.decoded.1)
    }

    /// What most likely stands at `offset`, as far as that is in memory already: header and payload, neither verified.
    pub(crate) fn glance(&self, offset: u64) -> Option<(Header, &[u8])> {
        let skip = usize::try_from(offset.checked_sub(self.window_at)?).ok()?;
        let window = self.window.get(skip..)?;
        let header = Header::glance(window)?;
        let payload = window.get(FRAME_HEADER_BYTES..usize::try_from(header.frame_bytes()).ok()?)?;
        Some((header, payload))
    }

    fn is_payload_sound(&mut self, offset: u64, header: &Header) -> io::Result<bool> {
        let seed = self.seed;
        let payload = self.bytes(offset + FRAME_HEADER_BYTES as u64, u64::from(header.length))?;
        Ok(seed.sum(payload) == header.payload_sum)
    }

    /// The next offset at which a whole sound frame begins, or the end.
    fn resume_after(&mut self, offset: u64) -> io::Result<u64> {
        for candidate in offset + 1..self.end {
            let Some(header) = self.header_at(candidate)? else { continue };
            if header.frame_bytes() <= self.end - candidate && self.is_payload_sound(candidate, &header)? {
                return Ok(candidate);
            }
        }
        Ok(self.end)
    }

    /// `length` bytes from `offset` on, which lie before the end.
    fn bytes(&mut self, offset: u64, length: u64) -> io::Result<&[u8]> {
        let inside =
            offset.checked_sub(self.window_at).is_some_and(|skip| skip + length <= self.window.len() as u64);
        if !inside {
            let wanted = length.max(BLOCK_BYTES).min(self.end - offset);
            let wanted = usize::try_from(wanted).map_err(io::Error::other)?;
            // What one giant frame needed is not held for ever.
            self.window.resize(wanted, 0);
            self.window.shrink_to(wanted.max(BLOCK_BYTES as usize));
            self.file.read_exact_at(offset, &mut self.window)?;
            self.window_at = offset;
        }
        let skip = usize::try_from(offset - self.window_at).map_err(io::Error::other)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let found = self.window.get(skip..skip + length);
        found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}

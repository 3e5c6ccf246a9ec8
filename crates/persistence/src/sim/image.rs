//! What is durable on a simulated disk, and what a crash may leave.

use super::disk::{Op, SimDisk};
use std::collections::BTreeMap;
use stdx::Random;

/// What a disk writes as a whole or not at all, if it can be relied on; bytes.
const SECTOR_BYTES: usize = 512;

/// How much of what was not synced survives a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Image {
    /// Nothing.
    Synced,
    /// Everything: the process ended, the machine did not. What was not durable is there, and still not durable.
    Everything,
    /// Of each file a prefix of what was appended, cut at any byte; of the changes to names, the first so many.
    Prefix,
    /// Of each file every sector by itself: new, old, or rubbish; any length in between. Of the changes to names any.
    Sectors,
}

impl Image {
    /// All of them.
    pub const ALL: [Image; 4] = [Image::Synced, Image::Everything, Image::Prefix, Image::Sectors];
}

/// The files of a disk: as seen, and as durable.
#[derive(Clone, Default)]
pub(super) struct Inodes {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes to names since the directory was synced, which might still become durable.
    pending: Vec<Op>,
}

#[derive(Clone, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// From here on `now` is lost for good, because a sync failed; what comes after cannot be read after a crash either.
    lost_from: Option<usize>,
}

impl Inodes {
    pub(super) fn next_inode(&self) -> usize {
        self.inodes.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn contents(&self, inode: usize) -> &[u8] {
        self.inodes.get(inode).map_or(&[], |inode| &inode.now)
    }

    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        self.names.iter().map(|(name, inode)| (name.clone(), self.contents(*inode).to_vec())).collect()
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { inode, .. } => {
                self.inodes.resize_with((inode + 1).max(self.inodes.len()), Inode::default);
                self.change_names(op);
            }
            Op::Rename { .. } | Op::Remove { .. } => self.change_names(op),
            Op::SyncDirectory => {
                for op in std::mem::take(&mut self.pending) {
                    change(&mut self.durable_names, &op);
                }
            }
            Op::LoseDirectory => self.pending.clear(),
            Op::Append { inode, .. }
            | Op::Truncate { inode, .. }
            | Op::SyncFile { inode }
            | Op::LoseFile { inode } => {
                if let Some(inode) = self.inodes.get_mut(*inode) {
                    inode.apply(op);
                }
            }
        }
    }

    fn change_names(&mut self, op: &Op) {
        change(&mut self.names, op);
        self.pending.push(op.clone());
    }

    /// What a crash leaves: `image` of everything that is not durable.
    fn crash(&self, image: Image, random: &mut Random) -> Inodes {
        let mut names = self.durable_names.clone();
        let first = random.below(self.pending.len() as u64 + 1) as usize;
        for (index, op) in self.pending.iter().enumerate() {
            let survives = match image {
                Image::Synced => false,
                Image::Everything => true,
                Image::Prefix => index < first,
                Image::Sectors => random.chance(0.5),
            };
            if survives {
                change(&mut names, op);
            }
        }
        let inodes: Vec<Inode> = self
            .inodes
            .iter()
            .map(|inode| {
                let now = inode.crash(image, random);
                Inode { durable: now.clone(), now, lost_from: None }
            })
            .collect();
        Inodes { inodes, durable_names: names.clone(), names, pending: Vec::new() }
    }
}

/// Changes names. A name stands for a file, not for another name: a rename may survive although the creation did not.
fn change(names: &mut BTreeMap<String, usize>, op: &Op) {
    match op {
        Op::Create { name, inode } => {
            names.insert(name.clone(), *inode);
        }
        Op::Rename { from, to, inode } => {
            if names.get(from) == Some(inode) {
                names.remove(from);
            }
            names.insert(to.clone(), *inode);
        }
        Op::Remove { name } => {
            names.remove(name);
        }
        _ => {}
    }
}

impl Inode {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Append { bytes, .. } => self.now.extend(bytes),
            Op::Truncate { length, .. } => self.now.truncate(*length),
            Op::SyncFile { .. } => {
                let end = self.lost_from.unwrap_or(self.now.len()).min(self.now.len());
                self.durable = self.now.get(..end).unwrap_or_default().to_vec();
                // The length is known to the file system even where the data were lost.
                self.durable.resize(self.now.len(), 0);
            }
            Op::LoseFile { .. } => {
                let from = self.lost_from.unwrap_or(self.durable.len());
                self.lost_from = Some(from.min(self.durable.len()));
            }
            _ => {}
        }
    }

    fn crash(&self, image: Image, random: &mut Random) -> Vec<u8> {
        let survivable = self.lost_from.unwrap_or(self.now.len()).min(self.now.len());
        let now = self.now.get(..survivable.max(self.durable.len().min(self.now.len()))).unwrap_or_default();
        let (short, long) = (self.durable.len().min(now.len()), self.durable.len().max(now.len()));
        let between = short + random.below((long - short) as u64 + 1) as usize;
        match image {
            Image::Synced => self.durable.clone(),
            Image::Everything => self.now.clone(),
            Image::Prefix => {
                let longer = if now.len() > self.durable.len() { now } else { &self.durable };
                longer.get(..between).unwrap_or_default().to_vec()
            }
            Image::Sectors => self.sectors(now, between, random),
        }
    }

    fn sectors(&self, now: &[u8], length: usize, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        bytes.resize(length, 0);
        for (index, sector) in bytes.chunks_mut(SECTOR_BYTES).enumerate() {
            let start = index * SECTOR_BYTES;
            // What was durable keeps its bytes, whatever becomes of the rest of its sector.
            let kept = self.durable.len().saturating_sub(start).min(sector.len());
            let Some((_, sector)) = sector.split_at_mut_checked(kept) else { continue };
            match random.below(8) {
                0 => random.fill(sector),
                1..=3 => {}
                _ => {
                    let new = now.get(start + kept..).unwrap_or_default();
                    let count = new.len().min(sector.len());
                    if let (Some(to), Some(from)) = (sector.get_mut(..count), new.get(..count)) {
                        to.copy_from_slice(from);
                    }
                }
            }
        }
        bytes
    }
}

/// Goes through what was done to a disk.
pub struct Replay {
    journal: std::vec::IntoIter<Op>,
    inodes: Inodes,
    done: usize,
}

impl Replay {
    /// Everything that was done to `disk`, which began empty.
    pub fn of(disk: &SimDisk) -> Replay {
        Replay::from(&SimDisk::default(), disk)
    }

    /// As [`Replay::of`] for a disk that began as a copy of `before`.
    pub fn from(before: &SimDisk, disk: &SimDisk) -> Replay {
        Replay { journal: disk.journal().into_iter(), inodes: before.inodes(), done: 0 }
    }

    /// Operations gone through.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Goes through one more; false at the end.
    pub fn step(&mut self) -> bool {
        let Some(op) = self.journal.next() else { return false };
        self.inodes.apply(&op);
        self.done += 1;
        true
    }

    /// The disk that a crash leaves here.
    pub fn image(&self, image: Image, random: &mut Random) -> SimDisk {
        SimDisk::of(match image {
            Image::Everything => self.inodes.clone(),
            _ => self.inodes.crash(image, random),
        })
    }
}

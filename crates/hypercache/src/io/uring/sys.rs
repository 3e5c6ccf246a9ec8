//! The ring: the one place where this server hands memory to the kernel, behind an interface that is safe to call.
//!
//! What makes it safe is who owns the bytes of an operation:
//!
//! ```text
//! receive   the kernel picks one of BUFFERS_COUNT buffers that the ring owns; a completion turns it into a `Filled`,
//!           which nobody else can make or copy, and `take` gives it back to the kernel
//! send      the `Outgoing` moves into the ring and comes back with the completion
//! the rest  has no memory: accept and wake-ups are multishot operations on descriptors
//! ```
//!
//! Dropping the ring first ends every operation, and leaks the memory of those that will not end. Descriptors are
//! borrowed only while an operation is queued: the caller keeps them open until its last completion.
//!
//! Sends come in two kinds. A `Prompt` one never waits for room in the socket: the kernel carries it out while it takes
//! the submission, and posts a completion only if not everything went, so that the replies of a turn do not end the
//! wait for the next requests. A `Patient` one waits for room, and its completion ends the wait.
#![allow(unsafe_code)]

use crate::io::sockets::Outgoing;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode};
use slab::Slab;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Buffers that the kernel may fill before any is given back; a power of two.
pub(super) const BUFFERS_COUNT: u16 = 256;
/// Size of one.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;
const MEMORY_BYTES: usize = BUFFERS_COUNT as usize * BUFFER_BYTES;
/// Operations that are queued before the kernel is told; more of them cost a call in the middle of a turn.
const SUBMISSIONS_MAX: u32 = 1024;
/// Completions that fit before the kernel has to keep them aside.
const COMPLETIONS_MAX: u32 = 4096;
/// The buffers' group; there is only one.
const GROUP: u16 = 0;
/// Most bytes of one send; what remains is sent by the next.
const SEND_BYTES_MAX: usize = 1 << 30;
/// Longest wait for the operations of a ring that is dropped, and in how many steps.
const DROP_STEP: Duration = Duration::from_millis(20);
const DROP_STEPS_MAX: usize = 50;

const ACCEPT: u64 = 0;
const WAKE: u64 = 1;
const RECEIVE: u64 = 2;
const SEND: u64 = 3;
const IGNORED: u64 = 4;
const KIND_SHIFT: u32 = 60;

/// Whose operation it is: a place in the caller's table, and which of its occupants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    /// The place.
    pub(crate) index: u32,
    /// The occupant; only the lower 28 bits count.
    pub(crate) generation: u32,
}

/// Bits of a generation that travel with an operation.
pub(crate) const GENERATION_MASK: u32 = (1 << 28) - 1;

/// A send under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SendId(u32);

/// How a send treats a socket that is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Haste {
    /// Sends what fits.
    Prompt,
    /// Waits until everything is sent.
    Patient,
}

/// A buffer with received bytes.
#[derive(Debug)]
pub(crate) struct Filled {
    buffer: u16,
    len: usize,
}

/// What has happened.
#[derive(Debug)]
pub(crate) enum Completion {
    /// A client has connected, or accepting failed; without `more`, accepting is over.
    Accepted { result: io::Result<TcpStream>, more: bool },
    /// Another thread calls; without `more`, this was the last time.
    Woken { more: bool },
    /// Bytes have arrived, `None` being the end of the stream; without `more`, receiving is over.
    Received { token: Token, result: io::Result<Option<Filled>>, more: bool },
    /// A send has ended. `outgoing` counts what was sent, which after an error may be less than everything.
    Sent { token: Token, outgoing: Outgoing, error: Option<io::Error> },
}

/// How long completions may gather before a wait ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gather {
    /// So many end it at once.
    pub(crate) count: u32,
    /// After so many microseconds one is enough.
    pub(crate) longest_us: u32,
}

impl Gather {
    /// The first ends the wait.
    const NOTHING: Gather = Gather { count: 1, longest_us: 0 };
}

/// `struct io_uring_getevents_arg` of io_uring_enter(2). The crate has it too, but without the time to gather.
#[repr(C)]
struct WaitArguments {
    mask: u64,
    mask_bytes: u32,
    gather_us: u32,
    time: *const Timespec,
}

struct Sending {
    token: Token,
    outgoing: Outgoing,
    haste: Haste,
}

/// An io_uring with its receive buffers. Used by one thread, the one that called [`Ring::enable`].
pub(crate) struct Ring {
    uring: IoUring,
    buffers: ManuallyDrop<Buffers>,
    sends: ManuallyDrop<Slab<Sending>>,
    /// Prompt sends, each of which ends with the submission of the queue.
    prompt: Vec<u32>,
    /// Operations whose last completion is still to come.
    under_way: usize,
}

impl Ring {
    /// Sets up a ring and its buffers, not enabled yet: it then belongs to the thread that enables it.
    pub(crate) fn new() -> io::Result<Ring> {
        let uring = build(true).or_else(|_| build(false))?;
        let buffers = Buffers::new()?;
        // SAFETY: the entries are page-aligned and live until `Drop` has seen the last operation end; if it has not,
        // they are leaked.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                buffers.entries.as_ptr() as u64,
                BUFFERS_COUNT,
                GROUP,
                0,
            )?;
        }
        Ok(Ring {
            uring,
            buffers: ManuallyDrop::new(buffers),
            sends: ManuallyDrop::new(Slab::new()),
            prompt: Vec::new(),
            under_way: 0,
        })
    }

    /// Makes the ring the calling thread's.
    pub(crate) fn enable(&mut self) -> io::Result<()> {
        self.uring.submitter().register_enable_rings()
    }

    /// Accepts clients until told otherwise.
    pub(super) fn accept(&mut self, listener: &impl AsFd) -> io::Result<()> {
        let fd = Fd(listener.as_fd().as_raw_fd());
        self.push(
            opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build().user_data(ACCEPT << KIND_SHIFT),
        )
    }

    /// Reports every write to an eventfd. Its counter is never read: a write wakes whatever it is.
    pub(super) fn watch(&mut self, event: &impl AsFd) -> io::Result<()> {
        let events = u32::from(libc::POLLIN.unsigned_abs());
        let poll = opcode::PollAdd::new(Fd(event.as_fd().as_raw_fd()), events).multi(true);
        self.push(poll.build().user_data(WAKE << KIND_SHIFT))
    }

    /// Receives until the stream ends, buffers run out, or told otherwise.
    pub(crate) fn receive(&mut self, socket: &impl AsFd, token: Token) -> io::Result<()> {
        let fd = Fd(socket.as_fd().as_raw_fd());
        self.push(opcode::RecvMulti::new(fd, GROUP).build().user_data(pack(RECEIVE, token)))
    }

    /// Sends what is unsent of `outgoing`.
    pub(crate) fn send(
        &mut self,
        socket: &impl AsFd,
        token: Token,
        outgoing: Outgoing,
        haste: Haste,
    ) -> io::Result<SendId> {
        let rest = outgoing.unsent();
        let len = rest.len().min(SEND_BYTES_MAX);
        let mut flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let mut entry_flags = Flags::empty();
        if haste == Haste::Prompt {
            // With WAITALL less than everything is a failure, and failures are reported in spite of the flag.
            flags |= libc::MSG_DONTWAIT;
            entry_flags = Flags::SKIP_SUCCESS;
        }
        let fd = Fd(socket.as_fd().as_raw_fd());
        let send = opcode::Send::new(fd, rest.as_ptr(), u32::try_from(len).expect("at most SEND_BYTES_MAX"));
        let id = u32::try_from(self.sends.insert(Sending { token, outgoing, haste })).expect("sends are few");
        let entry =
            send.flags(flags).build().flags(entry_flags).user_data(SEND << KIND_SHIFT | u64::from(id));
        self.push(entry)?;
        if haste == Haste::Prompt {
            self.prompt.push(id);
        }
        Ok(SendId(id))
    }

    /// Ends accepting; its last completion says when.
    pub(super) fn cancel_accept(&mut self) -> io::Result<()> {
        self.cancel(CancelBuilder::user_data(ACCEPT << KIND_SHIFT))
    }

    /// Ends a receive; its last completion says when.
    pub(super) fn cancel_receive(&mut self, token: Token) -> io::Result<()> {
        self.cancel(CancelBuilder::user_data(pack(RECEIVE, token)))
    }

    /// Ends a send; its completion says when.
    pub(super) fn cancel_send(&mut self, id: SendId) -> io::Result<()> {
        self.cancel(CancelBuilder::user_data(SEND << KIND_SHIFT | u64::from(id.0)))
    }

    /// Lets `take` have the bytes, then gives the buffer back.
    pub(crate) fn take<T>(&mut self, filled: Filled, take: impl FnOnce(&[u8]) -> T) -> T {
        let taken = take(self.buffers.bytes(&filled));
        self.buffers.give(filled.buffer);
        taken
    }

    /// Operations that have not ended.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Submits what is queued without waiting for anything.
    pub(crate) fn submit(&mut self) -> io::Result<()> {
        forgive(self.uring.submit())
    }

    /// Submits what is queued, waits until something has happened, at most `patience`, and appends it to `happened`.
    pub(crate) fn wait(&mut self, patience: Duration, happened: &mut Vec<Completion>) -> io::Result<()> {
        self.wait_for(Gather::NOTHING, patience, happened)
    }

    /// The same, but lets completions gather before the first ends the wait. Kernels before Linux 6.12 do not gather.
    pub(crate) fn wait_for(
        &mut self,
        gather: Gather,
        patience: Duration,
        happened: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let time = Timespec::from(patience);
        loop {
            if gather.count > 1 && self.uring.params().is_feature_min_timeout() {
                forgive(self.enter(gather, &time))?;
            } else {
                forgive(self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time)))?;
            }
            self.reap(happened);
            if !self.uring.submission().cq_overflow() {
                break;
            }
        }
        if self.uring.submission().is_empty() {
            self.end_prompt_sends(happened);
        }
        Ok(())
    }

    fn enter(&mut self, gather: Gather, time: &Timespec) -> io::Result<usize> {
        let queued = u32::try_from(self.uring.submission().len()).expect("the queue is small");
        let flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
        let arguments = WaitArguments { mask: 0, mask_bytes: 0, gather_us: gather.longest_us, time };
        // SAFETY: the arguments, and the time they point to, live until the call returns, and are laid out as the kernel
        // reads them. What is queued was checked by `push`.
        unsafe { self.uring.submitter().enter(queued, gather.count, flags, Some(&arguments)) }
    }

    fn reap(&mut self, happened: &mut Vec<Completion>) {
        loop {
            // Ends the borrow of the queue, which tells the kernel that the entry's place is free.
            let entry = self.uring.completion().next();
            let Some(entry) = entry else { return };
            happened.extend(self.completed(&entry));
        }
    }

    /// The queue is submitted and every completion taken: the prompt sends of which none told have sent everything.
    fn end_prompt_sends(&mut self, happened: &mut Vec<Completion>) {
        for id in self.prompt.drain(..) {
            let Sending { token, mut outgoing, .. } = self.sends.remove(id as usize);
            let len = outgoing.unsent().len().min(SEND_BYTES_MAX);
            outgoing.sent(len);
            self.under_way -= 1;
            happened.push(Completion::Sent { token, outgoing, error: None });
        }
    }

    fn completed(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let (data, more) = (entry.user_data(), cqueue::more(entry.flags()));
        let kind = data >> KIND_SHIFT;
        if !more && kind != IGNORED {
            self.under_way -= 1;
        }
        let result = usize::try_from(entry.result());
        let error = || io::Error::from_raw_os_error(-entry.result());
        match kind {
            ACCEPT => {
                // SAFETY: the kernel has opened this descriptor for us just now; nobody else knows it.
                let stream = result.map(|_| unsafe { OwnedFd::from_raw_fd(entry.result()) }.into());
                Some(Completion::Accepted { result: stream.map_err(|_| error()), more })
            }
            WAKE => Some(Completion::Woken { more }),
            RECEIVE => {
                let filled = cqueue::buffer_select(entry.flags())
                    .map(|buffer| Filled { buffer, len: result.unwrap_or(0).min(BUFFER_BYTES) });
                let filled = match filled {
                    Some(empty) if empty.len == 0 => {
                        self.buffers.give(empty.buffer);
                        None
                    }
                    other => other,
                };
                let result = result.map(|_| filled).map_err(|_| error());
                Some(Completion::Received { token: unpack(data), result, more })
            }
            SEND => {
                let id = data as u32;
                let Sending { token, mut outgoing, haste } = self.sends.remove(id as usize);
                if haste == Haste::Prompt {
                    self.prompt.retain(|prompt| *prompt != id);
                }
                outgoing.sent(result.unwrap_or(0));
                let full = entry.result() == -libc::EAGAIN;
                let error = (result.is_err() && !full).then(error);
                Some(Completion::Sent { token, outgoing, error })
            }
            _ => None,
        }
    }

    fn cancel(&mut self, what: CancelBuilder) -> io::Result<()> {
        let entry = opcode::AsyncCancel2::new(what).build().flags(Flags::SKIP_SUCCESS);
        self.push(entry.user_data(IGNORED << KIND_SHIFT))?;
        // Cancellations complete with the last completion of what they cancel.
        self.under_way -= 1;
        Ok(())
    }

    fn push(&mut self, entry: Entry) -> io::Result<()> {
        if self.uring.submission().is_full() {
            self.uring.submit()?;
        }
        // SAFETY: what the entry points to, if anything, is the heap memory of a `Sending` in `self.sends`, which stays
        // there, unchanged, until its completion, or for good.
        unsafe { self.uring.submission().push(&entry) }
            .map_err(|_| io::Error::other("the kernel takes no submissions"))?;
        self.under_way += 1;
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let mut happened = Vec::new();
        for _ in 0..DROP_STEPS_MAX {
            if self.under_way == 0 {
                break;
            }
            let ended = self.cancel(CancelBuilder::any()).and_then(|()| self.wait(DROP_STEP, &mut happened));
            if let Err(error) = ended {
                tracing::error!(%error, "ending the operations of a ring");
                break;
            }
            happened.clear();
        }
        if self.under_way > 0 {
            tracing::error!(operations = self.under_way, "a ring leaves operations behind");
            return;
        }
        // SAFETY: both are dropped here and never used again. No operation is under way, so the kernel neither reads
        // the sends nor fills a buffer; the ring's registration of the buffers only ends with the ring, right after.
        unsafe {
            ManuallyDrop::drop(&mut self.sends);
            if self.uring.submitter().unregister_buf_ring(GROUP).is_ok() {
                ManuallyDrop::drop(&mut self.buffers);
            }
        }
    }
}

/// Of the errors of a call, those that lose nothing: time is up, a signal, or completions to be taken first.
fn forgive(outcome: io::Result<usize>) -> io::Result<()> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

fn pack(kind: u64, token: Token) -> u64 {
    kind << KIND_SHIFT | u64::from(token.generation & GENERATION_MASK) << 32 | u64::from(token.index)
}

fn unpack(data: u64) -> Token {
    Token { index: data as u32, generation: (data >> 32) as u32 & GENERATION_MASK }
}

/// With `deferred`, completions are prepared only when we ask for them (Linux 6.1); otherwise whenever we enter the
/// kernel for any reason, but without interrupting us.
fn build(deferred: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_r_disabled().setup_submit_all().setup_single_issuer().setup_cqsize(COMPLETIONS_MAX);
    if deferred {
        builder.setup_defer_taskrun();
    } else {
        builder.setup_coop_taskrun();
    }
    let uring = builder.build(SUBMISSIONS_MAX)?;
    if !uring.params().is_feature_ext_arg() || !uring.params().is_feature_nodrop() {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    Ok(uring)
}

/// Fresh pages from the system, which cost nothing until they are used. Not the allocator's, and never huge ones: most
/// buffers of a quiet ring are not touched for a long time.
fn map(len: usize) -> io::Result<NonNull<u8>> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: exactly the mapping that was just made. Advice that is not taken (no huge pages in this kernel) is as good.
    let _ = unsafe { libc::madvise(address, len, libc::MADV_NOHUGEPAGE) };
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}

/// The memory that the kernel fills, and the ring of entries through which it learns of it.
struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: u16,
}

// SAFETY: the pointers are owned: nothing else refers to what they point to but the kernel, which does not care for
// threads.
unsafe impl Send for Buffers {}

impl Buffers {
    fn layout() -> Layout {
        let entries =
            Layout::array::<BufRingEntry>(usize::from(BUFFERS_COUNT)).and_then(|l| l.align_to(4096));
        entries.expect("a small constant")
    }

    fn new() -> io::Result<Buffers> {
        let memory = map(MEMORY_BYTES)?;
        // SAFETY: the layout is not empty. All-zero bytes are a valid `BufRingEntry`, a record of integers.
        let entries = unsafe { alloc_zeroed(Buffers::layout()) };
        let Some(entries) = NonNull::new(entries) else { handle_alloc_error(Buffers::layout()) };
        let mut buffers = Buffers { entries: entries.cast(), memory, tail: 0 };
        (0..BUFFERS_COUNT).for_each(|buffer| buffers.give(buffer));
        Ok(buffers)
    }

    /// Gives a buffer to the kernel. Called once per buffer at first, and once for every `Filled` that named it.
    fn give(&mut self, buffer: u16) {
        let place = usize::from(self.tail % BUFFERS_COUNT);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: place and buffer are below BUFFERS_COUNT (the kernel names only what it was given), so both pointers
        // stay inside their allocations. The kernel does not read this entry before the tail has passed it, and the
        // tail, which lies in the first entry's padding, is written by us alone.
        unsafe {
            let memory = self.memory.add(usize::from(buffer) * BUFFER_BYTES);
            let entry = self.entries.add(place).as_mut();
            entry.set_addr(memory.as_ptr() as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    fn bytes(&self, filled: &Filled) -> &[u8] {
        // SAFETY: the kernel has filled `len` bytes, at most a buffer's, and does not write to this buffer again before
        // it is given back, which consumes the `Filled` that is borrowed here.
        unsafe {
            let start = self.memory.add(usize::from(filled.buffer) * BUFFER_BYTES);
            std::slice::from_raw_parts(start.as_ptr(), filled.len)
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: made in `new` with this layout and this length, and the kernel has no buffer any more. Unmapping a whole
        // mapping of ours cannot fail.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), Buffers::layout());
            libc::munmap(self.memory.as_ptr().cast(), MEMORY_BYTES);
        }
    }
}

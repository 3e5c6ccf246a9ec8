//! The bytes between nodes: links as pairs of ordered queues.
//!
//! Bytes keep their order within a link and direction, and nothing else does: a link that is cut may still deliver what
//! was on its way, to an end that has not noticed, after its successor has delivered newer bytes. Frames are cut into
//! arbitrary pieces.

use node::{Key, Worker};
use std::collections::VecDeque;
use std::time::Duration;
use stdx::{Mono, Random};

/// Node and worker.
pub(crate) type Place = (usize, usize);

struct End {
    place: Place,
    key: Key,
    inbox: VecDeque<(Mono, Vec<u8>)>,
    last_arrival: Mono,
    /// When this end notices that the link is gone.
    closes_at: Option<Mono>,
    open: bool,
}

struct Link {
    /// The opener first.
    ends: [End; 2],
    /// Takes no more bytes.
    cut: bool,
}

struct Dial {
    from: Place,
    to: usize,
    incarnation: u64,
    answered_at: Mono,
}

pub(crate) struct Net {
    links: Vec<Link>,
    dials: Vec<Dial>,
    /// `severed[a][b]`: no link between them can exist.
    severed: Vec<Vec<bool>>,
    /// `stalled[a][b]`: bytes from a to b do not arrive until that ends.
    stalled: Vec<Vec<bool>>,
    /// Longest one-way delay.
    pub(crate) delay_max: Duration,
}

impl Net {
    pub(crate) fn new(nodes: usize) -> Net {
        Net {
            links: Vec::new(),
            dials: Vec::new(),
            severed: vec![vec![false; nodes]; nodes],
            stalled: vec![vec![false; nodes]; nodes],
            delay_max: Duration::from_micros(800),
        }
    }

    /// Stops or restarts the arrival of bytes from one node at another.
    pub(crate) fn stall(&mut self, from: usize, to: usize, stalled: bool) {
        self.stalled[from][to] = stalled;
    }

    /// Cuts all links between two nodes, and lets no new ones come up until [`Net::mend`].
    pub(crate) fn sever(&mut self, a: usize, b: usize, now: Mono, random: &mut Random) {
        (self.severed[a][b], self.severed[b][a]) = (true, true);
        self.dials.retain(|dial| (dial.from.0, dial.to) != (a, b) && (dial.from.0, dial.to) != (b, a));
        self.break_links(a, b, now, random);
    }

    /// Ends [`Net::sever`].
    pub(crate) fn mend(&mut self, a: usize, b: usize) {
        (self.severed[a][b], self.severed[b][a]) = (false, false);
    }

    /// Breaks the links between two nodes once; new ones come up by themselves.
    pub(crate) fn break_links(&mut self, a: usize, b: usize, now: Mono, random: &mut Random) {
        for link in &mut self.links {
            let (from, to) = (link.ends[0].place.0, link.ends[1].place.0);
            if (from, to) == (a, b) || (from, to) == (b, a) {
                link.break_now(now, random);
            }
        }
    }

    /// The process of a node has ended: its ends are gone at once, the other ends notice by and by.
    pub(crate) fn vanish(&mut self, node: usize, now: Mono, random: &mut Random) {
        self.dials.retain(|dial| dial.from.0 != node && dial.to != node);
        for link in &mut self.links {
            if link.ends.iter().any(|end| end.place.0 == node) {
                link.break_now(now, random);
                link.ends.iter_mut().for_each(|end| end.open &= end.place.0 != node);
            }
        }
    }

    /// Asks for a link unless that is under way already.
    pub(crate) fn dial(&mut self, from: Place, to: usize, incarnation: u64, now: Mono, random: &mut Random) {
        let known = self.dials.iter().any(|dial| dial.from == from && dial.to == to);
        if known || self.severed[from.0][to] {
            return;
        }
        let answered_at = now + self.delay(random) + self.delay(random);
        self.dials.push(Dial { from, to, incarnation, answered_at });
    }

    /// Dials of `from` that have been answered by now.
    pub(crate) fn answered(&mut self, from: Place, now: Mono) -> Vec<(usize, u64)> {
        let mut answered = Vec::new();
        self.dials.retain(|dial| {
            let is_due = dial.from == from && dial.answered_at <= now;
            if is_due {
                answered.push((dial.to, dial.incarnation));
            }
            !is_due
        });
        answered
    }

    /// A new link between two ends, the opener first.
    pub(crate) fn join(&mut self, opener: (Place, Key), other: (Place, Key)) {
        let end = |(place, key)| End {
            place,
            key,
            inbox: VecDeque::new(),
            last_arrival: Mono(0),
            closes_at: None,
            open: true,
        };
        self.links.push(Link { ends: [end(opener), end(other)], cut: false });
    }

    /// Gives a worker what has arrived for it, and closes its ends that are gone.
    pub(crate) fn arrive(&mut self, worker: &mut Worker, place: Place, now: Mono, random: &mut Random) {
        let stalled = &self.stalled;
        for link in &mut self.links {
            for side in 0..2 {
                let from = link.ends[1 - side].place.0;
                let end = &mut link.ends[side];
                if end.open && end.place == place {
                    let cuts_in = stalled[from][place.0];
                    end.take(worker, now, cuts_in, random);
                }
            }
        }
        self.links.retain(|link| link.ends.iter().any(|end| end.open));
    }

    /// Sends what a worker has written to a link.
    pub(crate) fn leave(
        &mut self,
        worker: &mut Worker,
        place: Place,
        key: Key,
        now: Mono,
        random: &mut Random,
    ) {
        let delay = self.delay(random);
        let is_end = |end: &End| end.open && end.place == place && end.key == key;
        let Some(link) = self.links.iter_mut().find(|link| link.ends.iter().any(is_end)) else { return };
        let side = usize::from(!is_end(&link.ends[0]));
        let bytes = worker.link_output(key).map(std::mem::take).unwrap_or_default();
        if !bytes.is_empty() && !link.cut {
            let other = &mut link.ends[1 - side];
            other.last_arrival = other.last_arrival.max(now + delay);
            other.inbox.push_back((other.last_arrival, bytes));
        }
        if worker.is_link_closing(key) {
            worker.link_closed(key);
            link.ends[side].open = false;
            link.cut = true;
            let other = &mut link.ends[1 - side];
            other.closes_at = Some(other.closes_at.unwrap_or(now + delay));
        }
    }

    fn delay(&self, random: &mut Random) -> Duration {
        Duration::from_nanos(random.below(self.delay_max.as_nanos() as u64).max(1))
    }
}

impl Link {
    /// Both ends notice by and by. What is on its way may be lost from some point on.
    fn break_now(&mut self, now: Mono, random: &mut Random) {
        self.cut = true;
        for end in &mut self.ends {
            let kept = random.below(end.inbox.len() as u64 + 1) as usize;
            end.inbox.truncate(kept);
            let notices = now + Duration::from_micros(random.below(30_000));
            end.closes_at = Some(end.closes_at.unwrap_or(notices).min(notices));
        }
    }
}

impl End {
    fn take(&mut self, worker: &mut Worker, now: Mono, stalled: bool, random: &mut Random) {
        let mut any = false;
        while let Some((due, bytes)) = self.inbox.front_mut() {
            if *due > now || stalled {
                break;
            }
            // Now and then only a part has arrived.
            let cut =
                if random.chance(0.1) { random.below(bytes.len() as u64) as usize } else { bytes.len() };
            let Some(input) = worker.link_input(self.key) else { break };
            input.extend(bytes.drain(..cut));
            any = true;
            if !bytes.is_empty() {
                break;
            }
            self.inbox.pop_front();
        }
        if any {
            worker.process_link(self.key);
        }
        if self.closes_at.is_some_and(|at| at <= now) {
            worker.link_closed(self.key);
            self.open = false;
        }
    }
}

//! The socket, clock and seeds around the gossip state machine.
//!
//! One task owns the machine. It receives before it looks at timers, so that an answer that is already here counts. What
//! it knows of the members is published in a [`View`] that others read without asking it.

mod seeds;

use cluster::gossip::{Config, DATAGRAM_BYTES_MAX, Gossip, Identity, MemberState, Outputs, Stats};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use stdx::{Clock, Mono, NodeId};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::disk::Disk;
use super::events::EventBus;
use crate::config::HostPort;
use seeds::SeedBook;

/// Datagrams taken in before timers are looked at again.
const RECEIVE_BATCH_MAX: usize = 256;
/// How often the view is refreshed and seeds are looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(100);
/// How often the snapshot is written, if it has changed.
const SNAPSHOT_PERIOD: Duration = Duration::from_secs(3);
/// Longest sleep without a deadline.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Pause after the socket failed, so that a lasting failure does not keep a processor busy.
const FAILURE_PAUSE: Duration = Duration::from_millis(20);

/// What gossip knows of the others; cheap to clone and to read.
#[derive(Clone, Default)]
pub(super) struct View(Arc<RwLock<Seen>>);

#[derive(Default)]
struct Seen {
    members: BTreeMap<NodeId, (Identity, MemberState)>,
    stats: Stats,
}

impl View {
    /// What is thought of `node`, if it is known.
    pub(super) fn state(&self, node: NodeId) -> Option<MemberState> {
        self.0.read().members.get(&node).map(|(_, state)| *state)
    }

    /// The HTTP address of `node`, if it is believed to be there.
    pub(super) fn http(&self, node: NodeId) -> Option<SocketAddr> {
        let seen = self.0.read();
        let (identity, state) = seen.members.get(&node)?;
        is_there(*state).then_some(identity.http)
    }

    /// Everybody believed to be there: id and HTTP address.
    pub(super) fn reachable(&self) -> Vec<(NodeId, SocketAddr)> {
        let seen = self.0.read();
        let there = seen.members.values().filter(|(_, state)| is_there(*state));
        there.map(|(identity, _)| (identity.node, identity.http)).collect()
    }

    pub(super) fn stats(&self) -> Stats {
        self.0.read().stats
    }
}

fn is_there(state: MemberState) -> bool {
    matches!(state, MemberState::Alive | MemberState::Suspect)
}

/// What the task is told.
pub(super) enum Command {
    /// Say farewell; answered when it has spread.
    Leave(oneshot::Sender<()>),
}

/// What the task is made from.
pub(super) struct Setup {
    pub(super) config: Config,
    pub(super) socket: std::net::UdpSocket,
    pub(super) clock: Clock,
    pub(super) events: Arc<EventBus>,
    pub(super) seeds: Vec<HostPort>,
    pub(super) dir: PathBuf,
    /// The snapshot of the last run.
    pub(super) snapshot: Option<Vec<u8>>,
}

/// The task: runs until it is dropped, or has left.
pub(super) struct Runner {
    gossip: Gossip,
    socket: UdpSocket,
    clock: Clock,
    events: Arc<EventBus>,
    view: View,
    seeds: SeedBook,
    out: Outputs,
    dir: PathBuf,
    saved: Vec<u8>,
    leaving: Option<oneshot::Sender<()>>,
}

impl Runner {
    /// A node that knocks at its seeds and at whom it knew before.
    pub(super) fn new(setup: Setup) -> io::Result<Runner> {
        let Setup { config, socket, clock, events, seeds, dir, snapshot } = setup;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let now = clock.mono();
        let mut gossip =
            Gossip::new(config, now).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let saved = snapshot.unwrap_or_default();
        if !saved.is_empty() {
            match Gossip::parse_snapshot(&saved) {
                Ok(known) => {
                    for address in known {
                        gossip.join(address, now);
                    }
                }
                Err(error) => tracing::warn!(%error, "the membership snapshot of the last run is not used"),
            }
        }
        let own = gossip.identity().gossip;
        let seeds = SeedBook::new(seeds, own, now);
        Ok(Runner {
            gossip,
            socket,
            clock,
            events,
            view: View::default(),
            seeds,
            out: Outputs::default(),
            dir,
            saved,
            leaving: None,
        })
    }

    /// Where the task publishes what it knows.
    pub(super) fn view(&self) -> View {
        self.view.clone()
    }

    /// Runs until the leave has spread; forever without one.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut buffer = vec![0u8; DATAGRAM_BYTES_MAX + 1];
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut snapshots = interval(SNAPSHOT_PERIOD);
        snapshots.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wait = self.gossip.next_deadline().map_or(SLEEP_MAX, |due| due.since(self.clock.mono()));
            tokio::select! {
                biased;
                received = self.socket.recv_from(&mut buffer) => self.received(received, &buffer).await,
                Some(command) = commands.recv() => self.obey(command),
                _ = housekeeping.tick() => self.keep_house(),
                _ = snapshots.tick() => self.save_snapshot().await,
                resolved = self.seeds.resolved() => self.seeds.take(resolved, &mut self.gossip, self.clock.mono()),
                () = sleep(wait.min(SLEEP_MAX)) => {}
            }
            self.drain(&mut buffer);
            if self.gossip.next_deadline().is_some_and(|due| due <= self.clock.mono()) {
                self.gossip.tick(self.clock.mono(), self.clock.wall(), &mut self.out);
            }
            self.carry_out().await;
            if self.leaving.is_some() && self.gossip.left_spread() {
                self.save_snapshot().await;
                if let Some(done) = self.leaving.take() {
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                }
                return;
            }
        }
    }

    async fn received(&mut self, received: io::Result<(usize, SocketAddr)>, buffer: &[u8]) {
        match received {
            Ok((length, from)) => self.take(from, &buffer[..length]),
            Err(error) => {
                tracing::debug!(%error, "gossip socket");
                sleep(FAILURE_PAUSE).await;
            }
        }
    }

    /// Takes in what else has arrived already.
    fn drain(&mut self, buffer: &mut [u8]) {
        for _ in 0..RECEIVE_BATCH_MAX {
            match self.socket.try_recv_from(buffer) {
                Ok((length, from)) => self.take(from, &buffer[..length]),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, from: SocketAddr, datagram: &[u8]) {
        let (now, wall) = (self.clock.mono(), self.clock.wall());
        if let Err(error) = self.gossip.receive(from, datagram, now, wall, &mut self.out) {
            tracing::debug!(%from, %error, "gossip datagram refused");
        }
    }

    fn obey(&mut self, command: Command) {
        let Command::Leave(done) = command;
        self.gossip.leave(self.clock.mono(), self.clock.wall(), &mut self.out);
        self.leaving = Some(done);
    }

    /// Sends what is to be sent and tells what has happened.
    async fn carry_out(&mut self) {
        for (to, datagram) in self.out.datagrams.drain(..) {
            if let Err(error) = self.socket.send_to(&datagram, to).await {
                tracing::debug!(%to, %error, "gossip datagram not sent");
            }
        }
        if self.out.events.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.out.events);
        self.publish();
        events.iter().for_each(|event| self.events.gossip(event));
    }

    fn keep_house(&mut self) {
        self.publish();
        if self.leaving.is_none() {
            let now = self.clock.mono();
            self.seeds.look(&self.gossip, now, &self.events);
        }
    }

    fn publish(&self) {
        let members =
            self.gossip.members().map(|(identity, state)| (identity.node, (identity.clone(), state)));
        let seen = Seen { members: members.collect(), stats: self.gossip.stats() };
        *self.view.0.write() = seen;
    }

    /// Writes the addresses of live members. A node that has lost sight of all keeps those it knew.
    async fn save_snapshot(&mut self) {
        let snapshot = self.gossip.snapshot();
        let knows_nobody = Gossip::parse_snapshot(&snapshot).is_ok_and(|known| known.is_empty());
        if snapshot == self.saved || knows_nobody {
            return;
        }
        let (dir, bytes) = (self.dir.clone(), snapshot.clone());
        let written = tokio::task::spawn_blocking(move || Disk::save_gossip_snapshot(&dir, &bytes)).await;
        match written.map_err(io::Error::other).and_then(|written| written) {
            Ok(()) => self.saved = snapshot,
            Err(error) => tracing::warn!(%error, "the membership snapshot could not be written"),
        }
    }
}

/// The time from `earlier` to `now` in whole seconds, for messages.
fn seconds(now: Mono, earlier: Mono) -> u64 {
    now.since(earlier).as_secs()
}

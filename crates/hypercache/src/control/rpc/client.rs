//! The asking side: one task per peer, which dials when there is something to ask and keeps the link.
//!
//! A peer that cannot be reached is not dialed again for a moment, and what is asked of it meanwhile fails at once. A link
//! that has been silent for too long while answers are due is given up: its other end may have vanished without a word.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use stdx::{Clock, Mono, NodeId};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::super::link::{Kind, Link, Links, Target};
use super::{Answer, OUTBOX_FRAMES_MAX, REQUESTS_MAX, Request, malformed, read_frame};

/// Pause after the first failed attempt to dial; doubled with each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest such pause.
const BACKOFF_MAX: Duration = Duration::from_millis(200);
/// Silence of a peer that owes answers, after which its link is given up.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How often that is looked at.
const SILENCE_LOOK: Duration = Duration::from_millis(500);
/// Longest a dial may take before what waits for it fails; shorter than the handshake's own limit.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A request on its way to a peer's task.
struct Outgoing {
    frame: Result<Vec<u8>, io::Error>,
    id: u64,
    answer: oneshot::Sender<io::Result<Answer>>,
}

/// Ways to all other nodes; cheap to clone.
#[derive(Clone)]
pub(in super::super) struct Peers(Arc<Inner>);

struct Inner {
    links: Arc<Links>,
    /// Where the peers' tasks run.
    runtime: Handle,
    clock: Clock,
    next_id: AtomicU64,
    peers: Mutex<HashMap<NodeId, Peer>>,
}

struct Peer {
    target: Target,
    outbox: mpsc::Sender<Outgoing>,
}

impl Peers {
    /// No way to anybody yet. Must be called on a runtime, which the links live on.
    pub(in super::super) fn new(links: Arc<Links>, clock: Clock) -> Peers {
        let (runtime, next_id) = (Handle::current(), AtomicU64::new(1));
        Peers(Arc::new(Inner { links, runtime, clock, next_id, peers: Mutex::default() }))
    }

    /// Asks `target` and waits at most `patience`. An error says nothing about whether the request was executed.
    pub(in super::super) fn ask(
        &self,
        target: Target,
        request: &Request,
        patience: Duration,
    ) -> impl Future<Output = io::Result<Answer>> + Send + 'static + use<> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = request.encode(id);
        let outbox = self.outbox(target);
        async move {
            let (answer, answered) = oneshot::channel();
            let asking = async {
                let gone = || io::Error::new(io::ErrorKind::NotConnected, "the peer was replaced");
                outbox.send(Outgoing { frame, id, answer }).await.map_err(|_| gone())?;
                answered.await.map_err(|_| gone())?
            };
            timeout(patience, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
    }

    /// Closes links to nodes that are no longer `wanted`.
    pub(in super::super) fn retain(&self, wanted: impl Fn(NodeId) -> bool) {
        self.0.peers.lock().retain(|node, _| wanted(*node));
    }

    fn outbox(&self, target: Target) -> mpsc::Sender<Outgoing> {
        let mut peers = self.0.peers.lock();
        let known = peers.get(&target.node).filter(|peer| peer.target == target);
        if let Some(peer) = known.filter(|peer| !peer.outbox.is_closed()) {
            return peer.outbox.clone();
        }
        let (outbox, inbox) = mpsc::channel(OUTBOX_FRAMES_MAX);
        self.0.runtime.spawn(attend(self.0.links.clone(), self.0.clock.clone(), target, inbox));
        peers.insert(target.node, Peer { target, outbox: outbox.clone() });
        outbox
    }
}

/// A peer's task; ends when nobody can ask any more.
async fn attend(links: Arc<Links>, clock: Clock, target: Target, mut inbox: mpsc::Receiver<Outgoing>) {
    let mut backoff = BACKOFF_MIN;
    while let Some(first) = inbox.recv().await {
        let dialed = timeout(DIAL_TIMEOUT, links.dial(target, Kind::Control)).await;
        let error = match dialed {
            Ok(Ok(link)) => {
                backoff = BACKOFF_MIN;
                converse(link, &clock, first, &mut inbox).await;
                continue;
            }
            Ok(Err(error)) => io::Error::new(io::ErrorKind::NotConnected, error.to_string()),
            Err(_elapsed) => io::ErrorKind::TimedOut.into(),
        };
        tracing::debug!(node = %super::super::hex::node(target.node), http = %target.http, %error, "no control link");
        fail(first, &error);
        if !refuse_for(backoff, &mut inbox, &error).await {
            return;
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Fails everything that is asked for a while; false if nobody can ask any more.
async fn refuse_for(pause: Duration, inbox: &mut mpsc::Receiver<Outgoing>, error: &io::Error) -> bool {
    let rest = sleep(pause);
    tokio::pin!(rest);
    loop {
        tokio::select! {
            () = &mut rest => return true,
            outgoing = inbox.recv() => match outgoing {
                Some(outgoing) => fail(outgoing, error),
                None => return false,
            },
        }
    }
}

fn fail(outgoing: Outgoing, error: &io::Error) {
    // Whoever asked may have given up meanwhile; then nobody is left to tell.
    let _ = outgoing.answer.send(Err(io::Error::new(error.kind(), error.to_string())));
}

/// Who waits for which answer, and when the peer was last heard.
struct Waiting {
    answers: HashMap<u64, oneshot::Sender<io::Result<Answer>>>,
    heard: Mono,
}

/// Uses a link until it breaks or is not wanted any more.
async fn converse(link: Link, clock: &Clock, first: Outgoing, inbox: &mut mpsc::Receiver<Outgoing>) {
    let (reader, writer) = link.stream.into_split();
    let waiting = Mutex::new(Waiting { answers: HashMap::new(), heard: clock.mono() });
    let ended = tokio::select! {
        ended = ask(writer, first, inbox, &waiting, clock) => ended,
        ended = listen(reader, link.early, &waiting, clock) => ended,
        ended = watch_silence(&waiting, clock) => ended,
    };
    let error = ended.err().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into());
    for (_, answer) in waiting.into_inner().answers {
        // As above: nobody may be left to tell.
        let _ = answer.send(Err(io::Error::new(error.kind(), error.to_string())));
    }
}

async fn ask(
    mut writer: OwnedWriteHalf,
    first: Outgoing,
    inbox: &mut mpsc::Receiver<Outgoing>,
    waiting: &Mutex<Waiting>,
    clock: &Clock,
) -> io::Result<()> {
    let mut next = Some(first);
    while let Some(Outgoing { frame, id, answer }) = next {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                // As above: nobody may be left to tell.
                let _ = answer.send(Err(error));
                next = inbox.recv().await;
                continue;
            }
        };
        if !answer.is_closed() {
            {
                let mut waiting = waiting.lock();
                if waiting.answers.is_empty() {
                    waiting.heard = clock.mono();
                }
                if waiting.answers.len() >= REQUESTS_MAX {
                    return Err(malformed("too many requests without an answer"));
                }
                waiting.answers.insert(id, answer);
            }
            writer.write_all(&frame).await?;
        }
        next = inbox.recv().await;
    }
    Ok(())
}

async fn listen(
    reader: OwnedReadHalf,
    early: Vec<u8>,
    waiting: &Mutex<Waiting>,
    clock: &Clock,
) -> io::Result<()> {
    let mut reader = BufReader::new(tokio::io::AsyncReadExt::chain(std::io::Cursor::new(early), reader));
    while let Some(frame) = read_frame(&mut reader).await? {
        let id = frame.id;
        let answer = Answer::decode(frame)?;
        let mut waiting = waiting.lock();
        waiting.heard = clock.mono();
        if let Some(asker) = waiting.answers.remove(&id) {
            // The asker may have given up; the answer is then of no use to anybody.
            let _ = asker.send(Ok(answer));
        }
    }
    Err(io::ErrorKind::ConnectionReset.into())
}

async fn watch_silence(waiting: &Mutex<Waiting>, clock: &Clock) -> io::Result<()> {
    loop {
        sleep(SILENCE_LOOK).await;
        let mut waiting = waiting.lock();
        let owes = !waiting.answers.is_empty();
        if owes && clock.mono().since(waiting.heard) > SILENCE_MAX {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Unless it has been heard since, whoever gave up must not keep the silence from being counted.
        if clock.mono().since(waiting.heard) < SILENCE_LOOK {
            waiting.answers.retain(|_, asker| !asker.is_closed());
        }
    }
}

//! The cluster's events as this node sees them: logged, kept for a while, announced on a channel and broadcast.

use cluster::gossip;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;
use stdx::Clock;
use tokio::sync::broadcast;

use super::plane::Plane;

/// Events kept for those who come later.
pub const EVENTS_RECENT_MAX: usize = 256;
/// Events a subscriber may lag behind before it misses some.
const EVENTS_BEHIND_MAX: usize = 256;
/// The pub/sub channel.
pub const EVENTS_CHANNEL: &str = "cluster.events";

/// Something that happened in the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ClusterEvent {
    /// When this node noticed, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// `info`, `warn` or `error`.
    pub level: &'static str,
    /// What happened, for people.
    pub text: String,
}

/// Where events go.
pub(super) struct EventBus {
    plane: Arc<dyn Plane>,
    clock: Clock,
    recent: Mutex<VecDeque<ClusterEvent>>,
    subscribers: broadcast::Sender<ClusterEvent>,
}

impl EventBus {
    pub(super) fn new(plane: Arc<dyn Plane>, clock: Clock) -> EventBus {
        let (subscribers, _) = broadcast::channel(EVENTS_BEHIND_MAX);
        EventBus { plane, clock, recent: Mutex::default(), subscribers }
    }

    pub(super) fn info(&self, text: impl Into<String>) {
        let text = text.into();
        tracing::info!("{text}");
        self.publish("info", text);
    }

    pub(super) fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        tracing::warn!("{text}");
        self.publish("warn", text);
    }

    pub(super) fn error(&self, text: impl Into<String>) {
        let text = text.into();
        tracing::error!("{text}");
        self.publish("error", text);
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<ClusterEvent> {
        self.subscribers.subscribe()
    }

    pub(super) fn recent(&self) -> Vec<ClusterEvent> {
        self.recent.lock().iter().cloned().collect()
    }

    /// Says what gossip noticed.
    pub(super) fn gossip(&self, event: &gossip::Event) {
        match event {
            gossip::Event::Up(who) => self.info(format!("gossip: {} at {} is there", who.name, who.gossip)),
            gossip::Event::Down(who) => {
                self.warn(format!("gossip: {} at {} does not answer", who.name, who.gossip));
            }
            gossip::Event::Left(who) => self.info(format!("gossip: {} has left", who.name)),
            gossip::Event::Renamed { old, new } if old.incarnation == new.incarnation => {
                self.info(format!("gossip: {} was taken for failed and is back", new.name));
            }
            gossip::Event::Renamed { new, .. } => self.info(format!("gossip: {} was restarted", new.name)),
            gossip::Event::SelfDown(me) => {
                self.warn(format!("gossip: others took this node for failed; it rejoins ({})", me.bump));
            }
            gossip::Event::User { name, payload, .. } => {
                self.info(format!("gossip: event {name}: {}", String::from_utf8_lossy(payload)));
            }
        }
    }

    fn publish(&self, level: &'static str, text: String) {
        let event = ClusterEvent { time_ms: self.clock.wall().0, level, text };
        let json = serde_json::to_vec(&event).expect("an event is plain data");
        {
            let mut recent = self.recent.lock();
            if recent.len() == EVENTS_RECENT_MAX {
                recent.pop_front();
            }
            recent.push_back(event.clone());
        }
        self.plane.announce(EVENTS_CHANNEL.as_bytes(), &json);
        // Fails if nobody listens.
        let _ = self.subscribers.send(event);
    }
}

//! Who listens to what on this node.
//!
//! One registry for all workers: a publisher looks up the subscribers and hands each worker its share. A worker
//! renders the message for its own subscribers, since only it knows their protocol versions.

use crate::target::Key;
use commands::glob;
use commands::session::ChannelKind;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// A subscriber's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subscriber {
    pub(crate) worker: u16,
    pub(crate) connection: Key,
}

/// One message for one subscriber.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: Subscriber,
    pub(crate) kind: ChannelKind,
    /// The pattern that matched, for `ChannelKind::Pattern`.
    pub(crate) pattern: Option<Arc<[u8]>>,
    pub(crate) channel: Arc<[u8]>,
    pub(crate) message: Arc<[u8]>,
}

type Names = HashMap<Arc<[u8]>, Vec<Subscriber>>;

/// All subscriptions of the node.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    channels: RwLock<Names>,
    patterns: RwLock<Names>,
    shards: RwLock<Names>,
}

impl Registry {
    fn names(&self, kind: ChannelKind) -> &RwLock<Names> {
        match kind {
            ChannelKind::Channel => &self.channels,
            ChannelKind::Pattern => &self.patterns,
            ChannelKind::Shard => &self.shards,
        }
    }

    pub(crate) fn subscribe(&self, kind: ChannelKind, name: &[u8], who: Subscriber) {
        let mut names = self.names(kind).write();
        let subscribers = names.entry(name.into()).or_default();
        if !subscribers.contains(&who) {
            subscribers.push(who);
        }
    }

    pub(crate) fn unsubscribe(&self, kind: ChannelKind, name: &[u8], who: Subscriber) {
        let mut names = self.names(kind).write();
        if let Some(subscribers) = names.get_mut(name) {
            subscribers.retain(|other| *other != who);
            if subscribers.is_empty() {
                names.remove(name);
            }
        }
    }

    /// Everybody on this node who gets a message published on `channel`.
    pub(crate) fn receivers(&self, kind: ChannelKind, channel: &[u8], message: &[u8]) -> Vec<Outgoing> {
        let mut out = Vec::new();
        let mut channel_copy: Option<Arc<[u8]>> = None;
        let mut message_copy: Option<Arc<[u8]>> = None;
        let mut add = |to: Subscriber, kind, pattern: Option<Arc<[u8]>>| {
            let channel = Arc::clone(channel_copy.get_or_insert_with(|| channel.into()));
            let message = Arc::clone(message_copy.get_or_insert_with(|| message.into()));
            out.push(Outgoing { to, kind, pattern, channel, message });
        };
        if let Some(subscribers) = self.names(kind).read().get(channel) {
            subscribers.iter().for_each(|to| add(*to, kind, None));
        }
        if kind == ChannelKind::Channel {
            for (pattern, subscribers) in self.patterns.read().iter() {
                if glob::matches(pattern, channel) {
                    subscribers
                        .iter()
                        .for_each(|to| add(*to, ChannelKind::Pattern, Some(Arc::clone(pattern))));
                }
            }
        }
        out
    }

    pub(crate) fn subscribed(&self, kind: ChannelKind) -> Vec<Vec<u8>> {
        self.names(kind).read().keys().map(|name| name.to_vec()).collect()
    }

    pub(crate) fn count(&self, kind: ChannelKind, name: &[u8]) -> u64 {
        self.names(kind).read().get(name).map_or(0, |subscribers| subscribers.len() as u64)
    }

    pub(crate) fn len(&self, kind: ChannelKind) -> u64 {
        self.names(kind).read().len() as u64
    }
}

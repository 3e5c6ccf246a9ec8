//! Keyspace events: from the primary of a key to the subscribers on every node, at most once, in order for each key.
//!
//! While events are published, every command takes the ordinary way, one by one, and its effects are encoded even if nobody
//! else wants them. What a turn has caused goes out at its end, to each node in one request, over the link that orders it.

use super::Worker;
use super::dispatch::Routes;
use crate::frame::{Request, Scope, Words};
use crate::target::{Key, Owner, Target};
use commands::Args;
use commands::events::Events;
use commands::session::ChannelKind;
use protocol::Version;

/// The directive that says which events there are.
const DIRECTIVE: &str = "notify-keyspace-events";

impl Worker {
    /// Publishes what has happened since the last turn.
    pub(super) fn publish_events(&mut self) {
        let events = self.shared.events();
        if !events.is_on() {
            return;
        }
        self.events.append(&mut self.shared.evicted_events.lock());
        if self.events.is_empty() {
            return;
        }
        let mut words = Words::default();
        for event in std::mem::take(&mut self.events) {
            event.messages(events, &mut |channel, message| {
                self.outgoing.extend(self.shared.registry.receivers(ChannelKind::Channel, channel, message));
                words.push(channel);
                words.push(message);
            });
        }
        if words.len_bytes() > 0 {
            self.tell_nodes(Scope::Event, &words);
        }
    }

    /// Messages that another node has published: channels and messages in turns.
    pub(super) fn take_events(&mut self, args: Args<'_>) {
        for pair in args.as_slice().chunks_exact(2) {
            self.outgoing.extend(self.shared.registry.receivers(ChannelKind::Channel, pair[0], pair[1]));
        }
    }

    /// Tells all other nodes which events are wanted: whoever asked this node asked the cluster.
    pub(super) fn tell_wanted_events(&mut self) {
        self.tell_nodes(Scope::Wanted, &Words::copy_of(&[self.shared.events().letters().as_bytes()]));
    }

    /// Another node was told which events are wanted.
    pub(super) fn take_wanted_events(&mut self, args: Args<'_>) {
        if self.shared.platform.config_set(&[(DIRECTIVE, args.name())]).is_err() {
            tracing::warn!("another node wants keyspace events that this one does not know");
        }
        self.shared.refresh_events();
    }

    /// Sends a request to every other node that is alive and linked; nobody waits for the answers.
    fn tell_nodes(&mut self, scope: Scope, words: &Words) {
        let me = self.routing.me;
        let alive = self.routing.map.members.values().filter(|member| member.is_alive() && member.node != me);
        let links: Vec<Key> = alive.filter_map(|member| self.link_to(member.node)).collect();
        for link in links {
            let request = Request {
                scope,
                db: 0,
                version: Version::Resp2,
                touch: false,
                partitions: Vec::new(),
                words: words.clone(),
            };
            let nobody = self.nobody();
            self.forward(link, Routes::new(), request, nobody, self.deadline());
        }
    }

    /// A target that nobody has.
    pub(super) fn nobody(&self) -> Target {
        self.target(Owner::Call(Key { index: u32::MAX, generation: 0 }), 0)
    }

    /// Which events are published, if any: then commands take the ordinary way.
    pub(super) fn wanted_events(&self) -> Events {
        self.shared.events()
    }
}

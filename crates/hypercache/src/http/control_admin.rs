//! The control plane behind the HTTP port.

use super::admin::{Admin, EventFeed, Pending};
use super::figures::{GossipFigures, RaftFigures};
use crate::control::Control;
use bytes::Bytes;
use cluster::raft::RaftState;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde::Serialize;

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data with text keys is always JSON")
}

impl Admin for Control {
    fn status_json(&self) -> String {
        json(&self.status())
    }

    fn ring_json(&self) -> String {
        json(&self.ring())
    }

    fn nodes_json(&self) -> String {
        json(&self.node_stats())
    }

    fn is_ready(&self) -> bool {
        Control::is_ready(self)
    }

    fn is_healthy(&self) -> bool {
        Control::is_healthy(self)
    }

    fn failure(&self) -> Option<&str> {
        Control::failure(self)
    }

    fn cluster_size(&self) -> usize {
        Control::cluster_size(self)
    }

    fn leave(&self) -> Pending<'_, Result<(), String>> {
        Box::pin(Control::leave(self))
    }

    fn forget<'a>(&'a self, node: &'a str) -> Pending<'a, Result<(), String>> {
        Box::pin(Control::forget(self, node))
    }

    fn events(&self) -> Box<dyn EventFeed> {
        Box::new(Control::events(self))
    }

    fn recent_events_json(&self) -> String {
        json(&self.recent_events())
    }

    fn raft_figures(&self) -> RaftFigures {
        let raft = self.raft_status();
        RaftFigures {
            term: raft.term,
            is_leader: raft.state == RaftState::Leader,
            last_log: raft.last_log,
            applied: raft.applied,
            voters: raft.voters.len() as u64,
        }
    }

    fn gossip_figures(&self) -> GossipFigures {
        let (status, stats) = (self.status(), self.gossip_stats());
        let in_state = |state| status.members.iter().filter(|member| member.state == state).count() as u64;
        GossipFigures {
            alive: in_state("up"),
            suspected: in_state("suspect"),
            datagrams_sent: stats.sent,
            datagrams_received: stats.received,
            datagrams_refused: stats.rejected_auth
                + stats.rejected_replay
                + stats.rejected_skew
                + stats.rejected_malformed
                + stats.rejected_senders,
        }
    }

    fn accept_link(&self, request: Request<Incoming>) -> Pending<'_, Response<Full<Bytes>>> {
        Box::pin(Control::accept_link(self, request))
    }
}

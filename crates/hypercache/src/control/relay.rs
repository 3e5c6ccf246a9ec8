//! Requests that only the leader can answer: answered here if this node leads, else carried to whoever does.
//!
//! A node that does not lead never passes a request on; it names the leader, and the asker goes there. So a request takes
//! no hidden paths, and the leader knows from the link who asks.

use cluster::raft::ProposeError;
use cluster::{Applied, MapCommand, Member};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use stdx::NodeId;
use tokio::time::sleep;

use super::core::Core;
use super::link::Target;
use super::rpc::{Answer, Asker, Request, Whereabouts};

/// Pause between attempts, and between looks at who leads.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for one node's answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

impl Core {
    /// Answers a request that another node, or this one, has made.
    pub(super) async fn serve(self: &Arc<Self>, asker: Asker, request: Request) -> Answer {
        match request {
            Request::Raft(bytes) => Answer::Raft(self.raft.serve(&bytes).await),
            Request::Probe => Answer::Here,
            Request::Stats => Answer::Stats(self.board.own()),
            Request::Lease => self.grant(asker),
            Request::Register(member) => self.admit(asker, *member).await,
            Request::Propose(command) => self.propose(command).await,
        }
    }

    async fn admit(self: &Arc<Self>, asker: Asker, member: Member) -> Answer {
        if member.node != asker.node || member.incarnation != asker.incarnation {
            return Answer::Refused("a node can only register itself".to_owned());
        }
        self.answer(self.raft.admit(member).await)
    }

    async fn propose(self: &Arc<Self>, command: MapCommand) -> Answer {
        self.answer(self.raft.propose(command).await)
    }

    fn answer(&self, result: Result<Applied, ProposeError>) -> Answer {
        match result {
            Ok(applied) => {
                if !applied.data_lost.is_empty() {
                    let lost = applied.data_lost.len();
                    self.events
                        .error(format!("the last copy of {lost} partitions is lost; they begin empty"));
                }
                Answer::Applied(applied)
            }
            Err(ProposeError::NotLeader { .. }) => self.not_leader(),
            Err(ProposeError::Busy) => Answer::Busy,
            Err(ProposeError::Timeout) => Answer::InDoubt,
            Err(stopped @ ProposeError::Stopped(_)) => Answer::Refused(stopped.to_string()),
        }
    }

    /// Names the leader, unless that is said to be this node, who knows better.
    pub(super) fn not_leader(&self) -> Answer {
        let leader = self.raft.leader().filter(|(node, _)| *node != self.me.node);
        let leader = leader.map(|(node, at)| Whereabouts { node, http: self.target_of(node, at.http).http });
        Answer::NotLeader { leader }
    }

    /// Asks the leader, whoever that is by then; gives up after `patience` with the last obstacle. A request may reach a
    /// leader twice: all of them are safe to repeat.
    pub(super) async fn ask_leader(
        self: &Arc<Self>,
        request: Request,
        patience: Duration,
    ) -> Result<Answer, String> {
        let deadline = self.clock.mono() + patience;
        let mut named: Option<Whereabouts> = None;
        let mut obstacle = "no leader is known".to_owned();
        for attempt in 0.. {
            let left = deadline.since(self.clock.mono());
            if left.is_zero() {
                break;
            }
            let answer = match self.whom_to_ask(named.take(), attempt) {
                None => None,
                Some(who) if who.node == self.me.node => {
                    Some(self.serve(self.myself(), request.clone()).await)
                }
                Some(who) => {
                    let target = self.target_of(who.node, who.http);
                    match self.ask_while_leading(target, &request, left.min(CALL_TIMEOUT)).await {
                        Ok(answer) => Some(answer),
                        Err(error) => {
                            obstacle = format!("{} does not answer: {error}", who.http);
                            None
                        }
                    }
                }
            };
            match answer {
                Some(Answer::NotLeader { leader: Some(leader) }) if attempt % 4 != 3 => {
                    named = Some(leader);
                    continue;
                }
                Some(Answer::NotLeader { .. }) => obstacle = "no leader is known".to_owned(),
                Some(Answer::Busy) => obstacle = "another membership change is under way".to_owned(),
                Some(Answer::InDoubt) => obstacle = "no quorum answers".to_owned(),
                Some(answer) => return Ok(answer),
                None => {}
            }
            sleep(PAUSE).await;
        }
        Err(obstacle)
    }

    /// This node as the asker of its own requests.
    pub(super) fn myself(&self) -> Asker {
        Asker { node: self.me.node, incarnation: self.me.incarnation }
    }

    /// The leader if one is named or known; on every other attempt somebody else who may know more.
    fn whom_to_ask(&self, named: Option<Whereabouts>, attempt: usize) -> Option<Whereabouts> {
        if named.is_some() {
            return named;
        }
        let leader = self.raft.leader().map(|(node, at)| Whereabouts { node, http: at.http });
        if leader.is_some() && attempt.is_multiple_of(2) {
            return leader;
        }
        let others = self.others();
        let (node, http) = *others.get((attempt / 2).checked_rem(others.len())?)?;
        Some(Whereabouts { node, http })
    }

    /// Everybody who may be part of the cluster.
    fn others(&self) -> Vec<(NodeId, SocketAddr)> {
        let mut others = self.gossip.reachable();
        if others.is_empty() {
            let map = self.raft.map();
            others.extend(map.members.values().map(|member| (member.node, member.http)));
        }
        others.retain(|(node, _)| *node != self.me.node);
        others
    }

    /// Asks a node, but no longer than it is not known that another leads: one that was stopped may never answer.
    fn ask_while_leading(
        self: &Arc<Self>,
        target: Target,
        request: &Request,
        patience: Duration,
    ) -> impl Future<Output = Result<Answer, String>> + Send + 'static + use<> {
        let answered = self.peers.ask(target, request, patience);
        let core = Arc::clone(self);
        async move {
            let before = core.raft.leader().map(|(node, _)| node);
            let deposed = async {
                loop {
                    sleep(PAUSE).await;
                    let leader = core.raft.leader().map(|(node, _)| node);
                    if leader != before && leader.is_some_and(|leader| leader != target.node) {
                        return;
                    }
                }
            };
            tokio::select! {
                answer = answered => answer.map_err(|error| error.to_string()),
                () = deposed => Err("another node leads now".to_owned()),
            }
        }
    }
}

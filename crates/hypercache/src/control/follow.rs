//! What a new version of the map means besides ownership: events for people, links that are no longer wanted.

use cluster::planner::is_settled;
use cluster::{ClusterMap, Member, MemberState};
use std::sync::Arc;

use super::core::Core;
use super::hex;

/// Remembers the map before.
#[derive(Default)]
pub(super) struct Follower {
    before: Option<Arc<ClusterMap>>,
    was_settled: bool,
}

impl Follower {
    /// Reacts to `map`, which is in force already.
    pub(super) fn changed(&mut self, core: &Arc<Core>, map: &Arc<ClusterMap>) {
        if !map.is_bootstrapped() {
            return;
        }
        let settled = is_settled(map);
        match self.before.replace(Arc::clone(map)) {
            None => core.events.info(format!(
                "cluster {} has {} members and {} partitions (map version {})",
                hex::number(map.cluster_id),
                map.members.len(),
                map.partitions,
                map.version
            )),
            Some(before) => {
                members_changed(core, &before, map);
                if settled && !self.was_settled {
                    let members = map.members.values().filter(|member| member.is_alive()).count();
                    core.events.info(format!(
                        "partitions are balanced over {members} members (map version {})",
                        map.version
                    ));
                }
                if before.members.len() > map.members.len() {
                    core.peers.retain(|node| map.members.contains_key(&node));
                }
                if core.is_registered(&before) && !core.is_registered(map) {
                    core.renew_now.notify_one();
                }
            }
        }
        self.was_settled = settled;
    }
}

fn members_changed(core: &Core, before: &ClusterMap, map: &ClusterMap) {
    for (node, member) in &map.members {
        match before.member(*node) {
            None => core.events.info(format!("{} has joined at {}", member.name, member.resp)),
            Some(known) => member_changed(core, known, member, map),
        }
    }
    for member in before.members.values().filter(|member| !map.members.contains_key(&member.node)) {
        core.events.info(format!("{} is no longer a member", member.name));
    }
}

fn member_changed(core: &Core, known: &Member, member: &Member, map: &ClusterMap) {
    let name = &member.name;
    if member.incarnation != known.incarnation {
        core.events.info(format!("{name} is back as a new process at {}", member.resp));
        return;
    }
    match (known.state, member.state) {
        (MemberState::Up | MemberState::Leaving, MemberState::Down) => {
            let unavailable = map.unavailable().count();
            let rest = match unavailable {
                0 => "others have taken over its partitions".to_owned(),
                _ => format!("{unavailable} partitions had no other copy and are unavailable"),
            };
            core.events.warn(format!("{name} is down: {rest}"));
        }
        (MemberState::Up, MemberState::Leaving) => core.events.info(format!("{name} is leaving")),
        (MemberState::Down, MemberState::Up) => core.events.info(format!("{name} is up again")),
        _ => {}
    }
}

//! Who votes: one voter in a cluster of one or two, three from three members on, five from five.
//!
//! Voters change far more slowly than owners of partitions. A voter that is down keeps its vote for half a minute, since
//! it usually returns and each change of voters is itself a risk; one that leaves is replaced at once. The number of
//! voters is kept odd, because an even one needs a larger quorum and survives no more failures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stdx::NodeId;

use crate::map::{ClusterMap, MemberState};

/// What the choice is made from.
pub(super) struct Situation<'a, F> {
    /// The latest map.
    pub(super) map: &'a ClusterMap,
    /// The current leader.
    pub(super) leader: u64,
    /// Who votes now.
    pub(super) voters: &'a BTreeSet<u64>,
    /// Who has nearly all of the log.
    pub(super) caught_up: &'a BTreeSet<u64>,
    /// How long a member has been down; `None` if unknown, which counts as not long.
    pub(super) down_for: F,
    /// How long a voter may be down before it is replaced.
    pub(super) replace_after: Duration,
}

/// Voters wanted in a cluster of this many members.
fn voters_wanted(members: usize) -> usize {
    match members {
        0..=2 => 1,
        3..=4 => 3,
        _ => 5,
    }
}

/// The voters that there should be.
pub(super) fn choose<F: Fn(NodeId) -> Option<Duration>>(situation: &Situation<'_, F>) -> BTreeSet<u64> {
    let Situation { map, leader, voters, caught_up, .. } = situation;
    let state = |id: u64| map.member(NodeId(id)).map(|member| member.state);
    // Members that are down count: they are expected back until an operator forgets them.
    let staying = map.members.values().filter(|member| member.state != MemberState::Leaving).count();
    let size = voters_wanted(staying);
    let stays = |id: &&u64| matches!(state(**id), Some(MemberState::Up | MemberState::Down));
    let mut chosen: BTreeSet<u64> = voters.iter().filter(stays).copied().collect();
    let can_vote = |id: &&u64| state(**id) == Some(MemberState::Up) && !voters.contains(*id);
    let mut candidates: Vec<u64> = caught_up.iter().filter(can_vote).copied().collect();

    let is_down = |id: &u64| state(*id) == Some(MemberState::Down);
    let is_overdue = |id: &u64| {
        is_down(id) && (situation.down_for)(NodeId(*id)).is_some_and(|down| down >= situation.replace_after)
    };
    for overdue in chosen.clone().into_iter().filter(is_overdue) {
        if let Some(candidate) = take_best(map, &chosen, &mut candidates) {
            chosen.remove(&overdue);
            chosen.insert(candidate);
        }
    }
    let kept = chosen.len();
    while chosen.len() < size {
        let Some(candidate) = take_best(map, &chosen, &mut candidates) else { break };
        chosen.insert(candidate);
    }
    let excess = |chosen: &BTreeSet<u64>| chosen.len() > size || chosen.len().is_multiple_of(2);
    while chosen.len() > 1 && excess(&chosen) {
        let added = |id: &u64| !voters.contains(id) && chosen.len() > kept;
        let worst = chosen.iter().copied().max_by_key(|id| (added(id), is_down(id), id != leader, *id));
        chosen.remove(&worst.expect("more than one is chosen"));
    }
    if chosen.is_empty() { (*voters).clone() } else { chosen }
}

/// The candidate whose zone has the fewest voters.
fn take_best(map: &ClusterMap, chosen: &BTreeSet<u64>, candidates: &mut Vec<u64>) -> Option<u64> {
    let zone = |id: u64| map.member(NodeId(id)).and_then(|member| member.zone.as_deref());
    let mut taken: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for id in chosen {
        *taken.entry(zone(*id)).or_default() += 1;
    }
    let count = |id: u64| taken.get(&zone(id)).copied().unwrap_or(0);
    let best = (0..candidates.len()).min_by_key(|index| (count(candidates[*index]), candidates[*index]))?;
    Some(candidates.remove(best))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{MapCommand, Member};
    use std::net::SocketAddr;

    /// Members by state: `u` up, `d` down, `D` down for long, `l` leaving; numbered from 1.
    fn check(states: &str, voters: &[u64], caught_up: &[u64], leader: u64, expect: &[u64]) {
        let mut map = ClusterMap::default();
        map.apply(&MapCommand::Bootstrap { cluster_id: 1, partitions: 1, replication_factor: 1 });
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        for (id, state) in (1..).zip(states.chars()).filter(|(_, state)| *state != '-') {
            let member = Member {
                node: NodeId(id),
                incarnation: 1,
                name: String::new(),
                zone: None,
                weight: 1,
                resp: address,
                http: address,
                gossip: address,
                state: MemberState::Up,
                recovered: Vec::new(),
            };
            map.apply(&MapCommand::Register { member });
            match state {
                'u' => continue,
                'l' => map.apply(&MapCommand::Leave { node: NodeId(id) }),
                _ => map.apply(&MapCommand::NodeDown { node: NodeId(id), incarnation: 1 }),
            };
        }
        let down_for = |node: NodeId| {
            let state = states.chars().nth(node.0 as usize - 1);
            state.filter(|state| *state == 'D').map(|_| Duration::from_secs(60))
        };
        let chosen = choose(&Situation {
            map: &map,
            leader,
            voters: &voters.iter().copied().collect(),
            caught_up: &caught_up.iter().copied().collect(),
            down_for,
            replace_after: Duration::from_secs(30),
        });
        assert_eq!(chosen.into_iter().collect::<Vec<_>>(), expect, "{states} {voters:?} {caught_up:?}");
    }

    #[test]
    fn grows_to_odd_numbers_only() {
        check("u", &[1], &[1], 1, &[1]);
        check("uu", &[1], &[1, 2], 1, &[1]);
        check("uuu", &[1], &[1, 2], 1, &[1]);
        check("uuu", &[1], &[1, 2, 3], 1, &[1, 2, 3]);
        check("uud", &[1], &[1, 2], 1, &[1]);
        check("uuuuu", &[1, 2, 3], &[1, 2, 3, 4], 1, &[1, 2, 3]);
        check("uuuuu", &[1, 2, 3], &[1, 2, 3, 4, 5], 1, &[1, 2, 3, 4, 5]);
        check("uuuuuuu", &[1], &[1, 2, 3, 4, 5, 6, 7], 1, &[1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_voter_that_is_down_is_replaced_slowly() {
        check("uduu", &[1, 2, 3], &[1, 3, 4], 1, &[1, 2, 3]);
        check("uDuu", &[1, 2, 3], &[1, 3, 4], 1, &[1, 3, 4]);
        check("uDuu", &[1, 2, 3], &[1, 3], 1, &[1, 2, 3]);
        check("uDu", &[1, 2, 3], &[1, 3], 1, &[1, 2, 3]);
        check("DDuuu", &[1, 2, 3], &[3, 4, 5], 3, &[3, 4, 5]);
    }

    #[test]
    fn one_that_leaves_is_replaced_at_once() {
        check("luuu", &[1, 2, 3], &[1, 2, 3, 4], 1, &[2, 3, 4]);
        check("-uuu", &[1, 2, 3], &[1, 2, 3, 4], 1, &[2, 3, 4]);
        check("luu", &[1, 2, 3], &[1, 2, 3], 1, &[2]);
        check("uul", &[1, 2, 3], &[1, 2, 3], 2, &[2]);
        check("l", &[1], &[1], 1, &[1]);
        check("lu", &[1], &[1, 2], 1, &[2]);
        check("lu", &[1], &[1], 1, &[1]);
        check("uuuul", &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5], 4, &[1, 2, 4]);
    }
}

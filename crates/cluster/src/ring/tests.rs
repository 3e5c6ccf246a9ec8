//! Property tests of the ring: balance, distinctness, purity, and how little a change of the members moves.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use stdx::Random;

const PARTITIONS: u16 = 256;

fn nodes(count: usize, random: &mut Random) -> Vec<RingMember> {
    let mut ids = BTreeSet::new();
    while ids.len() < count {
        ids.insert(random.next_u64());
    }
    let member = |id: u64| RingMember { node: NodeId(id), zone: None, weight: 1 };
    let mut members: Vec<RingMember> = ids.into_iter().map(member).collect();
    for i in (1..members.len()).rev() {
        members.swap(i, random.below(i as u64 + 1) as usize);
    }
    members
}

fn loads<'a>(
    owners: impl IntoIterator<Item = &'a NodeId>,
    members: &[RingMember],
) -> BTreeMap<NodeId, usize> {
    let mut loads: BTreeMap<NodeId, usize> = members.iter().map(|member| (member.node, 0)).collect();
    for node in owners {
        *loads.get_mut(node).expect("owners are members") += 1;
    }
    loads
}

fn spread(loads: &BTreeMap<NodeId, usize>) -> usize {
    loads.values().max().expect("not empty") - loads.values().min().expect("not empty")
}

/// Copies that have to be transferred, and primaries that change.
fn moved(before: &[Vec<NodeId>], after: &[Vec<NodeId>]) -> (usize, usize) {
    let copies = |(a, b): (&Vec<NodeId>, &Vec<NodeId>)| b.iter().filter(|node| !a.contains(node)).count();
    let pairs = || before.iter().zip(after);
    (pairs().map(copies).sum(), pairs().filter(|(a, b)| a[0] != b[0]).count())
}

#[test]
fn even_distinct_and_independent_of_order() {
    let mut random = Random::seeded(11);
    for count in 1..=50 {
        for rf in 1..=3 {
            let mut members = nodes(count, &mut random);
            let placed = owners(&members, PARTITIONS, rf);
            for owners in &placed {
                assert_eq!(owners.len(), rf.min(count));
                assert_eq!(owners.iter().collect::<BTreeSet<_>>().len(), owners.len(), "{owners:?}");
            }
            let primaries = spread(&loads(placed.iter().map(|owners| &owners[0]), &members));
            let copies = spread(&loads(placed.iter().flatten(), &members));
            assert!(primaries <= 1 && copies <= 1, "{count} nodes, rf {rf}: {primaries} {copies}");
            members.reverse();
            assert_eq!(placed, owners(&members, PARTITIONS, rf));
        }
    }
}

#[test]
fn zones_are_distinct_and_even() {
    let mut random = Random::seeded(12);
    for (count, zones, rf) in
        [(3, 3, 2), (6, 3, 3), (9, 3, 2), (12, 4, 3), (5, 2, 2), (7, 3, 3), (3, 2, 2), (10, 2, 3)]
    {
        let mut members = nodes(count, &mut random);
        for (i, member) in members.iter_mut().enumerate() {
            member.zone = Some(format!("zone-{}", i % zones));
        }
        let zone_of: BTreeMap<NodeId, Option<String>> =
            members.iter().map(|member| (member.node, member.zone.clone())).collect();
        let placed = owners(&members, PARTITIONS, rf);
        for owners in &placed {
            let seen: BTreeSet<_> = owners.iter().map(|node| &zone_of[node]).collect();
            assert_eq!((owners.len(), seen.len()), (rf, rf.min(zones)), "{count} {zones} {rf}");
        }
        let primaries = spread(&loads(placed.iter().map(|owners| &owners[0]), &members));
        let copies = spread(&loads(placed.iter().flatten(), &members));
        eprintln!(
            "{count} nodes in {zones} zones, rf {rf}: primaries within {primaries}, copies within {copies}"
        );
        assert!(primaries <= 1, "{count} {zones} {rf}: {primaries}");
        if count % zones == 0 {
            assert!(copies <= 1, "{count} {zones} {rf}: {copies}");
        }
    }
}

#[test]
fn weights_are_respected() {
    let mut random = Random::seeded(13);
    let mut members = nodes(4, &mut random);
    members[0].weight = 3;
    members[1].weight = 0;
    let placed = owners(&members, PARTITIONS, 2);
    let primaries = loads(placed.iter().map(|owners| &owners[0]), &members);
    let copies = loads(placed.iter().flatten(), &members);
    // Weights 3, 1, 1: the heavy node's share of copies is capped at one of each partition.
    assert!(primaries[&members[0].node].abs_diff(154) <= 1, "{primaries:?}");
    assert_eq!(copies[&members[0].node], 256);
    assert_eq!(copies[&members[1].node], 0);
    assert!(primaries[&members[2].node].abs_diff(51) <= 1, "{primaries:?}");
    assert_eq!(owners(&members[1..2], 4, 2), vec![Vec::new(); 4]);
    assert_eq!(owners(&[], 4, 2), vec![Vec::new(); 4]);
}

/// A node that joins must be given its quota, no less: that is the minimum. Leaving is the same change backwards.
#[test]
fn one_node_more_or_less_moves_little() {
    let mut random = Random::seeded(14);
    let mut worst: (f64, f64) = (0.0, 0.0);
    let mut sums = (0.0, 0.0, 0);
    for count in 3..=50 {
        for rf in [1, 2, 3] {
            let members = nodes(count + 1, &mut random);
            let before = owners(&members[..count], PARTITIONS, rf);
            let after = owners(&members, PARTITIONS, rf);
            let joined = members[count].node;
            let copies_min = after.iter().flatten().filter(|node| **node == joined).count();
            let primaries_min = after.iter().filter(|owners| owners[0] == joined).count();
            let (copies, primaries) = moved(&before, &after);
            let (back, _) = moved(&after, &before);
            assert_eq!(copies, back, "a leave moves what the join did");
            let surplus = (copies - copies_min) as f64 / (usize::from(PARTITIONS) * rf) as f64;
            assert!(surplus < 0.12, "{count}+1 nodes, rf {rf}: {copies} moved, {copies_min} needed");
            let ratio = (copies as f64 / copies_min as f64, primaries as f64 / primaries_min as f64);
            if count % 10 == 3 {
                eprintln!(
                    "{count}+1 nodes, rf {rf}: copies {copies}/{copies_min} = {:.2}, primaries {primaries}/{primaries_min} = {:.2}",
                    ratio.0, ratio.1
                );
            }
            worst = (worst.0.max(ratio.0), worst.1.max(ratio.1));
            sums = (sums.0 + ratio.0, sums.1 + ratio.1, sums.2 + 1);
        }
    }
    let means = (sums.0 / f64::from(sums.2), sums.1 / f64::from(sums.2));
    assert!(means.0 < 2.2, "{means:?}");
    eprintln!(
        "moved/minimum: copies mean {:.2} worst {:.2}, primaries mean {:.2} worst {:.2}",
        means.0, worst.0, means.1, worst.1
    );
}

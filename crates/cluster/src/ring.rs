//! Where partitions should live: consistent hashing with SHA-256 and bounded load, as a pure function.
//!
//! Every member has tokens on a circle of 64-bit points, every partition one point; walking clockwise from its point,
//! a partition meets the members in an order of its own: its preferences. Plain consistent hashing would take the
//! first few and be badly uneven (with 256 partitions on 10 nodes, some node gets twice its share). Bounded load (Mirrokni,
//! Thorup, Zadimoghaddam, 2016) skips members that are full. We bound as tightly as integers allow, and in rounds:
//!
//! 1. Each member's quota of copies is its weighted share, rounded down or up; exactly as many round up as needed.
//! 2. In round `r` every partition that still lacks copies asks its `r`-th preference. A member that cannot take all who
//!    ask takes the nearest. Early choices are never revoked, so that a change of the members disturbs only the few
//!    partitions that were or become surplus somewhere, instead of starting a chain.
//! 3. A partition left over when only unsuitable members have room gets it along a shortest chain of moves.
//! 4. Among the owners of each partition the primary is chosen by the same rounds and chains, under a quota of
//!    primaries. Owners are chosen first because moving a copy costs a transfer, moving a primary only a hand-over.
//!
//! Zones: no two copies in one zone while other zones could take them. Where zones differ in size this outranks
//! evenness, as it must.

mod flow;
mod quota;
#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};
use stdx::NodeId;

/// Tokens of a member of weight 1.
pub const TOKENS_PER_WEIGHT: u32 = 128;
/// Most tokens of one member, however heavy: its share comes from its quota anyway.
pub const TOKENS_MAX: u32 = 4_096;
/// Preferences a partition walks the circle for; whatever is still open then is settled by chains of moves.
const PREFERENCES_MAX: usize = 64;

/// A member as the ring sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RingMember {
    /// Its stable number, from which its tokens are derived.
    pub node: NodeId,
    /// Its failure domain.
    pub zone: Option<String>,
    /// Its share relative to the others; 0 owns nothing.
    pub weight: u32,
}

/// The ordered owners of every partition, primary first: `min(rf, members)` of them, all different.
///
/// Independent of the order of `members`; empty lists if there are none of positive weight.
pub fn owners(members: &[RingMember], partitions: u16, rf: usize) -> Vec<Vec<NodeId>> {
    let field = Field::new(members);
    if field.nodes.is_empty() || rf == 0 {
        return vec![Vec::new(); usize::from(partitions)];
    }
    let preferences = preferences(&field, partitions);
    let copies = rf.min(field.nodes.len());
    let quotas = quota::of_copies(&field, usize::from(partitions), copies);
    let mut holders = flow::place_copies(&field, &preferences, copies, &quotas);
    let primaries = flow::choose_primaries(&field, &preferences, &mut holders);
    let name = |holders: Vec<usize>, primary: usize| {
        let replicas = holders.into_iter().filter(|member| *member != primary);
        std::iter::once(primary).chain(replicas).map(|member| field.nodes[member]).collect()
    };
    holders.into_iter().zip(primaries).map(|(holders, primary)| name(holders, primary)).collect()
}

/// The members in a canonical order, as parallel columns; everything below speaks of them by index.
struct Field {
    nodes: Vec<NodeId>,
    weights: Vec<u64>,
    /// Zone numbers, dense from 0.
    zones: Vec<usize>,
    zone_count: usize,
    /// Decides who gets an odd one: a hash, so that no node is favoured for its number.
    ties: Vec<u64>,
}

impl Field {
    fn new(members: &[RingMember]) -> Field {
        let mut sorted: Vec<&RingMember> = members.iter().filter(|member| member.weight > 0).collect();
        sorted.sort_by_key(|member| member.node);
        sorted.dedup_by_key(|member| member.node);
        let mut names: Vec<&Option<String>> = sorted.iter().map(|member| &member.zone).collect();
        names.sort();
        names.dedup();
        let zone_of = |zone: &Option<String>| {
            names.binary_search(&zone).expect("every zone is in the list made of them")
        };
        Field {
            nodes: sorted.iter().map(|member| member.node).collect(),
            weights: sorted.iter().map(|member| u64::from(member.weight)).collect(),
            zones: sorted.iter().map(|member| zone_of(&member.zone)).collect(),
            zone_count: names.len(),
            ties: sorted.iter().map(|member| point(&format!("{}:tie", member.node))).collect(),
        }
    }

    fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Copies of one partition that a zone may hold: the least that leaves room for all `copies`.
    fn copies_per_zone_max(&self, copies: usize) -> usize {
        let mut sizes = vec![0usize; self.zone_count];
        for zone in &self.zones {
            sizes[*zone] += 1;
        }
        let room = |limit: usize| sizes.iter().map(|size| limit.min(*size)).sum::<usize>();
        (1..=copies).find(|limit| room(*limit) >= copies).unwrap_or(copies)
    }
}

/// A member in a partition's order of preference, with the clockwise distance from the partition's point to it.
#[derive(Clone, Copy)]
struct Preference {
    member: usize,
    distance: u64,
}

/// The members that each partition meets on the circle, nearest first.
fn preferences(field: &Field, partitions: u16) -> Vec<Vec<Preference>> {
    let mut tokens: Vec<(u64, usize)> = Vec::new();
    for (member, (node, weight)) in field.nodes.iter().zip(&field.weights).enumerate() {
        let count = weight.saturating_mul(u64::from(TOKENS_PER_WEIGHT)).min(u64::from(TOKENS_MAX));
        tokens.extend((0..count).map(|i| (point(&format!("{node}:{i}")), member)));
    }
    tokens.sort_unstable();
    let wanted = field.len().min(PREFERENCES_MAX);
    let mut seen = vec![None; field.len()];
    (0..partitions)
        .map(|partition| {
            let from = point(&format!("partition:{partition}"));
            let start = tokens.partition_point(|(token, _)| *token < from);
            let (before, after) = tokens.split_at(start);
            let mut met = Vec::with_capacity(wanted);
            for (token, member) in after.iter().chain(before) {
                if seen[*member] != Some(partition) {
                    seen[*member] = Some(partition);
                    met.push(Preference { member: *member, distance: token.wrapping_sub(from) });
                    if met.len() == wanted {
                        break;
                    }
                }
            }
            met
        })
        .collect()
}

/// The first eight bytes of the SHA-256 of `text`.
fn point(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |point, byte| point << 8 | u64::from(*byte))
}

//! Filling quotas: rounds of immediate acceptance first, shortest chains of moves for what is left over.

use super::quota::apportion;
use super::{Field, Preference};

/// Who asks whom in a round: the nearest are taken first.
type Request = (u64, usize);

/// The holders of every partition, `copies` each and nearest first, within `quotas` unless that is impossible.
pub(super) fn place_copies(
    field: &Field,
    preferences: &[Vec<Preference>],
    copies: usize,
    quotas: &[usize],
) -> Vec<Vec<usize>> {
    let mut placement = Placement {
        field,
        quotas,
        per_zone_max: field.copies_per_zone_max(copies),
        holders: vec![Vec::with_capacity(copies); preferences.len()],
        loads: vec![0; field.len()],
    };
    for round in 0..preferences.iter().map(Vec::len).max().unwrap_or(0) {
        let mut requests: Vec<Vec<Request>> = vec![Vec::new(); field.len()];
        let mut is_asking = false;
        for (partition, wanted) in preferences.iter().enumerate() {
            let Some(choice) = wanted.get(round) else { continue };
            if placement.holders[partition].len() < copies {
                is_asking = true;
                if placement.suits(partition, choice.member, None) {
                    requests[choice.member].push((choice.distance, partition));
                }
            }
        }
        if !is_asking {
            break;
        }
        for (member, mut asking) in requests.into_iter().enumerate() {
            asking.sort_unstable();
            let room = quotas[member].saturating_sub(placement.loads[member]);
            for (_, partition) in asking.into_iter().take(room) {
                placement.holders[partition].push(member);
                placement.loads[member] += 1;
            }
        }
    }
    for partition in 0..preferences.len() {
        while placement.holders[partition].len() < copies {
            if !placement.extend_by_chain(partition) {
                placement.extend_beyond_quota(partition);
            }
        }
    }
    let Placement { mut holders, .. } = placement;
    for (holders, wanted) in holders.iter_mut().zip(preferences) {
        let rank = |member: usize| wanted.iter().position(|choice| choice.member == member);
        holders.sort_by_key(|member| (rank(*member).unwrap_or(usize::MAX), *member));
    }
    holders
}

/// Copies placed so far.
struct Placement<'a> {
    field: &'a Field,
    quotas: &'a [usize],
    per_zone_max: usize,
    holders: Vec<Vec<usize>>,
    loads: Vec<usize>,
}

impl Placement<'_> {
    /// Whether `member` may hold a copy of `partition`, once `leaving` has given up its own.
    fn suits(&self, partition: usize, member: usize, leaving: Option<usize>) -> bool {
        let zone = self.field.zones[member];
        let others = || self.holders[partition].iter().filter(|other| Some(**other) != leaving);
        !self.holders[partition].contains(&member)
            && others().filter(|other| self.field.zones[**other] == zone).count() < self.per_zone_max
    }

    /// Gives `partition` one more holder, moving copies of other partitions along a shortest chain of members that
    /// ends at one with room. False if there is no such chain.
    fn extend_by_chain(&mut self, partition: usize) -> bool {
        let members = self.field.len();
        // How each member was reached: over which partition, from whom.
        let mut reached: Vec<Option<Option<(usize, usize)>>> = vec![None; members];
        // A partition moves at most once in a chain, so that no two moves can break its zone rule together.
        let mut mover: Vec<Option<usize>> = vec![None; self.holders.len()];
        let mut queue: Vec<usize> = (0..members).filter(|m| self.suits(partition, *m, None)).collect();
        queue.iter().for_each(|member| reached[*member] = Some(None));
        let mut next = 0;
        while let Some(&member) = queue.get(next) {
            next += 1;
            if self.loads[member] < self.quotas[member] {
                self.shift(partition, member, &reached);
                return true;
            }
            for other in (0..self.holders.len()).filter(|other| *other != partition) {
                if !self.holders[other].contains(&member) || mover[other].is_some_and(|from| from != member) {
                    continue;
                }
                for (target, reached) in reached.iter_mut().enumerate() {
                    if reached.is_none() && self.suits(other, target, Some(member)) {
                        *reached = Some(Some((other, member)));
                        mover[other] = Some(member);
                        queue.push(target);
                    }
                }
            }
        }
        false
    }

    fn shift(&mut self, partition: usize, end: usize, reached: &[Option<Option<(usize, usize)>>]) {
        let mut member = end;
        self.loads[end] += 1;
        while let Some(Some((moved, from))) = reached[member] {
            let holder = self.holders[moved].iter_mut().find(|holder| **holder == from);
            *holder.expect("the chain was found over this holder") = member;
            member = from;
        }
        self.holders[partition].push(member);
    }

    /// No chain exists: the least overloaded suitable member takes one more than its quota.
    fn extend_beyond_quota(&mut self, partition: usize) {
        let excess = |member: &usize| (self.loads[*member].saturating_sub(self.quotas[*member]), *member);
        let outside = |member: &usize| !self.holders[partition].contains(member);
        let member = (0..self.field.len())
            .filter(|member| self.suits(partition, *member, None))
            .min_by_key(excess)
            .or_else(|| (0..self.field.len()).filter(outside).min_by_key(excess))
            .expect("there are at least as many members as copies");
        self.holders[partition].push(member);
        self.loads[member] += 1;
    }
}

/// The primary of every partition, one of its holders, as even as the holders allow.
pub(super) fn choose_primaries(
    field: &Field,
    preferences: &[Vec<Preference>],
    holders: &mut [Vec<usize>],
) -> Vec<usize> {
    let mut caps = vec![0; field.len()];
    holders.iter().flatten().for_each(|member| caps[*member] += 1);
    let quotas = apportion(holders.len(), &field.weights, &caps, &field.ties);
    let mut primaries: Vec<Option<usize>> = vec![None; holders.len()];
    let mut loads = vec![0usize; field.len()];
    for round in 0..holders.iter().map(Vec::len).max().unwrap_or(0) {
        let mut requests: Vec<Vec<Request>> = vec![Vec::new(); field.len()];
        for (partition, holders) in holders.iter().enumerate() {
            if let (None, Some(member)) = (primaries[partition], holders.get(round)) {
                let choice = preferences[partition].iter().find(|choice| choice.member == *member);
                let distance = choice.map_or(u64::MAX, |choice| choice.distance);
                requests[*member].push((distance, partition));
            }
        }
        for (member, mut asking) in requests.into_iter().enumerate() {
            asking.sort_unstable();
            for (_, partition) in asking.into_iter().take(quotas[member].saturating_sub(loads[member])) {
                primaries[partition] = Some(member);
                loads[member] += 1;
            }
        }
    }
    for partition in 0..holders.len() {
        if primaries[partition].is_none() {
            let end = primary_by_chain(partition, holders, &mut primaries, &loads, &quotas);
            loads[end] += 1;
        }
    }
    primaries.into_iter().map(|primary| primary.expect("every partition has been given one above")).collect()
}

/// Makes one of its holders the primary of `partition`, handing other partitions over along a shortest chain of
/// members that ends at one with room, or else at the least overloaded that can be reached. Returns the end.
fn primary_by_chain(
    partition: usize,
    holders: &[Vec<usize>],
    primaries: &mut [Option<usize>],
    loads: &[usize],
    quotas: &[usize],
) -> usize {
    let mut reached: Vec<Option<Option<(usize, usize)>>> = vec![None; loads.len()];
    let mut queue = holders[partition].clone();
    queue.iter().for_each(|member| reached[*member] = Some(None));
    let mut next = 0;
    let mut end = None;
    while let Some(&member) = queue.get(next) {
        next += 1;
        if loads[member] < quotas[member] {
            end = Some(member);
            break;
        }
        for other in 0..holders.len() {
            if primaries[other] != Some(member) {
                continue;
            }
            for target in &holders[other] {
                if reached[*target].is_none() {
                    reached[*target] = Some(Some((other, member)));
                    queue.push(*target);
                }
            }
        }
    }
    let end = end.unwrap_or_else(|| {
        let excess = |member: &usize| (loads[*member].saturating_sub(quotas[*member]), *member);
        queue.iter().copied().min_by_key(excess).expect("every partition has a holder")
    });
    let mut member = end;
    while let Some(Some((moved, from))) = reached[member] {
        primaries[moved] = Some(member);
        member = from;
    }
    primaries[partition] = Some(member);
    end
}

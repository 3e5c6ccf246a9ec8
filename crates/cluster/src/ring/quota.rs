//! Shares in whole numbers: how many copies and how many primaries each member is to hold.
//!
//! Apportionment by largest remainder (Hamilton's method), after members that cannot take their share have been
//! filled to their cap and the rest shared out among the others. Integers only, so that every machine agrees.

use super::Field;

/// Copies each member is to hold, summing up to `partitions * copies`.
///
/// A member can hold one copy of a partition, a zone only so many; a small zone therefore holds more than its share
/// and a large one less. Zones are settled first, then members within them.
pub(super) fn of_copies(field: &Field, partitions: usize, copies: usize) -> Vec<usize> {
    let per_zone = field.copies_per_zone_max(copies);
    let of_zone =
        |zone: usize| -> Vec<usize> { (0..field.len()).filter(|i| field.zones[*i] == zone).collect() };
    let zones: Vec<Vec<usize>> = (0..field.zone_count).map(of_zone).collect();
    let zone_weights: Vec<u64> =
        zones.iter().map(|members| members.iter().map(|i| field.weights[*i]).sum()).collect();
    let zone_caps: Vec<usize> =
        zones.iter().map(|members| partitions * members.len().min(per_zone)).collect();
    let zone_ties: Vec<u64> =
        zones.iter().map(|members| members.iter().fold(0, |tie, i| tie ^ field.ties[*i])).collect();
    let zone_totals = apportion(partitions * copies, &zone_weights, &zone_caps, &zone_ties);
    let mut quotas = vec![0; field.len()];
    for (members, total) in zones.iter().zip(zone_totals) {
        let pick = |column: &[u64]| -> Vec<u64> { members.iter().map(|i| column[*i]).collect() };
        let caps = vec![partitions; members.len()];
        let shares = apportion(total, &pick(&field.weights), &caps, &pick(&field.ties));
        for (member, share) in members.iter().zip(shares) {
            quotas[*member] = share;
        }
    }
    quotas
}

/// Shares `total` out by `weights`, nobody above its cap. What no cap allows is not shared out.
pub(super) fn apportion(total: usize, weights: &[u64], caps: &[usize], ties: &[u64]) -> Vec<usize> {
    let mut shares = vec![0; weights.len()];
    let mut open: Vec<usize> = (0..weights.len()).filter(|i| weights[*i] > 0 && caps[*i] > 0).collect();
    let mut left = total;
    loop {
        let sum: u128 = open.iter().map(|i| u128::from(weights[*i])).sum();
        let is_full = |i: usize| left as u128 * u128::from(weights[i]) >= caps[i] as u128 * sum;
        let (full, rest): (Vec<usize>, Vec<usize>) = open.iter().partition(|i| is_full(**i));
        for i in &full {
            shares[*i] = caps[*i];
            left = left.saturating_sub(caps[*i]);
        }
        open = rest;
        if full.is_empty() || open.is_empty() {
            break;
        }
    }
    let sum: u128 = open.iter().map(|i| u128::from(weights[*i])).sum();
    let mut remainders = Vec::with_capacity(open.len());
    let mut shared = 0;
    for i in open {
        let product = left as u128 * u128::from(weights[i]);
        shares[i] = usize::try_from(product / sum).expect("a share is at most the total");
        shared += shares[i];
        remainders.push((std::cmp::Reverse(product % sum), ties[i], i));
    }
    remainders.sort_unstable();
    // Whoever is still open is below its cap, so one more fits.
    for (_, _, i) in remainders.into_iter().take(left - shared) {
        shares[i] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_out_everything_within_caps() {
        assert_eq!(apportion(256, &[1, 1, 1], &[256; 3], &[2, 0, 1]), [85, 86, 85]);
        assert_eq!(apportion(10, &[1, 2, 2], &[10; 3], &[0; 3]), [2, 4, 4]);
        assert_eq!(apportion(512, &[9, 1], &[256; 2], &[0; 2]), [256, 256]);
        assert_eq!(apportion(512, &[8, 1, 1], &[256; 3], &[0; 3]), [256, 128, 128]);
        assert_eq!(apportion(7, &[1], &[3], &[0]), [3]);
        assert_eq!(apportion(7, &[], &[], &[]), [0usize; 0]);
    }
}

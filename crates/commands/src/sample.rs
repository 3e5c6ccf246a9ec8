//! Choosing some of many elements by chance: what HRANDFIELD, SRANDMEMBER, SPOP and ZRANDMEMBER have in common.

use stdx::Random;

/// Drawing one by one until all are different takes few attempts as long as fewer than this share are asked for, as in Redis
/// (`SRANDMEMBER_SUB_STRATEGY_MUL`).
const FEW_SHARE: usize = 3;

/// How elements are best chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sample {
    /// So many, one at a time, each time from all.
    Repeated(u64),
    /// Every one.
    All,
    /// So many different ones, few against all: drawn until they are different.
    Few(usize),
    /// So many different ones: chosen while walking over all, by [`places`].
    Many(usize),
}

impl Sample {
    /// For a count as commands have it, out of `len`: a negative one allows an element several times.
    pub(crate) fn of(count: i64, len: usize) -> Sample {
        match usize::try_from(count) {
            Err(_) if len == 0 => Sample::All,
            Err(_) => Sample::Repeated(count.unsigned_abs()),
            Ok(count) if count >= len => Sample::All,
            Ok(count) if count.saturating_mul(FEW_SHARE) <= len => Sample::Few(count),
            Ok(count) => Sample::Many(count),
        }
    }
}

/// Which of `len` places are chosen, `count` of them, every choice being equally likely (Knuth, algorithm S).
pub(crate) fn places(count: usize, len: usize, random: &mut Random) -> Vec<bool> {
    let mut left = count;
    (0..len)
        .map(|place| {
            let chosen = random.below((len - place) as u64) < left as u64;
            left -= usize::from(chosen);
            chosen
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_says_how() {
        assert_eq!(Sample::of(-5, 2), Sample::Repeated(5));
        assert_eq!(
            (Sample::of(-5, 0), Sample::of(0, 0), Sample::of(7, 7)),
            (Sample::All, Sample::All, Sample::All)
        );
        assert_eq!(
            (Sample::of(0, 1), Sample::of(3, 9), Sample::of(4, 9)),
            (Sample::Few(0), Sample::Few(3), Sample::Many(4))
        );
    }

    #[test]
    fn every_place_is_chosen_about_as_often() {
        let mut random = Random::seeded(1);
        let mut chosen = [0; 10];
        for _ in 0..1_000 {
            let places = places(4, 10, &mut random);
            assert_eq!(places.iter().filter(|chosen| **chosen).count(), 4);
            chosen.iter_mut().zip(places).for_each(|(count, chosen)| *count += i32::from(chosen));
        }
        assert!(chosen.iter().all(|count| (330..470).contains(count)), "{chosen:?}");
    }
}

//! What may be evicted, and by which rule: the values of `maxmemory-policy`.

/// Whether every key may be evicted or only those with a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// `allkeys-`.
    All,
    /// `volatile-`.
    Volatile,
}

/// How the key to be evicted is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The one that was not used for longest.
    Lru,
    /// The one that was used least often, by Redis's decaying counter.
    Lfu,
    /// Any.
    Random,
    /// The one that expires soonest.
    Ttl,
    /// S3-FIFO (Yang et al., SOSP 2023): a small queue for what is new, a main one for what was used again.
    S3Fifo,
    /// Greedy-Dual-Size-Frequency (Cherkasova 1998): what is large and seldom used goes first.
    Gdsf,
    /// S3-FIFO or LRU, whichever a simulation of both on a sample of the keys finds better.
    Adaptive,
}

/// A value of `maxmemory-policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Nothing is evicted: writes that need memory are refused.
    #[default]
    NoEviction,
    /// Keys of the scope go by the rule.
    Evict(Scope, Rule),
}

/// Names of all policies: Redis's first.
const NAMES: [(&str, Policy); 14] = [
    ("noeviction", Policy::NoEviction),
    ("allkeys-lru", Policy::Evict(Scope::All, Rule::Lru)),
    ("allkeys-lfu", Policy::Evict(Scope::All, Rule::Lfu)),
    ("allkeys-random", Policy::Evict(Scope::All, Rule::Random)),
    ("volatile-lru", Policy::Evict(Scope::Volatile, Rule::Lru)),
    ("volatile-lfu", Policy::Evict(Scope::Volatile, Rule::Lfu)),
    ("volatile-random", Policy::Evict(Scope::Volatile, Rule::Random)),
    ("volatile-ttl", Policy::Evict(Scope::Volatile, Rule::Ttl)),
    ("allkeys-s3fifo", Policy::Evict(Scope::All, Rule::S3Fifo)),
    ("allkeys-gdsf", Policy::Evict(Scope::All, Rule::Gdsf)),
    ("allkeys-adaptive", Policy::Evict(Scope::All, Rule::Adaptive)),
    ("volatile-s3fifo", Policy::Evict(Scope::Volatile, Rule::S3Fifo)),
    ("volatile-gdsf", Policy::Evict(Scope::Volatile, Rule::Gdsf)),
    ("volatile-adaptive", Policy::Evict(Scope::Volatile, Rule::Adaptive)),
];

impl Policy {
    /// All policies, Redis's first.
    pub fn all() -> impl Iterator<Item = Policy> {
        NAMES.iter().map(|(_, policy)| *policy)
    }

    /// The policy of a name as in Redis's configuration, in any case.
    pub fn parse(name: &str) -> Option<Policy> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, policy)| *policy)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, policy)| *policy == self).map_or("", |(name, _)| name)
    }

    /// Whether OBJECT FREQ has an answer under it and OBJECT IDLETIME has none, as in Redis.
    pub fn counts_frequency(self) -> bool {
        matches!(self, Policy::Evict(_, Rule::Lfu))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_one_name() {
        for policy in Policy::all() {
            assert_eq!(Policy::parse(policy.name()), Some(policy));
            assert_eq!(Policy::parse(&policy.name().to_ascii_uppercase()), Some(policy));
        }
        assert_eq!((Policy::all().count(), Policy::parse("allkeys-ttl")), (14, None));
        assert_eq!(Policy::default().name(), "noeviction");
    }
}

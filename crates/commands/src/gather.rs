//! What a command over all partitions has gathered so far.
//!
//! One accumulator for all of them (DBSIZE adds, KEYS collects, RANDOMKEY chooses), so that the node's loop over
//! partitions and its merge over nodes know two fields and a rule, not the commands.

use crate::table::Merge;
use protocol::Reply;
use stdx::Random;

/// Sum and items gathered from partitions, and then from nodes.
#[derive(Debug)]
pub struct Gather {
    /// Keys counted or removed, or, under [`Merge::AnyOne`], the weight of the item chosen so far.
    pub sum: i64,
    /// Keys found.
    pub items: Vec<Vec<u8>>,
    /// For commands that choose.
    pub random: Random,
    /// The error that a part has ended in: the reply of the whole.
    pub refusal: Option<&'static str>,
}

impl Gather {
    /// Nothing gathered yet.
    pub fn new(random: Random) -> Gather {
        Gather { sum: 0, items: Vec::new(), random, refusal: None }
    }

    /// Adds what another partition or node has gathered.
    pub fn absorb(&mut self, merge: Merge, sum: i64, items: Vec<Vec<u8>>) {
        match merge {
            Merge::AnyOne => {
                // Each item stands for `sum` keys; a reservoir of one keeps every key equally likely.
                self.sum = self.sum.saturating_add(sum);
                let weight = u64::try_from(sum).unwrap_or(0);
                let total = u64::try_from(self.sum).unwrap_or(0);
                let takes = self.items.is_empty() || self.random.below(total) < weight;
                if takes && !items.is_empty() {
                    self.items = items;
                }
            }
            _ => {
                self.sum = self.sum.saturating_add(sum);
                self.items.extend(items);
            }
        }
    }

    /// Writes the reply of the whole command.
    pub fn finish(self, merge: Merge, reply: &mut Reply<'_>) {
        if let Some(error) = self.refusal {
            return reply.error(error);
        }
        match merge {
            Merge::Sum => reply.integer(self.sum),
            Merge::Ok => reply.ok(),
            Merge::AnyOne => match self.items.first() {
                Some(item) => reply.bulk(item),
                None => reply.null(),
            },
            Merge::PerKey | Merge::Concat | Merge::Union | Merge::SumPairs => {
                reply.array(self.items.len());
                for item in &self.items {
                    reply.bulk(item);
                }
            }
        }
    }
}

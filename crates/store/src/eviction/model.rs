//! Entries without a store, for tests of single rules.

use crate::eviction::entries::{Entries, Facts};
use crate::eviction::token::Token;
use std::collections::BTreeMap;
use stdx::hash::mix64;
use stdx::{PartitionId, Random};

/// Keys by numbers: the byte of uses, and what they take.
#[derive(Default)]
pub(crate) struct Model(BTreeMap<u64, (u64, u8, u64)>);

impl Model {
    pub(crate) fn token(&self, key: u64) -> Token {
        Token::new(PartitionId(0), 0, mix64(key))
    }

    /// A key that is there from now on.
    pub(crate) fn add(&mut self, key: u64, bits: u8, bytes: u64) -> Token {
        self.0.insert(self.token(key).key(), (key, bits, bytes));
        self.token(key)
    }

    pub(crate) fn set_uses(&mut self, key: u64, bits: u8) {
        self.0.get_mut(&self.token(key).key()).expect("added").1 = bits;
    }

    /// Removes the key of a token, and says which it was.
    pub(crate) fn take(&mut self, token: Token) -> u64 {
        self.0.remove(&token.key()).expect("it is there").0
    }

    fn at(&self, at: u64) -> Option<Token> {
        self.0.values().nth(at as usize).map(|(key, ..)| self.token(*key))
    }
}

impl Entries for Model {
    fn facts(&mut self, token: Token) -> Option<Facts> {
        let (_, bits, bytes) = *self.0.get(&token.key())?;
        Some(Facts { bits, frequency: bits, idle_seconds: 0, bytes, expires: true })
    }

    fn set_bits(&mut self, token: Token, bits: u8) {
        self.0.get_mut(&token.key()).expect("it is there").1 = bits;
    }

    fn any(&mut self, random: &mut Random) -> Option<Token> {
        self.at(random.below(self.0.len() as u64))
    }

    fn soonest(&mut self, _: &mut Random) -> Option<Token> {
        self.at(0)
    }
}

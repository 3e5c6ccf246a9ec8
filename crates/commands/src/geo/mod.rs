//! The geo family: positions on the Earth as scores of a sorted set, found by distance.
//!
//! A position is rounded to a cell of a grid of 2^26 by 2^26 ([`cell`]), whose 52-bit number is the score, so that members which
//! are near each other in one direction or the other are near each other in the set. Numbers are computed step by step as Redis
//! does, because replies show all their digits.

mod area;
mod cell;
pub mod points;
pub mod search;

use crate::error::{CommandError, Outcome};
use crate::table::{Categories, Command, Group};
use protocol::{Reply, Version, format_long_double_fixed};
use store::SortedSetRef;

/// What every row of the family has in common.
pub(crate) const ROW: Command = Command { categories: Categories::GEO, group: Group::Geo, ..Command::BLANK };

/// Decimals of a distance in a reply, and ten to that power.
const DISTANCE_DECIMALS: usize = 4;
const DISTANCE_UNIT: f64 = 10_000.0;

/// Degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Position {
    pub(crate) longitude: f64,
    pub(crate) latitude: f64,
}

impl Position {
    /// As two words write it.
    fn parse(longitude: &[u8], latitude: &[u8]) -> Outcome<Position> {
        let number = |word| protocol::parse_f64(word).ok_or(CommandError::NotFloat);
        let position = Position { longitude: number(longitude)?, latitude: number(latitude)? };
        if cell::is_covered(position) {
            return Ok(position);
        }
        let Position { longitude, latitude } = position;
        Err(CommandError::Echo(format!("invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
    }

    /// Of a member, if it is one.
    fn of_member(set: SortedSetRef<'_>, member: &[u8]) -> Option<Position> {
        set.score(member).map(cell::position_of_score)
    }
}

/// Metres of the unit that a word names.
fn unit(word: &[u8]) -> Outcome<f64> {
    let units = [("m", 1.0), ("km", 1_000.0), ("ft", 0.3048), ("mi", 1_609.34)];
    let unit = units.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    unit.map(|(_, metres)| metres)
        .ok_or(CommandError::Other("unsupported unit provided. please use M, KM, FT, MI"))
}

/// Writes a position as a pair of numbers with all their digits.
fn reply_position(reply: &mut Reply<'_>, position: Position) {
    reply.array(2);
    for degrees in [position.longitude, position.latitude] {
        let mut text = Vec::new();
        format_long_double_fixed(degrees, &mut text);
        match reply.version() {
            Version::Resp2 => reply.bulk(&text),
            Version::Resp3 => {
                reply.raw(b",");
                reply.raw(&text);
                reply.raw(b"\r\n");
            }
        }
    }
}

/// Writes a distance, rounded as Redis's `fixedpoint_d2string` does.
fn reply_distance(reply: &mut Reply<'_>, distance: f64) {
    let units = (distance * DISTANCE_UNIT).round_ties_even() as i64;
    let (whole, decimals) = (units / DISTANCE_UNIT as i64, units % DISTANCE_UNIT as i64);
    reply.bulk(format!("{whole}.{decimals:0DISTANCE_DECIMALS$}").as_bytes());
}

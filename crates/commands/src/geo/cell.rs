//! The grid: cells as numbers whose bits are those of longitude and latitude in turns (Morton order), and their neighbours.
//!
//! A cell of `step` s is one of 2^s by 2^s. The latitudes that it covers are those of the Mercator projection of web maps
//! (EPSG:900913), except in [`text_of`], whose letters are those of the geohash that other programs know.

use super::Position;

/// Step of the cells that are scores.
pub(super) const STEP_MAX: u32 = 26;
/// Degrees from west to east.
const LONGITUDES: Range = Range { min: -180.0, max: 180.0 };
/// Degrees from south to north.
const LATITUDES: Range = Range { min: -85.051_128_78, max: 85.051_128_78 };
/// The same as the standard has them.
const STANDARD_LATITUDES: Range = Range { min: -90.0, max: 90.0 };
/// Letters of a geohash, each for five bits.
const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
/// Letters that GEOHASH shows; of the last there are no bits.
const TEXT_LETTERS: usize = 11;
/// Bits of the longitude, from the lowest up in turns with those of the latitude.
const LONGITUDE_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;

/// Degrees from one to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Range {
    /// How far these degrees are from the beginning to the end, in 2^step parts.
    fn part(self, degrees: f64, step: u32) -> u32 {
        ((degrees - self.min) / (self.max - self.min) * parts(step)) as u32
    }

    /// The degrees of such a part.
    fn of_part(self, part: u32, step: u32) -> Range {
        let scale = self.max - self.min;
        let degrees = |part: u32| self.min + f64::from(part) / parts(step) * scale;
        Range { min: degrees(part), max: degrees(part.wrapping_add(1)) }
    }

    fn middle(self) -> f64 {
        (self.min + self.max) / 2.0
    }

    fn contains(self, degrees: f64) -> bool {
        (self.min..=self.max).contains(&degrees)
    }
}

fn parts(step: u32) -> f64 {
    (1u64 << step) as f64
}

/// One cell of the grid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cell {
    bits: u64,
    step: u32,
}

/// Degrees that a cell covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) longitudes: Range,
    pub(super) latitudes: Range,
}

impl Cell {
    /// The cell of this step in which a position is.
    pub(super) fn at(position: Position, step: u32) -> Cell {
        Cell::in_range(position, step, LATITUDES)
    }

    fn in_range(position: Position, step: u32, latitudes: Range) -> Cell {
        let latitude = spread(latitudes.part(position.latitude, step));
        let longitude = spread(LONGITUDES.part(position.longitude, step));
        Cell { bits: latitude | longitude << 1, step }
    }

    /// What it covers.
    pub(super) fn area(self) -> Area {
        Area {
            longitudes: LONGITUDES.of_part(gather(self.bits >> 1), self.step),
            latitudes: LATITUDES.of_part(gather(self.bits), self.step),
        }
    }

    /// The scores of all positions in it, from the first up to the second.
    pub(super) fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEP_MAX - self.step);
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }

    /// The cell so many columns to the east and rows to the north, 1, 0 or -1, around the edges of the grid.
    pub(super) fn neighbour(self, east: i32, north: i32) -> Cell {
        let longitude = self.moved(LONGITUDE_BITS, east);
        let latitude = self.moved(LATITUDE_BITS, north);
        Cell { bits: longitude | latitude, ..self }
    }

    /// The bits of one coordinate, counted up or down.
    ///
    /// The very last degree, 180 to the east, is in a column of its own behind all others, which is left only by moving.
    fn moved(self, coordinate: u64, by: i32) -> u64 {
        if by == 0 {
            return self.bits & coordinate;
        }
        let coordinate = coordinate & u64::MAX >> (64 - 2 * self.step);
        let bits = self.bits & coordinate;
        // The bits between are set, so that a carry passes over them.
        let moved = if by > 0 { (bits | !coordinate).wrapping_add(1) } else { bits.wrapping_sub(1) };
        moved & coordinate
    }
}

/// The score of a position.
pub(super) fn score_of(position: Position) -> f64 {
    Cell::at(position, STEP_MAX).bits as f64
}

/// The position that a score stands for: the middle of its cell.
pub(super) fn position_of_score(score: f64) -> Position {
    let area = Cell { bits: bits_of(score), step: STEP_MAX }.area();
    Position {
        longitude: area.longitudes.middle().clamp(LONGITUDES.min, LONGITUDES.max),
        latitude: area.latitudes.middle().clamp(LATITUDES.min, LATITUDES.max),
    }
}

/// The score as an integer. Any sorted set may be asked for positions: scores that are none become what x86-64 makes of them.
fn bits_of(score: f64) -> u64 {
    const HALF: f64 = (1u64 << 63) as f64;
    if score < HALF {
        return (score as i64).cast_unsigned();
    }
    let upper = if score < 2.0 * HALF { (score - HALF) as i64 } else { i64::MIN };
    upper.cast_unsigned() ^ 1 << 63
}

/// Whether the grid has a cell for it.
pub(super) fn is_covered(position: Position) -> bool {
    LONGITUDES.contains(position.longitude) && LATITUDES.contains(position.latitude)
}

/// The standard geohash of a position.
pub(super) fn text_of(position: Position) -> [u8; TEXT_LETTERS] {
    let bits = Cell::in_range(position, STEP_MAX, STANDARD_LATITUDES).bits;
    std::array::from_fn(|place| {
        let shift = (2 * STEP_MAX).checked_sub(5 * (place as u32 + 1));
        LETTERS[shift.map_or(0, |shift| bits >> shift & 0x1f) as usize]
    })
}

/// Moves the bits apart, to every second place.
fn spread(bits: u32) -> u64 {
    let mut bits = u64::from(bits);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, LATITUDE_BITS),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Moves every second bit together again.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & LATITUDE_BITS;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0xffff_ffff),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    bits as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Random;

    const PALERMO: Position = Position { longitude: 13.361389, latitude: 38.115556 };

    #[test]
    fn scores_and_texts_are_those_of_the_documentation() {
        assert_eq!(score_of(PALERMO), 3_479_099_956_230_698.0);
        assert_eq!(&text_of(position_of_score(score_of(PALERMO))), b"sqc8b49rny0");
    }

    #[test]
    fn every_position_is_in_its_cell_at_every_step() {
        let mut random = Random::seeded(1);
        let mut degrees = |max: f64| (random.next_u64() as f64 / u64::MAX as f64 * 2.0 - 1.0) * max;
        for _ in 0..1_000 {
            let position = Position { longitude: degrees(180.0), latitude: degrees(85.05) };
            for step in 1..=STEP_MAX {
                let cell = Cell::at(position, step);
                let area = cell.area();
                assert!(area.longitudes.contains(position.longitude));
                assert!(area.latitudes.contains(position.latitude));
                let (min, max) = cell.scores();
                assert!((min..max).contains(&score_of(position)));
            }
        }
    }

    #[test]
    fn neighbours_lie_beside_and_lead_back() {
        let mut random = Random::seeded(2);
        for step in 1..=STEP_MAX {
            for _ in 0..50 {
                let cell = Cell { bits: random.next_u64() >> (64 - 2 * step), step };
                let (east, north) = (random.below(3) as i32 - 1, random.below(3) as i32 - 1);
                let other = cell.neighbour(east, north);
                assert_eq!(other.neighbour(-east, -north), cell);
                let (longitude, latitude) = (gather(cell.bits >> 1), gather(cell.bits));
                let wrapped = |part: u32, by: i32| part.wrapping_add_signed(by) & (u32::MAX >> (32 - step));
                assert_eq!(gather(other.bits >> 1), wrapped(longitude, east));
                assert_eq!(gather(other.bits), wrapped(latitude, north));
            }
        }
    }

    #[test]
    fn any_score_has_a_position() {
        for score in [0.0, -1.0, 1e19, 2e19, f64::INFINITY, f64::NEG_INFINITY, 0.5, f64::MAX] {
            assert!(is_covered(position_of_score(score)), "{score}");
        }
    }
}

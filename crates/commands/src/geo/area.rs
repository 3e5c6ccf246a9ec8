//! Circles and boxes on the Earth: what is inside, and which cells of the grid to look into.
//!
//! The Earth is a sphere of its quadratic mean radius, distances are those of great circles (the haversine formula).

use super::Position;
use super::cell::{Cell, STEP_MAX};

/// Quadratic mean radius for WGS-84.
const EARTH_RADIUS_METRES: f64 = 6_372_797.560856;
/// Half the circumference of the Mercator projection: a search further than that looks everywhere.
const MERCATOR_MAX_METRES: f64 = 20_037_726.37;
const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;
/// Beyond these latitudes cells are so narrow that a search takes larger ones.
const NARROW_LATITUDE: f64 = 66.0;
const NARROWER_LATITUDE: f64 = 80.0;
/// The cell of the centre and those around it, in the order in which they are looked into: columns east, rows north.
const CELLS: [(i32, i32); 9] = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) center: Position,
    pub(super) shape: Shape,
}

/// Lengths in metres.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

impl Area {
    /// The distance of a position from the centre, if it is inside.
    pub(super) fn distance_inside(&self, position: Position) -> Option<f64> {
        let center = self.center;
        match self.shape {
            Shape::Circle { radius } => {
                Some(distance(center, position)).filter(|distance| *distance <= radius)
            }
            Shape::Box { width, height } => {
                let north = latitude_distance(position.latitude, center.latitude);
                let below = Position { longitude: center.longitude, ..position };
                let is_inside = north <= height / 2.0 && distance(position, below) <= width / 2.0;
                is_inside.then(|| distance(center, position))
            }
        }
    }

    /// The cells in which everything inside is, each once as far as they are told apart by their order.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let bounds = self.bounds();
        let mut step = self.estimated_step();
        let mut center = Cell::at(self.center, step);
        if step > 1 && !bounds.is_within_neighbours(center) {
            step -= 1;
            center = Cell::at(self.center, step);
        }
        let area = center.area();
        let mut cells: Vec<Cell> = Vec::with_capacity(CELLS.len());
        // Where the former one stood: at low steps the one to the east may be the one to the west as well.
        let mut former: Option<Cell> = None;
        for (east, north) in CELLS {
            let is_outside = step >= 2
                && (north < 0 && area.latitudes.min < bounds.south
                    || north > 0 && area.latitudes.max > bounds.north
                    || east < 0 && area.longitudes.min < bounds.west
                    || east > 0 && area.longitudes.max > bounds.east);
            let cell = center.neighbour(east, north);
            // As in Redis, the very first cell is not compared with.
            if is_outside || former == Some(cell) {
                continue;
            }
            if (east, north) != (0, 0) {
                former = Some(cell);
            }
            cells.push(cell);
        }
        cells
    }

    fn bounds(&self) -> Bounds {
        let (width, height) = match self.shape {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let Position { longitude, latitude } = self.center;
        let north = degrees(height / EARTH_RADIUS_METRES);
        // Degrees of longitude are shortest at the end that is nearer to a pole.
        let widest = if latitude < 0.0 { latitude - north } else { latitude + north };
        let east = degrees(width / EARTH_RADIUS_METRES / radians(widest).cos());
        Bounds {
            west: longitude - east,
            east: longitude + east,
            south: latitude - north,
            north: latitude + north,
        }
    }

    /// The step of cells that are about as large as what is searched.
    fn estimated_step(&self) -> u32 {
        let mut range = match self.shape {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        };
        if range == 0.0 {
            return STEP_MAX;
        }
        let mut step = 1i32;
        while range < MERCATOR_MAX_METRES {
            range *= 2.0;
            step += 1;
        }
        // So that the range is covered in most cases.
        step -= 2;
        let latitude = self.center.latitude.abs();
        step -= i32::from(latitude > NARROW_LATITUDE) + i32::from(latitude > NARROWER_LATITUDE);
        step.clamp(1, STEP_MAX as i32).cast_unsigned()
    }
}

/// A box in degrees.
#[derive(Clone, Copy)]
struct Bounds {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

impl Bounds {
    /// Whether the cells around this one reach as far.
    fn is_within_neighbours(&self, center: Cell) -> bool {
        center.neighbour(0, 1).area().latitudes.max >= self.north
            && center.neighbour(0, -1).area().latitudes.min <= self.south
            && center.neighbour(1, 0).area().longitudes.max >= self.east
            && center.neighbour(-1, 0).area().longitudes.min <= self.west
    }
}

/// Metres between two positions.
pub(super) fn distance(from: Position, to: Position) -> f64 {
    let longitude = ((radians(to.longitude) - radians(from.longitude)) / 2.0).sin();
    if longitude == 0.0 {
        return latitude_distance(from.latitude, to.latitude);
    }
    let (from, to) = (radians(from.latitude), radians(to.latitude));
    let latitude = ((to - from) / 2.0).sin();
    let haversine = latitude * latitude + from.cos() * to.cos() * longitude * longitude;
    2.0 * EARTH_RADIUS_METRES * haversine.sqrt().asin()
}

/// Metres between two latitudes on one meridian.
fn latitude_distance(from: f64, to: f64) -> f64 {
    EARTH_RADIUS_METRES * (radians(to) - radians(from)).abs()
}

fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_PER_DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / RADIANS_PER_DEGREE
}

#[cfg(test)]
mod tests {
    use super::super::cell::score_of;
    use super::*;
    use stdx::Random;

    /// Whatever is inside lies in one of the cells, also beyond the date line. Near the edges of the grid Redis does not find
    /// everything either.
    #[test]
    fn cells_cover_what_is_inside() {
        let mut random = Random::seeded(3);
        let mut below = |max: f64| random.next_u64() as f64 / u64::MAX as f64 * max;
        let mut inside = 0;
        for _ in 0..20_000 {
            let center = Position { longitude: below(340.0) - 170.0, latitude: below(120.0) - 60.0 };
            let size = 10f64.powf(below(6.0) + 0.5);
            let shape = if below(2.0) < 1.0 {
                Shape::Circle { radius: size }
            } else {
                Shape::Box { width: size * 2.0, height: size * below(2.0) }
            };
            let area = Area { center, shape };
            let spread = degrees(size / EARTH_RADIUS_METRES) * 3.0;
            let position = Position {
                longitude: center.longitude + below(spread) - spread / 2.0,
                latitude: center.latitude + below(spread) - spread / 2.0,
            };
            if !super::super::cell::is_covered(position) || area.distance_inside(position).is_none() {
                continue;
            }
            inside += 1;
            let score = score_of(position);
            let is_in = |cell: &Cell| (cell.scores().0..cell.scores().1).contains(&score);
            assert!(area.cells().iter().any(is_in), "{area:?} {position:?}");
        }
        assert!(inside > 3_000, "{inside}");
    }

    #[test]
    fn the_whole_world_is_searched_cell_by_cell_once() {
        let center = Position { longitude: 0.0, latitude: 0.0 };
        let cells = Area { center, shape: Shape::Circle { radius: 3e7 } }.cells();
        assert!(cells.iter().all(|cell| cell.scores().1 > 0.0));
        assert!((4..=9).contains(&cells.len()));
    }
}

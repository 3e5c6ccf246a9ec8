//! The picture of LATENCY GRAPH: a column of four rows per sample, its age written downwards below it.

use crate::host::LatencyEvent;
use stdx::Wall;

/// Columns of a block; more samples continue in a block below.
const COLUMNS: usize = 80;
/// Rows that a column's height is drawn on.
const ROWS: usize = 4;
/// What the top of a column looks like, by thirds of a row.
const TOPS: [char; 3] = ['_', 'o', '#'];

/// Heading and picture.
pub(super) fn render(event: &LatencyEvent, now: Wall) -> String {
    let values = event.samples.iter().map(|(_, ms)| *ms);
    let (low, high) = (values.clone().min().unwrap_or(0), values.max().unwrap_or(0));
    let mut text = format!(
        "{} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        event.name,
        event.max_ms,
        "-".repeat(COLUMNS)
    );
    for (number, samples) in event.samples.chunks(COLUMNS).enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let columns: Vec<(usize, String)> =
            samples.iter().map(|(at, ms)| (step(*ms, low, high), age(now, *at))).collect();
        for row in 0..ROWS {
            text.extend(columns.iter().map(|(step, _)| cell(*step, row)));
            text.push('\n');
        }
        text.push_str(&format!("{}\n", " ".repeat(columns.len())));
        let longest = columns.iter().map(|(_, label)| label.len()).max().unwrap_or(0);
        for at in 0..longest {
            text.extend(columns.iter().map(|(_, label)| label.chars().nth(at).unwrap_or(' ')));
            text.push('\n');
        }
    }
    text
}

/// The height of a value in thirds of a row.
fn step(value: u64, low: u64, high: u64) -> usize {
    let steps = ROWS * TOPS.len();
    let range = (high - low).max(1) as f64;
    (((value - low) as f64 * steps as f64 / range) as usize).min(steps - 1)
}

/// What stands in a row (0 is the top one) of a column.
fn cell(step: usize, row: usize) -> char {
    let below = (ROWS - row - 1) * TOPS.len();
    match step.checked_sub(below) {
        Some(third) => TOPS.get(third).copied().unwrap_or('|'),
        None => ' ',
    }
}

/// How long ago: `5s`, `3m`, `2h`, `1d`.
fn age(now: Wall, at: Wall) -> String {
    match now.0.saturating_sub(at.0) / 1_000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_grow_with_the_value() {
        let samples = vec![(Wall(0), 10), (Wall(59_000), 20), (Wall(119_000), 30)];
        let event = LatencyEvent { name: "command".to_owned(), samples, max_ms: 90 };
        let text = render(&event, Wall(120_000));
        let expected = [
            "command - high 30 ms, low 10 ms (all time high 90 ms)",
            &"-".repeat(80),
            "  #",
            " _|",
            " ||",
            "_||",
            "   ",
            "211",
            "mms",
            "",
        ];
        assert_eq!(text.split('\n').collect::<Vec<_>>(), expected);
    }
}

//! Leaves out of a failing program what it fails without.

use super::program::{Line, Program};
use super::runner::Difference;
use crate::Result;

const RUNS_MAX: usize = 300;

/// The shortest program found that still shows the difference, cut off behind it.
///
/// # Errors
/// Those of the runs.
pub(super) fn shrink(
    program: &Program,
    found: &Difference,
    mut run: impl FnMut(&Program) -> Result<Option<Difference>>,
) -> Result<(Program, Difference)> {
    let mut best = (cut(program, found), found.clone());
    let (mut runs, mut size) = (0, best.0.lines.len().div_ceil(2));
    // First transactions as such, then lines in ever smaller pieces.
    let mut at = 0;
    while let Some((open, end)) = transaction_from(&best.0.lines, at) {
        let mut shorter = best.0.clone();
        shorter.lines.remove(end);
        shorter.lines.remove(open);
        runs += 1;
        at = open + 1;
        if let Some(difference) = run(&shorter)?
            && difference.signature == found.signature
        {
            (best, at) = ((cut(&shorter, &difference), difference), open);
        }
    }
    while size > 0 && runs < RUNS_MAX {
        let mut from = 0;
        while from < best.0.lines.len() && runs < RUNS_MAX {
            let to = (from + size).min(best.0.lines.len());
            let edges = best.0.lines[from..to].iter().filter(|line| line.is_edge).count();
            if edges.is_multiple_of(2) {
                runs += 1;
                let mut shorter = best.0.clone();
                shorter.lines.drain(from..to);
                if let Some(difference) = run(&shorter)?
                    && difference.signature == found.signature
                {
                    best = (cut(&shorter, &difference), difference);
                    continue;
                }
            }
            from += size;
        }
        size /= 2;
    }
    Ok(best)
}

/// The next transaction behind a line: where it opens and ends.
fn transaction_from(lines: &[Line], at: usize) -> Option<(usize, usize)> {
    let mut edges =
        lines.iter().enumerate().skip(at).filter(|(_, line)| line.is_edge).map(|(index, _)| index);
    let first = edges.next()?;
    let earlier = lines[..first].iter().filter(|line| line.is_edge).count();
    let first = if earlier.is_multiple_of(2) { first } else { edges.next()? };
    Some((first, edges.next()?))
}

fn cut(program: &Program, found: &Difference) -> Program {
    let mut cut = program.clone();
    if let Some(line) = found.line {
        cut.lines.truncate(line + 1);
    }
    close(&mut cut.lines);
    cut
}

/// A transaction that is cut in its middle cannot be left out as a whole any more: its beginning is no edge then.
fn close(lines: &mut [Line]) {
    if !lines.iter().filter(|line| line.is_edge).count().is_multiple_of(2)
        && let Some(line) = lines.iter_mut().rev().find(|line| line.is_edge)
    {
        line.is_edge = false;
    }
}

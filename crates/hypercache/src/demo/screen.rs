//! What the demo shows: a table that fills in place on a terminal, and plain lines anywhere else.

use std::io::{self, Write};

/// Columns that a step's title takes.
const TITLE_COLUMNS: usize = 44;

/// Where a step stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// Not begun.
    Waiting,
    /// Under way.
    Running,
    /// Done in so many milliseconds, with a remark.
    Passed(u128, String),
    /// Failed after so many milliseconds, and why.
    Failed(u128, String),
}

/// Standard output, as far as the demo cares.
pub(super) struct Screen {
    is_live: bool,
    rows_shown: usize,
}

impl Screen {
    /// A screen that redraws in place and in colour if `is_live`, else only appends plain lines.
    pub(super) fn new(is_live: bool) -> Screen {
        Screen { is_live, rows_shown: 0 }
    }

    /// A line below everything so far.
    pub(super) fn line(&mut self, text: &str) {
        self.rows_shown = 0;
        write(&format!("{text}\n"));
    }

    /// Shows the state of all steps; on plain output only the step at `changed`, once it is finished.
    pub(super) fn steps(&mut self, steps: &[(&str, Progress)], changed: usize) {
        if self.is_live {
            // Up to the first row of the table, and to its left edge; every row then clears its own remains.
            let mut text =
                if self.rows_shown > 0 { format!("\x1b[{}F", self.rows_shown) } else { String::new() };
            for (index, (title, progress)) in steps.iter().enumerate() {
                text += &format!("{}\x1b[K\n", row(index + 1, title, progress, true));
            }
            self.rows_shown = steps.len();
            write(&text);
        } else if let Some((title, progress @ (Progress::Passed(..) | Progress::Failed(..)))) =
            steps.get(changed)
        {
            write(&format!("{}\n", row(changed + 1, title, progress, false)));
        }
    }
}

fn row(number: usize, title: &str, progress: &Progress, coloured: bool) -> String {
    let (mark, colour, time, remark) = match progress {
        Progress::Waiting => ("·", "2", String::new(), ""),
        Progress::Running => ("▸", "36", String::new(), ""),
        Progress::Passed(millis, remark) => ("✔", "32", format!("{millis} ms"), remark.as_str()),
        Progress::Failed(millis, why) => ("✘", "31", format!("{millis} ms"), why.as_str()),
    };
    let mark = if coloured { format!("\x1b[{colour}m{mark}\x1b[0m") } else { mark.to_string() };
    let text = format!("{number}  {title:<TITLE_COLUMNS$} {time:>9}   {remark}");
    format!("  {mark} {}", text.trim_end())
}

/// A demo whose output is closed goes on: its exit code is still awaited.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_plain_or_coloured() {
        let passed = Progress::Passed(12, "3 keys".to_string());
        assert_eq!(
            row(1, "write", &passed, false),
            format!("  ✔ 1  write{}    12 ms   3 keys", " ".repeat(40))
        );
        assert!(row(1, "write", &passed, true).starts_with("  \x1b[32m✔\x1b[0m 1  write"));
        assert_eq!(row(2, "read", &Progress::Waiting, false), "  · 2  read");
    }
}

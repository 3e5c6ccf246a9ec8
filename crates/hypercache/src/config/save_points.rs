//! When all data is saved: the value of `save`.

use std::fmt;
use std::time::Duration;

use super::value::Refusal;

/// Save once `after` has passed since the last save, if so much has changed since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavePoint {
    /// Time since the last save.
    pub after: Duration,
    /// Records written since.
    pub changes: u64,
}

/// Any number of save points; none means never.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SavePoints(pub Vec<SavePoint>);

impl SavePoints {
    /// Parses `SECONDS CHANGES` any number of times, as Redis writes it.
    pub(super) fn parse(text: &str) -> Result<SavePoints, Refusal> {
        let wrong = || {
            Refusal::new(
                "Invalid save parameters",
                format!(
                    "expects pairs of seconds and changes such as \"3600 1 300 100\", or nothing, got {text:?}"
                ),
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (pairs, []) = words.as_chunks::<2>() else { return Err(wrong()) };
        let point = |[seconds, changes]: &[&str; 2]| {
            let seconds = seconds.parse().ok().filter(|seconds: &u32| *seconds > 0)?;
            let changes = changes.parse::<u32>().ok()?;
            Some(SavePoint { after: Duration::from_secs(seconds.into()), changes: changes.into() })
        };
        pairs.iter().map(point).collect::<Option<Vec<_>>>().map(SavePoints).ok_or_else(wrong)
    }

    /// Whether it is time, `since` after the last save and with so many changes since.
    pub fn is_due(&self, since: Duration, changes: u64) -> bool {
        self.0.iter().any(|point| since >= point.after && changes >= point.changes.max(1))
    }
}

impl fmt::Display for SavePoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, point) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{} {}", point.after.as_secs(), point.changes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_in_redis_form() {
        for text in ["", "3600 1", "3600 1 300 100 60 10000"] {
            assert_eq!(SavePoints::parse(text).expect("right").to_string(), text);
        }
        for text in ["3600", "0 1", "-1 1", "1 x", "1 2 3", "99999999999 1"] {
            let refusal = SavePoints::parse(text).expect_err(text);
            assert_eq!(refusal.redis, "Invalid save parameters");
        }
    }

    #[test]
    fn due_when_both_time_and_changes_are_there() {
        let points = SavePoints::parse("3600 1 60 100").expect("right");
        let due = |seconds, changes| points.is_due(Duration::from_secs(seconds), changes);
        assert!(!due(59, 1_000_000) && !due(60, 99) && due(60, 100));
        assert!(!due(3_599, 1) && due(3_600, 1) && !due(1_000_000, 0));
        assert!(!SavePoints::default().is_due(Duration::MAX, u64::MAX));
    }
}

//! Writing the text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4.

/// What a family of series is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

/// Appends families one after the other; each sample gets the label `node`.
pub(super) struct Text {
    out: String,
    node: String,
}

impl Text {
    pub(super) fn new(node: &str) -> Text {
        Text { out: String::with_capacity(32 * 1024), node: escaped(node) }
    }

    /// Begins a family; its samples must follow before the next begins.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        debug_assert!(!help.contains(['\n', '\\']), "help texts need no escaping");
        self.push(&["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"]);
    }

    /// A family of one sample.
    pub(super) fn one(&mut self, name: &str, kind: Kind, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A family of one sample that is not a whole number.
    pub(super) fn real(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample_real(name, &[], value);
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.line(name, labels, &value.to_string());
    }

    pub(super) fn sample_real(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.line(name, labels, &value.to_string());
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: &str) {
        let node = std::mem::take(&mut self.node);
        self.push(&[name, "{node=\"", &node, "\""]);
        self.node = node;
        for (label, text) in labels {
            self.push(&[",", label, "=\"", &escaped(text), "\""]);
        }
        self.push(&["} ", value, "\n"]);
    }

    fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.out.push_str(part));
    }
}

/// A label's value, escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_escapes() {
        let mut text = Text::new("a\"b\\c\nd");
        text.one("x_total", Kind::Counter, "Help.", 3);
        text.family("y", Kind::Gauge, "More.");
        text.sample_real("y", &[("peer", "\\")], 0.25);
        let expected = "# HELP x_total Help.\n# TYPE x_total counter\nx_total{node=\"a\\\"b\\\\c\\nd\"} 3\n\
            # HELP y More.\n# TYPE y gauge\ny{node=\"a\\\"b\\\\c\\nd\",peer=\"\\\\\"} 0.25\n";
        assert_eq!(text.finish(), expected);
    }
}

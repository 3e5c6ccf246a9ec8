//! Links of a Markdown document that point into the checkout must point at something.

/// Findings for one document; `exists` answers for a path relative to it.
pub(crate) fn check(name: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let anchors = anchors(text);
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in targets(line) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let found =
                if path.is_empty() { anchors.iter().any(|known| known == anchor) } else { exists(path) };
            if !is_elsewhere(target) && !found {
                findings.push(format!("{name}:{}: nothing is at {target}", index + 1));
            }
        }
    }
    findings
}

/// What stands in the round brackets of `[text](target)`.
fn targets(line: &str) -> Vec<&str> {
    line.match_indices("](")
        .filter_map(|(at, opening)| {
            let rest = &line[at + opening.len()..];
            rest.find(')').map(|end| rest[..end].split(' ').next().unwrap_or_default())
        })
        .collect()
}

fn is_elsewhere(target: &str) -> bool {
    ["http:", "https:", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
}

/// The anchors that headings make: lower case, words joined by hyphens.
fn anchors(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let kept = line.trim_start_matches('#').trim().to_lowercase();
            kept.chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_are_found_and_others_are_not() {
        let text = "# The Title\n[a](b.md) [c](gone.md#x) [d](https://e.org/f) [g](#the-title) [h](#no)\n\
                    ```\n[i](gone.md)\n```\n";
        let findings = check("doc.md", text, &|path| path == "b.md");
        assert_eq!(findings, ["doc.md:2: nothing is at gone.md#x", "doc.md:2: nothing is at #no"]);
    }
}

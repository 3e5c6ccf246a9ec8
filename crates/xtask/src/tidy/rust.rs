//! Rules for one Rust source file.

use super::scan::{code_lines, has_word};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
/// A reason for a long file stands in its first lines.
const FILE_REASON_WITHIN: usize = 40;
/// A reason for a long function stands in the lines above it.
const FUNCTION_REASON_WITHIN: usize = 6;

const FILE_REASON: &str = "// long file: ";
const FUNCTION_REASON: &str = "// long function: ";

/// Words of unfinished work, in code or comment. Written in halves, or this file would break its own rule.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("dbg", "!"),
];

/// Modules that may hold `unsafe`: each block there has a SAFETY comment and a test under Miri or shuttle.
const UNSAFE_MODULES: &[&str] = &[
    "crates/hypercache/src/allocator.rs",
    "crates/hypercache/src/huge_pages.rs",
    "crates/hypercache/src/io/uring/sys.rs",
    "crates/protocol/src/append.rs",
    "crates/stdx/src/allocator.rs",
    "crates/stdx/src/carryless.rs",
    "crates/store/src/memory.rs",
    "crates/store/src/prefetch.rs",
    "crates/store/src/raw.rs",
];

/// All findings of one file.
pub(crate) fn check(name: &str, source: &str) -> Vec<String> {
    let lines: Vec<&str> = source.lines().collect();
    let code = code_lines(source);
    let mut findings = Vec::new();
    if !source.starts_with("//!") {
        findings.push(format!("{name}:1: does not open with `//!` and the file's job"));
    }
    let excused = lines.iter().take(FILE_REASON_WITHIN).any(|line| has_reason(line, FILE_REASON));
    if lines.len() > FILE_LINES_MAX && !excused {
        findings.push(format!(
            "{name}: {} lines; above {FILE_LINES_MAX} wants `{FILE_REASON}reason`",
            lines.len()
        ));
    }
    for (index, line) in lines.iter().enumerate() {
        let at = format!("{name}:{}", index + 1);
        findings.extend(
            UNFINISHED.iter().filter(|word| has_word(line, word)).map(|word| format!("{at}: {word}")),
        );
        let is_unsafe = code.get(index).is_some_and(|code| has_word(code, "unsafe"));
        if is_unsafe && !UNSAFE_MODULES.contains(&name) {
            findings.push(format!("{at}: `unsafe` outside the modules that may hold it"));
        }
    }
    findings.extend(long_functions(name, &lines, &code));
    findings
}

fn long_functions(name: &str, lines: &[&str], code: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for (start, line) in code.iter().enumerate() {
        if !has_word(line, "fn") {
            continue;
        }
        let length = function_end(code, start) - start + 1;
        let above = start.saturating_sub(FUNCTION_REASON_WITHIN);
        let excused = lines[above..=start].iter().any(|line| has_reason(line, FUNCTION_REASON));
        if length > FUNCTION_LINES_MAX && !excused {
            findings.push(format!(
                "{name}:{}: a function of {length} lines; above {FUNCTION_LINES_MAX} wants `{FUNCTION_REASON}reason`",
                start + 1
            ));
        }
    }
    findings
}

/// The line on which the function that begins at `start` ends: its closing brace, or the `;` of one without a body.
///
/// A `;` inside brackets (an array type among the parameters) ends nothing.
fn function_end(code: &[String], start: usize) -> usize {
    let first = code[start].find("fn").unwrap_or_default();
    let (mut braces, mut brackets) = (0i32, 0i32);
    for (index, line) in code.iter().enumerate().skip(start) {
        let from = if index == start { first } else { 0 };
        for character in line[from..].chars() {
            match character {
                '{' => braces += 1,
                '}' => braces -= 1,
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                ',' | ';' if braces == 0 && brackets == 0 => return index,
                _ => {}
            }
            // A function type in a struct's field or an argument list ends with what surrounds it.
            if brackets < 0 || braces < 0 || (character == '}' && braces == 0) {
                return index;
            }
        }
    }
    code.len().saturating_sub(1)
}

fn has_reason(line: &str, marker: &str) -> bool {
    line.trim_start().strip_prefix(marker).is_some_and(|reason| !reason.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize, above: &str) -> String {
        format!("//! Job.\n{above}\nfn long() {{\n{}}}\n", "    let x = \"{\";\n".repeat(lines - 2))
    }

    #[test]
    fn functions_are_measured_by_their_braces() {
        assert!(check("a.rs", &function(FUNCTION_LINES_MAX, "")).is_empty());
        assert_eq!(check("a.rs", &function(FUNCTION_LINES_MAX + 1, "")).len(), 1);
        assert!(check("a.rs", &function(FUNCTION_LINES_MAX + 1, "// long function: a table")).is_empty());
        assert_eq!(check("a.rs", &function(FUNCTION_LINES_MAX + 1, "// long function: ")).len(), 1);
    }

    #[test]
    fn types_of_functions_and_functions_without_bodies_are_short() {
        let padding = "    field: u8,\n".repeat(FUNCTION_LINES_MAX);
        let field = format!("//! Job.\nstruct S {{\n    run: fn(&[u8; 4]) -> u8,\n{padding}}}\n");
        assert!(check("a.rs", &field).is_empty());
        let declared = format!("//! Job.\ntrait T {{\n    fn f(&self, x: [u8; 4]);\n{padding}}}\n");
        assert!(check("a.rs", &declared).is_empty());
    }

    #[test]
    fn every_rule_finds_its_case() {
        let unfinished = format!("//! Job.\n// {} later\n", UNFINISHED[0]);
        for source in ["fn main() {}\n", unfinished.as_str(), "//! Job.\nunsafe fn f() {}\n"] {
            assert_eq!(check("a.rs", source).len(), 1, "{source}");
        }
        let long = format!("//! Job.\n{}", "\n".repeat(FILE_LINES_MAX));
        assert_eq!(check("a.rs", &long).len(), 1);
        assert!(check("a.rs", &format!("//! Job.\n// long file: one table\n{long}")).is_empty());
        assert!(check("a.rs", "//! Job: unsafe is a word here.\nconst X: &str = \"unsafe\";\n").is_empty());
    }
}

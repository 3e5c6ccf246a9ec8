//! Where values come from: defaults, a TOML file, the environment and flags, each laid over the one before.
//!
//! Every value remembers its place, so that a mistake, even a contradiction between two values, is reported where
//! the user can mend it. Reading never stops at the first mistake.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::table::{self, DIRECTIVES, Directive, index_of};
use super::value::{HostPort, Kind, Value};

/// Most bytes of a configuration file: a wrong path should not read a disk image.
pub(super) const FILE_LEN_MAX: u64 = 1 << 20;

/// Where a value was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Nowhere: it is the default.
    Default,
    /// In a TOML file; line and column count from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// In an environment variable.
    Environment(String),
    /// As a flag.
    Flag(String),
    /// By CONFIG SET.
    Command,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Default => f.write_str("default"),
            Place::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Place::Environment(name) => write!(f, "environment {name}"),
            Place::Flag(name) => write!(f, "--{name}"),
            Place::Command => f.write_str("CONFIG SET"),
        }
    }
}

/// Something wrong in a configuration, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// Where to mend it.
    pub place: Place,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// A value of every directive of the table, with its place.
#[derive(Clone, Debug)]
pub struct Settings {
    settings: Vec<(Value, Place)>,
}

impl Default for Settings {
    fn default() -> Settings {
        let default = |directive: &Directive| {
            let value = directive.kind.parse(directive.default, None);
            (value.expect("a test parses every default of the table"), Place::Default)
        };
        Settings { settings: DIRECTIVES.iter().map(default).collect() }
    }
}

impl Settings {
    /// The value of the directive at `index` of the table.
    pub fn value(&self, index: usize) -> &Value {
        &self.settings[index].0
    }

    /// Where the value of the directive at `index` comes from.
    pub fn place(&self, index: usize) -> &Place {
        &self.settings[index].1
    }

    /// Sets the directive at `index` of the table.
    pub fn set(&mut self, index: usize, value: Value, place: Place) {
        self.settings[index] = (value, place);
    }

    /// Every value, in the order of the table.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.settings.iter().map(|(value, _)| value)
    }

    pub(super) fn number(&self, index: usize) -> i64 {
        match self.value(index) {
            Value::Number(number) => *number,
            other => unreachable!("{} is not a number: {other:?}", DIRECTIVES[index].name),
        }
    }

    pub(super) fn secret(&self, index: usize) -> &super::Secret {
        match self.value(index) {
            Value::Secret(secret) => secret,
            other => unreachable!("{} is not a secret: {other:?}", DIRECTIVES[index].name),
        }
    }

    /// Lays `text` over the directive at `index`.
    fn parse(&mut self, index: usize, text: &str, place: Place) -> Result<(), Mistake> {
        let directive = &DIRECTIVES[index];
        match directive.kind.parse(text, Some(self.value(index))) {
            Ok(value) => {
                self.set(index, value, place);
                Ok(())
            }
            Err(refusal) => Err(Mistake { place, text: format!("{} {}", directive.name, refusal.plain) }),
        }
    }

    /// Lays flags over what is there. The last of a repeated flag counts, except that `join` collects them all.
    pub fn apply_flags(&mut self, flags: &[(String, String)], mistakes: &mut Vec<Mistake>) {
        let mut seeds: Vec<HostPort> = Vec::new();
        for (name, text) in flags {
            let place = Place::Flag(name.clone());
            let Some(index) = table::find(name) else {
                mistakes.push(Mistake { place, text: unknown(name) });
                continue;
            };
            if let Err(mistake) = self.parse(index, text, place.clone()) {
                mistakes.push(mistake);
            } else if let Value::HostPorts(more) = self.value(index) {
                seeds.extend(more.iter().cloned());
                self.set(index, Value::HostPorts(seeds.clone()), place);
            }
        }
    }

    /// Lays `HYPERCACHE_*` variables over what is there, and returns warnings.
    ///
    /// A variable that is not a directive is a mistake if it looks like a misspelt one, and otherwise only worth a
    /// warning: Kubernetes injects `HYPERCACHE_PORT=tcp://...` and friends for a service named hypercache.
    pub fn apply_environment(
        &mut self,
        variables: &BTreeMap<String, String>,
        mistakes: &mut Vec<Mistake>,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        for (variable, text) in variables {
            let Some(rest) = variable.strip_prefix("HYPERCACHE_") else { continue };
            let name = rest.to_ascii_lowercase().replace('_', "-");
            let place = Place::Environment(variable.clone());
            if text.starts_with("tcp://") || text.starts_with("udp://") {
                warnings
                    .push(format!("{variable}={text} looks like a Kubernetes service link and is ignored"));
                continue;
            }
            match table::find(&name) {
                Some(index) => {
                    if let Err(mistake) = self.parse(index, text, place) {
                        mistakes.push(mistake);
                    }
                }
                None if table::nearest(&name).is_some() => {
                    let meant = table::nearest(&name)
                        .and_then(table::find)
                        .map(|index| DIRECTIVES[index].environment());
                    let text =
                        format!("no directive of this name - did you mean {}?", meant.unwrap_or_default());
                    mistakes.push(Mistake { place, text });
                }
                None => warnings.push(format!("{variable} is not a directive and is ignored")),
            }
        }
        warnings
    }

    /// Reads the TOML file at `path` over what is there; returns how many directives it sets.
    pub fn apply_file(&mut self, path: &Path, mistakes: &mut Vec<Mistake>) -> usize {
        let whole = || Place::File { path: path.to_path_buf(), line: 1, column: 1 };
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.len() > FILE_LEN_MAX => {
                let text = format!("is larger than {FILE_LEN_MAX} bytes: not a configuration file");
                mistakes.push(Mistake { place: whole(), text });
                return 0;
            }
            _ => {}
        }
        match std::fs::read_to_string(path) {
            Ok(text) => self.apply_toml(path, &text, mistakes),
            Err(error) => {
                mistakes.push(Mistake { place: whole(), text: format!("cannot be read: {error}") });
                0
            }
        }
    }

    /// Reads TOML `text`, as if from `path`, over what is there; returns how many directives it sets.
    pub fn apply_toml(&mut self, path: &Path, text: &str, mistakes: &mut Vec<Mistake>) -> usize {
        let place = |offset: usize| {
            let before = text.get(..offset).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            Place::File { path: path.to_path_buf(), line, column }
        };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            mistakes.push(Mistake { place: place(offset), text: format!("not TOML: {}", error.message()) });
        }
        let mut count = 0;
        let mut entries: Vec<_> = document.get_ref().iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            match self.apply_entry(name.get_ref(), value, place(name.span().start)) {
                Ok(()) => count += 1,
                // What is left of a line that did not parse was reported above.
                Err(_) if errors.iter().any(|error| overlaps(error, name, value)) => {}
                Err(text) => {
                    mistakes.push(Mistake {
                        place: place(text.offset.unwrap_or(name.span().start)),
                        text: text.text,
                    });
                }
            }
        }
        count
    }

    fn apply_entry(
        &mut self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        place: Place,
    ) -> Result<(), EntryError> {
        let at_name = |text: String| EntryError { offset: None, text };
        if value.get_ref().is_table() {
            return Err(at_name(format!(
                "directives are plain `name = value` lines: there is no table [{name}]"
            )));
        }
        let Some(index) = DIRECTIVES.iter().position(|directive| directive.name == name) else {
            return Err(at_name(unknown(name)));
        };
        let directive = &DIRECTIVES[index];
        if !directive.in_file {
            return Err(at_name(format!(
                "{name} cannot be set in a file, only as a flag or in the environment"
            )));
        }
        let at_value = |text: String| EntryError { offset: Some(value.span().start), text };
        let text = text_of(directive, value.get_ref()).map_err(at_value)?;
        self.parse(index, &text, place).map_err(|mistake| at_value(mistake.text))
    }

    /// The file that `config` names, if any.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        match self.value(const { index_of("config") }) {
            Value::Path(path) if !path.as_os_str().is_empty() => Some(path.clone()),
            _ => None,
        }
    }
}

struct EntryError {
    offset: Option<usize>,
    text: String,
}

fn overlaps(
    error: &toml::de::Error,
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) -> bool {
    let entry = name.span().start..=value.span().end.max(name.span().end);
    error.span().is_some_and(|span| entry.contains(&span.start))
}

/// The text of a TOML value, if its type suits the directive.
fn text_of(directive: &Directive, value: &DeValue<'_>) -> Result<String, String> {
    let wrong =
        |expected: &str| Err(format!("{} expects {expected}, got {}", directive.name, described(value)));
    match (directive.kind, value) {
        (_, DeValue::String(text)) => Ok(text.to_string()),
        (
            Kind::Bytes { .. } | Kind::Port | Kind::Number { .. } | Kind::Threads { .. } | Kind::Fixed { .. },
            DeValue::Integer(number),
        ) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(number.to_string()),
            Err(_) => wrong("a number of 64 bits"),
        },
        (Kind::Bool, DeValue::Boolean(yes)) => Ok(if *yes { "yes" } else { "no" }.to_string()),
        (Kind::Fixed { accepted, .. }, DeValue::Boolean(false)) if accepted.contains(&"no") => {
            Ok("no".to_string())
        }
        (Kind::Secret, DeValue::Array(items)) if directive.name == "user" => {
            let texts: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            texts.map_or_else(|| wrong("only strings in its array"), |texts| Ok(texts.join("\n")))
        }
        (Kind::HostPorts, DeValue::Array(items)) => {
            let texts: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            texts.map_or_else(|| wrong("only strings in its array"), |texts| Ok(texts.join(" ")))
        }
        (Kind::Bytes { .. }, _) => wrong("bytes such as 1048576 or \"512mb\""),
        (Kind::Port, _) => wrong("a port from 0 to 65535"),
        (Kind::Number { min, max }, _) => wrong(&format!("a whole number from {min} to {max}")),
        (Kind::Bool, _) => wrong("\"yes\", \"no\", true or false"),
        (Kind::HostPorts, _) => wrong("a string or an array of strings"),
        _ => wrong("a string in quotes"),
    }
}

fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {text:?}"),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the fraction {}", number.as_str()),
        DeValue::Boolean(yes) => format!("the boolean {yes}"),
        DeValue::Datetime(_) => "a date".to_string(),
        DeValue::Array(_) => "an array".to_string(),
        DeValue::Table(_) => "a table".to_string(),
    }
}

fn unknown(name: &str) -> String {
    match table::nearest(name) {
        Some(meant) => format!("unknown directive '{name}' - did you mean '{meant}'?"),
        None => format!("unknown directive '{name}' (`hypercache config show` lists them all)"),
    }
}

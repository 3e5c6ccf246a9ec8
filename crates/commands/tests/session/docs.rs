//! The table's rows are complete, and `docs/commands.md` is what they say.

use commands::table::{self, Run};
use std::path::Path;

#[test]
fn every_container_has_help_and_every_row_a_version() {
    for row in table::all() {
        let numbers = row.since.split('.').filter(|part| part.parse::<u8>().is_ok()).count();
        assert_eq!(numbers, 3, "{}: {}", row.name, row.since);
        if !row.subcommands.is_empty() {
            let help = format!("{}|help", row.name);
            assert!(table::lookup(help.as_bytes()).is_some(), "{help}");
        }
    }
}

#[test]
fn document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let wanted = commands::docs::markdown();
    if std::env::var_os("HYPERCACHE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("docs/ is writable");
    }
    let found = std::fs::read_to_string(&path).expect("docs/commands.md is there");
    assert!(found == wanted, "docs/commands.md differs from the table: run with HYPERCACHE_UPDATE_DOCS=1");
}

#[test]
fn document_names_every_command_once() {
    let text = commands::docs::markdown();
    for row in table::all().iter().filter(|row| !matches!(row.run, Run::Container)) {
        let cell = format!("| `{}` |", row.name.to_ascii_uppercase().replace('|', " "));
        assert_eq!(text.matches(&cell).count(), 1, "{}", row.name);
    }
}

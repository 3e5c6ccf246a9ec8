//! What must hold of every row of the command table.

use commands::table::{self, Command, Find, FindError, Flags, KeyFlags, Run};
use commands::{Args, find};
use std::collections::BTreeSet;

fn with_args<T>(words: &[&str], then: impl FnOnce(Args<'_>) -> T) -> T {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    then(Args::new(&words))
}

fn found(words: &[&str]) -> Result<&'static str, String> {
    with_args(words, |args| find(args).map(|command| command.name).map_err(|error| error.to_string()))
}

fn keys(words: &[&str]) -> Vec<usize> {
    with_args(words, |args| find(args).expect("a command").key_positions(args).collect())
}

#[test]
fn rows_are_whole() {
    let mut names = BTreeSet::new();
    for (index, row) in table::all().iter().enumerate() {
        let name = row.name;
        assert!(names.insert(name), "{name} twice");
        assert_eq!(row.index(), index);
        assert_eq!(name, name.to_ascii_lowercase());
        assert!(row.arity != 0 && row.arity.unsigned_abs() < 20, "{name}: arity");
        assert!(row.summary.len() > 10, "{name}: summary");
        assert!(!row.since.is_empty() && !row.complexity.is_empty(), "{name}: since, complexity");
        for sub in row.subcommands {
            let prefix = sub.name.strip_suffix(sub.short_name()).and_then(|rest| rest.strip_suffix('|'));
            assert_eq!(prefix, Some(name), "{}", sub.name);
            assert!(sub.arity.unsigned_abs() >= 2, "{}: arity counts the container", sub.name);
        }
        assert!(!matches!(row.run, Run::Container) || !row.subcommands.is_empty(), "{name}: container");
    }
}

#[test]
fn flags_agree_with_what_runs() {
    for row in table::all() {
        let name = row.name;
        let (write, read) = (row.flags.has(Flags::WRITE), row.flags.has(Flags::READONLY));
        let run = match &row.run {
            Run::Fanout { local, .. } => *local,
            Run::Blocking(blocking) => &blocking.attempt,
            run => run,
        };
        match run {
            Run::Write(_) => assert!(write && !read, "{name}"),
            Run::Read(_) => assert!(read && !write, "{name}"),
            Run::Scan | Run::Partitions { .. } => assert!(write != read, "{name}"),
            _ => assert!(!write, "{name}"),
        }
        if let Run::Fanout { group, .. } = row.run {
            assert_eq!(row.keys.legacy().2, i32::from(group), "{name}: words per key");
            assert_eq!((row.keys.legacy().0, row.keys.legacy().1), (1, -1), "{name}");
        }
    }
}

#[test]
fn key_specifications_fit_the_arity() {
    for row in table::all() {
        let name = row.name;
        for (index, spec) in row.keys.specs().iter().enumerate() {
            assert!(spec.first >= 1, "{name}");
            let Find::Range { last, step } = spec.find else { continue };
            assert!(step >= 1, "{name}");
            let words = row.arity.unsigned_abs();
            // A channel may be left out (SUNSUBSCRIBE), and sources after the destination (PFMERGE); the first key never is.
            let optional = spec.flags.has(KeyFlags::NOT_KEY) || (index > 0 && last < 0);
            let covered = optional || spec.first < words;
            assert!(covered, "{name}: the arity does not cover the first key");
            assert!(last < 0 || (last as u32) < words, "{name}: nor the last");
            let changes = KeyFlags::RW.with(KeyFlags::OW).with(KeyFlags::RM);
            // Redis's PFCOUNT caches the count, and says so here although it is a read.
            if row.flags.has(Flags::READONLY) && name != "pfcount" {
                assert!(!spec.flags.has_any(changes), "{name}: reads only");
            }
        }
        let on_keys = match row.run {
            Run::Read(_) | Run::Write(_) | Run::Fanout { .. } | Run::Blocking(_) => true,
            _ => continue,
        };
        assert_eq!(on_keys, !row.keys.specs().is_empty(), "{name}: needs keys to be routed by");
    }
}

#[test]
fn every_row_is_found_by_its_name() {
    for row in table::all() {
        let upper = row.name.to_ascii_uppercase();
        let found: &Command = table::lookup(upper.as_bytes()).expect("the row");
        assert_eq!(found.name, row.name);
        assert_eq!(found.index(), row.index());
    }
    assert!(table::lookup(b"").is_none());
    assert!(table::lookup(b"gett").is_none());
    assert_eq!(
        table::table().count() + table::all().iter().filter(|r| r.name.contains('|')).count(),
        table::count()
    );
}

#[test]
fn look_up_and_its_errors() {
    assert_eq!(found(&["GeT", "k"]), Ok("get"));
    assert_eq!(found(&["object", "Encoding", "k"]), Ok("object|encoding"));
    let cases: &[(&[&str], &str)] = &[
        (&["get"], "ERR wrong number of arguments for 'get' command"),
        (&["get", "a", "b"], "ERR wrong number of arguments for 'get' command"),
        (&["mset", "a", "b", "c"], "ERR wrong number of arguments for 'mset' command"),
        (&["object"], "ERR wrong number of arguments for 'object' command"),
        (&["OBJECT", "freq"], "ERR wrong number of arguments for 'object|freq' command"),
        (&["Object", "Foo", "k"], "ERR unknown subcommand 'Foo'. Try OBJECT HELP."),
        (&["foo"], "ERR unknown command 'foo', with args beginning with: "),
        (&["Foo", "b\0ar", "\0"], "ERR unknown command 'Foo', with args beginning with: 'b' '' "),
        (
            &["EXEC", "x"],
            "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
        ),
        (&["Foo", "bar", "a\r\nb"], "ERR unknown command 'Foo', with args beginning with: 'bar' 'a  b' "),
    ];
    for (words, expected) in cases {
        assert_eq!(found(words), Err((*expected).to_owned()), "{words:?}");
    }
    // A client cannot find a subcommand by its full name's first half alone.
    let unknown = with_args(&["nosuch"], |args| find(args).map(|c| c.name));
    assert!(matches!(unknown, Err(FindError::UnknownCommand(_))));
    let long = "x".repeat(1_000);
    let error = found(&[&long, &long, &long]).unwrap_err();
    assert!(error.len() < 400, "{}", error.len());
}

#[test]
fn positions_of_keys() {
    assert_eq!(keys(&["get", "a"]), [1]);
    assert_eq!(keys(&["mget", "a", "b", "c"]), [1, 2, 3]);
    assert_eq!(keys(&["mset", "a", "1", "b", "2"]), [1, 3]);
    assert_eq!(keys(&["rename", "a", "b"]), [1, 2]);
    assert_eq!(keys(&["lcs", "a", "b", "LEN"]), [1, 2]);
    assert_eq!(keys(&["object", "freq", "a"]), [2]);
    assert_eq!(keys(&["bitop", "and", "a", "b", "c"]), [2, 3, 4]);
    assert_eq!(keys(&["pfmerge", "a"]), [1]);
    assert_eq!(keys(&["pfmerge", "a", "b", "c"]), [1, 2, 3]);
    assert_eq!(keys(&["dbsize"]), Vec::<usize>::new());
    let rename = table::lookup(b"rename").expect("a row").keys;
    assert_eq!(rename.legacy(), (1, 2, 1));
    let mset = table::lookup(b"mset").expect("a row").keys;
    assert_eq!(mset.legacy(), (1, -1, 2));
}

//! Configuration as a user meets it: sources and their precedence, mistakes with their lines, CONFIG GET and SET.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use hypercache::config::{
    self, Acks, Config, DIRECTIVES, Directives, Mistake, Section, Settings, check_text, markdown,
    toml_document,
};

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn flags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn texts(mistakes: &[Mistake]) -> Vec<String> {
    mistakes.iter().map(Mistake::to_string).collect()
}

fn directives(pairs: &[(&str, &str)]) -> Arc<Directives> {
    Config::with(pairs).expect("the test's flags are right").directives
}

fn get(directives: &Directives, name: &str) -> String {
    directives.get([name]).first().expect("the name is in the table").1.clone()
}

#[test]
fn every_directive_is_unique_documented_and_has_a_default_of_its_kind() {
    let mut names = BTreeSet::new();
    for directive in DIRECTIVES {
        let name = directive.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{name} is not kebab case"
        );
        assert!(directive.doc.len() > 20 && directive.doc.ends_with('.'), "{name} needs sentences");
        assert!(!directive.doc.contains("  "), "{name}: doubled spaces");
        let value = directive.kind.parse(directive.default, None);
        let value = value.unwrap_or_else(|refusal| panic!("default of {name}: {refusal:?}"));
        assert_eq!(
            directive.kind.parse(&value.to_string(), None),
            Ok(value),
            "{name}: canonical text parses back"
        );
        assert_eq!(
            name.ends_with("-ms"),
            directive.unit == "milliseconds" && !directive.redis,
            "{name}: unit"
        );
        assert!(Section::ALL.contains(&directive.section));
        assert!(!directive.kind.describe().is_empty());
    }
    assert_eq!(Config::with(&[]).map_err(|mistakes| texts(&mistakes)).map(|_| ()), Ok(()));
}

#[test]
fn fixed_names_and_defaults() {
    let config = Config::with(&[]).expect("defaults are right");
    assert_eq!((config.port, config.http_port, config.gossip_port), (6379, 8080, 7946));
    assert_eq!((config.partitions, config.replication_factor, config.acks), (256, 2, Acks::Insync));
    assert!(config.bind.is_loopback() && config.join.is_empty() && config.cluster_secret.is_empty());
    assert!((1..=4).contains(&config.io_threads));
    assert!(config.node_id.ends_with("-6379"), "{}", config.node_id);
    assert_eq!(config.http_max_body, 64 << 20);
    assert_eq!(config.lease.as_millis(), 1000);
    let fixed = "config node-id bind port http-port gossip-port dir join partitions replication-factor acks \
                 io-threads maxmemory requirepass cluster-secret";
    for name in fixed.split_whitespace() {
        assert!(DIRECTIVES.iter().any(|directive| directive.name == name), "{name}");
    }
}

#[test]
fn later_sources_take_precedence() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("hypercache.toml");
    std::fs::write(
        &path,
        "port = 1001\nhttp-port = 1002\ngossip-port = 1003\njoin = [\"a:1\", \"[::1]:2\"]\n",
    )
    .expect("a file");
    let path = path.to_str().expect("a UTF-8 path");
    let environment = environment(&[
        ("HYPERCACHE_CONFIG", path),
        ("HYPERCACHE_HTTP_PORT", "2002"),
        ("HYPERCACHE_GOSSIP_PORT", "2003"),
        ("HYPERCACHE_MAXMEMORY", "2gb"),
        ("PATH", "/bin"),
    ]);
    let loaded =
        config::load(&flags(&[("gossip-port", "3003")]), &environment).expect("all values are right");
    let config = loaded.config;
    assert_eq!((config.port, config.http_port, config.gossip_port), (1001, 2002, 3003));
    assert_eq!(config.directives.maxmemory(), 2 << 30);
    assert_eq!(get(&config.directives, "join"), "a:1 [::1]:2");
    assert!(loaded.warnings.is_empty());

    let config =
        config::load(&flags(&[("join", "b:3"), ("join", "c:4,d:5")]), &environment).expect("right").config;
    assert_eq!(get(&config.directives, "join"), "b:3 c:4 d:5");
}

#[test]
fn environment_is_strict_about_near_misses_only() {
    let injected =
        environment(&[("HYPERCACHE_PORT", "tcp://10.0.0.1:6379"), ("HYPERCACHE_SERVICE_HOST", "10.0.0.1")]);
    let loaded = config::load(&[], &injected).expect("what Kubernetes injects is no mistake");
    assert_eq!((loaded.config.port, loaded.warnings.len()), (6379, 2));

    let wrong = environment(&[("HYPERCACHE_REQUIREPAS", "secret"), ("HYPERCACHE_IO_THREADS", "many")]);
    let mistakes = config::load(&[], &wrong).expect_err("two are wrong");
    assert_eq!(
        texts(&mistakes),
        [
            "environment HYPERCACHE_IO_THREADS: io-threads expects `auto` or a number of threads from 1 to 64, got \"many\"",
            "environment HYPERCACHE_REQUIREPAS: no directive of this name - did you mean HYPERCACHE_REQUIREPASS?",
        ]
    );
}

#[test]
fn an_exposed_seed_without_cluster_secret_is_warned_about() {
    let loaded = config::load(&flags(&[("bind", "0.0.0.0"), ("requirepass", "pw")]), &BTreeMap::new());
    let warnings = loaded.expect("a password is enough to start alone").warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("cluster-secret is empty"), "{warnings:?}");
}

/// Checks that the file `text` is explained as `expected`, one `line:column: text` each.
fn check(text: &str, expected: &[&str]) {
    let checked = check_text(Path::new("f"), text);
    let expected: Vec<String> = expected.iter().map(|line| format!("f:{line}")).collect();
    assert_eq!(texts(&checked.mistakes), expected, "for\n{text}");
}

#[test]
fn unknown_names_and_wrong_types_are_explained_with_their_place() {
    check(
        "port = 7000\n\n[server]\n",
        &["3:2: directives are plain `name = value` lines: there is no table [server]"],
    );
    check("portt = 1\n", &["1:1: unknown directive 'portt' - did you mean 'port'?"]);
    check("max_memory = 1\n", &["1:1: unknown directive 'max_memory' - did you mean 'maxmemory'?"]);
    check("colour = 1\n", &["1:1: unknown directive 'colour' (`hypercache config show` lists them all)"]);
    check("\nport = true\n", &["2:8: port expects a port from 0 to 65535, got the boolean true"]);
    check(
        "timeout = 1.5",
        &["1:11: timeout expects a whole number from 0 to 2147483647, got the fraction 1.5"],
    );
    check("requirepass = 12", &["1:15: requirepass expects a string in quotes, got the number 12"]);
    check("join = [1]", &["1:8: join expects only strings in its array, got an array"]);
    check("config = \"x\"", &["1:1: config cannot be set in a file, only as a flag or in the environment"]);
}

#[test]
fn wrong_values_are_explained_with_their_place() {
    check("port = 70000", &["1:8: port expects a port from 0 to 65535, got 70000"]);
    check(
        "maxmemory = \"lots\"",
        &["1:13: maxmemory expects bytes such as 1048576, 512mb or 2gb, got \"lots\""],
    );
    check("acks = \"all\"", &["1:8: acks expects one of insync, primary, got \"all\""]);
    check(
        "bind = \"example.org\"",
        &["1:8: bind expects one IP address such as 127.0.0.1, 0.0.0.0 or ::1, got \"example.org\""],
    );
    check("join = [\"a:1\", \"b\"]", &["1:8: join expects HOST:PORT such as 10.0.0.5:7946, got \"b\""]);
    check("maxmemory = \"0%\"", &["1:13: maxmemory expects a share from 1% to 100%, got \"0\"%"]);
    check(
        "save = \"60\"",
        &[
            "1:8: save expects pairs of seconds and changes such as \"3600 1 300 100\", or nothing, got \"60\"",
        ],
    );
    check(
        "portt = 1\nhz = 0\nacks = \"x\"\n",
        &[
            "1:1: unknown directive 'portt' - did you mean 'port'?",
            "2:6: hz expects a whole number from 1 to 500, got 0",
            "3:8: acks expects one of insync, primary, got \"x\"",
        ],
    );
}

#[test]
fn contradictions_are_explained_at_the_line_that_causes_them() {
    check("hz = 20\npartitions = 100\n", &["2:1: partitions must be a power of two, such as 128, not 100"]);
    check("http-port = 6379", &["1:1: http-port and port are both 6379"]);
    check("lease-ms = 500", &["1:1: 3 x lease-renew-ms (250) must be at most lease-ms (500)"]);
    check(
        "raft-heartbeat-ms = 75",
        &["1:1: 2 x raft-heartbeat-ms (75) must be less than raft-election-min-ms (150)"],
    );
    check(
        "raft-election-min-ms = 300",
        &["1:1: raft-election-min-ms (300) must be less than raft-election-max-ms (300)"],
    );
    let exposed = "is open to other machines";
    check(
        "bind = \"0.0.0.0\"",
        &[&format!(
            "1:1: bind 0.0.0.0 {exposed} but requirepass is empty: set requirepass, or allow-insecure-bind yes"
        )],
    );
    check(
        "bind = \"0.0.0.0\"\nrequirepass = \"x\"\njoin = \"a:1\"",
        &[&format!(
            "3:1: bind 0.0.0.0 {exposed} and join is set but cluster-secret is empty: set cluster-secret, or \
             allow-insecure-bind yes"
        )],
    );
    check("bind = \"0.0.0.0\"\nallow-insecure-bind = true\njoin = \"a:1\"", &[]);
    check(
        "advertise-address = \"0.0.0.0\"",
        &["1:1: advertise-address 0.0.0.0 is not an address that others could connect to"],
    );
    check("port = 0\nhttp-port = 0\ngossip-port = 0", &[]);
}

#[test]
fn what_is_not_toml_is_explained_too() {
    let mistakes = texts(&check_text(Path::new("f"), "port = 7000\nacks = insync\nhz = 0\n").mistakes);
    assert!(mistakes.iter().any(|text| text.starts_with("f:2:8: not TOML: ")), "{mistakes:?}");
    assert!(mistakes.iter().any(|text| text.starts_with("f:3:6: hz expects")), "{mistakes:?}");
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    let mistakes = texts(&check_text(Path::new("f"), "port = 1\nport = 2\n").mistakes);
    assert!(mistakes.iter().any(|text| text.starts_with("f:2:1: not TOML: duplicate key")), "{mistakes:?}");
    let mistakes = texts(&config::check_file(Path::new("/nowhere/at-all.toml")).mistakes);
    assert!(mistakes[0].starts_with("/nowhere/at-all.toml:1:1: cannot be read: "), "{mistakes:?}");
}

#[test]
fn the_documented_file_is_valid_and_complete() {
    let checked = check_text(Path::new("f"), &toml_document());
    assert_eq!(texts(&checked.mistakes), [] as [String; 0]);
    assert_eq!(checked.directives, DIRECTIVES.iter().filter(|directive| directive.in_file).count());
}

#[test]
fn the_documentation_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == markdown(), "run: hypercache config docs > docs/configuration.md");
}

#[test]
fn config_get_matches_globs_and_shows_canonical_text() {
    let directives = directives(&[("maxmemory", "1k"), ("requirepass", "pw"), ("cluster-secret", "s3cret")]);
    assert_eq!(get(&directives, "MAXMEMORY"), "1000");
    assert_eq!(get(&directives, "requirepass"), "pw");
    assert_eq!(get(&directives, "cluster-secret"), "***");
    assert_eq!(get(&directives, "save"), "");
    assert_eq!(get(&directives, "appendonly"), "no");
    assert_eq!(get(&directives, "proto-max-bulk-len"), "536870912");
    assert_eq!(
        get(&directives, "client-output-buffer-limit"),
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
    );
    let names: Vec<_> =
        directives.get(["slowlog*", "slowlog-max-len", "nothing"]).iter().map(|pair| pair.0).collect();
    assert_eq!(names, ["slowlog-log-slower-than", "slowlog-max-len"]);
    assert_eq!(directives.get(["*"]).len(), DIRECTIVES.len());
    assert!(!format!("{:?}", Config::with(&[("requirepass", "hunter2")])).contains("hunter2"));
}

#[test]
fn config_set_speaks_as_redis_does() {
    let directives = directives(&[]);
    let refused = |name: &str, value: &str| directives.set(name, value).expect_err("it is refused");
    assert_eq!(refused("foo", "1"), "Unknown option or number of arguments for CONFIG SET - 'foo'");
    let failed =
        |name: &str, why: &str| format!("CONFIG SET failed (possibly related to argument '{name}') - {why}");
    assert_eq!(refused("maxmemory", "x"), failed("maxmemory", "argument must be a memory value"));
    assert_eq!(refused("dir", "/"), failed("dir", "can't set immutable config"));
    assert_eq!(refused("hz", "x"), failed("hz", "argument couldn't be parsed into an integer"));
    assert_eq!(refused("hz", "501"), failed("hz", "argument must be between 1 and 500 inclusive"));
    assert_eq!(
        refused("protected-mode", "maybe"),
        failed("protected-mode", "argument must be 'yes' or 'no'")
    );
    assert_eq!(
        refused("loglevel", "x"),
        failed("loglevel", "argument(s) must be one of the following: debug, verbose, notice, warning")
    );
    assert_eq!(
        refused("client-output-buffer-limit", "normal 0 0"),
        failed("client-output-buffer-limit", "Wrong number of arguments in buffer limit configuration.")
    );
    assert_eq!(directives.set_all(&[("hz", "20"), ("HZ", "30")]), Err(failed("HZ", "duplicate parameter")));
    assert_eq!(directives.generation(), 0, "nothing was changed");
}

#[test]
fn config_set_is_all_or_nothing_and_seen_by_getters() {
    let directives = directives(&[]);
    assert!(directives.set_all(&[("maxmemory", "100mb"), ("hz", "0")]).is_err());
    assert_eq!((directives.maxmemory(), directives.hz()), (0, 10));
    let pairs =
        [("MaxMemory", "100mb"), ("slowlog-log-slower-than", "-1"), ("requirepass", "pw"), ("save", "")];
    assert_eq!(directives.set_all(&pairs), Ok(()));
    assert_eq!((directives.maxmemory(), directives.slowlog_log_slower_than()), (100 << 20, -1));
    assert_eq!(directives.requirepass().expose(), "pw");
    assert_eq!(directives.generation(), 1);

    assert_eq!(directives.set("client-output-buffer-limit", "pubsub 1mb 0 0"), Ok(()));
    assert_eq!(directives.client_output_buffer_limit().pubsub.hard_bytes, 1 << 20);
    assert_eq!(directives.set("client-output-buffer-limit", "normal 1 0 0"), Ok(()));
    assert_eq!(
        directives.client_output_buffer_limit().pubsub.hard_bytes,
        1 << 20,
        "others keep their values"
    );
    directives.port_bound("port", 50_001);
    assert_eq!(get(&directives, "port"), "50001");
}

#[test]
fn an_exposed_server_keeps_its_password() {
    let directives = directives(&[("bind", "0.0.0.0"), ("requirepass", "pw")]);
    assert!(directives.set("requirepass", "").expect_err("it would be open").contains("allow-insecure-bind"));
    assert_eq!(directives.requirepass().expose(), "pw");
    assert_eq!(directives.set("requirepass", "other"), Ok(()));
}

#[test]
fn every_live_directive_accepts_its_own_default_by_config_set() {
    let directives = Directives::new(Settings::default());
    for directive in DIRECTIVES.iter().filter(|directive| directive.live) {
        assert_eq!(directives.set(directive.name, directive.default), Ok(()), "{}", directive.name);
    }
}

//! Golden scripts: every file of `tests/scripts` against an engine and a small host.
//!
//! The files were run in a redis-server as well; replies are its bytes, except where a comment says why not. Lines of a
//! file:
//! - `> ...` lines of a script, `@ 1 key argument` its number of keys, keys and arguments: EVAL.
//! - `| ...` lines of a library: FUNCTION LOAD REPLACE.
//! - `$ name 1 key argument`: FCALL.
//! - `= ...` the reply as bytes, escaped.
//! - `resp 3` and `resp 2`: the client's protocol from here on.
//! - `# ...` and empty lines: nothing.
//!
//! `UPDATE_GOLDEN=1` writes the replies that come now into the files.

mod host;

use host::MemoryHost;
use protocol::reply::{Reply, Version};
use protocol::{Value, split_words};
use scripting::{Engine, Flags, Libraries, Script, ScriptError, Settings};
use std::fs;
use std::path::{Path, PathBuf};

/// One engine and what surrounds it, as a node would have it.
struct Server {
    engine: Engine,
    libraries: Libraries,
    host: MemoryHost,
    version: Version,
}

impl Server {
    fn new() -> Server {
        Server {
            engine: Engine::new(Settings { version: "7.0.15", ..Settings::default() }),
            libraries: Libraries::new(),
            host: MemoryHost::default(),
            version: Version::Resp2,
        }
    }

    fn eval(&mut self, body: &[u8], words: &[Vec<u8>]) -> Result<Value, ScriptError> {
        let script = Script::new(body)?;
        let (keys, arguments) = keys_and_arguments(words);
        self.host.is_read_only = script.flags().is_some_and(|flags| flags.contains(Flags::NO_WRITES));
        self.engine.eval(&script, &keys, &arguments, &mut self.host)
    }

    fn load(&mut self, source: &[u8]) -> Result<Value, ScriptError> {
        self.host.ticks_max = Some(100);
        let library = self.libraries.load(&mut self.engine, source, true, &mut self.host);
        self.host.ticks_max = None;
        library.map(|library| Value::bulk(library.name()))
    }

    fn call(&mut self, name: &[u8], words: &[Vec<u8>]) -> Result<Value, ScriptError> {
        let (keys, arguments) = keys_and_arguments(words);
        let Some((library, function)) = self.libraries.function(name) else {
            return Ok(Value::Error(b"ERR Function not found".to_vec()));
        };
        self.host.is_read_only = function.flags.contains(Flags::NO_WRITES);
        self.engine.call(library, &function.name, &keys, &arguments, &mut self.host)
    }

    fn encode(&self, result: Result<Value, ScriptError>) -> String {
        let mut out = Vec::new();
        let value = result.unwrap_or_else(Value::from);
        value.encode(&mut Reply::new(&mut out, self.version));
        out.escape_ascii().to_string()
    }
}

fn keys_and_arguments(words: &[Vec<u8>]) -> (Vec<&[u8]>, Vec<&[u8]>) {
    let count: usize = words.first().map_or(0, |count| {
        std::str::from_utf8(count).ok().and_then(|count| count.parse().ok()).expect("a number of keys")
    });
    let words: Vec<&[u8]> = words.iter().skip(1).map(Vec::as_slice).collect();
    let (keys, arguments) = words.split_at(count);
    (keys.to_vec(), arguments.to_vec())
}

/// What a file asks for next.
#[derive(Default)]
struct Pending {
    script: Option<String>,
    library: Option<String>,
    call: Option<String>,
    words: String,
}

impl Pending {
    fn append(slot: &mut Option<String>, line: &str) {
        match slot {
            Some(text) => {
                text.push('\n');
                text.push_str(line);
            }
            None => *slot = Some(line.to_owned()),
        }
    }

    fn run(self, server: &mut Server) -> Option<String> {
        let words = split_words(self.words.as_bytes()).expect("balanced quotes");
        let result = if let Some(script) = self.script {
            server.eval(script.as_bytes(), &words)
        } else if let Some(library) = self.library {
            server.load(library.as_bytes())
        } else if let Some(call) = self.call {
            let words = split_words(call.as_bytes()).expect("balanced quotes");
            let (name, words) = words.split_first().expect("the name of a function");
            server.call(name, words)
        } else {
            return None;
        };
        Some(server.encode(result))
    }
}

/// The file with the replies that come now.
fn replay(text: &str) -> String {
    let mut server = Server::new();
    let mut pending = Pending::default();
    let mut out = String::new();
    for line in text.lines().chain([""]) {
        let (kind, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        if kind == "= " {
            continue;
        }
        let continues = match kind {
            "> " => pending.script.is_some() && pending.words.is_empty(),
            "| " => pending.library.is_some(),
            "@ " => pending.script.is_some(),
            _ => false,
        };
        if !continues && let Some(reply) = std::mem::take(&mut pending).run(&mut server) {
            out.push_str(&format!("= {reply}\n"));
        }
        match kind {
            "> " => Pending::append(&mut pending.script, rest),
            "| " => Pending::append(&mut pending.library, rest),
            "@ " => pending.words = rest.to_owned(),
            "$ " => pending.call = Some(rest.to_owned()),
            _ if line == "resp 3" => server.version = Version::Resp3,
            _ if line == "resp 2" => server.version = Version::Resp2,
            _ => assert!(line.is_empty() || line.starts_with('#'), "what is {line:?}?"),
        }
        out.push_str(line);
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of scripts")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

#[test]
fn scripts_give_the_replies_of_redis() {
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differences = Vec::new();
    for file in files() {
        let text = fs::read_to_string(&file).expect("a file of scripts");
        let now = replay(&text);
        if is_update {
            fs::write(&file, now).expect("the file can be written");
            continue;
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (number, (old, new)) in text.lines().zip(now.lines()).enumerate() {
            if old != new {
                differences.push(format!("{name}:{}\n  file {old}\n  now  {new}", number + 1));
            }
        }
        if text.lines().count() != now.lines().count() {
            differences.push(format!("{name}: replies are missing; run with UPDATE_GOLDEN=1"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

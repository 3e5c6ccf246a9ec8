//! Scripts that mean harm, or are merely wrong: each gets an error, and the engine serves the next script as if nothing had
//! happened.

use protocol::Value;
use scripting::{Engine, Host, Level, Libraries, Script, ScriptError, Settings, Tick};
use std::cell::Cell;

/// Memory that scripts may fill in these tests.
const MEMORY: usize = 32 << 20;
const KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";

/// A host that ends scripts after a number of questions, and answers every command alike.
struct Watch {
    left: Cell<u32>,
    logged: Vec<Vec<u8>>,
}

impl Watch {
    fn new(ticks: u32) -> Watch {
        Watch { left: Cell::new(ticks), logged: Vec::new() }
    }
}

impl Host for Watch {
    fn call(&mut self, words: &[&[u8]], _resp3: bool) -> Value {
        match words[0] {
            b"fail" => Value::Error(b"FAIL on\r\nline".to_vec()),
            b"echo" => Value::bulk(words[1]),
            _ => Value::Integer(words.len() as i64),
        }
    }

    fn acl_check(&mut self, _words: &[&[u8]]) -> Option<bool> {
        Some(true)
    }

    fn log(&mut self, _level: Level, text: &[u8]) {
        self.logged.push(text.to_vec());
    }

    fn tick(&mut self) -> Tick {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        if left == 0 { Tick::Kill } else { Tick::Continue }
    }
}

struct Fixture {
    engine: Engine,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { engine: Engine::new(Settings { memory_bytes_max: MEMORY, ..Settings::default() }) }
    }

    fn eval(&mut self, body: &str) -> Result<Value, ScriptError> {
        self.eval_for(body, 3)
    }

    /// Runs a script that is killed after as many questions.
    fn eval_for(&mut self, body: &str, ticks: u32) -> Result<Value, ScriptError> {
        let script = Script::new(body.as_bytes())?;
        self.engine.eval(&script, &[], &[], &mut Watch::new(ticks))
    }

    /// Runs a script that must fail with a text that begins so, then one that must not.
    fn check_fails(&mut self, body: &str, begins: &str) {
        let got = self.eval(body);
        let text = got.as_ref().map_or_else(ToString::to_string, |value| format!("{value:?}"));
        assert!(got.is_err() && text.starts_with(begins), "{body}\n  wanted {begins}\n  got    {text}");
        self.check_well(body);
    }

    fn check_gives(&mut self, body: &str, expect: Value) {
        assert_eq!(self.eval(body).map_err(|error| error.to_string()), Ok(expect), "{body}");
        self.check_well(body);
    }

    /// The engine works, and nothing in it has been changed.
    fn check_well(&mut self, after: &str) {
        let probe = "
            assert(#KEYS == 0 and rawget(_G, 'foo_was_here') == nil)
            assert(string.len('abc') == 3 and ('abc'):upper() == 'ABC')
            assert(getmetatable('').__index == string and type(getmetatable(_G).__index) == 'function')
            assert(pcall(function() return nonexistent end) == false)
            local count = 0
            for name in pairs(_G) do count = count + 1 end
            local parts = {} for i = 1, 1000 do parts[i] = 'x' end
            assert(#table.concat(parts) == 1000)
            assert(redis.call('echo', cjson.encode({1, 2})) == '[1,2]')
            return count";
        let got = self.eval_for(probe, 1_000).map_err(|error| error.to_string());
        assert_eq!(got, Ok(Value::Integer(GLOBALS)), "after {after}");
    }
}

/// Globals of a script, `KEYS` and `ARGV` among them.
const GLOBALS: i64 = 35;

#[test]
fn endless_scripts_are_killed_whatever_they_catch() {
    let mut fixture = Fixture::new();
    for body in [
        "while true do end",
        "repeat local x = {} until false",
        "local function f() return f() end return f()",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "xpcall(function() while true do end end, function(e) return e end) while true do end",
        "local co = coroutine.wrap(function() while true do end end) while true do pcall(co) end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "while true do local co = coroutine.create(function() while true do coroutine.yield() end end) \
         for i = 1, 1e6 do coroutine.resume(co) end end",
        "return ('x'):gsub('x', function() while true do end end)",
        "while true do pcall(string.gsub, 'x', 'x', function() while true do end end) end",
        "return load(function() while true do end end)",
        "return setmetatable({}, {__index = function() while true do end end}).x",
        "error(setmetatable({}, {__index = function() while true do end end}))",
        "return tostring(setmetatable({}, {__tostring = function() while true do end end}))",
        "return ('x'):gsub('x', setmetatable({}, {__index = function() while true do end end}))",
        "table.sort({3, 2, 1}, function() while true do end end)",
        "while true do redis.call('ping') end",
        "while true do redis.pcall('fail') end",
        "for i = 1, 1e300 do end",
        // Nothing of Lua's own runs in these.
        "return (('a'):rep(30)):find(('a?'):rep(30) .. ('a'):rep(31))",
        "while true do pcall(string.find, ('a'):rep(5000), ('.-'):rep(20) .. 'b') end",
        "return (('a'):rep(5000)):match(('.*'):rep(8) .. 'b')",
        "for _ in (('a'):rep(5000)):gmatch(('.-'):rep(9) .. 'b') do end",
        "local t = {} t[1e9] = 1 cjson.encode_sparse_array(false, 0) return cjson.encode(t)",
    ] {
        let got = fixture.eval(body);
        let text = got.as_ref().map_or_else(ToString::to_string, |value| format!("{value:?}"));
        assert!(text.starts_with(KILLED), "{body}\n  got {text}");
        assert!(got.is_err_and(|error| error.is_kill()), "{body}");
        fixture.check_well(body);
    }
}

#[test]
fn a_kill_names_the_line() {
    let got = Fixture::new().eval("local i = 0\nwhile true do\n  i = i + 1 end");
    let text = got.expect_err("killed").to_string();
    assert!(text.contains(" script: ") && text.ends_with(", on @user_script:3."), "{text}");
}

#[test]
fn memory_has_an_end() {
    let mut fixture = Fixture::new();
    let out = "ERR Error running script ";
    for body in [
        "return ('x'):rep(1e10)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
        "local t = {} for i = 1, 1e8 do t[i] = 'xxxxxxxxxx' end return table.concat(t)",
        "return (('x'):rep(1e7)):gsub('x', ('y'):rep(1e5))",
        "local s = ('x'):rep(1e7) return table.concat({s, s, s, s, s, s, s, s})",
        "return string.format('%s%s%s%s', ('x'):rep(1e7), ('x'):rep(1e7), ('x'):rep(1e7), ('x'):rep(1e7))",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 1000 do t[i] = s end return cjson.encode(t)",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 1000 do t[i] = s end return cmsgpack.pack(t)",
        "return cjson.decode('[' .. ('[],'):rep(3e6) .. '1]')",
        "return cmsgpack.unpack('\\221\\0\\255\\255\\255' .. ('\\144'):rep(3e6))",
        "return struct.pack('i32c0i32c0', 1, ('x'):rep(3e7), 1, ('x'):rep(3e7))",
        "local f = loadstring('return {' .. ('1,'):rep(8e6) .. '}') return f()",
        "local t = {} t[1e9] = 1 cjson.encode_sparse_array(false, 0) return cjson.encode({t})",
    ] {
        let got = fixture.eval_for(body, 1_000_000);
        let text = got
            .map_or_else(|error| error.to_string(), |value| format!("{value:?}").chars().take(80).collect());
        let is_out = text.contains("not enough memory");
        assert!(is_out && (text.starts_with(out) || text.starts_with("ERR ")), "{body}\n  got {text}");
        fixture.check_well(body);
    }
}

#[test]
fn running_out_of_memory_can_be_caught_and_gone_on_from() {
    let mut fixture = Fixture::new();
    for body in [
        "local ok, err = pcall(string.rep, 'x', 1e10) return err",
        "local ok, err = pcall(function() local s = 'x' while true do s = s .. s end end) return err",
        "local ok, err = pcall(function() local t = {} while true do t[#t + 1] = {} end end) return err",
        "local co = coroutine.create(function() local s = 'x' while true do s = s .. s end end) \
         local ok, err = coroutine.resume(co) return err",
    ] {
        assert_eq!(fixture.eval_for(body, 1_000_000), Ok(Value::bulk("not enough memory")), "{body}");
        fixture.check_well(body);
    }
    // Garbage alone never runs out.
    let body = "for i = 1, 3e5 do local s = ('x'):rep(1000) .. i end return 1";
    assert_eq!(fixture.eval_for(body, 1_000_000), Ok(Value::Integer(1)));
}

#[test]
fn depth_has_an_end() {
    let mut fixture = Fixture::new();
    fixture.check_fails(
        "local function f(n) return 1 + f(n + 1) end return f(1)",
        "ERR user_script:1: stack overflow",
    );
    fixture.check_gives("local function f() return pcall(f) end f() return 1", Value::Integer(1));
    fixture.check_gives(
        "local function f() return xpcall(f, function(e) return e end) end f() return 1",
        Value::Integer(1),
    );
    fixture.check_gives(
        "local function f() return ('x'):gsub('x', f) end return (tostring(select(2, pcall(f))):find('stack overflow') ~= nil)",
        Value::Integer(1),
    );
    fixture.check_gives(
        "local function f() return coroutine.wrap(f)() end return (select(2, pcall(f)):find('C stack overflow') ~= nil)",
        Value::Integer(1),
    );
    fixture.check_gives("local function f() return load(f) end pcall(f) return 1", Value::Integer(1));
    fixture.check_gives(
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end \
         return (select(2, pcall(function() return t.x end)):find('stack overflow') ~= nil)",
        Value::Integer(1),
    );
    fixture.check_fails(
        "return (('a'):rep(1000)):find(('a?'):rep(1000))",
        "ERR user_script:1: pattern too complex",
    );
    fixture.check_fails("return ('a'):find(('('):rep(40))", "ERR user_script:1: too many captures");
    fixture.check_gives("return #(('('):rep(1e5)):match('.*')", Value::Integer(100_000));
    fixture.check_fails(
        "return cjson.decode(('['):rep(1e6))",
        "ERR user_script:1: Found too many nested data structures (1001) at character 1001",
    );
    fixture.check_fails(
        "cjson.decode_max_depth(1e9) return cjson.decode(('['):rep(1e6))",
        "ERR user_script:1: Found too many nested data structures (1001) at character 1001",
    );
    fixture.check_fails(
        "cjson.encode_max_depth(1e9) local t = {} t[1] = t return cjson.encode(t)",
        "ERR user_script:1: Cannot serialise, excessive nesting (1001)",
    );
    fixture.check_fails(
        "return cmsgpack.unpack(('\\145'):rep(1e6))",
        "ERR user_script:1: stack overflow (too many return values",
    );
    fixture.check_gives("local t = {} t[1] = t return #cmsgpack.pack(t)", Value::Integer(17));
    fixture
        .check_fails("return loadstring(('('):rep(1e5))()", "ERR user_script:1: attempt to call a nil value");
    fixture.check_fails("return unpack({}, 1, 1e7)", "ERR user_script:1: too many results to unpack");
    let nested = fixture.eval("local t = {} t[1] = t return t").expect("a reply with an error inside");
    assert!(format!("{nested:?}").contains("Error("), "{nested:?}");
}

#[test]
fn many_arguments_and_many_errors() {
    let mut fixture = Fixture::new();
    fixture.check_gives(
        "local t = {} for i = 1, 7800 do t[i] = 'word' end return redis.call('count', unpack(t))",
        Value::Integer(7_801),
    );
    // Errors and iterators leave nothing behind that the collector does not see.
    for body in [
        "for i = 1, 20000 do pcall(redis.call, 'fail') end return 1",
        "for i = 1, 20000 do pcall(string.gsub, 'x', 'x', function() error({}) end) end return 1",
        "for i = 1, 20000 do ('a b'):gmatch('%a')() end return 1",
        "for i = 1, 20000 do coroutine.resume(coroutine.create(function() redis.call('fail') end)) end return 1",
        "local t = {} for i = 1, 20000 do t[i] = ('a b'):gmatch('%a') end return 1",
        "for i = 1, 20000 do pcall(load, function() error({}) end) end return 1",
        "for i = 1, 200 do cjson.new() end return 1",
    ] {
        assert_eq!(fixture.eval_for(body, 1_000_000), Ok(Value::Integer(1)), "{body}");
        fixture.check_well(body);
    }
}

#[test]
fn nothing_can_be_changed() {
    let mut fixture = Fixture::new();
    let read_only = "ERR user_script:1: Attempt to modify a readonly table";
    for body in [
        "foo_was_here = 1",
        "_G.foo_was_here = 1",
        "_G._G = {}",
        "redis = nil",
        "redis.call = nil",
        "string.upper = function() return 'x' end",
        "math.random = nil",
        "table.concat = nil",
        "cjson.null = 1",
        "cmsgpack.pack = 1",
        "struct.pack = 1",
        "bit.band = 1",
        "coroutine.wrap = 1",
        "getmetatable('').__index = {}",
        "getmetatable('').foo = 1",
        "getmetatable(_G).__index = nil",
        "getmetatable(_G).__newindex = function() end",
        "loadstring('foo_was_here = 1')() return",
        "KEYS = {}",
    ] {
        let got = fixture.eval(body).expect_err(body).to_string();
        assert!(got.contains("Attempt to modify a readonly table"), "{body}: {got}");
        fixture.check_well(body);
    }
    for body in [
        "rawset(_G, 'foo_was_here', 1)",
        "rawset(string, 'upper', 1)",
        "rawset(getmetatable(''), '__index', {})",
        "setmetatable(_G, {})",
        "setmetatable(string, nil)",
        "setmetatable(getmetatable(_G), {__index = 1})",
        "table.insert(string, 1)",
        "table.insert(_G, 1, 1)",
    ] {
        fixture.check_fails(body, "ERR Attempt to modify a readonly table");
    }
    fixture.check_fails("string.upper = nil", read_only);
    // Through what iterators show.
    for body in [
        "local _, t = pairs(string) t.upper = nil",
        "local f, t = pairs(_G) t.redis = nil",
        "for k, v in pairs(_G) do if k == 'string' then v.upper = nil end end",
        "getmetatable(_G).__index(_G, 'x')",
    ] {
        assert!(fixture.eval(body).is_err(), "{body}");
        fixture.check_well(body);
    }
    fixture.check_gives(
        "return {getmetatable(string) == nil, getmetatable(redis) == nil, type(next(string))}",
        Value::Array(vec![Value::Integer(1), Value::Integer(1), Value::bulk("nil")]),
    );
    // Of what one script leaves behind the next sees nothing.
    fixture.check_gives(
        "KEYS[1] = 'x' ARGV.x = 1 collectgarbage('stop') collectgarbage('setpause', 1e9) return 1",
        Value::Integer(1),
    );
    fixture.check_gives(
        "return {#KEYS, ARGV.x or 0, collectgarbage('setpause')}",
        Value::Array(vec![Value::Integer(0), Value::Integer(0), Value::Integer(200)]),
    );
    fixture.check_gives("cjson.encode_max_depth(1) redis.setresp(3) return 1", Value::Integer(1));
    fixture.check_gives(
        "return {cjson.encode_max_depth(), true}",
        Value::Array(vec![Value::Integer(1_000), Value::Integer(1)]),
    );
}

#[test]
fn what_is_missing_is_missing() {
    let mut fixture = Fixture::new();
    for name in [
        "print", "dofile", "loadfile", "require", "module", "io", "os", "package", "debug", "getfenv",
        "setfenv", "newproxy",
    ] {
        let body = format!("return {name}");
        let expect =
            format!("ERR user_script:1: Script attempted to access nonexistent global variable '{name}'");
        fixture.check_fails(&body, &expect);
    }
}

#[test]
fn bytecode_is_never_loaded() {
    let mut fixture = Fixture::new();
    let refused = |text: &str| Value::bulk(format!("{text}:1: unexpected symbol near 'char(27)'"));
    fixture.check_gives(
        "return select(2, loadstring(string.dump(function() return 1 end), '=chunk'))",
        refused("chunk"),
    );
    fixture.check_gives(
        "local code, done = string.dump(function() return 1 end) \
         return select(2, load(function() if not done then done = true return code end end, '=chunk'))",
        refused("chunk"),
    );
    fixture.check_gives(
        "local code, at = string.dump(function() return 1 end), 0 \
         return select(2, load(function() at = at + 1 return code:sub(at, at) end, '=chunk'))",
        refused("chunk"),
    );
    let script = Script::new(&b"\x1bLuaQ\0\x01\x04\x08\x04\x08\0"[..]).expect("no first line to read");
    let got = fixture.engine.check(&script).expect_err("no bytecode").to_string();
    assert_eq!(
        got,
        "ERR Error compiling script (new function): user_script:1: unexpected symbol near 'char(27)'"
    );
}

#[test]
fn replies_stay_on_one_line() {
    let mut fixture = Fixture::new();
    for (body, expect) in [
        ("return redis.error_reply('A b\\r\\n+OK\\r\\nc')", "A b  +OK  c"),
        ("return {err = 'A b\\r\\n+OK'}", "A b  +OK"),
        ("return redis.pcall('fail')", "FAIL on  line"),
    ] {
        fixture.check_gives(body, Value::Error(expect.as_bytes().to_vec()));
    }
    fixture.check_gives("return redis.status_reply('A\\r\\n+OK')", Value::Simple(b"A  +OK".to_vec()));
    fixture.check_gives("return {big_number = '1\\r\\n2'}", Value::BigNumber(b"1  2".to_vec()));
    fixture.check_fails("error({err = 'A b\\r\\n+OK'})", "A b  +OK script: ");
    fixture.check_fails("error('a\\nb')", "ERR user_script:1: a b script: ");
    fixture.check_fails("redis.call('fail')", "FAIL on  line script: ");
}

#[test]
fn a_library_that_does_not_stop_loading_is_stopped() {
    let mut fixture = Fixture::new();
    let mut libraries = Libraries::new();
    for code in [
        "while true do end",
        "local s = redis.REDIS_VERSION while true do s = s .. s end",
        "redis.register_function('f', function() end) local function f() return 1 + f() end f()",
    ] {
        let source = format!("#!lua name=bad\n{code}");
        let got = libraries.load(&mut fixture.engine, source.as_bytes(), true, &mut Watch::new(3));
        let text = got.expect_err(code).to_string();
        let ends = ["FUNCTION LOAD timeout", "not enough memory", "stack overflow"];
        assert!(text.starts_with("ERR Error registering functions: ERR "), "{code}: {text}");
        assert!(ends.iter().any(|end| text.contains(end)), "{code}: {text}");
    }
    assert_eq!(libraries.counts(), (0, 0));
    let source = b"#!lua name=good\nredis.register_function('f', function(keys) return #keys end)";
    let library =
        libraries.load(&mut fixture.engine, source, true, &mut Watch::new(3)).expect("a good library");
    let got = fixture.engine.call(&library, b"f", &[b"a", b"b"], &[], &mut Watch::new(3));
    assert_eq!(got, Ok(Value::Integer(2)));
    fixture.check_well("libraries");
}

#[test]
fn functions_are_watched_like_scripts() {
    let mut fixture = Fixture::new();
    let mut libraries = Libraries::new();
    let source = b"#!lua name=lib\n\
        redis.register_function('spin', function() while true do end end)\n\
        local kept = {}\n\
        redis.register_function('keep', function() while true do kept[#kept + 1] = {} end end)\n\
        redis.register_function('fine', function() return 'fine' end)";
    let library = libraries.load(&mut fixture.engine, source, false, &mut Watch::new(3)).expect("a library");
    let mut call = |name: &[u8], ticks| fixture.engine.call(&library, name, &[], &[], &mut Watch::new(ticks));
    let killed = call(b"spin", 3).expect_err("killed");
    assert_eq!(killed.to_string(), format!("{KILLED} script: spin, on @user_function:2."));
    assert_eq!(call(b"fine", 3), Ok(Value::bulk("fine")));
    // What the library holds on to is let go of together with its interpreter.
    for _ in 0..3 {
        let out = call(b"keep", 1_000_000).expect_err("too much").to_string();
        assert_eq!(out, "ERR Error running script keep, not enough memory");
        assert_eq!(call(b"fine", 3), Ok(Value::bulk("fine")));
    }
}

//! Scripts with random content: patterns and numbers against Lua's own functions, packing against what comes back, bits
//! against those of this language.

use mlua::{Lua, Value as LuaValue};
use protocol::Value;
use scripting::{Engine, Host, Level, Script, Settings, Tick};
use stdx::Random;

/// A host that is never asked for anything but to go on.
struct Alone;

impl Host for Alone {
    fn call(&mut self, _words: &[&[u8]], _resp3: bool) -> Value {
        Value::Error(b"ERR no commands here".to_vec())
    }

    fn acl_check(&mut self, _words: &[&[u8]]) -> Option<bool> {
        None
    }

    fn log(&mut self, _level: Level, _text: &[u8]) {}

    fn tick(&mut self) -> Tick {
        Tick::Continue
    }
}

fn eval(engine: &mut Engine, body: &str) -> Value {
    let script = Script::new(body.as_bytes()).expect("no first line to read");
    engine.eval(&script, &[], &[], &mut Alone).unwrap_or_else(|error| panic!("{body}: {error}"))
}

/// Runs the same script in an engine and in plain Lua; both return a string.
fn check_as_lua(engine: &mut Engine, lua: &Lua, body: &str) {
    let expect = match lua.load(body).set_name("@user_script").call::<LuaValue>(()) {
        Ok(LuaValue::String(text)) => text.as_bytes().to_vec(),
        other => panic!("{body}: {other:?}"),
    };
    let got = eval(engine, body);
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(got.as_bytes().map(shown), Some(shown(&expect)), "{body}");
}

fn pick<'a>(random: &mut Random, choices: &[&'a str]) -> &'a str {
    choices[random.below(choices.len() as u64) as usize]
}

fn quoted(bytes: &[u8]) -> String {
    let inside: String = bytes.iter().map(|byte| format!("\\{byte:03}")).collect();
    format!("'{inside}'")
}

#[test]
fn patterns_match_as_in_lua() {
    const PARTS: &[&str] = &[
        "a", "b", ".", "%a", "%d", "%w", "%s", "[ab]", "[^a]", "[a-c%d]", "(", ")", "()", "%b()", "%f[%w]",
        "%1", "$", "^", "*", "+", "-", "?", "%", "%z", "[]", "[]a]", "x", "%%", "(a)", "(.-)", "%S", "%X",
        "%p", "[^%s]", "%u", "[%a-]",
    ];
    const CALLS: &[&str] = &[
        "s:find(p)",
        "s:find(p, 2)",
        "s:find(p, -3, true)",
        "s:match(p)",
        "s:gsub(p, '<%0>')",
        "s:gsub(p, '%1', 2)",
        "s:gsub(p, {a = 1, b = false})",
        "s:gsub(p, function(x, y) return y or x end)",
        "(s:gmatch(p)())",
    ];
    let mut random = Random::seeded(71);
    let mut engine = Engine::new(Settings::default());
    let lua = Lua::new();
    for _ in 0..3_000 {
        let pattern: String = (0..=random.below(5)).map(|_| pick(&mut random, PARTS)).collect();
        let source: Vec<u8> =
            (0..random.below(9)).map(|_| b"abc 12()xA%-\0"[random.below(13) as usize]).collect();
        let call = pick(&mut random, CALLS);
        let body = format!(
            "local s, p = {}, {}
             local function show(...)
               local t = {{}}
               for i = 1, select('#', ...) do t[i] = tostring((select(i, ...))) end
               return table.concat(t, '|')
             end
             return show(pcall(function() return {call} end))",
            quoted(&source),
            quoted(pattern.as_bytes()),
        );
        check_as_lua(&mut engine, &lua, &body);
    }
}

#[test]
fn numbers_are_written_as_in_lua() {
    let mut random = Random::seeded(72);
    let mut engine = Engine::new(Settings::default());
    let lua = Lua::new();
    let native = "local function write(n, p) return string.format('%.' .. p .. 'g', n) end ";
    let ours = "local function write(n, p) cjson.encode_number_precision(p) return cjson.encode(n) end ";
    for _ in 0..2_000 {
        let bits = random.next_u64();
        let number = match random.below(3) {
            0 => f64::from_bits(bits),
            1 => (bits as i64 >> random.below(64)) as f64,
            _ => (bits as i64 >> 20) as f64 / 10f64.powi(random.below(12) as i32),
        };
        if !number.is_finite() {
            continue;
        }
        let call = format!("return write({number:e}, {})", 1 + random.below(14));
        let expect = lua.load(format!("{native}{call}")).call::<String>(()).expect("a number");
        let got = eval(&mut engine, &format!("{ours}{call}"));
        assert_eq!(got, Value::bulk(expect), "{call}");
    }
}

/// A random value as Lua writes it, of what survives packing unchanged.
fn literal(random: &mut Random, depth: u64) -> String {
    match random.below(if depth > 3 { 5 } else { 7 }) {
        0 => pick(random, &["true", "false"]).to_owned(),
        1 => (random.next_u64() as i64 >> random.below(64)).clamp(-(1 << 53), 1 << 53).to_string(),
        2 => format!("{:e}", f64::from(random.next_u64() as i32) / 64.0),
        3 | 4 => {
            let mut bytes = vec![0; random.below(40) as usize];
            random.fill(&mut bytes);
            quoted(&bytes)
        }
        5 => {
            let values: Vec<String> = (0..random.below(20)).map(|_| literal(random, depth + 1)).collect();
            format!("{{{}}}", values.join(","))
        }
        // One key alone: the order of several is the table's.
        _ => format!("{{[{}]={}}}", quoted(b"key"), literal(random, depth + 1)),
    }
}

#[test]
fn packing_and_unpacking_give_the_same() {
    let mut random = Random::seeded(73);
    let mut engine = Engine::new(Settings::default());
    for _ in 0..1_000 {
        let value = literal(&mut random, 0);
        let body = format!(
            "local packed = cmsgpack.pack({value})
             local again = cmsgpack.pack(cmsgpack.unpack(packed))
             local encoded = cjson.encode({{{value}}})
             return {{packed == again, encoded == cjson.encode(cjson.decode(encoded))}}"
        );
        let both = Value::Array(vec![Value::Integer(1), Value::Integer(1)]);
        assert_eq!(eval(&mut engine, &body), both, "{value}");
    }
}

#[test]
fn bits_are_those_of_this_language() {
    let mut random = Random::seeded(74);
    let mut engine = Engine::new(Settings::default());
    for _ in 0..500 {
        let (a, b) = (random.next_u64() as u32, random.next_u64() as u32);
        let n = random.below(32) as u32;
        let body = format!(
            "return {{bit.band({a}, {b}), bit.bor({a}, {b}), bit.bxor({a}, {b}), bit.bnot({a}), bit.lshift({a}, {n}),
                      bit.rshift({a}, {n}), bit.arshift({a}, {n}), bit.rol({a}, {n}), bit.ror({a}, {n}), bit.bswap({a})}}"
        );
        let expect = [
            a & b,
            a | b,
            a ^ b,
            !a,
            a << n,
            a >> n,
            ((a as i32) >> n) as u32,
            a.rotate_left(n),
            a.rotate_right(n),
            a.swap_bytes(),
        ];
        let expect =
            Value::Array(expect.iter().map(|bits| Value::Integer(i64::from(*bits as i32))).collect());
        assert_eq!(eval(&mut engine, &body), expect, "{body}");
    }
}

#[test]
fn structs_come_back() {
    let mut random = Random::seeded(75);
    let mut engine = Engine::new(Settings::default());
    for _ in 0..500 {
        let order = pick(&mut random, &["<", ">", "<!4", ">!8", "!"]);
        let byte = random.next_u64() as i8;
        let short = random.next_u64() as u16;
        let word = random.next_u64() as i32;
        let long = (random.next_u64() >> 12) as i64;
        let body = format!(
            "local format = '{order}bHilc3sd'
             local a, b, c, d, e, f, g, at = struct.unpack(format, struct.pack(format, {byte}, {short}, {word}, {long}, 'abc', 'de', 0.5))
             return {{a, b, c, d, e, f, g == 0.5}}"
        );
        let expect = Value::Array(vec![
            Value::Integer(i64::from(byte)),
            Value::Integer(i64::from(short)),
            Value::Integer(i64::from(word)),
            Value::Integer(long),
            Value::bulk("abc"),
            Value::bulk("de"),
            Value::Integer(1),
        ]);
        assert_eq!(eval(&mut engine, &body), expect, "{body}");
    }
}

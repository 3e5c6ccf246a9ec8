//! `cjson.encode`.
//!
//! The encoder keeps its own stack of open tables, so that nesting takes no more of the thread's stack than a flat table.

use super::config::{Config, InvalidNumbers};
use crate::arguments::{Arguments, type_name};
use crate::limits::{JSON_DEPTH_MAX, TICK_STEPS};
use crate::number;
use crate::raise;
use crate::run;
use crate::session::session;
use mlua::{Error, Lua, MultiValue, Result, Table, Value};
use std::io::Write as _;

/// Whole numbers below this are written by their digits at the usual precision.
const WHOLE_MAX: i64 = 100_000_000_000_000;
const PRECISION_USUAL: i32 = 14;

pub(super) fn encode(lua: &Lua, values: MultiValue, config: Config) -> Result<Value> {
    let arguments = Arguments::new(lua, values);
    if arguments.len() != 1 {
        return Err(arguments.error(1, "expected 1 argument"));
    }
    let bytes_max = session(lua).memory_bytes_max;
    let mut encoder = Encoder { lua, config, out: Vec::new(), open: Vec::new(), bytes_max, steps: 0 };
    encoder.run(arguments.any(1)?)?;
    Ok(Value::String(lua.create_string(encoder.out)?))
}

/// A table of which something is still to be written.
enum Open {
    /// The index written last, and the highest.
    Array { table: Table, index: i64, length: i64 },
    /// The key written last; nil at first.
    Object { table: Table, key: Value },
}

struct Encoder<'a> {
    lua: &'a Lua,
    config: Config,
    out: Vec<u8>,
    open: Vec<Open>,
    bytes_max: usize,
    steps: u32,
}

impl Encoder<'_> {
    fn run(&mut self, value: &Value) -> Result<()> {
        self.begin(value)?;
        while let Some(open) = self.open.pop() {
            self.step()?;
            match open {
                Open::Array { index, length, .. } if index == length => self.out.push(b']'),
                Open::Array { table, index, length } => {
                    if index > 0 {
                        self.out.push(b',');
                    }
                    let value: Value = table.raw_get(index + 1)?;
                    self.open.push(Open::Array { table, index: index + 1, length });
                    self.begin(&value)?;
                }
                Open::Object { table, key } => {
                    let is_first = key.is_nil();
                    let (key, value) = run::next(self.lua, &table, key)?;
                    if key.is_nil() {
                        self.out.push(b'}');
                        continue;
                    }
                    if !is_first {
                        self.out.push(b',');
                    }
                    self.key(&key)?;
                    self.open.push(Open::Object { table, key });
                    self.begin(&value)?;
                }
            }
        }
        Ok(())
    }

    /// Writes a scalar, or opens a table.
    fn begin(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => self.number(value)?,
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Table(table) => return self.begin_table(table),
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend_from_slice(b"null"),
            other => return Err(self.refuse(other, "type not supported")),
        }
        Ok(())
    }

    fn begin_table(&mut self, table: &Table) -> Result<()> {
        let depth = self.open.len() + 1;
        if depth > (self.config.encode_max_depth as usize).min(JSON_DEPTH_MAX) {
            return Err(raise::error(self.lua, format!("Cannot serialise, excessive nesting ({depth})")));
        }
        let table = table.clone();
        match self.array_length(&table)? {
            Some(length) if length > 0 => {
                self.out.push(b'[');
                self.open.push(Open::Array { table, index: 0, length });
            }
            _ => {
                self.out.push(b'{');
                self.open.push(Open::Object { table, key: Value::Nil });
            }
        }
        Ok(())
    }

    /// Bounds memory, which is not Lua's here, and lets the host interrupt.
    fn step(&mut self) -> Result<()> {
        if self.out.len() > self.bytes_max {
            return Err(raise::out_of_memory());
        }
        self.steps += 1;
        if self.steps >= TICK_STEPS {
            self.steps = 0;
            run::pause(self.lua)?;
        }
        Ok(())
    }

    /// The highest index of a table all of whose keys are whole numbers from one on.
    fn array_length(&self, table: &Table) -> Result<Option<i64>> {
        // Most objects show what they are by their first key.
        let (first, _) = run::next(self.lua, table, Value::Nil)?;
        if array_index(&first).is_none() {
            return Ok(None);
        }
        let mut highest = 0i32;
        let mut items = 0i64;
        let mut is_array = true;
        table.for_each(|key: Value, _: bool| {
            match array_index(&key) {
                Some(index) if index > f64::from(highest) => highest = truncate_int(index),
                Some(_) => {}
                None => is_array = false,
            }
            items += 1;
            Ok(())
        })?;
        if !is_array {
            return Ok(None);
        }
        let Config { sparse_ratio, sparse_safe, sparse_convert, .. } = self.config;
        let is_sparse = sparse_ratio > 0
            && i64::from(highest) > items.saturating_mul(i64::from(sparse_ratio))
            && highest > sparse_safe;
        if is_sparse && !sparse_convert {
            return Err(raise::error(self.lua, "Cannot serialise table: excessively sparse array"));
        }
        Ok((!is_sparse).then_some(i64::from(highest)))
    }

    fn key(&mut self, key: &Value) -> Result<()> {
        match key {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                self.out.push(b'"');
                self.number(key)?;
                self.out.push(b'"');
            }
            other => return Err(self.refuse(other, "table key must be a number or string")),
        }
        self.out.push(b':');
        Ok(())
    }

    fn number(&mut self, value: &Value) -> Result<()> {
        let number = match value {
            Value::Integer(whole)
                if whole.abs() < WHOLE_MAX && self.config.number_precision == PRECISION_USUAL =>
            {
                write!(self.out, "{whole}").expect("a vector takes any bytes");
                return Ok(());
            }
            Value::Integer(whole) => *whole as f64,
            Value::Number(number) => *number,
            other => return Err(self.refuse(other, "type not supported")),
        };
        match self.config.encode_invalid_numbers {
            InvalidNumbers::Refused if !number.is_finite() => {
                return Err(self.refuse(value, "must not be NaN or Inf"));
            }
            InvalidNumbers::Null if !number.is_finite() => self.out.extend_from_slice(b"null"),
            InvalidNumbers::Written if number.is_nan() => self.out.extend_from_slice(b"nan"),
            _ => number::format_g(number, self.config.number_precision as usize, &mut self.out),
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.out.reserve(text.len() + 2);
        self.out.push(b'"');
        for byte in text {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..=0x1f | 0x7f => {
                    write!(self.out, "\\u{byte:04x}").expect("a vector takes any bytes");
                }
                byte => self.out.push(*byte),
            }
        }
        self.out.push(b'"');
    }

    fn refuse(&self, value: &Value, reason: &str) -> Error {
        raise::error(self.lua, format!("Cannot serialise {}: {reason}", type_name(value)))
    }
}

/// A key of an array: a whole number from one on.
fn array_index(key: &Value) -> Option<f64> {
    let index = match key {
        Value::Integer(index) => *index as f64,
        Value::Number(index) => *index,
        _ => return None,
    };
    (index >= 1.0 && index.floor() == index).then_some(index)
}

/// C's cast to an int as x86-64 carries it out: an index beyond the range becomes the smallest number, which makes an
/// object of its table.
fn truncate_int(value: f64) -> i32 {
    if value <= f64::from(i32::MAX) { value as i32 } else { i32::MIN }
}

//! `cmsgpack.pack`.

use crate::arguments::Arguments;
use crate::limits::PACK_DEPTH_MAX;
use crate::number;
use crate::raise;
use crate::session::session;
use mlua::{Lua, MultiValue, Result, Table, Value};

pub(super) fn pack(lua: &Lua, values: MultiValue) -> Result<Value> {
    let arguments = Arguments::new(lua, values);
    if arguments.len() == 0 {
        return Err(arguments.error(0, "MessagePack pack needs input."));
    }
    let bytes_max = session(lua).memory_bytes_max;
    let mut packer = Packer { out: Vec::new(), bytes_max };
    for value in arguments.into_values() {
        packer.value(&value, 0)?;
    }
    Ok(Value::String(lua.create_string(packer.out)?))
}

struct Packer {
    out: Vec<u8>,
    bytes_max: usize,
}

impl Packer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        if self.out.len() > self.bytes_max {
            return Err(raise::out_of_memory());
        }
        match value {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Boolean(value) => self.out.push(if *value { 0xc3 } else { 0xc2 }),
            Value::Integer(value) => self.integer(*value),
            Value::Number(value) => self.number(*value),
            Value::Table(table) if depth < PACK_DEPTH_MAX => return self.table(table, depth),
            _ => self.out.push(0xc0),
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<()> {
        let (is_array, length) = shape(table)?;
        if is_array {
            self.header(0x90, 0xdc, 0xdd, length);
            for index in 1..=length {
                let value: Value = table.raw_get(index)?;
                self.value(&value, depth + 1)?;
            }
            return Ok(());
        }
        self.header(0x80, 0xde, 0xdf, length);
        for pair in table.pairs() {
            let (key, value): (Value, Value) = pair?;
            self.value(&key, depth + 1)?;
            self.value(&value, depth + 1)?;
        }
        Ok(())
    }

    /// The head of an array or map: inside the byte, in two bytes, or in four.
    fn header(&mut self, fixed: u8, short: u8, long: u8, length: usize) {
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(length @ 0..=15), _) => self.out.push(fixed | length),
            (_, Ok(length)) => self.tagged(short, &length.to_be_bytes()),
            // A table of more than 2^32 elements does not fit the memory of an interpreter.
            _ => self.tagged(long, &(length as u32).to_be_bytes()),
        }
    }

    fn string(&mut self, text: &[u8]) {
        match (u8::try_from(text.len()), u16::try_from(text.len())) {
            (Ok(length @ 0..=31), _) => self.out.push(0xa0 | length),
            (Ok(length), _) => self.tagged(0xd9, &[length]),
            (_, Ok(length)) => self.tagged(0xda, &length.to_be_bytes()),
            _ => self.tagged(0xdb, &(text.len() as u32).to_be_bytes()),
        }
        self.out.extend_from_slice(text);
    }

    fn number(&mut self, value: f64) {
        let whole = number::truncate(value);
        if !value.is_infinite() && whole as f64 == value {
            return self.integer(whole);
        }
        let short = value as f32;
        if f64::from(short) == value {
            self.tagged(0xca, &short.to_be_bytes());
        } else {
            self.tagged(0xcb, &value.to_be_bytes());
        }
    }

    /// The shortest form that holds the number.
    fn integer(&mut self, value: i64) {
        match value {
            0..=0x7f => self.out.push(value as u8),
            0x80..=0xff => self.tagged(0xcc, &[value as u8]),
            0x100..=0xffff => self.tagged(0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.tagged(0xce, &(value as u32).to_be_bytes()),
            0x1_0000_0000.. => self.tagged(0xcf, &value.to_be_bytes()),
            -32..=-1 => self.out.push(value as u8),
            -128..=-33 => self.tagged(0xd0, &[value as u8]),
            -0x8000..=-129 => self.tagged(0xd1, &(value as i16).to_be_bytes()),
            -0x8000_0000..=-0x8001 => self.tagged(0xd2, &(value as i32).to_be_bytes()),
            _ => self.tagged(0xd3, &value.to_be_bytes()),
        }
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.out.extend_from_slice(bytes);
    }
}

/// Whether all keys of a table are the numbers from one to their count, and that count. An empty table is an array.
fn shape(table: &Table) -> Result<(bool, usize)> {
    let mut count = 0usize;
    let mut highest = 0usize;
    let mut is_array = true;
    table.for_each(|key: Value, _: Value| {
        count += 1;
        match key {
            Value::Integer(index) if index > 0 && index <= i64::from(i32::MAX) => {
                highest = highest.max(index as usize);
            }
            _ => is_array = false,
        }
        Ok(())
    })?;
    Ok((is_array && highest == count, count))
}

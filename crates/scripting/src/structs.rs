//! The library `struct`: numbers and strings packed into bytes, by Roberto Ierusalimschy's formats and with Redis's limits.

use crate::arguments::Arguments;
use crate::limits::{RESULTS_MAX, STRUCT_INTEGER_BYTES_MAX};
use crate::memory;
use crate::number;
use crate::raise;
use mlua::{Error, Lua, MultiValue, Result, Table, Value};

/// The alignment of `!` without a number: that of a double.
const ALIGNMENT_DEFAULT: usize = 8;
/// Padding and strings never make more than Lua could hold.
const SIZE_MAX: usize = i32::MAX as usize;

pub(crate) fn table(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", memory::callback(lua, pack)?)?;
    table.raw_set("unpack", memory::callback(lua, unpack)?)?;
    table.raw_set("size", memory::callback(lua, size)?)?;
    Ok(table)
}

/// One option of a format, with the padding that its alignment asks for already counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Item {
    Integer {
        size: usize,
        is_signed: bool,
    },
    Float,
    Double,
    Padding,
    /// `c<size>`; zero means the whole string, or the size read before.
    Chars {
        size: usize,
    },
    /// Up to a zero byte.
    Text,
    /// An option that only changes how the next ones are read.
    Control,
}

impl Item {
    fn size(self) -> usize {
        match self {
            Item::Integer { size, .. } | Item::Chars { size } => size,
            Item::Float => 4,
            Item::Double => 8,
            Item::Padding => 1,
            Item::Text | Item::Control => 0,
        }
    }
}

/// Reads a format option by option.
struct Format<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    is_little: bool,
    alignment: usize,
}

impl<'a> Format<'a> {
    fn new(lua: &'a Lua, text: &'a [u8]) -> Format<'a> {
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        let text = text.get(..end).unwrap_or_default();
        Format { lua, text, is_little: cfg!(target_endian = "little"), alignment: 1 }
    }

    /// The next item and the padding before it, at `position` of the data.
    fn next(&mut self, position: usize) -> Result<Option<(Item, usize)>> {
        let [option, rest @ ..] = self.text else { return Ok(None) };
        self.text = rest;
        let item = match option {
            b' ' => Item::Control,
            b'<' | b'>' => {
                self.is_little = *option == b'<';
                Item::Control
            }
            b'!' => {
                self.alignment = self.alignment_option()?;
                Item::Control
            }
            option => self.item(*option)?,
        };
        Ok(Some((item, self.padding(item, position))))
    }

    fn item(&mut self, option: u8) -> Result<Item> {
        let integer = |size, is_signed| Item::Integer { size, is_signed };
        Ok(match option {
            b'b' | b'B' => integer(1, option == b'b'),
            b'h' | b'H' => integer(2, option == b'h'),
            b'l' | b'L' => integer(8, option == b'l'),
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > STRUCT_INTEGER_BYTES_MAX {
                    let text =
                        format!("integral size {size} is larger than limit of {STRUCT_INTEGER_BYTES_MAX}");
                    return Err(raise::error(self.lua, text));
                }
                integer(size, option == b'i')
            }
            b'f' => Item::Float,
            b'd' => Item::Double,
            b'x' => Item::Padding,
            b'c' => Item::Chars { size: self.number(1)? },
            b's' => Item::Text,
            other => {
                let text = [&b"invalid format option '"[..], &[other], b"'"].concat();
                return Err(crate::arguments::error(self.lua, 1, &String::from_utf8_lossy(&text)));
            }
        })
    }

    fn alignment_option(&mut self) -> Result<usize> {
        let alignment = self.number(ALIGNMENT_DEFAULT)?;
        if !alignment.is_power_of_two() {
            return Err(raise::error(self.lua, format!("alignment {alignment} is not a power of 2")));
        }
        Ok(alignment)
    }

    /// The number behind an option.
    fn number(&mut self, default: usize) -> Result<usize> {
        if !self.text.first().is_some_and(u8::is_ascii_digit) {
            return Ok(default);
        }
        let mut value = 0usize;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.text {
            let digit = usize::from(digit - b'0');
            if value > SIZE_MAX / 10 || value * 10 > SIZE_MAX - digit {
                return Err(raise::error(self.lua, "integral size overflow"));
            }
            value = value * 10 + digit;
            self.text = rest;
        }
        Ok(value)
    }

    fn padding(&self, item: Item, position: usize) -> usize {
        let size = item.size().min(self.alignment);
        if size == 0 || matches!(item, Item::Chars { .. }) {
            return 0;
        }
        // Redis's own arithmetic, which for sizes that are no powers of two gives what it gives.
        size.wrapping_sub(position & (size - 1)) & (size - 1)
    }
}

fn pack(lua: &Lua, values: MultiValue) -> Result<Value> {
    let arguments = Arguments::new(lua, values);
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(lua, &text);
    let mut out = Vec::new();
    let mut position = 2;
    while let Some((item, padding)) = format.next(out.len())? {
        out.resize(out.len() + padding, 0);
        match item {
            Item::Control => {}
            Item::Padding => out.push(0),
            Item::Integer { size, .. } => {
                let bits = integer_bits(number_at(&arguments, position)?);
                put(&mut out, &bits.to_le_bytes(), size, format.is_little);
            }
            Item::Float => {
                put(&mut out, &(number_at(&arguments, position)? as f32).to_le_bytes(), 4, format.is_little);
            }
            Item::Double => {
                put(&mut out, &number_at(&arguments, position)?.to_le_bytes(), 8, format.is_little);
            }
            Item::Chars { size } => {
                let value = string_at(&arguments, position)?;
                let size = if size == 0 { value.len() } else { size };
                let chars =
                    value.get(..size).ok_or_else(|| arguments.error(position + 1, "string too short"))?;
                out.extend_from_slice(chars);
            }
            Item::Text => {
                out.extend_from_slice(&string_at(&arguments, position)?);
                out.push(0);
            }
        }
        position += usize::from(!matches!(item, Item::Padding | Item::Control));
        if out.len() > crate::session::session(lua).memory_bytes_max {
            return Err(raise::out_of_memory());
        }
    }
    Ok(Value::String(lua.create_string(out)?))
}

/// Behind the arguments Redis keeps a nil of its own, so the first missing one counts as nil.
fn number_at(arguments: &Arguments<'_>, position: usize) -> Result<f64> {
    match arguments.get(position) {
        None if position == arguments.len() + 1 => Err(arguments.error(position, "number expected, got nil")),
        _ => arguments.number(position),
    }
}

fn string_at(arguments: &Arguments<'_>, position: usize) -> Result<Vec<u8>> {
    match arguments.get(position) {
        None if position == arguments.len() + 1 => Err(arguments.error(position, "string expected, got nil")),
        _ => Ok(arguments.string(position)?.as_bytes().to_vec()),
    }
}

/// Numbers below 2^63 as signed, others as unsigned.
fn integer_bits(value: f64) -> u64 {
    if value < i64::MAX as f64 { number::truncate(value) as u64 } else { unsigned(value) }
}

/// C's cast of a double of 2^63 and more to an unsigned integer as x86-64 carries it out.
fn unsigned(value: f64) -> u64 {
    (number::truncate(value - i64::MAX as f64) as u64) ^ (1 << 63)
}

fn put(out: &mut Vec<u8>, little: &[u8], size: usize, is_little: bool) {
    let byte = |place: usize| little.get(place).copied().unwrap_or(0);
    if is_little {
        out.extend((0..size).map(byte));
    } else {
        out.extend((0..size).rev().map(byte));
    }
}

fn unpack(lua: &Lua, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let text = arguments.string(1)?;
    let data = arguments.string(2)?;
    let (text, data) = (text.as_bytes(), data.as_bytes());
    let offset = arguments.optional_integer(3, 1)?;
    if offset == 0 {
        return Err(arguments.error(3, "offset must be 1 or greater"));
    }
    // A negative offset lies beyond any end.
    let mut position = usize::try_from(offset).map_or(usize::MAX - SIZE_MAX, |offset| offset - 1);
    let mut format = Format::new(lua, &text);
    let mut results = MultiValue::new();
    while let Some((item, padding)) = format.next(position)? {
        position = position.saturating_add(padding);
        let too_short = || arguments.error(2, "data string too short");
        let rest = data.get(position..).ok_or_else(too_short)?;
        let bytes = rest.get(..item.size()).ok_or_else(too_short)?;
        let mut taken = item.size();
        match item {
            Item::Padding | Item::Control => {}
            Item::Integer { is_signed, .. } => {
                results.push_back(Value::Number(get_integer(bytes, is_signed, format.is_little)));
            }
            Item::Float => {
                let bits = get_bits(bytes, format.is_little) as u32;
                results.push_back(Value::Number(f64::from(f32::from_bits(bits))));
            }
            Item::Double => {
                results.push_back(Value::Number(f64::from_bits(get_bits(bytes, format.is_little))));
            }
            Item::Chars { size: 0 } => {
                taken = counted_size(lua, &mut results)?;
                results.push_back(string(lua, rest.get(..taken).ok_or_else(too_short)?)?);
            }
            Item::Chars { .. } => results.push_back(string(lua, bytes)?),
            Item::Text => {
                let end =
                    memchr::memchr(0, rest).ok_or_else(|| raise::error(lua, "unfinished string in data"))?;
                results.push_back(string(lua, rest.get(..end).unwrap_or_default())?);
                taken = end + 1;
            }
        }
        position += taken;
        if results.len() > RESULTS_MAX {
            return Err(too_many_results(lua));
        }
    }
    results.push_back(Value::Number(position.wrapping_add(1) as f64));
    Ok(results)
}

fn too_many_results(lua: &Lua) -> Error {
    raise::error(lua, "stack overflow (too many results)")
}

/// The number read just before, which `c0` takes as its size.
fn counted_size(lua: &Lua, results: &mut MultiValue) -> Result<usize> {
    let size = results.pop_back().map(|value| lua.coerce_number(value)).transpose()?.flatten();
    match size {
        Some(size) => Ok(usize::try_from(number::truncate(size)).unwrap_or(usize::MAX)),
        None => Err(raise::error(lua, "format 'c0' needs a previous size")),
    }
}

fn get_bits(bytes: &[u8], is_little: bool) -> u64 {
    let shift = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
    // Of more than eight bytes the low eight count.
    if is_little {
        bytes.iter().take(8).rev().fold(0, shift)
    } else {
        bytes.iter().skip(bytes.len().saturating_sub(8)).fold(0, shift)
    }
}

fn get_integer(bytes: &[u8], is_signed: bool, is_little: bool) -> f64 {
    let bits = get_bits(bytes, is_little);
    if !is_signed {
        return bits as f64;
    }
    let unused = 64 - 8 * bytes.len().min(8) as u32;
    if unused == 64 { 0.0 } else { ((bits << unused) as i64 >> unused) as f64 }
}

fn size(lua: &Lua, values: MultiValue) -> Result<f64> {
    let arguments = Arguments::new(lua, values);
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(lua, &text);
    let mut position = 0usize;
    while let Some((item, padding)) = format.next(position)? {
        match item {
            Item::Text => return Err(arguments.error(1, "option 's' has no fixed size")),
            Item::Chars { size: 0 } => return Err(arguments.error(1, "option 'c0' has no fixed size")),
            item => position = position.saturating_add(padding).saturating_add(item.size()),
        }
    }
    Ok(position as f64)
}

fn string(lua: &Lua, bytes: &[u8]) -> Result<Value> {
    Ok(Value::String(lua.create_string(bytes)?))
}

//! `cjson.decode`.
//!
//! The parser keeps its own stack of open tables, so that nesting takes no more of the thread's stack than a flat text.

use super::config::Config;
use crate::arguments::Arguments;
use crate::limits::JSON_DEPTH_MAX;
use crate::memory;
use crate::number;
use crate::raise;
use mlua::{BString, Error, Lua, MultiValue, Result, Table, Value};

pub(super) fn decode(lua: &Lua, values: MultiValue, config: Config) -> Result<Value> {
    let arguments = Arguments::new(lua, values);
    if arguments.len() != 1 {
        return Err(arguments.error(1, "expected 1 argument"));
    }
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    if matches!(&*text, [0, _, ..] | [_, 0, ..]) {
        return Err(raise::error(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    Decoder { lua, config, text: &text, at: 0, open: Vec::new() }.run()
}

enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    /// What error texts call it.
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(reason) => reason,
        }
    }
}

/// A table whose end has not come yet.
enum Open {
    Array { table: Table, length: usize },
    Object { table: Table, key: Vec<u8> },
}

/// What comes next.
enum Next {
    /// A value that begins with this token.
    Value(Token, usize),
    /// A value is complete.
    Complete(Value),
}

struct Decoder<'a> {
    lua: &'a Lua,
    config: Config,
    text: &'a [u8],
    at: usize,
    open: Vec<Open>,
}

impl Decoder<'_> {
    fn run(mut self) -> Result<Value> {
        let mut next = self.next_value();
        loop {
            next = match next {
                Next::Value(token, index) => self.begin(token, index)?,
                Next::Complete(value) => match self.open.pop() {
                    Some(Open::Array { table, length }) => {
                        table.raw_seti(length + 1, value)?;
                        self.continue_array(table, length + 1)?
                    }
                    Some(Open::Object { table, key }) => {
                        table.raw_set(BString::from(key), value)?;
                        self.continue_object(table)?
                    }
                    None => return self.end(value),
                },
            };
        }
    }

    fn next_value(&mut self) -> Next {
        let (token, index) = self.token();
        Next::Value(token, index)
    }

    fn begin(&mut self, token: Token, index: usize) -> Result<Next> {
        memory::check(self.lua)?;
        Ok(Next::Complete(match token {
            Token::String(text) => Value::String(self.lua.create_string(text)?),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(value) => Value::Boolean(value),
            Token::Null => Value::NULL,
            Token::ObjectBegin => return self.begin_object(),
            Token::ArrayBegin => return self.begin_array(),
            other => return Err(self.unexpected("value", &other, index)),
        }))
    }

    fn begin_array(&mut self) -> Result<Next> {
        self.check_depth()?;
        let table = self.lua.create_table()?;
        match self.token() {
            (Token::ArrayEnd, _) => Ok(Next::Complete(Value::Table(table))),
            (token, index) => {
                self.open.push(Open::Array { table, length: 0 });
                Ok(Next::Value(token, index))
            }
        }
    }

    fn begin_object(&mut self) -> Result<Next> {
        self.check_depth()?;
        let table = self.lua.create_table()?;
        match self.token() {
            (Token::ObjectEnd, _) => Ok(Next::Complete(Value::Table(table))),
            (token, index) => self.key(table, token, index),
        }
    }

    fn continue_array(&mut self, table: Table, length: usize) -> Result<Next> {
        match self.token() {
            (Token::ArrayEnd, _) => Ok(Next::Complete(Value::Table(table))),
            (Token::Comma, _) => {
                self.open.push(Open::Array { table, length });
                Ok(self.next_value())
            }
            (token, index) => Err(self.unexpected("comma or array end", &token, index)),
        }
    }

    fn continue_object(&mut self, table: Table) -> Result<Next> {
        match self.token() {
            (Token::ObjectEnd, _) => Ok(Next::Complete(Value::Table(table))),
            (Token::Comma, _) => {
                let (token, index) = self.token();
                self.key(table, token, index)
            }
            (token, index) => Err(self.unexpected("comma or object end", &token, index)),
        }
    }

    fn key(&mut self, table: Table, token: Token, index: usize) -> Result<Next> {
        let Token::String(key) = token else {
            return Err(self.unexpected("object key string", &token, index));
        };
        match self.token() {
            (Token::Colon, _) => {}
            (token, index) => return Err(self.unexpected("colon", &token, index)),
        }
        self.open.push(Open::Object { table, key });
        Ok(self.next_value())
    }

    fn check_depth(&self) -> Result<()> {
        let depth = self.open.len() + 1;
        if depth > (self.config.decode_max_depth as usize).min(JSON_DEPTH_MAX) {
            let text = format!("Found too many nested data structures ({depth}) at character {}", self.at);
            return Err(raise::error(self.lua, text));
        }
        Ok(())
    }

    fn end(&mut self, value: Value) -> Result<Value> {
        match self.token() {
            (Token::End, _) => Ok(value),
            (token, index) => Err(self.unexpected("the end", &token, index)),
        }
    }

    fn unexpected(&self, expected: &str, token: &Token, index: usize) -> Error {
        let text = format!("Expected {expected} but found {} at character {}", token.name(), index + 1);
        raise::error(self.lua, text)
    }

    /// The byte at a place; zero behind the end, as in a C string.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn starts_with(&self, word: &[u8]) -> bool {
        self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word))
    }

    /// The next token, and the place that error texts name for it.
    fn token(&mut self) -> (Token, usize) {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let index = self.at;
        let single = match self.byte(index) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return (Token::End, index),
            _ => {
                let token = self.long_token();
                // An error is named by where the parser stood when it met it.
                let index = if matches!(token, Token::Error(_)) { self.at } else { index };
                return (token, index);
            }
        };
        self.at += 1;
        (single, index)
    }

    fn long_token(&mut self) -> Token {
        match self.byte(self.at) {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.config.decode_invalid_numbers && self.is_invalid_number() {
                    return Token::Error("invalid number");
                }
                self.number()
            }
            b't' if self.starts_with(b"true") => self.word(4, Token::Boolean(true)),
            b'f' if self.starts_with(b"false") => self.word(5, Token::Boolean(false)),
            b'n' if self.starts_with(b"null") => self.word(4, Token::Null),
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+'
                if self.config.decode_invalid_numbers && self.is_invalid_number() =>
            {
                self.number()
            }
            _ => Token::Error("invalid token"),
        }
    }

    fn word(&mut self, length: usize, token: Token) -> Token {
        self.at += length;
        token
    }

    fn number(&mut self) -> Token {
        match number::parse_prefix(self.text.get(self.at..).unwrap_or_default()) {
            Some((number, length)) => self.word(length, Token::Number(number)),
            None => Token::Error("invalid number"),
        }
    }

    /// What C's `strtod` would read and JSON does not allow.
    fn is_invalid_number(&self) -> bool {
        if self.byte(self.at) == b'+' {
            return true;
        }
        let at = self.at + usize::from(self.byte(self.at) == b'-');
        match self.byte(at) {
            b'0' => matches!(self.byte(at + 1), b'x' | b'X' | b'0'..=b'9'),
            0..=b'9' => false,
            _ => {
                let word = self.text.get(at..at + 3).unwrap_or_default();
                word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
            }
        }
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.byte(self.at) {
                b'"' => {
                    self.at += 1;
                    return Token::String(text);
                }
                0 => return Token::Error("unexpected end of string"),
                b'\\' => {
                    if let Err(reason) = self.escape(&mut text) {
                        return Token::Error(reason);
                    }
                }
                byte => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> std::result::Result<(), &'static str> {
        text.push(match self.byte(self.at + 1) {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 0x0c,
            b'r' => b'\r',
            b'u' => {
                let (code_point, length) = self.unicode_escape().ok_or("invalid unicode escape code")?;
                push_utf8(code_point, text);
                self.at += length;
                return Ok(());
            }
            _ => return Err("invalid escape code"),
        });
        self.at += 2;
        Ok(())
    }

    /// The code point of `\uXXXX`, or of two that form a surrogate pair, and its length in the text.
    fn unicode_escape(&self) -> Option<(u32, usize)> {
        let unit = self.hex4(self.at + 2)?;
        if unit & 0xf800 != 0xd800 {
            return Some((unit, 6));
        }
        let is_pair = unit & 0x400 == 0 && self.byte(self.at + 6) == b'\\' && self.byte(self.at + 7) == b'u';
        let low = if is_pair { self.hex4(self.at + 8)? } else { return None };
        if low & 0xfc00 != 0xdc00 {
            return None;
        }
        Some((((unit & 0x3ff) << 10 | low & 0x3ff) + 0x1_0000, 12))
    }

    fn hex4(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4)?;
        digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
    }
}

fn push_utf8(code_point: u32, text: &mut Vec<u8>) {
    if let Some(character) = char::from_u32(code_point) {
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

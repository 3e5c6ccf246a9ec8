//! Who called, and from where: what Lua puts before the text of an error.
//!
//! Parts of the sandbox are written in Lua (the prelude). Their frames are passed over, so that an error names the
//! script's line and the name under which the script called.

use mlua::Lua;

/// The name of the prelude's chunk.
pub(crate) const PRELUDE_NAME: &str = "=(prelude)";

/// A line of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    /// The name of its chunk as given to the compiler: `@user_script`, or the text of a chunk itself.
    pub(crate) source: Vec<u8>,
    /// `None` for what Lua has no line for, such as the remains of a tail call.
    pub(crate) line: Option<usize>,
}

/// One frame of Lua's stack.
struct Frame {
    source: Vec<u8>,
    short: String,
    line: Option<usize>,
    is_native: bool,
}

impl Frame {
    fn at(lua: &Lua, level: usize) -> Option<Frame> {
        lua.inspect_stack(level, |debug| {
            let source = debug.source();
            Frame {
                source: source.source.as_deref().unwrap_or_default().as_bytes().to_vec(),
                short: source.short_src.as_deref().unwrap_or_default().to_owned(),
                line: debug.current_line(),
                is_native: source.what == "C",
            }
        })
    }

    fn is_prelude(&self) -> bool {
        self.source == PRELUDE_NAME.as_bytes()
    }
}

/// The first level from `level` on that is not the prelude's.
fn outside_prelude(lua: &Lua, mut level: usize) -> (usize, Option<Frame>) {
    loop {
        match Frame::at(lua, level) {
            Some(frame) if frame.is_prelude() => level += 1,
            frame => return (level, frame),
        }
    }
}

/// `luaL_where(L, 1)` in a callback: the line that called it as `user_script:1: `; empty if no line of Lua did.
pub(crate) fn caller(lua: &Lua) -> Vec<u8> {
    match outside_prelude(lua, 1) {
        (_, Some(Frame { short, line: Some(line), .. })) => format!("{short}:{line}: ").into_bytes(),
        _ => Vec::new(),
    }
}

/// The name by which the script called this callback, and whether it called it as a method.
pub(crate) fn called_as(lua: &Lua) -> (String, bool) {
    let (caller_level, _) = outside_prelude(lua, 1);
    let named = lua.inspect_stack(caller_level - 1, |debug| {
        let names = debug.names();
        (names.name.map(|name| name.into_owned()), names.name_what == Some("method"))
    });
    match named {
        Some((Some(name), is_method)) => (name, is_method),
        Some((None, is_method)) => ("?".to_owned(), is_method),
        None => ("?".to_owned(), false),
    }
}

/// Where an error was raised, seen from an error handler: the line that raised it, or that called the native function
/// which did (`__redis__err__handler` of Redis).
pub(crate) fn raised_at(lua: &Lua) -> Option<Position> {
    line_from(lua, 1)
}

/// The line that is running, seen from a hook or from a callback.
pub(crate) fn running_at(lua: &Lua) -> Option<Position> {
    line_from(lua, 0)
}

/// The line of the first frame from `level` on, or of its caller if it is native.
fn line_from(lua: &Lua, level: usize) -> Option<Position> {
    let (level, frame) = outside_prelude(lua, level);
    let frame = match frame {
        Some(frame) if frame.is_native => outside_prelude(lua, level + 1).1,
        frame => frame,
    };
    frame.map(|frame| Position { source: frame.source, line: frame.line })
}

//! Running a script under watch: the hook that counts instructions, the handler that notes why a run failed, and
//! functions of the script that callbacks run.

use crate::base;
use crate::bridge;
use crate::host::Tick;
use crate::limits::TICK_INSTRUCTIONS;
use crate::memory;
use crate::raise::{self, Caught, Raise};
use crate::session::{Failure, session};
use crate::stack;
use mlua::debug::Debug;
use mlua::{Error, Function, HookTriggers, IntoLuaMulti, Lua, MultiValue, Result, Table, Value, VmState};

/// Redis's words for both SCRIPT KILL and FUNCTION KILL.
const KILLED: &[u8] = b"ERR Script killed by user with SCRIPT KILL...";
const LOAD_TIMEOUT: &[u8] = b"ERR FUNCTION LOAD timeout";

/// Functions of Lua and of the prelude that the engine itself calls.
pub(crate) struct Natives {
    pub(crate) pcall: Function,
    pub(crate) xpcall: Function,
    next: Function,
    invoke: Function,
    index: Function,
}

/// `loadstring` as Lua has it.
struct Compiler(Function);

pub(crate) fn keep_natives(lua: &Lua, native: &Table, wrapped: &Table) -> Result<()> {
    lua.set_app_data(Natives {
        pcall: native.raw_get("pcall")?,
        xpcall: native.raw_get("xpcall")?,
        next: native.raw_get("next")?,
        invoke: wrapped.raw_get("invoke")?,
        index: wrapped.raw_get("index")?,
    });
    Ok(())
}

pub(crate) fn keep_compiler(lua: &Lua, compiler: Function) {
    lua.set_app_data(Compiler(compiler));
}

/// Compiles the text of a script: a function, or the compiler's words.
pub(crate) fn compile(lua: &Lua, code: &[u8], name: &str) -> Result<std::result::Result<Function, Vec<u8>>> {
    let compiler = lua.app_data_ref::<Compiler>().expect("every interpreter keeps its compiler");
    let results = base::compile_text(lua, &compiler.0, code.to_vec(), name.as_bytes())?;
    let mut results = results.into_iter();
    Ok(match (results.next(), results.next()) {
        (Some(Value::Function(function)), _) => Ok(function),
        (_, Some(error)) => Err(base::describe(&error)),
        _ => Err(b"no function".to_vec()),
    })
}

/// Makes the hook ask the host at intervals.
pub(crate) fn watch(lua: &Lua) -> Result<()> {
    lua.set_global_hook(HookTriggers::new().every_nth_instruction(TICK_INSTRUCTIONS), on_count)
}

/// The hook. Once the script is killed it ends every instruction of the thread that it meets, so that a script which
/// catches the error gets no further than that.
fn on_count(lua: &Lua, _: &Debug<'_>) -> Result<VmState> {
    if !session(lua).is_killed && bridge::tick(lua)? == Tick::Continue {
        collect_if_short(lua)?;
        return Ok(VmState::Continue);
    }
    Err(kill(lua)?)
}

/// Marks the script as killed and gives the error to end it with.
fn kill(lua: &Lua) -> Result<Error> {
    let position = stack::running_at(lua);
    let mut session = session(lua);
    if !session.is_killed {
        session.is_killed = true;
        let text = if session.loading.is_some() { LOAD_TIMEOUT } else { KILLED };
        session.failure = Some(Failure { text: text.to_vec(), position, is_counted: false });
    }
    drop(session);
    lua.set_global_hook(HookTriggers::new().every_nth_instruction(1), on_count)?;
    Ok(Error::external(Raise::Kill))
}

/// Asks the host from within a callback that takes long.
pub(crate) fn pause(lua: &Lua) -> Result<()> {
    if session(lua).is_killed || bridge::tick(lua)? == Tick::Kill {
        return Err(kill(lua)?);
    }
    Ok(())
}

/// Collects garbage when memory is nearly used up. Lua 5.1 does not do so when an allocation fails, and its collector
/// alone would let garbage double the memory in use.
fn collect_if_short(lua: &Lua) -> Result<()> {
    let used = lua.used_memory();
    let (limit, collected_at) = {
        let session = session(lua);
        (session.memory_bytes_max, session.collected_at_bytes)
    };
    if used > limit / 4 * 3 && used > collected_at.saturating_add(limit / 16) {
        lua.gc_collect()?;
        session(lua).collected_at_bytes = lua.used_memory();
    }
    Ok(())
}

/// The error handler around a whole run: notes the error and where it was raised.
pub(crate) fn note_failure(lua: &Lua, value: Value) -> Result<()> {
    let failure = failure(lua, value)?;
    let mut session = session(lua);
    // A script that is killed has its failure already, and reading the fields of an error may be what it was killed in.
    if !session.is_killed {
        session.failure = failure;
    }
    Ok(())
}

/// Seen from an error handler. `None` for a kill, which has been noted when it happened.
fn failure(lua: &Lua, value: Value) -> Result<Option<Failure>> {
    let here = stack::raised_at(lua);
    let (caught, elsewhere) = raise::look_into(lua, value)?;
    let position = elsewhere.or(here);
    Ok(match caught {
        Caught::Kill => None,
        Caught::Reply(reply) => Some(Failure { text: reply.text, position, is_counted: reply.is_counted }),
        Caught::Value(value) => {
            let (text, is_counted) = text_of(&value);
            Some(Failure { text, position, is_counted })
        }
    })
}

/// The text of an error that may be a table with a field `err`, and whether it has been counted.
pub(crate) fn text_of(value: &Value) -> (Vec<u8>, bool) {
    let Value::Table(table) = value else {
        return ([b"ERR ", base::describe(value).as_slice()].concat(), false);
    };
    // Fields may come from metamethods, which may fail; a field that cannot be had is not there.
    let text = match table.get("err") {
        Ok(text @ (Value::String(_) | Value::Integer(_) | Value::Number(_))) => base::describe(&text),
        _ => b"ERR unknown error".to_vec(),
    };
    (text, matches!(table.get("ignore_error_stats_update"), Ok(Value::Boolean(true))))
}

/// `__redis__err__handler`, which scripts can call: the table that Redis makes of an error.
pub(crate) fn describe_failure(lua: &Lua, value: Value) -> Result<Value> {
    let Some(failure) = failure(lua, value.clone())? else { return Ok(value) };
    let table = match value {
        Value::Table(table) => table,
        _ => {
            let table = lua.create_table()?;
            table.raw_set("err", lua.create_string(failure.text)?)?;
            table
        }
    };
    if let Some(position) = failure.position {
        table.set("source", lua.create_string(position.source)?)?;
        table.set("line", position.line.map_or(-1, |line| line as i64))?;
    }
    Ok(Value::Table(table))
}

/// The error handler around functions that callbacks run: notes the place and leaves the error as it is.
pub(crate) fn note_place(lua: &Lua, value: Value) -> Result<Value> {
    let place = stack::raised_at(lua);
    session(lua).raised_at = place;
    Ok(value)
}

/// Runs a function of the script; its error is raised again, with the place where it came from.
pub(crate) fn invoke(lua: &Lua, function: &Function, arguments: MultiValue) -> Result<Value> {
    let mut arguments = arguments;
    arguments.push_front(Value::Function(function.clone()));
    call_caught(lua, |natives| &natives.invoke, arguments)?.map_err(|error| raise_again(lua, error))
}

/// The same, with the error given as the script would see it.
pub(crate) fn try_invoke(
    lua: &Lua,
    function: &Function,
    arguments: MultiValue,
) -> Result<std::result::Result<Value, Value>> {
    let mut arguments = arguments;
    arguments.push_front(Value::Function(function.clone()));
    match call_caught(lua, |natives| &natives.invoke, arguments)? {
        Ok(value) => Ok(Ok(value)),
        Err(error) => Ok(Err(raise::translate(lua, error)?)),
    }
}

/// `container[key]`, metamethods included.
pub(crate) fn index(lua: &Lua, container: &Table, key: Value) -> Result<Value> {
    call_caught(lua, |natives| &natives.index, (container.clone(), key))?
        .map_err(|error| raise_again(lua, error))
}

/// The entry of a table behind a key, as Lua's `next`; nil at the end.
pub(crate) fn next(lua: &Lua, table: &Table, key: Value) -> Result<(Value, Value)> {
    let natives = lua.app_data_ref::<Natives>().expect("every interpreter keeps its natives");
    natives.next.call((table, key))
}

fn call_caught(
    lua: &Lua,
    which: impl FnOnce(&Natives) -> &Function,
    arguments: impl IntoLuaMulti,
) -> Result<std::result::Result<Value, Value>> {
    let natives = lua.app_data_ref::<Natives>().expect("every interpreter keeps its natives");
    let function = which(&natives);
    let (is_ok, value): (bool, Value) = memory::limited(lua, || function.call(arguments))?;
    Ok(if is_ok { Ok(value) } else { Err(value) })
}

fn raise_again(lua: &Lua, error: Value) -> Error {
    let place = session(lua).raised_at.take();
    raise::pass_on(error, place)
}

//! The way from a callback to the host, which lives only as long as one run.
//!
//! Callbacks of an interpreter are made once and must not borrow anything. So each run makes one function that borrows
//! the host and expires with the run ([`mlua::Lua::scope`]); callbacks leave their request in the session, call that
//! function without arguments, and find the answer in the session.

use crate::host::{Host, Tick};
use crate::raise::Reply;
use crate::session::{Answer, Bridge, Request, session};
use mlua::{Error, Lua, Result};
use protocol::Value;

/// Runs `body` while callbacks reach `host`.
pub(crate) fn with_host<R>(lua: &Lua, host: &mut dyn Host, body: impl FnOnce() -> Result<R>) -> Result<R> {
    lua.scope(|scope| {
        let bridge = scope.create_function_mut(|lua, ()| {
            serve(lua, host);
            Ok(())
        })?;
        lua.set_app_data(Bridge(Some(bridge)));
        let result = body();
        lua.set_app_data(Bridge(None));
        result
    })
}

/// Answers the session's request.
fn serve(lua: &Lua, host: &mut dyn Host) {
    let mut session = session(lua);
    let answer = match session.request {
        Request::Call => Answer::Reply(host.call(&session.words.slices(), session.is_resp3)),
        Request::AclCheck => Answer::Allowed(host.acl_check(&session.words.slices())),
        Request::Log(level) => {
            host.log(level, session.words.slices().first().copied().unwrap_or_default());
            Answer::Done
        }
        Request::Tick => Answer::Tick(host.tick()),
    };
    session.answer = answer;
}

/// Asks the host. An error if no script runs, which a function that was kept from a run can bring about.
pub(crate) fn ask(lua: &Lua, request: Request) -> Result<Answer> {
    session(lua).request = request;
    let bridge = lua.app_data_ref::<Bridge>();
    let Some(function) = bridge.as_ref().and_then(|bridge| bridge.0.as_ref()) else {
        return Err(Reply::new("redis.call/pcall can only be called inside a script invocation").raise());
    };
    function.call::<()>(())?;
    Ok(std::mem::replace(&mut session(lua).answer, Answer::Done))
}

/// Runs the command in the session's words.
pub(crate) fn call(lua: &Lua) -> Result<Value> {
    match ask(lua, Request::Call)? {
        Answer::Reply(reply) => Ok(reply),
        other => Err(mismatch(&other)),
    }
}

/// Asks whether the script may go on.
pub(crate) fn tick(lua: &Lua) -> Result<Tick> {
    match ask(lua, Request::Tick)? {
        Answer::Tick(tick) => Ok(tick),
        other => Err(mismatch(&other)),
    }
}

/// A mistake in this file rather than in a script.
fn mismatch(answer: &Answer) -> Error {
    Error::runtime(format!("the bridge to the host answered {answer:?}"))
}

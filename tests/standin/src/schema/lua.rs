//! What only Lua can say: whether one of its patterns matches, and whether a chunk of it parses.

use mlua::Lua;

thread_local! {
    static LUA: Lua = Lua::new();
}

/// `value:match(pattern)` found something. A pattern that Lua refuses matches nothing.
pub(crate) fn matches(value: &str, pattern: &str) -> bool {
    LUA.with(|lua| {
        let find: mlua::Function = lua.globals().get::<mlua::Table>("string")?.get("find")?;
        find.call::<Option<u64>>((value, pattern))
    })
    .is_ok_and(|start| start.is_some())
}

/// Why `source` is no Lua chunk, in LuaJIT's words; it is not run.
pub(crate) fn syntax_error(source: &str) -> Option<String> {
    LUA.with(|lua| {
        let name = format!(
            "=[string \"{}\"]",
            source.lines().next().unwrap_or_default()
        );
        lua.load(source).set_name(name).into_function().err()
    })
    .map(|error| match error {
        mlua::Error::SyntaxError { message, .. } => message,
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_lua_patterns() {
        assert!(matches("RS256", "^RS%d+$"));
        assert!(!matches("RS256", "^ES"));
        assert!(!matches("x", "%"));
    }

    #[test]
    fn a_chunk_that_does_not_parse_is_named_with_its_fault() {
        assert_eq!(syntax_error("return 1"), None);
        assert!(syntax_error("retrun 1 +").is_some_and(|error| error.contains("near")));
    }
}

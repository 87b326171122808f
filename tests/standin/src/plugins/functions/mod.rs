//! `pre-function` and `post-function`: Lua in Kong's default sandbox, on real LuaJIT, one state per worker.

mod lent;
mod ngx;
mod setters;
mod values;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use mlua::{Function, Lua, LuaString, Table};
use parking_lot::Mutex;

use super::config::PluginConfig;
use super::pdk::{Phase, Throw};
use crate::proxy::{Consumer, Exchange};

pub(crate) use values::{LuaArray, format_number, is_array, json_number};

/// The request that the Lua state of a worker serves at the moment.
type Current = Arc<Mutex<Option<Arc<Exchange>>>>;

/// The Lua state of one worker. Runs one chunk at a time, each to its end.
#[derive(Debug)]
pub(crate) struct LuaWorker {
    lua: Lua,
    load: Function,
    execute: Function,
    slots: Table,
    current: Current,
    /// By plugin id and phase.
    chunks: Mutex<HashMap<(String, &'static str), Chunks>>,
    running: Mutex<()>,
}

/// Compiled chunks, with the version of the configuration that they come from.
type Chunks = (u64, Vec<Table>);

/// What a body filter made of a piece of the body.
#[derive(Debug)]
pub(crate) struct Filtered {
    pub(crate) chunk: Bytes,
    /// Whether the filter wrote to `ngx.arg`.
    pub(crate) assigned: bool,
}

impl LuaWorker {
    /// A fresh state with the sandbox in it.
    pub(crate) fn new() -> mlua::Result<Self> {
        let lua = Lua::new();
        let current = Current::default();
        let lent = lent::table(&lua, &current)?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name("=sandbox");
        let (load, execute, slots) = sandbox.call(lent)?;
        Ok(Self {
            lua,
            load,
            execute,
            slots,
            current,
            chunks: Mutex::default(),
            running: Mutex::default(),
        })
    }

    /// The tables of one request: `kong.ctx.shared` and `ngx.ctx`.
    pub(crate) fn request_tables(&self) -> Result<(Table, Table), Throw> {
        let table = || {
            self.lua
                .create_table()
                .map_err(|error| Throw(error.to_string()))
        };
        Ok((table()?, table()?))
    }

    /// The state, to make values in.
    pub(crate) fn state(&self) -> &Lua {
        &self.lua
    }

    /// Puts the consumer where Kong keeps it, in `ngx.ctx`.
    pub(crate) fn set_consumer(
        &self,
        nginx_ctx: &Table,
        consumer: Option<&Consumer>,
    ) -> Result<(), Throw> {
        let set = || {
            let entity = consumer
                .map(|consumer| values::from_entity(&self.lua, &consumer.entity))
                .transpose()?;
            nginx_ctx.raw_set("authenticated_consumer", entity)
        };
        set().map_err(|error: mlua::Error| Throw(error.to_string()))
    }

    /// Runs the chunks of one phase in order, up to an exit.
    pub(crate) fn run(
        &self,
        exchange: &Arc<Exchange>,
        plugin: &PluginConfig,
        phase: Phase,
    ) -> Result<(), String> {
        let _running = self.running.lock();
        self.run_chunks(exchange, plugin, phase)
            .map_err(|error| error.to_string())
    }

    /// Runs the body filters of one plugin on a piece of the body.
    pub(crate) fn filter(
        &self,
        exchange: &Arc<Exchange>,
        plugin: &PluginConfig,
        chunk: &Bytes,
        last: bool,
    ) -> Result<Filtered, String> {
        let _running = self.running.lock();
        let filter = || -> mlua::Result<Filtered> {
            self.slots.raw_set(1, self.lua.create_string(chunk)?)?;
            self.slots.raw_set(2, last)?;
            self.slots.raw_set("assigned", false)?;
            self.run_chunks(exchange, plugin, Phase::BodyFilter)?;
            let assigned = self.slots.raw_get("assigned")?;
            let left: Option<LuaString> = self.slots.raw_get(1)?;
            let chunk = match left {
                Some(left) if assigned => Bytes::copy_from_slice(&left.as_bytes()),
                None if assigned => Bytes::new(),
                _ => chunk.clone(),
            };
            Ok(Filtered { chunk, assigned })
        };
        filter().map_err(|error| error.to_string())
    }

    fn run_chunks(
        &self,
        exchange: &Arc<Exchange>,
        plugin: &PluginConfig,
        phase: Phase,
    ) -> mlua::Result<()> {
        let chunks = self.chunks(exchange.compiled.version, plugin, phase)?;
        *self.current.lock() = Some(exchange.clone());
        let outcome = chunks.into_iter().try_fold(false, |exited, chunk| {
            if exited {
                Ok(true)
            } else {
                self.execute.call::<bool>(chunk)
            }
        });
        *self.current.lock() = None;
        outcome.map(|_| ())
    }

    /// The compiled chunks, which keep their upvalues until the configuration changes.
    fn chunks(
        &self,
        version: u64,
        plugin: &PluginConfig,
        phase: Phase,
    ) -> mlua::Result<Vec<Table>> {
        let key = (plugin.id.clone(), phase.name());
        let mut cache = self.chunks.lock();
        if let Some((of, chunks)) = cache.get(&key)
            && *of == version
        {
            return Ok(chunks.clone());
        }
        let load = |source: &str| {
            self.load
                .call::<Table>((source, format!("={} {}", plugin.name, phase.name())))
        };
        let chunks: Vec<Table> = plugin
            .functions(phase)
            .into_iter()
            .map(load)
            .collect::<mlua::Result<_>>()?;
        cache.insert(key, (version, chunks.clone()));
        Ok(chunks)
    }
}

//! The WebAssembly filters that a configuration may use: their names, and what their configurations may say. None runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What `kong.conf` says of WebAssembly, and what was found there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    /// `wasm`: whether there are filter chains at all.
    pub(crate) enabled: bool,
    /// By name.
    pub(crate) found: Vec<Filter>,
}

/// A module in `wasm_filters_path`.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    /// Its file's name without `.wasm`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// `config_schema` of the `.meta.json` beside it. Without one, a configuration is a text or nothing.
    pub(crate) config_schema: Option<Value>,
}

/// Why filters cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// `wasm_filters_path` cannot be read.
    #[error("wasm_filters_path '{}' is not a valid directory", path.display())]
    Directory {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What stands beside a module is no description of it.
    #[error("the metadata {} of filter '{name}' cannot be read", path.display())]
    Metadata {
        /// The filter.
        name: String,
        /// Its description.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A filter and a plugin share a name.
    #[error("duplicate plugin/wasm filter name: {0}")]
    Duplicate(String),
}

impl Filters {
    /// Looks for modules. Without `enabled` there are none.
    pub(crate) fn find(enabled: bool, directory: Option<&Path>) -> Result<Self, FilterError> {
        let mut found = Vec::new();
        if let Some(directory) = directory.filter(|_| enabled) {
            let failed = |source| FilterError::Directory {
                path: directory.to_owned(),
                source,
            };
            for entry in fs::read_dir(directory).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let is_module = path.extension().is_some_and(|ending| ending == "wasm");
                let name = path.file_stem().and_then(|stem| stem.to_str());
                if let (true, Some(name)) = (is_module, name) {
                    let name = name.to_owned();
                    found.push(Filter::read(name, path)?);
                }
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { enabled, found })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Filter> {
        self.found.iter().find(|filter| filter.name == name)
    }

    /// Why no chain can be had, in Kong's words.
    pub(crate) fn absence(&self) -> Option<&'static str> {
        match (self.enabled, self.found.is_empty()) {
            (false, _) => Some("wasm support is not enabled"),
            (true, true) => Some("no wasm filters are available"),
            (true, false) => None,
        }
    }
}

impl Filter {
    fn read(name: String, module: PathBuf) -> Result<Self, FilterError> {
        let path = module.with_extension("meta.json");
        let metadata = match fs::read(&path) {
            Ok(text) => serde_json::from_slice::<Value>(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Value::Null),
            Err(error) => Err(error),
        };
        match metadata {
            Ok(mut metadata) => Ok(Self {
                name,
                path: module,
                config_schema: metadata.get_mut("config_schema").map(Value::take),
            }),
            Err(source) => Err(FilterError::Metadata { name, path, source }),
        }
    }
}

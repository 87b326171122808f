//! Plugins: those built in, and those that a plugin server answers for.

mod dump;

pub use dump::{DumpError, PluginDump};

/// The bundled plugins that the stand-in has. A configuration with any other is refused: a real Kong has it.
pub const BUNDLED: [&str; 4] = [
    "key-auth",
    "post-function",
    "pre-function",
    "request-termination",
];

//! The Admin API: its entities, its schemas, its errors and a client. Knows no files.

pub(crate) mod client;
pub(crate) mod entities;
pub(crate) mod errors;
pub(crate) mod retry;
pub(crate) mod schema;
pub(crate) mod schema_cache;

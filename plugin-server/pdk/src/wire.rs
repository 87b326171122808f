//! The messages of Kong's protocol as `prost` types, generated from `proto/pluginsocket.proto`.
//!
//! This is the layer below [`call`](crate::call): a plugin meets these types only inside replies that are whole
//! entities, such as [`Route`]. Text is [`Bytes`](bytes::Bytes) throughout, since Kong does not promise UTF-8.

#![expect(
    missing_docs,
    reason = "generated; the fields are described in the .proto file"
)]

include!(concat!(env!("OUT_DIR"), "/kong_plugin_protocol.rs"));

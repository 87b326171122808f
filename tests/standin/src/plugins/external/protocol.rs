//! The messages of the plugin protocol, generated from the shared description.

#![expect(unreachable_pub, clippy::enum_variant_names, reason = "generated code")]

include!(concat!(env!("OUT_DIR"), "/kong_plugin_protocol.rs"));

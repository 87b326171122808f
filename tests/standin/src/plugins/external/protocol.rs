//! The messages of the plugin protocol, generated from the shared description.

#![expect(dead_code, unreachable_pub, reason = "generated, for both ends of the protocol")]

include!(concat!(env!("OUT_DIR"), "/kong_plugin_protocol.rs"));

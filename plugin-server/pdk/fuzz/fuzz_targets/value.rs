//! Any bytes that decode as a value keep their meaning when they are sent back.
#![no_main]

use kong_pdk::{Value, wire};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(decoded) = wire::Value::decode(bytes) else {
        return;
    };
    let value = Value::from(decoded);
    let again = Value::from(wire::Value::decode(&wire::Value::from(value.clone()).encode_to_vec()[..]).expect("our own encoding decodes"));
    // Compared as text: a number that is none does not equal itself.
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
});

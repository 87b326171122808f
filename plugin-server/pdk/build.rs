//! Compiles the protocol description into Rust types, without `protoc`.

use std::error::Error;

const PROTO: &str = "proto/pluginsocket.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    prost_build::Config::new()
        // Every field that Kong fills with bytes from a client is `bytes`; `Bytes` shares the read buffer.
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}

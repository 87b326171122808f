//! Compiles the description of the plugin protocol, the one thing shared with the plugin server, without `protoc`.

use std::error::Error;

const DIRECTORY: &str = "../../plugin-server/pdk/proto";
const FILE: &str = "pluginsocket.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={DIRECTORY}/{FILE}");
    let descriptors = protox::compile([FILE], [DIRECTORY])?;
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}

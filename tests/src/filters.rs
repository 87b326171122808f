//! WebAssembly filters for configurations to name: modules that do nothing, and the schema of one's configuration.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// The filters: one whose configuration is a text or nothing, one whose configuration has a schema.
const NAMES: [&str; 2] = ["guard", "headers"];
/// The second one's metadata.
const METADATA: &str = include_str!("../standin/tests/fixtures/headers.meta.json");

/// A module of Proxy-Wasm's ABI 0.2.1: it exports its memory and the five functions that a host needs, which return at once.
const MODULE: &[&[u8]] = &[
    b"\0asm\x01\0\0\0",
    // Types: () -> (), (i32, i32) -> i32, (i32, i32) -> (), (i32) -> i32.
    b"\x01\x14\x04\x60\0\0\x60\x02\x7f\x7f\x01\x7f\x60\x02\x7f\x7f\0\x60\x01\x7f\x01\x7f",
    // Five functions of these types, one page of memory.
    b"\x03\x06\x05\0\x01\x01\x02\x03\x05\x03\x01\0\x01",
    // Exports.
    b"\x07\x82\x01\x06",
    b"\x06memory\x02\0",
    b"\x17proxy_abi_version_0_2_1\0\0",
    b"\x11proxy_on_vm_start\0\x01",
    b"\x12proxy_on_configure\0\x02",
    b"\x17proxy_on_context_create\0\x03",
    b"\x18proxy_on_memory_allocate\0\x04",
    // Bodies: nothing, true, true, nothing, null.
    b"\x0a\x16\x05\x02\0\x0b\x04\0\x41\x01\x0b\x04\0\x41\x01\x0b\x02\0\x0b\x04\0\x41\0\x0b",
];

/// Writes them to a directory in `directory`, for `wasm_filters_path`.
pub fn write(directory: &Path) -> Result<PathBuf> {
    let directory = directory.join("filters");
    fs::create_dir_all(&directory)?;
    for name in NAMES {
        fs::write(directory.join(format!("{name}.wasm")), MODULE.concat())?;
    }
    let metadata = directory.join(format!("{}.meta.json", NAMES[1]));
    fs::write(metadata, METADATA)?;
    Ok(directory)
}

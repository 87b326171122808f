//! `#[derive(PluginConfig)]`: Kong's schema from a configuration type. See `kong_pdk::schema` for what it understands.
//!
//! # Layout
//!
//! `attributes` reads `#[kong(…)]`, `#[serde(…)]` and documentation; `record` writes the schema of a struct, `choice` that of
//! an enum of names.

mod attributes;
mod choice;
mod record;

use proc_macro::TokenStream;
use syn::{Data, DeriveInput, Error, parse_macro_input};

/// Derives `kong_pdk::schema::ConfigType`, and for a struct `kong_pdk::PluginConfig`.
#[proc_macro_derive(PluginConfig, attributes(kong))]
pub fn derive_plugin_config(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let output = match &input.data {
        Data::Struct(data) => record::expand(&input, data),
        Data::Enum(data) => choice::expand(&input, data),
        Data::Union(_) => Err(Error::new_spanned(
            &input.ident,
            "a union is no configuration",
        )),
    };
    output.unwrap_or_else(Error::into_compile_error).into()
}

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

#[cfg(test)]
mod tests {
    use syn::{Data, DeriveInput, parse_quote};

    use super::{choice, record};

    /// The error for a type that Kong would not take.
    fn refusal(input: &DeriveInput) -> String {
        let output = match &input.data {
            Data::Struct(data) => record::expand(input, data),
            Data::Enum(data) => choice::expand(input, data),
            Data::Union(_) => unreachable!("no test has a union"),
        };
        output.expect_err("the type is refused").to_string()
    }

    #[test]
    fn descriptions_have_the_length_that_kong_wants() {
        let short = refusal(&parse_quote! {
            struct Config {
                /// Short.
                field: String,
            }
        });
        assert_eq!(
            short,
            "Kong wants a description of 10 to 500 characters; this one has 6"
        );
        let long = "x".repeat(501);
        let long = refusal(&parse_quote! {
            struct Config {
                #[kong(description = #long)]
                field: String,
            }
        });
        assert!(long.ends_with("this one has 501"), "{long}");
    }

    #[test]
    fn attributes_that_kong_does_not_have_are_refused() {
        let colour = refusal(&parse_quote! {
            struct Config {
                #[kong(colour = "red")]
                field: String,
            }
        });
        assert!(colour.ends_with("`colour`"), "{colour}");
        let required = refusal(&parse_quote! {
            struct Config {
                #[kong(required)]
                field: String,
            }
        });
        assert!(required.contains("Option<T>"), "{required}");
        let check = refusal(&parse_quote! {
            #[kong(entity_check(some_of = ["field"]))]
            struct Config {
                field: String,
            }
        });
        assert!(check.contains("at_least_one_of"), "{check}");
        let deprecation = refusal(&parse_quote! {
            struct Config {
                #[kong(deprecation(message = "use the other"))]
                field: String,
            }
        });
        assert!(deprecation.contains("removal_in_version"), "{deprecation}");
    }

    #[test]
    fn types_that_kong_does_not_have_are_refused() {
        let sum = refusal(&parse_quote! {
            enum Choice {
                One(String),
            }
        });
        assert!(sum.contains("only names"), "{sum}");
        let tuple = refusal(&parse_quote! {
            struct Config(String);
        });
        assert!(tuple.contains("named fields"), "{tuple}");
        let generic = refusal(&parse_quote! {
            struct Config<T> {
                field: T,
            }
        });
        assert!(generic.contains("generics"), "{generic}");
    }

    #[test]
    fn names_follow_serde() {
        use choice::Case::{Camel, Kebab, ScreamingSnake, Snake};
        assert_eq!(Snake.of_variant("SlidingWindow"), "sliding_window");
        assert_eq!(Kebab.of_variant("SlidingWindow"), "sliding-window");
        assert_eq!(ScreamingSnake.of_field("limit_by"), "LIMIT_BY");
        assert_eq!(Camel.of_field("limit_by"), "limitBy");
    }
}

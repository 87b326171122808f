//! An enum of names: a string that is one of them.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Attribute, DataEnum, DeriveInput, Error, Fields, Result};

use crate::attributes;

pub(crate) fn expand(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let case = Case::of(&input.attrs, &input.ident)?;
    let mut names = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(
                variant,
                "an enum in a configuration has only names: Kong's schema has no sum of records",
            ));
        }
        let word = variant.ident.to_string();
        names.push(match attributes::serde_text(&variant.attrs, "rename")? {
            Some(name) => name,
            None => case
                .as_ref()
                .map_or_else(|| word.clone(), |case| case.of_variant(&word)),
        });
    }
    let name = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::kong_pdk::schema::ConfigType for #name {
            fn schema() -> ::kong_pdk::schema::Schema {
                ::kong_pdk::schema::Schema::one_of(&[#(#names),*])
            }
        }
    })
}

/// serde's `rename_all`.
#[derive(Clone, Copy)]
pub(crate) enum Case {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Case {
    pub(crate) fn of(attributes: &[Attribute], ident: &Ident) -> Result<Option<Self>> {
        let Some(name) = attributes::serde_text(attributes, "rename_all")? else {
            return Ok(None);
        };
        Ok(Some(match name.as_str() {
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "snake_case" => Self::Snake,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => {
                return Err(Error::new_spanned(
                    ident,
                    format!("unknown `rename_all`: {name}"),
                ));
            }
        }))
    }

    /// The name of a variant, written in Rust as `PascalCase`. A capital begins a word, as for serde.
    pub(crate) fn of_variant(self, variant: &str) -> String {
        match self {
            Self::Lower => variant.to_ascii_lowercase(),
            Self::Upper => variant.to_ascii_uppercase(),
            Self::Pascal => variant.to_owned(),
            Self::Camel => first(variant, char::to_ascii_lowercase),
            Self::Snake | Self::ScreamingSnake | Self::Kebab | Self::ScreamingKebab => {
                let mut snake = String::new();
                for (at, letter) in variant.char_indices() {
                    if at > 0 && letter.is_uppercase() {
                        snake.push('_');
                    }
                    snake.push(letter.to_ascii_lowercase());
                }
                self.of_snake(snake)
            }
        }
    }

    /// The name of a field, written in Rust as `snake_case`.
    pub(crate) fn of_field(self, field: &str) -> String {
        let pascal = || {
            field
                .split('_')
                .map(|word| first(word, char::to_ascii_uppercase))
                .collect::<String>()
        };
        match self {
            Self::Lower | Self::Snake => field.to_owned(),
            Self::Upper => field.to_ascii_uppercase(),
            Self::Pascal => pascal(),
            Self::Camel => first(&pascal(), char::to_ascii_lowercase),
            Self::ScreamingSnake | Self::Kebab | Self::ScreamingKebab => {
                self.of_snake(field.to_owned())
            }
        }
    }

    fn of_snake(self, snake: String) -> String {
        match self {
            Self::ScreamingSnake => snake.to_ascii_uppercase(),
            Self::Kebab => snake.replace('_', "-"),
            Self::ScreamingKebab => snake.to_ascii_uppercase().replace('_', "-"),
            _ => snake,
        }
    }
}

fn first(word: &str, change: impl Fn(&char) -> char) -> String {
    let mut letters = word.chars();
    letters.next().iter().map(change).chain(letters).collect()
}

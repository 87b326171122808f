//! Reading attributes.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, Expr, ExprLit, Lit, LitStr, Meta, Result, Token};

/// What Kong accepts as a description's length, in characters.
const DESCRIPTION_LENGTH: std::ops::RangeInclusive<usize> = 10..=500;

/// Attributes with a value: their name in Rust and in Kong is the same.
const VALUES: &[&str] = &[
    "default",
    "one_of",
    "not_one_of",
    "between",
    "gt",
    "eq",
    "ne",
    "len_eq",
    "len_min",
    "len_max",
    "match",
    "match_all",
    "match_any",
    "match_none",
    "starts_with",
    "contains",
    "err",
    "json_schema",
    "reference",
];

/// Attributes that are there or not.
const FLAGS: &[&str] = &[
    "is_regex",
    "uuid",
    "timestamp",
    "referenceable",
    "encrypted",
];

/// Attributes of what lies within a field.
const PARTS: &[&str] = &["elements", "keys", "values"];

/// Attributes of a struct.
const ENTITY_CHECKS: &[&str] = &[
    "at_least_one_of",
    "only_one_of",
    "distinct",
    "conditional",
    "conditional_at_least_one_of",
    "mutually_required",
    "mutually_exclusive",
];

/// What the attributes of a field add to its type's schema, as calls on the schema.
pub(crate) struct FieldAttributes {
    pub(crate) calls: Vec<TokenStream>,
}

/// Reads the `#[kong(…)]` attributes and the documentation of a field.
pub(crate) fn of_field(attributes: &[Attribute], span: Span) -> Result<FieldAttributes> {
    let mut calls = Vec::new();
    let mut description = None;
    for attribute in kong(attributes) {
        attribute.parse_nested_meta(|meta| {
            let name = name(&meta)?;
            match name.as_str() {
                "description" => description = Some(meta.value()?.parse::<LitStr>()?),
                "set" => calls.push(quote!(.with("type", "set"))),
                "foreign" => calls.push(quote!(.with("type", "foreign"))),
                "deprecation" => {
                    let deprecation = deprecation(&meta)?;
                    calls.push(quote!(.with("deprecation", #deprecation)));
                }
                part if PARTS.contains(&part) => meta.parse_nested_meta(|inner| {
                    let (attribute, value) = setting(&inner)?;
                    calls.push(quote!(.within(#part, #attribute, #value)));
                    Ok(())
                })?,
                "required" => {
                    return Err(meta.error(
                        "the type says it: `Option<T>` is not required, every other type is",
                    ));
                }
                _ => {
                    let (attribute, value) = setting(&meta)?;
                    calls.push(quote!(.with(#attribute, #value)));
                }
            }
            Ok(())
        })?;
    }
    let description = match description {
        Some(text) => Some((text.value(), text.span())),
        None => documentation(attributes).map(|text| (text, span)),
    };
    if let Some((text, span)) = description {
        let length = text.chars().count();
        if !DESCRIPTION_LENGTH.contains(&length) {
            let message =
                format!("Kong wants a description of 10 to 500 characters; this one has {length}");
            return Err(Error::new(span, message));
        }
        calls.push(quote!(.with("description", #text)));
    }
    Ok(FieldAttributes { calls })
}

/// Reads the entity checks of a struct, each as an expression of JSON.
pub(crate) fn entity_checks(attributes: &[Attribute]) -> Result<Vec<TokenStream>> {
    let mut checks = Vec::new();
    for attribute in kong(attributes) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("entity_check") {
                return Err(meta.error("a struct knows only `entity_check(…)`"));
            }
            meta.parse_nested_meta(|check| {
                let kind = name(&check)?;
                if !ENTITY_CHECKS.contains(&kind.as_str()) {
                    return Err(check.error(format!(
                        "no entity check of Kong; it knows {}",
                        ENTITY_CHECKS.join(", ")
                    )));
                }
                let value: Expr = check.value()?.parse()?;
                checks.push(quote!(::kong_pdk::__private::json!({ #kind: #value })));
                Ok(())
            })
        })?;
    }
    Ok(checks)
}

/// The name that serde gives to a field or variant, if an attribute says one.
pub(crate) fn serde_text(attributes: &[Attribute], key: &str) -> Result<Option<String>> {
    let mut found = None;
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"))
    {
        attribute.parse_nested_meta(|meta| {
            if meta.input.peek(Token![=]) {
                let value: Expr = meta.value()?.parse()?;
                if let (
                    true,
                    Expr::Lit(ExprLit {
                        lit: Lit::Str(text),
                        ..
                    }),
                ) = (meta.path.is_ident(key), value)
                {
                    found = Some(text.value());
                }
            } else if !meta.input.is_empty() && !meta.input.peek(Token![,]) {
                // Such as `rename(serialize = "…", deserialize = "…")`: reading is what counts.
                let is_key = meta.path.is_ident(key);
                meta.parse_nested_meta(|inner| {
                    let text: LitStr = inner.value()?.parse()?;
                    if is_key && inner.path.is_ident("deserialize") {
                        found = Some(text.value());
                    }
                    Ok(())
                })?;
            }
            Ok(())
        })?;
    }
    Ok(found)
}

fn kong(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("kong"))
}

fn name(meta: &ParseNestedMeta<'_>) -> Result<String> {
    match meta.path.get_ident() {
        Some(name) => Ok(name.to_string().trim_start_matches("r#").to_owned()),
        None => Err(meta.error("an attribute is one word")),
    }
}

/// An attribute with its value as an expression of JSON.
fn setting(meta: &ParseNestedMeta<'_>) -> Result<(String, TokenStream)> {
    let name = name(meta)?;
    if FLAGS.contains(&name.as_str()) {
        return Ok((name, quote!(true)));
    }
    if VALUES.contains(&name.as_str()) {
        let value: Expr = meta.value()?.parse()?;
        return Ok((name, quote!(::kong_pdk::__private::json!(#value))));
    }
    Err(meta.error(format!(
        "no attribute of Kong's schema that can be used from Rust: `{name}`"
    )))
}

fn deprecation(meta: &ParseNestedMeta<'_>) -> Result<TokenStream> {
    let mut entries = Vec::new();
    let mut found = Vec::new();
    meta.parse_nested_meta(|inner| {
        let key = name(&inner)?;
        if !["message", "removal_in_version", "old_default"].contains(&key.as_str()) {
            return Err(
                inner.error("a deprecation has `message`, `removal_in_version` and `old_default`")
            );
        }
        let value: Expr = inner.value()?.parse()?;
        entries.push(quote!(#key: #value));
        found.push(key);
        Ok(())
    })?;
    for needed in ["message", "removal_in_version"] {
        if !found.iter().any(|key| key == needed) {
            return Err(meta.error(format!("a deprecation needs `{needed}`")));
        }
    }
    Ok(quote!(::kong_pdk::__private::json!({ #(#entries),* })))
}

/// The first paragraph of the documentation, on one line.
fn documentation(attributes: &[Attribute]) -> Option<String> {
    let lines = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        });
    let paragraph: Vec<String> = lines
        .map(|line| line.trim().to_owned())
        .skip_while(String::is_empty)
        .take_while(|line| !line.is_empty())
        .collect();
    (!paragraph.is_empty()).then(|| paragraph.join(" "))
}

//! A struct: a record.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataStruct, DeriveInput, Error, Fields, Result};

use crate::attributes;
use crate::choice::Case;

pub(crate) fn expand(input: &DeriveInput, data: &DataStruct) -> Result<TokenStream> {
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(
            &input.ident,
            "a configuration has named fields",
        ));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a configuration has no generics",
        ));
    }
    let case = Case::of(&input.attrs, &input.ident)?;
    let mut entries = Vec::new();
    for field in &fields.named {
        let ident = field.ident.as_ref().expect("the fields are named");
        let word = ident.to_string();
        let word = word.trim_start_matches("r#");
        let name = match attributes::serde_text(&field.attrs, "rename")? {
            Some(name) => name,
            None => case
                .as_ref()
                .map_or_else(|| word.to_owned(), |case| case.of_field(word)),
        };
        let kind = &field.ty;
        let calls = attributes::of_field(&field.attrs, ident.span())?.calls;
        entries.push(quote! {
            (
                #name,
                <#kind as ::kong_pdk::schema::ConfigType>::schema()
                    .required(<#kind as ::kong_pdk::schema::ConfigType>::REQUIRED)
                    #(#calls)*
            )
        });
    }
    let checks = attributes::entity_checks(&input.attrs)?;
    let checks = (!checks.is_empty())
        .then(|| quote!(.with("entity_checks", ::std::vec::Vec::from([#(#checks),*]))));
    let name = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::kong_pdk::schema::ConfigType for #name {
            fn schema() -> ::kong_pdk::schema::Schema {
                ::kong_pdk::schema::Schema::record([#(#entries),*]) #checks
            }
        }

        #[automatically_derived]
        impl ::kong_pdk::schema::PluginConfig for #name {}
    })
}

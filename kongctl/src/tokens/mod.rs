//! Tokens and keys as they are: taken apart, believed by nobody, judged as `llm-jwt` would.
//!
//! # Layout
//!
//! - `given` gets the token or document that the user names; `anatomy` takes a token apart.
//! - `warnings` says what is unusual about one, `keys` what a JWK is good for, `signature` which key signed a token.

pub(crate) mod anatomy;
pub(crate) mod given;
pub(crate) mod keys;
pub(crate) mod signature;
pub(crate) mod warnings;

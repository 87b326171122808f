//! The declarative configuration, format 3.0: one document that holds everything.
//!
//! # Algorithm
//!
//! 1. [`yaml`] reads the text; JSON is YAML.
//! 2. [`tree`] takes nested entities apart and gives ids: the same name, the same id, on every node.
//! 3. [`check`] resolves references by name, completes every entity and collects what is wrong, in the shape of the
//!    document.
//! 4. [`flattened`] turns that into a list of faulty entities, if asked for.

mod check;
mod export;
mod flattened;
mod ids;
mod tree;
mod yaml;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub(crate) use check::{Fault, read};
pub(crate) use export::export;
pub(crate) use flattened::Flattening;

use crate::clock;
use crate::schema::{Errors, Registry, Timestamp, hex};
use crate::store::{Error, Store};

/// A document and the hash of its text.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) members: Map<String, Value>,
    /// 32 hexadecimal digits; the same document, the same hash.
    pub(crate) hash: String,
}

impl Document {
    /// Reads YAML or JSON.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let fault = |message: String| {
            Error::declarative(Errors::from_iter([("error".to_owned(), message.into())]))
        };
        let document = yaml::parse(text)
            .map_err(|error| fault(format!("failed parsing declarative configuration: {error}")))?;
        match document {
            Value::Object(members) => Ok(Self {
                members,
                hash: hash(text),
            }),
            other => Err(fault(format!("expected an object, got {other}"))),
        }
    }

    /// A document that arrived as members.
    pub(crate) fn of(members: Map<String, Value>) -> Self {
        let hash = hash(&Value::from(members.clone()).to_string());
        Self { members, hash }
    }
}

fn hash(text: &str) -> String {
    // Kong's is an MD5 sum: as long, and as opaque to a client.
    hex(&Sha256::digest(text)[..16])
}

/// Loads the configuration file of a gateway that starts.
pub(crate) fn load(text: &str, registry: &Registry, store: &Store) -> Result<(), String> {
    let describe = |error: Error| {
        error.body()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let document = Document::parse(text).map_err(describe)?;
    match read(
        registry,
        document.members,
        Timestamp(clock::now_milliseconds()),
    ) {
        Ok(entities) => {
            store.replace(entities, document.hash);
            Ok(())
        }
        Err(Fault::Faulty(errors) | Fault::Clashing(errors)) => {
            Err(describe(Error::declarative(errors)))
        }
        Err(Fault::Unnameable(message)) => Err(message),
    }
}

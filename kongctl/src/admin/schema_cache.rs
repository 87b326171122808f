//! What a node said of its plugins' configurations and of the kinds that they bring along, kept for checks without it.
//!
//! # Model
//!
//! One file a node, `$XDG_CACHE_HOME/kongctl-admin/schemas/DIGEST.json` or the same below `~/.cache`, with its last answers to
//! `/schemas/plugins/NAME`, and to `/schemas/NAME` for those kinds. Schemas have no values, hence no secrets; the node's address is there as a digest alone.
//!
//! # Failure
//!
//! A cache that cannot be read, cannot be written or has another layout is none.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::entities::custom::Told;
use crate::state::ids;

/// Changes with the file's layout.
const LAYOUT: u32 = 1;

/// The cache of one node.
#[derive(Clone, Debug)]
pub(crate) struct SchemaCache {
    path: PathBuf,
}

/// What a file holds: answers by the plugin's name.
#[derive(Default, Deserialize, Serialize, PartialEq)]
struct Content {
    layout: u32,
    plugins: BTreeMap<String, Value>,
    #[serde(default)]
    kinds: Vec<Told>,
}

impl SchemaCache {
    /// The cache of the node at this address; `None` where there is no home.
    pub(crate) fn of(url: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let absolute = |name: &str| {
            env(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        let digest = Sha256::digest(super::client::shown(url));
        let name = ids::hex(&digest);
        let directory = base.join("kongctl-admin").join("schemas");
        Some(Self {
            path: directory.join(name).with_extension("json"),
        })
    }

    /// The answers that are kept, by the plugin's name.
    pub(crate) fn plugins(&self) -> BTreeMap<String, Value> {
        self.read().unwrap_or_default().plugins
    }

    /// The kinds that the node's plugins bring along, as it told them last.
    pub(crate) fn kinds(&self) -> Vec<Told> {
        self.read().unwrap_or_default().kinds
    }

    /// Keeps these kinds, and no others.
    pub(crate) fn remember_kinds(&self, kinds: &[Told]) {
        let before = self.read().unwrap_or_default();
        self.keep(
            &before,
            &Content {
                layout: LAYOUT,
                plugins: before.plugins.clone(),
                kinds: kinds.to_vec(),
            },
        );
    }

    /// Keeps answers; a plugin that the node does not have is forgotten.
    pub(crate) fn remember<'a>(
        &self,
        answers: impl IntoIterator<Item = (&'a str, Option<&'a Value>)>,
    ) {
        let before = self.read().unwrap_or_default();
        let mut plugins = before.plugins.clone();
        for (name, answer) in answers {
            match answer {
                Some(answer) => plugins.insert(name.to_owned(), answer.clone()),
                None => plugins.remove(name),
            };
        }
        let kinds = before.kinds.clone();
        self.keep(
            &before,
            &Content {
                layout: LAYOUT,
                plugins,
                kinds,
            },
        );
    }

    fn keep(&self, before: &Content, after: &Content) {
        let is_empty = |content: &Content| content.plugins.is_empty() && content.kinds.is_empty();
        if after != before && !(is_empty(after) && is_empty(before)) {
            // It is only a cache.
            let _ = self.write(after);
        }
    }

    fn read(&self) -> Option<Content> {
        let content: Content = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        (content.layout == LAYOUT).then_some(content)
    }

    /// Written beside and moved: another run reads the old one or the new one.
    fn write(&self, content: &Content) -> std::io::Result<()> {
        let directory = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(directory)?;
        let beside = self
            .path
            .with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&beside, serde_json::to_vec(content)?)?;
        fs::rename(&beside, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cache(home: &std::path::Path, url: &str) -> SchemaCache {
        let home = home.display().to_string();
        SchemaCache::of(url, &|name| (name == "HOME").then(|| home.clone())).unwrap()
    }

    #[test]
    fn what_a_node_said_is_kept_for_it_alone_until_it_says_otherwise() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (
            cache(home.path(), "http://u:s3cret@a:8001"),
            cache(home.path(), "http://b:8001"),
        );
        let answer = json!({"fields": []});
        one.remember([("cors", Some(&answer)), ("acl", Some(&answer))]);
        one.remember([("acl", None)]);
        assert_eq!(one.plugins(), BTreeMap::from([("cors".to_owned(), answer)]));
        assert_eq!(
            one.path,
            cache(home.path(), "http://a:8001").path,
            "the password is not part of it"
        );
        assert!(other.plugins().is_empty());
        fs::write(&one.path, r#"{"layout": 0, "plugins": {"cors": {}}}"#).unwrap();
        assert!(one.plugins().is_empty(), "another layout is none");
    }

    #[test]
    fn without_a_home_there_is_none() {
        assert!(SchemaCache::of("http://a", &|_| None).is_none());
        assert!(SchemaCache::of("http://a", &|_| Some("relative".to_owned())).is_none());
    }
}

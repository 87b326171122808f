//! The kinds of entities that a node's plugins bring along.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::super::entities::{ENTERPRISE_KINDS, Kind, RUNTIME_KINDS, custom};
use super::super::errors::AdminError;
use super::Client;

/// What Kong and its bundled plugins call the last part of paths that lead to no entity.
const OTHER_PARAMETERS: &[&str] = &["cache_key", "key", "name"];
/// Questions in flight at once.
const CONCURRENT_READS: usize = 16;

/// How often a question is asked.
#[derive(Clone, Copy)]
enum Patience {
    Usual,
    Once,
}

impl Client {
    /// The kinds that the node's plugins bring along. It is asked once; they are known to all from then on.
    pub(crate) async fn custom_kinds(&self) -> Result<&[Kind], AdminError> {
        let ask = || self.ask_kinds(Patience::Usual);
        Ok(self.custom_kinds.get_or_try_init(ask).await?)
    }

    /// The same in passing: a node that does not answer at once teaches nothing.
    pub(crate) async fn glance_at_kinds(&self) -> &[Kind] {
        let ask = || self.ask_kinds(Patience::Once);
        self.custom_kinds
            .get_or_try_init(ask)
            .await
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    async fn ask_kinds(&self, patience: Patience) -> Result<Vec<Kind>, AdminError> {
        let endpoints = match self.ask("endpoints", patience).await {
            Ok(answer) => answer.unwrap_or_default(),
            // Whoever guards the Admin API may let nobody see them.
            Err(error) if error.rejection().is_some_and(|it| it.status < 500) => Value::Null,
            Err(error) => return Err(error),
        };
        let told: Vec<Option<custom::Told>> = stream::iter(candidates(&endpoints))
            .map(|(name, list_path)| async move {
                let schema = self.ask(&format!("schemas/{name}"), patience).await?;
                Ok::<_, AdminError>(schema.map(|schema| custom::Told {
                    name,
                    list_path,
                    schema,
                }))
            })
            .buffer_unordered(CONCURRENT_READS)
            .try_collect()
            .await?;
        let told: Vec<custom::Told> = told.into_iter().flatten().collect();
        if let Some(cache) = &self.schema_cache {
            cache.remember_kinds(&told);
        }
        Ok(custom::learn(told))
    }

    async fn ask(&self, path: &str, patience: Patience) -> Result<Option<Value>, AdminError> {
        match patience {
            Patience::Usual => self.find(path).await,
            Patience::Once => self.find_once(path).await,
        }
    }
}

/// Names of kinds that may be there, and where they are listed: Kong serves each at `/LIST` and `/LIST/{NAME}`.
fn candidates(endpoints: &Value) -> Vec<(String, String)> {
    let endpoints = endpoints.get("data").and_then(Value::as_array);
    let endpoints: Vec<&str> = endpoints
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut candidates: Vec<(String, String)> = endpoints
        .iter()
        .filter_map(|endpoint| {
            let (list, name) = endpoint.strip_prefix('/')?.split_once('/')?;
            let name = name.strip_prefix('{')?.strip_suffix('}')?;
            let is_listed = endpoints
                .iter()
                .any(|other| other.strip_prefix('/') == Some(list));
            let is_known = Kind::is_kongs_own(name)
                || [RUNTIME_KINDS, ENTERPRISE_KINDS, OTHER_PARAMETERS]
                    .iter()
                    .any(|names| names.contains(&name));
            (is_listed && !is_known && !list.contains('{'))
                .then(|| (name.to_owned(), list.to_owned()))
        })
        .collect();
    candidates.sort();
    candidates.dedup();
    candidates
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Paths of a real node, and those that Kong makes for a plugin's own entities.
    #[test]
    fn kinds_are_told_by_the_paths_that_kong_makes_for_them() {
        let endpoints = json!({"data": [
            "/", "/cache", "/cache/{key}", "/consumers", "/consumers/{consumers}", "/consumers/{consumers}/quota_members",
            "/key-auths", "/key-auths/{keyauth_credentials}", "/oauth2_tokens", "/oauth2_tokens/{oauth2_tokens}",
            "/plugins/enabled", "/proxy-cache", "/proxy-cache/{cache_key}", "/quota-members", "/quota-members/{quota_members}",
            "/quota_plans", "/quota_plans/{quota_plans}", "/quota_plans/{quota_plans}/quota_members", "/schemas/{name}",
            "/tags", "/tags/{tags}",
        ]});
        let expected = [
            ("quota_members", "quota-members"),
            ("quota_plans", "quota_plans"),
        ];
        let expected = expected.map(|(name, list)| (name.to_owned(), list.to_owned()));
        assert_eq!(candidates(&endpoints), expected);
        assert!(candidates(&Value::Null).is_empty());
    }
}

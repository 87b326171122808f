//! What takes many calls: lists page by page, all entities of a node, many schemas at once.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value};

use super::super::entities::Kind;
use super::super::errors::AdminError;
use super::super::schema::{Record, Schemas, Type};
use super::{Client, encode_segment};

/// The most entries that Kong gives in one page.
const PAGE_SIZE: u32 = 1000;
/// Reads in flight at once: all kinds, and the targets of many upstreams.
const CONCURRENT_READS: usize = 16;

/// Entities as Kong lists them, by kind.
type Lists = Vec<(Kind, Vec<Map<String, Value>>)>;

impl Client {
    /// All entries of a list, page by page; `None` where the node lacks the kind.
    pub(crate) async fn list(
        &self,
        path: &str,
    ) -> Result<Option<Vec<Map<String, Value>>>, AdminError> {
        let mut entries = Vec::new();
        let mut offset: Option<String> = None;
        loop {
            // Built anew for each page: `next` drops `size` on nested lists.
            let page = match &offset {
                None => format!("{path}?size={PAGE_SIZE}"),
                Some(offset) => {
                    format!("{path}?size={PAGE_SIZE}&offset={}", encode_segment(offset))
                }
            };
            let mut answer = match self.find(&page).await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Ok(None),
                Err(error) if lacks_wasm(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            let Some(Value::Array(data)) = answer.get_mut("data").map(Value::take) else {
                return Err(AdminError::Unexpected {
                    method: "GET",
                    path: format!("/{path}"),
                    reason: "no list".to_owned(),
                });
            };
            // The parser leaves each map room to grow; a copy has none, and takes the place of the one before.
            entries.extend(
                data.into_iter()
                    .filter_map(|entry| entry.as_object().cloned()),
            );
            let next = answer.get("offset").and_then(Value::as_str);
            if next.is_none() || next == offset.as_deref() {
                return Ok(Some(entries));
            }
            offset = next.map(str::to_owned);
        }
    }

    /// The names of the WebAssembly filters that the node has; `None` if it runs none.
    pub(crate) async fn filters(&self) -> Result<Option<Vec<String>>, AdminError> {
        match self.find("filter-chains?size=1").await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(error) if lacks_wasm(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let path = format!("schemas/{}", Kind::FilterChain.name());
        let schema = self.find(&path).await?.unwrap_or_default();
        let chain = Record::from_kong(&schema);
        let filter = chain
            .fields
            .get("filters")
            .and_then(|field| match &field.ty {
                Type::Array(element) => Some(&element.ty),
                _ => None,
            });
        Ok(Some(match filter {
            Some(Type::Record(filter)) => {
                let name = filter.fields.get("name");
                name.map(|name| name.one_of.clone()).unwrap_or_default()
            }
            _ => Vec::new(),
        }))
    }

    /// Every entity of the node, all kinds at once. A kind whose plugin the node lacks is absent.
    pub(crate) async fn all_entities(&self) -> Result<Lists, AdminError> {
        let own = Kind::all().filter(|kind| !kind.is_custom()).collect();
        let custom = async { self.lists(self.custom_kinds().await?.to_vec()).await };
        let (mut found, custom) = tokio::try_join!(self.lists(own), custom)?;
        found.extend(custom);
        let upstreams: Vec<String> = found
            .iter()
            .filter(|(kind, _)| *kind == Kind::Upstream)
            .flat_map(|(_, entries)| {
                entries
                    .iter()
                    .filter_map(|entry| entry.get("id")?.as_str().map(str::to_owned))
            })
            .collect();
        let targets: Vec<Vec<Map<String, Value>>> = stream::iter(upstreams)
            .map(|id| async move {
                Ok::<_, AdminError>(
                    self.list(&format!("upstreams/{id}/targets/all"))
                        .await?
                        .unwrap_or_default(),
                )
            })
            .buffer_unordered(CONCURRENT_READS)
            .try_collect()
            .await?;
        found.push((Kind::Target, targets.into_iter().flatten().collect()));
        found.sort_by_key(|(kind, _)| *kind);
        Ok(found)
    }

    /// What the node lists of each of these kinds, as far as they have a list of their own.
    async fn lists(&self, kinds: Vec<Kind>) -> Result<Lists, AdminError> {
        let lists = kinds
            .into_iter()
            .filter_map(|kind| Some((kind, kind.spec().list_path?)));
        stream::iter(lists)
            .map(|(kind, path)| async move {
                let entries = match self.list(path).await {
                    // A plugin may have made something else of the path that Kong gave its kind.
                    Err(error) if kind.is_custom() && is_no_list(&error) => None,
                    entries => entries?,
                };
                Ok((kind, entries.unwrap_or_default()))
            })
            .buffer_unordered(CONCURRENT_READS)
            .try_collect()
            .await
    }

    /// What the node says of one plugin, `None` if it has no such plugin.
    pub(crate) async fn plugin_schema(&self, name: &str) -> Result<Option<Value>, AdminError> {
        let path = format!("schemas/plugins/{}", encode_segment(name));
        let answer = self.find(&path).await?;
        if let Some(cache) = &self.schema_cache {
            cache.remember([(name, answer.as_ref())]);
        }
        Ok(answer)
    }

    /// What the node says of these kinds and plugins. One that it does not know keeps the table's word.
    pub(crate) async fn schemas(
        &self,
        kinds: Vec<Kind>,
        plugins: Vec<String>,
    ) -> Result<Schemas, AdminError> {
        enum Subject {
            Kind(Kind),
            Plugin(String),
        }
        let subjects = kinds
            .into_iter()
            .map(Subject::Kind)
            .chain(plugins.into_iter().map(Subject::Plugin));
        let answers: Vec<(Subject, Option<Value>)> = stream::iter(subjects)
            .map(|subject| async move {
                let path = match &subject {
                    Subject::Kind(kind) => format!("schemas/{}", kind.name()),
                    Subject::Plugin(name) => format!("schemas/plugins/{}", encode_segment(name)),
                };
                Ok::<_, AdminError>((subject, self.find(&path).await?))
            })
            .buffer_unordered(CONCURRENT_READS)
            .try_collect()
            .await?;
        if let Some(cache) = &self.schema_cache {
            cache.remember(
                answers
                    .iter()
                    .filter_map(|(subject, answer)| match subject {
                        Subject::Plugin(name) => Some((name.as_str(), answer.as_ref())),
                        Subject::Kind(_) => None,
                    }),
            );
        }
        let mut schemas = Schemas::default();
        for (subject, answer) in answers {
            match (subject, answer) {
                (Subject::Kind(kind), Some(answer)) => schemas.add_kind(kind, &answer),
                (Subject::Plugin(name), Some(answer)) => schemas.add_plugin(&name, &answer),
                (Subject::Plugin(name), None) => schemas.add_absent_plugin(name),
                (Subject::Kind(_), None) => {}
            }
        }
        Ok(schemas)
    }
}

/// True of an answer that a path gives which lists nothing.
fn is_no_list(error: &AdminError) -> bool {
    matches!(error, AdminError::Unexpected { .. })
        || error.rejection().is_some_and(|it| it.status < 500)
}

/// Without `wasm = on`, Kong answers 400 where its filter chains would be.
fn lacks_wasm(error: &AdminError) -> bool {
    error.rejection().is_some_and(|rejection| {
        rejection.status == 400 && rejection.message.contains("when wasm is enabled")
    })
}

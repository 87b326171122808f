//! Which route a request belongs to.
//!
//! # Algorithm
//!
//! Kong's default router (`traditional_compatible`) gives every route one 64-bit priority and takes the first route, from
//! the highest priority down, whose conditions all hold. From the most significant bit: how many kinds of condition it has
//! (3 bits), whether all its hosts are plain (1), how many headers it names (8), whether its paths are regexes (1),
//! `regex_priority` (32), the length of its prefix (19). Of equal priorities the greater id comes first. A route whose
//! paths differ in length is matched as if it were several routes, one for each length and one for all regexes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, Method};
use regex::bytes::Regex;
use uuid::Uuid;

use super::entities::{Route, Service};

/// The namespace in which Kong names the parts of a split route.
const SPLIT_NAMESPACE: Uuid = Uuid::from_u128(0x7f14_5bf9_0dce_4f91_98eb_debb_ce4b_9f6b);

/// All routes of one configuration, in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct Router {
    entries: Vec<Entry>,
}

/// What the router looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) method: &'a Method,
    /// As the client wrote it: capitals do not match.
    pub(crate) host: Option<&'a str>,
    /// Normalized.
    pub(crate) path: &'a [u8],
    pub(crate) headers: &'a HeaderMap,
    /// The port that the client connected to.
    pub(crate) port: u16,
}

/// The route that matched.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    pub(crate) route: Arc<Route>,
    pub(crate) service: Option<Arc<Service>>,
    /// What the route strips from the path; absent without `strip_path`.
    pub(crate) prefix: Option<Vec<u8>>,
    pub(crate) captures: Captures,
}

/// What a regex path captured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Captures {
    /// Every group by its place, named or not.
    pub(crate) unnamed: Vec<Vec<u8>>,
    pub(crate) named: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug)]
struct Entry {
    priority: u64,
    id: String,
    conditions: Conditions,
    route: Arc<Route>,
    service: Option<Arc<Service>>,
}

#[derive(Debug)]
struct Conditions {
    methods: Vec<String>,
    hosts: Vec<HostPattern>,
    paths: Vec<PathPattern>,
    headers: Vec<(String, Vec<ValuePattern>)>,
    /// Conditions on addresses, which the stand-in cannot judge: such a route never matches.
    addresses: bool,
}

#[derive(Debug)]
struct HostPattern {
    name: Wildcard,
    port: Option<u16>,
}

#[derive(Debug)]
enum Wildcard {
    Exact(String),
    StartsWith(String),
    EndsWith(String),
}

#[derive(Debug)]
enum PathPattern {
    Prefix(String),
    Regex(Regex),
}

#[derive(Debug)]
enum ValuePattern {
    Exact(String),
    Regex(Regex),
}

impl Router {
    /// Builds a router. A route with a regex that cannot be read is left out and reported, as in Kong.
    pub(crate) fn new(
        routes: impl IntoIterator<Item = (Arc<Route>, Option<Arc<Service>>)>,
    ) -> Self {
        let mut entries = Vec::new();
        for (route, service) in routes {
            let groups = group_paths(route.paths.as_deref().unwrap_or_default());
            let split = groups.len() > 1;
            for (index, paths) in groups.into_iter().enumerate() {
                match Conditions::new(&route, &paths) {
                    Ok(conditions) => entries.push(Entry {
                        priority: priority(&route, &paths),
                        id: if split {
                            split_id(&route.id, index + 1)
                        } else {
                            route.id.clone()
                        },
                        conditions,
                        route: route.clone(),
                        service: service.clone(),
                    }),
                    Err(error) => tracing::error!(route = route.id, %error, "a route is left out"),
                }
            }
        }
        entries.sort_by(|one, other| {
            (Reverse(one.priority), &other.id).cmp(&(Reverse(other.priority), &one.id))
        });
        Self { entries }
    }

    /// The route that answers the question, or nothing: the client gets 404.
    pub(crate) fn find(&self, question: Question<'_>) -> Option<Match> {
        self.entries.iter().find_map(|entry| {
            let (matched, captures) = entry.conditions.hold(question)?;
            let strips = entry.route.strip_path.unwrap_or(true);
            Some(Match {
                route: entry.route.clone(),
                service: entry.service.clone(),
                prefix: matched.filter(|_| strips),
                captures,
            })
        })
    }
}

impl Conditions {
    fn new(route: &Route, paths: &[String]) -> Result<Self, regex::Error> {
        let some = |list: &Option<Vec<serde_json::Value>>| {
            list.as_ref().is_some_and(|list| !list.is_empty())
        };
        let mut headers = Vec::new();
        for (name, values) in route.headers.iter().flatten() {
            let patterns = values
                .iter()
                .map(|value| ValuePattern::new(value))
                .collect::<Result<_, _>>()?;
            headers.push((name.to_lowercase(), patterns));
        }
        Ok(Self {
            methods: route.methods.clone().unwrap_or_default(),
            hosts: route
                .hosts
                .iter()
                .flatten()
                .map(|host| HostPattern::new(host))
                .collect(),
            paths: paths
                .iter()
                .map(|path| PathPattern::new(path))
                .collect::<Result<_, _>>()?,
            headers,
            addresses: some(&route.sources) || some(&route.destinations),
        })
    }

    /// Whether all hold; then the part of the path that matched, and the captures.
    fn hold(&self, question: Question<'_>) -> Option<(Option<Vec<u8>>, Captures)> {
        let method_holds = self.methods.is_empty()
            || self
                .methods
                .iter()
                .any(|method| method == question.method.as_str());
        let host_holds =
            self.hosts.is_empty() || self.hosts.iter().any(|host| host.matches(question));
        let headers_hold = self.headers.iter().all(|(name, patterns)| {
            question.headers.get_all(name).iter().any(|value| {
                let value = value.as_bytes().to_ascii_lowercase();
                patterns.iter().any(|pattern| pattern.matches(&value))
            })
        });
        if self.addresses || !method_holds || !host_holds || !headers_hold {
            return None;
        }
        if self.paths.is_empty() {
            return Some((None, Captures::default()));
        }
        let (matched, captures) = self
            .paths
            .iter()
            .find_map(|path| path.matches(question.path))?;
        Some((Some(matched), captures))
    }
}

impl HostPattern {
    fn new(host: &str) -> Self {
        let (name, port) = split_port(host);
        let name = if let Some(end) = name.strip_prefix('*') {
            Wildcard::EndsWith(end.to_owned())
        } else if let Some(start) = name.strip_suffix('*') {
            Wildcard::StartsWith(start.to_owned())
        } else {
            Wildcard::Exact(name.to_owned())
        };
        Self { name, port }
    }

    fn matches(&self, question: Question<'_>) -> bool {
        let Some((host, _)) = question.host.map(split_port) else {
            return false;
        };
        let name_matches = match &self.name {
            Wildcard::Exact(name) => name == host,
            Wildcard::StartsWith(start) => host.starts_with(start.as_str()),
            Wildcard::EndsWith(end) => host.ends_with(end.as_str()),
        };
        name_matches && self.port.is_none_or(|port| port == question.port)
    }
}

impl PathPattern {
    fn new(path: &str) -> Result<Self, regex::Error> {
        match path.strip_prefix('~') {
            Some(pattern) => Regex::new(&format!("^{pattern}")).map(Self::Regex),
            None => Ok(Self::Prefix(path.to_owned())),
        }
    }

    fn matches(&self, path: &[u8]) -> Option<(Vec<u8>, Captures)> {
        match self {
            Self::Prefix(prefix) => path
                .starts_with(prefix.as_bytes())
                .then(|| (prefix.clone().into_bytes(), Captures::default())),
            Self::Regex(regex) => {
                let found = regex.captures(path)?;
                let bytes = |group: regex::bytes::Match<'_>| group.as_bytes().to_vec();
                let mut captures = Captures::default();
                for (index, name) in regex.capture_names().enumerate().skip(1) {
                    let Some(group) = found.get(index).map(bytes) else {
                        continue;
                    };
                    if let Some(name) = name {
                        captures.named.insert(name.to_owned(), group.clone());
                    }
                    captures.unnamed.push(group);
                }
                Some((found.get(0).map(bytes).unwrap_or_default(), captures))
            }
        }
    }
}

impl ValuePattern {
    fn new(value: &str) -> Result<Self, regex::Error> {
        let value = value.to_lowercase();
        match value.strip_prefix("~*") {
            Some(pattern) => Regex::new(pattern).map(Self::Regex),
            None => Ok(Self::Exact(value)),
        }
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// Splits `host:port`; what follows the colon must be a number.
pub(crate) fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.split_once(':') {
        Some((name, port)) => port.parse().map_or((host, None), |port| (name, Some(port))),
        None => (host, None),
    }
}

/// Paths by length, all regexes together, in the order of their first member; one empty group without paths.
fn group_paths(paths: &[String]) -> Vec<Vec<String>> {
    if paths.is_empty() {
        return vec![Vec::new()];
    }
    let mut groups: Vec<(usize, Vec<String>)> = Vec::new();
    for path in paths {
        let length = if path.starts_with('~') { 0 } else { path.len() };
        match groups.iter_mut().find(|(of, _)| *of == length) {
            Some((_, group)) => group.push(path.clone()),
            None => groups.push((length, vec![path.clone()])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn split_id(route: &str, place: usize) -> String {
    Uuid::new_v5(&SPLIT_NAMESPACE, format!("{route}#{place}").as_bytes()).to_string()
}

fn priority(route: &Route, paths: &[String]) -> u64 {
    fn filled<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(|list| !list.is_empty())
    }
    let headers = route
        .headers
        .as_ref()
        .map_or(0, indexmap::IndexMap::len)
        .min(255);
    let kinds = [
        filled(route.sources.as_ref()),
        filled(route.destinations.as_ref()),
        filled(route.methods.as_ref()),
        filled(route.hosts.as_ref()),
        headers > 0,
        filled(route.snis.as_ref()),
        !paths.is_empty(),
    ];
    let kinds = kinds.into_iter().map(u64::from).sum::<u64>();
    let plain_hosts = route
        .hosts
        .as_ref()
        .is_some_and(|hosts| hosts.iter().all(|host| !host.contains('*')));
    let regex = paths.first().is_some_and(|path| path.starts_with('~'));
    let regex_priority = if regex {
        route.regex_priority.unwrap_or(0)
    } else {
        0
    };
    let prefix_length = if regex {
        0
    } else {
        paths.first().map_or(0, String::len)
    };
    kinds << 61
        | u64::from(plain_hosts) << 60
        | (headers as u64) << 52
        | u64::from(regex) << 51
        | regex_priority << 19
        | (prefix_length as u64 & 0x7_ffff)
}

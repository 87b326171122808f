//! Namespaces of routes, as decK has them: a prefix for their paths, names of hosts.
//!
//! # Model
//!
//! What a service gets does not change. A route that strips its path (`strip_path`, the default) strips the prefix along with it; one
//! that does not is given a `pre-function` that takes the prefix off again before the request leaves.

use serde_json::{Value as Json, json};

use super::edit::from_json;
use super::select::{Sought, Step};
use super::{Content, Document, File, Node, Where};
use crate::admin::entities::Kind;
use crate::state::diagnostics::{Diagnostics, Place};
use crate::state::references::show_templates;

/// What routes are put under.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    pub(crate) prefix: Option<Prefix>,
    /// Added to each route's hosts.
    pub(crate) hosts: Vec<String>,
    /// Only those: what the routes had goes.
    pub(crate) clear_hosts: bool,
}

/// The start of a path: `/team-a`, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(String);

impl std::str::FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let good = |segment: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
            !segment.is_empty() && !matches!(segment, "." | "..") && segment.bytes().all(plain)
        };
        match path.strip_prefix('/') {
            Some(segments) if segments.split('/').all(good) => Ok(Self(path.to_owned())),
            _ => Err("write a path such as /team-a, of letters, digits and . _ ~ -".to_owned()),
        }
    }
}

impl Prefix {
    /// A route's path behind the prefix; `None` for what Kong takes for no path.
    fn before(&self, path: &str) -> Option<String> {
        let (mark, prefix, path) = match path.strip_prefix('~') {
            // Of all that a prefix may have, only the dot means something else in a regular expression.
            Some(expression) => ("~", self.0.replace('.', "\\."), expression),
            None => ("", self.0.clone(), path),
        };
        let rest = path.strip_prefix('/')?;
        let slash = if rest.is_empty() || rest == "$" {
            ""
        } else {
            "/"
        };
        Some(format!("{mark}{prefix}{slash}{rest}"))
    }

    /// What takes the prefix off the path that the service is asked for.
    fn stripper(&self) -> String {
        let prefix = &self.0;
        format!(
            r#"local prefix = "{prefix}" -- of the routes: their service does not know it
local service = kong.router.get_service()
local base = (service and service.path or ""):gsub("/$", "")
local uri = ngx.var.upstream_uri
local rest = uri:sub(#base + #prefix + 1)
if uri:sub(1, #base + #prefix) == base .. prefix and (rest == "" or rest:sub(1, 1) == "/") then
  uri = base .. rest
  ngx.var.upstream_uri = uri ~= "" and uri or "/"
end
"#
        )
    }
}

/// A route of a file: where it is, what it says in the end, and who else says something of its requests.
struct Found<'a> {
    steps: Vec<Step>,
    route: &'a Json,
    service: Option<&'a Json>,
}

impl Found<'_> {
    /// What a field of the route says: its own word, or the file's for all routes.
    fn says<'j>(&'j self, field: &str, file: &'j Json) -> Option<&'j Json> {
        let defaults = || file.pointer("/_info/defaults/route")?.get(field);
        self.route.get(field).or_else(defaults)
    }

    fn strips(&self, file: &Json) -> bool {
        let own = self.says("strip_path", file).and_then(Json::as_bool);
        own.unwrap_or(true)
    }

    /// Streams have no paths.
    fn is_stream(&self, file: &Json) -> bool {
        let protocols = self.says("protocols", file).and_then(Json::as_array);
        protocols.is_some_and(|all| {
            let of_stream = |protocol: &Json| {
                matches!(
                    protocol.as_str(),
                    Some("tcp" | "tls" | "udp" | "tls_passthrough")
                )
            };
            !all.is_empty() && all.iter().all(of_stream)
        })
    }

    /// Whose `pre-function` one of the route's own would replace.
    fn overridden(&self, file: &Json) -> Option<&'static str> {
        let has = |owner: &Json| {
            let plugins = owner.get("plugins").and_then(Json::as_array);
            plugins
                .into_iter()
                .flatten()
                .any(|plugin| plugin["name"] == "pre-function")
        };
        if self.service.is_some_and(has) {
            return Some("its service");
        }
        has(file).then_some("the file")
    }
}

fn routes(file: &Json) -> Vec<Found<'_>> {
    fn lists<'a>(
        owner: &'a Json,
        steps: &[Step],
        service: Option<&'a Json>,
        found: &mut Vec<Found<'a>>,
    ) {
        let list = owner.get("routes").and_then(Json::as_array);
        for (index, route) in list.into_iter().flatten().enumerate() {
            if route.is_object() {
                let own = [Step::Key("routes".to_owned()), Step::Index(index)];
                found.push(Found {
                    steps: [steps, &own].concat(),
                    route,
                    service,
                });
            }
        }
    }
    let mut found = Vec::new();
    let services = file.get("services").and_then(Json::as_array);
    for (index, service) in services.into_iter().flatten().enumerate() {
        let steps = [Step::Key("services".to_owned()), Step::Index(index)];
        lists(service, &steps, Some(service), &mut found);
    }
    lists(file, &[], None, &mut found);
    for each in &mut found {
        if each.service.is_none() {
            each.service = referred(file, each.route.get("service"));
        }
    }
    found
}

/// The service that a route names.
fn referred<'a>(file: &'a Json, reference: Option<&Json>) -> Option<&'a Json> {
    let words: Vec<&Json> = match reference? {
        Json::Object(map) => map.values().collect(),
        word => vec![word],
    };
    let services = file.get("services")?.as_array()?;
    services.iter().find(|service| {
        ["name", "id"]
            .iter()
            .filter_map(|key| service.get(key))
            .any(|own| words.contains(&own))
    })
}

impl File {
    /// Puts the chosen routes under a namespace; all of them where nothing is chosen. Gives back how many were found.
    pub(crate) fn namespace(
        &mut self,
        namespace: &Namespace,
        chosen: &Where,
        diagnostics: &mut Diagnostics,
    ) -> usize {
        let Some(values) = super::values("", &super::write(self), diagnostics) else {
            return 0;
        };
        let documents = self.documents.iter_mut().zip(&values);
        documents
            .map(|(document, file)| document.namespace(namespace, chosen, file, diagnostics))
            .sum()
    }
}

impl Document {
    /// As [`File::namespace`], of a document that says `file`.
    fn namespace(
        &mut self,
        namespace: &Namespace,
        chosen: &Where,
        file: &Json,
        diagnostics: &mut Diagnostics,
    ) -> usize {
        let routes = routes(file);
        let selected = self.selected_routes(chosen, file, &routes, diagnostics);
        let mut count = 0;
        for found in routes {
            let is_meant = |node: &Node| match chosen {
                Where::Entities(targets) => {
                    targets.is_empty() || targets.iter().any(|target| target.is(Kind::Route, node))
                }
                Where::Selected(_) => selected.contains(&found.steps),
            };
            match self.root.at(&found.steps, Sought::Maps) {
                Ok(node) if is_meant(node) => {
                    count += 1;
                    put_under(namespace, node, &found, file, diagnostics);
                }
                Ok(_) => {}
                Err(place) => {
                    let message = "a route here is written elsewhere, behind an alias or a `<<`";
                    refuse(place.as_ref(), message, diagnostics);
                }
            }
        }
        count
    }

    /// Where selectors lead, if any choose; what is no route is told.
    fn selected_routes(
        &mut self,
        chosen: &Where,
        file: &Json,
        routes: &[Found<'_>],
        diagnostics: &mut Diagnostics,
    ) -> Vec<Vec<Step>> {
        let Where::Selected(selectors) = chosen else {
            return Vec::new();
        };
        let selected = selectors
            .iter()
            .flat_map(|each| each.find(file, Sought::Maps));
        let selected: Vec<_> = selected.collect();
        for steps in &selected {
            if !routes.iter().any(|found| found.steps == *steps)
                && let Some(place) = self.root.place_at(steps)
            {
                let help = "only routes have paths: `$..routes[*]` finds them";
                diagnostics.add_with_help(&place, "this is no route", Some(help));
            }
        }
        selected
    }
}

fn put_under(
    namespace: &Namespace,
    route: &mut Node,
    found: &Found<'_>,
    file: &Json,
    diagnostics: &mut Diagnostics,
) {
    if let Some(prefix) = namespace.prefix.as_ref().filter(|_| !found.is_stream(file)) {
        prepend(prefix, route, found, diagnostics);
        if !found.strips(file) {
            strip(prefix, route, found, file, diagnostics);
        }
    }
    if namespace.clear_hosts && namespace.hosts.is_empty() {
        if !route.remove("hosts") && found.route.get("hosts").is_some() {
            refuse_merged("hosts", route, diagnostics);
        }
        return;
    }
    if namespace.clear_hosts {
        route.set("hosts", from_json(&json!(namespace.hosts)));
        return;
    }
    if namespace.hosts.is_empty() {
        return;
    }
    let place = route.place.clone();
    let Some(hosts) = own_list(route, "hosts", found, diagnostics) else {
        return;
    };
    for host in &namespace.hosts {
        let there = hosts
            .items()
            .iter()
            .any(|item| item.word().as_ref() == Some(host));
        if !there && !hosts.push(from_json(&json!(host))) {
            refuse(
                hosts.place.as_ref().or(place.as_ref()),
                "`hosts` is no list here",
                diagnostics,
            );
            return;
        }
    }
}

/// A list of the route's, made if it has none; `None`, and told, where it comes from elsewhere.
fn own_list<'n>(
    route: &'n mut Node,
    name: &str,
    found: &Found<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<&'n mut Node> {
    if route.get(name).is_none() && found.route.get(name).is_some() {
        refuse_merged(name, route, diagnostics);
        return None;
    }
    route.get_or_insert(name, &json!([]))
}

fn prepend(prefix: &Prefix, route: &mut Node, found: &Found<'_>, diagnostics: &mut Diagnostics) {
    let place = route.place.clone();
    let Some(paths) = own_list(route, "paths", found, diagnostics) else {
        return;
    };
    if paths.items().is_empty() && !paths.push(from_json(&json!(prefix.0))) {
        refuse(
            paths.place.as_ref().or(place.as_ref()),
            "`paths` is no list here",
            diagnostics,
        );
        return;
    }
    if found
        .route
        .get("paths")
        .and_then(Json::as_array)
        .is_none_or(Vec::is_empty)
    {
        return;
    }
    for item in paths.items_mut() {
        let word = item.word().filter(|word| show_templates(word) == *word);
        match word.and_then(|word| prefix.before(&word)) {
            Some(path) => item.content = from_json(&json!(path)).content,
            None => refuse(
                item.place.as_ref().or(place.as_ref()),
                "a prefix can only be put before a path that is written out, and starts with `/` or `~/`",
                diagnostics,
            ),
        }
    }
}

/// Gives a route what takes the prefix off again, before all that a `pre-function` of its own does.
fn strip(
    prefix: &Prefix,
    route: &mut Node,
    found: &Found<'_>,
    file: &Json,
    diagnostics: &mut Diagnostics,
) {
    let place = route.place.clone();
    let Some(plugins) = own_list(route, "plugins", found, diagnostics) else {
        return;
    };
    let is_meant =
        |plugin: &Node| plugin.get("name").and_then(Node::word).as_deref() == Some("pre-function");
    if !plugins.items().iter().any(is_meant) {
        if let Some(owner) = found.overridden(file) {
            let message = format!(
                "this route does not strip its path: it needs a `pre-function` to take the prefix off, which would replace that of {owner}"
            );
            if let Some(place) = &place {
                let help = "write that function on the route too, or let the route strip its path";
                diagnostics.add_with_help(place, message, Some(help));
            }
            return;
        }
        if !plugins.push(from_json(&json!({"name": "pre-function"}))) {
            refuse(
                plugins.place.as_ref().or(place.as_ref()),
                "`plugins` is no list here",
                diagnostics,
            );
            return;
        }
    }
    let mut plugins = plugins.items_mut().iter_mut();
    let Some(plugin) = plugins.find(|plugin| is_meant(plugin)) else {
        return;
    };
    let place = plugin.place.clone().or(place);
    let access = plugin
        .get_or_insert("config", &json!({}))
        .and_then(|config| config.get_or_insert("access", &json!([])));
    match access.map(|access| &mut access.content) {
        Some(Content::List(functions, _)) => {
            functions.insert(0, from_json(&json!(prefix.stripper())));
        }
        _ => refuse(
            place.as_ref(),
            "`config.access` of this `pre-function` is no list here",
            diagnostics,
        ),
    }
}

fn refuse_merged(name: &str, route: &Node, diagnostics: &mut Diagnostics) {
    let message = format!("this route's `{name}` come from `<<`");
    refuse(route.place.as_ref(), &message, diagnostics);
}

fn refuse(place: Option<&Place>, message: &str, diagnostics: &mut Diagnostics) {
    if let Some(place) = place {
        diagnostics.add_with_help(place, message, Some("write it out"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_goes_before_paths_and_expressions() {
        let prefix: Prefix = "/team.a/".parse().unwrap();
        let before = |path| prefix.before(path);
        assert_eq!(before("/").as_deref(), Some("/team.a"));
        assert_eq!(before("/v1/").as_deref(), Some("/team.a/v1/"));
        assert_eq!(before("~/v1/\\d+$").as_deref(), Some("~/team\\.a/v1/\\d+$"));
        assert_eq!(before("~/$").as_deref(), Some("~/team\\.a$"));
        assert_eq!(before("~/").as_deref(), Some("~/team\\.a"));
        assert_eq!(before("~^v1"), None);
    }

    #[test]
    fn a_prefix_is_a_plain_path() {
        for text in [
            "", "/", "//", "team", "/a//b", "/a b", "/a/..", "/%61", "/a\"b",
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
        assert!("/team-a/v1".parse::<Prefix>().is_ok());
    }
}

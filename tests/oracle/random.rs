//! Configurations drawn at random, in every way to write them.

mod plans;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use stories::world::World;
use tokio::runtime::Runtime;

use super::case::{Case, Spec};
use super::laws;
use plans::Plans;

/// The draws, each a test.
pub(crate) const DRAWS: std::ops::Range<u8> = 0..3;
/// Pairs of a draw: a stand-in answers sooner.
const PAIRS: u32 = 4;
const PAIRS_ON_KONG: u32 = 2;
/// The most entities of a configuration.
const MOST: usize = 200;
/// Draws the same pairs each time: a failure can be looked at.
const SEED: [u8; 32] = *b"configurations, drawn at random!";

/// The laws hold for the pairs of a draw.
pub(crate) fn hold(world: &World, runtime: &Runtime, draw: u8) -> Result<()> {
    let config = Config {
        cases: if world.target.is_real_kong() {
            PAIRS_ON_KONG
        } else {
            PAIRS
        },
        // A smaller pair is worth little of a real gateway's time.
        max_shrink_iters: if world.target.is_real_kong() { 0 } else { 64 },
        failure_persistence: None,
        ..Config::default()
    };
    let mut seed = SEED;
    seed[0] ^= draw;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let filters = world.target.absence_of_filters().is_none();
    let pairs = (configuration(filters), configuration(filters));
    let outcome = runner.run(&pairs, |(a, b)| {
        let case = Case {
            name: "random".to_owned(),
            spec: Spec::default(),
            a: a.0,
            b: b.0,
            canonical: None,
        };
        runtime
            .block_on(laws::hold(world, &case))
            .map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    outcome.map_err(|error| anyhow::anyhow!("{error}"))
}

/// A file, shown as it is when it fails.
#[derive(Clone)]
struct Text(String);

impl std::fmt::Debug for Text {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "\n{}", self.0)
    }
}

/// How an entity is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Nested,
    /// At the top level, referring by a word.
    ByWord,
    /// At the top level, referring by an object.
    ByObject,
}

#[derive(Clone, Debug)]
struct Service {
    name: u8,
    port: Option<u16>,
    retries: Option<u8>,
    tags: BTreeSet<u8>,
    routes: Vec<Route>,
    plugins: Vec<Plugin>,
    chain: Option<Chain>,
}

#[derive(Clone, Debug)]
struct Route {
    name: u8,
    form: Form,
    path: u8,
    methods: BTreeSet<u8>,
    strip: Option<bool>,
    plugins: Vec<Plugin>,
    chain: Option<Chain>,
}

/// A filter chain of the service or route that it stands in.
#[derive(Clone, Debug)]
struct Chain {
    form: Form,
    named: bool,
    enabled: Option<bool>,
    filters: Vec<(bool, u8)>,
}

#[derive(Clone, Debug)]
struct Plugin {
    kind: u8,
    form: Form,
    value: u16,
    enabled: Option<bool>,
}

#[derive(Clone, Debug)]
struct Consumer {
    name: u8,
    form: Form,
    keys: BTreeSet<u8>,
    groups: BTreeSet<u8>,
    secrets: BTreeSet<u8>,
    passwords: BTreeSet<u8>,
    plugins: Vec<Plugin>,
}

#[derive(Clone, Debug)]
struct Upstream {
    name: u8,
    slots: Option<u16>,
    form: Form,
    targets: BTreeSet<(u8, u8)>,
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        3 => Just(Form::Nested),
        1 => Just(Form::ByWord),
        1 => Just(Form::ByObject),
    ]
}

fn plugins() -> impl Strategy<Value = Vec<Plugin>> {
    let plugin = (0_u8..3, form(), 400_u16..599, any::<Option<bool>>());
    let plugin = plugin.prop_map(|(kind, form, value, enabled)| Plugin {
        kind,
        form,
        value,
        enabled,
    });
    prop::collection::vec(plugin, 0..3)
}

fn chain() -> impl Strategy<Value = Option<Chain>> {
    let filters = prop::collection::vec((any::<bool>(), 0_u8..3), 1..4);
    let parts = (form(), any::<bool>(), any::<Option<bool>>(), filters);
    prop::option::weighted(
        0.3,
        parts.prop_map(|(form, named, enabled, filters)| Chain {
            form,
            named,
            enabled,
            filters,
        }),
    )
}

fn few(range: std::ops::Range<u8>, most: usize) -> impl Strategy<Value = BTreeSet<u8>> {
    prop::collection::btree_set(range, 0..=most)
}

fn route() -> impl Strategy<Value = Route> {
    let parts = (
        0_u8..60,
        form(),
        any::<u8>(),
        few(0..4, 3),
        any::<Option<bool>>(),
        plugins(),
        chain(),
    );
    parts.prop_map(|(name, form, path, methods, strip, plugins, chain)| Route {
        name,
        form,
        path,
        methods,
        strip,
        plugins,
        chain,
    })
}

fn service() -> impl Strategy<Value = Service> {
    let parts = (
        0_u8..30,
        any::<Option<u16>>(),
        any::<Option<u8>>(),
        few(0..5, 3),
        prop::collection::vec(route(), 0..5),
        plugins(),
        chain(),
    );
    parts.prop_map(
        |(name, port, retries, tags, routes, plugins, chain)| Service {
            name,
            port,
            retries,
            tags,
            routes,
            plugins,
            chain,
        },
    )
}

fn consumer() -> impl Strategy<Value = Consumer> {
    let parts = (
        0_u8..30,
        form(),
        few(0..100, 2),
        few(0..4, 2),
        few(0..100, 2),
        few(0..100, 1),
        plugins(),
    );
    parts.prop_map(
        |(name, form, keys, groups, secrets, passwords, plugins)| Consumer {
            name,
            form,
            keys,
            groups,
            secrets,
            passwords,
            plugins,
        },
    )
}

fn upstream() -> impl Strategy<Value = Upstream> {
    let targets = prop::collection::btree_set((0_u8..20, 0_u8..3), 0..6);
    let parts = (0_u8..20, prop::option::of(10_u16..10_000), form(), targets);
    parts.prop_map(|(name, slots, form, targets)| Upstream {
        name,
        slots,
        form,
        targets,
    })
}

/// `filters`: on a node that has filters.
fn configuration(filters: bool) -> impl Strategy<Value = Text> {
    let parts = (
        prop::collection::vec(service(), 1..16),
        prop::collection::vec(consumer(), 0..16),
        prop::collection::vec(upstream(), 0..8),
        prop::collection::vec(plans::plan(), 0..8),
        plugins(),
    );
    parts.prop_map(move |(services, consumers, upstreams, plans, plugins)| {
        let mut writer = Writer {
            filters,
            ..Writer::default()
        };
        for service in &services {
            writer.service(service);
        }
        for consumer in &consumers {
            writer.consumer(consumer);
        }
        for upstream in &upstreams {
            writer.upstream(upstream);
        }
        for plan in &plans {
            writer.plan(plan);
        }
        writer.plugins(&plugins, None, "");
        writer.finish()
    })
}

/// Writes entities, each name once, and no more than [`MOST`].
#[derive(Default)]
struct Writer {
    /// Filter chains may be written.
    filters: bool,
    chains: String,
    services: String,
    routes: String,
    consumers: String,
    upstreams: String,
    top_plugins: String,
    credentials: [String; 4],
    targets: String,
    plans: Plans,
    names: BTreeSet<String>,
    count: usize,
}

const CREDENTIALS: [&str; 4] = [
    "keyauth_credentials",
    "acls",
    "jwt_secrets",
    "basicauth_credentials",
];

impl Writer {
    /// True if the name is free, and there is room for another entity.
    fn takes(&mut self, name: &str) -> bool {
        let free = self.count < MOST && self.names.insert(name.to_owned());
        self.count += usize::from(free);
        free
    }

    fn service(&mut self, service: &Service) {
        let name = format!("s{}", service.name);
        if !self.takes(&name) {
            return;
        }
        let mut text = format!("- name: {name}\n  host: h{}.example\n", service.name);
        if let Some(port) = service.port {
            let _ = writeln!(text, "  port: {port}");
        }
        if let Some(retries) = service.retries {
            let _ = writeln!(text, "  retries: {retries}");
        }
        if !service.tags.is_empty() {
            let tags: Vec<String> = service
                .tags
                .iter()
                .rev()
                .map(|tag| format!("t{tag}"))
                .collect();
            let _ = writeln!(text, "  tags: [{}]", tags.join(", "));
        }
        let mut routes = String::new();
        for route in &service.routes {
            self.route(route, &name, &mut routes);
        }
        let plugins = self.plugins(&service.plugins, Some(("service", &name)), "  ");
        let chain = self.chain(service.chain.as_ref(), ("service", &name), "  ");
        section(&mut text, "  ", "routes", &routes);
        section(&mut text, "  ", "plugins", &plugins);
        section(&mut text, "  ", "filter_chains", &chain);
        self.services.push_str(&text);
    }

    fn route(&mut self, route: &Route, service: &str, nested: &mut String) {
        let name = format!("r{}", route.name);
        if !self.takes(&name) {
            return;
        }
        let methods = ["GET", "POST", "PUT", "DELETE"];
        let methods: Vec<&str> = route
            .methods
            .iter()
            .map(|index| methods[usize::from(*index)])
            .collect();
        let indent = if route.form == Form::Nested { "  " } else { "" };
        let mut text = format!(
            "{indent}- name: {name}\n{indent}  paths: [/p{}, /q]\n",
            route.path
        );
        if !methods.is_empty() {
            let _ = writeln!(text, "{indent}  methods: [{}]", methods.join(", "));
        }
        if let Some(strip) = route.strip {
            let _ = writeln!(text, "{indent}  strip_path: {strip}");
        }
        let inner = format!("{indent}  ");
        let plugins = self.plugins(&route.plugins, Some(("route", &name)), &inner);
        section(&mut text, &inner, "plugins", &plugins);
        let chain = self.chain(route.chain.as_ref(), ("route", &name), &inner);
        section(&mut text, &inner, "filter_chains", &chain);
        match route.form {
            Form::Nested => nested.push_str(&text),
            Form::ByWord => {
                let _ = writeln!(text, "  service: {service}");
                self.routes.push_str(&text);
            }
            Form::ByObject => {
                let _ = writeln!(text, "  service: {{name: {service}}}");
                self.routes.push_str(&text);
            }
        }
    }

    /// Writes plugins of `scope` at the top level; returns those that are nested in it.
    fn plugins(&mut self, plugins: &[Plugin], scope: Option<(&str, &str)>, indent: &str) -> String {
        let mut nested = String::new();
        for plugin in plugins {
            let (name, config) = match plugin.kind {
                0 => (
                    "key-auth",
                    "{key_names: [apikey, x-key], hide_credentials: true}".to_owned(),
                ),
                1 => (
                    "request-termination",
                    format!("{{status_code: {}, message: 'no: way'}}", plugin.value),
                ),
                _ => (
                    "pre-function",
                    format!("{{access: [\"local n = {}\\nreturn n\"]}}", plugin.value),
                ),
            };
            // Consumers cannot choose how they are authenticated.
            if plugin.kind != 1 && scope.is_some_and(|(field, _)| field == "consumer") {
                continue;
            }
            let whom = scope.map_or("everything", |(_, whom)| whom);
            if !self.takes(&format!("{name} on {whom}")) {
                continue;
            }
            let enabled = plugin
                .enabled
                .map(|enabled| format!(", enabled: {enabled}"))
                .unwrap_or_default();
            let body = format!("name: {name}, config: {config}{enabled}");
            let _ = match (plugin.form, scope) {
                (Form::Nested, Some(_)) => writeln!(nested, "{indent}- {{{body}}}"),
                (Form::ByObject, Some((field, whom))) => {
                    let key = if field == "consumer" {
                        "username"
                    } else {
                        "name"
                    };
                    writeln!(self.top_plugins, "- {{{body}, {field}: {{{key}: {whom}}}}}")
                }
                (Form::ByWord, Some((field, whom))) => {
                    writeln!(self.top_plugins, "- {{{body}, {field}: {whom}}}")
                }
                (_, None) => writeln!(self.top_plugins, "- {{{body}}}"),
            };
        }
        nested
    }

    /// Writes a chain of `owner` at the top level; returns the one that is nested in it.
    fn chain(&mut self, chain: Option<&Chain>, owner: (&str, &str), indent: &str) -> String {
        let (field, whom) = owner;
        let Some(chain) = chain.filter(|_| self.filters) else {
            return String::new();
        };
        if !self.takes(&format!("chain of {whom}")) {
            return String::new();
        }
        let filters: Vec<String> = chain
            .filters
            .iter()
            .map(|(has_schema, value)| match (has_schema, value) {
                (true, value) => {
                    format!("{{name: headers, config: {{append: {{x: '{value}'}}, more: [{value}, {{}}]}}}}")
                }
                (false, 0) => "{name: guard}".to_owned(),
                (false, value) => format!("{{name: guard, enabled: false, config: 'v{value}'}}"),
            })
            .collect();
        let mut body = format!("filters: [{}]", filters.join(", "));
        if chain.named {
            let _ = write!(body, ", name: chain-of-{whom}");
        }
        if let Some(enabled) = chain.enabled {
            let _ = write!(body, ", enabled: {enabled}");
        }
        let reference = match chain.form {
            Form::Nested => return format!("{indent}- {{{body}}}\n"),
            Form::ByWord => whom.to_owned(),
            Form::ByObject => format!("{{name: {whom}}}"),
        };
        let _ = writeln!(self.chains, "- {{{body}, {field}: {reference}}}");
        String::new()
    }

    fn consumer(&mut self, consumer: &Consumer) {
        let name = format!("c{}", consumer.name);
        if !self.takes(&name) {
            return;
        }
        let mut text = format!("- username: {name}\n");
        let plugins = self.plugins(&consumer.plugins, Some(("consumer", &name)), "  ");
        let credentials: [Vec<String>; 4] = [
            consumer
                .keys
                .iter()
                .map(|key| format!("key: key-{key}"))
                .collect(),
            consumer
                .groups
                .iter()
                .map(|group| format!("group: g{group}"))
                .collect(),
            consumer
                .secrets
                .iter()
                .map(|key| format!("key: iss-{key}, secret: s3cret"))
                .collect(),
            consumer
                .passwords
                .iter()
                .map(|user| format!("username: u{user}, password: pw{user}"))
                .collect(),
        ];
        for (index, list) in credentials.iter().enumerate() {
            let mut nested = String::new();
            for body in list {
                // A group is unique within its consumer only.
                let whom = if CREDENTIALS[index] == "acls" {
                    &name
                } else {
                    "anybody"
                };
                if !self.takes(&format!("{body} of {whom}")) {
                    continue;
                }
                let _ = match consumer.form {
                    Form::Nested => writeln!(nested, "  - {{{body}}}"),
                    Form::ByWord => {
                        writeln!(self.credentials[index], "- {{{body}, consumer: {name}}}")
                    }
                    Form::ByObject => writeln!(
                        self.credentials[index],
                        "- {{{body}, consumer: {{username: {name}}}}}"
                    ),
                };
            }
            section(&mut text, "  ", CREDENTIALS[index], &nested);
        }
        section(&mut text, "  ", "plugins", &plugins);
        self.consumers.push_str(&text);
    }

    fn upstream(&mut self, upstream: &Upstream) {
        let name = format!("u{}", upstream.name);
        if !self.takes(&name) {
            return;
        }
        let mut text = format!("- name: {name}\n");
        if let Some(slots) = upstream.slots {
            let _ = writeln!(text, "  slots: {slots}");
        }
        let mut nested = String::new();
        for (host, weight) in &upstream.targets {
            let target = format!("10.0.0.{host}:80");
            if !self.takes(&format!("{target} of {name}")) {
                continue;
            }
            let body = format!("target: '{target}', weight: {}", u16::from(*weight) * 50);
            let _ = match upstream.form {
                Form::Nested => writeln!(nested, "  - {{{body}}}"),
                Form::ByWord => writeln!(self.targets, "- {{{body}, upstream: {name}}}"),
                Form::ByObject => {
                    writeln!(self.targets, "- {{{body}, upstream: {{name: {name}}}}}")
                }
            };
        }
        section(&mut text, "  ", "targets", &nested);
        self.upstreams.push_str(&text);
    }

    fn finish(self) -> Text {
        let mut text = "_format_version: \"3.0\"\n".to_owned();
        section(&mut text, "", "plugins", &self.top_plugins);
        section(&mut text, "", "routes", &self.routes);
        section(&mut text, "", "consumers", &self.consumers);
        section(&mut text, "", "services", &self.services);
        section(&mut text, "", "targets", &self.targets);
        section(&mut text, "", "upstreams", &self.upstreams);
        section(&mut text, "", "filter_chains", &self.chains);
        for (name, list) in CREDENTIALS.iter().zip(&self.credentials) {
            section(&mut text, "", name, list);
        }
        self.plans.write(&mut text);
        Text(text)
    }
}

/// A list under its name, unless it is empty.
fn section(text: &mut String, indent: &str, name: &str, list: &str) {
    if !list.is_empty() {
        let _ = write!(text, "{indent}{name}:\n{list}");
    }
}

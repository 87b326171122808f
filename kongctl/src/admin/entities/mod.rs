//! The kinds of Kong OSS and of the plugins that a node has, and what can be asked of them.
//!
//! Parsing, ids, matching, ordering, diffing and dumping all ask the table in [`table`]; none of them knows a kind by name.
//! What plugins bring along is learned from a node ([`custom`]), and follows Kong's own.
//! The variants of [`Kind`] are in reference order: whatever a kind refers to comes before it.

pub(crate) mod custom;
mod table;

use super::schema::{Record, Type};
use table::{KindSpec, RECORDS, SPECS};

pub(crate) use table::IdRecipe;

/// A kind of entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    CaCertificate,
    Certificate,
    Sni,
    Vault,
    KeySet,
    Key,
    Consumer,
    Service,
    Upstream,
    Target,
    KeyAuth,
    Jwt,
    BasicAuth,
    HmacAuth,
    OAuth2,
    Acl,
    Route,
    Plugin,
    FilterChain,
    /// One that a plugin brings along, by its number.
    Custom(u16),
}

/// Kinds of Kong Enterprise and Konnect, known only to be refused by name.
pub(crate) const ENTERPRISE_KINDS: &[&str] = &[
    "consumer_groups",
    "rbac_roles",
    "licenses",
    "partials",
    "custom_entities",
    "service_packages",
    "degraphql_routes",
    "graphql_ratelimiting_cost_decorations",
    "mtls_auth_credentials",
    "cloned_plugins",
    "custom_plugins",
    "admins",
    "application_instances",
    "applications",
    "audit_objects",
    "audit_requests",
    "consumer_group_consumers",
    "consumer_group_plugins",
    "consumer_reset_secrets",
    "credentials",
    "developers",
    "document_objects",
    "event_hooks",
    "files",
    "keyring_keys",
    "keyring_meta",
    "legacy_files",
    "login_attempts",
    "rbac_role_endpoints",
    "rbac_role_entities",
    "rbac_user_groups",
    "rbac_user_roles",
    "rbac_users",
    "group_rbac_roles",
    "plugins_partials",
    "vault_auth_vaults",
    "groups",
    "_konnect",
];

/// Plugins of Kong Enterprise, and what is there instead.
pub(crate) const ENTERPRISE_PLUGINS: &[(&str, &str)] = &[
    ("ai-rate-limiting-advanced", "llm-rate-limiting"),
    ("graphql-rate-limiting-advanced", "rate-limiting"),
    ("jwt-signer", "llm-jwt"),
    ("key-auth-enc", "key-auth"),
    ("ldap-auth-advanced", "ldap-auth"),
    ("oauth2-introspection", "llm-jwt"),
    ("openid-connect", "llm-jwt"),
    ("proxy-cache-advanced", "proxy-cache"),
    ("rate-limiting-advanced", "rate-limiting"),
    ("request-transformer-advanced", "request-transformer"),
    ("response-transformer-advanced", "response-transformer"),
];

/// The plugins of Kong OSS 3.9.
pub(crate) const BUNDLED_PLUGINS: &[&str] = &[
    "acl",
    "acme",
    "ai-prompt-decorator",
    "ai-prompt-guard",
    "ai-prompt-template",
    "ai-proxy",
    "ai-request-transformer",
    "ai-response-transformer",
    "aws-lambda",
    "azure-functions",
    "basic-auth",
    "bot-detection",
    "correlation-id",
    "cors",
    "datadog",
    "file-log",
    "grpc-gateway",
    "grpc-web",
    "hmac-auth",
    "http-log",
    "ip-restriction",
    "jwt",
    "key-auth",
    "ldap-auth",
    "loggly",
    "oauth2",
    "opentelemetry",
    "post-function",
    "pre-function",
    "prometheus",
    "proxy-cache",
    "rate-limiting",
    "redirect",
    "request-size-limiting",
    "request-termination",
    "request-transformer",
    "response-ratelimiting",
    "response-transformer",
    "session",
    "standard-webhooks",
    "statsd",
    "syslog",
    "tcp-log",
    "udp-log",
    "zipkin",
];

/// What Kong keeps in its own tables at run time: no configuration.
pub(crate) const RUNTIME_KINDS: &[&str] = &[
    "acme_storage",
    "clustering_data_planes",
    "oauth2_authorization_codes",
    "oauth2_tokens",
    "parameters",
    "ratelimiting_metrics",
    "sessions",
    "tags",
    "workspaces",
];

impl Kind {
    /// Every kind, whatever it refers to before it.
    pub(crate) fn all() -> impl DoubleEndedIterator<Item = Self> {
        let custom = (0..custom::count()).map(Self::Custom);
        SPECS.iter().map(|spec| spec.kind).chain(custom)
    }

    /// The kind that Kong calls `name`.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::find(|spec| spec.name == name)
    }

    /// True if Kong itself brings a kind of that name.
    pub(crate) fn is_kongs_own(name: &str) -> bool {
        SPECS.iter().any(|spec| spec.name == name)
    }

    /// The kind that a person calls `word`: Kong's name, a singular or a short form.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::find(|spec| spec.name == word || spec.aliases.contains(&word))
    }

    fn find(is_it: impl Fn(&KindSpec) -> bool) -> Option<Self> {
        let own = SPECS.iter().find(|spec| is_it(spec));
        own.map(|spec| spec.kind).or_else(|| custom::find(is_it))
    }

    /// True for a kind that a plugin brings along.
    pub(crate) fn is_custom(self) -> bool {
        matches!(self, Self::Custom(_))
    }

    /// The place of one of Kong's own kinds in the table.
    fn row(self) -> usize {
        SPECS
            .binary_search_by_key(&self, |spec| spec.kind)
            .expect("each of Kong's kinds has its row")
    }

    /// This kind's row of the table.
    pub(crate) fn spec(self) -> &'static KindSpec {
        match self {
            Self::Custom(number) => &custom::get(number).spec,
            own => &SPECS[own.row()],
        }
    }

    /// Kong's name for the kind.
    pub(crate) fn name(self) -> &'static str {
        self.spec().name
    }

    /// What one of them is called in a message.
    pub(crate) fn singular(self) -> &'static str {
        self.spec().singular
    }

    /// `a service`, `an upstream`.
    pub(crate) fn with_article(self) -> String {
        let article = match self {
            Self::Sni | Self::Upstream | Self::OAuth2 | Self::Acl => "an",
            Self::Custom(_) if self.name().starts_with(['a', 'e', 'i', 'o', 'u']) => "an",
            _ => "a",
        };
        format!("{article} {}", self.singular())
    }

    /// The fields, as the table has them, or as a node told them.
    pub(crate) fn record(self) -> &'static Record {
        match self {
            Self::Custom(number) => &custom::get(number).record,
            own => &RECORDS[own.row()],
        }
    }

    /// The fields that refer to another entity: (field, kind referred to, deleted together).
    pub(crate) fn references(self) -> impl Iterator<Item = (&'static str, Kind, bool)> {
        self.record()
            .fields
            .iter()
            .filter_map(|(name, field)| match field.ty {
                Type::Foreign(kind) => Some((name.as_str(), kind, field.cascade)),
                _ => None,
            })
    }

    /// The kind that a file lists as `name` in an entry of this kind, and the reference that nesting fills.
    ///
    /// As Kong's DB-less loader has it: whatever refers to this kind may be nested in it.
    pub(crate) fn nested(self, name: &str) -> Option<(Kind, &'static str)> {
        let child = Self::from_name(name)?;
        let (field, ..) = child.references().find(|(_, to, _)| *to == self)?;
        Some((child, field))
    }

    /// The kinds that a dump nests in an entry of this kind: (list's name, kind, reference that nesting fills).
    pub(crate) fn children(self) -> impl Iterator<Item = (&'static str, Kind, &'static str)> {
        SPECS.iter().filter_map(move |spec| {
            spec.nested_in
                .iter()
                .find(|(parent, _)| *parent == self)
                .map(|(_, field)| (spec.name, spec.kind, *field))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_stands_at_its_kinds_place() {
        for (index, spec) in SPECS.iter().enumerate() {
            assert_eq!(spec.kind.row(), index, "{}", spec.name);
        }
    }

    #[test]
    fn whatever_a_kind_refers_to_comes_before_it() {
        for kind in Kind::all() {
            for (field, to, _) in kind.references() {
                assert!(to < kind, "{}.{field}", kind.name());
            }
        }
    }

    #[test]
    fn whatever_refers_to_a_kind_may_be_nested_in_it() {
        assert_eq!(Kind::KeySet.nested("keys"), Some((Kind::Key, "set")));
        assert_eq!(
            Kind::Certificate.nested("services"),
            Some((Kind::Service, "client_certificate"))
        );
        assert_eq!(Kind::Consumer.nested("routes"), None);
        for parent in Kind::all() {
            for (name, child, field) in parent.children() {
                assert_eq!(parent.nested(name), Some((child, field)));
            }
        }
    }

    #[test]
    fn every_field_that_a_row_names_exists() {
        for spec in &SPECS {
            let record = spec.kind.record();
            let keys = spec.natural_keys.iter().copied().flatten();
            let nesting = spec.nested_in.iter().map(|(_, field)| field);
            let below = spec.below.iter().map(|(field, _)| field);
            for field in keys.chain(spec.columns).chain(nesting).chain(below) {
                assert!(record.fields.contains_key(*field), "{}.{field}", spec.name);
            }
        }
    }
}

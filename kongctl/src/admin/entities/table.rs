//! The entity table: one row for each of Kong's own kinds, with its paths, keys, references, defaults and secrets.
//!
//! # Model
//!
//! A kind's fields are written one a line, as `name type [attributes] [= default]`:
//! types are `string integer number boolean any`, `set:T`, `array:T`, `map:T` and `->kind` for a reference;
//! dots in a name nest records, after `[]` in a list and after `{}` in a set; attributes are `required`, `unique`, `secret`,
//! `auto` (made by Kong when absent), `cascade` (deleted with what it refers to), `in a|b|c` and `between LEAST MOST`.

use std::sync::LazyLock;

use super::super::schema::Record;
use super::Kind;

/// How Kong's DB-less loader derives an id for an entity that has none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IdRecipe {
    /// From the one field that names the entity.
    Name(&'static str),
    /// From `kind:*:` and these fields, references as ids.
    CacheKey(&'static [&'static str]),
    /// Kong would draw a random id; ours is a digest of these fields, so that the same file gives the same id.
    Content(&'static [&'static str]),
    /// The same of all fields: nothing tells which of them matter.
    Whole,
}

/// Everything that is particular to one kind.
#[derive(Debug)]
pub(crate) struct KindSpec {
    pub(crate) kind: Kind,
    /// Kong's name: the list in a file, and `/schemas/{name}`.
    pub(crate) name: &'static str,
    /// What messages call one of them.
    pub(crate) singular: &'static str,
    /// Short names that `get` accepts too.
    pub(crate) aliases: &'static [&'static str],
    /// Where all of them are listed; `None` where Kong lists them only below their parent.
    pub(crate) list_path: Option<&'static str>,
    /// Where one is written, when that is below its parent: (field that names the parent, last path segment).
    pub(crate) below: Option<(&'static str, &'static str)>,
    /// Alternatives of fields that tell one entity from another, best first.
    pub(crate) natural_keys: &'static [&'static [&'static str]],
    pub(crate) id: IdRecipe,
    /// Kinds in whose entries a file may nest this kind, by the reference that nesting fills.
    pub(crate) nested_in: &'static [(Kind, &'static str)],
    /// May a file list this kind at its top level?
    pub(crate) top_level: bool,
    /// Columns of `get`.
    pub(crate) columns: &'static [&'static str],
    /// In the notation above; empty for a kind whose fields a node tells.
    pub(super) fields: &'static str,
}

/// The rows, in the order of [`Kind`]'s variants.
pub(super) const SPECS: [KindSpec; 19] = [
    KindSpec {
        kind: Kind::CaCertificate,
        name: "ca_certificates",
        singular: "CA certificate",
        aliases: &["ca_certificate", "ca-certificates", "ca-certificate"],
        list_path: Some("ca_certificates"),
        below: None,
        natural_keys: &[&["cert_digest"]],
        id: IdRecipe::Content(&["cert_digest"]),
        nested_in: &[],
        top_level: true,
        columns: &["id", "cert_digest", "tags"],
        fields: "cert string required
                 cert_digest string unique auto",
    },
    KindSpec {
        kind: Kind::Certificate,
        name: "certificates",
        singular: "certificate",
        aliases: &["certificate", "cert", "certs"],
        list_path: Some("certificates"),
        below: None,
        natural_keys: &[&["cert", "key"]],
        id: IdRecipe::Content(&["cert"]),
        nested_in: &[],
        top_level: true,
        columns: &["id", "tags"],
        fields: "cert string required
                 key string required secret
                 cert_alt string
                 key_alt string secret",
    },
    KindSpec {
        kind: Kind::Sni,
        name: "snis",
        singular: "SNI",
        aliases: &["sni"],
        list_path: Some("snis"),
        below: None,
        natural_keys: &[&["name"]],
        id: IdRecipe::Name("name"),
        nested_in: &[(Kind::Certificate, "certificate")],
        top_level: true,
        columns: &["name", "certificate", "id", "tags"],
        fields: "name string required unique
                 certificate ->certificates required cascade",
    },
    KindSpec {
        kind: Kind::Vault,
        name: "vaults",
        singular: "vault",
        aliases: &["vault"],
        list_path: Some("vaults"),
        below: None,
        natural_keys: &[&["prefix"]],
        id: IdRecipe::CacheKey(&["prefix"]),
        nested_in: &[],
        top_level: true,
        columns: &["prefix", "name", "id", "tags"],
        fields: "prefix string required unique
                 name string required
                 description string
                 config any",
    },
    KindSpec {
        kind: Kind::KeySet,
        name: "key_sets",
        singular: "key set",
        aliases: &["key-sets", "key_set", "key-set"],
        list_path: Some("key-sets"),
        below: None,
        natural_keys: &[&["name"]],
        id: IdRecipe::Name("name"),
        nested_in: &[],
        top_level: true,
        columns: &["name", "id", "tags"],
        fields: "name string unique",
    },
    KindSpec {
        kind: Kind::Key,
        name: "keys",
        singular: "key",
        aliases: &["key"],
        list_path: Some("keys"),
        below: None,
        natural_keys: &[&["name"], &["kid", "set"]],
        id: IdRecipe::CacheKey(&["kid", "set"]),
        nested_in: &[(Kind::KeySet, "set")],
        top_level: true,
        columns: &["name", "kid", "set", "id", "tags"],
        fields: "set ->key_sets cascade
                 name string unique
                 kid string required
                 jwk string secret
                 pem.public_key string
                 pem.private_key string secret",
    },
    KindSpec {
        kind: Kind::Consumer,
        name: "consumers",
        singular: "consumer",
        aliases: &["consumer"],
        list_path: Some("consumers"),
        below: None,
        natural_keys: &[&["username"], &["custom_id"]],
        id: IdRecipe::Name("username"),
        nested_in: &[],
        top_level: true,
        columns: &["username", "custom_id", "id", "tags"],
        fields: "username string unique
                 custom_id string unique",
    },
    KindSpec {
        kind: Kind::Service,
        name: "services",
        singular: "service",
        aliases: &["service", "svc"],
        list_path: Some("services"),
        below: None,
        natural_keys: &[&["name"]],
        id: IdRecipe::Name("name"),
        nested_in: &[],
        top_level: true,
        columns: &["name", "protocol", "host", "port", "path", "enabled", "tags"],
        fields: "name string unique
                 retries integer between 0 32767 = 5
                 protocol string required in http|https|tcp|tls|udp|grpc|grpcs|tls_passthrough = \"http\"
                 host string required
                 port integer required between 0 65535 = 80
                 path string
                 connect_timeout integer between 1 2147483646 = 60000
                 write_timeout integer between 1 2147483646 = 60000
                 read_timeout integer between 1 2147483646 = 60000
                 client_certificate ->certificates
                 tls_verify boolean
                 tls_verify_depth integer between 0 64
                 ca_certificates array:string
                 enabled boolean required = true",
    },
    KindSpec {
        kind: Kind::Upstream,
        name: "upstreams",
        singular: "upstream",
        aliases: &["upstream"],
        list_path: Some("upstreams"),
        below: None,
        natural_keys: &[&["name"]],
        id: IdRecipe::Name("name"),
        nested_in: &[],
        top_level: true,
        columns: &["name", "algorithm", "hash_on", "slots", "tags"],
        fields: "name string required unique
                 algorithm string in consistent-hashing|least-connections|round-robin|latency = \"round-robin\"
                 hash_on string in none|consumer|ip|header|cookie|path|query_arg|uri_capture = \"none\"
                 hash_fallback string in none|consumer|ip|header|cookie|path|query_arg|uri_capture = \"none\"
                 hash_on_header string
                 hash_fallback_header string
                 hash_on_cookie string
                 hash_on_cookie_path string = \"/\"
                 hash_on_query_arg string
                 hash_fallback_query_arg string
                 hash_on_uri_capture string
                 hash_fallback_uri_capture string
                 slots integer between 10 65536 = 10000
                 healthchecks.active.type string in tcp|http|https|grpc|grpcs = \"http\"
                 healthchecks.active.timeout number between 0 65535 = 1
                 healthchecks.active.concurrency integer between 1 2147483648 = 10
                 healthchecks.active.http_path string = \"/\"
                 healthchecks.active.https_sni string
                 healthchecks.active.https_verify_certificate boolean required = true
                 healthchecks.active.headers map:array:string
                 healthchecks.active.healthy.interval number between 0 65535 = 0
                 healthchecks.active.healthy.http_statuses array:integer = [200,302]
                 healthchecks.active.healthy.successes integer between 0 255 = 0
                 healthchecks.active.unhealthy.interval number between 0 65535 = 0
                 healthchecks.active.unhealthy.http_statuses array:integer = [429,404,500,501,502,503,504,505]
                 healthchecks.active.unhealthy.tcp_failures integer between 0 255 = 0
                 healthchecks.active.unhealthy.timeouts integer between 0 255 = 0
                 healthchecks.active.unhealthy.http_failures integer between 0 255 = 0
                 healthchecks.passive.type string in tcp|http|https|grpc|grpcs = \"http\"
                 healthchecks.passive.healthy.http_statuses array:integer = [200,201,202,203,204,205,206,207,208,226,300,301,302,303,304,305,306,307,308]
                 healthchecks.passive.healthy.successes integer between 0 255 = 0
                 healthchecks.passive.unhealthy.http_statuses array:integer = [429,500,503]
                 healthchecks.passive.unhealthy.tcp_failures integer between 0 255 = 0
                 healthchecks.passive.unhealthy.timeouts integer between 0 255 = 0
                 healthchecks.passive.unhealthy.http_failures integer between 0 255 = 0
                 healthchecks.threshold number between 0 100 = 0
                 host_header string
                 client_certificate ->certificates
                 use_srv_name boolean = false",
    },
    KindSpec {
        kind: Kind::Target,
        name: "targets",
        singular: "target",
        aliases: &["target"],
        list_path: None,
        below: Some(("upstream", "targets")),
        natural_keys: &[&["upstream", "target"]],
        id: IdRecipe::CacheKey(&["upstream", "target"]),
        nested_in: &[(Kind::Upstream, "upstream")],
        top_level: true,
        columns: &["target", "weight", "upstream", "tags"],
        fields: "upstream ->upstreams required cascade
                 target string required
                 weight integer between 0 65535 = 100",
    },
    KindSpec {
        kind: Kind::KeyAuth,
        name: "keyauth_credentials",
        singular: "key-auth credential",
        aliases: &["key-auths", "key-auth"],
        list_path: Some("key-auths"),
        below: Some(("consumer", "key-auth")),
        natural_keys: &[&["key"]],
        id: IdRecipe::CacheKey(&["key"]),
        nested_in: &[(Kind::Consumer, "consumer")],
        top_level: true,
        columns: &["id", "consumer", "key", "ttl", "tags"],
        fields: "consumer ->consumers required cascade
                 key string required unique secret
                 ttl integer auto",
    },
    KindSpec {
        kind: Kind::Jwt,
        name: "jwt_secrets",
        singular: "JWT credential",
        aliases: &["jwts", "jwt"],
        list_path: Some("jwts"),
        below: Some(("consumer", "jwt")),
        natural_keys: &[&["key"]],
        id: IdRecipe::CacheKey(&["key"]),
        nested_in: &[(Kind::Consumer, "consumer")],
        top_level: true,
        columns: &["key", "algorithm", "consumer", "id", "tags"],
        fields: "consumer ->consumers required cascade
                 key string required unique
                 secret string secret auto
                 rsa_public_key string
                 algorithm string in HS256|HS384|HS512|RS256|RS384|RS512|ES256|ES384|ES512|PS256|PS384|PS512|EdDSA = \"HS256\"",
    },
    KindSpec {
        kind: Kind::BasicAuth,
        name: "basicauth_credentials",
        singular: "basic-auth credential",
        aliases: &["basic-auths", "basic-auth"],
        list_path: Some("basic-auths"),
        below: Some(("consumer", "basic-auth")),
        natural_keys: &[&["username"]],
        id: IdRecipe::CacheKey(&["username"]),
        nested_in: &[(Kind::Consumer, "consumer")],
        top_level: true,
        columns: &["username", "consumer", "id", "tags"],
        fields: "consumer ->consumers required cascade
                 username string required unique
                 password string required secret",
    },
    KindSpec {
        kind: Kind::HmacAuth,
        name: "hmacauth_credentials",
        singular: "hmac-auth credential",
        aliases: &["hmac-auths", "hmac-auth"],
        list_path: Some("hmac-auths"),
        below: Some(("consumer", "hmac-auth")),
        natural_keys: &[&["username"]],
        id: IdRecipe::CacheKey(&["username"]),
        nested_in: &[(Kind::Consumer, "consumer")],
        top_level: true,
        columns: &["username", "consumer", "id", "tags"],
        fields: "consumer ->consumers required cascade
                 username string required unique
                 secret string secret auto",
    },
    KindSpec {
        kind: Kind::OAuth2,
        name: "oauth2_credentials",
        singular: "OAuth 2.0 credential",
        aliases: &["oauth2"],
        list_path: Some("oauth2"),
        below: Some(("consumer", "oauth2")),
        natural_keys: &[&["client_id"]],
        id: IdRecipe::CacheKey(&["client_id"]),
        nested_in: &[(Kind::Consumer, "consumer")],
        top_level: true,
        columns: &["client_id", "name", "consumer", "id", "tags"],
        fields: "consumer ->consumers required cascade
                 name string required
                 client_id string required unique
                 client_secret string secret auto
                 hash_secret boolean required = false
                 redirect_uris array:string
                 client_type string required in confidential|public = \"confidential\"",
    },
    KindSpec {
        kind: Kind::Acl,
        name: "acls",
        singular: "ACL group",
        aliases: &["acl"],
        list_path: Some("acls"),
        below: Some(("consumer", "acls")),
        natural_keys: &[&["consumer", "group"]],
        id: IdRecipe::CacheKey(&["consumer", "group"]),
        nested_in: &[(Kind::Consumer, "consumer")],
        top_level: true,
        columns: &["group", "consumer", "id", "tags"],
        fields: "consumer ->consumers required cascade
                 group string required",
    },
    KindSpec {
        kind: Kind::Route,
        name: "routes",
        singular: "route",
        aliases: &["route"],
        list_path: Some("routes"),
        below: None,
        natural_keys: &[&["name"]],
        id: IdRecipe::Name("name"),
        nested_in: &[(Kind::Service, "service")],
        top_level: true,
        columns: &["name", "service", "hosts", "paths", "methods", "tags"],
        fields: "name string unique
                 protocols set:string required in grpc|grpcs|http|https|tcp|tls|tls_passthrough|udp = [\"http\",\"https\"]
                 https_redirect_status_code integer required in 426|301|302|307|308 = 426
                 strip_path boolean required = true
                 preserve_host boolean required = false
                 request_buffering boolean required = true
                 response_buffering boolean required = true
                 service ->services
                 snis set:string
                 sources{}.ip string
                 sources{}.port integer between 0 65535
                 destinations{}.ip string
                 destinations{}.port integer between 0 65535
                 methods set:string
                 hosts array:string
                 paths array:string
                 headers map:array:string
                 regex_priority integer = 0
                 path_handling string in v0|v1 = \"v0\"
                 expression string
                 priority integer between 0 70368744177663",
    },
    KindSpec {
        kind: Kind::Plugin,
        name: "plugins",
        singular: "plugin",
        aliases: &["plugin"],
        list_path: Some("plugins"),
        below: None,
        natural_keys: &[&["name", "route", "service", "consumer"]],
        id: IdRecipe::CacheKey(&["name", "route", "service", "consumer"]),
        nested_in: &[(Kind::Service, "service"), (Kind::Route, "route"), (Kind::Consumer, "consumer")],
        top_level: true,
        columns: &["name", "instance_name", "service", "route", "consumer", "enabled", "id"],
        fields: "name string required
                 instance_name string unique
                 route ->routes cascade
                 service ->services cascade
                 consumer ->consumers cascade
                 config any
                 protocols set:string in grpc|grpcs|http|https|tcp|tls|tls_passthrough|udp
                 enabled boolean required = true",
    },
    KindSpec {
        kind: Kind::FilterChain,
        name: "filter_chains",
        singular: "filter chain",
        aliases: &["filter-chains", "filter_chain", "filter-chain"],
        list_path: Some("filter-chains"),
        below: None,
        natural_keys: &[&["name"], &["route"], &["service"]],
        id: IdRecipe::CacheKey(&["route", "service"]),
        nested_in: &[(Kind::Service, "service"), (Kind::Route, "route")],
        top_level: true,
        columns: &["name", "service", "route", "enabled", "id", "tags"],
        fields: "name string unique
                 enabled boolean required = true
                 route ->routes unique cascade
                 service ->services unique cascade
                 filters[].name string required
                 filters[].enabled boolean required = true
                 filters[].config json",
    },
];

/// Fields that every kind has.
const COMMON_FIELDS: &str = "id string auto
                             created_at number auto
                             updated_at number auto
                             tags set:string";

/// The fields of each row.
pub(super) static RECORDS: LazyLock<Vec<Record>> = LazyLock::new(|| {
    SPECS
        .iter()
        .map(|spec| Record::from_lines(&[spec.fields, COMMON_FIELDS]))
        .collect()
});

//! `llm-jwt`: what is asked of tokens, and what is made of them.

use super::each_is_told_of_issuers;

#[test]
fn what_kongs_schema_says_of_tokens_is_said_here() {
    each_is_told_of_issuers(&[
        (
            "issuers: [ISSUER]\nleeway: §301",
            &["leeway: must be from 0 to 300"],
        ),
        (
            "issuers: [ISSUER]\nmaximum_expiration: §-1",
            &["maximum_expiration: must be from 0"],
        ),
        (
            "issuers: [ISSUER]\nmax_token_size: §10",
            &["max_token_size: must be from 256"],
        ),
        (
            "issuers: [ISSUER]\n§allowed_typ: []",
            &["allowed_typ: must not be empty"],
        ),
        (
            "issuers: [ISSUER]\nanonymous: §''",
            &["anonymous: must not be empty"],
        ),
        (
            "issuers: [ISSUER]\n§scopes_claim: []",
            &["scopes_claim: must not be empty"],
        ),
        (
            "issuers: [ISSUER]\nscopes_claim: §scope",
            &["scopes_claim: is a list, this is a string"],
        ),
        (
            "issuers: [ISSUER]\nclaims_required: [§{path: [a]}]",
            &["claims_required[0].one_of: is missing"],
        ),
        (
            "issuers: [ISSUER]\nclaims_forbidden: [{§path: [], one_of: [a]}]",
            &["claims_forbidden[0].path: must not"],
        ),
        (
            "issuers: [ISSUER]\nupstream_headers: [§{header: x}]",
            &["upstream_headers[0].path: is missing"],
        ),
        (
            "issuers: [ISSUER]\nconsumer_by: [§email]",
            &["consumer_by[0]: must be one of username, id"],
        ),
        (
            "issuers: [ISSUER]\nlimiter_claims: {tenant: §org}",
            &["limiter_claims.tenant: is a list"],
        ),
        (
            "issuers: [ISSUER]\njwks_refresh_before: §2",
            &["jwks_refresh_before: must be from 0.1 to 1"],
        ),
        (
            "issuers: [ISSUER]\njwks_timeout: §1",
            &["jwks_timeout: must be from 100"],
        ),
        (
            "issuers: [ISSUER]\nproof_of_possession: {dpop: §on}",
            &["proof_of_possession.dpop: must be one of off"],
        ),
        (
            "issuers: [ISSUER]\nerror_format: §xml",
            &["error_format: must be one of kong"],
        ),
        (
            "issuers: [ISSUER]\nexpression: §''",
            &["expression: must not be empty"],
        ),
    ]);
}

#[test]
fn rules_that_cannot_work_are_told() {
    each_is_told_of_issuers(&[
        (
            "issuers: [ISSUER]\n§header_names: []",
            &["header_names: no place is left"],
        ),
        (
            "issuers: [ISSUER]\n§header_names: ['a b']",
            &["header_names: \"a b\" is no header name"],
        ),
        (
            "issuers: [ISSUER]\nrealm: §'ä'",
            &["realm: only printable ASCII"],
        ),
        (
            "issuers: [ISSUER]\n§scopes_claim: ['']",
            &["scopes_claim: a path has"],
        ),
        (
            "issuers: [ISSUER]\nscopes_required: [a, §'a\"b']",
            &["scopes_required[1]: not a list of scopes"],
        ),
        (
            "issuers: [ISSUER]\nclaims_required: [{§path: [a, ''], one_of: [x]}]",
            &["claims_required[0].path: a path has"],
        ),
        (
            "issuers: [ISSUER]\nclaims_forbidden: [{§path: [''], one_of: [x]}]",
            &["claims_forbidden[0].path: a path has"],
        ),
        (
            "issuers: [ISSUER]\nexpression: §'claims.sub =='",
            &["expression: line 1, column"],
        ),
        (
            "issuers: [ISSUER]\nupstream_headers: [{header: §'a b', path: [sub]}]",
            &["upstream_headers[0].header: \"a b\" is no header"],
        ),
        (
            "issuers: [ISSUER]\nupstream_headers: [{header: §Host, path: [sub]}]",
            &["upstream_headers[0].header: \"host\" belongs"],
        ),
        (
            "issuers: [ISSUER]\nupstream_headers: [{header: X-A, path: [sub]}, {header: §x-a, path: [sub]}]",
            &["upstream_headers[1].header: this header is already"],
        ),
        (
            "issuers: [ISSUER]\nupstream_headers: [{header: X-A, §path: ['']}]",
            &["upstream_headers[0].path: a path has"],
        ),
        (
            "issuers: [ISSUER]\nconsumer_claims: [§[]]",
            &["consumer_claims[0]: a path has"],
        ),
        (
            "issuers: [ISSUER]\nconsumer_claims: [[sub]]\n§consumer_by: []",
            &["consumer_by: consumer_claims need"],
        ),
        (
            "issuers: [ISSUER]\n§credential_claim: ['']",
            &["credential_claim: a path has"],
        ),
        (
            "issuers: [ISSUER]\nlimiter_claims: {§tenant: []}",
            &["limiter_claims.tenant: a path has"],
        ),
        (
            "issuers: [ISSUER]\nproof_of_possession: {dpop: §required}\nheader_names: [x-token]",
            &["proof_of_possession.dpop: tokens with a proof"],
        ),
    ]);
}

#[test]
fn metadata_that_leads_nowhere_is_told() {
    each_is_told_of_issuers(&[
        (
            "^issuers: [ISSUER]\nresource: 'https://r.example'",
            &["metadata_endpoint: resource is set"],
        ),
        (
            "^issuers: [ISSUER]\nmetadata_endpoint: /m",
            &["resource: metadata_endpoint is set"],
        ),
        (
            "issuers: [ISSUER]\n§authorization_servers: ['https://i.example']",
            &["authorization_servers: only the metadata"],
        ),
        (
            "issuers: [ISSUER]\n§scopes_supported: [a]",
            &["scopes_supported: only the metadata"],
        ),
        (
            "issuers: [ISSUER]\nresource: §'/mcp'\nmetadata_endpoint: /m\nauthorization_servers: ['https://i.example']",
            &["resource: not an absolute"],
        ),
        (
            "^issuers: [ISSUER]\nresource: 'https://r.example'\nmetadata_endpoint: /m",
            &["authorization_servers: name at least one"],
        ),
        (
            "issuers: [ISSUER]\nresource: 'https://r.example'\nmetadata_endpoint: /m\n§authorization_servers: [idp]",
            &["authorization_servers: an issuer is"],
        ),
        (
            "issuers: [ISSUER]\nresource: 'https://r.example'\nmetadata_endpoint: §m\nauthorization_servers: ['https://i.example']",
            &["metadata_endpoint: a path on the gateway"],
        ),
    ]);
}

#[test]
fn introspection_that_cannot_ask_is_told() {
    each_is_told_of_issuers(&[
        (
            "issuers: [ISSUER]\nintrospection_cache_ttl: §86401",
            &["introspection_cache_ttl: must be from 0"],
        ),
        (
            "issuers: [ISSUER]\nintrospection_endpoint_auth_method: §none",
            &["introspection_endpoint_auth_method: must be one of client_secret_basic"],
        ),
        (
            "^introspection_endpoint: 'https://i.example/'\nintrospection_client_id: c\nintrospection_client_secret: s",
            &["introspection_issuer: introspection_endpoint needs it"],
        ),
        (
            "issuers: [ISSUER]\nintrospection_client_id: §c",
            &["introspection_client_id: nobody is asked"],
        ),
        (
            "^introspection_endpoint: 'https://i.example/'\nCLIENT",
            &["introspection_audience_required: name the audiences"],
        ),
        (
            "introspection_endpoint: 'https://i.example/'\nCLIENT\nintrospection_audience_required: [a]\nintrospection_insecure_skip_audience: §true",
            &["introspection_insecure_skip_audience: audiences are named"],
        ),
        (
            "introspection_endpoint: §'http://i.example/'\nCLIENT\nintrospection_audience_required: [a]",
            &["introspection_endpoint: plain http shows tokens"],
        ),
        (
            "introspection_endpoint: §'https://10.0.0.1/'\nCLIENT\nintrospection_audience_required: [a]",
            &["introspection_endpoint: the address is private"],
        ),
        (
            "issuers: [ISSUER]\nintrospect_jwt_tokens: §true",
            &["introspect_jwt_tokens: nobody is asked"],
        ),
    ]);
}

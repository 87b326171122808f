//! `llm-jwt`: issuers and their keys.

use super::each_is_told_of_issuers;

#[test]
fn what_kongs_schema_says_of_issuers_is_said_here() {
    each_is_told_of_issuers(&[
        (
            "issuers: [§{URL, audience_required: [a]}]",
            &["issuers[0].issuer: is missing"],
        ),
        (
            "issuers: [{issuer: §'', URL, audience_required: [a]}]",
            &["issuers[0].issuer: must not be empty"],
        ),
        (
            "issuers: [{ID, URL, algorithms: [RS256, §none]}]",
            &["issuers[0].algorithms[1]: must be one of RS256"],
        ),
        (
            "issuers: [{ID, URL, §algorithms: []}]",
            &["issuers[0].algorithms: must not be empty"],
        ),
        (
            "issuers: [{ID, URL, §audience: a}]",
            &["unknown field `issuers[0].audience`"],
        ),
        (
            "issuers: [{ID, URL, §audience_claim: []}]",
            &["issuers[0].audience_claim: must not be empty"],
        ),
        (
            "issuers: [{ID, §secrets: [], algorithms: [HS256]}]",
            &["issuers[0].secrets: must not be empty"],
        ),
        (
            "issuers: [{ID, §public_keys: []}]",
            &["issuers[0].public_keys: must not be empty"],
        ),
    ]);
}

#[test]
fn keys_that_verify_nothing_are_told() {
    each_is_told_of_issuers(&[
        ("issuers: [§{ID}]", &["issuers[0]: exactly one of"]),
        (
            "issuers: [§{ID, URL, jwks: '{}'}]",
            &["issuers[0]: exactly one of"],
        ),
        (
            "issuers: [{ID, jwks: §'nonsense'}]",
            &["issuers[0].jwks: not a JWK set"],
        ),
        (
            "issuers: [{ID, jwks: §'{\"keys\":[]}'}]",
            &["issuers[0].jwks: the JWK set has no usable key"],
        ),
        (
            "issuers: [{ID, public_keys: [RSA, §'nonsense']}]",
            &["issuers[0].public_keys[1]: not a PEM public key"],
        ),
        (
            "issuers: [{ID, public_keys: [§PRIVATE]}]",
            &["issuers[0].public_keys[0]: this is a private key"],
        ),
        (
            "issuers: [{ID, public_keys: [§CERTIFICATE]}]",
            &["issuers[0].public_keys[0]: this is a certificate"],
        ),
        (
            "issuers: [{ID, algorithms: [ES256], §public_keys: [RSA]}]",
            &["issuers[0].public_keys: no key fits"],
        ),
        (
            "issuers: [{ID, jwks_endpoint: §'http://a.example/'}]",
            &["issuers[0].jwks_endpoint: keys over plain http"],
        ),
        (
            "issuers: [{ID, jwks_endpoint: §'ftp://a.example/'}]",
            &["issuers[0].jwks_endpoint: only https"],
        ),
        (
            "issuers: [{ID, jwks_endpoint: §'/jwks'}]",
            &["issuers[0].jwks_endpoint: not an absolute URL"],
        ),
        (
            "issuers: [{ID, jwks_endpoint: §'https://u:p@a.example/'}]",
            &["issuers[0].jwks_endpoint: credentials"],
        ),
        (
            "issuers: [{ID, discovery_endpoint: §'https://10.0.0.1/'}]",
            &["issuers[0].discovery_endpoint: the address is private"],
        ),
        (
            "issuers: [{ID, URL, §algorithms: [RS256, HS256]}]",
            &["issuers[0].algorithms: HS256 needs `secrets`"],
        ),
        (
            "issuers: [{ID, §algorithms: [RS256], secrets: [S]}]",
            &["issuers[0].algorithms: RS256 needs public keys"],
        ),
        (
            "issuers: [{ID, algorithms: [HS256], secrets: [§short]}]",
            &["issuers[0].secrets[0]: HS256 needs a secret of at least 32"],
        ),
        (
            "issuers: [{ID, algorithms: [HS256], secret_is_base64: true, secrets: [§'a b!']}]",
            &["issuers[0].secrets[0]: not base64"],
        ),
    ]);
}

#[test]
fn issuers_that_are_ambiguous_are_told() {
    each_is_told_of_issuers(&[
        (
            "§issuers: []",
            &["issuers: at least one issuer is needed, or introspection_endpoint"],
        ),
        (
            "issuers: [ISSUER, {issuer: §'https://ok.example', URL, audience_required: [a]}]",
            &["issuers[1].issuer: this issuer is already"],
        ),
        (
            "issuers: [§{issuer: 'https://a.example', URL}]",
            &["issuers[0].audience_required: name the audiences"],
        ),
        (
            "issuers: [{ID, URL, insecure_skip_audience: §true}]",
            &["issuers[0].insecure_skip_audience: audiences are named"],
        ),
        (
            "issuers: [{ID, URL, §audience_claim: ['']}]",
            &["issuers[0].audience_claim: a path has"],
        ),
    ]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    each_is_told_of_issuers(&[(
        "issuers:\n- §{ID}\n- ISSUER\n- {issuer: §'https://ok.example', URL, audience_required: [a]}\nleeway: §-1\nrealm: §'ä'\nexpression: §'1 +'",
        &[
            "issuers[0]: exactly one",
            "issuers[2].issuer: this issuer",
            "leeway: must be",
            "realm: only",
            "expression: line",
        ],
    )]);
}

//! Values that are not at hand: variables that are unset, vaults.

use super::{ISSUER, LIMIT, told};

#[test]
fn what_is_not_at_hand_is_no_mistake() {
    let unset = "'${{ env \"UNSET\" }}'";
    for text in [
        format!("[{{name: a, limit: {unset}, window_size: {unset}}}]"),
        format!("[{{name: {unset}, limit: 5, window_size: 60, limit_by: [{unset}]}}]"),
        format!("[{unset}]"),
        unset.to_owned(),
    ] {
        let file = format!("plugins: [{{name: llm-rate-limiting, config: {{limits: {text}}}}}]");
        assert_eq!(told(&file), [""; 0], "{file}");
    }
    for text in [
        format!("limits: [LIMIT], policy: {unset}, redis: {{host: {unset}, port: {unset}}}"),
        format!(
            "limits: [LIMIT], policy: redis, redis: {{host: {unset}, password: '{{vault://env/p}}', username: {unset}}}"
        ),
        format!(
            "limits: [LIMIT], policy: redis, redis: {{host: h, database: {unset}, ssl: {unset}, server_name: n}}"
        ),
        format!(
            "limits: [LIMIT], policy: redis, redis: {{cluster_nodes: [{{host: {unset}, port: {unset}}}]}}"
        ),
        format!("limits: [LIMIT], error_code: {unset}, max_tokens: {{clamp: 1, inject: {unset}}}"),
    ] {
        let file = format!(
            "plugins: [{{name: llm-rate-limiting, config: {{{}}}}}]",
            text.replace("LIMIT", LIMIT)
        );
        assert_eq!(told(&file), [""; 0], "{file}");
    }
    for text in [
        format!("issuers: [{{issuer: {unset}, public_keys: [{unset}, {unset}], audience_required: [{unset}]}}]"),
        "issuers: [{issuer: i, jwks: '{vault://aws/jwks}', audience_required: [a]}]".to_owned(),
        "issuers: [{issuer: i, secrets: ['{vault://env/a}', '{vault://env/b}'], algorithms: [HS512], audience_required: [a]}]".to_owned(),
        format!("issuers: [{{issuer: i, secrets: [{unset}], secret_is_base64: true, algorithms: [HS512], audience_required: [a]}}]"),
        format!("issuers: [{{issuer: i, jwks_endpoint: 'http://10.0.0.1/', audience_required: [a]}}], allow_http_jwks: {unset}, allow_private_jwks: {unset}"),
        format!("issuers: [ISSUER, {{issuer: {unset}, discovery_endpoint: {unset}, insecure_skip_audience: {unset}}}]"),
        format!("issuers: [ISSUER], resource: {unset}, metadata_endpoint: /m, authorization_servers: [{unset}]"),
        format!("issuers: [ISSUER], expression: {unset}, anonymous: {unset}, realm: {unset}, leeway: {unset}"),
        format!("issuers: {unset}"),
        format!(
            "introspection_endpoint: {unset}, introspection_issuer: {unset}, introspection_client_id: c, \
             introspection_client_secret: '{{vault://env/s}}', introspection_audience_required: [{unset}]"
        ),
    ] {
        let file = format!("plugins: [{{name: llm-jwt, config: {{{}}}}}]", text.replace("ISSUER", ISSUER));
        assert_eq!(told(&file), [""; 0], "{file}");
    }
    // What is at hand is looked at all the same.
    let file = "plugins: [{name: llm-jwt, config: {issuers: [{issuer: i, public_keys: ['${{ env \"UNSET\" }}'], algorithms: [HS256]}]}}]";
    assert_eq!(told(file).len(), 1, "{:?}", told(file));
    let file = "plugins: [{name: llm-rate-limiting, config: {limits: [{name: a, limit: '${{ env \"SET\" | toInt }}', window_size: 0}]}}]";
    assert_eq!(
        told(file),
        ["1:113: llm-rate-limiting: limits[0].window_size: must be greater than 0"]
    );
    assert_eq!(
        told("plugins: [{name: llm-jwt, config: '${{ env \"UNSET\" }}'}]"),
        [""; 0]
    );
}

//! `openapi2kong`: what a user sees, and agreement with decK's converter on its own fixtures.

use serde_json::Value;

use super::{World, go_module};

/// decK's converter, with its fixtures.
const GO_APIOPS: &str = "github.com/kong/go-apiops@v0.4.2";
/// Plugins of Kong Enterprise, which decK makes and we leave out.
const ENTERPRISE: [&str; 2] = ["openid-connect", "request-validator"];

#[test]
fn a_description_is_converted_or_told_what_is_wrong() {
    let description = "\
openapi: 3.0.3
info: {title: Chat API}
x-kong-tags: [api]
x-kong-plugin-request-validator: {}
x-kong-plugin-rate-limiting: {config: {minute: 5}}
x-kong-route-defaults: {response_buffering: false}
servers:
- url: https://{host}/v1
  variables: {host: {default: provider.example}}
paths:
  /chat/{id}:
    post:
      operationId: chat
      x-kong-plugin-key-auth: {consumer: alice}
";
    let world = World::new(&[
        ("api.yml", description),
        (
            "bad.yml",
            "openapi: 3.0.3\ninfo: {title: a}\npaths:\n  /a: {$ref: '#/nowhere'}\n",
        ),
        ("old.json", "{\"swagger\": \"2.0\"}"),
        ("broken.yml", "openapi: [\n"),
    ]);
    let seen = [
        world.run(&["openapi2kong", "api.yml"]),
        world.run(&[
            "openapi2kong",
            "--no-id",
            "-o",
            "json",
            "--select-tag",
            "t",
            "api.yml",
        ]),
        world.run(&[
            "openapi2kong",
            "--inso-compatible",
            "--uuid-base",
            "My API",
            "api.yml",
        ]),
        world.run(&["openapi2kong", "bad.yml"]),
        world.run(&["openapi2kong", "old.json"]),
        world.run(&["openapi2kong", "broken.yml"]),
        world.run(&["openapi2kong", "."]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn what_is_made_is_valid() {
    let world = World::new(&[(
        "api.yml",
        "openapi: 3.1.0\ninfo: {title: a}\nservers: [{url: 'http://a'}, {url: 'http://b'}]\npaths: {'/x/{y}': {get: {}, put: {}}}\n",
    )]);
    world.write("kong.yml", &world.stdout(&["openapi2kong", "api.yml"]));
    let seen = world.run(&["validate", "kong.yml"]);
    assert!(seen.contains("exit code: 0"), "{seen}");
}

/// Each kind of scheme, and what a description can say of it.
const PROTECTED: &str = "\
openapi: 3.1.0
info: {title: Agents}
servers: [{url: https://provider.example}]
security: [{key: []}]
paths:
  /chat: {post: {}}
  /models: {get: {security: []}}
  /news: {get: {security: [{}, {key: []}]}}
  /users: {get: {security: [{basic: []}]}}
  /both: {get: {security: [{basic: [], query: []}]}}
  /files:
    get: {security: [{provider: [read]}]}
    put: {security: [{provider: [read, write]}]}
  /tokens: {get: {security: [{bearer: []}]}}
  /older: {get: {security: [{decks: [more]}]}}
  /own: {get: {x-kong-plugin-hmac-auth: {}}}
  /either:
    parameters: [{name: x-kind, in: header, required: true, schema: {enum: [a]}}]
    get: {security: [{key: []}, {basic: []}, {provider: [read]}]}
components:
  x-kong:
    security: {bearer: {config: {issuers: [{issuer: https://b.example, jwks_endpoint: https://b.example/keys, audience_required: [agents]}]}}}
  securitySchemes:
    key: {type: apiKey, in: header, name: x-api-key, x-kong-security-key-auth: {config: {hide_credentials: true}}}
    query: {type: apiKey, in: query, name: api_key}
    basic: {type: http, scheme: Basic}
    provider:
      type: openIdConnect
      openIdConnectUrl: https://idp.example/.well-known/openid-configuration
      x-kong-security-llm-jwt: {config: {issuers: [{audience_required: [agents]}], scopes_required: [a, b c]}}
    bearer: {type: http, scheme: bearer, x-kong-security-llm-jwt: {$ref: '#/components/x-kong/security/bearer'}}
    decks:
      type: openIdConnect
      openIdConnectUrl: https://old.example/.well-known/openid-configuration
      x-kong-security-openid-connect: {config: {issuer: https://new.example, audience_required: [agents], scopes_required: [one]}}
";

/// A description of one operation that asks for one thing.
fn asking_for(security: &str, scheme: &str) -> String {
    format!(
        "openapi: 3.0.3\ninfo: {{title: a}}\npaths:\n  /a:\n    get:\n      security: {security}\n\
         components:\n  securitySchemes:\n    one: {scheme}\n    two: {{type: apiKey, in: header, name: a}}\n"
    )
}

#[test]
fn security_becomes_plugins_or_is_told() {
    let world = World::new(&[("api.yml", PROTECTED)]);
    let mut seen = vec![
        world.run(&["openapi2kong", "--no-id", "--generate-security", "api.yml"]),
        world
            .run(&["openapi2kong", "--no-id", "-o", "json", "api.yml"])
            .split("--- stderr")
            .last()
            .unwrap()
            .to_owned(),
        world.run(&["openapi2kong", "--ignore-security-errors", "api.yml"]),
    ];
    let provider = "openIdConnectUrl: https://idp.example";
    for (security, scheme) in [
        (
            "[{one: []}, {two: []}]",
            "{type: apiKey, in: query, name: b}".to_owned(),
        ),
        (
            "[{two: []}, {one: [], two: []}]",
            "{type: http, scheme: basic}".to_owned(),
        ),
        (
            "[{two: []}, {one: []}]",
            "{type: http, scheme: basic, x-kong-security-basic-auth: {config: {anonymous: guest}}}"
                .to_owned(),
        ),
        (
            "[{one: [], two: []}]",
            "{type: apiKey, in: query, name: b}".to_owned(),
        ),
        ("[{three: []}]", "{type: mutualTLS}".to_owned()),
        ("[{one: []}]", "{type: mutualTLS}".to_owned()),
        (
            "[{one: []}]",
            "{type: apiKey, in: cookie, name: a}".to_owned(),
        ),
        ("[{one: []}]", "{type: http, scheme: digest}".to_owned()),
        ("[{one: [admin]}]", "{type: http, scheme: basic}".to_owned()),
        ("[{one: []}]", "{type: oauth2, flows: {}}".to_owned()),
        (
            "[{one: []}]",
            format!("{{type: openIdConnect, {provider}}}"),
        ),
        (
            "[{one: []}]",
            format!(
                "{{type: openIdConnect, {provider}, x-kong-security-openid-connect: {{config: {{cache_ttl: 5}}}}}}"
            ),
        ),
    ] {
        world.write("bad.yml", &asking_for(security, &scheme));
        let told = world.run(&["openapi2kong", "--generate-security", "bad.yml"]);
        seen.push(format!("# {security} {scheme}\n{told}"));
    }
    world.write(
        "several.yml",
        &asking_for("[{one: []}]", "{type: mutualTLS}").replace(
            "components:",
            "    put: {security: [{one: []}]}\n  /b: {get: {security: [{three: []}]}}\ncomponents:",
        ),
    );
    seen.push(world.run(&["openapi2kong", "--generate-security", "several.yml"]));
    seen.push(world.run(&[
        "openapi2kong",
        "--generate-security",
        "--ignore-security-errors",
        "--no-id",
        "bad.yml",
    ]));
    insta::assert_snapshot!(seen.join("\n"));

    let made = world.stdout(&["openapi2kong", "--generate-security", "api.yml"]);
    world.write("kong.yml", &made);
    let judged = world.run(&["validate", "kong.yml"]);
    assert!(judged.contains("exit code: 0"), "{judged}");
}

/// Each of go-apiops' fixtures gives what go-apiops says it gives, Enterprise's plugins aside.
#[test]
fn fixtures_of_deck_give_what_deck_makes_of_them() {
    let Some(module) = go_module(GO_APIOPS) else {
        return;
    };
    let directory = module.join("openapi2kong/oas3_testfiles");
    let mut compared = 0;
    for (suffix, flags) in [
        (".expected.json", &[][..]),
        (".expected_inso.json", &["--inso-compatible"]),
        (".expected_skip_header.json", &["--skip-route-by-header"]),
    ] {
        let mut expectations: Vec<_> = std::fs::read_dir(&directory)
            .unwrap()
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(suffix).map(str::to_owned)
            })
            .collect();
        expectations.sort();
        for name in expectations {
            let text = std::fs::read_to_string(directory.join(format!("{name}{suffix}"))).unwrap();
            let mut expected: Value = serde_json::from_str(&text).unwrap();
            let description = directory.join(format!("{name}.yaml"));
            let says = |setting: &str| {
                std::fs::read_to_string(&description)
                    .unwrap()
                    .contains(&format!("{setting}: true"))
            };
            let description_path = description.to_str().unwrap();
            let file_tag = format!("OAS3file_{name}.yaml");
            let mut words = vec![
                "openapi2kong",
                "-o",
                "json",
                "--select-tag",
                "OAS3_import",
                "--select-tag",
                &file_tag,
            ];
            words.extend(flags);
            if says("treatAllHeadersAsRequired") {
                words.push("--route-by-optional-headers");
            }
            if says("reuseServices") {
                words.push("--reuse-services");
            }
            words.push(description_path);
            let mut made: Value = serde_json::from_str(&World::new(&[]).stdout(&words)).unwrap();
            normalize(&mut expected);
            normalize(&mut made);
            assert_eq!(made, expected, "{name}{suffix}");
            compared += 1;
        }
    }
    assert!(compared >= 40, "{compared} fixtures");
}

/// Without what says nothing, and without what Kong OSS does not have; maps have no order.
fn normalize(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(normalize);
            map.retain(|name, value| {
                !(matches!(name.as_str(), "plugins" | "routes" | "upstreams" | "tags")
                    && value.as_array().is_some_and(Vec::is_empty))
            });
            map.sort_keys();
        }
        Value::Array(items) => {
            items.retain(|item| {
                let name = item.get("name").and_then(Value::as_str);
                !(name.is_some_and(|name| ENTERPRISE.contains(&name)) && item.get("host").is_none())
            });
            items.iter_mut().for_each(normalize);
        }
        _ => {}
    }
}

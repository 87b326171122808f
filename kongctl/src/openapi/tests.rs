use serde_json::json;

use super::*;
use crate::output::yaml as out;
use crate::state::references::References;
use crate::state::yaml;

fn converted_with(text: &str, options: &Options) -> Result<Converted, String> {
    let mut diagnostics = Diagnostics::default();
    let documents = yaml::read("api.yml", text, &References::none(), &mut diagnostics);
    let converted = documents
        .first()
        .and_then(|document| convert(document, options, &mut diagnostics));
    diagnostics
        .into_result()
        .map_err(|error| error.to_string())?;
    Ok(converted.unwrap())
}

fn converted(text: &str) -> Result<Converted, String> {
    converted_with(text, &Options::default())
}

const PETS: &str = "
openapi: 3.1.0
info: {title: Pet Store}
servers: [{url: 'https://{region}.example:8443/v1', variables: {region: {default: eu}}}]
x-kong-plugin-cors: {config: {max_age: 5}}
paths:
  /pets/{pet-id}.json:
    parameters: [{name: pet-id, in: path, required: true, schema: {type: string}}]
    get: {operationId: getPet}
    post:
      x-kong-plugin-key-auth: {}
  /pets:
    servers: [{url: 'http://a.example'}, {url: 'http://b.example:81'}]
    get: {}
";

#[test]
fn a_description_becomes_services_routes_and_upstreams() {
    let options = Options {
        no_ids: true,
        tags: Some(vec!["t".to_owned()]),
        ..Options::default()
    };
    let text = out::write(&converted_with(PETS, &options).unwrap().document);
    insta::assert_snapshot!(text);
}

/// Ids as go-apiops gives them to its first fixture.
#[test]
fn ids_are_those_of_deck() {
    let document =
        converted("openapi: 3.0.2\ninfo: {title: Simple API overview}\npaths: {/: {get: {}}}\n")
            .unwrap()
            .document;
    let id = |name: &str| json!(Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()).to_string());
    assert_eq!(
        document.pointer("/services/0/id").unwrap(),
        &id("simple-api-overview.service")
    );
    assert_eq!(
        document.pointer("/services/0/routes/0/id").unwrap(),
        &id("simple-api-overview_~_get.route")
    );
}

#[test]
fn what_kong_oss_lacks_is_left_out_and_told() {
    let converted = converted(
        "openapi: 3.0.0\ninfo: {title: a}\nx-kong-plugin-request-validator: {}\nx-kong-plugin-cors: {}\npaths: {}\n",
    )
    .unwrap();
    assert_eq!(converted.left_out, ["request-validator"]);
    let plugins = converted.document.pointer("/services/0/plugins").unwrap();
    assert_eq!(plugins.as_array().unwrap().len(), 1);
}

#[test]
fn mistakes_have_places() {
    for (text, expected) in [
        ("swagger: '2.0'\n", "api.yml:1:1: this is Swagger 2"),
        (
            "openapi: 3.0.0\npaths: {}\n",
            "api.yml:1:1: the description has no name",
        ),
        (
            "openapi: 3.0.0\ninfo: {title: a}\n",
            "api.yml:1:1: the description has no `paths`",
        ),
        (
            "openapi: 3.0.0\ninfo: {title: a}\npaths: {/a: {$ref: '#/components/pathItems/x'}}\n",
            "api.yml:3:20: there is no `#/components/pathItems/x`",
        ),
        (
            "openapi: 3.0.0\ninfo: {title: a}\npaths: {/a: {$ref: other.yml}}\n",
            "api.yml:3:20: `other.yml` leads out of this file",
        ),
        (
            "openapi: 3.0.0\ninfo: {title: a}\npaths: {/a: {$ref: '#/paths/~1a'}}\n",
            "api.yml:3:13: references in a circle",
        ),
        (
            "openapi: 3.0.0\ninfo: {title: a}\nservers: [{url: example.com}]\npaths: {}\n",
            "api.yml:3:11: `example.com` is no address of a server",
        ),
        (
            "openapi: 3.0.0\ninfo: {title: a}\nx-kong-service-defaults: [a]\npaths: {}\n",
            "api.yml:3:26: `x-kong-service-defaults` is a map, this is a list",
        ),
        (
            "openapi: 3.0.0\ninfo: {title: a}\npaths: {'/{a-name-that-is-far-too-long-for-a-group}': {get: {}}}\n",
            "api.yml:3:55: the parameter",
        ),
        (
            "openapi: 3.0.0\ninfo: {title: a}\nx-kong-tags: [1]\npaths: {}\n",
            "api.yml:3:15: `x-kong-tags` is a list of strings",
        ),
    ] {
        let error = converted(text).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

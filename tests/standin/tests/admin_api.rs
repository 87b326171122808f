//! What the recordings of the Admin API do not show.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kong_standin::{Config, Database, PluginServer, Standin};
use serde_json::{Value, json};

struct Admin {
    standin: Standin,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Admin {
    async fn start(config: Config) -> Self {
        let standin = Standin::start(config).await.unwrap();
        Self {
            standin,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    async fn with_database() -> Self {
        Self::start(Config {
            database: Database::Memory,
            ..Config::default()
        })
        .await
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: String,
    ) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.standin.admin_addr()))
            .header("content-type", content_type)
            .body(Full::from(body))
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.call(method, path, "application/json", body.to_string())
            .await
    }

    async fn get(&self, path: &str) -> Value {
        self.call("GET", path, "application/json", String::new())
            .await
            .1
    }
}

#[tokio::test]
async fn a_plugin_servers_schema_is_applied_to_its_plugins_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let dump = directory.path().join("dump.json");
    let schema = json!({
        "name": "llm-demo",
        "fields": [{"config": {"type": "record", "fields": [
            {"limit": {"type": "integer", "required": true, "between": [1, 10], "description": "how many"}},
            {"unit": {"type": "string", "default": "requests", "one_of": ["requests", "tokens"]}},
            {"secret": {"type": "string", "referenceable": true, "encrypted": true}},
        ]}}],
    });
    let plugin = json!({"Name": "llm-demo", "Version": "1.2.3", "Priority": 900, "Phases": ["access"], "Schema": schema});
    std::fs::write(
        &dump,
        json!({"Protocol": "ProtoBuf:1", "Plugins": [plugin]}).to_string(),
    )
    .unwrap();
    let admin = Admin::start(Config {
        database: Database::Memory,
        plugins: vec!["bundled".to_owned(), "llm-demo".to_owned()],
        plugin_servers: vec![plugin_server(&dump)],
        ..Config::default()
    })
    .await;

    let (status, created) = admin
        .json(
            "POST",
            "/plugins",
            json!({"name": "llm-demo", "config": {"limit": 3}}),
        )
        .await;
    assert_eq!(status, 201, "{created}");
    assert_eq!(
        created["config"],
        json!({"limit": 3, "unit": "requests", "secret": null})
    );

    let config = json!({"limit": 11, "unit": "cents", "surplus": 1});
    let (status, refused) = admin
        .json(
            "POST",
            "/plugins",
            json!({"name": "llm-demo", "config": config}),
        )
        .await;
    assert_eq!(status, 400);
    let faults = json!({
        "limit": "value should be between 1 and 10",
        "unit": "expected one of: requests, tokens",
        "surplus": "unknown field",
    });
    assert_eq!(refused["fields"]["config"], faults);

    let (_, refused) = admin
        .json("POST", "/plugins", json!({"name": "llm-demo"}))
        .await;
    assert_eq!(
        refused["fields"]["config"]["limit"],
        "required field missing"
    );

    let path = format!("/plugins/{}", created["id"].as_str().unwrap());
    let (_, changed) = admin
        .json("PATCH", &path, json!({"config": {"unit": "tokens"}}))
        .await;
    assert_eq!(
        changed["config"],
        json!({"limit": 3, "unit": "tokens", "secret": null})
    );

    let shown = admin.get("/schemas/plugins/llm-demo").await;
    assert_eq!(
        shown["fields"][0]["config"]["fields"][0]["limit"]["description"],
        "how many"
    );
    assert_eq!(
        admin.get("/").await["plugins"]["available_on_server"]["llm-demo"]["version"],
        "1.2.3"
    );
    admin.standin.shutdown().await;
}

fn plugin_server(dump: &Path) -> PluginServer {
    PluginServer {
        name: "demo".to_owned(),
        socket: dump.with_extension("sock"),
        query_cmd: format!("cat {}", dump.display()),
    }
}

#[tokio::test]
async fn a_form_is_typed_by_the_schema() {
    let admin = Admin::with_database().await;
    let form = "name=key-auth&config.key_names[]=x&config.key_names[]=y&config.hide_credentials=true&tags=a";
    let (status, created) = admin
        .call(
            "POST",
            "/plugins",
            "application/x-www-form-urlencoded",
            form.to_owned(),
        )
        .await;
    assert_eq!(status, 201, "{created}");
    assert_eq!(created["config"]["key_names"], json!(["x", "y"]));
    assert_eq!(created["config"]["hide_credentials"], true);
    assert_eq!(created["tags"], json!(["a"]));
    admin.standin.shutdown().await;
}

#[tokio::test]
async fn a_refused_write_changes_nothing() {
    let admin = Admin::with_database().await;
    admin.json("PUT", "/services/s", json!({"host": "h"})).await;
    admin
        .json(
            "PUT",
            "/routes/r",
            json!({"paths": ["/r"], "service": {"name": "s"}}),
        )
        .await;
    admin
        .json("POST", "/services/s/plugins", json!({"name": "key-auth"}))
        .await;

    let (status, refused) = admin.json("DELETE", "/services/s", Value::Null).await;
    assert_eq!(
        (status, &refused["fields"]["@referenced_by"]),
        (400, &json!("routes"))
    );
    assert_eq!(
        admin.get("/plugins").await["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let (status, _) = admin
        .json("PATCH", "/routes/r", json!({"paths": ["noslash"]}))
        .await;
    assert_eq!(
        (status, &admin.get("/routes/r").await["paths"]),
        (400, &json!(["/r"]))
    );

    admin.json("DELETE", "/routes/r", Value::Null).await;
    assert_eq!(
        admin.json("DELETE", "/services/s", Value::Null).await.0,
        204
    );
    assert_eq!(
        admin.get("/plugins").await["data"],
        json!([]),
        "plugins go with their service"
    );
    admin.standin.shutdown().await;
}

#[tokio::test]
async fn an_unknown_name_in_a_reference_is_named() {
    let admin = Admin::with_database().await;
    let (status, refused) = admin
        .json(
            "POST",
            "/routes",
            json!({"paths": ["/"], "service": {"name": "none"}}),
        )
        .await;
    assert_eq!((status, &refused["code"]), (400, &json!(13)));
    let message = "the foreign key cannot be resolved with '{name=\"none\"}' for an existing 'services' entity";
    assert_eq!(refused["fields"]["service"]["name"], message);
    admin.standin.shutdown().await;
}

const DOCUMENT: &str = "
_format_version: '3.0'
services:
- name: llm
  url: http://127.0.0.1:9955
  routes:
  - name: chat
    paths: [/chat]
upstreams:
- name: pool
  targets:
  - target: 127.0.0.1:9955
consumers:
- username: alice
  basicauth_credentials:
  - username: alice
    password: pw
";

#[tokio::test]
async fn a_document_that_is_in_force_is_not_loaded_again() {
    let admin = Admin::start(Config::default()).await;
    let post = async |path| {
        admin
            .call("POST", path, "text/yaml", DOCUMENT.to_owned())
            .await
            .0
    };
    assert_eq!(post("/config?check_hash=1").await, 201);
    assert_eq!(post("/config?check_hash=1").await, 304);
    assert_eq!(post("/config").await, 201);
    admin.standin.shutdown().await;
}

#[tokio::test]
async fn what_config_shows_can_be_loaded() {
    let admin = Admin::start(Config::default()).await;
    let (_, loaded) = admin
        .call("POST", "/config", "text/yaml", DOCUMENT.to_owned())
        .await;
    let shown = admin.get("/config").await;
    let (status, again) = admin.json("POST", "/config", shown).await;
    assert_eq!(status, 201, "{again}");
    for kind in [
        "services",
        "routes",
        "upstreams",
        "targets",
        "basicauth_credentials",
    ] {
        let names = |body: &Value| {
            body[kind]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&again), names(&loaded), "{kind}");
    }
    let password = |body: &Value| {
        let credentials = body["basicauth_credentials"].as_object().unwrap();
        credentials.values().next().unwrap()["password"].clone()
    };
    assert_eq!(
        password(&again),
        password(&loaded),
        "a hash is not hashed again"
    );
    admin.standin.shutdown().await;
}

#[tokio::test]
async fn a_reference_to_nothing_is_named_where_the_entity_has_a_name() {
    let admin = Admin::start(Config::default()).await;
    let document = json!({"_format_version": "3.0", "routes": [{"name": "r", "paths": ["/"], "service": "none"}]});
    let (status, refused) = admin.json("POST", "/config", document).await;
    assert_eq!(status, 400);
    let message = "invalid reference 'service: none' (no such entry in 'services')";
    assert_eq!(refused["fields"]["routes"]["r"], json!([message]));
    admin.standin.shutdown().await;
}

#[tokio::test]
async fn a_name_declared_twice_is_refused() {
    let admin = Admin::start(Config::default()).await;
    let twice = json!([{"name": "s", "host": "a"}, {"name": "s", "host": "b"}]);
    let (status, refused) = admin
        .json(
            "POST",
            "/config",
            json!({"_format_version": "3.0", "services": twice}),
        )
        .await;
    assert_eq!(status, 400);
    let message = "uniqueness violation: 'services' entity with name set to 's' already declared";
    assert_eq!(refused["fields"]["services"], json!([null, message]));
    admin.standin.shutdown().await;
}

#[tokio::test]
async fn a_faulty_configuration_file_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kong.yml");
    std::fs::write(&path, "_format_version: '3.0'\nservices: [{name: s}]\n").unwrap();
    let config = Config {
        declarative_config: Some(path),
        ..Config::default()
    };
    let error = Standin::start(config).await.unwrap_err().to_string();
    assert!(error.contains("host=\"required field missing\""), "{error}");
}

#[tokio::test]
async fn a_request_that_filters_would_see_fails_rather_than_pass_without_them() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("guard.wasm"), "").unwrap();
    let admin = Admin::start(Config {
        database: Database::Memory,
        wasm: true,
        wasm_filters_path: Some(directory.path().to_owned()),
        ..Config::default()
    })
    .await;
    admin
        .json("PUT", "/routes/r", json!({"paths": ["/"]}))
        .await;
    let proxied = async |enabled: bool| {
        let chain = json!({"filters": [{"name": "guard", "enabled": enabled}]});
        let id = "11111111-1111-4111-8111-111111111111";
        let (status, _) = admin
            .json("PUT", &format!("/routes/r/filter-chains/{id}"), chain)
            .await;
        assert_eq!(status, 200);
        // The proxy follows a moment later.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let uri = format!("http://{}/", admin.standin.proxy_addr());
        let request = Request::get(uri).body(Full::default()).unwrap();
        admin.client.request(request).await.unwrap().status()
    };
    assert_eq!(proxied(true).await, 500);
    // Without a service there is nobody to ask.
    assert_eq!(proxied(false).await, 503);
    admin.standin.shutdown().await;
}

#[tokio::test]
async fn filters_that_cannot_be_had_stop_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let with = async |path: &Path| {
        let config = Config {
            wasm: true,
            wasm_filters_path: Some(path.to_owned()),
            ..Config::default()
        };
        Standin::start(config).await.unwrap_err().to_string()
    };
    let nowhere = with(&directory.path().join("nowhere")).await;
    assert!(
        nowhere.ends_with("nowhere' is not a valid directory"),
        "{nowhere}"
    );

    std::fs::write(directory.path().join("key-auth.wasm"), "").unwrap();
    let twice = with(directory.path()).await;
    assert_eq!(twice, "duplicate plugin/wasm filter name: key-auth");

    let metadata = directory.path().join("key-auth.meta.json");
    std::fs::write(metadata, "oops!").unwrap();
    let unreadable = with(directory.path()).await;
    assert!(unreadable.contains("of filter 'key-auth'"), "{unreadable}");
}

#[tokio::test]
async fn a_kind_that_kong_would_not_start_with_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kinds.json");
    let id = json!({"id": {"typedef": "uuid"}});
    let owner = json!({"owner": {"type": "foreign", "reference": "owners"}});
    for (definition, told) in [
        (
            json!({"name": "services", "fields": [id]}),
            "there is a kind of that name or path, 'services'",
        ),
        (
            json!({"name": "plans", "admin_api_name": "key-auths", "fields": [id]}),
            "there is a kind of that name or path, 'key-auths'",
        ),
        (
            json!({"name": "plans", "fields": [id, owner]}),
            "'owner' refers to 'owners', which is unknown",
        ),
        (
            json!({"name": "plans", "endpoint_key": "name", "fields": [id]}),
            "it has no field 'name'",
        ),
        (
            json!({"name": "plans", "fields": [{"id": {"typedef": "uid"}}]}),
            "there is no typedef 'uid'",
        ),
        (json!({"name": "", "fields": [id]}), "a kind needs a name"),
    ] {
        std::fs::write(&file, json!([definition]).to_string()).unwrap();
        let config = Config {
            kinds: Some(file.clone()),
            ..Config::default()
        };
        let error = Standin::start(config).await.unwrap_err().to_string();
        assert!(error.ends_with(told), "{error}");
    }
    std::fs::write(&file, "{").unwrap();
    let config = Config {
        kinds: Some(file),
        ..Config::default()
    };
    let error = Standin::start(config).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot read the kinds in"), "{error}");
}

//! The README's tables of configuration are written from the schemas that Kong gets.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as the test may"
)]

use std::fmt::Write as _;
use std::fs;

use llm_plugin_server::cli::ProcessArgs;
use llm_plugin_server::config::ProcessConfig;
use llm_plugin_server::server::Plugins;
use serde_json::Value;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
/// With this variable set, the test writes the tables instead of comparing them.
const UPDATE: &str = "UPDATE_README";

#[test]
fn the_readme_has_every_field_of_both_plugins() {
    let config = ProcessConfig::resolve(ProcessArgs::default()).unwrap();
    let plugins = Plugins::new(&config).unwrap();
    let mut readme = fs::read_to_string(README).unwrap();
    let before = readme.clone();
    for name in Plugins::NAMES {
        let dump: Value = serde_json::from_str(&plugins.dump(name, "/".as_ref()).unwrap()).unwrap();
        let config = &dump["Plugins"][0]["Schema"]["fields"][0]["config"];
        let mut table = "| field | type | default | |\n|---|---|---|---|\n".to_owned();
        rows("", config, &mut table);
        readme = with_table(&readme, name, &table);
    }
    if std::env::var_os(UPDATE).is_some() {
        fs::write(README, &readme).unwrap();
    }
    assert!(
        readme == before || std::env::var_os(UPDATE).is_some(),
        "the tables have drifted: run {UPDATE}=1 cargo test -p llm-plugin-server --test readme"
    );
}

/// The README with the table of this plugin in its place.
fn with_table(readme: &str, plugin: &str, table: &str) -> String {
    let (begin, end) = (
        format!("<!-- {plugin}: begin -->\n"),
        format!("<!-- {plugin}: end -->"),
    );
    let (head, rest) = readme
        .split_once(&begin)
        .expect("the README has a place for the table");
    let (_, tail) = rest.split_once(&end).expect("the table's place ends");
    format!("{head}{begin}{table}{end}{tail}")
}

fn rows(prefix: &str, record: &Value, table: &mut String) {
    for (name, schema) in record["fields"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|field| field.as_object().unwrap())
    {
        let path = format!("{prefix}{name}");
        let default = match &schema["default"] {
            Value::Null if schema["required"] == true => "required".to_owned(),
            Value::Null => String::new(),
            value => format!("`{value}`"),
        };
        let description = schema["description"]
            .as_str()
            .unwrap_or_default()
            .replace('|', "\\|");
        writeln!(
            table,
            "| `{path}` | {} | {default} | {description} |",
            kind(schema)
        )
        .unwrap();
        if schema["type"] == "record" {
            rows(&format!("{path}."), schema, table);
        } else if schema["elements"]["type"] == "record" {
            rows(&format!("{path}[]."), &schema["elements"], table);
        }
    }
}

/// The type in words, with the values that it permits.
fn kind(schema: &Value) -> String {
    let name = schema["type"].as_str().unwrap_or_default();
    let one_of = |schema: &Value| {
        let values = schema["one_of"].as_array()?;
        Some(
            values
                .iter()
                .map(|value| format!("`{}`", value.as_str().unwrap_or_default()))
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    match name {
        "array" | "set" => match schema["elements"]["type"].as_str() {
            Some("record") => "list of records".to_owned(),
            Some("array") => "list of lists of strings".to_owned(),
            _ => one_of(&schema["elements"]).map_or_else(
                || "list of strings".to_owned(),
                |values| format!("list of {values}"),
            ),
        },
        "map" => "map".to_owned(),
        "integer" | "number" => match schema["between"].as_array().map(Vec::as_slice) {
            // The bounds of a whole integer type say nothing to a reader.
            Some([low, high]) if high.as_f64() < Some(1e15) => format!("{name} {low}–{high}"),
            _ => name.to_owned(),
        },
        _ => one_of(schema).unwrap_or_else(|| name.to_owned()),
    }
}

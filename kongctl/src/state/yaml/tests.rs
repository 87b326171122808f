use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read_plainly(text: &str) -> Result<Vec<Value>, String> {
    let references = References::none();
    let mut diagnostics = Diagnostics::default();
    let documents = read("kong.yml", text, &references, &mut diagnostics);
    diagnostics
        .into_result()
        .map_err(|error| error.to_string())?;
    Ok(documents.iter().map(|node| node.to_json()).collect())
}

#[test]
fn scalars_take_the_core_schemas_types() {
    let text = "{a: 1, b: 1.5, c: true, d: ~, e: '1', f: 0x10, g: yes, h: 10.0.0.1, i: -3, j: 1e3}";
    assert_eq!(
        read_plainly(text).unwrap(),
        [
            json!({"a": 1, "b": 1.5, "c": true, "d": null, "e": "1", "f": 16, "g": "yes", "h": "10.0.0.1", "i": -3, "j": 1000})
        ]
    );
}

#[test]
fn the_booleans_of_old_are_booleans_where_booleans_are_expected() {
    let text = "services: [{name: no, enabled: yes, routes: [{strip_path: off, tags: [y, on]}]}]\n\
                    plugins: [{enabled: n, config: {enabled: On, mode: off}}]\n";
    assert_eq!(
        read_plainly(text).unwrap(),
        [json!({
            "services": [{"name": "no", "enabled": true, "routes": [{"strip_path": false, "tags": ["y", "on"]}]}],
            "plugins": [{"enabled": false, "config": {"enabled": "On", "mode": "off"}}],
        })]
    );
}

#[test]
fn json_is_read_too() {
    let text = "{\n\t\"services\": [\n\t\t{\"name\": \"llm\", \"host\": \"a\\u0062\"}\n\t]\n}";
    assert_eq!(
        read_plainly(text).unwrap(),
        [json!({"services": [{"name": "llm", "host": "ab"}]})]
    );
}

#[test]
fn a_key_given_twice_is_an_error_with_both_places() {
    let error = read_plainly("a: 1\nb: 2\na: 3\n").unwrap_err();
    assert_eq!(error, "kong.yml:3:1: key `a` was already given in line 1");
}

#[test]
fn aliases_and_merge_keys_work() {
    let text = "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nagain: *b\n";
    assert_eq!(
        read_plainly(text).unwrap(),
        [json!({"base": {"x": 1, "y": 2}, "use": {"y": 3, "x": 1}, "again": {"x": 1, "y": 2}})]
    );
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(text, "a{level}: &a{level} [{previous}]");
    }
    assert!(
        read_plainly(&text)
            .unwrap_err()
            .contains("values, aliases counted")
    );
}

#[test]
fn depth_is_bounded() {
    let text = "[".repeat(200) + &"]".repeat(200);
    assert!(
        read_plainly(&text)
            .unwrap_err()
            .contains("within each other")
    );
}

#[test]
fn a_leading_zero_is_refused_where_two_readers_would_read_two_numbers() {
    let error =
        read_plainly("{a: 0, b: 0.5, c: 0o17, d: '010', e: 010, f: -09, g: .inf}").unwrap_err();
    let expected = "\
kong.yml:1:38: the leading zero of 010 means octal to decK and nothing to YAML 1.2
    write 8 (as decK reads it), 10, or \"010\" in quotes if it is a text
kong.yml:1:54: JSON, and so Kong, knows neither infinity nor NaN
    put it in quotes if it is a text";
    assert_eq!(error, expected);
}

#[test]
fn an_unknown_tag_is_refused_with_its_place() {
    let error = read_plainly("a: !include x.yml").unwrap_err();
    assert!(
        error.starts_with("kong.yml:1:4: unknown tag `!include`"),
        "{error}"
    );
}

#[test]
fn broken_yaml_says_where() {
    let error = read_plainly("a: [1, 2\nb: 3\n").unwrap_err();
    assert!(error.starts_with("kong.yml:2:"), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = read_plainly(&text);
    }

    #[test]
    fn nothing_that_looks_like_yaml_makes_it_panic(text in "[-a-c:\\[\\]{}&*!|>'\"#%@`,? \n\t$0~<]{0,64}") {
        let _ = read_plainly(&text);
    }
}

//! What holds of both plugins. Each configuration that cannot work is a row in the tests of `kongctl validate`.

use serde_json::{Map, Value, json};

use super::*;

/// Attributes that [`Schema::violations`] judges by.
const JUDGED: &[&str] = &[
    "type",
    "required",
    "default",
    "fields",
    "elements",
    "values",
    "one_of",
    "between",
    "gt",
    "len_min",
    "len_max",
    "referenceable",
];
/// Those that describe, and those that the policies judge again.
const OTHERS: &[&str] = &["description", "encrypted", "keys", "match", "entity_checks"];

fn attributes(schema: &Map<String, Value>, found: &mut Vec<String>) {
    found.extend(schema.keys().cloned());
    let fields = schema.get("fields").and_then(Value::as_array);
    let fields = fields.into_iter().flatten().filter_map(Value::as_object);
    let fields = fields.flat_map(Map::values);
    let parts = ["elements", "values"]
        .into_iter()
        .filter_map(|part| schema.get(part));
    for inner in fields.chain(parts).filter_map(Value::as_object) {
        attributes(inner, found);
    }
}

#[test]
fn no_attribute_of_a_schema_is_passed_over() {
    for subject in Subject::all() {
        let mut found = Vec::new();
        attributes(subject.schema().as_json(), &mut found);
        found.retain(|name| !JUDGED.contains(&name.as_str()) && !OTHERS.contains(&name.as_str()));
        assert_eq!(found, [""; 0], "{}", subject.name);
    }
}

#[test]
fn what_stands_in_for_others_works() {
    for subject in Subject::all() {
        let config: Map<String, Value> = subject
            .spares
            .iter()
            .map(|(list, spare)| ((*list).to_owned(), json!([spare(0), spare(1)])))
            .collect();
        let problems = subject.problems(&Value::Object(config), &[]);
        assert_eq!(problems, [], "{}", subject.name);
        let fields = subject.schema();
        let fields = fields.as_json()["fields"].as_array().unwrap();
        let known = |name: &str| fields.iter().any(|field| field.get(name).is_some());
        assert!(subject.spares.iter().all(|(list, _)| known(list)));
        assert!(
            subject
                .together
                .iter()
                .copied()
                .flatten()
                .all(|name| known(name))
        );
    }
}

#[test]
fn what_nobody_knows_yet_is_no_problem() {
    let subject = Subject::named("llm-rate-limiting").unwrap();
    let limits =
        json!([{"name": "a", "limit": null, "window_size": 60}, {"name": "b", "limit": 1}]);
    let config = json!({"limits": limits, "policy": null, "redis": {"host": null}});
    let unknown = ["limits[0].limit", "policy", "redis.host"].map(Path::parse);
    let problems = subject.problems(&config, &unknown);
    let paths: Vec<String> = problems
        .iter()
        .map(|problem| problem.path.to_string())
        .collect();
    assert_eq!(paths, ["limits[1].window_size"]);
}

#[test]
fn a_problem_says_how_it_goes_away_and_shows_no_secret() {
    let subject = Subject::named("llm-jwt").unwrap();
    let issuer = json!({"issuer": "i", "secrets": ["hunter2"], "algorithms": ["HS256"], "audience_required": "llm"});
    let problems = subject.problems(
        &json!({"issuers": [issuer], "expresion": "true", "leeway": "30"}),
        &[],
    );
    let hints: Vec<&str> = problems
        .iter()
        .filter_map(|problem| problem.hint.as_deref())
        .collect();
    assert_eq!(
        hints,
        [
            "write it as [a, b], or each item in its own line after `- `",
            "did you mean `expression`?",
            "write it without quotes",
        ]
    );
    assert!(!format!("{problems:?}").contains("hunter2"));
    assert!(Subject::named("key-auth").is_none());
}

//! Reading a recording.

use serde_json::Value;

/// The calls of a recording, in order.
pub(crate) struct Recording {
    pub(crate) calls: Vec<Call>,
}

/// A call and its recorded answer.
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Null for an empty body.
    pub(crate) answer: Value,
}

impl Recording {
    /// Reads one call a line. The recorded certificate gives way to one whose key is known.
    pub(crate) fn parse(text: &str, certificate: &str, key: &str) -> Self {
        let calls = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            replace_key_material(&mut line, certificate, key);
            Call::new(&line)
        });
        Self {
            calls: calls.collect(),
        }
    }
}

impl Call {
    fn new(line: &Value) -> Self {
        let (request, response) = (&line["request"], &line["response"]);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let body = match &request["body"] {
            Value::Null => None,
            body => Some(text(&body["__raw__"]).unwrap_or_else(|| body.to_string())),
        };
        let headers = response["headers"].as_object().unwrap().iter();
        let path = text(&request["path"]).unwrap();
        let mut answer = response["body"].clone();
        // The stand-in's schemas describe what is allowed, not in prose what it is for.
        if path.starts_with("/schemas/") {
            remove_descriptions(&mut answer);
        }
        Self {
            number: line["n"].as_u64().unwrap(),
            method: text(&request["method"]).unwrap(),
            path,
            content_type: text(&request["content_type"]),
            body,
            status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
            headers: headers
                .map(|(name, value)| (name.clone(), text(value).unwrap()))
                .collect(),
            answer,
        }
    }
}

fn remove_descriptions(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(remove_descriptions),
        Value::Object(members) => {
            members.retain(|name, value| name != "description" || !value.is_string());
            members.values_mut().for_each(remove_descriptions);
        }
        _ => {}
    }
}

fn replace_key_material(value: &mut Value, certificate: &str, key: &str) {
    match value {
        Value::String(text) if text.starts_with("-----BEGIN CERTIFICATE") => {
            certificate.clone_into(text);
        }
        Value::String(text) if text.starts_with("<private key") => key.clone_into(text),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| replace_key_material(item, certificate, key)),
        Value::Object(members) => members
            .values_mut()
            .for_each(|member| replace_key_material(member, certificate, key)),
        _ => {}
    }
}

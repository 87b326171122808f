//! The call that makes a change.

use reqwest::Method;
use serde_json::{Map, Value};

use crate::admin::entities::Kind;
use crate::plan::{Action, Change};

/// The call that makes a change.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

impl Call {
    /// The first try. A `POST` that says the id costs Kong half of what `PUT` does, which looks first for what is there; and should
    /// somebody have made the same entity meanwhile, it is refused and theirs stays. Of certificates, `PUT` brings the names along.
    pub(super) fn first(change: &Change) -> Self {
        match (&change.after, change.action) {
            (Some(after), Action::Create) if change.kind != Kind::Certificate => {
                Self::create(change, after)
            }
            _ => Self::repeatable(change),
        }
    }

    fn create(change: &Change, after: &Map<String, Value>) -> Self {
        let path = path_of(change);
        let mut body = after.clone();
        body.insert("id".to_owned(), Value::String(change.id.clone()));
        let list = path
            .rsplit_once('/')
            .map_or(path.as_str(), |(list, _)| list)
            .to_owned();
        Self {
            method: Method::POST,
            path: list,
            body: Some(Value::Object(body)),
        }
    }

    /// One that leads to the same however often it is made; of a new target there is none.
    pub(super) fn repeatable(change: &Change) -> Self {
        let path = path_of(change);
        let Some(after) = &change.after else {
            return Self {
                method: Method::DELETE,
                path,
                body: None,
            };
        };
        if let (Action::Update, Some(partial)) = (change.action, &change.partial) {
            return Self {
                method: Method::PATCH,
                path,
                body: Some(Value::Object(partial.clone())),
            };
        }
        match (change.kind, change.action) {
            // Kong creates no target by PUT.
            (Kind::Target, Action::Create) => Self::create(change, after),
            // A target takes no PUT; of a certificate, PUT takes the names that it does not repeat.
            (Kind::Target | Kind::Certificate, Action::Update) => Self {
                method: Method::PATCH,
                path,
                body: Some(all_fields(change.kind, after)),
            },
            // A hash would be hashed again: leave it out, which only PATCH can.
            (_, Action::Update) if let Some(hashed) = kept_hashes(change, after) => {
                let mut body = after.clone();
                body.retain(|name, _| !hashed.contains(&name.as_str()));
                let Value::Object(mut body) = all_fields(change.kind, &body) else {
                    unreachable!("a body stays a body")
                };
                body.retain(|name, _| !hashed.contains(&name.as_str()));
                Self {
                    method: Method::PATCH,
                    path,
                    body: Some(Value::Object(body)),
                }
            }
            _ => Self {
                method: Method::PUT,
                path,
                body: Some(Value::Object(after.clone())),
            },
        }
    }
}

/// The fields that the node hashes when they are written, and that an update leaves as they are.
fn kept_hashes(change: &Change, after: &Map<String, Value>) -> Option<&'static [&'static str]> {
    match change.kind {
        Kind::BasicAuth if !change.changes("password") => Some(&["password"]),
        Kind::OAuth2
            if after.get("hash_secret") == Some(&Value::Bool(true))
                && !change.changes("client_secret")
                && !change.changes("hash_secret") =>
        {
            Some(&["client_secret", "hash_secret"])
        }
        _ => None,
    }
}

/// The path of the changed entity itself.
pub(crate) fn path_of(change: &Change) -> String {
    let spec = change.kind.spec();
    let body = change.after.as_ref().or(change.before.as_ref());
    if let Some((field, segment)) = spec.below {
        let parent = body
            .and_then(|body| crate::state::reference_id(body.get(field)?))
            .unwrap_or_default();
        let parents = change
            .kind
            .references()
            .find(|(name, ..)| *name == field)
            .and_then(|(_, kind, _)| kind.spec().list_path)
            .unwrap_or_default();
        return format!("{parents}/{parent}/{segment}/{}", change.id);
    }
    format!("{}/{}", spec.list_path.unwrap_or(spec.name), change.id)
}

/// A body for PATCH that says every field, as PUT would understand it.
fn all_fields(kind: Kind, body: &Map<String, Value>) -> Value {
    let mut body = body.clone();
    for (name, field) in &kind.record().fields {
        if !body.contains_key(name) && !field.auto {
            body.insert(name.clone(), field.default.clone().unwrap_or(Value::Null));
        }
    }
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::Reason;

    fn update(kind: Kind, after: &Value, changed: &str) -> Call {
        let field = crate::plan::FieldChange {
            path: changed.to_owned(),
            before: None,
            after: None,
            secret: false,
            unwritten: false,
        };
        Call::first(&Change {
            action: Action::Update,
            kind,
            id: "1".to_owned(),
            label: String::new(),
            before: after.as_object().cloned(),
            after: after.as_object().cloned(),
            fields: vec![field],
            reason: Reason::Differs,
            source: None,
            partial: None,
            hidden: Vec::new(),
        })
    }

    #[test]
    fn a_certificate_keeps_its_names_and_loses_what_is_no_longer_written() {
        let call = update(Kind::Certificate, &json!({"cert": "c", "key": "k"}), "cert");
        assert_eq!(call.method, Method::PATCH);
        let expected =
            json!({"cert": "c", "key": "k", "cert_alt": null, "key_alt": null, "tags": null});
        assert_eq!(call.body, Some(expected));
    }

    #[test]
    fn an_entity_is_created_by_the_cheaper_call_and_again_by_the_safer_one() {
        let after = json!({"consumer": {"id": "2"}, "key": "k"});
        let change = Change {
            action: Action::Create,
            kind: Kind::KeyAuth,
            id: "1".to_owned(),
            label: String::new(),
            before: None,
            after: after.as_object().cloned(),
            fields: Vec::new(),
            reason: Reason::Differs,
            source: None,
            partial: None,
            hidden: Vec::new(),
        };
        let (first, again) = (Call::first(&change), Call::repeatable(&change));
        assert_eq!(
            (first.method, first.path.as_str()),
            (Method::POST, "consumers/2/key-auth")
        );
        assert_eq!(first.body.unwrap()["id"], "1");
        assert_eq!(
            (again.method, again.path.as_str()),
            (Method::PUT, "consumers/2/key-auth/1")
        );
    }

    #[test]
    fn a_hash_is_never_sent_back() {
        let consumer = json!({"id": "2"});
        let body = json!({"username": "a", "password": "hash", "consumer": consumer});
        let call = update(Kind::BasicAuth, &body, "username");
        assert_eq!(call.method, Method::PATCH);
        assert!(!call.body.unwrap().to_string().contains("hash"));
        let call = update(Kind::BasicAuth, &body, "password");
        assert_eq!(call.method, Method::PUT);
        let body =
            json!({"name": "app", "client_id": "c", "client_secret": "hash", "hash_secret": true});
        let call = update(Kind::OAuth2, &body, "name");
        assert!(!call.body.unwrap().to_string().contains("hash"));
    }
}

//! Whatever an operator writes and whatever a request is refused for: if the configuration is taken, the answer's headers are such that
//! every client reads in them what was meant.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use kong_pdk::PluginConfig as _;
use libfuzzer_sys::fuzz_target;
use llm_plugin_server::jwt::answer::Answer;
use llm_plugin_server::jwt::claims::{ScopeSet, UnacceptableClaims};
use llm_plugin_server::jwt::config::Settings;
use llm_plugin_server::jwt::presented::Scheme;
use llm_plugin_server::jwt::proof::{InvalidProof, Mode};
use llm_plugin_server::jwt::refusal::{Forbidden, Refusal};
use llm_plugin_server::jwt::resource::ProtectedResource;
use llm_plugin_server::kong::jwt::Config;
use serde_json::json;

fuzz_target!(|text: &str| {
    let Some(settings) = configured(text) else {
        return;
    };
    let retry_after = Duration::from_millis(text.len() as u64);
    let refusals = [
        Refusal::Missing,
        Refusal::Ambiguous,
        Refusal::TooManyHeaders,
        Refusal::from(UnacceptableClaims::Expired),
        Refusal::Proof(InvalidProof::Replayed),
        Refusal::Forbidden(Forbidden::Scopes),
        Refusal::Forbidden(Forbidden::Claim(text.to_owned())),
        Refusal::NoConsumer,
        Refusal::Forbidden(Forbidden::Header(text.to_owned())),
        Refusal::KeysUnavailable { retry_after },
        Refusal::DenylistUnavailable { retry_after },
        Refusal::IntrospectionUnavailable { retry_after },
        Refusal::MemoryFull,
        Refusal::NoAnonymousConsumer,
    ];
    for refusal in refusals {
        for scheme in [Scheme::Bearer, Scheme::Dpop] {
            hold(&Answer::new(&refusal, scheme, &settings), &settings);
        }
    }
});

/// A configuration that is read once: its sixty fields would cost a hundred times what is tried here.
static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let config = json!({
        "issuers": [{"issuer": "https://i", "public_keys": [""], "audience_required": ["a"]}],
    });
    let config = Config::from_json(config).expect("the schema takes it");
    config.into_settings().expect("single values are right")
});

/// Realm, scopes, resource, its metadata's path and the mode of DPoP, a line each; what is absent is not configured.
fn configured(text: &str) -> Option<Settings> {
    let mut settings = SETTINGS.clone();
    let mut lines = text.split('\n');
    let mut line = || lines.next().filter(|line| !line.is_empty());
    if let Some(realm) = line() {
        settings.realm = realm.to_owned();
    }
    if let Some(scopes) = line() {
        let sets = scopes.split(',').map(ScopeSet::parse);
        settings.scopes_required = sets.collect::<Option<_>>()?;
    }
    if let (Some(resource), Some(path)) = (line(), line()) {
        settings.protected_resource = Some(ProtectedResource {
            identifier: resource.to_owned(),
            authorization_servers: vec!["https://i".to_owned()],
            scopes_supported: Vec::new(),
            metadata_endpoint: path.to_owned(),
        });
    }
    settings.proof_of_possession.dpop = match line() {
        None | Some("off") => Mode::Off,
        Some("optional") => Mode::Optional,
        Some("required") => Mode::Required,
        Some(_) => return None,
    };
    settings.locations.dpop = settings.proof_of_possession.dpop != Mode::Off;
    settings.check().ok()?;
    Some(settings)
}

fn hold(answer: &Answer, settings: &Settings) {
    assert!([400, 401, 403, 500, 503].contains(&answer.status));
    let mut challenges = 0;
    for (name, value) in &answer.headers {
        assert!(
            value.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{name}: {value:?}"
        );
        match *name {
            "WWW-Authenticate" => {
                challenges += 1;
                let (scheme, parameters) = challenge(value).expect("a challenge");
                assert!(["Bearer", "DPoP"].contains(&scheme));
                let of = |name: &str| {
                    let mut named = parameters.iter().filter(|(known, _)| known == name);
                    let value = named.next().map(|(_, value)| value.as_str());
                    assert_eq!(named.next(), None, "{name} twice");
                    value
                };
                assert_eq!(of("realm"), Some(settings.realm.as_str()));
                let metadata = settings
                    .protected_resource
                    .as_ref()
                    .map(|resource| resource.metadata_url());
                assert_eq!(of("resource_metadata"), metadata.as_deref());
                if let Some(scopes) = of("scope") {
                    assert_eq!(scopes, settings.scopes_required[0].to_string());
                }
                assert!(of("error").is_none() == of("error_description").is_none());
            }
            "Retry-After" => assert!(value.parse::<u64>().is_ok_and(|seconds| seconds > 0)),
            "Content-Type" => {}
            other => panic!("{other}"),
        }
    }
    assert!(challenges <= 2);
    assert!(
        answer.status < 500 || challenges == 0,
        "it is not the client's fault"
    );
    assert!(answer.status != 401 || challenges > 0);
    serde_json::from_str::<serde_json::Value>(&answer.body).expect("JSON");
}

/// Scheme and parameters of one challenge (RFC 9110 §11.6.1), strictly.
fn challenge(text: &str) -> Option<(&str, Vec<(String, String)>)> {
    let (scheme, mut rest) = text.split_once(' ')?;
    let mut parameters = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"")?;
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            return None;
        }
        let mut value = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(letters.next()?.1),
                (_, letter) => value.push(letter),
            }
        };
        parameters.push((name.to_owned(), value));
        rest = &after[end..];
        if rest.is_empty() {
            return Some((scheme, parameters));
        }
        rest = rest.strip_prefix(", ")?;
    }
}

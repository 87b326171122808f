//! What the upstream and the plugins that follow see of a decision.
//!
//! Nothing that a client sends under a name of ours survives: a header is removed under every spelling that an upstream
//! might take for the same (`X_Consumer_ID` reads as `X-Consumer-ID` to CGI and WSGI). What Kong does not show there is
//! nothing of to remove, so only headers that are there cost a call.

use kong_pdk::argument::HeaderValue;
use kong_pdk::client::{Authenticated, Consumer as KongConsumer, Credential};
use kong_pdk::request::Headers;
use kong_pdk::service::request::{clear_header, set_header, set_headers, set_query, set_raw_query};
use kong_pdk::{Kong, client, ctx, phase};
use serde_json::json;

use super::{PROOF, Passing};
use crate::jwt::config::Settings;
use crate::jwt::identity::Identity;
use crate::jwt::presented::Scheme;
use crate::jwt::token::{Found, without_cookies, without_parameters};
use crate::jwt::{Consumer, Verified};

/// Where the claims for the limiter lie in `kong.ctx.shared`.
const SHARED_KEY: &str = "llm_jwt";

/// The headers in which Kong's own authentication plugins say who is calling (`kong/constants.lua`).
const CONSUMER_ID: &str = "X-Consumer-ID";
const CONSUMER_CUSTOM_ID: &str = "X-Consumer-Custom-ID";
const CONSUMER_USERNAME: &str = "X-Consumer-Username";
const CREDENTIAL_IDENTIFIER: &str = "X-Credential-Identifier";
const ANONYMOUS: &str = "X-Anonymous-Consumer";
/// Set by the plugins that follow (`acl`, `session`), unless they are not there or told to hide them.
const GROUPS: [&str; 2] = ["X-Consumer-Groups", "X-Authenticated-Groups"];
const IDENTITY_HEADERS: [&str; 7] = [
    CONSUMER_ID,
    CONSUMER_CUSTOM_ID,
    CONSUMER_USERNAME,
    CREDENTIAL_IDENTIFIER,
    ANONYMOUS,
    GROUPS[0],
    GROUPS[1],
];

/// Whose credential it is when there is no consumer. Without a UUID there, Kong reads an empty text, which its `acl` takes for an id, looks
/// up and answers with 500; nobody has this one.
const NO_CONSUMER: &str = "00000000-0000-0000-0000-000000000000";

/// A request on its way to the upstream.
pub(super) struct Upstream<'r> {
    pub(super) settings: &'r Settings,
    pub(super) headers: &'r Headers,
    pub(super) query: &'r [u8],
}

impl Upstream<'_> {
    /// Defers every change that the decision asks for.
    pub(super) fn prepare(&self, passing: &Passing<'_>, kong: &mut Kong<phase::Access>) {
        let mut set: Vec<(String, String)> = Vec::new();
        match passing {
            Passing::Granted(verified, found, consumer) => {
                let Verified { identity, .. } = &**verified;
                describe(consumer.as_ref(), &mut set);
                if let Some(credential) = &identity.credential {
                    set.push((CREDENTIAL_IDENTIFIER.to_owned(), credential.clone()));
                }
                set.extend(identity.headers.iter().cloned());
                if let Some(who) = authenticated(consumer.as_ref(), identity.credential.as_deref())
                {
                    kong.defer(client::authenticate(who));
                }
                kong.defer(ctx::set_shared(SHARED_KEY, shared(identity)));
                if self.settings.hide_credentials {
                    self.hide(found, kong);
                }
            }
            Passing::Anonymous(consumer) => {
                describe(Some(consumer), &mut set);
                set.push((ANONYMOUS.to_owned(), "true".to_owned()));
                kong.defer(client::authenticate(Authenticated::Consumer(to_kong(
                    consumer,
                ))));
            }
            Passing::Preflight | Passing::Known => {}
        }
        // Who was authenticated by another plugin keeps what that plugin said.
        let identity_is_ours = !matches!(passing, Passing::Known);
        for name in self.forged(identity_is_ours, &set) {
            kong.defer(clear_header(name));
        }
        if !set.is_empty() {
            kong.defer(set_headers(
                set.into_iter()
                    .map(|(name, value)| (name, HeaderValue::from(value))),
            ));
        }
    }

    /// The request's headers under names of ours, but for those that are set and so replaced.
    fn forged(&self, identity_is_ours: bool, set: &[(String, String)]) -> Vec<Vec<u8>> {
        let identity = IDENTITY_HEADERS.into_iter().filter(|_| identity_is_ours);
        let claims = self
            .settings
            .upstream_headers
            .iter()
            .map(|header| header.name.as_str());
        let ours: Vec<&str> = identity.chain(claims).collect();
        let mut forged: Vec<Vec<u8>> = Vec::new();
        for (name, _) in self.headers.iter() {
            let is_replaced = set
                .iter()
                .any(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
            if !is_replaced
                && ours.iter().any(|known| reads_as(name, known))
                && !forged.iter().any(|known| known == name)
            {
                forged.push(name.to_vec());
            }
        }
        forged
    }

    fn hide(&self, found: &Found, kong: &mut Kong<phase::Access>) {
        let Settings { locations, .. } = self.settings;
        for name in &found.headers {
            kong.defer(clear_header(name.clone()));
        }
        if found.scheme == Scheme::Dpop {
            kong.defer(clear_header(PROOF));
        }
        if found.in_cookie {
            let lines = self
                .headers
                .get_all("cookie")
                .filter_map(|line| without_cookies(line, &locations.cookies));
            let left = lines.collect::<Vec<_>>().join(&b"; "[..]);
            if left.is_empty() {
                kong.defer(clear_header("cookie"));
            } else {
                kong.defer(set_header("cookie", bytes::Bytes::from(left)));
            }
        }
        if found.in_query {
            let left = without_parameters(self.query, &locations.parameters);
            if left.is_empty() {
                // An empty string would arrive as no string at all, which Kong refuses.
                kong.defer(set_query(std::iter::empty::<(&'static str, HeaderValue)>()));
            } else {
                kong.defer(set_raw_query(left));
            }
        }
    }
}

/// Whether an upstream may take the header `name` for `known`: without regard to case, and `_` for `-`.
fn reads_as(name: &[u8], known: &str) -> bool {
    let folded = |byte: &u8| {
        if *byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    name.len() == known.len()
        && name
            .iter()
            .map(folded)
            .eq(known.as_bytes().iter().map(folded))
}

fn describe(consumer: Option<&Consumer>, set: &mut Vec<(String, String)>) {
    let Some(Consumer {
        id,
        username,
        custom_id,
    }) = consumer
    else {
        return;
    };
    set.push((CONSUMER_ID.to_owned(), id.clone()));
    set.extend(
        custom_id
            .iter()
            .map(|custom_id| (CONSUMER_CUSTOM_ID.to_owned(), custom_id.clone())),
    );
    set.extend(
        username
            .iter()
            .map(|username| (CONSUMER_USERNAME.to_owned(), username.clone())),
    );
}

/// Whom Kong shall know as the client: it throws when it is given neither.
fn authenticated(consumer: Option<&Consumer>, credential: Option<&str>) -> Option<Authenticated> {
    let credential = credential.map(|id| Credential {
        id: id.to_owned().into(),
        consumer_id: consumer
            .map_or_else(|| NO_CONSUMER.to_owned(), |consumer| consumer.id.clone())
            .into(),
    });
    match (consumer.map(to_kong), credential) {
        (Some(consumer), Some(credential)) => Some(Authenticated::Both(consumer, credential)),
        (Some(consumer), None) => Some(Authenticated::Consumer(consumer)),
        (None, Some(credential)) => Some(Authenticated::Credential(credential)),
        (None, None) => None,
    }
}

fn to_kong(consumer: &Consumer) -> KongConsumer {
    KongConsumer {
        id: consumer.id.clone().into(),
        username: consumer.username.clone().unwrap_or_default().into(),
        custom_id: consumer.custom_id.clone().unwrap_or_default().into(),
        ..KongConsumer::default()
    }
}

fn shared(identity: &Identity) -> serde_json::Value {
    json!({ "iss": identity.issuer, "sub": identity.subject, "claims": identity.limiter_claims })
}

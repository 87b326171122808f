//! What is allowed and still not what was meant: rules on LLM traffic over everything that the files declare.
//!
//! # Model
//!
//! A rule looks at resolved entities, never at a node. A plugin *acts on* a route when its scope covers it; of several
//! plugins with one name Kong runs the most specific one only: on the route, else on its service, else the global one. Consumers are left out of
//! account: a plugin that is bound to a consumer alone acts on every route. A value that is not at hand (an unset variable)
//! is never a reason for a warning.
//!
//! # Layout
//!
//! `topology` says which plugin acts where, `limits` and `tokens` have the rules for both of our plugins, `caching` one for
//! what is kept behind them.

mod caching;
mod limits;
mod tokens;
mod topology;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::state::Entity;
use crate::state::diagnostics::Place;
use crate::state::node::Node;
use crate::state::resolve::Desired;

use topology::Topology;

/// Bundled plugins that find a consumer and a credential. `llm-jwt` finds a credential, and a consumer if it is told how.
const AUTHENTICATION: &[&str] = &[
    "key-auth",
    "basic-auth",
    "jwt",
    "hmac-auth",
    "oauth2",
    "ldap-auth",
    "session",
];

/// What may be not as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) place: Place,
    pub(crate) rule: Rule,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// The rules, each with the code by which it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    ResponseBuffering,
    NoAuthentication,
    NoConsumer,
    NoUsageTap,
    OtherPostFunction,
    NoClaims,
    ClaimsNotHandedOn,
    Insecure,
    FailsOpen,
    SharedCache,
}

impl Rule {
    /// Every rule.
    pub(crate) const ALL: [Self; 10] = [
        Self::ResponseBuffering,
        Self::NoAuthentication,
        Self::NoConsumer,
        Self::NoUsageTap,
        Self::OtherPostFunction,
        Self::NoClaims,
        Self::ClaimsNotHandedOn,
        Self::Insecure,
        Self::FailsOpen,
        Self::SharedCache,
    ];

    /// The code in the output and in `--allow`.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::ResponseBuffering => "response-buffering",
            Self::NoAuthentication => "no-authentication",
            Self::NoConsumer => "no-consumer",
            Self::NoUsageTap => "no-usage-tap",
            Self::OtherPostFunction => "other-post-function",
            Self::NoClaims => "no-claims",
            Self::ClaimsNotHandedOn => "claims-not-handed-on",
            Self::Insecure => "insecure",
            Self::FailsOpen => "fails-open",
            Self::SharedCache => "shared-cache",
        }
    }

    /// The rule with this code.
    pub(crate) fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.code() == code)
    }
}

/// Looks for what the rules speak of, in the order of the files.
pub(crate) fn lint(desired: &Desired) -> Vec<Warning> {
    let topology = Topology::of(&desired.entities);
    let mut warnings = Vec::new();
    limits::lint(&topology, &mut warnings);
    tokens::lint(&topology, &mut warnings);
    caching::lint(&topology, &mut warnings);
    warnings.sort_by(|a, b| {
        let key = |warning: &Warning| {
            let place = &warning.place;
            (place.file.clone(), place.line, place.column, warning.rule)
        };
        key(a).cmp(&key(b))
    });
    warnings.dedup();
    warnings
}

fn called(route: Option<&Entity>) -> String {
    route.map_or_else(
        || "its routes".to_owned(),
        |route| format!("route {}", route.label),
    )
}

/// Where something of an entity stands: the deepest place that the file has.
fn place(node: Option<&Arc<Node>>, path: &[&str]) -> Option<Place> {
    let node = node?;
    let mut place = node.place.clone();
    let mut node = node.as_ref();
    for step in path {
        let found = match step.parse::<usize>() {
            Ok(at) => node.items().get(at).map(|item| (item, &item.place)),
            Err(_) => node
                .entries()
                .iter()
                .find(|entry| entry.key == *step)
                .map(|entry| (&entry.node, &entry.key_place)),
        };
        let Some((inner, at)) = found else { break };
        place = at.clone();
        node = inner;
    }
    Some(place)
}

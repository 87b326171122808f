//! One configuration of the plugin, and the places in Kong where it is attached.

use std::sync::Arc;

use kong_pdk::{ByteString, Scope as KongScope};
use parking_lot::RwLock;

use crate::rate_limiting::Policy;
use crate::rate_limiting::outcomes::{Outcomes, Publication, Scope};
use crate::stores::LimitStore;

/// A policy that decides, wherever its configuration is attached.
#[derive(Debug)]
pub struct Instance {
    policy: Policy,
    store: LimitStore,
    outcomes: Arc<Outcomes>,
    places: RwLock<Vec<Arc<Place>>>,
}

/// An entity that the configuration is attached to.
#[derive(Debug)]
pub(super) struct Place {
    kong: KongScope,
    /// Its ids, for people.
    pub(super) scope: Scope,
    /// Its ids as one text, which keeps the counters of places apart. Ids have no slashes.
    pub(super) name: Arc<str>,
    /// The limits are shown as long as the configuration lives.
    _publication: Publication,
}

impl Instance {
    pub(super) fn new(policy: Policy, store: LimitStore, outcomes: Arc<Outcomes>) -> Self {
        Self {
            policy,
            store,
            outcomes,
            places: RwLock::default(),
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Where it counts.
    pub(super) fn store(&self) -> &LimitStore {
        &self.store
    }

    /// The place of this scope. There are as many as Kong has plugins with this configuration.
    pub(super) fn place(&self, scope: &KongScope) -> Arc<Place> {
        let find = |places: &[Arc<Place>]| {
            let place = places.iter().find(|place| place.kong == *scope);
            place.map(Arc::clone)
        };
        if let Some(place) = find(&self.places.read()) {
            return place;
        }
        let mut places = self.places.write();
        if let Some(place) = find(&places) {
            return place;
        }
        let place = Arc::new(self.new_place(scope));
        places.push(Arc::clone(&place));
        place
    }

    fn new_place(&self, kong: &KongScope) -> Place {
        let text =
            |id: &Option<ByteString>| id.as_ref().map(|id| id.to_string_lossy().into_owned());
        let scope = Scope {
            service: text(&kong.service_id),
            route: text(&kong.route_id),
            consumer: text(&kong.consumer_id),
        };
        let [service, route, consumer] = [&scope.service, &scope.route, &scope.consumer]
            .map(|id| id.as_deref().unwrap_or_default());
        Place {
            kong: kong.clone(),
            name: format!("{service}/{route}/{consumer}").into(),
            _publication: self.outcomes.publish(self.policy.describe(&scope)),
            scope,
        }
    }
}

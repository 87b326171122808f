//! `kong.client`, `kong.router`, `kong.node`, `kong.ip`.

use mlua::Table;

use super::Throw;
use crate::proxy::{Consumer, Credential, Exchange};
use crate::store::Entity;

impl Exchange {
    /// `kong.client.get_ip`: the peer's address. No proxy in front is trusted (`trusted_ips` is empty).
    pub(crate) fn client_ip(&self) -> String {
        self.connection.client.ip().to_string()
    }

    /// `kong.client.get_protocol`: of several protocols of the route, the one in use.
    pub(crate) fn protocol(&self) -> Option<String> {
        let state = self.state();
        let protocols = state
            .matched
            .as_ref()?
            .route
            .protocols
            .as_deref()
            .unwrap_or_default();
        Some(match protocols {
            [only] => only.clone(),
            _ => "http".to_owned(),
        })
    }

    /// `kong.client.load_consumer`: by id, and by username if asked.
    pub(crate) fn load_consumer(
        &self,
        id: &str,
        by_username: bool,
    ) -> Result<Option<Entity>, Throw> {
        let is_uuid = uuid::Uuid::try_parse(id).is_ok();
        if !is_uuid && !by_username {
            return Err(Throw::new(
                "cannot load a consumer with an id that is not a uuid",
            ));
        }
        let by_id = if is_uuid {
            self.compiled.consumer(id)
        } else {
            None
        };
        Ok(by_id.or_else(|| {
            if by_username {
                self.compiled.consumer_by_username(id)
            } else {
                None
            }
        }))
    }

    /// `kong.client.authenticate`: says who is calling. It sets no header.
    pub(crate) fn authenticate(
        &self,
        consumer: Option<Consumer>,
        credential: Option<Credential>,
    ) -> Result<(), Throw> {
        if consumer.is_none() && credential.is_none() {
            return Err(Throw::new("either credential or consumer must be provided"));
        }
        self.worker
            .lua
            .set_consumer(&self.nginx_ctx, consumer.as_ref())?;
        let mut state = self.state();
        state.consumer = consumer;
        state.credential = credential;
        Ok(())
    }

    /// `kong.router.get_route`.
    pub(crate) fn route_entity(&self) -> Option<Entity> {
        self.state()
            .matched
            .as_ref()
            .map(|matched| matched.route.entity.clone())
    }

    /// `kong.router.get_service`.
    pub(crate) fn service_entity(&self) -> Option<Entity> {
        self.state()
            .matched
            .as_ref()?
            .service
            .as_ref()
            .map(|service| service.entity.clone())
    }

    /// `kong.ctx.shared`: one table for all plugins of the request.
    pub(crate) fn shared(&self) -> &Table {
        &self.shared
    }
}

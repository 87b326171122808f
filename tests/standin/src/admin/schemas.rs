//! Schemas, shown and applied.

use serde_json::json;

use super::answer::Answer;
use super::call::Call;
use super::{Admin, Outcome};
use crate::clock;
use crate::schema::{Completeness, Operation, Schema, Timestamp};
use crate::store::Error;

impl Admin {
    /// `/schemas/:kind`
    pub(super) fn schema(&self, name: &str) -> Outcome {
        Ok(Answer::json(200, self.kind(name)?.public.clone()))
    }

    /// `/schemas/plugins/:name`
    pub(super) fn plugin_schema(&self, name: &str) -> Outcome {
        Ok(Answer::json(200, self.plugin(name)?.public.clone()))
    }

    /// `/plugins/schema/:name`
    pub(super) fn plugin_config_schema(&self, name: &str) -> Outcome {
        let fields = self.plugin(name)?.public["fields"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let config = fields
            .into_iter()
            .find_map(|mut field| Some(field.get_mut("config")?.take()));
        Ok(Answer::json(200, config.unwrap_or_default()))
    }

    /// `/schemas/vaults/:name`
    pub(super) fn vault_schema(&self, name: &str) -> Outcome {
        let vaults = self.dao.registry().known("vaults");
        let unknown = || Answer::message(404, format!("No vault named '{name}'"));
        Ok(Answer::json(
            200,
            vaults
                .subschemas
                .get(name)
                .ok_or_else(unknown)?
                .public
                .clone(),
        ))
    }

    /// `/schemas/:kind/validate`
    pub(super) fn validate(&self, name: &str, call: &Call) -> Outcome {
        let schema = self.kind(name)?;
        let now = Timestamp(clock::now_milliseconds());
        schema
            .fill(call.entity(schema), Operation::Insert, now)
            .and_then(|entity| schema.validate(&entity, Completeness::Whole, now))
            .map_err(Error::schema_violation)?;
        Ok(Answer::json(
            200,
            json!({"message": "schema validation successful"}),
        ))
    }

    fn kind(&self, name: &str) -> Result<&Schema, Answer> {
        self.dao
            .registry()
            .kind(name)
            .ok_or_else(|| Answer::message(404, format!("No entity named '{name}'")))
    }

    fn plugin(&self, name: &str) -> Result<&Schema, Answer> {
        let unknown = || Answer::message(404, format!("No plugin named '{name}'"));
        self.dao
            .registry()
            .known("plugins")
            .subschemas
            .get(name)
            .ok_or_else(unknown)
    }
}

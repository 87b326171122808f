local typedefs = require "kong.db.schema.typedefs"


return {
  -- A kind with a name, and with fields of every sort that defaults, secrets and sets make worth a look.
  {
    name = "quota_plans",
    primary_key = { "id" },
    endpoint_key = "name",
    workspaceable = true,
    fields = {
      { id = typedefs.uuid },
      { created_at = typedefs.auto_timestamp_s },
      { updated_at = typedefs.auto_timestamp_s },
      { name = { type = "string", required = true, unique = true } },
      { tokens = { type = "integer", default = 1000, between = { 0, 1000000 } } },
      { models = { type = "set", elements = { type = "string" } } },
      { secret = { type = "string", encrypted = true, referenceable = true } },
      { window = {
          type = "record",
          fields = {
            { unit = { type = "string", default = "day", one_of = { "minute", "hour", "day" } } },
            { burst = { type = "number", default = 1.5 } },
            { warning = {
                type = "record",
                fields = {
                  { percent = { type = "integer", default = 80, between = { 0, 100 } } },
                  { channel = { type = "string" } },
                },
            } },
          },
      } },
      { tags = typedefs.tags },
    },
  },

  -- One without a name: which plan a consumer has makes it unique. Its path is not its kind's name.
  {
    name = "quota_members",
    primary_key = { "id" },
    cache_key = { "plan", "consumer" },
    admin_api_name = "quota-members",
    workspaceable = true,
    fields = {
      { id = typedefs.uuid },
      { created_at = typedefs.auto_timestamp_s },
      { plan = { type = "foreign", reference = "quota_plans", required = true, on_delete = "cascade" } },
      { consumer = { type = "foreign", reference = "consumers", required = true, on_delete = "cascade" } },
      { since = { type = "integer" } },
      { tags = typedefs.tags },
    },
  },
}

-- Kong reads what its database refuses from the names of the constraints: one that ends in `_ws_id_fkey` is about the workspace.
-- Foreign keys stay within a workspace; tags have a table of their own, kept by a trigger.
return {
  postgres = {
    up = [[
      CREATE TABLE IF NOT EXISTS "quota_plans" (
        "id"          UUID                      PRIMARY KEY,
        "created_at"  TIMESTAMP WITH TIME ZONE,
        "updated_at"  TIMESTAMP WITH TIME ZONE,
        "ws_id"       UUID                      REFERENCES "workspaces" ("id"),
        "name"        TEXT,
        "tokens"      BIGINT,
        "models"      TEXT[],
        "secret"      TEXT,
        "window"      JSONB,
        "tags"        TEXT[],

        CONSTRAINT "quota_plans_id_ws_id_unique" UNIQUE ("id", "ws_id"),
        CONSTRAINT "quota_plans_ws_id_name_unique" UNIQUE ("ws_id", "name")
      );

      CREATE INDEX IF NOT EXISTS "quota_plans_tags_idx" ON "quota_plans" USING GIN ("tags");

      DROP TRIGGER IF EXISTS "quota_plans_sync_tags_trigger" ON "quota_plans";
      CREATE TRIGGER "quota_plans_sync_tags_trigger"
      AFTER INSERT OR UPDATE OF "tags" OR DELETE ON "quota_plans"
      FOR EACH ROW EXECUTE PROCEDURE "sync_tags" ();


      CREATE TABLE IF NOT EXISTS "quota_members" (
        "id"           UUID                      PRIMARY KEY,
        "created_at"   TIMESTAMP WITH TIME ZONE,
        "ws_id"        UUID                      REFERENCES "workspaces" ("id"),
        "plan_id"      UUID,
        "consumer_id"  UUID,
        "since"        BIGINT,
        "tags"         TEXT[],
        "cache_key"    TEXT                      UNIQUE,

        CONSTRAINT "quota_members_plan_id_fkey"
          FOREIGN KEY ("plan_id", "ws_id") REFERENCES "quota_plans" ("id", "ws_id") ON DELETE CASCADE,
        CONSTRAINT "quota_members_consumer_id_fkey"
          FOREIGN KEY ("consumer_id", "ws_id") REFERENCES "consumers" ("id", "ws_id") ON DELETE CASCADE
      );

      CREATE INDEX IF NOT EXISTS "quota_members_plan_id_idx" ON "quota_members" ("plan_id");
      CREATE INDEX IF NOT EXISTS "quota_members_consumer_id_idx" ON "quota_members" ("consumer_id");
      CREATE INDEX IF NOT EXISTS "quota_members_tags_idx" ON "quota_members" USING GIN ("tags");

      DROP TRIGGER IF EXISTS "quota_members_sync_tags_trigger" ON "quota_members";
      CREATE TRIGGER "quota_members_sync_tags_trigger"
      AFTER INSERT OR UPDATE OF "tags" OR DELETE ON "quota_members"
      FOR EACH ROW EXECUTE PROCEDURE "sync_tags" ();
    ]],
  },
}

//! The end-to-end stories, each on each gateway that this machine has.
//!
//! `KONG_TARGET=standin,binary-dbless cargo test -p stories --test stories` chooses gateways; a word after `--` chooses stories. A world is
//! started by a story that finds none free, left to the next one, and stopped at the end; several stories run side by side.

mod authentication;
mod bad_input;
mod bundled;
mod by_hand;
mod capstone;
mod configuration;
mod described;
mod hostile_keys;
mod hybrid;
mod kubernetes;
mod limits;
mod limits_of_every_kind;
mod load;
mod mcp;
mod official_clients;
mod opaque_tokens;
mod openid;
mod recovery;
mod revocation;
mod shared;
mod streaming;
mod topics;
mod vendors;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use stories::openid::OpenIdProvider;
use stories::redis::Redis;
use stories::repository;
use stories::suite::Suite;
use stories::target::Target;
use stories::world::World;

use official_clients::{ANTHROPIC_NODE, ANTHROPIC_PYTHON, OPENAI_NODE, OPENAI_PYTHON};
use topics::{access, balancing, beyond, beyond_standin, edge, traffic};

type Telling<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// A story: it has the world to itself while it runs, and leaves it serving the stories' configuration.
struct Story {
    name: &'static str,
    tell: for<'a> fn(&'a mut World) -> Telling<'a>,
    /// Why a target cannot show it, or `None`.
    beyond: fn(Target) -> Option<&'static str>,
}

/// Names async functions as stories.
macro_rules! stories {
    ($($room:ident :: $name:ident $(unless $beyond:expr)?),* $(,)?) => {
        [$(Story {
            name: concat!(stringify!($room), "::", stringify!($name)),
            tell: |world| Box::pin($room::$name(world)),
            beyond: stories!(@beyond $($beyond)?),
        }),*]
    };
    (@beyond) => { |_| None };
    (@beyond $beyond:expr) => { $beyond };
}

fn all() -> impl IntoIterator<Item = Story> {
    stories![
        limits::a_plain_chat_is_metered_by_what_it_really_used,
        limits::tenants_have_budgets_of_their_own,
        limits::a_spent_budget_answers_429_as_openai_does,
        limits::a_request_that_can_never_pass_is_told_so,
        limits::consumers_are_limited_by_their_key,
        limits::what_a_request_used_is_in_kongs_own_log unless |target| {
            (!target.is_real_kong()).then_some("the stand-in keeps no log")
        },
        limits_of_every_kind::concurrent_streams_are_limited_until_one_ends_or_its_client_leaves,
        limits_of_every_kind::money_is_spent_by_model_with_cached_and_reasoning_prices,
        limits_of_every_kind::a_limit_for_one_tier_leaves_the_others_alone,
        limits_of_every_kind::a_limit_on_trial_refuses_nothing_and_is_not_told,
        limits_of_every_kind::a_priority_class_leaves_its_reserve_to_the_others,
        limits_of_every_kind::whoever_waits_as_told_passes_whatever_the_window,
        limits_of_every_kind::a_calendar_month_ends_within_31_days,
        limits_of_every_kind::a_model_outside_the_list_never_reaches_the_provider,
        limits_of_every_kind::caps_are_clamped_and_injected_on_the_way,
        bad_input::bad_input_is_no_error_of_ours_and_no_charge_is_lost,
        vendors::every_answer_is_metered_exactly,
        vendors::every_stream_is_metered_exactly,
        vendors::a_refusal_has_the_form_of_the_api_that_was_asked,
        streaming::a_streamed_chat_is_metered_and_its_usage_stays_hidden,
        streaming::a_client_that_asks_for_usage_gets_it,
        streaming::events_arrive_one_by_one,
        streaming::a_client_that_leaves_pays_for_what_was_said,
        authentication::tokens_that_are_absent_forged_or_expired_are_refused,
        authentication::a_claim_header_cannot_be_spoofed,
        authentication::credentials_do_not_reach_the_provider,
        authentication::a_client_without_a_token_is_told_where_to_get_one,
        authentication::claims_and_a_condition_decide_who_passes,
        revocation::a_revoked_token_is_refused_although_it_is_remembered unless without_admin,
        revocation::a_token_revoked_at_one_node_is_refused_at_the_other unless without_redis,
        revocation::a_denylist_that_is_away_refuses_or_lets_pass_as_configured unless without_redis,
        opaque_tokens::a_token_that_only_its_server_can_read_passes_until_it_is_revoked unless contained,
        opaque_tokens::a_token_server_that_is_away_is_nobodys_fault unless contained,
        openid::tokens_of_an_openid_provider_pass_whatever_the_grant_and_the_algorithm unless without_openid,
        openid::programs_of_a_provider_are_consumers_beside_those_with_keys unless without_openid,
        openid::keys_rotate_under_load_and_no_valid_token_is_refused unless without_openid,
        openid::a_provider_that_is_away_is_missed_only_by_those_who_never_had_its_keys unless without_openid,
        hostile_keys::made_up_keys_and_hostile_key_hosts_cost_the_others_nothing unless contained,
        mcp::an_mcp_client_finds_its_way_to_a_token unless |target| contained(target).or_else(mcp::absence),
        bundled::a_token_without_a_consumer_is_limited_by_its_credential unless without_bundled,
        bundled::acl_lets_the_groups_of_the_tokens_consumer_pass unless without_bundled,
        bundled::rate_limiting_counts_each_tokens_consumer_apart unless without_bundled,
        bundled::consumers_are_described_as_kongs_own_plugins_describe_them unless without_bundled,
        bundled::a_token_or_a_key_opens_a_route_that_asks_for_either unless without_bundled,
        configuration::the_admin_api_answers_its_root,
        configuration::a_second_sync_changes_nothing,
        configuration::filter_chains_are_refused_where_nothing_runs_them,
        by_hand::single_entities_are_changed_by_hand unless |target| {
            (!target.is_real_kong())
                .then_some("the stand-in has no balancer for an upstream that no service names")
                .or_else(|| target.is_dbless().then_some("a node without a database takes no single changes"))
        },
        by_hand::a_node_without_a_database_refuses_single_changes unless |target| {
            (!target.is_dbless()).then_some("it has a database")
        },
        by_hand::the_level_of_the_log_is_told unless |target| {
            (!target.is_real_kong()).then_some("the stand-in keeps no log")
        },
        described::what_a_description_protects_is_protected unless |target| {
            beyond_standin(target, "the stand-in has no basic-auth")
        },
        configuration::configuration_pushed_often_makes_nothing_grow,
        configuration::a_configuration_that_cannot_work_is_an_error_of_its_route_alone,
        official_clients::openai_in_python_talks_streams_and_retries unless |_| OPENAI_PYTHON.absence(),
        official_clients::openai_in_node_talks_streams_and_retries unless |_| OPENAI_NODE.absence(),
        official_clients::anthropic_in_python_talks_streams_and_retries unless |_| ANTHROPIC_PYTHON.absence(),
        official_clients::anthropic_in_node_talks_streams_and_retries unless |_| ANTHROPIC_NODE.absence(),
        access::keys_open_the_agent_and_groups_say_whose unless |target| {
            beyond_standin(target, "the stand-in has no acl")
        },
        access::tokens_of_a_discovered_provider_open_the_agent unless beyond,
        access::a_program_with_its_providers_token_is_a_consumer unless beyond,
        access::kong_gives_out_tokens_over_tls_and_takes_them unless |target| {
            beyond_standin(target, "the stand-in has no oauth2").or_else(|| target.is_dbless().then_some("Kong keeps OAuth 2 tokens in a database"))
        },
        access::a_preflight_needs_no_key_and_a_refusal_can_be_read unless |target| {
            beyond_standin(target, "the stand-in has no cors")
        },
        traffic::requests_are_limited_for_each_consumer unless |target| {
            beyond_standin(target, "the stand-in has no rate-limiting")
        },
        traffic::the_free_tier_gets_fewer_tokens_by_tag_of_its_consumer unless |target| {
            beyond_standin(target, "the stand-in has no rate-limiting")
        },
        traffic::the_free_tier_and_the_money_of_a_tenant_are_those_of_its_claims unless |target| {
            beyond_standin(target, "the stand-in has no rate-limiting")
        },
        traffic::an_answer_is_a_miss_then_a_hit_for_each_caller_apart unless |target| {
            beyond_standin(target, "the stand-in has no proxy-cache")
        },
        traffic::tenants_without_a_consumer_do_not_share_what_is_kept unless |target| {
            beyond_standin(target, "the stand-in has no proxy-cache")
        },
        traffic::tenants_without_a_consumer_share_what_is_kept_where_no_header_tells_them_apart unless |target| {
            beyond_standin(target, "the stand-in has no proxy-cache")
        },
        traffic::a_slow_agent_is_given_up_and_only_what_may_be_is_tried_again unless beyond,
        traffic::requests_and_answers_are_changed_on_their_way unless |target| {
            beyond_standin(target, "the stand-in has no transformers")
        },
        balancing::requests_are_spread_by_weight unless beyond,
        balancing::a_busy_agent_is_spared unless |target| {
            beyond_standin(target, "the stand-in has no least-connections")
        },
        balancing::a_conversation_stays_with_its_agent unless beyond,
        balancing::a_dead_agent_gets_nothing_until_it_is_back unless |target| {
            beyond_standin(target, "the stand-in has no active health checks")
        },
        balancing::an_agent_that_fails_is_left_out_and_one_that_dies_fails_nobody unless |target| {
            beyond_standin(target, "the stand-in has no active health checks")
        },
        balancing::a_canary_gets_its_tenth_and_whoever_asks_for_it unless beyond,
        edge::each_route_matches_by_what_it_names unless beyond,
        edge::a_namespace_changes_nothing_for_the_services unless |target| {
            beyond_standin(target, "the stand-in does not run what pre-function does to a path")
        },
        edge::the_certificate_is_that_of_the_name_and_plain_http_is_sent_to_it unless |target| {
            beyond_standin(target, "the stand-in has no TLS")
        },
        shared::a_race_for_places_in_memory_admits_exactly_the_limit,
        shared::a_race_for_places_at_two_nodes_admits_exactly_the_limit unless |target| {
            // Nodes share what their entities' ids say is the same: those of a database, or those that Kong derives from names.
            (!target.is_dbless()).then_some("two databases are no two nodes").or_else(|| without_redis(target))
        },
        shared::a_budget_in_redis_is_reserved_and_settled unless |target| {
            (target != Target::Compose).then(Redis::absence).flatten()
        },
        shared::a_frozen_redis_delays_no_request_beyond_its_timeout unless without_redis,
        shared::a_killed_redis_fails_no_request_and_loses_no_token unless without_redis,
        capstone::one_agent_is_served_guarded_and_metered unless capstone::beyond,
        hybrid::a_control_plane_without_a_plugin_server_configures_a_data_plane unless hybrid::beyond,
        kubernetes::kong_takes_every_plugin_of_the_manifests unless |target| {
            (!target.is_real_kong()).then_some("the stand-in knows not all of Kong's own plugins")
        },
        kubernetes::a_pod_without_a_database_serves_the_capstone unless kubernetes::beyond,
        kubernetes::pods_of_both_planes_serve_the_capstone unless kubernetes::beyond_database,
        recovery::a_killed_plugin_server_recovers_when_idle,
        recovery::a_killed_plugin_server_recovers_under_load_without_a_storm,
        recovery::a_reload_under_load_fails_no_request unless |target| {
            (!target.is_real_kong()).then_some("the stand-in has no reload")
        },
    ]
}

/// Why a story that does things to Redis cannot be told.
fn without_redis(target: Target) -> Option<&'static str> {
    if target == Target::Compose {
        return Some("its Redis is a container");
    }
    Redis::absence()
}

/// Why a story that speaks to the plugin server's admin listener cannot be told.
fn without_admin(target: Target) -> Option<&'static str> {
    (target == Target::Compose).then_some("its plugin server is a container")
}

/// Why what listens on this machine's loopback is out of reach.
fn contained(target: Target) -> Option<&'static str> {
    (target == Target::Compose).then_some("its containers do not reach this machine's loopback")
}

/// Why a story of an OpenID provider cannot be told.
fn without_openid(target: Target) -> Option<&'static str> {
    contained(target).or_else(OpenIdProvider::absence)
}

/// Why a story of Kong's own plugins cannot be told.
fn without_bundled(target: Target) -> Option<&'static str> {
    (!target.is_real_kong()).then_some("the stand-in refuses acl and rate-limiting")
}

fn main() -> ExitCode {
    Suite::main(suite())
}

fn suite() -> Result<Suite> {
    let mut suite = Suite::new(|runtime, target| runtime.block_on(start(target)))?;
    for target in Target::wanted()? {
        let Some(mut tests) = suite.gateway(target, "every story") else {
            continue;
        };
        for story in all() {
            match (story.beyond)(target) {
                Some(reason) => tests.skip(story.name, reason),
                None => tests.test(story.name, move |runtime, world| {
                    runtime.block_on((story.tell)(world))
                }),
            }
        }
    }
    Ok(suite)
}

async fn start(target: Target) -> Result<World> {
    let world = World::start(target).await?;
    match world.configure(&configuration_file()).await {
        Ok(()) => Ok(world),
        Err(error) => {
            let words = world.last_words();
            world.stop().await?;
            Err(anyhow!("{error:#}\n{words}"))
        }
    }
}

/// What every story finds applied.
fn configuration_file() -> PathBuf {
    file_beside("kong.yml")
}

/// What a story applies together with it.
fn file_beside(name: &str) -> PathBuf {
    repository().join("tests").join("stories").join(name)
}

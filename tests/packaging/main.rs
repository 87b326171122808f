//! What ships around the binaries agrees with them and with itself: Kong's configuration and topics, compose, the Helm layers, the comparisons, the attacks.
//!
//! Nothing here needs a cluster or an engine. Where the machine has more (`docker compose`, `promtool`, `helm` with the chart's path in
//! `KONG_CHART`, `kubernetes-validate`), the real tool looks too; where it has not, that check is named as skipped.

mod attacks;
mod comparison;
mod compose;
mod dockerfile;
mod document;
mod evidence;
mod helm;
mod kong_conf;
mod observe;
mod topics;

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

type Check = (&'static str, fn() -> Result<()>);

const CHECKS: &[Check] = &[
    (
        "kong_conf_names_every_plugin_and_its_description",
        kong_conf::names_every_plugin,
    ),
    (
        "kong_conf_agrees_with_what_the_binary_dumps",
        kong_conf::agrees_with_the_binary,
    ),
    (
        "kong_conf_never_lets_kong_spawn_the_server",
        kong_conf::never_spawns,
    ),
    (
        "compose_publishes_on_loopback_only",
        compose::publishes_on_loopback_only,
    ),
    ("compose_pins_every_image", compose::pins_every_image),
    (
        "compose_shares_one_directory_with_the_socket",
        compose::shares_the_socket_directory,
    ),
    (
        "compose_hybrid_planes_have_what_they_need",
        compose::hybrid_planes_have_what_they_need,
    ),
    (
        "compose_sets_every_variable_of_kong_yml",
        compose::sets_every_variable,
    ),
    (
        "compose_builds_targets_that_exist",
        compose::builds_targets_that_exist,
    ),
    ("compose_oidc_is_one_agreement", compose::oidc_agrees),
    (
        "images_are_built_for_two_architectures",
        dockerfile::builds_for_two_architectures,
    ),
    (
        "images_run_as_nobody_special",
        dockerfile::runs_as_nobody_special,
    ),
    (
        "images_have_the_verb_of_their_health_checks",
        dockerfile::has_the_verb_of_its_health_checks,
    ),
    (
        "compose_keeps_the_admin_listener_private",
        observe::admin_listener_is_private,
    ),
    (
        "observe_scrapes_what_compose_has",
        observe::prometheus_agrees_with_compose,
    ),
    (
        "observe_provisions_files_that_exist",
        observe::provisioning_is_whole,
    ),
    (
        "observe_has_a_section_for_every_alert",
        observe::every_alert_has_its_section,
    ),
    (
        "helm_layers_are_all_checked",
        helm::layers::every_layer_is_in_a_combination,
    ),
    (
        "helm_sidecar_says_the_same_as_kong_conf",
        helm::layers::sidecar_agrees_with_kong_conf,
    ),
    (
        "helm_schemas_are_those_of_the_sidecar",
        helm::layers::schemas_agree_with_the_sidecar,
    ),
    (
        "helm_ingress_chart_repeats_the_sidecar",
        helm::layers::the_ingress_chart_repeats_the_sidecar,
    ),
    (
        "helm_sidecar_is_hardened",
        helm::layers::sidecar_is_hardened,
    ),
    (
        "helm_lists_live_in_one_layer_each",
        helm::layers::lists_live_in_one_layer,
    ),
    (
        "helm_layers_avoid_the_chart_s_silent_traps",
        helm::layers::avoids_silent_traps,
    ),
    (
        "helm_alerts_are_those_of_observe",
        helm::manifests::alerts_are_those_of_observe,
    ),
    (
        "helm_metrics_are_scraped_where_they_are_served",
        helm::manifests::metrics_are_scraped_where_they_are_served,
    ),
    (
        "helm_only_kong_may_reach_valkey",
        helm::manifests::only_kong_may_reach_valkey,
    ),
    ("topics_have_a_page_each", topics::have_a_page_each),
    ("topics_say_what_they_read", topics::say_what_they_read),
    ("topics_are_told_as_stories", topics::are_told_as_stories),
    (
        "topics_validate_alone_and_together",
        topics::validate_alone_and_together,
    ),
    ("topics_refuse_two_upstreams", topics::refuse_two_upstreams),
    (
        "manifests_are_there_for_every_topic",
        helm::topics::every_topic_has_a_manifest,
    ),
    (
        "capstone_means_the_same_in_kubernetes",
        helm::topics::the_capstone_means_the_same_in_kubernetes,
    ),
    (
        "manifests_leave_secrets_to_whoever_applies_them",
        helm::topics::secrets_are_left_to_whoever_applies_them,
    ),
    (
        "capstone_finds_its_agents_and_its_key",
        helm::topics::the_capstone_finds_its_agents_and_its_key,
    ),
    (
        "capstone_overrides_services_that_compose_has",
        compose::capstone_fits,
    ),
    (
        "manifests_mean_the_same_as_topics",
        helm::topics::manifests_mean_the_same_as_topics,
    ),
    (
        "comparison_is_what_the_readme_says",
        comparison::is_what_the_readme_says,
    ),
    (
        "comparison_names_tests_that_exist",
        comparison::names_tests_that_exist,
    ),
    (
        "comparison_tests_what_it_claims",
        comparison::tests_what_it_claims,
    ),
    (
        "comparison_cites_each_footnote",
        comparison::cites_each_footnote,
    ),
    ("attacks_are_tested_and_told", attacks::are_tested_and_told),
    (
        "attacks_get_the_answers_of_the_readme",
        attacks::answers_are_the_readme_s,
    ),
];

/// A check that needs a tool; `Err` says why it cannot be made here.
type Tool = (&'static str, fn() -> Result<(), String>, fn() -> Result<()>);

const TOOLS: &[Tool] = &[
    (
        "docker_compose_accepts_the_file",
        compose::tool,
        compose::the_tool_accepts_it,
    ),
    (
        "promtool_accepts_alerts_and_dashboard",
        observe::tool,
        observe::the_tool_accepts_it,
    ),
    (
        "helm_starts_kong_with_the_plugins",
        helm::rendered::helm,
        helm::rendered::kong_starts_with_the_plugins,
    ),
    (
        "helm_renders_the_ingress_chart",
        helm::rendered::helm_with_the_ingress_chart,
        helm::rendered::kong_starts_with_the_plugins,
    ),
    (
        "helm_renders_no_secret",
        helm::rendered::helm,
        helm::rendered::secrets_are_references,
    ),
    (
        "helm_renders_no_secret_but_the_webhook_s",
        helm::rendered::helm,
        helm::rendered::secrets_are_the_charts_own,
    ),
    (
        "crds_accept_the_manifests",
        helm::crds::definitions_are_there,
        helm::crds::accept_the_manifests,
    ),
    (
        "crds_accept_what_kongctl_writes",
        helm::crds::definitions_are_there,
        helm::crds::accept_what_kongctl_writes,
    ),
    (
        "crds_refuse_what_kubernetes_refuses",
        helm::crds::definitions_are_there,
        helm::crds::refuse_what_kubernetes_refuses,
    ),
    (
        "kubernetes_accepts_every_combination",
        helm::rendered::schemas,
        helm::rendered::satisfies_the_schemas_of_kubernetes,
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = Vec::new();
    for &(name, check) in CHECKS {
        trials.push(Trial::test(name, move || told(check())));
    }
    for &(name, present, check) in TOOLS {
        trials.push(match present() {
            Ok(()) => Trial::test(name, move || told(check())),
            Err(reason) => {
                eprintln!("SKIPPED {name}: {reason}");
                Trial::test(name, || Err(Failed::from("skipped on this machine")))
                    .with_kind(format!("skipped: {reason}"))
                    .with_ignored_flag(true)
            }
        });
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn told(result: Result<()>) -> Result<(), Failed> {
    result.map_err(|error| format!("{error:#}").into())
}

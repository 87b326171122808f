//! `llm-rate-limiting` and `llm-jwt`: the Redis that they share.

use super::{each_is_told_of_issuers, each_is_told_of_limits};

#[test]
fn what_kongs_schema_says_of_redis_is_said_here() {
    each_is_told_of_limits(&[
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {host: §''}",
            &["redis.host: must not be empty"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {host: r, port: §0}",
            &["redis.port: must be from 1 to 65535"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {host: r, timeout: §0}",
            &["redis.timeout: must be from 1 to 60000"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {host: r, database: §-1}",
            &["redis.database: must be from 0"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {cluster_nodes: [{host: §''}]}",
            &["redis.cluster_nodes[0].host: must not be"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {host: §'{vault://env/host}'}",
            &["redis.host: Kong resolves no vault"],
        ),
    ]);
}

#[test]
fn a_redis_that_cannot_be_meant_is_told() {
    each_is_told_of_limits(&[
        (
            "limits: [LIMIT]\n§redis: {host: r}",
            &["redis: is given, but policy is memory"],
        ),
        (
            "limits: [LIMIT]\npolicy: §redis",
            &["redis: policy redis needs a host"],
        ),
        (
            "limits: [LIMIT]\npolicy: §redis\nredis: {port: 1}",
            &["redis: policy redis needs a host"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {host: §h, cluster_nodes: [{host: c}]}",
            &["redis.host: cannot be combined with cluster_nodes"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {host: §h, sentinel_nodes: [{host: s}], sentinel_master: m}",
            &["redis.host: cannot be combined with sentinel"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {§cluster_nodes: [{host: c}], sentinel_nodes: [{host: s}]}",
            &["redis.cluster_nodes: cannot be combined"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\n§redis: {sentinel_nodes: [{host: s}]}",
            &["redis.sentinel_master: is needed"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\n§redis: {host: h, sentinel_master: m}",
            &["redis.sentinel_nodes: are needed"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {cluster_nodes: [{host: c}], database: §2}",
            &["redis.database: must be 0"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {cluster_nodes: [{host: c}], ssl: true, server_name: §n}",
            &["redis.server_name: works with one server"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\n§redis: {host: h, username: u}",
            &["redis.password: is needed with a username"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\n§redis: {sentinel_nodes: [{}], sentinel_master: m, sentinel_username: u}",
            &["redis.sentinel_password: is needed"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\nredis: {host: h, sentinel_password: §p}",
            &["redis.sentinel_password: needs sentinel_nodes"],
        ),
        (
            "limits: [LIMIT]\npolicy: redis\n§redis: {host: h, server_name: n}",
            &["redis.ssl: must be true"],
        ),
    ]);
}

#[test]
fn a_denylist_that_has_no_place_is_told() {
    each_is_told_of_issuers(&[
        (
            "^issuers: [ISSUER]\ndenylist: {policy: redis}",
            &["redis: denylist.policy redis needs a host"],
        ),
        (
            "issuers: [ISSUER]\n§redis: {host: h}",
            &["redis: nothing uses it"],
        ),
        (
            "issuers: [ISSUER]\ndenylist: {policy: §disk}",
            &["denylist.policy: must be one of off, memory, redis"],
        ),
        (
            "issuers: [ISSUER]\ndenylist: {policy: redis}\n§redis: {host: h, username: u}",
            &["redis.password: is needed with a username"],
        ),
    ]);
}

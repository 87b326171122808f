//! The ways to a Redis: scripts that were forgotten, users, databases, TLS, clusters, sentinels.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use llm_plugin_server::stores::redis::RedisStore;
use llm_plugin_server::stores::redis::config::{Node, RedisConfig, Secret};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use token_limiter::{Charge, Cost, Decision, Key, Limit, Meter, Settlement, Store as _};

use crate::server::{Server, cli, free_port, require_redis, wait_until};
use crate::{LEASE, granted, key, limit};

/// A whole life of a reservation: charged, seen, settled, settled no more.
async fn serves(store: &RedisStore, tenant: &str) -> Key {
    let limit = limit("tokens", 100);
    let key = key(&limit, tenant);
    let charge = [Charge::new(&limit, key, Cost::new(60))];
    let grant = granted(store.reserve(&charge, LEASE).await.unwrap());
    let open = store.reservations(10).await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].reservation, grant.reservation);
    assert_eq!(open[0].costs[..], [Cost::new(60)]);
    assert!(open[0].expires_in <= LEASE && open[0].expires_in > LEASE / 2);
    let settle = async || store.settle(&grant.reservation, &[Cost::new(40)]).await;
    assert_eq!(settle().await.unwrap(), Settlement::Settled);
    assert_eq!(settle().await.unwrap(), Settlement::Unknown);
    assert_eq!(used(store, &limit, key).await, 40);
    assert_eq!(store.reservations(10).await.unwrap(), []);
    key
}

async fn used(store: &RedisStore, limit: &Limit, key: Key) -> u64 {
    let balance = store.inspect(&[Meter { limit, key }]).await.unwrap();
    balance[0].used.units()
}

fn store(config: RedisConfig) -> RedisStore {
    config.check().unwrap();
    RedisStore::new(Arc::new(config))
}

#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    require_redis!();
    let server = Server::start();
    let store = server.store();
    serves(&store, "tenant").await;
    server.cli(&["flushall"]);
    server.cli(&["script", "flush"]);
    serves(&store, "tenant").await;
}

#[tokio::test]
async fn nothing_is_left_without_an_expiry() {
    require_redis!();
    let server = Server::start();
    let store = server.store();
    let limit = limit("tokens", 100);
    let charge = [Charge::new(&limit, key(&limit, "tenant"), Cost::new(60))];
    granted(store.reserve(&charge, LEASE).await.unwrap());
    store.heartbeat(RedisStore::draw_id(), LEASE).await.unwrap();
    let names = server.cli(&["keys", "*"]);
    assert_eq!(names.lines().count(), 3, "{names}");
    for name in names.lines() {
        let ttl: i64 = server.cli(&["pttl", name]).parse().unwrap();
        assert!(ttl > 0, "{name} lives for ever");
    }
}

#[tokio::test]
async fn an_acl_user_and_a_database_are_used() {
    require_redis!();
    let server = Server::start();
    // What the configuration's documentation says such a user needs, and no more.
    server.cli(&[
        "acl",
        "setuser",
        "limiter",
        "on",
        ">hunter2",
        "~llm:*",
        "+@connection",
        "+@hash",
        "+@string",
        "+@sortedset",
        "+@scripting",
        "+@keyspace",
        "-@dangerous",
        "+time",
    ]);
    server.cli(&["acl", "setuser", "default", "off"]);
    let config = RedisConfig {
        username: Some("limiter".to_owned()),
        password: Some(Secret::new("hunter2")),
        database: 3,
        ..server.config()
    };
    serves(&store(config.clone()), "tenant").await;
    crate::denied::serves(&store(config.clone())).await;
    let spaces = server.cli(&[
        "--user", "limiter", "--pass", "hunter2", "-n", "3", "dbsize",
    ]);
    assert_eq!(spaces, "1", "the counter is in database 3");

    let wrong = RedisConfig {
        password: Some(Secret::new("hunter3")),
        ..config
    };
    let refused = store(wrong).reservations(1).await.unwrap_err();
    assert!(
        !format!("{refused:?} {refused}").contains("hunter"),
        "{refused}"
    );
}

#[tokio::test]
async fn tls_is_verified_against_the_name() {
    require_redis!();
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["redis.example".to_owned()])
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let files = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: String| {
        let path = files.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let port = free_port();
    let tls_port = port.to_string();
    let server = Server::on(
        0,
        &[
            "--tls-port",
            &tls_port,
            "--tls-cert-file",
            &file("cert", certificate.pem()),
            "--tls-key-file",
            &file("key", key.serialize_pem()),
            "--tls-ca-cert-file",
            &file("ca", ca.pem()),
            "--tls-auth-clients",
            "no",
        ],
    );
    wait_until("redis-server listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let trusted = RedisConfig {
        port,
        ssl: true,
        ssl_ca: Some(ca.pem()),
        server_name: Some("redis.example".to_owned()),
        ..server.config()
    };
    serves(&store(trusted.clone()), "verified").await;
    let refused = async |config: RedisConfig| {
        let error = store(config).reservations(1).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    };
    refused(RedisConfig {
        server_name: Some("other.example".to_owned()),
        ..trusted.clone()
    })
    .await;
    refused(RedisConfig {
        server_name: None,
        ..trusted.clone()
    })
    .await;
    refused(RedisConfig {
        ssl_ca: None,
        ..trusted.clone()
    })
    .await;
    let unverified = RedisConfig {
        ssl_verify: false,
        server_name: Some("other.example".to_owned()),
        ..trusted
    };
    serves(&store(unverified), "unverified").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_releases_what_another_slot_refused() {
    require_redis!();
    let servers: Vec<_> = (0..3)
        .map(|_| {
            let bus = free_port().to_string();
            Server::with(&["--cluster-enabled", "yes", "--cluster-port", &bus])
        })
        .collect();
    let nodes: Vec<_> = servers
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port))
        .collect();
    let mut create = vec!["--cluster", "create"];
    create.extend(nodes.iter().map(String::as_str));
    create.push("--cluster-yes");
    let created = servers[0].cli(&create);
    assert!(created.contains("16384 slots covered"), "{created}");
    wait_until("all nodes agree", || {
        servers.iter().all(|server| {
            server
                .cli(&["cluster", "info"])
                .contains("cluster_state:ok")
        })
    });
    let store = store(RedisConfig {
        cluster_nodes: vec![Node {
            host: "127.0.0.1".to_owned(),
            port: servers[0].port,
        }],
        ..servers[0].config()
    });
    serves(&store, "tenant").await;
    crate::denied::serves(&store).await;

    // Identities that live on different nodes, by the cluster's own account.
    let limit = limit("tokens", 100);
    let node_of = |key: Key| {
        let tag = format!("{:016x}", key.group());
        let slot: u16 = servers[0]
            .cli(&["cluster", "keyslot", &tag])
            .parse()
            .unwrap();
        slot / (16_384 / 3 + 1)
    };
    let first = key(&limit, "first");
    let second = (0..1_000)
        .map(|number| key(&limit, &format!("second {number}")))
        .find(|&key| node_of(key) != node_of(first))
        .unwrap();
    let both = |cost| [first, second].map(|key| Charge::new(&limit, key, Cost::new(cost)));
    let grant = granted(store.reserve(&both(10), LEASE).await.unwrap());
    let open = store.reservations(10).await.unwrap();
    assert_eq!(open.len(), 1, "one reservation, whatever its slots");
    assert_eq!(open[0].reservation.keys.len(), 2);
    let actual = [Cost::new(5), Cost::new(90)];
    let settled = store.settle(&grant.reservation, &actual).await.unwrap();
    assert_eq!(settled, Settlement::Settled);

    match store.reserve(&both(20), LEASE).await.unwrap() {
        Decision::Denied(denial) => {
            assert_eq!(denial.index, 1);
            assert_eq!(denial.balances[0].used, Cost::new(5));
            assert_eq!(denial.balances[1].used, Cost::new(90));
        }
        other => panic!("the second has no room: {other:?}"),
    }
    assert_eq!(used(&store, &limit, first).await, 5, "released");
    assert_eq!(store.reservations(10).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_lead_to_the_new_primary() {
    require_redis!();
    let mut primary = Server::start();
    let port = primary.port.to_string();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &port]);
    wait_until("the replica follows", || {
        replica
            .cli(&["info", "replication"])
            .contains("master_link_status:up")
    });
    let files = tempfile::TempDir::new().unwrap();
    let sentinel_port = free_port();
    let settings = files.path().join("sentinel.conf");
    fs::write(
        &settings,
        format!(
            "sentinel monitor main 127.0.0.1 {port} 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        ),
    )
    .unwrap();
    let _sentinel = Server::sentinel(sentinel_port, &settings);
    wait_until("the sentinel knows the replica", || {
        cli(sentinel_port, &["sentinel", "replicas", "main"]).contains(&replica.port.to_string())
    });
    let store = store(RedisConfig {
        sentinel_nodes: vec![
            // Nobody listens there: the next is asked.
            Node {
                host: "127.0.0.1".to_owned(),
                port: free_port(),
            },
            Node {
                host: "127.0.0.1".to_owned(),
                port: sentinel_port,
            },
        ],
        sentinel_master: Some("main".to_owned()),
        timeout: Duration::from_millis(500),
        ..primary.config()
    });
    let key = serves(&store, "tenant").await;
    let limit = limit("tokens", 100);
    assert_eq!(primary.cli(&["wait", "1", "1000"]), "1");

    primary.kill();
    let started = std::time::Instant::now();
    while store
        .inspect(&[Meter { limit: &limit, key }])
        .await
        .is_err()
    {
        assert!(
            started.elapsed() < crate::server::PATIENCE,
            "no new primary"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        used(&store, &limit, key).await,
        40,
        "the replica's counters count on"
    );
    let charge = [Charge::new(&limit, key, Cost::new(60))];
    granted(store.reserve(&charge, LEASE).await.unwrap());
}

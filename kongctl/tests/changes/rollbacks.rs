//! Rollbacks: whole, one after the other, in part, refused.

use super::{DATABASES, Seen, User, standin, url};

const A: &str = r#"
services:
- name: llm
  url: http://provider.example/v1
  tags: [b, a]
  routes:
  - {name: chat, paths: [/chat], plugins: [{name: key-auth}, {name: request-termination, config: {status_code: 403, message: no}}]}
  - {paths: [/unnamed]}
consumers:
- username: alice
  keyauth_credentials: [{key: alice-key}]
  acls: [{group: gold}]
  hmacauth_credentials: [{username: h, secret: s}]
upstreams: [{name: pool, targets: [{target: "127.0.0.1:9955", weight: 10}, {target: host.example}]}]
vaults: [{prefix: my-env, name: env}]
"#;
const B: &str = r#"
services:
- name: llm
  url: http://provider.example/v2
  routes:
  - {name: talk, paths: [/chat], plugins: [{name: request-termination}]}
consumers: [{username: bob, keyauth_credentials: [{key: alice-key}]}]
upstreams: [{name: pool, targets: [{target: "127.0.0.1:9955", weight: 20}]}]
"#;

async fn must_roll_back(user: &User, node: &str) -> String {
    user.must("rollback --yes", node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_undone_one_after_the_other_byte_for_byte() {
    for database in DATABASES {
        let (node, user) = (standin(database).await, User::new());
        let node = url(&node);
        let mut dumps = vec![user.dump(&node).await];
        for (name, text) in [("a.yml", A), ("b.yml", B)] {
            user.write(name, text);
            user.must(&format!("sync {name}"), &node).await;
            dumps.push(user.dump(&node).await);
        }
        user.must("reset --yes", &node).await;
        for dump in dumps.iter().rev() {
            must_roll_back(&user, &node).await;
            assert_eq!(user.dump(&node).await, *dump);
        }
        let seen = user.run("rollback --yes", &node).await;
        assert!(
            seen.stderr.contains("there is nothing to undo on"),
            "{seen:?}"
        );
        // A rollback can be undone too, by its name.
        let journals = user.must("rollback --list -o name", &node).await;
        let newest = journals.lines().next().unwrap();
        user.must(&format!("rollback --yes {newest}"), &node).await;
        assert_eq!(user.dump(&node).await, dumps[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_did_since_is_left_alone_or_stops_the_rollback() {
    for database in DATABASES {
        let (node, user, other) = (standin(database).await, User::new(), User::new());
        let node = url(&node);
        user.write("a.yml", A);
        user.must("sync a.yml", &node).await;
        user.write("b.yml", B);
        user.must("sync b.yml", &node).await;
        // Somebody adds a consumer, which the rollback does not touch, and changes a target, which it does.
        let theirs = B
            .replace("weight: 20", "weight: 30")
            .replace("consumers: [", "consumers: [{username: carol}, ");
        other.write("theirs.yml", &theirs);
        other.must("sync theirs.yml", &node).await;
        let before = user.dump(&node).await;
        let refused = user.run("rollback --yes", &node).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(
            refused
                .stderr
                .contains("\n    target 127.0.0.1:9955 of upstream pool: was changed since\n"),
            "{refused:?}"
        );
        assert_eq!(user.dump(&node).await, before);
        let seen = user.run("rollback --yes --force", &node).await;
        assert_eq!(seen.code, 0, "{seen:?}");
        let after = user.dump(&node).await;
        assert!(
            after.contains("carol") && after.contains("weight: 10"),
            "{after}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hashed_password_comes_back_where_it_can_and_is_missed_before_anything_is_done() {
    let with = "consumers:\n- {username: alice, basicauth_credentials: [{username: alice, password: pw-s3cret}]}\n- {username: bob}\n";
    let without = "consumers:\n- {username: alice}\n";
    for database in DATABASES {
        let (node, user) = (standin(database).await, User::new());
        let node = url(&node);
        user.write("a.yml", with);
        user.write("b.yml", without);
        user.must("sync a.yml", &node).await;
        let before = user.dump(&node).await;
        user.must("sync b.yml", &node).await;
        let after = user.dump(&node).await;
        if database == DATABASES[0] {
            let refused = user.run("rollback --yes", &node).await;
            assert_eq!(refused.code, 1);
            assert!(
                refused.stderr.contains(
                    "not all can be restored; nothing was changed:\n    basic-auth credential alice"
                ),
                "{refused:?}"
            );
            assert_eq!(user.dump(&node).await, after);
            user.must("rollback --yes --partial", &node).await;
            let partly = user.dump(&node).await;
            assert!(
                partly.contains("bob") && !partly.contains("basicauth"),
                "{partly}"
            );
            // The missing rest, once somebody knows it.
            let journals = user.must("rollback --list -o name", &node).await;
            let of_b = journals.lines().nth(1).unwrap();
            user.must(&format!("rollback --yes --passwords a.yml {of_b}"), &node)
                .await;
        } else {
            must_roll_back(&user, &node).await;
        }
        assert_eq!(user.dump(&node).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_is_in_a_journal_as_it_was_given() {
    let (node, user) = (standin(DATABASES[0]).await, User::new());
    let node = url(&node);
    user.write(
        "a.yml",
        "consumers:\n- {username: alice, basicauth_credentials: [{username: alice, password: pw-s3cret}]}\n",
    );
    user.must("sync --journal j.jsonl a.yml", &node).await;
    let journal = user.read("j.jsonl");
    assert!(
        !journal.contains("pw-s3cret") && journal.contains("\"complete\":true"),
        "{journal}"
    );
    user.must("rollback --yes j.jsonl", &node).await;
    assert!(!user.dump(&node).await.contains("alice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_there_is_no_way_back_and_that_is_said() {
    let (node, user) = (standin(DATABASES[0]).await, User::new());
    let node = url(&node);
    user.write("a.yml", A);
    let Seen { code, stderr, .. } = user
        .run("sync --journal /nowhere/j.jsonl a.yml", &node)
        .await;
    assert_eq!(code, 1);
    assert!(
        stderr.contains("cannot write the journal /nowhere/j.jsonl")
            && stderr.contains("nothing was changed"),
        "{stderr}"
    );
    assert_eq!(user.dump(&node).await, "_format_version: \"3.0\"\n");
    user.must("sync --journal off a.yml", &node).await;
    let seen = user.run("rollback --yes", &node).await;
    assert!(
        seen.stderr.contains("there is nothing to undo on"),
        "{seen:?}"
    );
    let seen = user.run("rollback", &node).await;
    assert!(
        seen.stderr.contains("say --yes if that is meant"),
        "{seen:?}"
    );
    let seen = user.run("rollback --yes nonsense", &node).await;
    assert!(
        seen.stderr.contains("there is no journal nonsense"),
        "{seen:?}"
    );
}

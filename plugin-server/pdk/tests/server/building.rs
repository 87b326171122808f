//! What a server is built of, and what Kong reads of it.

use kong_pdk::server::BuildError;
use kong_pdk::{ConfigError, Plugin, Server, registration};
use serde_json::json;

use super::script::{Empty, Other};

#[test]
fn the_dump_is_what_kong_reads() {
    let server = Server::builder()
        .plugin(registration!(Other))
        .build()
        .unwrap();
    let dump = server.dump("other", "/run/plugins.sock").unwrap();
    assert_eq!(
        dump,
        json!({
            "Protocol": "ProtoBuf:1",
            "SocketPath": "/run/plugins.sock",
            "Plugins": [{
                "Name": "other", "Version": "0.0.1", "Priority": 1, "Phases": ["response"],
                "Schema": { "name": "other", "fields": [
                    { "config": { "type": "record", "fields": [] } },
                ] },
            }],
        }),
    );
    assert_eq!(server.dump("absent", ""), None);
}

#[test]
fn a_server_that_makes_no_sense_is_not_built() {
    struct Idle;
    impl Plugin for Idle {
        const NAME: &'static str = "idle";
        const VERSION: &'static str = "0.0.1";
        const PRIORITY: i32 = 1;
        type Config = Empty;
        type Instance = ();
        fn configure(&self, _: Empty) -> Result<(), ConfigError> {
            Ok(())
        }
    }
    assert_eq!(Server::builder().build().unwrap_err(), BuildError::NoPlugin);
    let twice = Server::builder()
        .plugin(registration!(Other))
        .plugin(registration!(Other));
    assert_eq!(
        twice.build().unwrap_err(),
        BuildError::DuplicateName("other")
    );
    let idle = Server::builder().plugin(registration!(Idle));
    assert_eq!(idle.build().unwrap_err(), BuildError::NoPhase("idle"));
}

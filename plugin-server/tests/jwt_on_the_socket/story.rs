//! A served directory, an issuer's key, and one connection from Kong.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use llm_plugin_server::cli::ProcessArgs;
use llm_plugin_server::config::ProcessConfig;
use llm_plugin_server::server;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::support::{Event, Kong, Request};

/// What a test of a plugin on its socket needs.
pub(crate) struct Story {
    pub(crate) kong: Kong,
    pub(crate) key: EcdsaKeyPair,
    pub(crate) dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Story {
    pub(crate) async fn begin() -> Self {
        Self::begin_with(ProcessArgs::default()).await
    }

    pub(crate) async fn begin_with(arguments: ProcessArgs) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let path = dir.path().to_owned();
        let server = tokio::spawn(async move {
            let mut config = ProcessConfig::resolve(arguments)?;
            config.admin.listen = Some(format!("unix:{}/admin.sock", path.display()).parse()?);
            server::serve(&config, &path, async { drop(stopped.await) }).await
        });
        wait_for_socket(dir.path()).await;
        let kong = Kong::connect(dir.path()).await;
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self {
            kong,
            key,
            dir,
            stop: Some(stop),
            server,
        }
    }

    /// A configuration with one issuer and these further fields.
    pub(crate) fn config(&self, further: &Value) -> Value {
        let der: PublicKeyX509Der<'_> = self.key.public_key().as_der().unwrap();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        let issuer = json!({"issuer": "https://idp.example", "public_keys": [pem], "audience_required": ["llm"]});
        let mut config = json!({"issuers": [issuer], "__plugin_id": "p", "__seq__": 1});
        config
            .as_object_mut()
            .unwrap()
            .extend(further.as_object().cloned().unwrap_or_default());
        config
    }

    pub(crate) fn token(&self, further: &Value) -> String {
        let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
        let mut claims =
            json!({"iss": "https://idp.example", "aud": "llm", "sub": "alice", "exp": now + 600});
        claims
            .as_object_mut()
            .unwrap()
            .extend(further.as_object().cloned().unwrap_or_default());
        sign(&self.key, &json!({"alg": "ES256"}), &claims)
    }

    pub(crate) async fn access(&mut self, config: Value, request: &Request) -> Event {
        let instance = self.kong.start_instance("llm-jwt", &config).await;
        self.kong.access(instance, request).await
    }

    /// The server must end well.
    pub(crate) async fn end(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        drop(self.kong);
        self.server.await.unwrap().unwrap();
        assert!(
            self.dir.path().join("plugins.sock").exists(),
            "nobody unlinks the socket"
        );
    }
}

pub(crate) fn sign(key: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let signature = key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

async fn wait_for_socket(dir: &Path) {
    for _ in 0..1000 {
        if dir.join("plugins.sock").exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the server did not come up");
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

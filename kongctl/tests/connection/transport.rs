//! TLS, our own certificate, sockets of the file system, and machines without authorities.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::serve::Listener;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::node::{Answer, Node};
use super::{kongctl, run};

/// An authority of our own, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// Writes `ca.pem`, `client.pem` and `client.key`.
    fn write_files(&self, directory: &Path) {
        let (certificate, key) = self.sign("client", ExtendedKeyUsagePurpose::ClientAuth);
        std::fs::write(directory.join("ca.pem"), self.0.pem()).unwrap();
        std::fs::write(directory.join("client.pem"), certificate.pem()).unwrap();
        std::fs::write(directory.join("client.key"), key.serialize_pem()).unwrap();
    }
}

/// Connections after their handshake; one that fails is dropped.
struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    /// With a certificate for `name`; asks for one of the same authority where `mutual`.
    async fn bind(authority: &Authority, name: &str, mutual: bool) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = authority.sign(name, ExtendedKeyUsagePurpose::ServerAuth);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Self {
            tcp: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.tcp).await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// A node behind TLS: its address, and a directory with the files of its authority.
async fn tls_node(mutual: bool) -> (String, TempDir) {
    tls_node_called("127.0.0.1", mutual).await
}

/// The same with a certificate for another name than its address.
async fn tls_node_called(name: &str, mutual: bool) -> (String, TempDir) {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    authority.write_files(directory.path());
    let listener = TlsListener::bind(&authority, name, mutual).await;
    let url = format!("https://{}", listener.tcp.local_addr().unwrap());
    Node::new(|_, _| Answer::Usual).serve(listener);
    (url, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_only_where_it_is_named() {
    let (url, directory) = tls_node(false).await;
    let line = "ping --retries 0 --ca-file ca.pem";
    let seen = run(&mut kongctl(line, &url, directory.path())).await;
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);

    Authority::new().write_files(directory.path());
    let seen = run(&mut kongctl(line, &url, directory.path())).await;
    assert_eq!(seen.code, Some(1));
    assert!(seen.stderr.contains("certificate"), "{}", seen.stderr);
    assert!(seen.stderr.contains("--ca-file"), "{}", seen.stderr);

    // The system has some authority, but not this one.
    let mut command = kongctl("ping --retries 0", &url, directory.path());
    let seen = run(command.env("SSL_CERT_FILE", directory.path().join("ca.pem"))).await;
    assert_eq!(seen.code, Some(1));
    assert!(seen.stderr.contains("certificate"), "{}", seen.stderr);
    assert!(seen.stderr.contains("--ca-file"), "{}", seen.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_ask_for_our_certificate() {
    let (url, directory) = tls_node(true).await;
    let bare = "ping --retries 0 --ca-file ca.pem";
    let seen = run(&mut kongctl(bare, &url, directory.path())).await;
    assert_eq!(seen.code, Some(1), "{}", seen.stdout);

    let line = format!("{bare} --client-cert client.pem --client-key client.key");
    let seen = run(&mut kongctl(&line, &url, directory.path())).await;
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);

    let seen = run(&mut kongctl(
        &format!("{bare} --client-cert client.pem"),
        &url,
        directory.path(),
    ))
    .await;
    assert_eq!(seen.code, Some(64), "{}", seen.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_may_be_for_another_name_than_the_address() {
    let (url, directory) = tls_node_called("kong.internal", false).await;
    let ping = async |more: &str| {
        let line = format!("ping --retries 0 --ca-file ca.pem {more}");
        run(&mut kongctl(&line, &url, directory.path())).await
    };
    assert_eq!(ping("").await.code, Some(1));
    let elsewhere = ping("--tls-server-name kong.elsewhere").await;
    assert_eq!(elsewhere.code, Some(1), "{}", elsewhere.stdout);
    let seen = ping("--tls-server-name kong.internal").await;
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    assert!(seen.stdout.contains(&url), "{}", seen.stdout);
    let wrong = ping("--tls-server-name 127.0.0.1").await;
    assert!(
        wrong.stderr.contains("is no name of a host"),
        "{}",
        wrong.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_hold_no_certificate_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("empty.pem"), "").unwrap();
    let url = "https://127.0.0.1:9";
    for (line, told) in [
        (
            "ping --ca-file empty.pem",
            "--ca-file empty.pem: no certificate",
        ),
        (
            "ping --ca-file gone.pem",
            "--ca-file gone.pem: No such file",
        ),
        (
            "ping --client-cert empty.pem --client-key empty.pem",
            "--client-cert, --client-key: ",
        ),
    ] {
        let seen = run(&mut kongctl(line, url, directory.path())).await;
        assert_eq!(seen.code, Some(1));
        assert!(seen.stderr.contains(told), "{}", seen.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_of_the_file_system_is_an_address_and_needs_no_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    Node::new(|_, _| Answer::Usual).serve(UnixListener::bind(&path).unwrap());
    for url in [
        format!("unix:{}", path.display()),
        format!("unix://{}", path.display()),
    ] {
        let mut command = kongctl("ping --retries 0", &url, directory.path());
        let seen = run(command.env("http_proxy", "http://127.0.0.1:9")).await;
        assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    }
    let gone = format!("unix:{}", directory.path().join("gone.sock").display());
    let seen = run(&mut kongctl("ping --retries 0", &gone, directory.path())).await;
    assert_eq!(seen.code, Some(1));
    assert!(seen.stderr.contains(&gone), "{}", seen.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_needs_no_authorities() {
    let url = Node::new(|_, _| Answer::Usual).start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut command = kongctl("ping", &url, directory.path());
    command
        .env("SSL_CERT_FILE", directory.path().join("none.pem"))
        .env("SSL_CERT_DIR", directory.path());
    let seen = run(&mut command).await;
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
}

//! HTTP, as tests speak it with what runs on this machine.

use reqwest::{Client, ClientBuilder};

/// A client without a proxy, and without the system's authorities: reading those takes longer than what most clients here are for.
pub fn client() -> ClientBuilder {
    Client::builder().no_proxy().tls_certs_only([])
}

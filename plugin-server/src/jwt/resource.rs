//! What clients learn about the protected resource before they have a token (RFC 9728): where MCP clients begin.
//!
//! A challenge names the metadata's address, the metadata name the authorization servers, these give tokens.

use serde_json::{Value, json};
use url::Url;

use super::algorithm::Algorithm;
use super::config::Settings;
use super::proof::dpop::ALGORITHMS;
use super::proof::{Mode, ProofOfPossession};

/// The resource that the gateway protects, as its metadata describe it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProtectedResource {
    /// The resource identifier as configured: the address that clients use.
    pub identifier: String,
    /// The issuers that give tokens for it.
    pub authorization_servers: Vec<String>,
    /// Scopes that are worth asking for.
    pub scopes_supported: Vec<String>,
    /// The path at which the gateway answers with the metadata.
    pub metadata_endpoint: String,
}

impl ProtectedResource {
    /// What cannot be published: the name of the field and why.
    ///
    /// # Errors
    ///
    /// The first field that cannot work.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !is_resource(&self.identifier) {
            return Err((
                "resource",
                "not an absolute https or http URL without user, query and fragment (RFC 9728 §1.2)",
            ));
        }
        if self.authorization_servers.is_empty() {
            return Err((
                "authorization_servers",
                "name at least one: without it no client learns where tokens come from",
            ));
        }
        if !self
            .authorization_servers
            .iter()
            .all(|issuer| is_resource(issuer))
        {
            return Err((
                "authorization_servers",
                "an issuer is an absolute URL without query and fragment (RFC 8414 §2)",
            ));
        }
        let path = &self.metadata_endpoint;
        let is_path = path.starts_with('/')
            && path.bytes().all(|byte| byte.is_ascii_graphic())
            && !path.contains(['?', '#', '"', '\\']);
        if !is_path {
            return Err((
                "metadata_endpoint",
                "a path on the gateway: it starts with a slash and has no query",
            ));
        }
        Ok(())
    }

    /// The address of the metadata: on the origin that clients use.
    pub fn metadata_url(&self) -> String {
        format!("{}{}", self.origin(), self.metadata_endpoint)
    }

    /// Scheme, host and port that clients use.
    pub fn origin(&self) -> String {
        Url::parse(&self.identifier)
            .map(|url| url.origin().ascii_serialization())
            .unwrap_or_default()
    }

    /// The metadata (RFC 9728 §2).
    pub fn document(&self, settings: &Settings) -> Value {
        let locations = &settings.locations;
        let methods: Vec<&str> = [
            ("header", !locations.headers.is_empty()),
            ("query", !locations.parameters.is_empty()),
        ]
        .into_iter()
        .filter_map(|(method, offered)| offered.then_some(method))
        .collect();
        let mut document = json!({
            "resource": self.identifier,
            "authorization_servers": self.authorization_servers,
            "bearer_methods_supported": methods,
        });
        if !self.scopes_supported.is_empty() {
            document["scopes_supported"] = json!(self.scopes_supported);
        }
        let ProofOfPossession { dpop, mtls } = settings.proof_of_possession;
        if dpop != Mode::Off {
            let algorithms = ALGORITHMS.map(Algorithm::name);
            document["dpop_signing_alg_values_supported"] = json!(algorithms);
            document["dpop_bound_access_tokens_required"] = json!(dpop == Mode::Required);
        }
        if mtls != Mode::Off {
            document["tls_client_certificate_bound_access_tokens"] = json!(true);
        }
        document
    }
}

fn is_resource(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::testing::{TestKey, jwks, settings};

    fn resource() -> ProtectedResource {
        ProtectedResource {
            identifier: "https://gateway.example:8443/mcp".into(),
            authorization_servers: vec!["https://idp.example".into()],
            scopes_supported: vec![],
            metadata_endpoint: "/.well-known/oauth-protected-resource/mcp".into(),
        }
    }

    #[test]
    fn the_document_tells_where_tokens_come_from_and_where_they_go() {
        let mut settings = settings(jwks(&[TestKey::p256().jwk("k1")]));
        assert_eq!(
            resource().document(&settings),
            json!({
                "resource": "https://gateway.example:8443/mcp",
                "authorization_servers": ["https://idp.example"],
                "bearer_methods_supported": ["header"],
            })
        );
        settings.locations.parameters = vec!["access_token".into()];
        let scoped = ProtectedResource {
            scopes_supported: vec!["tools:call".into()],
            ..resource()
        };
        let document = scoped.document(&settings);
        assert_eq!(document["scopes_supported"], json!(["tools:call"]));
        assert_eq!(
            document["bearer_methods_supported"],
            json!(["header", "query"])
        );
        settings.proof_of_possession = ProofOfPossession {
            dpop: Mode::Required,
            mtls: Mode::Optional,
        };
        let document = scoped.document(&settings);
        assert_eq!(document["dpop_bound_access_tokens_required"], true);
        assert_eq!(document["dpop_signing_alg_values_supported"][0], "ES256");
        assert_eq!(document["tls_client_certificate_bound_access_tokens"], true);
    }

    #[test]
    fn the_metadata_are_on_the_origin_that_clients_use() {
        assert_eq!(
            resource().metadata_url(),
            "https://gateway.example:8443/.well-known/oauth-protected-resource/mcp"
        );
    }

    #[test]
    fn what_cannot_be_published_is_found() {
        assert_eq!(resource().check(), Ok(()));
        let field = |change: fn(&mut ProtectedResource)| {
            let mut changed = resource();
            change(&mut changed);
            changed.check().err().map(|(field, _)| field)
        };
        for change in [
            |it: &mut ProtectedResource| it.identifier = "gateway.example/mcp".into(),
            |it: &mut ProtectedResource| it.identifier = "https://gateway.example/mcp?a".into(),
            |it: &mut ProtectedResource| it.identifier = "https://gateway.example/mcp#a".into(),
            |it: &mut ProtectedResource| it.identifier = "https://me@gateway.example/".into(),
            |it: &mut ProtectedResource| it.identifier = "urn:mcp".into(),
        ] {
            assert_eq!(field(change), Some("resource"));
        }
        assert_eq!(
            field(|it| it.authorization_servers = vec![]),
            Some("authorization_servers")
        );
        assert_eq!(
            field(|it| it.authorization_servers = vec!["idp".into()]),
            Some("authorization_servers")
        );
        for change in [
            |it: &mut ProtectedResource| it.metadata_endpoint = "metadata".into(),
            |it: &mut ProtectedResource| it.metadata_endpoint = "/a?b".into(),
            |it: &mut ProtectedResource| it.metadata_endpoint = "/a\"b".into(),
            |it: &mut ProtectedResource| it.metadata_endpoint = "/a\r\nb".into(),
        ] {
            assert_eq!(field(change), Some("metadata_endpoint"));
        }
    }
}

//! `docker-compose.yml` as it ships, on free ports, in a project of its own.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::issuer::Issuer;
use crate::process::{Guard, run};
use crate::provider::Provider;
use crate::{repository, wait};

/// Patience with images that are pulled or built already and a database that is made.
const STARTUP: Duration = Duration::from_mins(3);

/// Containers of one project.
#[derive(Debug)]
pub struct Compose {
    project: String,
    environment: BTreeMap<String, String>,
    proxy_port: u16,
    admin_port: u16,
    provider_port: u16,
    guard: Guard,
}

impl Compose {
    /// Builds and starts everything, and waits until all is healthy.
    pub async fn start(issuer: &Issuer, variables: &BTreeMap<String, String>) -> Result<Self> {
        let [proxy_port, proxy_tls_port, admin_port, provider_port] = wait::free_ports()?;
        let project = format!("llm-gateway-{proxy_port}");
        let mut environment = variables.clone();
        environment.extend(
            [
                ("KONG_PROXY_PORT", proxy_port),
                ("KONG_PROXY_TLS_PORT", proxy_tls_port),
                ("KONG_ADMIN_PORT", admin_port),
                ("SAMPLE_LLM_PORT", provider_port),
            ]
            .map(|(name, port)| (name.to_owned(), port.to_string())),
        );
        environment.insert(
            "LLM_JWT_PUBLIC_KEY".to_owned(),
            issuer.public_key().to_owned(),
        );
        let guard = Guard::new(&format!(
            "docker compose --project-name {project} down --volumes"
        ))?;
        let compose = Self {
            project,
            environment,
            proxy_port,
            admin_port,
            provider_port,
            guard,
        };
        compose.run(&["up", "--build", "--detach"]).await?;
        wait::until_status(&format!("{}/status", compose.admin_url()), &[200], STARTUP)
            .await
            .with_context(|| compose.last_words())?;
        // The one-shot that configures Kong must have ended, or it would undo what a story applies.
        compose.run(&["wait", "configure"]).await?;
        Ok(compose)
    }

    /// The sample LLM among the containers.
    pub fn provider(&self) -> Provider {
        Provider::remote(
            format!("http://127.0.0.1:{}", self.provider_port),
            "sample-llm",
            8080,
        )
    }

    /// `kill -9` of the plugin server's container, which its restart policy does not undo.
    pub async fn kill_plugin_server(&self) -> Result<()> {
        self.run(&["kill", "--signal", "KILL", "plugin-server"])
            .await
            .map(drop)
    }

    /// Starts the plugin server again and waits for its health check.
    pub async fn restart_plugin_server(&self) -> Result<()> {
        self.run(&["up", "--detach", "--no-deps", "--wait", "plugin-server"])
            .await
            .map(drop)
    }

    pub(super) fn proxy_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.proxy_port)
    }

    pub(super) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    pub(super) async fn reload(&self) -> Result<()> {
        self.run(&["exec", "-T", "kong", "kong", "reload"])
            .await
            .map(drop)
    }

    pub(super) fn error_log(&self) -> Result<String> {
        run(&mut self.command(&["logs", "--no-color", "kong"]))
    }

    pub(super) fn last_words(&self) -> String {
        run(&mut self.command(&["logs", "--tail", "20", "kong", "plugin-server"]))
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        self.run(&["down", "--volumes", "--timeout", "5"]).await?;
        self.guard.disarm();
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .current_dir(repository())
            .args(["compose", "--project-name", &self.project])
            .args(arguments)
            .envs(&self.environment);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || run(&mut command)).await?
    }
}

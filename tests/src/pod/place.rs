//! Where a pod's paths, ports and hosts are on this machine.
//!
//! | in the environment | here |
//! |---|---|
//! | a path under a container's volume mount | the same path in the volume's directory |
//! | `/dev/stdout`, `/dev/stderr` | as they are; both are the pod's log |
//! | [`AS_RENDERED`] | as they are, for the reasons there |
//! | `…_LISTEN` | each port another one, on 127.0.0.1 alone |
//! | `KONG_PORT_MAPS` | the same ports |
//! | `KONG_PG_HOST` with `KONG_PG_PORT`, `KONG_CLUSTER_CONTROL_PLANE` | the address of that Service |
//! | `KONG_PG_SSL` | off: the harness's PostgreSQL listens on loopback, without TLS |
//!
//! [`ADDITIONS`] are what Kong is told beyond it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Surroundings, Texts, install, manifest};
use crate::wait;

/// Our program in its image.
pub(super) const PLUGIN_SERVER: &str = "/usr/bin/llm-plugin-server";

/// Variables whose paths are of Kong's image.
const AS_RENDERED: [&str; 1] = [
    // The chart's own, for plugins in ConfigMaps; nothing is there in the image either.
    "KONG_LUA_PACKAGE_PATH",
];

/// What the pod leaves to Kong's defaults and a shared machine cannot: these listen on every interface, or report home.
const ADDITIONS: [(&str, &str); 3] = [
    ("KONG_ADMIN_GUI_LISTEN", "off"),
    ("KONG_CLUSTER_TELEMETRY_LISTEN", "off"),
    ("KONG_ANONYMOUS_REPORTS", "off"),
];

#[derive(Debug)]
pub(super) struct Place {
    programs: BTreeMap<&'static str, PathBuf>,
    volumes: BTreeMap<String, PathBuf>,
    services: BTreeMap<String, SocketAddr>,
    ports: BTreeMap<u16, u16>,
}

impl Place {
    pub(super) fn new(directory: &Path, spec: &Value, surroundings: &Surroundings) -> Result<Self> {
        let mut volumes = BTreeMap::new();
        for (number, volume) in manifest::containers(spec, "volumes").enumerate() {
            // Short: a socket's path has no more than 107 bytes.
            let path = directory.join(number.to_string());
            fs::create_dir(&path)?;
            let name = volume["name"].as_str().context("a volume has a name")?;
            if let Some(secret) = volume["secret"]["secretName"].as_str() {
                let data = surroundings.secrets.get(secret);
                for (key, value) in data.with_context(|| format!("no Secret {secret}"))? {
                    fs::write(path.join(key), value)?;
                }
            } else if volume.get("emptyDir").is_none() {
                // Nobody may mount what nobody fills.
                continue;
            }
            volumes.insert(name.to_owned(), path);
        }
        Ok(Self {
            programs: install(directory)?,
            volumes,
            services: surroundings.services.clone(),
            ports: BTreeMap::new(),
        })
    }

    /// The program that a container knows under this name.
    pub(super) fn program(&self, name: &str) -> Result<&Path> {
        let program = self.programs.get(name).map(PathBuf::as_path);
        program.with_context(|| format!("no program here is {name}"))
    }

    /// An argument: a path as it is here, or any other text.
    pub(super) fn argument(&self, container: &Value, argument: &str) -> Result<String> {
        if argument.starts_with('/') {
            self.path(container, argument)
        } else {
            Ok(argument.to_owned())
        }
    }

    /// Where a path of a container is here.
    fn path(&self, container: &Value, path: &str) -> Result<String> {
        for mount in manifest::containers(container, "volumeMounts") {
            let at = mount["mountPath"].as_str().unwrap_or_default();
            let Some(rest) = path.strip_prefix(at.trim_end_matches('/')) else {
                continue;
            };
            if rest.is_empty() || rest.starts_with('/') {
                let name = mount["name"].as_str().unwrap_or_default();
                let volume = self.volumes.get(name);
                let volume = volume.with_context(|| format!("nothing here fills {name}"))?;
                return Ok(format!("{}{rest}", volume.display()));
            }
        }
        bail!("{}: no volume is at {path}", container["name"])
    }

    /// Where a container's port is here.
    pub(super) fn address(&mut self, port: u16) -> Result<SocketAddr> {
        let here = if let Some(here) = self.ports.get(&port) {
            *here
        } else {
            let [free] = wait::free_ports()?;
            *self.ports.entry(port).or_insert(free)
        };
        Ok((Ipv4Addr::LOCALHOST, here).into())
    }

    /// Makes everything in the volumes a user's own.
    pub(super) fn give_to(&self, uid: u32, gid: u32) -> Result<()> {
        for volume in self.volumes.values() {
            chown(volume, Some(uid), Some(gid))?;
            for entry in fs::read_dir(volume)? {
                chown(entry?.path(), Some(uid), Some(gid))?;
            }
        }
        Ok(())
    }

    /// A container's whole environment.
    pub(super) fn environment(
        &mut self,
        container: &Value,
        surroundings: &Surroundings,
    ) -> Result<Texts> {
        let rendered = rendered(container, surroundings)?;
        let mut environment: Texts = ADDITIONS
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        for (name, value) in &rendered {
            let here = self
                .translated(container, &rendered, (name, value))
                .with_context(|| format!("{name}={value:?}"))?;
            environment.insert(name.clone(), here);
        }
        let path = std::env::var("PATH").context("no PATH")?;
        environment.insert("PATH".to_owned(), path);
        if let Ok(temporary) = self.path(container, "/tmp") {
            environment.insert("TMPDIR".to_owned(), temporary);
        }
        Ok(environment)
    }

    fn translated(
        &mut self,
        container: &Value,
        all: &Texts,
        (name, value): (&str, &str),
    ) -> Result<String> {
        match name {
            _ if AS_RENDERED.contains(&name) => Ok(value.to_owned()),
            _ if name.ends_with("_LISTEN") => self.listeners(value),
            "KONG_PORT_MAPS" => self.port_maps(value),
            "KONG_PG_HOST" => Ok(self.database(all)?.ip().to_string()),
            "KONG_PG_PORT" => Ok(self.database(all)?.port().to_string()),
            "KONG_PG_SSL" => Ok("off".to_owned()),
            "KONG_CLUSTER_CONTROL_PLANE" => Ok(self.service(value)?.to_string()),
            _ => {
                let words = value.split(' ').map(|word| match word {
                    "/dev/stdout" | "/dev/stderr" => Ok(word.to_owned()),
                    _ if word.starts_with('/') => self.path(container, word),
                    _ if word.contains(['/', ':']) => bail!("{word} is unknown here"),
                    _ => Ok(word.to_owned()),
                });
                Ok(words.collect::<Result<Vec<_>>>()?.join(" "))
            }
        }
    }

    /// `0.0.0.0:8000, [::]:8000, 0.0.0.0:8443 http2 ssl`: IPv6 is left out, and a port has the same options here.
    fn listeners(&mut self, value: &str) -> Result<String> {
        if value == "off" {
            return Ok(value.to_owned());
        }
        let mut here = Vec::new();
        for listener in value.split(',').map(str::trim) {
            let (address, options) = listener.split_once(' ').unwrap_or((listener, ""));
            let (host, port) = address.rsplit_once(':').context("an address has a port")?;
            if !host.starts_with('[') {
                let address = self.address(port.parse()?)?;
                here.push(format!("{address} {options}").trim_end().to_owned());
            }
        }
        ensure!(!here.is_empty(), "no listener is left");
        Ok(here.join(", "))
    }

    /// `80:8000, 443:8443`: a Service's port, and the container's.
    fn port_maps(&mut self, value: &str) -> Result<String> {
        let mut here = Vec::new();
        for pair in value.split(',').map(str::trim) {
            let (outside, inside) = pair.split_once(':').context("a pair has two ports")?;
            here.push(format!(
                "{outside}:{}",
                self.address(inside.parse()?)?.port()
            ));
        }
        Ok(here.join(", "))
    }

    fn database(&self, all: &Texts) -> Result<SocketAddr> {
        let part = |name: &str| all.get(name).with_context(|| format!("no {name}"));
        self.service(&format!(
            "{}:{}",
            part("KONG_PG_HOST")?,
            part("KONG_PG_PORT")?
        ))
    }

    fn service(&self, name: &str) -> Result<SocketAddr> {
        let address = self.services.get(name).copied();
        address.with_context(|| format!("no Service is {name}"))
    }
}

/// A container's environment as its pod says it: values, and references into Secrets and ConfigMaps.
fn rendered(container: &Value, surroundings: &Surroundings) -> Result<Texts> {
    let mut rendered = Texts::new();
    for source in manifest::containers(container, "envFrom") {
        for (field, known) in [
            ("configMapRef", &surroundings.config_maps),
            ("secretRef", &surroundings.secrets),
        ] {
            let Some(name) = source[field]["name"].as_str() else {
                continue;
            };
            match known.get(name) {
                Some(data) => rendered.extend(data.clone()),
                None => ensure!(source[field]["optional"] == true, "no {name}"),
            }
        }
    }
    for variable in manifest::containers(container, "env") {
        let name = variable["name"].as_str().context("a variable has a name")?;
        let reference = &variable["valueFrom"]["secretKeyRef"];
        let value = match variable["value"].as_str() {
            Some(value) => value,
            None => (|| {
                let secret = surroundings.secrets.get(reference["name"].as_str()?)?;
                secret.get(reference["key"].as_str()?)
            })()
            .with_context(|| format!("{name} refers to nothing: {variable}"))?,
        };
        rendered.insert(name.to_owned(), value.to_owned());
    }
    Ok(rendered)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A container with one volume, in a place that knows one Service.
    fn place() -> (Place, Value) {
        let place = Place {
            programs: BTreeMap::new(),
            volumes: [("run".to_owned(), PathBuf::from("/here/0"))].into(),
            services: [("postgres:5432".to_owned(), ([127, 0, 0, 1], 5433).into())].into(),
            ports: BTreeMap::new(),
        };
        let mounts = json!([{"name": "run", "mountPath": "/run/llm-plugins/"}]);
        (place, json!({"name": "proxy", "volumeMounts": mounts}))
    }

    fn environment(variables: &[(&str, &str)]) -> Result<Texts> {
        let (mut place, mut container) = place();
        container["env"] = variables
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        place.environment(&container, &Surroundings::default())
    }

    #[test]
    fn a_port_is_the_same_wherever_it_is_named() {
        let environment = environment(&[
            (
                "KONG_PROXY_LISTEN",
                "0.0.0.0:8000, [::]:8000, 0.0.0.0:8443 http2 ssl",
            ),
            ("KONG_PORT_MAPS", "80:8000, 443:8443"),
        ])
        .unwrap();
        let listeners = &environment["KONG_PROXY_LISTEN"];
        let (plain, secure) = listeners.split_once(", ").unwrap();
        let port = |listener: &str| {
            let address = listener.split(' ').next().unwrap();
            address.strip_prefix("127.0.0.1:").unwrap().to_owned()
        };
        assert!(secure.ends_with(" http2 ssl"), "{listeners}");
        let maps = format!("80:{}, 443:{}", port(plain), port(secure));
        assert_eq!(environment["KONG_PORT_MAPS"], maps);
    }

    #[test]
    fn a_path_is_in_the_volume_that_covers_it() {
        let command = ("KONG_QUERY_CMD", "cat /run/llm-plugins/llm-jwt.json");
        let environment = environment(&[command]).unwrap();
        assert_eq!(environment["KONG_QUERY_CMD"], "cat /here/0/llm-jwt.json");
    }

    #[test]
    fn a_path_or_an_address_that_is_not_known_is_an_error() {
        for value in [
            "/etc/secrets/tls.crt",
            "cat /run/llm-plugins-2/llm-jwt.json",
            "redis:6379",
            "http://idp/keys",
        ] {
            let error = environment(&[("KONG_SOMETHING", value)]).unwrap_err();
            assert!(error.to_string().contains("KONG_SOMETHING"), "{error:#}");
        }
    }

    #[test]
    fn a_service_that_is_not_here_is_an_error() {
        let database = |host| environment(&[("KONG_PG_HOST", host), ("KONG_PG_PORT", "5432")]);
        assert_eq!(database("postgres").unwrap()["KONG_PG_PORT"], "5433");
        assert!(database("elsewhere").is_err());
    }
}

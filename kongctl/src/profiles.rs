//! The user's configuration file: profiles, each a way to reach nodes.
//!
//! # Model
//!
//! `$XDG_CONFIG_HOME/kongctl-admin/config.yml`, or `~/.config/kongctl-admin/config.yml`; `KONGCTL_ADMIN_CONFIG` names another file.
//! Flags and variables of the command go before what a profile says. `--profile` chooses one, else `default_profile` does.
//!
//! ```yaml
//! default_profile: staging
//! profiles:
//!   staging:
//!     admin_url: [http://10.0.0.1:8001, http://10.0.0.2:8001]
//!     headers: ["x-team: a"]
//!     token: ${{ env "STAGING_TOKEN" }}
//!     ca_file: authority.pem
//!     client_cert: me.pem
//!     client_key: me.key
//!     tls_server_name: kong.internal
//!     protect_tags: [prod]
//! ```
//!
//! Paths start at the file's own directory; `${{ env … }}` and `!file` work as in configurations.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::Connection;
use crate::output::failure::UsageError;
use crate::state::diagnostics::{Diagnostics, Place, suggestion};
use crate::state::node::{Node, NodeValue};
use crate::state::references::{Policy, References};
use crate::state::yaml;

/// What a profile says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    admin_url: Vec<String>,
    headers: Vec<String>,
    token: Option<String>,
    ca_file: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    tls_server_name: Option<String>,
    /// Entities with one of these tags are never changed or deleted.
    pub(crate) protect_tags: Vec<String>,
    /// Where a value is missing, as where a variable is not set.
    unset: Vec<Place>,
}

const FIELDS: [&str; 8] = [
    "admin_url",
    "headers",
    "token",
    "ca_file",
    "client_cert",
    "client_key",
    "tls_server_name",
    "protect_tags",
];

impl Profile {
    /// Fills in what the command line left open.
    pub(crate) fn complete(&self, connection: &mut Connection) {
        if connection.admin_url.is_empty() {
            connection.admin_url.clone_from(&self.admin_url);
        }
        if connection.headers.is_empty() {
            connection.headers.clone_from(&self.headers);
        }
        if connection.token.is_none() {
            connection.token.clone_from(&self.token);
        }
        if connection.ca_file.is_none() {
            connection.ca_file.clone_from(&self.ca_file);
        }
        if connection.client_cert.is_none() {
            connection.client_cert.clone_from(&self.client_cert);
            connection.client_key.clone_from(&self.client_key);
        }
        if connection.tls_server_name.is_none() {
            connection.tls_server_name.clone_from(&self.tls_server_name);
        }
    }
}

/// The profile that is asked for, or the default one; an empty one where there is no file.
pub(crate) fn load(
    asked: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Profile> {
    let Some((path, named)) = location(env) else {
        return match asked {
            Some(name) => Err(absent(name, "there is no home to look for it in")),
            None => Ok(Profile::default()),
        };
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
            return match asked {
                Some(name) => Err(absent(name, &format!("{} is not there", path.display()))),
                None => Ok(Profile::default()),
            };
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    read(&path, &text, asked, env)
}

fn location(env: &dyn Fn(&str) -> Option<String>) -> Option<(PathBuf, bool)> {
    if let Some(path) = env("KONGCTL_ADMIN_CONFIG").filter(|path| !path.is_empty()) {
        return Some((path.into(), true));
    }
    let absolute = |name: &str| {
        env(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some((base.join("kongctl-admin").join("config.yml"), false))
}

fn absent(name: &str, why: &str) -> anyhow::Error {
    UsageError {
        message: format!("there is no profile `{name}`: {why}"),
    }
    .into()
}

fn read(
    path: &Path,
    text: &str,
    asked: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Profile> {
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    let references = References {
        env,
        directory: directory.clone(),
        // A profile that is not used may read a variable that is not set.
        policy: Policy::NullWhereUnset,
    };
    let mut diagnostics = Diagnostics::default();
    let documents = yaml::read(
        &path.display().to_string(),
        text,
        &references,
        &mut diagnostics,
    );
    let mut reader = Reader {
        directory: &directory,
        diagnostics: &mut diagnostics,
    };
    let mut default = None;
    let mut profiles = Vec::new();
    for entry in documents.iter().flat_map(|document| document.entries()) {
        match entry.key.as_str() {
            "default_profile" => default = reader.text(&entry.node),
            "profiles" => {
                for entry in entry.node.entries() {
                    profiles.push((entry.key.clone(), reader.profile(&entry.node)));
                }
            }
            other => reader.diagnostics.add_with_help(
                &entry.key_place,
                format!("unknown key `{other}`"),
                Some("there are `default_profile` and `profiles`"),
            ),
        }
    }
    diagnostics.into_result()?;
    let Some(name) = asked.map(str::to_owned).or(default) else {
        return Ok(Profile::default());
    };
    let known = profiles.iter().map(|(name, _)| name.as_str());
    let help = suggestion(&name, known).unwrap_or_else(|| {
        let names: Vec<&str> = profiles.iter().map(|(name, _)| name.as_str()).collect();
        format!("there are {}", names.join(", "))
    });
    match profiles.into_iter().find(|(known, _)| *known == name) {
        Some((_, profile)) => {
            let mut diagnostics = Diagnostics::default();
            for place in &profile.unset {
                let help = "is its environment variable set?";
                diagnostics.add_with_help(place, "a value is missing", Some(help));
            }
            diagnostics.into_result()?;
            Ok(profile)
        }
        None => Err(absent(&name, &format!("{}: {help}", path.display()))),
    }
}

struct Reader<'a> {
    directory: &'a Path,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn profile(&mut self, node: &Node) -> Profile {
        let mut profile = Profile::default();
        if !matches!(node.value, NodeValue::Map(_)) {
            let message = format!("a profile is a map, this is {}", node.type_name());
            self.diagnostics.add(&node.place, message);
        }
        for entry in node.entries() {
            let node = &entry.node;
            let items = node.items().iter().chain([node]);
            let unset = items.filter(|node| node.is_null());
            profile.unset.extend(unset.map(|node| node.place.clone()));
            match entry.key.as_str() {
                "admin_url" => profile.admin_url = self.list(node),
                "headers" => profile.headers = self.list(node),
                "token" => profile.token = self.text(node),
                "ca_file" => profile.ca_file = self.path(node),
                "client_cert" => profile.client_cert = self.path(node),
                "client_key" => profile.client_key = self.path(node),
                "tls_server_name" => profile.tls_server_name = self.text(node),
                "protect_tags" => profile.protect_tags = self.list(node),
                other => self.diagnostics.add_with_help(
                    &entry.key_place,
                    format!("unknown field `{other}` of a profile"),
                    Some(
                        suggestion(other, FIELDS)
                            .unwrap_or_else(|| format!("there are {}", FIELDS.join(", "))),
                    ),
                ),
            }
        }
        if profile.client_cert.is_some() != profile.client_key.is_some() {
            self.diagnostics
                .add(&node.place, "`client_cert` and `client_key` go together");
        }
        profile
    }

    /// One text, or a list of them.
    fn list(&mut self, node: &Node) -> Vec<String> {
        match &node.value {
            NodeValue::List(items) => items.iter().filter_map(|item| self.text(item)).collect(),
            _ => self.text(node).into_iter().collect(),
        }
    }

    fn text(&mut self, node: &Node) -> Option<String> {
        if !node.is_null() && node.as_str().is_none() {
            let message = format!("expected a string, this is {}", node.type_name());
            self.diagnostics.add(&node.place, message);
        }
        node.as_str().map(str::to_owned)
    }

    fn path(&mut self, node: &Node) -> Option<PathBuf> {
        self.text(node).map(|path| self.directory.join(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
default_profile: staging
profiles:
  staging: {admin_url: http://a:1, token: '${{ env \"TOKEN\" }}', protect_tags: prod}
  pair:
    admin_url: [http://a:1, http://b:1]
    ca_file: authority.pem
";

    fn profile(text: &str, asked: Option<&str>) -> Result<Profile, String> {
        let env = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
        read(Path::new("/home/config.yml"), text, asked, &env).map_err(|error| error.to_string())
    }

    #[test]
    fn a_profile_is_chosen_or_the_default() {
        let staging = profile(FILE, None).unwrap();
        assert_eq!(staging.admin_url, ["http://a:1"]);
        assert_eq!(staging.token.as_deref(), Some("s3cret"));
        assert_eq!(staging.protect_tags, ["prod"]);
        let pair = profile(FILE, Some("pair")).unwrap();
        assert_eq!(pair.admin_url.len(), 2);
        assert_eq!(
            pair.ca_file.as_deref(),
            Some(Path::new("/home/authority.pem"))
        );
        assert_eq!(
            profile(FILE, Some("pear")).unwrap_err(),
            "there is no profile `pear`: /home/config.yml: did you mean `pair`?"
        );
    }

    #[test]
    fn a_variable_that_is_not_set_is_missed_only_where_it_is_used() {
        let text = FILE.replace("TOKEN", "OTHER");
        assert!(profile(&text, Some("pair")).is_ok());
        let error = profile(&text, None).unwrap_err();
        assert!(error.starts_with("/home/config.yml:4:"), "{error}");
    }

    #[test]
    fn mistakes_have_their_place() {
        let error = profile("profiles:\n  a: {admin_ulr: x, client_key: k}\n", None).unwrap_err();
        assert!(
            error.starts_with("/home/config.yml:2:6: `client_cert` and `client_key` go together"),
            "{error}"
        );
        assert!(error.contains("did you mean `admin_url`?"), "{error}");
    }

    #[test]
    fn without_a_file_only_an_asked_profile_is_missed() {
        assert_eq!(load(None, &|_| None).unwrap(), Profile::default());
        assert!(load(Some("x"), &|_| None).is_err());
    }
}

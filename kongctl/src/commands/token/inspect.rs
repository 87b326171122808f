//! `token inspect`: what a token says, and who signed it.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::cli::{Connection, Inspect, KeySource};
use crate::clock;
use crate::output::failure::Refused;
use crate::output::numbers::moment;
use crate::output::{Format, Printer, table, text};
use crate::tokens::anatomy::{Anatomy, sha256};
use crate::tokens::keys::{self, Key};
use crate::tokens::signature::{self, Signature};
use crate::tokens::{given, warnings};

use super::{Exit, settings};

/// Claims that are dates.
const DATES: [&str; 4] = ["exp", "nbf", "iat", "auth_time"];
/// Where an issuer's metadata are, relative to it (OpenID Connect Discovery 1.0 §4).
const METADATA: &str = "/.well-known/openid-configuration";

pub(super) async fn run(
    arguments: &Inspect,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let token = given::token(&arguments.given)?;
    let anatomy = Anatomy::of(&token).map_err(|problem| Refused {
        message: problem.to_string(),
        hint: format!(
            "an opaque token says nothing by itself; its SHA-256 is {}",
            sha256(&token)
        ),
    })?;
    let now = i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX);
    let mut warnings = warnings::of(&token, &anatomy, now);
    let keys = issuer_keys(&arguments.keys, &anatomy, connection, &mut warnings).await?;
    let signature = keys.as_deref().map(|keys| signature::verify(&token, keys));
    let seen = Seen {
        token: &token,
        anatomy: &anatomy,
        signature: signature.as_ref(),
        warnings: &warnings,
        now,
    };
    match printer.format {
        Format::Json | Format::Yaml => printer.value(&seen.value())?,
        Format::Name => printer.result(&format!("tokens/{}", sha256(&token)))?,
        Format::Table => printer.result(&seen.text())?,
    }
    Ok(match signature {
        Some(Signature::Wrong(_)) => Exit::Failed,
        Some(Signature::By(_)) | None => Exit::Done,
    })
}

/// The keys that the user points at.
async fn issuer_keys(
    source: &KeySource,
    anatomy: &Anatomy,
    connection: &Connection,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Option<Vec<Key>>> {
    let document = match (&source.jwks, &source.discovery) {
        (Some(jwks), _) => given::document("--jwks", jwks, settings(connection)).await?,
        (None, Some(address)) => {
            let address = if address.contains("/.well-known/") {
                address.clone()
            } else {
                format!("{}{METADATA}", address.trim_end_matches('/'))
            };
            let metadata = given::document("--discovery", &address, settings(connection))
                .await
                .context("cannot read the issuer's metadata")?;
            let metadata: Value = serde_json::from_slice(&metadata).unwrap_or_default();
            let text = |name: &str| metadata.get(name).and_then(Value::as_str);
            let Some(uri) = text("jwks_uri").filter(|uri| given::is_address(uri)) else {
                return Err(Refused {
                    message: "these are no issuer's metadata: no `jwks_uri` with an address"
                        .to_owned(),
                    hint: "name the keys themselves with --jwks".to_owned(),
                }
                .into());
            };
            if text("issuer") != anatomy.text("iss") {
                warnings.push(format!(
                    "the metadata are those of {}, the token names {}",
                    quoted(text("issuer")),
                    quoted(anatomy.text("iss"))
                ));
            }
            given::document("jwks_uri", uri, settings(connection)).await?
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(keys::read(&document)?))
}

fn quoted(issuer: Option<&str>) -> String {
    issuer.map_or("nobody".to_owned(), |issuer| format!("`{issuer}`"))
}

/// All that is told.
struct Seen<'a> {
    token: &'a str,
    anatomy: &'a Anatomy,
    signature: Option<&'a Signature<'a>>,
    warnings: &'a [String],
    now: i64,
}

impl Seen<'_> {
    fn value(&self) -> Value {
        let Anatomy {
            header,
            claims,
            signature_bytes,
        } = self.anatomy;
        let dates = DATES.iter().filter_map(|name| {
            let at = claims.get(*name)?.as_i64()?;
            let told = json!({
                "unix": at,
                "in_seconds": at.saturating_sub(self.now),
                "text": moment(at, self.now),
            });
            Some(((*name).to_owned(), told))
        });
        let mut signature = self.signature.map_or(json!({}), Signature::value);
        signature["bytes"] = json!(signature_bytes);
        json!({
            "bytes": self.token.len(),
            "sha256": sha256(self.token),
            "header": header,
            "claims": claims,
            "dates": dates.collect::<Map<_, _>>(),
            "signature": signature,
            "warnings": self.warnings,
        })
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |label: &str, value: &str| {
            let _ = writeln!(out, "{:<16}{}", text::clean(label), text::clean(value));
        };
        line("sha256", &sha256(self.token));
        line("size", &format!("{} bytes", self.token.len()));
        line("HEADER", "");
        for (name, value) in &self.anatomy.header {
            line(&format!("  {name}"), &table::cell(value));
        }
        line("CLAIMS", "");
        for (name, value) in &self.anatomy.claims {
            let date = value.as_i64().filter(|_| DATES.contains(&name.as_str()));
            let shown = date.map_or_else(|| table::cell(value), |date| moment(date, self.now));
            line(&format!("  {name}"), &shown);
        }
        let bytes = self.anatomy.signature_bytes;
        let verdict = match self.signature {
            None => "not verified: name the issuer's keys with --jwks or --discovery".to_owned(),
            Some(Signature::By(key)) => {
                format!("right: by the key {} ({})", key.name(), key.kind())
            }
            Some(Signature::Wrong(reason)) => format!("NOT VERIFIED: {reason}"),
        };
        line("SIGNATURE", &format!("{bytes} bytes, {verdict}"));
        if !self.warnings.is_empty() {
            line("WARNINGS", "");
        }
        for warning in self.warnings {
            line("  -", warning);
        }
        // What has no value after its label ends with its label.
        let lines = out.lines().map(str::trim_end);
        lines.fold(String::new(), |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        })
    }
}

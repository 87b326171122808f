//! The words of `token` and `jwks`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{Consent, LimiterConnection, duration};

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Sign a JWT with a key from a file.
    #[command(after_help = "Examples:
  kongctl token mint --algorithm RS256 --key-file key.pem --issuer https://issuer.example --subject alice
  kongctl token mint --algorithm HS256 --key-file secret.txt --claim tenant=acme --claim 'roles=[\"admin\"]' --expires-in 5m

A claim's value is JSON where it parses as JSON, a string otherwise.")]
    Mint(Mint),
    /// Show what a token says, believing none of it; with the issuer's keys, also whether one of them signed it.
    #[command(after_help = "Examples:
  kongctl token inspect - < token.txt
  kongctl token inspect --token-file token.txt --discovery https://idp.example
  kongctl token inspect --token-file token.txt --jwks jwks.json -o json | jq .warnings

With keys, the exit code is 1 if none of them signed the token. The signature is never shown.")]
    Inspect(Inspect),
    /// Refuse a token, or a subject's tokens, before they expire.
    ///
    /// A token is revoked by its issuer and jti; without these by its SHA-256. The token itself is not sent.
    #[command(after_help = "Examples:
  kongctl token revoke - < token.txt             (with --yes: nobody can be asked)
  kongctl token revoke --issuer https://idp.example --jti 7f3a9c
  kongctl token revoke --issuer https://idp.example --subject alice
  kongctl token revoke --issuer https://idp.example --subject alice --issued-before 2026-01-31T12:00:00Z

The plugin needs denylist.policy memory (one plugin server, until it stops) or redis (all that share it).")]
    Revoke(Revoke),
    /// List what is revoked, what ends last first.
    #[command(after_help = "Examples:
  kongctl token revocations
  kongctl token revocations -o name | xargs kongctl token unrevoke --yes")]
    Revocations(Revocations),
    /// Let pass again what was revoked.
    #[command(after_help = "Examples:
  kongctl token unrevoke 0123456789abcdef0123456789abcdef

An ID has 32 hexadecimal digits: `token revocations` shows it.")]
    Unrevoke(Unrevoke),
}

/// A token that the user has.
#[derive(Args)]
pub(crate) struct GivenToken {
    /// The token, or - for standard input, which no list of processes shows.
    #[arg(value_name = "TOKEN")]
    pub(crate) jwt: Option<String>,
    /// A file with the token.
    #[arg(long, value_name = "FILE", conflicts_with = "jwt")]
    pub(crate) token_file: Option<PathBuf>,
}

/// Where an issuer's keys are.
#[derive(Args)]
pub(crate) struct KeySource {
    /// The issuer's JWK set: https://… or a file.
    #[arg(long, value_name = "URL|FILE")]
    pub(crate) jwks: Option<String>,
    /// The issuer's address, or that of its metadata, which say where its keys are.
    #[arg(long, value_name = "URL", conflicts_with = "jwks")]
    pub(crate) discovery: Option<String>,
}

#[derive(Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) given: GivenToken,
    #[command(flatten)]
    pub(crate) keys: KeySource,
}

#[derive(Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    pub(crate) given: GivenToken,
    /// Without a token: who issued what is revoked.
    #[arg(long, value_name = "ISS", conflicts_with_all = ["jwt", "token_file"])]
    pub(crate) issuer: Option<String>,
    /// The one token with this jti.
    #[arg(long, requires = "issuer", conflicts_with = "subject")]
    pub(crate) jti: Option<String>,
    /// All tokens of this sub that were issued so far.
    #[arg(long, value_name = "SUB", requires = "issuer")]
    pub(crate) subject: Option<String>,
    /// Only those issued before: 2026-01-31T12:00:00Z, or Unix seconds [default: now].
    #[arg(long, value_parser = moment, requires = "subject", value_name = "WHEN")]
    pub(crate) issued_before: Option<i64>,
    /// When the last of these tokens expires [default: as the token says, else after the plugins' maximum_expiration].
    #[arg(long, value_parser = moment, value_name = "WHEN")]
    pub(crate) expires_at: Option<i64>,
    #[command(flatten)]
    pub(crate) consent: Consent,
    #[command(flatten)]
    pub(crate) limiter: LimiterConnection,
}

#[derive(Args)]
pub(crate) struct Revocations {
    /// The most to list.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) most: u16,
    #[command(flatten)]
    pub(crate) limiter: LimiterConnection,
}

#[derive(Args)]
pub(crate) struct Unrevoke {
    /// The revocations.
    #[arg(required = true, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) consent: Consent,
    #[command(flatten)]
    pub(crate) limiter: LimiterConnection,
}

#[derive(Subcommand)]
pub(crate) enum JwksCommand {
    /// Show each key of a set, and whether llm-jwt would use it.
    #[command(after_help = "Examples:
  kongctl jwks show https://idp.example/jwks
  kongctl jwks show jwks.json -o json | jq '.[].thumbprint'

The exit code is 1 if no key can be used.")]
    Show {
        /// https://…, a file, or - for standard input.
        #[arg(value_name = "URL|FILE")]
        source: String,
    },
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Algorithm {
    #[value(name = "HS256")]
    Hs256,
    #[value(name = "RS256")]
    Rs256,
    #[value(name = "ES256")]
    Es256,
    #[value(name = "EdDSA")]
    EdDsa,
}

#[derive(Args)]
pub(crate) struct Mint {
    #[arg(short, long, value_enum)]
    pub(crate) algorithm: Algorithm,
    /// PEM private key; for HS256 the secret itself, a final line break aside. - for standard input.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    /// The header's kid.
    #[arg(long, value_name = "ID")]
    pub(crate) key_id: Option<String>,
    /// The claim iss.
    #[arg(long)]
    pub(crate) issuer: Option<String>,
    /// The claim sub.
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// The claim aud; may be repeated.
    #[arg(long)]
    pub(crate) audience: Vec<String>,
    /// The claim jti, by which the token can be revoked [default: a random UUID].
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) jti: Option<String>,
    /// How long the token is good.
    #[arg(long, value_parser = duration, default_value = "1h", value_name = "TIME")]
    pub(crate) expires_in: Duration,
    /// Another claim; may be repeated.
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    pub(crate) claims: Vec<String>,
}

/// A moment, in Unix seconds.
fn moment(text: &str) -> Result<i64, String> {
    let seconds = match text.parse::<i64>() {
        Ok(seconds) => seconds,
        Err(_) => text
            .parse::<jiff::Timestamp>()
            .map_err(|_| "write a moment as 2026-01-31T12:00:00Z, or in Unix seconds".to_owned())?
            .as_second(),
    };
    if seconds < 0 {
        return Err("no token is from before 1970".to_owned());
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_with_its_zone_or_unix_seconds() {
        assert_eq!(moment("1767225600"), Ok(1_767_225_600));
        assert_eq!(moment("2026-01-01T01:00:00+01:00"), Ok(1_767_225_600));
        for text in ["tomorrow", "2026-01-01", "2026-01-01T00:00:00", "-5", ""] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}

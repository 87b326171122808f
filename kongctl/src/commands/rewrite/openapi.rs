//! `openapi2kong`: a configuration from an OpenAPI description.

use crate::cli::OpenApi2Kong;
use crate::openapi::{self, Options, Unprotected};
use crate::output::failure::UsageError;
use crate::output::{self, Printer};
use crate::state::diagnostics::Diagnostics;
use crate::state::files;
use crate::state::references::Policy;

use super::super::Exit;
use super::write;

pub(super) fn run(arguments: &OpenApi2Kong, printer: Printer) -> anyhow::Result<Exit> {
    let json = super::is_json(printer)?;
    let mut diagnostics = Diagnostics::default();
    let paths = [arguments.description.clone()];
    // References in it are for Kong's file, not for the description.
    let documents = files::read(&paths, &|_| None, Policy::KeepAll, &mut diagnostics)?;
    let options = Options {
        tags: Some(arguments.tags.clone()).filter(|tags| !tags.is_empty()),
        name: arguments.uuid_base.clone(),
        no_ids: arguments.no_id,
        inso: arguments.inso_compatible,
        reuse_services: arguments.reuse_services,
        no_header_routes: arguments.skip_route_by_header,
        optional_headers: arguments.route_by_optional_headers,
        generate_security: arguments.generate_security,
        ignore_security_errors: arguments.ignore_security_errors,
    };
    let converted = match &documents[..] {
        [description] => openapi::convert(description, &options, &mut diagnostics),
        _ if !diagnostics.is_empty() => None,
        _ => {
            return Err(UsageError {
                message: "name one file with one description".to_owned(),
            }
            .into());
        }
    };
    diagnostics.into_result()?;
    let Some(converted) = converted else {
        return Ok(Exit::Failed);
    };
    for plugin in &converted.left_out {
        output::note(&format!(
            "Left out {plugin}: Kong OSS does not have it. {}",
            match *plugin {
                "request-validator" => "Nothing checks requests against the description.",
                _ => "`llm-jwt` checks tokens of OpenID Connect.",
            }
        ));
    }
    if !converted.unprotected.is_empty() {
        warn_of(&converted.unprotected, arguments.generate_security);
    }
    let text = super::convert::text(&converted.document, json)?;
    write::output(&text, arguments.output_file.as_ref(), printer)
}

/// Names every operation: one that is open by mistake is one too many.
fn warn_of(unprotected: &[Unprotected], generated: bool) {
    let lines = unprotected.iter().map(|one| {
        let Unprotected {
            place,
            operation,
            why,
        } = one;
        format!("\n  {place}: {operation}: {why}")
    });
    let way_out = if generated {
        ""
    } else {
        "\n--generate-security makes plugins of security schemes; x-kong-plugin-NAME says them by hand."
    };
    output::note(&format!(
        "warning: open to anybody, though the description protects them:{}{way_out}",
        lines.collect::<String>()
    ));
}

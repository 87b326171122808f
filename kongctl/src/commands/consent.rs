//! Whether a change of the plugin server is meant.

use anyhow::Context as _;

use crate::cli::Consent;
use crate::output;
use crate::output::failure::Refused;

/// Refuses before anything is read where nobody can agree to `what` is done.
pub(super) fn can_agree(consent: Consent, what: &str) -> Result<(), Refused> {
    if consent.yes || output::can_ask() {
        return Ok(());
    }
    Err(Refused {
        message: format!("{what}, and nobody can be asked"),
        hint: "say --yes if that is meant".to_owned(),
    })
}

/// Shows what would be done to a person who can say no.
pub(super) fn agree(consent: Consent, plan: &str) -> anyhow::Result<()> {
    if consent.yes {
        return Ok(());
    }
    output::note(plan);
    if output::confirm("Carry this out?").context("cannot ask")? {
        return Ok(());
    }
    Err(Refused {
        message: "nothing was changed".to_owned(),
        hint: "the answer was no".to_owned(),
    }
    .into())
}

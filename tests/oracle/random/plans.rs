//! Entities of a custom plugin's kinds: plans, and which consumers have them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::{Form, Writer, few, form, section};

#[derive(Clone, Debug)]
pub(super) struct Plan {
    name: u8,
    tokens: Option<u8>,
    models: BTreeSet<u8>,
    hourly: Option<bool>,
    form: Form,
    /// The consumers by number, if there are such, and since when.
    members: BTreeSet<(u8, Option<u8>)>,
}

pub(super) fn plan() -> impl Strategy<Value = Plan> {
    let member = (0_u8..30, any::<Option<u8>>());
    let parts = (
        0_u8..20,
        any::<Option<u8>>(),
        few(0..5, 3),
        any::<Option<bool>>(),
        form(),
        prop::collection::btree_set(member, 0..6),
    );
    parts.prop_map(|(name, tokens, models, hourly, form, members)| Plan {
        name,
        tokens,
        models,
        hourly,
        form,
        members,
    })
}

/// What is written of both kinds.
#[derive(Default)]
pub(super) struct Plans {
    plans: String,
    members: String,
}

impl Writer {
    /// After the consumers.
    pub(super) fn plan(&mut self, plan: &Plan) {
        let name = format!("plan-{}", plan.name);
        if !self.takes(&name) {
            return;
        }
        let mut text = format!("- name: {name}\n");
        if let Some(tokens) = plan.tokens {
            let _ = writeln!(text, "  tokens: {tokens}");
        }
        if !plan.models.is_empty() {
            let models: Vec<String> = plan
                .models
                .iter()
                .rev()
                .map(|it| format!("m{it}"))
                .collect();
            let _ = writeln!(text, "  models: [{}]", models.join(", "));
        }
        if let Some(hourly) = plan.hourly {
            let unit = if hourly { "hour" } else { "day" };
            let _ = writeln!(text, "  window: {{unit: {unit}}}");
        }
        let mut nested = String::new();
        for (consumer, since) in &plan.members {
            let consumer = format!("c{consumer}");
            if !self.names.contains(&consumer) || !self.takes(&format!("{name} of {consumer}")) {
                continue;
            }
            let since = since.map(|since| format!(", since: {since}"));
            let since = since.unwrap_or_default();
            let members = &mut self.plans.members;
            let _ = match plan.form {
                Form::Nested => writeln!(nested, "  - {{consumer: {consumer}{since}}}"),
                Form::ByWord => {
                    writeln!(members, "- {{plan: {name}, consumer: {consumer}{since}}}")
                }
                Form::ByObject => writeln!(
                    members,
                    "- {{plan: {{name: {name}}}, consumer: {{username: {consumer}}}{since}}}"
                ),
            };
        }
        section(&mut text, "  ", "quota_members", &nested);
        self.plans.plans.push_str(&text);
    }
}

impl Plans {
    /// A kind is named though it has no entities: a file that does not name it would leave those alone that are there.
    pub(super) fn write(&self, text: &mut String) {
        for (kind, list) in [
            ("quota_plans", &self.plans),
            ("quota_members", &self.members),
        ] {
            if list.is_empty() {
                let _ = writeln!(text, "{kind}: []");
            }
            section(text, "", kind, list);
        }
    }
}

//! What a plan may not do, whatever the files say.

use super::{Action, Plan};
use crate::state::has_any_tag;

/// Limits that a person set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    /// Entities with one of these tags are neither changed nor deleted.
    pub(crate) protect_tags: Vec<String>,
    /// The most deletions.
    pub(crate) max_deletes: Option<usize>,
}

/// Why a plan is not carried out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Forbidden {
    /// More deletions than allowed.
    #[error("the plan deletes {deletes} entities, --max-deletes allows {allowed}")]
    TooManyDeletes { deletes: usize, allowed: usize },
    /// Protected entities would change.
    #[error("the plan touches what is protected by its tags:{}", list(.0))]
    Protected(Vec<String>),
}

fn list(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |mut out, line| {
        out.push_str("\n    ");
        out.push_str(line);
        out
    })
}

impl Forbidden {
    /// How to go on.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::TooManyDeletes { .. } => {
                "look at it with `kongctl diff`; if it is right, raise --max-deletes"
            }
            Self::Protected(_) => {
                "leave them as they are in the files, or leave out that --protect-tag (a profile may set it)"
            }
        }
    }
}

impl Guard {
    /// `Ok` if nothing forbids the plan.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), Forbidden> {
        let protected: Vec<String> = plan
            .changes
            .iter()
            .filter(|change| {
                change
                    .before
                    .as_ref()
                    .is_some_and(|before| has_any_tag(before, &self.protect_tags))
            })
            .map(|change| format!("{} {}", change.action.name(), change.what()))
            .collect();
        if !protected.is_empty() {
            return Err(Forbidden::Protected(protected));
        }
        let deletes = plan
            .changes
            .iter()
            .filter(|change| change.action == Action::Delete)
            .count();
        match self.max_deletes {
            Some(allowed) if deletes > allowed => {
                Err(Forbidden::TooManyDeletes { deletes, allowed })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::schema::Schemas;
    use crate::plan::diff::diff;
    use crate::state::resolve::Scope;
    use crate::state::resolve::tests::{desired_of, stored};

    fn plan(from: &str, to: &str) -> Plan {
        let (current, scope) = (stored(from), Scope::default());
        let desired = desired_of(to, &current, &scope).unwrap();
        diff(&current, desired, &scope, &Schemas::default()).unwrap()
    }

    #[test]
    fn what_is_protected_is_neither_changed_nor_deleted_but_may_stand_by() {
        let guard = Guard {
            protect_tags: vec!["prod".to_owned()],
            max_deletes: None,
        };
        let kept = "consumers: [{username: a, tags: [prod, x]}]";
        assert_eq!(guard.check(&plan(kept, kept)), Ok(()));
        let changed = plan(kept, "consumers: [{username: a, tags: [x]}]");
        let deleted = plan(kept, "consumers: [{username: b}]");
        assert_eq!(
            guard.check(&changed),
            Err(Forbidden::Protected(vec!["update consumer a".to_owned()]))
        );
        assert_eq!(
            guard.check(&deleted),
            Err(Forbidden::Protected(vec!["delete consumer a".to_owned()]))
        );
    }

    #[test]
    fn deletions_have_a_limit_that_may_be_reached() {
        let plan = plan(
            "consumers: [{username: a}, {username: b}]",
            "consumers: [{username: c}]",
        );
        let guard = |max_deletes| Guard {
            max_deletes: Some(max_deletes),
            ..Guard::default()
        };
        assert_eq!(guard(2).check(&plan), Ok(()));
        assert_eq!(
            guard(1).check(&plan),
            Err(Forbidden::TooManyDeletes {
                deletes: 2,
                allowed: 1
            })
        );
    }
}

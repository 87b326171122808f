//! JSONPath selectors (RFC 9535), as decK's files of plugins and patches have them: which maps or lists of a file a verb is about.
//!
//! # Algorithm
//!
//! A selector is asked of what the file says; the places that it finds are then looked up in what is written. A place that is
//! reached through an alias or a merge (`<<`) is not written there, and is told.

use serde_json::Value as Json;
use serde_json_path::{JsonPath, PathElement};

use super::{Content, File, Node};
use crate::state::diagnostics::{Diagnostics, Place};

/// One JSONPath expression.
#[derive(Clone, Debug)]
pub(crate) struct Selector(JsonPath);

impl std::str::FromStr for Selector {
    type Err = String;

    /// `$.services[*]`; as decK's older expressions may, one may leave out the `$`.
    fn from_str(text: &str) -> Result<Self, String> {
        let whole = match text.chars().next() {
            Some('$') => text.to_owned(),
            Some('.' | '[') => format!("${text}"),
            _ => format!("$.{text}"),
        };
        JsonPath::parse(&whole)
            .map(Self)
            .map_err(|error| format!("`{text}` is no JSONPath: {error}"))
    }
}

/// What a verb changes of what selectors find; it passes over the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sought {
    Maps,
    Lists,
}

impl Sought {
    fn is(self, value: &Json) -> bool {
        match self {
            Self::Maps => value.is_object(),
            Self::Lists => value.is_array(),
        }
    }

    fn is_written(self, node: &Node) -> bool {
        match self {
            Self::Maps => matches!(node.content, Content::Map(..)),
            Self::Lists => matches!(node.content, Content::List(..)),
        }
    }
}

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Selector {
    /// True if it selects the file itself, and nothing else.
    pub(crate) fn is_root(&self) -> bool {
        self.0.to_string() == "$"
    }

    pub(super) fn find(&self, value: &Json, sought: Sought) -> Vec<Vec<Step>> {
        let found = self.0.query_located(value);
        found
            .iter()
            .filter(|node| sought.is(node.node()))
            .map(|node| {
                let steps = node.location().iter().map(|element| match element {
                    PathElement::Name(name) => Step::Key((*name).to_owned()),
                    PathElement::Index(index) => Step::Index(*index),
                });
                steps.collect()
            })
            .collect()
    }
}

impl File {
    /// Calls `change` with each map, or each list, that any of `selectors` finds, once, in the order of the selectors.
    pub(crate) fn each_selected(
        &mut self,
        selectors: &[Selector],
        sought: Sought,
        diagnostics: &mut Diagnostics,
        change: &mut impl FnMut(&mut Node, &mut Diagnostics),
    ) {
        let Some(values) = super::values("", &super::write(self), diagnostics) else {
            return;
        };
        for (document, value) in self.documents.iter_mut().zip(&values) {
            let mut seen: Vec<Vec<Step>> = Vec::new();
            let found = selectors
                .iter()
                .flat_map(|selector| selector.find(value, sought));
            for steps in found {
                if seen.contains(&steps) {
                    continue;
                }
                match document.root.at(&steps, sought) {
                    Ok(node) => change(node, diagnostics),
                    Err(place) => {
                        if let Some(place) = place {
                            diagnostics.add_with_help(
                                &place,
                                "what the selector finds here is written elsewhere, behind an alias or a `<<`",
                                Some("write it out: what is added to an anchor is added to all of its aliases"),
                            );
                        }
                    }
                }
                seen.push(steps);
            }
        }
    }
}

impl Node {
    /// Where the node is written to which these steps lead, or the last one on the way.
    pub(super) fn place_at(&mut self, steps: &[Step]) -> Option<Place> {
        match self.at(steps, Sought::Maps) {
            Ok(node) => node.place.clone(),
            Err(place) => place,
        }
    }

    /// The node where these steps lead; or how far they came.
    pub(super) fn at(
        &mut self,
        steps: &[Step],
        sought: Sought,
    ) -> Result<&mut Self, Option<Place>> {
        let Some((step, rest)) = steps.split_first() else {
            return if sought.is_written(self) {
                Ok(self)
            } else {
                Err(self.place.clone())
            };
        };
        let place = self.place.clone();
        let next = match (step, &mut self.content) {
            (Step::Key(name), Content::Map(entries, _)) => entries
                .iter_mut()
                .find(|entry| entry.name == *name)
                .map(|entry| &mut entry.value),
            (Step::Index(index), Content::List(items, _)) => items.get_mut(*index),
            _ => None,
        };
        next.ok_or(place)?.at(rest, sought)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
services:
- name: a
  routes: [{name: r1, paths: [/a]}, {name: r2}]
- &b
  name: b
  routes: [{name: r3}]
- *b
- {<<: {routes: [{name: r4}]}, name: c}
consumers: [{username: u}]
";

    fn names(selectors: &[&str]) -> Result<Vec<String>, String> {
        let mut diagnostics = Diagnostics::default();
        let mut file = super::super::read("kong.yml", FILE, &mut diagnostics).unwrap();
        let selectors: Vec<Selector> = selectors
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()?;
        let mut names = Vec::new();
        file.each_selected(
            &selectors,
            Sought::Maps,
            &mut diagnostics,
            &mut |node, _| {
                let name = node.get("name").or_else(|| node.get("username"));
                names.push(name.and_then(Node::word).unwrap_or_default());
            },
        );
        diagnostics
            .into_result()
            .map_err(|error| error.to_string())?;
        Ok(names)
    }

    #[test]
    fn the_expressions_of_decks_documentation_find_what_they_mean() {
        let all = |selector| names(&[selector]).unwrap();
        assert_eq!(all("$"), [""]);
        assert_eq!(all("$.services[0]"), ["a"]);
        assert_eq!(all("services[:2].routes[*]"), ["r1", "r2", "r3"]);
        assert_eq!(all("$..[?@.name=='r2']"), ["r2"]);
        assert_eq!(all("$..[?(@.paths[?(@ == '/a')])]"), ["r1"]);
        assert_eq!(all("$['consumers'][-1]"), ["u"]);
        assert_eq!(all("$.services[*].name"), [""; 0], "no map");
        assert_eq!(
            names(&[
                "$.services[0,1]",
                "$.services[?@.name!='c']",
                "$.consumers[*]"
            ])
            .unwrap_err(),
            names(&["$.services[2]"]).unwrap_err(),
        );
        assert_eq!(
            names(&["$.services[0,1]", "$.services[:1]", "$.consumers[*]"]).unwrap(),
            ["a", "b", "u"]
        );
    }

    #[test]
    fn what_is_written_elsewhere_is_told_with_its_place() {
        for (selector, place) in [
            ("$.services[2]", "kong.yml:7:"),
            ("$.services[3].routes[0]", "kong.yml:8:"),
        ] {
            let told = names(&[selector]).unwrap_err();
            assert!(
                told.starts_with(place) && told.contains("behind an alias"),
                "{told}"
            );
        }
    }

    #[test]
    fn what_is_no_jsonpath_is_an_error_that_repeats_it() {
        let told = "$.services[".parse::<Selector>().unwrap_err();
        assert!(told.starts_with("`$.services[` is no JSONPath"), "{told}");
    }
}

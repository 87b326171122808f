//! Editing a body in its text: what stands where, and what stands there afterwards.

use std::ops::Range;

use super::scan::{self, Members};
use crate::rate_limiting::request::{Cap, Scalar, Section, TOP};

/// A member that is set, as text for whatever of its place is there.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// `"name":value`
    pub(super) member: String,
    /// `{"name":value}`
    object: String,
    /// `"section":{"name":value}`
    whole: String,
}

impl Setting {
    pub(super) fn new(section: Option<&'static str>, name: &'static str, value: String) -> Self {
        let member = format!(r#""{name}":{value}"#);
        let object = format!("{{{member}}}");
        Self {
            name,
            value,
            whole: format!(r#""{}":{object}"#, section.unwrap_or_default()),
            member,
            object,
        }
    }
}

/// What no cap may exceed.
pub(super) struct Ceiling {
    pub(super) most: u64,
    /// What stands for a cap above it, or for a negative one; `None` if caps stay as they are.
    pub(super) text: Option<String>,
}

/// A replacement of some bytes, or of none: then a member that comes first in its object.
struct Edit<'e> {
    place: Range<usize>,
    text: &'e str,
    /// Whether members follow.
    comma: bool,
}

/// Edits of a body; none overlaps another.
pub(super) struct Edits<'e> {
    body: &'e [u8],
    made: Vec<Edit<'e>>,
}

impl<'e> Edits<'e> {
    pub(super) fn of(body: &'e [u8]) -> Self {
        Self {
            body,
            made: Vec::new(),
        }
    }

    fn replace(&mut self, place: Range<usize>, text: &'e str) {
        if &self.body[place.clone()] != text.as_bytes() {
            self.made.push(Edit {
                place,
                text,
                comma: false,
            });
        }
    }

    /// Adds a member to the object at `object`, which is one.
    fn add(&mut self, object: usize, text: &'e str) {
        if let Some(start) = scan::inside(self.body, object) {
            if let Some(before) = self
                .made
                .last_mut()
                .filter(|edit| edit.place == (start..start))
            {
                before.comma = true;
            }
            self.made.push(Edit {
                place: start..start,
                text,
                comma: Members::of(self.body, object).is_some_and(|mut rest| rest.next().is_some()),
            });
        }
    }

    /// Sets every member of this name in the object at `object`, or adds one.
    pub(super) fn set(&mut self, object: usize, name: &str, value: &'e str, member: &'e str) {
        let body = self.body;
        let mut is_there = false;
        for own in Members::of(body, object).into_iter().flatten() {
            if own.name(body) == name {
                is_there = true;
                self.replace(own.value, value);
            }
        }
        if !is_there {
            self.add(object, member);
        }
    }

    /// Sets a member in every object of the body under a name, which is added if there is none. Values that are no objects give way
    /// if they `may_go`.
    pub(super) fn set_in(
        &mut self,
        is_named: impl Fn(&str) -> bool,
        setting: &'e Setting,
        may_go: impl Fn(&[u8]) -> bool,
    ) {
        let body = self.body;
        let mut is_there = false;
        for own in Members::of(body, 0).into_iter().flatten() {
            if !is_named(&own.name(body)) {
                continue;
            }
            is_there = true;
            match &body[own.value.clone()] {
                [b'{', ..] => self.set(
                    own.value.start,
                    setting.name,
                    &setting.value,
                    &setting.member,
                ),
                other if may_go(other) => self.replace(own.value, &setting.object),
                _ => {}
            }
        }
        if !is_there {
            self.add(0, &setting.whole);
        }
    }

    /// Brings every cap to the ceiling that is above it; whether any cap is stated then.
    pub(super) fn clamp(&mut self, ceiling: &'e Ceiling) -> bool {
        let body = self.body;
        let mut states_cap = false;
        for own in Members::of(body, 0).into_iter().flatten() {
            let name = own.name(body);
            if TOP.is_cap(&name) {
                states_cap |= self.clamp_value(own.value, ceiling);
            } else if let Some(section) = Section::named(&name) {
                let inner = Members::of(body, own.value.start).into_iter().flatten();
                for inner in inner.filter(|inner| section.is_cap(&inner.name(body))) {
                    states_cap |= self.clamp_value(inner.value, ceiling);
                }
            }
        }
        states_cap
    }

    fn clamp_value(&mut self, value: Range<usize>, ceiling: &'e Ceiling) -> bool {
        let cap = Cap::from(&Scalar::of_json(&self.body[value.clone()]));
        let is_above = match cap {
            Cap::Tokens(tokens) => tokens > ceiling.most,
            Cap::Unlimited => true,
            Cap::Absent => false,
        };
        match &ceiling.text {
            Some(text) if is_above => {
                self.replace(value, text);
                true
            }
            _ => matches!(cap, Cap::Tokens(_)),
        }
    }

    /// The body with these edits, or `None` if there are none.
    pub(super) fn apply(mut self) -> Option<Vec<u8>> {
        if self.made.is_empty() {
            return None;
        }
        self.made.sort_by_key(|edit| edit.place.start);
        let added: usize = self.made.iter().map(|edit| edit.text.len() + 1).sum();
        let mut edited = Vec::with_capacity(self.body.len() + added);
        let mut copied = 0;
        for Edit { place, text, comma } in self.made {
            // Edits overlap only where quotes do not match: such a body is no JSON.
            edited.extend_from_slice(self.body.get(copied..place.start)?);
            edited.extend_from_slice(text.as_bytes());
            edited.extend(comma.then_some(b','));
            copied = place.end;
        }
        edited.extend_from_slice(&self.body[copied..]);
        Some(edited)
    }
}

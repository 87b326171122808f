//! Names of entities: those of go-slugify, which decK uses.

use super::Options;

/// Makes the names of one description.
pub(super) struct Names<'a> {
    base: String,
    options: &'a Options,
}

impl<'a> Names<'a> {
    pub(super) fn new(base: &str, options: &'a Options) -> Self {
        Self {
            base: slug(base, options.inso),
            options,
        }
    }

    /// The description's name, which all others start with.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// A path's name: the one that it gives itself, or its own words.
    pub(super) fn path(&self, given: Option<&str>, path: &str) -> String {
        let inso = self.options.inso;
        let own = match given {
            Some(name) => slug(name, inso),
            // `/a` and `/a/` are two paths.
            None if !inso && path.ends_with('/') => slug(path, inso) + "~",
            None => slug(path, inso),
        };
        if own.is_empty() {
            self.base.clone()
        } else {
            format!("{}{}{own}", self.base, self.joint())
        }
    }

    /// An operation's name: the one that it gives itself, its id, or its method.
    pub(super) fn operation(
        &self,
        given: Option<&str>,
        id: Option<&str>,
        path: &str,
        method: &str,
    ) -> String {
        let inso = self.options.inso;
        let joint = self.joint();
        match (given, id.filter(|id| !id.is_empty())) {
            (Some(name), _) if inso => format!("{}{joint}{}", self.base, slug(name, inso)),
            (Some(name), _) => format!("{path}{joint}{}", slug(name, inso)),
            (None, Some(id)) => format!("{}{joint}{}", self.base, slug(id, inso)),
            (None, None) => format!("{path}{joint}{}", slug(method, inso)),
        }
    }

    fn joint(&self) -> char {
        if self.options.inso { '-' } else { '_' }
    }
}

/// Letters and digits, everything else a separator; lower case, unless for Inso.
fn slug(text: &str, inso: bool) -> String {
    if inso {
        slugify(text, '_', "-", false)
    } else {
        slugify(text, '-', "", true)
    }
}

/// A parameter's name as the name of a group in a regular expression.
pub(super) fn capture(name: &str, inso: bool) -> String {
    slugify(name, '_', "", !inso)
}

fn slugify(text: &str, separator: char, allowed: &str, lower: bool) -> String {
    let ascii = deunicode::deunicode_with_tofu(text, "");
    let words: Vec<&str> = ascii.split_whitespace().collect();
    let mut out = String::new();
    for character in words.join(&separator.to_string()).chars() {
        if character.is_ascii_alphanumeric() || allowed.contains(character) {
            out.push(character);
        } else if !out.ends_with(separator) {
            out.push(separator);
        }
    }
    let out = out.trim_matches(separator);
    if lower {
        out.to_ascii_lowercase()
    } else {
        out.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of go-slugify and go-apiops.
    #[test]
    fn names_are_slugs() {
        assert_eq!(slug("kožušček hello  world", false), "kozuscek-hello-world");
        assert_eq!(slug("/path/{id}/x.y", false), "path-id-x-y");
        assert_eq!(slug("Simple API overview", true), "Simple_API_overview");
        assert_eq!(slug("/a-b/{c}", true), "a-b_c");
        assert_eq!(capture("some-Id", false), "some_id");
        assert_eq!(capture("some-Id", true), "some_Id");
    }
}

//! Names that Kubernetes takes: lower case letters, digits and dashes, a letter first, 63 characters at most (RFC 1035 labels, which Services need).

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

/// The longest name.
const LONGEST: usize = 63;

/// Names given so far, each once for its kind of object.
#[derive(Debug, Default)]
pub(super) struct Names {
    given: HashMap<(&'static str, String), String>,
    taken: HashSet<(&'static str, String)>,
}

impl Names {
    /// The name of the object of `kind` that `word` means: the same word has the same name, other words have others.
    pub(super) fn of(&mut self, kind: &'static str, word: &str) -> String {
        if let Some(name) = self.given.get(&(kind, word.to_owned())) {
            return name.clone();
        }
        let mut name = spelled(word);
        if !self.taken.insert((kind, name.clone())) {
            // Another word has this spelling.
            name = shortened(&name, word);
            self.taken.insert((kind, name.clone()));
        }
        self.given.insert((kind, word.to_owned()), name.clone());
        name
    }
}

fn spelled(word: &str) -> String {
    let mut name = String::with_capacity(word.len());
    for character in word.chars() {
        let character = character.to_ascii_lowercase();
        if character.is_ascii_alphanumeric() {
            name.push(character);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let mut name = name.trim_matches('-').to_owned();
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        name.insert_str(0, "k-");
    }
    let name = name.trim_end_matches('-').to_owned();
    if name.len() > LONGEST {
        shortened(&name, word)
    } else {
        name
    }
}

/// The beginning of the name, and a digest of the word that tells it from others.
fn shortened(name: &str, word: &str) -> String {
    let digest = Sha256::digest(word.as_bytes());
    let digest = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let digest = format!("{digest:08x}");
    let room = LONGEST - digest.len() - 1;
    let start = name.get(..room.min(name.len())).unwrap_or(name);
    format!("{}-{digest}", start.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels_and_tell_words_apart() {
        let mut names = Names::default();
        for (word, name) in [
            ("agent", "agent"),
            ("Agent_API v2", "agent-api-v2"),
            ("9lives", "k-9lives"),
            ("__", "k"),
            ("日本", "k"),
        ] {
            let given = names.of("Service", word);
            assert!(
                given == name || given.starts_with(&format!("{name}-")),
                "{given}"
            );
        }
        assert_ne!(names.of("Service", "a.b"), names.of("Service", "a-b"));
        assert_eq!(names.of("Service", "a.b"), names.of("Service", "a.b"));
        assert_eq!(
            names.of("Secret", "a-b"),
            "a-b",
            "another kind, other names"
        );
        assert_eq!(names.of("Service", &"x".repeat(100)).len(), LONGEST);
    }
}

//! The text of a request, as far as it will be tokenized.

/// The most text of a request that is tokenized exactly, in bytes: about 4 ms. What is beyond is priced by its size.
pub const EXACT_BYTES: usize = 64 * 1024;

/// What a piece of text counts for against [`EXACT_BYTES`] besides its bytes, so that a million tiny pieces are bounded too.
const PIECE_BYTES: usize = 4;

/// Text to tokenize, and what is priced beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    text: String,
    ends: Vec<usize>,
    beyond_bytes: u64,
    fixed_tokens: u64,
}

impl Prompt {
    /// Adds a piece of text that is tokenized by itself.
    pub fn push(&mut self, piece: &str) {
        let used = self.text.len() + self.ends.len() * PIECE_BYTES;
        let room = EXACT_BYTES.saturating_sub(used + PIECE_BYTES);
        let (exact, beyond) = piece.split_at(piece.floor_char_boundary(room.min(piece.len())));
        self.beyond_bytes += beyond.len() as u64;
        if !exact.is_empty() {
            self.text.push_str(exact);
            self.ends.push(self.text.len());
        }
    }

    /// Adds tokens that no text stands for.
    pub fn add_tokens(&mut self, tokens: u64) {
        self.fixed_tokens = self.fixed_tokens.saturating_add(tokens);
    }

    /// The pieces of text that fit [`EXACT_BYTES`].
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.text[start..end])
    }

    /// The bytes of text that did not fit.
    pub fn beyond_bytes(&self) -> u64 {
        self.beyond_bytes
    }

    /// The tokens that no text stands for.
    pub fn fixed_tokens(&self) -> u64 {
        self.fixed_tokens
    }

    #[cfg(test)]
    pub(super) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    #[cfg(test)]
    pub(super) fn pieces(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_beyond_the_cap_is_counted_not_kept() {
        let mut prompt = Prompt::default();
        prompt.push("hello");
        prompt.push(&"ü".repeat(EXACT_BYTES));
        prompt.push("more");
        let texts: Vec<_> = prompt.texts().collect();
        assert_eq!((texts.len(), texts[0]), (2, "hello"));
        assert!(texts[1].chars().all(|letter| letter == 'ü'));
        let kept = texts.iter().map(|text| text.len()).sum::<usize>() as u64;
        assert_eq!(kept + prompt.beyond_bytes(), 5 + 2 * EXACT_BYTES as u64 + 4);
    }
}

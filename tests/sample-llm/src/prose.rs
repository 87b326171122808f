//! Deterministic answers of an exact length.

use crate::tokens;

/// Tokens of an answer when the request names no cap.
pub const DEFAULT_LENGTH: usize = 48;
/// The longest answer, whatever the request allows.
pub const MAX_LENGTH: usize = 100_000;

/// Words of the question that the answer repeats.
const ECHOED_WORDS: usize = 8;

const PROSE: &str = " A gateway is a patient doorkeeper: it asks who is calling, looks up what they may still spend, and opens the door or \
says when to come back. It reads the answer as it passes and keeps the books honest. Whoever asked little pays little, whoever left early pays \
for what was said, and nobody waits for the accountant.";

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All was said.
    Stop,
    /// The output cap cut it.
    Length,
}

/// An answer, cut into its tokens.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The text of each token, in order.
    pub pieces: Vec<String>,
    /// Why it ended.
    pub finish: Finish,
}

impl Answer {
    /// Answers `question` within `cap` tokens: three quarters of the cap, all of it when `to_the_cap`, [`DEFAULT_LENGTH`] without a cap.
    pub fn compose(question: &str, cap: Option<usize>, to_the_cap: bool) -> Self {
        let (length, finish) = match cap {
            None => (DEFAULT_LENGTH, Finish::Stop),
            Some(cap) if to_the_cap => (cap.min(MAX_LENGTH), Finish::Length),
            Some(cap) => (
                cap.saturating_mul(3).div_ceil(4).min(MAX_LENGTH),
                Finish::Stop,
            ),
        };
        let echo: Vec<&str> = question.split_whitespace().take(ECHOED_WORDS).collect();
        let mut pieces = tokens::pieces(&format!("You asked: “{}”.", echo.join(" ")));
        let prose = tokens::pieces(PROSE);
        while pieces.len() < length {
            pieces.extend_from_slice(&prose);
        }
        pieces.truncate(length);
        Self { pieces, finish }
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.pieces.concat()
    }

    /// What a provider would bill for the text.
    pub fn tokens(&self) -> usize {
        tokens::count(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_three_quarters_of_its_cap_and_says_stop() {
        for cap in [1, 7, 40, 1000] {
            let answer = Answer::compose("What is a gateway?", Some(cap), false);
            assert_eq!(answer.tokens(), (cap * 3).div_ceil(4), "cap {cap}");
            assert_eq!(answer.finish, Finish::Stop);
        }
    }

    #[test]
    fn an_answer_to_the_cap_is_cut_by_it() {
        let answer = Answer::compose("What is a gateway?", Some(100), true);
        assert_eq!((answer.tokens(), answer.finish), (100, Finish::Length));
    }

    #[test]
    fn the_same_question_has_the_same_answer() {
        let text = || Answer::compose("Why?", None, false).text();
        assert_eq!(text(), text());
        assert!(text().starts_with("You asked: “Why?”. A gateway"));
    }
}

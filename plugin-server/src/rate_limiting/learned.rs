//! What settled requests teach about the next ones: how a model really counts a prompt, and how long answers get.
//!
//! # Prompts
//!
//! Other vendors' vocabularies are not public, so their prompts are counted with OpenAI's and corrected by a ratio for each model:
//!
//! ```text
//! ratio = Σ billed / Σ counted, once 8 requests are settled; within [1/2, 4]
//! ```
//!
//! A request weighs by its tokens, but like 4,096 at most, and its own ratio is first brought into the same range: neither one huge
//! prompt nor one absurd bill moves a model far. Each request takes 1/128 from what came before it. Worked: 8 prompts
//! counted as 1,000 and billed as 1,250 make a ratio of 1.25, and the next, counted as 400, is estimated at 500.
//!
//! # Answers
//!
//! The length of an answer without a cap is the 95th percentile of the answers before, in buckets of which each doubling has
//! four, rounded up to its bucket's end: at most a quarter too much. 20 answers of the same model and caller are asked, else
//! 20 of the same model, else [`DEFAULT_OUTPUT_TOKENS`] is assumed. At 512 answers all counts are halved, so that the last hundreds decide.
//! Worked: 19 answers of 100 tokens and one of 4,000 make 111, the end of the bucket 96…111; with two of 4,000 it is 4,095.
//!
//! # Invariants
//!
//! 1. Memory is bounded: 1,024 models and 16,384 pairs of model and caller at most, some 4 MB; the least recently
//!    used generation is forgotten (test: `what_is_not_used_is_forgotten_and_memory_is_bounded`).
//! 2. A caller with answers of its own is not moved by another's (test: `a_liar_moves_no_other_callers_percentile`).
//! 3. More billed is never less estimated (tests: `a_larger_bill_never_makes_a_smaller_ratio`,
//!    `longer_answers_never_make_a_shorter_percentile`).
//! 4. The same requests teach the same: no clock, no chance.

mod generations;
mod histogram;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use self::generations::Generations;
use self::histogram::Histogram;
use super::estimate::DEFAULT_OUTPUT_TOKENS;

/// The most models that are remembered.
pub const MOST_MODELS: usize = 1_024;
/// The most pairs of model and caller that are remembered.
pub const MOST_PAIRS: usize = 16_384;

/// Requests that are needed before a ratio is believed.
const RATIO_REQUESTS: u32 = 8;
/// Answers that are needed before a percentile is believed.
const PERCENTILE_ANSWERS: u32 = 20;
/// The weight of one prompt at most, in tokens.
const HEAVIEST_PROMPT: u64 = 4_096;
/// The share of earlier requests that each takes away is one in so many.
const DECAY: u64 = 128;
/// Sums are kept in 1/1,024 of a token, so that decay loses nothing that matters.
const SCALE: u64 = 1_024;

/// A correction of counted tokens, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u32);

impl Ratio {
    /// No correction.
    pub const ONE: Self = Self(1_000);
    /// The smallest correction that is learned: a half.
    pub const MIN: Self = Self(500);
    /// The largest correction that is learned: four times.
    pub const MAX: Self = Self(4_000);

    /// The ratio in thousandths.
    pub const fn per_mille(self) -> u32 {
        self.0
    }

    /// Corrects a count, rounded up and saturating.
    pub fn apply(self, counted_tokens: u64) -> u64 {
        let corrected = (u128::from(counted_tokens) * u128::from(self.0)).div_ceil(1_000);
        u64::try_from(corrected).unwrap_or(u64::MAX)
    }

    fn of(billed: u64, counted: u64) -> Self {
        let counted = u128::from(counted.max(1));
        let per_mille = (u128::from(billed) * 1_000 + counted / 2) / counted;
        let per_mille = u32::try_from(per_mille).unwrap_or(u32::MAX);
        Self(per_mille).clamp(Self::MIN, Self::MAX)
    }
}

/// What is to be expected of a request of one model and caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// What a counted prompt has to be multiplied by.
    pub prompt_ratio: Ratio,
    /// Tokens of an answer without a cap.
    pub completion_tokens: u64,
}

impl Default for Forecast {
    fn default() -> Self {
        Self {
            prompt_ratio: Ratio::ONE,
            completion_tokens: DEFAULT_OUTPUT_TOKENS,
        }
    }
}

/// What a settled request was thought to be, and what the provider billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// The prompt as counted, before any correction; 0 if it was not counted.
    pub counted_tokens: u64,
    /// The prompt as billed.
    pub prompt_tokens: u64,
    /// The answer as billed; `None` if nothing was generated.
    pub completion_tokens: Option<u64>,
}

/// What was learned, by all configurations of a process together.
#[derive(Debug)]
pub struct Learned {
    models: Mutex<Generations<ModelKey, Model>>,
    pairs: Mutex<Generations<(ModelKey, u64), Histogram>>,
}

impl Default for Learned {
    fn default() -> Self {
        Self {
            models: Mutex::new(Generations::new(MOST_MODELS)),
            pairs: Mutex::new(Generations::new(MOST_PAIRS)),
        }
    }
}

/// A model's name, of whatever length: half of its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ModelKey([u8; 16]);

impl ModelKey {
    fn of(model: &str) -> Self {
        let digest = Sha256::digest(model.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

#[derive(Clone, Debug, Default)]
struct Model {
    requests: u32,
    /// In 1/[`SCALE`] of a token.
    counted: u64,
    /// In 1/[`SCALE`] of a token.
    billed: u64,
    answers: Histogram,
}

impl Model {
    fn observe_prompt(&mut self, counted: u64, billed: u64) {
        let ratio = Ratio::of(billed, counted);
        let weight = counted.min(HEAVIEST_PROMPT);
        self.requests = self.requests.saturating_add(1);
        self.counted -= self.counted / DECAY;
        self.counted += weight * SCALE;
        self.billed -= self.billed / DECAY;
        self.billed += weight * SCALE * u64::from(ratio.per_mille()) / 1_000;
    }

    fn ratio(&self) -> Ratio {
        if self.requests < RATIO_REQUESTS {
            Ratio::ONE
        } else {
            Ratio::of(self.billed, self.counted)
        }
    }
}

impl Learned {
    /// Nothing learned yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns from a settled request. Precondition: the provider itself reported what it billed.
    ///
    /// `caller` tells callers apart, and is the caller's to choose: best a hash of what its limits are kept by.
    pub fn observe(&self, model: &str, caller: u64, lesson: Lesson) {
        let key = ModelKey::of(model);
        {
            let mut models = self.models.lock();
            let model = models.entry(key);
            if lesson.counted_tokens > 0 && lesson.prompt_tokens > 0 {
                model.observe_prompt(lesson.counted_tokens, lesson.prompt_tokens);
            }
            if let Some(tokens) = lesson.completion_tokens {
                model.answers.observe(tokens);
            }
        }
        if let Some(tokens) = lesson.completion_tokens {
            self.pairs.lock().entry((key, caller)).observe(tokens);
        }
    }

    /// What a counted prompt of this model has to be multiplied by; [`Ratio::ONE`] until enough is known.
    pub fn prompt_ratio(&self, model: &str) -> Ratio {
        self.models
            .lock()
            .get(&ModelKey::of(model))
            .map_or(Ratio::ONE, Model::ratio)
    }

    /// The tokens that 95 of 100 answers of this model do not exceed, for this caller if enough is known of it.
    pub fn completion_p95(&self, model: &str, caller: u64) -> u64 {
        let key = ModelKey::of(model);
        let own = self
            .pairs
            .lock()
            .get(&(key, caller))
            .and_then(|answers| answers.percentile_95(PERCENTILE_ANSWERS));
        let of_model = || {
            let mut models = self.models.lock();
            models.get(&key)?.answers.percentile_95(PERCENTILE_ANSWERS)
        };
        own.or_else(of_model).unwrap_or(DEFAULT_OUTPUT_TOKENS)
    }

    /// Both at once.
    pub fn forecast(&self, model: &str, caller: u64) -> Forecast {
        Forecast {
            prompt_ratio: self.prompt_ratio(model),
            completion_tokens: self.completion_p95(model, caller),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prompt(counted_tokens: u64, prompt_tokens: u64) -> Lesson {
        Lesson {
            counted_tokens,
            prompt_tokens,
            completion_tokens: None,
        }
    }

    fn answer(tokens: u64) -> Lesson {
        Lesson {
            completion_tokens: Some(tokens),
            ..prompt(0, 0)
        }
    }

    fn taught(lessons: impl IntoIterator<Item = (u64, Lesson)>) -> Learned {
        let learned = Learned::new();
        for (caller, lesson) in lessons {
            learned.observe("claude", caller, lesson);
        }
        learned
    }

    fn ratio(prompts: &[(u64, u64)]) -> Ratio {
        let lessons = prompts
            .iter()
            .map(|&(counted, billed)| (0, prompt(counted, billed)));
        taught(lessons).prompt_ratio("claude")
    }

    #[test]
    fn a_ratio_is_believed_from_the_eighth_request() {
        assert_eq!(ratio(&[(1_000, 1_250); 7]), Ratio::ONE);
        let learned = ratio(&[(1_000, 1_250); 8]);
        assert_eq!(learned, Ratio(1_250));
        assert_eq!(learned.apply(400), 500);
        assert_eq!(Ratio::MAX.apply(u64::MAX), u64::MAX);
        let other = taught([(0, prompt(10, 20)); 8].to_vec());
        assert_eq!(other.prompt_ratio("gemini"), Ratio::ONE);
    }

    #[test]
    fn a_ratio_follows_a_model_that_changes() {
        let mut prompts = vec![(1_000, 2_000); 500];
        prompts.extend([(1_000, 1_000); 700]);
        let learned = ratio(&prompts).per_mille();
        assert!((1_000..1_010).contains(&learned), "{learned}");
    }

    #[test]
    fn one_huge_prompt_or_bill_moves_little() {
        let mut prompts = vec![(1_000, 1_000); 50];
        prompts.push((u64::MAX, u64::MAX));
        prompts.push((1_000, u64::MAX));
        let learned = ratio(&prompts).per_mille();
        assert!((1_000..1_100).contains(&learned), "{learned}");
    }

    #[test]
    fn the_percentile_is_the_callers_then_the_models_then_the_default() {
        let answers = |short: usize, long: usize| {
            let lessons = [
                vec![(7, answer(100)); short],
                vec![(7, answer(4_000)); long],
            ];
            taught(lessons.concat())
        };
        assert_eq!(answers(19, 0).completion_p95("claude", 7), 1_024);
        assert_eq!(answers(19, 1).completion_p95("claude", 7), 111);
        assert_eq!(answers(18, 2).completion_p95("claude", 7), 4_095);
        assert_eq!(answers(19, 1).completion_p95("claude", 8), 111);
        assert_eq!(answers(19, 1).completion_p95("gemini", 7), 1_024);
    }

    #[test]
    fn what_is_not_used_is_forgotten_and_memory_is_bounded() {
        let learned = taught(vec![(1, answer(100)); 20]);
        for caller in 0..3 * MOST_PAIRS as u64 {
            learned.observe("other", caller + 100, answer(1));
            if caller % 1_000 == 0 {
                assert_eq!(learned.completion_p95("claude", 1), 111);
            }
        }
        assert!(learned.pairs.lock().len() <= MOST_PAIRS);
        for model in 0..3 * MOST_MODELS {
            learned.observe(&format!("model-{model}"), 0, answer(1));
        }
        assert!(learned.models.lock().len() <= MOST_MODELS);
        assert!(learned.pairs.lock().len() <= MOST_PAIRS);
        assert!(
            learned.models.lock().get(&ModelKey::of("claude")).is_none(),
            "a model that nobody asks for is forgotten"
        );
    }

    proptest! {
        #[test]
        fn a_ratio_stays_in_its_range(prompts in prop::collection::vec((any::<u64>(), any::<u64>()), 0..200)) {
            let learned = ratio(&prompts);
            prop_assert!((Ratio::MIN..=Ratio::MAX).contains(&learned));
        }

        #[test]
        fn a_larger_bill_never_makes_a_smaller_ratio(
            prompts in prop::collection::vec((1_u64..10_000, 1_u64..20_000), 8..100),
            which in any::<prop::sample::Index>(),
            more in 0_u64..100_000,
        ) {
            let mut larger = prompts.clone();
            larger[which.index(prompts.len())].1 += more;
            prop_assert!(ratio(&larger) >= ratio(&prompts));
        }

        #[test]
        fn longer_answers_never_make_a_shorter_percentile(
            answers in prop::collection::vec(any::<u64>(), 20..200),
            which in any::<prop::sample::Index>(),
            more in any::<u64>(),
        ) {
            let p95 = |answers: &[u64]| {
                taught(answers.iter().map(|&tokens| (0, answer(tokens)))).completion_p95("claude", 0)
            };
            let mut longer = answers.clone();
            let longest = &mut longer[which.index(answers.len())];
            *longest = longest.saturating_add(more);
            prop_assert!(p95(&longer) >= p95(&answers));
        }

        #[test]
        fn a_liar_moves_no_other_callers_percentile(
            honest in prop::collection::vec(0_u64..5_000, 20..60),
            lies in prop::collection::vec(any::<u64>(), 0..400),
        ) {
            let honest: Vec<_> = honest.into_iter().map(|tokens| (1, answer(tokens))).collect();
            let lies = lies.into_iter().map(|tokens| (2, answer(tokens)));
            let alone = taught(honest.iter().copied()).completion_p95("claude", 1);
            let beside = taught(honest.into_iter().chain(lies)).completion_p95("claude", 1);
            prop_assert_eq!(alone, beside);
        }
    }
}

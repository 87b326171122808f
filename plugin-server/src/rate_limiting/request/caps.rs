//! Where a cap on the answer may stand in a body, and how it is spelled there.
//!
//! Reading and rewriting share this table, so that no cap is read and not clamped, or clamped and not read.

use super::scalar::Scalar;
use crate::rate_limiting::api::Api;

/// A part of a body in which generation is configured.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::rate_limiting) struct Section {
    /// The names of the member that holds it.
    names: &'static [&'static str],
    /// Caps on each answer, in tokens.
    caps: &'static [&'static str],
    /// Numbers of answers.
    choices: &'static [&'static str],
}

/// The body itself.
pub(in crate::rate_limiting) const TOP: Section = Section {
    names: &[],
    caps: &[
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens_to_sample",
        "max_gen_len",
    ],
    choices: &["n", "best_of"],
};

/// Gemini's; Protocol Buffers read JSON in either case.
const GENERATION_CONFIG: Section = Section {
    names: &["generationConfig", "generation_config"],
    caps: &["maxOutputTokens", "max_output_tokens"],
    choices: &["candidateCount", "candidate_count"],
};

/// Bedrock's, and that of Amazon's Nova.
const INFERENCE_CONFIG: Section = Section {
    names: &["inferenceConfig"],
    caps: &["maxTokens", "max_new_tokens"],
    choices: &[],
};

/// That of Amazon's Titan.
const TEXT_GENERATION_CONFIG: Section = Section {
    names: &["textGenerationConfig"],
    caps: &["maxTokenCount"],
    choices: &[],
};

/// Ollama's.
const OPTIONS: Section = Section {
    names: &["options"],
    caps: &["num_predict"],
    choices: &[],
};

impl Section {
    /// The section that a member of the body holds.
    pub(in crate::rate_limiting) fn named(name: &str) -> Option<&'static Self> {
        [
            &GENERATION_CONFIG,
            &INFERENCE_CONFIG,
            &TEXT_GENERATION_CONFIG,
            &OPTIONS,
        ]
        .into_iter()
        .find(|section| section.is_named(name))
    }

    pub(in crate::rate_limiting) fn is_named(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    pub(in crate::rate_limiting) fn is_cap(&self, name: &str) -> bool {
        self.caps.contains(&name)
    }

    pub(super) fn is_choices(&self, name: &str) -> bool {
        self.choices.contains(&name)
    }
}

/// A cap as a body states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rate_limiting) enum Cap {
    /// At most so many tokens.
    Tokens(u64),
    /// A negative number: "no cap" to Ollama and llama.cpp, an error to others.
    Unlimited,
    /// No number at all.
    Absent,
}

impl From<&Scalar> for Cap {
    fn from(value: &Scalar) -> Self {
        match value.number() {
            Some(number) if number.is_negative => Self::Unlimited,
            Some(number) => Self::Tokens(number.magnitude),
            None => Self::Absent,
        }
    }
}

/// Where a cap is put if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapPlace {
    pub(in crate::rate_limiting) section: &'static Section,
    pub(in crate::rate_limiting) name: &'static str,
}

impl CapPlace {
    /// The member that caps an answer of this API and model; `None` if none is known.
    pub fn of(api: Api, model: Option<&str>) -> Option<Self> {
        let model = model.unwrap_or_default();
        let (section, name) = match api {
            Api::OpenAiChat if reasons(model) => (&TOP, "max_completion_tokens"),
            Api::OpenAiChat | Api::OpenAiCompletions | Api::Anthropic | Api::Cohere => {
                (&TOP, "max_tokens")
            }
            Api::OpenAiResponses => (&TOP, "max_output_tokens"),
            Api::Gemini => (&GENERATION_CONFIG, "maxOutputTokens"),
            Api::BedrockConverse => (&INFERENCE_CONFIG, "maxTokens"),
            Api::Ollama => (&OPTIONS, "num_predict"),
            Api::BedrockInvoke => {
                let by = |vendor| model.contains(vendor);
                if by("anthropic.") || by("mistral.") || by("cohere.") {
                    (&TOP, "max_tokens")
                } else if by("meta.") {
                    (&TOP, "max_gen_len")
                } else if by("amazon.nova") {
                    (&INFERENCE_CONFIG, "maxTokens")
                } else if by("amazon.titan") {
                    (&TEXT_GENERATION_CONFIG, "maxTokenCount")
                } else {
                    return None;
                }
            }
            Api::OpenAiEmbeddings | Api::Unknown => return None,
        };
        Some(Self { section, name })
    }

    /// The name under which a missing section is added.
    pub(in crate::rate_limiting) fn section_name(self) -> Option<&'static str> {
        self.section.names.first().copied()
    }
}

/// Whether OpenAI refuses `max_tokens` for a model: those that reason know only `max_completion_tokens`.
fn reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let name = name.strip_prefix("ft:").unwrap_or(name);
    let mut letters = name.chars();
    let is_o_series =
        letters.next() == Some('o') && letters.next().is_some_and(|c| c.is_ascii_digit());
    is_o_series || name.starts_with("gpt-5")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_cap_has_the_name_that_the_api_knows() {
        let name = |api, model| CapPlace::of(api, Some(model)).map(|place| place.name);
        for model in [
            "o1",
            "o3-mini",
            "gpt-5",
            "openai/gpt-5.1",
            "ft:o4-mini:acme",
        ] {
            assert_eq!(
                name(Api::OpenAiChat, model),
                Some("max_completion_tokens"),
                "{model}"
            );
        }
        for model in ["gpt-4o", "olmo-2", "mistral-large", "", "ö"] {
            assert_eq!(name(Api::OpenAiChat, model), Some("max_tokens"), "{model}");
        }
        assert_eq!(
            name(Api::BedrockInvoke, "us.meta.llama3-70b-instruct-v1:0"),
            Some("max_gen_len")
        );
        assert_eq!(name(Api::BedrockInvoke, "unheard.of"), None);
        assert_eq!(name(Api::OpenAiEmbeddings, "gpt-5"), None);
    }
}

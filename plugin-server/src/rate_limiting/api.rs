//! Whose API a request speaks: by its path, else by the shape of its body.
//!
//! # Model
//!
//! A path is known by its last segments, so a gateway may put any prefix before them:
//!
//! | path | API |
//! |---|---|
//! | `…/chat/completions` | [`Api::OpenAiChat`] |
//! | `…/completions` | [`Api::OpenAiCompletions`] |
//! | `…/responses` | [`Api::OpenAiResponses`] |
//! | `…/embeddings` | [`Api::OpenAiEmbeddings`] |
//! | `…/v1/messages`, `…/v1/messages/count_tokens`, `…:rawPredict`, `…:streamRawPredict` | [`Api::Anthropic`] |
//! | `…:generateContent`, `…:streamGenerateContent`, `…:countTokens`, `…:embedContent`, `…:batchEmbedContents` | [`Api::Gemini`] |
//! | `…/model/{id}/converse`, `…/converse-stream` | [`Api::BedrockConverse`] |
//! | `…/model/{id}/invoke`, `…/invoke-with-response-stream` | [`Api::BedrockInvoke`] |
//! | `…/v2/chat`, `…/v2/embed` | [`Api::Cohere`] |
//! | `…/api/chat`, `…/api/generate`, `…/api/embed` | [`Api::Ollama`] |
//!
//! Gemini, Bedrock and Azure's `…/deployments/{id}/…` name the model in the path. There the path alone decides, and a `model` in the
//! body is nothing to the provider: so it is nothing here.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// An API that generates or embeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Api {
    /// OpenAI's chat completions, and the many servers that speak them.
    OpenAiChat,
    /// OpenAI's older completions of a `prompt`.
    OpenAiCompletions,
    /// OpenAI's responses to an `input`.
    OpenAiResponses,
    /// OpenAI's embeddings.
    OpenAiEmbeddings,
    /// Anthropic's messages.
    Anthropic,
    /// Google's Gemini, also on Vertex AI.
    Gemini,
    /// Bedrock's converse: one shape for every model.
    BedrockConverse,
    /// Bedrock's invoke: the shape is the model's own.
    BedrockInvoke,
    /// Cohere, version 2.
    Cohere,
    /// Ollama's own API.
    Ollama,
    /// None that is known.
    #[default]
    Unknown,
}

impl Api {
    /// The API at a path, if the path says.
    pub fn of_path(path: &str) -> Option<Self> {
        Address::of(path).map(|address| address.api)
    }

    /// Whether a stream reports its usage only if `stream_options.include_usage` asks for it.
    pub const fn reports_stream_usage_on_request(self) -> bool {
        matches!(self, Self::OpenAiChat | Self::OpenAiCompletions)
    }
}

/// What a path says about the request that is sent to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whose API it is.
    pub api: Api,
    /// The model, percent-decoded, if it is named in the path.
    pub model: Option<String>,
    /// Whether the answer is streamed, if the path decides.
    pub stream: Option<bool>,
    /// Whether anything is generated: embeddings and counting generate nothing.
    pub generates: bool,
}

impl Address {
    fn plain(api: Api) -> Self {
        Self {
            api,
            model: None,
            stream: None,
            generates: true,
        }
    }

    fn silent(api: Api) -> Self {
        Self {
            stream: Some(false),
            generates: false,
            ..Self::plain(api)
        }
    }

    /// Reads a path, with or without its query; `None` if it is of no known API.
    pub fn of(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let segments: Vec<Cow<'_, str>> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy())
            .collect();
        let (last, before) = segments.split_last()?;
        let parent = before.last().map_or("", |parent| &**parent);
        let openai = |api| Self {
            model: azure_deployment(before),
            ..Self::plain(api)
        };
        Some(match (parent, &**last) {
            ("chat", "completions") => openai(Api::OpenAiChat),
            (_, "completions") => openai(Api::OpenAiCompletions),
            (_, "responses") => openai(Api::OpenAiResponses),
            (_, "embeddings") => Self {
                model: azure_deployment(before),
                ..Self::silent(Api::OpenAiEmbeddings)
            },
            ("v1", "messages") => Self::plain(Api::Anthropic),
            ("messages", "count_tokens") => Self::silent(Api::Anthropic),
            ("v2", "chat") => Self::plain(Api::Cohere),
            ("v2", "embed") => Self::silent(Api::Cohere),
            ("api", "chat" | "generate") => Self::plain(Api::Ollama),
            ("api", "embed") => Self::silent(Api::Ollama),
            (_, verb) => return bedrock(verb, before).or_else(|| google(last)),
        })
    }
}

/// The deployment in `…/deployments/{id}/…`, which Azure's models are called by.
fn azure_deployment(before: &[Cow<'_, str>]) -> Option<String> {
    let at = before.iter().position(|segment| segment == "deployments")?;
    before.get(at + 1).map(ToString::to_string)
}

fn bedrock(verb: &str, before: &[Cow<'_, str>]) -> Option<Address> {
    let (api, stream) = match verb {
        "converse" => (Api::BedrockConverse, false),
        "converse-stream" => (Api::BedrockConverse, true),
        "invoke" => (Api::BedrockInvoke, false),
        "invoke-with-response-stream" => (Api::BedrockInvoke, true),
        _ => return None,
    };
    // An ARN has slashes, which a proxy may have decoded already.
    let model = before.iter().position(|segment| segment == "model")? + 1;
    let model = before[model..].join("/");
    Some(Address {
        model: (!model.is_empty()).then_some(model),
        stream: Some(stream),
        ..Address::plain(api)
    })
}

fn google(last: &str) -> Option<Address> {
    let (model, action) = last.rsplit_once(':')?;
    let (api, stream, generates) = match action {
        "generateContent" => (Api::Gemini, false, true),
        "streamGenerateContent" => (Api::Gemini, true, true),
        "countTokens" | "embedContent" | "batchEmbedContents" => (Api::Gemini, false, false),
        "rawPredict" => (Api::Anthropic, false, true),
        "streamRawPredict" => (Api::Anthropic, true, true),
        _ => return None,
    };
    let model = model.rsplit('/').next().unwrap_or(model);
    Some(Address {
        api,
        model: (!model.is_empty()).then(|| model.to_owned()),
        stream: Some(stream),
        generates,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_by_its_end_whatever_its_prefix() {
        for (path, api) in [
            ("/v1/chat/completions", Api::OpenAiChat),
            ("/team/llm/v1/chat/completions?x=1", Api::OpenAiChat),
            ("/api/v1/chat/completions/", Api::OpenAiChat),
            ("/v1/completions", Api::OpenAiCompletions),
            ("/v1/responses", Api::OpenAiResponses),
            ("/v1/embeddings", Api::OpenAiEmbeddings),
            ("/anthropic/v1/messages", Api::Anthropic),
            ("/v1/messages/count_tokens", Api::Anthropic),
            ("/v2/chat", Api::Cohere),
            ("/ollama/api/chat", Api::Ollama),
            ("/api/generate", Api::Ollama),
        ] {
            assert_eq!(Api::of_path(path), Some(api), "{path}");
        }
        for path in [
            "",
            "/",
            "/v1/threads/t/messages",
            "/chat",
            "/v1/models",
            "/converse",
            "/v1/x:predict",
            "%",
        ] {
            assert_eq!(Api::of_path(path), None, "{path}");
        }
    }

    #[test]
    fn the_model_in_a_path_is_decoded() {
        let address = |path| Address::of(path).unwrap();
        for (path, api, model, stream) in [
            (
                "/v1beta/models/gemini-2.5-pro:generateContent",
                Api::Gemini,
                "gemini-2.5-pro",
                false,
            ),
            (
                "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
                Api::Gemini,
                "gemini-2.5-flash",
                true,
            ),
            (
                "/v1beta/models/gemini%2D2.5-pro%3AgenerateContent",
                Api::Gemini,
                "gemini-2.5-pro",
                false,
            ),
            (
                "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4@20250514:streamRawPredict",
                Api::Anthropic,
                "claude-sonnet-4@20250514",
                true,
            ),
            (
                "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse",
                Api::BedrockConverse,
                "anthropic.claude-3-5-sonnet-20241022-v2:0",
                false,
            ),
            (
                "/bedrock/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.amazon.nova-lite-v1%3A0/converse-stream",
                Api::BedrockConverse,
                "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-lite-v1:0",
                true,
            ),
            (
                "/model/arn:aws:bedrock:r:1:inference-profile/us.x/invoke-with-response-stream",
                Api::BedrockInvoke,
                "arn:aws:bedrock:r:1:inference-profile/us.x",
                true,
            ),
        ] {
            let expected = Address {
                api,
                model: Some(model.to_owned()),
                stream: Some(stream),
                generates: true,
            };
            assert_eq!(address(path), expected, "{path}");
        }
        let azure = address("/openai/deployments/prod-chat/chat/completions?api-version=1");
        assert_eq!(azure.model.as_deref(), Some("prod-chat"));
        assert!(!address("/v1beta/models/text-embedding-004:embedContent").generates);
    }
}

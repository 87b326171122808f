//! The one pass over a body: its members, each read by its kind.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::Request;
use super::caps::{Cap, Section, TOP};
use super::collect::Collect;
use super::scalar::{ReadMembers, ReadScalar, Scalar};
use crate::rate_limiting::api::{Address, Api};

/// Tokens that open the answer to a chat.
const TOKENS_PER_CHAT: u64 = 3;

pub(super) fn read(path: Option<&str>, body: &[u8]) -> Option<Request> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut body = Body::default();
    json.deserialize_map(&mut body).ok()?;
    json.end().ok()?;
    Some(body.finish(path.and_then(Address::of)))
}

#[derive(Default)]
struct Body {
    request: Request,
    stream: Option<bool>,
    signs: Signs,
}

/// What tells one API's bodies from another's.
#[derive(Default)]
struct Signs {
    messages: bool,
    prompt: bool,
    input: bool,
    contents: bool,
    gemini_embedding: bool,
    anthropic: bool,
    bedrock_converse: bool,
    bedrock_invoke: bool,
    cohere: bool,
    ollama: bool,
    embedding_option: bool,
    generation_option: bool,
}

impl Signs {
    fn api(&self, embeds: bool) -> Api {
        if self.contents || self.gemini_embedding {
            Api::Gemini
        } else if self.bedrock_converse {
            Api::BedrockConverse
        } else if self.bedrock_invoke {
            Api::BedrockInvoke
        } else if self.ollama {
            Api::Ollama
        } else if self.messages && self.anthropic {
            Api::Anthropic
        } else if self.cohere {
            Api::Cohere
        } else if self.messages {
            Api::OpenAiChat
        } else if self.prompt {
            Api::OpenAiCompletions
        } else if self.input && embeds {
            Api::OpenAiEmbeddings
        } else if self.input {
            Api::OpenAiResponses
        } else {
            Api::Unknown
        }
    }

    /// Whether there is nothing but what could be an embedding's input.
    fn only_input(&self) -> bool {
        self.input && !self.messages && !self.prompt && !self.contents
    }
}

impl Body {
    fn finish(self, address: Option<Address>) -> Request {
        let Self {
            mut request,
            stream,
            signs,
        } = self;
        if let Some(model) = address.as_ref().and_then(|address| address.model.clone()) {
            request.model = Some(model);
        }
        let model_embeds = request
            .model
            .as_ref()
            .is_some_and(|model| model.to_ascii_lowercase().contains("embed"));
        let embeds = signs.only_input()
            && !signs.generation_option
            && (model_embeds || signs.embedding_option);
        request.api = address
            .as_ref()
            .map_or_else(|| signs.api(embeds), |address| address.api);
        let only_embeds = match request.api {
            Api::OpenAiEmbeddings => true,
            Api::Gemini => signs.gemini_embedding && !signs.contents,
            Api::BedrockInvoke | Api::Cohere | Api::Ollama => embeds,
            _ => false,
        };
        request.generates =
            !only_embeds && address.as_ref().is_none_or(|address| address.generates);
        request.stream = address
            .and_then(|address| address.stream)
            .or(stream)
            .unwrap_or(request.api == Api::Ollama);
        request.legible = signs.messages
            || signs.prompt
            || signs.input
            || signs.contents
            || signs.gemini_embedding;
        request.choices = request.choices.max(1);
        request
    }
}

impl<'de> Visitor<'de> for &mut Body {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut options = false;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let Body {
                request,
                stream,
                signs,
            } = &mut *self;
            match &*key {
                "model" => {
                    if let Scalar::Text(model) = map.next_value_seed(ReadScalar)? {
                        request.model = Some(model);
                    }
                }
                "messages" => {
                    signs.messages = true;
                    request.prompt.add_tokens(TOKENS_PER_CHAT);
                    map.next_value_seed(Collect::turns(&mut request.prompt))?;
                }
                "contents" => {
                    signs.contents = true;
                    map.next_value_seed(Collect::turns(&mut request.prompt))?;
                }
                "content" | "requests" => {
                    signs.gemini_embedding = true;
                    map.next_value_seed(Collect::turns(&mut request.prompt))?;
                }
                "prompt" => {
                    signs.prompt = true;
                    map.next_value_seed(Collect::turns(&mut request.prompt))?;
                }
                "input" | "inputText" | "texts" => {
                    signs.input = true;
                    signs.bedrock_invoke |= key == "inputText";
                    signs.cohere |= key == "texts";
                    map.next_value_seed(Collect::turns(&mut request.prompt))?;
                }
                "system" | "systemInstruction" | "system_instruction" => {
                    signs.anthropic |= key == "system";
                    map.next_value_seed(Collect::content(&mut request.prompt))?;
                }
                "instructions" | "suffix" | "tools" | "functions" | "response_format" | "text"
                | "toolConfig" | "documents" => {
                    signs.bedrock_converse |= key == "toolConfig";
                    map.next_value_seed(Collect::text(&mut request.prompt))?;
                }
                "images" => map.next_value_seed(Collect::images(&mut request.prompt))?,
                "stream" => {
                    signs.generation_option = true;
                    if let Scalar::Bool(streams) = map.next_value_seed(ReadScalar)? {
                        *stream = Some(streams | stream.unwrap_or(false));
                    }
                }
                "stream_options" => {
                    let mut includes = false;
                    map.next_value_seed(ReadMembers(|name: &str, value: &Scalar| {
                        includes |= name == "include_usage" && *value == Scalar::Bool(true);
                    }))?;
                    // Which of two counts is for the provider to say: usage is certain only if all ask for it.
                    request.include_usage = includes && (request.include_usage || !options);
                    options = true;
                }
                "anthropic_version" => {
                    signs.anthropic = true;
                    let version = map.next_value_seed(ReadScalar)?;
                    signs.bedrock_invoke |=
                        matches!(version, Scalar::Text(version) if version.starts_with("bedrock"));
                }
                name if TOP.is_cap(name) || TOP.is_choices(name) => {
                    signs.generation_option |= name == "max_output_tokens";
                    signs.bedrock_invoke |= name == "max_gen_len";
                    let value = map.next_value_seed(ReadScalar)?;
                    note(request, &TOP, name, &value);
                }
                name => {
                    signs.note(name);
                    if let Some(section) = Section::named(name) {
                        map.next_value_seed(ReadMembers(|name: &str, value: &Scalar| {
                            note(request, section, name, value);
                        }))?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Signs {
    /// Notes a member that says something by being there.
    fn note(&mut self, name: &str) {
        match name {
            "stop_sequences" | "thinking" => self.anthropic = true,
            "inferenceConfig" | "additionalModelRequestFields" => self.bedrock_converse = true,
            "textGenerationConfig" => self.bedrock_invoke = true,
            "options" | "keep_alive" => self.ollama = true,
            "safety_mode" | "citation_options" => self.cohere = true,
            "dimensions" | "encoding_format" | "input_type" => self.embedding_option = true,
            _ => {}
        }
    }
}

/// Notes a cap or a number of choices.
fn note(request: &mut Request, section: &Section, name: &str, value: &Scalar) {
    if section.is_cap(name) {
        match Cap::from(value) {
            Cap::Tokens(tokens) => request.output_cap = request.output_cap.max(Some(tokens)),
            Cap::Unlimited => request.unlimited = true,
            Cap::Absent => {}
        }
    } else if section.is_choices(name) {
        request.choices = request.choices.max(value.count().unwrap_or(0));
    }
}

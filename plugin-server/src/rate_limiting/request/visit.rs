//! The one pass over a body: serde visitors that collect, each for one kind of value.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Prompt, Request, Shape};

/// Tokens that OpenAI adds for each message of a chat, its role included.
const TOKENS_PER_MESSAGE: u64 = 4;
/// Tokens that OpenAI adds for a participant's name.
const TOKENS_PER_NAME: u64 = 1;
/// Tokens that open the answer to a chat.
const TOKENS_PER_CHAT: u64 = 3;
/// The price of an image: what OpenAI's tile models charge for one of 1024 × 1024 in high detail.
const TOKENS_PER_IMAGE: u64 = 765;
/// Base64 bytes of audio or of a file to a token: a rule of thumb that settling corrects.
const MEDIA_BYTES_PER_TOKEN: u64 = 64;

pub(super) fn read(body: &[u8]) -> Option<Request> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut body = Body::default();
    json.deserialize_map(&mut body).ok()?;
    json.end().ok()?;
    Some(body.finish())
}

#[derive(Default)]
struct Body {
    request: Request,
    chat_or_completion: bool,
    input: bool,
    embedding_option: bool,
    generation_option: bool,
}

impl Body {
    fn finish(self) -> Request {
        let mut request = self.request;
        let embeds = request
            .model
            .as_ref()
            .is_some_and(|model| model.to_ascii_lowercase().contains("embed"));
        request.shape = if self.chat_or_completion {
            Shape::Generation
        } else if !self.input {
            Shape::Unknown
        } else if !self.generation_option && (embeds || self.embedding_option) {
            Shape::Embedding
        } else {
            Shape::Generation
        };
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
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let request = &mut self.request;
            match &*key {
                "model" => {
                    if let Scalar::Text(model) = map.next_value_seed(ReadScalar)? {
                        request.model = Some(model);
                    }
                }
                "messages" => {
                    self.chat_or_completion = true;
                    request.prompt.add_tokens(TOKENS_PER_CHAT);
                    map.next_value_seed(Collect::messages(&mut request.prompt))?;
                }
                "prompt" => {
                    self.chat_or_completion = true;
                    map.next_value_seed(Collect::input(&mut request.prompt))?;
                }
                "input" => {
                    self.input = true;
                    map.next_value_seed(Collect::input(&mut request.prompt))?;
                }
                "instructions" | "system" | "suffix" | "tools" | "functions"
                | "response_format" | "text" => {
                    map.next_value_seed(Collect::text(&mut request.prompt))?;
                }
                "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                    self.generation_option |= key == "max_output_tokens";
                    let cap = map.next_value_seed(ReadScalar)?.count();
                    request.output_cap = request.output_cap.max(cap);
                }
                "n" | "best_of" => {
                    let choices = map.next_value_seed(ReadScalar)?.count();
                    request.choices = request.choices.max(choices.unwrap_or(0));
                }
                "stream" => {
                    self.generation_option = true;
                    request.stream |= map.next_value_seed(ReadScalar)? == Scalar::Bool(true);
                }
                "stream_options" => {
                    request.include_usage |= map.next_value_seed(ReadIncludeUsage)?;
                }
                "dimensions" | "encoding_format" => {
                    self.embedding_option = true;
                    map.next_value::<IgnoredAny>()?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A value that is expected to be no table; one that is, is skipped.
#[derive(Debug, PartialEq)]
enum Scalar {
    Bool(bool),
    Count(u64),
    Text(String),
    Other,
}

impl Scalar {
    /// A whole number, also in the spellings that lenient servers accept.
    fn count(&self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(*count),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Bool(_) | Self::Other => None,
        }
    }
}

struct ReadScalar;

impl<'de> DeserializeSeed<'de> for ReadScalar {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Scalar, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Count(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        if value < 0.0 {
            return Ok(Scalar::Other);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, which is what an absurd cap deserves"
        )]
        let count = value.ceil() as u64;
        Ok(Scalar::Count(count))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Scalar, A::Error> {
        IgnoredAny.visit_seq(seq)?;
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scalar, A::Error> {
        IgnoredAny.visit_map(map)?;
        Ok(Scalar::Other)
    }
}

/// Whether `stream_options` is a map whose `include_usage` is true.
struct ReadIncludeUsage;

impl<'de> DeserializeSeed<'de> for ReadIncludeUsage {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<bool, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadIncludeUsage {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map or null")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut include = false;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == "include_usage" {
                include = map.next_value_seed(ReadScalar)? == Scalar::Bool(true);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(include)
    }
}

/// How the tables on the way to a text are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All text counts, keys too: tools, schemas.
    Text,
    /// A list of messages, or one.
    Messages,
    /// A text, a list of texts, tokens or lists of tokens, or messages.
    Input,
    /// A text or a list of parts: the content of a message.
    Content,
    /// Encoded media: a token for so many bytes.
    Media,
}

/// Collects the text of any value into a prompt.
struct Collect<'p> {
    prompt: &'p mut Prompt,
    kind: Kind,
}

impl<'p> Collect<'p> {
    fn text(prompt: &'p mut Prompt) -> Self {
        Self {
            prompt,
            kind: Kind::Text,
        }
    }

    fn messages(prompt: &'p mut Prompt) -> Self {
        Self {
            prompt,
            kind: Kind::Messages,
        }
    }

    fn input(prompt: &'p mut Prompt) -> Self {
        Self {
            prompt,
            kind: Kind::Input,
        }
    }

    fn again(&mut self, kind: Kind) -> Collect<'_> {
        Collect {
            prompt: self.prompt,
            kind,
        }
    }

    fn number(&mut self) {
        // A number among texts is a token or so; a number in an input is exactly one.
        self.prompt.add_tokens(1);
    }
}

impl<'de> DeserializeSeed<'de> for Collect<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Collect<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(mut self, _: bool) -> Result<(), E> {
        self.number();
        Ok(())
    }

    fn visit_u64<E>(mut self, _: u64) -> Result<(), E> {
        self.number();
        Ok(())
    }

    fn visit_i64<E>(mut self, _: i64) -> Result<(), E> {
        self.number();
        Ok(())
    }

    fn visit_f64<E>(mut self, _: f64) -> Result<(), E> {
        self.number();
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.kind == Kind::Media {
            self.prompt
                .add_tokens((text.len() as u64).div_ceil(MEDIA_BYTES_PER_TOKEN));
        } else {
            self.prompt.push(text);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let kind = self.kind;
        while seq.next_element_seed(self.again(kind))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        if matches!(self.kind, Kind::Messages | Kind::Input) {
            self.prompt.add_tokens(TOKENS_PER_MESSAGE);
        }
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let kind = match (self.kind, &*key) {
                (Kind::Messages | Kind::Input, "role")
                | (Kind::Content | Kind::Messages | Kind::Input, "type") => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                (Kind::Content, "image_url" | "input_image" | "image") => {
                    self.prompt.add_tokens(TOKENS_PER_IMAGE);
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                (Kind::Media, _)
                | (
                    Kind::Content,
                    "input_audio" | "audio" | "file" | "file_data" | "video_url" | "source",
                ) => Kind::Media,
                (Kind::Messages | Kind::Input, "content") => Kind::Content,
                (Kind::Messages, "name") => {
                    self.prompt.add_tokens(TOKENS_PER_NAME);
                    Kind::Text
                }
                (Kind::Text, name) => {
                    self.prompt.push(name);
                    Kind::Text
                }
                _ => Kind::Text,
            };
            map.next_value_seed(self.again(kind))?;
        }
        Ok(())
    }
}

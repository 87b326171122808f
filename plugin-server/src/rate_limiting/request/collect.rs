//! Collecting what is priced of a prompt: its text, and what stands for more than text.
//!
//! # Prices
//!
//! | what | tokens |
//! |---|---|
//! | a turn of a conversation | 4 besides its text |
//! | a tool, its schema, a call and its result | their text, names of members included |
//! | an image for OpenAI or Ollama (`image_url`, `input_image`, `images`) | 765: one of 1024 × 1024 in high detail |
//! | an image for Anthropic or Bedrock (`source`, `image`) | 1,600: the largest that is not scaled down |
//! | an image for Gemini (`inlineData`, `fileData` of type `image/…`) | 1,032: four tiles of 258 |
//! | audio, video, a PDF, any other file that is sent along | one for 64 bytes of Base64 |
//! | a file that is plain text | one for 4 bytes |
//! | a file that is only named (a URL, an id) | 1,500: about a page |
//!
//! These are rules of thumb: the vendors' own formulas need the dimensions of an image and the pages of a file. What is wrong in
//! them is settled, and for vendors other than OpenAI also learned.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Prompt;
use super::media::{ReadMedia, TOKENS_PER_LARGE_IMAGE};
use super::scalar::{ReadScalar, Scalar};

/// Tokens that OpenAI adds for each message of a chat, its role included.
const TOKENS_PER_MESSAGE: u64 = 4;
/// Tokens that OpenAI adds for a participant's name.
const TOKENS_PER_NAME: u64 = 1;
/// The price of an image: what OpenAI's tile models charge for one of 1024 × 1024 in high detail.
const TOKENS_PER_IMAGE: u64 = 765;

/// How the tables on the way to a text are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All text counts, keys too: tools, schemas.
    Text,
    /// A text, a list of texts, tokens or lists of tokens, or turns of a conversation.
    Turns,
    /// A text or a list of parts: the content of a turn.
    Content,
    /// Images, each a text.
    Images,
}

/// Collects what is priced of any value into a prompt.
pub(super) struct Collect<'p> {
    prompt: &'p mut Prompt,
    kind: Kind,
}

impl<'p> Collect<'p> {
    fn new(prompt: &'p mut Prompt, kind: Kind) -> Self {
        Self { prompt, kind }
    }

    pub(super) fn text(prompt: &'p mut Prompt) -> Self {
        Self::new(prompt, Kind::Text)
    }

    pub(super) fn turns(prompt: &'p mut Prompt) -> Self {
        Self::new(prompt, Kind::Turns)
    }

    pub(super) fn content(prompt: &'p mut Prompt) -> Self {
        Self::new(prompt, Kind::Content)
    }

    pub(super) fn images(prompt: &'p mut Prompt) -> Self {
        Self::new(prompt, Kind::Images)
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
        match self.kind {
            Kind::Images => self.prompt.add_tokens(TOKENS_PER_IMAGE),
            Kind::Text | Kind::Turns | Kind::Content => self.prompt.push(text),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { prompt, kind } = self;
        while seq.next_element_seed(Collect::new(prompt, kind))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { prompt, kind } = self;
        match kind {
            Kind::Images => {
                prompt.add_tokens(TOKENS_PER_IMAGE);
                IgnoredAny.visit_map(map).map(drop)
            }
            Kind::Text => {
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    prompt.push(&name);
                    map.next_value_seed(Collect::text(prompt))?;
                }
                Ok(())
            }
            Kind::Turns => {
                prompt.add_tokens(TOKENS_PER_MESSAGE);
                part(prompt, map)
            }
            Kind::Content => part(prompt, map),
        }
    }
}

/// Reads a turn, or a part of its content: some put into one what others put into the other.
fn part<'de, A: MapAccess<'de>>(prompt: &mut Prompt, mut map: A) -> Result<(), A::Error> {
    let mut is_image = false;
    let mut source = None;
    while let Some(name) = map.next_key::<Cow<'de, str>>()? {
        match &*name {
            "type" => {
                is_image |= matches!(map.next_value_seed(ReadScalar)?, Scalar::Text(kind) if kind == "image");
            }
            // Not shown to the model.
            "role" | "id" | "status" | "cache_control" | "cachePoint" | "signature"
            | "thoughtSignature" | "thought_signature" => {
                map.next_value::<IgnoredAny>()?;
            }
            "content" | "parts" | "output" | "toolResult" => {
                map.next_value_seed(Collect::content(prompt))?;
            }
            "name" => {
                prompt.add_tokens(TOKENS_PER_NAME);
                map.next_value_seed(Collect::text(prompt))?;
            }
            "images" => map.next_value_seed(Collect::images(prompt))?,
            "image_url" | "input_image" => {
                prompt.add_tokens(TOKENS_PER_IMAGE);
                map.next_value::<IgnoredAny>()?;
            }
            "image" => {
                prompt.add_tokens(TOKENS_PER_LARGE_IMAGE);
                map.next_value::<IgnoredAny>()?;
            }
            "source" => source = Some(map.next_value_seed(ReadMedia(prompt))?),
            "input_audio" | "audio" | "file" | "file_data" | "fileData" | "inlineData"
            | "inline_data" | "document" | "video" | "video_url" | "encrypted_content" => {
                let media = map.next_value_seed(ReadMedia(prompt))?;
                prompt.add_tokens(media.tokens());
            }
            _ => map.next_value_seed(Collect::text(prompt))?,
        }
    }
    if let Some(source) = source {
        prompt.add_tokens(if is_image {
            TOKENS_PER_LARGE_IMAGE
        } else {
            source.tokens()
        });
    }
    Ok(())
}

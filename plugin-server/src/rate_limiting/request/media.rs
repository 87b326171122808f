//! Media: what a prompt carries besides text, priced by [its rules](super::collect).

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Prompt;
use super::collect::Collect;
use super::scalar::{ReadScalar, Scalar};
use crate::rate_limiting::estimate::BYTES_PER_TOKEN;

/// The price of an image for Anthropic's models: one that is not scaled down.
pub(super) const TOKENS_PER_LARGE_IMAGE: u64 = 1_600;
/// The price of an image for Gemini: one of 1024 × 1024 is four tiles.
const TOKENS_PER_TILED_IMAGE: u64 = 4 * 258;
/// The price of a file that is only named: about a page.
const TOKENS_PER_REFERENCE: u64 = 1_500;
/// Base64 bytes of audio, video or a file to a token.
const MEDIA_BYTES_PER_TOKEN: u64 = 64;

/// What is known of a medium.
#[derive(Default)]
pub(super) struct Media {
    encoded_bytes: u64,
    is_image: bool,
    is_text: bool,
    is_read: bool,
}

impl Media {
    pub(super) fn tokens(&self) -> u64 {
        if self.is_image {
            TOKENS_PER_TILED_IMAGE
        } else if self.is_text {
            self.encoded_bytes.div_ceil(BYTES_PER_TOKEN)
        } else if self.encoded_bytes > 0 || self.is_read {
            self.encoded_bytes.div_ceil(MEDIA_BYTES_PER_TOKEN)
        } else {
            TOKENS_PER_REFERENCE
        }
    }

    fn merge(&mut self, inner: &Self) {
        self.encoded_bytes = self.encoded_bytes.saturating_add(inner.encoded_bytes);
        self.is_image |= inner.is_image;
        self.is_text |= inner.is_text;
        self.is_read |= inner.is_read;
    }
}

/// Reads a medium: its data, or a table that has them. Text in it that is plain goes to the prompt.
pub(super) struct ReadMedia<'p>(pub(super) &'p mut Prompt);

impl<'de> DeserializeSeed<'de> for ReadMedia<'_> {
    type Value = Media;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Media, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadMedia<'_> {
    type Value = Media;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, data: &str) -> Result<Media, E> {
        Ok(Media {
            encoded_bytes: data.len() as u64,
            ..Media::default()
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Media, A::Error> {
        let Self(prompt) = self;
        let mut media = Media::default();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match &*name {
                "data" | "bytes" | "file_data" | "source" => {
                    media.merge(&map.next_value_seed(ReadMedia(prompt))?);
                }
                "text" | "content" => {
                    media.is_read = true;
                    map.next_value_seed(Collect::content(prompt))?;
                }
                "media_type" | "mimeType" | "mime_type" => {
                    if let Scalar::Text(kind) = map.next_value_seed(ReadScalar)? {
                        media.is_image |= kind.starts_with("image/");
                        media.is_text |= kind.starts_with("text/");
                    }
                }
                "url" => {
                    if let Scalar::Text(url) = map.next_value_seed(ReadScalar)?
                        && url.starts_with("data:")
                    {
                        media.encoded_bytes = media.encoded_bytes.saturating_add(url.len() as u64);
                    }
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(media)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Media, A::Error> {
        let Self(prompt) = self;
        let mut media = Media::default();
        while let Some(inner) = seq.next_element_seed(ReadMedia(&mut *prompt))? {
            media.merge(&inner);
        }
        Ok(media)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Media, E> {
        Ok(Media::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Media, E> {
        Ok(Media::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Media, E> {
        Ok(Media::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Media, E> {
        Ok(Media::default())
    }

    fn visit_unit<E>(self) -> Result<Media, E> {
        Ok(Media::default())
    }
}

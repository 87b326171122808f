//! The signed frame of a token: what it says about its own signature, before anybody looks at the payload.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Malformed, json, normalized_type};
use crate::jwt::algorithm::Algorithm;

/// The longest `kid` that is looked up, in bytes. A longer one names no key of ours.
const MAX_KID_BYTES: usize = 512;

/// A compact JWS whose form is right. Nobody has verified it.
#[derive(Debug)]
pub struct Jws<'a> {
    /// The algorithm that the header names.
    pub algorithm: Algorithm,
    /// The key that the header names.
    pub kid: Option<String>,
    /// The header's `typ`, lower-cased, without `application/`.
    pub typ: Option<String>,
    /// What the signature covers: header, dot, payload, as sent.
    pub signing_input: &'a str,
    /// The signature, as sent.
    pub signature: &'a str,
}

impl<'a> Jws<'a> {
    /// Takes `text` apart: the frame and the decoded payload, whatever that holds.
    ///
    /// # Errors
    ///
    /// See [`Malformed`]. `text` longer than `max_bytes` is refused before anything is decoded.
    pub fn parse(text: &'a [u8], max_bytes: usize) -> Result<(Self, Vec<u8>), Malformed> {
        Opened::parse(text, max_bytes).map(|opened| (opened.jws, opened.payload))
    }
}

/// A compact JWS with all that is in it.
pub(super) struct Opened<'a> {
    pub(super) jws: Jws<'a>,
    pub(super) header: Map<String, Value>,
    pub(super) payload: Vec<u8>,
}

impl<'a> Opened<'a> {
    pub(super) fn parse(text: &'a [u8], max_bytes: usize) -> Result<Self, Malformed> {
        if text.len() > max_bytes {
            return Err(Malformed::TooLong);
        }
        let text = std::str::from_utf8(text).map_err(|_| Malformed::Base64("token"))?;
        let (signing_input, signature) = text.rsplit_once('.').ok_or(Malformed::Parts)?;
        let (header, payload) = signing_input.split_once('.').ok_or(Malformed::Parts)?;
        if header.is_empty() || signature.is_empty() || payload.contains('.') {
            return Err(Malformed::Parts);
        }
        decode("signature", signature)?;
        let header = json::object(&decode("header", header)?)
            .map_err(|reason| Malformed::Json("header", reason))?;
        let payload = decode("payload", payload)?;

        for refused in ["crit", "b64", "zip", "enc"] {
            // No extension is understood here, so `crit` can only name what we must refuse (RFC 7515 §4.1.11);
            // `b64`, `zip` and `enc` change what the bytes mean.
            if header.contains_key(refused) {
                return Err(Malformed::Header(refused));
            }
        }
        let algorithm = text_member(&header, "alg")?
            .and_then(Algorithm::from_name)
            .ok_or(Malformed::Header("alg"))?;
        let kid = text_member(&header, "kid")?.map(str::to_owned);
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(Malformed::Header("kid"));
        }
        let typ = text_member(&header, "typ")?.map(normalized_type);
        let jws = Jws {
            algorithm,
            kid,
            typ,
            signing_input,
            signature,
        };
        Ok(Self {
            jws,
            header,
            payload,
        })
    }
}

fn text_member<'h>(
    header: &'h Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'h str>, Malformed> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Malformed::Header(name)),
    }
}

fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Malformed::Base64(part))
}

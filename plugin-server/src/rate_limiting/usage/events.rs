//! An answer's fragment as events: how it is framed, and the JSON objects that are whole in it.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::rewrite::value_end;
use super::members::{Backward, Forward, value_start};
use super::{Observed, frames};

/// How the events of an answer follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// One JSON object.
    Plain,
    /// Server-sent events.
    Sse,
    /// Objects one after another (NDJSON), or in an array.
    Objects,
    /// AWS's binary event stream.
    Frames,
    /// Something else.
    Unknown,
}

/// The newest first.
pub(super) type Events<'a> = Box<dyn Iterator<Item = Cow<'a, [u8]>> + 'a>;

impl Framing {
    /// What an answer's first bytes show.
    pub(super) fn of(answer: &Observed) -> Self {
        let start = answer.start();
        if frames::begins(start) {
            return Self::Frames;
        }
        let start = start.trim_ascii_start();
        match start.first() {
            Some(b'[') => Self::Objects,
            Some(b'{') if begins_lines(start) => Self::Objects,
            Some(b'{') => Self::Plain,
            _ if [&b"data:"[..], b"event:", b"id:", b"retry:", b":"]
                .iter()
                .any(|field| start.starts_with(field)) =>
            {
                Self::Sse
            }
            _ => Self::Unknown,
        }
    }

    /// Whether more than one event is to be expected.
    pub(super) fn is_stream(self) -> bool {
        matches!(self, Self::Sse | Self::Objects | Self::Frames)
    }
}

/// Whether the first line is an object by itself, and not the whole answer: more follow, or the object says that it is not the last.
fn begins_lines(start: &[u8]) -> bool {
    let Some(end) = value_end(start, 0) else {
        return false;
    };
    let (first, rest) = start.split_at(end);
    rest.trim_ascii_start().starts_with(b"{")
        || Forward::of(first)
            .into_iter()
            .flatten()
            .any(|member| member.name == b"done" && member.value == b"false")
}

/// The events of the end of an answer, from the newest. The one in which the fragment begins may come cut off at its start.
pub(super) fn newest_first(framing: Framing, answer: &Observed) -> Events<'_> {
    let tail = &answer.tail[..];
    match framing {
        Framing::Sse => Box::new(data(tail)),
        Framing::Plain => Box::new(std::iter::once(Cow::Borrowed(whole_objects(tail, answer)))),
        Framing::Objects => Box::new(objects(whole_objects(tail, answer))),
        Framing::Frames => Box::new(frames::payloads(tail).into_iter().rev().map(unwrapped)),
        Framing::Unknown => Box::new(std::iter::empty()),
    }
}

/// The first event of an answer; it may be cut off at its end.
pub(super) fn first(framing: Framing, answer: &Observed) -> Option<Cow<'_, [u8]>> {
    let start = answer.start();
    match framing {
        Framing::Sse => start
            .split(|&byte| byte == b'\n')
            .find_map(|line| line.strip_prefix(b"data:"))
            .map(Cow::Borrowed),
        Framing::Plain => Some(Cow::Borrowed(start)),
        Framing::Frames => frames::payloads(start)
            .into_iter()
            .map(unwrapped)
            .find(|event| Backward::of(event).is_some()),
        Framing::Objects | Framing::Unknown => None,
    }
}

/// What the `data` fields of server-sent events hold, from the last. No provider breaks an event into several.
fn data(fragment: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let mut lines = fragment.rsplit(|&byte| byte == b'\n').peekable();
    let mut last = true;
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let begins_fragment = lines.peek().is_none();
        let is_last = std::mem::take(&mut last);
        let event = line
            .strip_prefix(b"data:")
            .or(begins_fragment.then_some(line))
            .map(<[u8]>::trim_ascii)
            // A line without its end may go on.
            .filter(|event| !is_last || value_end(event, 0) == Some(event.len()));
        Some(event)
    })
    .flatten()
    .map(Cow::Borrowed)
}

/// Objects one after another, from the last.
fn objects(mut unread: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    std::iter::from_fn(move || {
        let between = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b']');
        let length = unread.iter().rposition(|byte| !between(byte))? + 1;
        if unread[length - 1] != b'}' {
            return None;
        }
        let start = value_start(&unread[..length]).unwrap_or(0);
        let event = &unread[start..length];
        unread = &unread[..start];
        Some(Cow::Borrowed(event))
    })
}

/// The fragment without an object that breaks off at its end. Only an object of a stream begins a line: those inside are indented.
fn whole_objects<'a>(fragment: &'a [u8], answer: &Observed) -> &'a [u8] {
    let fragment = fragment.trim_ascii_end();
    if answer.ended && matches!(fragment.last(), Some(b'}' | b']')) {
        return fragment;
    }
    let last = fragment
        .windows(2)
        .rposition(|window| window == b"\n{")
        .map(|newline| newline + 1)
        .or_else(|| {
            // Only of a whole answer is the first object known to begin where it seems to.
            let whole = answer.head.is_empty();
            whole
                .then(|| fragment.iter().position(|&byte| byte == b'{'))
                .flatten()
        });
    match last {
        Some(start) if value_end(fragment, start).is_some() => fragment,
        Some(start) => &fragment[..start],
        None => &[],
    }
}

/// The event of a frame. `InvokeModelWithResponseStream` wraps the model's own in Base64.
fn unwrapped(payload: &[u8]) -> Cow<'_, [u8]> {
    let wrapped = Forward::of(payload)
        .into_iter()
        .flatten()
        .find(|member| member.name == b"bytes")
        .and_then(|member| member.value.strip_prefix(b"\"")?.strip_suffix(b"\""))
        .and_then(|bytes| STANDARD.decode(bytes).ok());
    wrapped.map_or(Cow::Borrowed(payload), Cow::Owned)
}

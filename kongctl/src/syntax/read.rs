//! From a text to its tree: the parser's events joined with what stands between them.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::gaps::{self, Gaps, Remark};
use super::{Content, Document, Entry, File, Layout, Node, Scalar};
use crate::state::diagnostics::{Diagnostics, Place};
use crate::state::references::{hide_templates, is_kept, keep, show_templates};

/// Reads a text. What is wrong with it, the strict reader tells.
pub(crate) fn read(name: &str, text: &str, diagnostics: &mut Diagnostics) -> Option<File> {
    super::values(name, text, diagnostics)?;
    let text = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace("\r\n", "\n");
    let hidden = hide_templates(&text);
    let characters: Vec<char> = text.chars().collect();
    let mut events = Vec::new();
    for step in &mut Parser::new_from_str(&hidden) {
        // The strict reader has read it just now.
        events.push(step.ok()?);
    }
    let sources: Vec<Range<usize>> = events
        .iter()
        .map(|(event, span)| source_of(&characters, event, *span))
        .collect();
    let mut sorted = sources.clone();
    sorted.sort_by_key(|range| range.start);
    let mut builder = Builder {
        name,
        gaps: gaps::find(&characters, &sorted),
        characters: &characters,
        pending: Vec::new(),
        stack: Vec::new(),
        documents: Vec::new(),
    };
    for ((event, span), source) in events.iter().zip(sources) {
        builder.event(event, *span, source);
    }
    if builder.documents.is_empty() {
        builder.add(Node::default(), "");
        builder.end_document(characters.len());
    }
    Some(File {
        documents: builder.documents,
        starts_marked: text.trim_start().starts_with("---"),
    })
}

/// The characters of a scalar or alias, properties aside; empty for other events.
fn source_of(text: &[char], event: &Event<'_>, span: Span) -> Range<usize> {
    let start = span.start.index().min(text.len());
    let none = start..start;
    let (style, is_empty) = match event {
        Event::Scalar(value, style, ..) => {
            if value.is_empty() && *style == ScalarStyle::Plain {
                return none;
            }
            (*style, value.trim_matches('\n').is_empty())
        }
        Event::Alias(_) => {
            let length = text[start..]
                .iter()
                .position(|c| c.is_whitespace() || matches!(c, ',' | ']' | '}'));
            return start..length.map_or(text.len(), |length| start + length);
        }
        _ => return none,
    };
    let start = skip_properties(text, start);
    match style {
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
            start..end_of_quoted(text, start, style == ScalarStyle::DoubleQuoted)
        }
        ScalarStyle::Literal | ScalarStyle::Folded => {
            let start = start_of_block(text, span.start.index().min(text.len()));
            start..end_of_block(text, start, is_empty)
        }
        ScalarStyle::Plain => {
            let mut end = span.end.index().clamp(start, text.len());
            while end > start && text[end - 1].is_whitespace() {
                end -= 1;
            }
            start..end
        }
    }
}

/// A scalar's span may start at its anchor or tag.
fn skip_properties(text: &[char], mut start: usize) -> usize {
    while let Some(character) = text.get(start) {
        if matches!(character, '&' | '!') {
            while text.get(start).is_some_and(|c| !c.is_whitespace()) {
                start += 1;
            }
        } else if character.is_whitespace() {
            start += 1;
        } else {
            break;
        }
    }
    start
}

fn end_of_quoted(text: &[char], start: usize, double: bool) -> usize {
    let quote = if double { '"' } else { '\'' };
    let mut index = start + 1;
    while let Some(character) = text.get(index) {
        match character {
            // What a template quotes, it quotes for itself.
            '$' if text[index..].starts_with(&['$', '{', '{']) => {
                let close = text[index..]
                    .windows(2)
                    .take_while(|pair| pair[0] != '\n')
                    .position(|pair| pair == ['}', '}']);
                index += close.map_or(1, |close| close + 2);
                continue;
            }
            '\\' if double => index += 1,
            c if *c == quote => {
                if !double && text.get(index + 1) == Some(&'\'') {
                    index += 1;
                } else {
                    return index + 1;
                }
            }
            _ => {}
        }
        index += 1;
    }
    text.len()
}

fn line_start(text: &[char], index: usize) -> usize {
    text[..index]
        .iter()
        .rposition(|c| *c == '\n')
        .map_or(0, |index| index + 1)
}

/// Where `|` or `>` stands: a block's span may start with its content instead.
fn start_of_block(text: &[char], index: usize) -> usize {
    let mut end = index;
    loop {
        let start = line_start(text, end);
        let line_end = text[end..].iter().position(|c| *c == '\n');
        let line = &text[start..line_end.map_or(text.len(), |length| end + length)];
        let header = (0..line.len()).find(|at| {
            let after = line[at + 1..]
                .iter()
                .skip_while(|c| matches!(c, '+' | '-' | '1'..='9'));
            let after: Vec<&char> = after.skip_while(|c| c.is_whitespace()).collect();
            matches!(line[*at], '|' | '>')
                && (*at == 0 || line[at - 1].is_whitespace())
                && after.first().is_none_or(|c| **c == '#')
        });
        if let Some(header) = header
            && start + header <= index
        {
            return start + header;
        }
        if start == 0 {
            return index;
        }
        end = start - 1;
    }
}

/// A block goes on while its lines are blank or indented as its first.
fn end_of_block(text: &[char], start: usize, is_empty: bool) -> usize {
    let line_end = |from: usize| {
        let length = text[from..].iter().position(|c| *c == '\n');
        length.map_or(text.len(), |length| from + length + 1)
    };
    let line_start = line_start(text, start);
    let header_end = line_end(start);
    if is_empty {
        return header_end;
    }
    let explicit = text[start..header_end]
        .iter()
        .take_while(|c| **c != '#')
        .find_map(|c| c.to_digit(10));
    let mut indentation = None;
    let mut index = header_end;
    let mut end = header_end;
    while index < text.len() {
        let next = line_end(index);
        let line = &text[index..next];
        let spaces = line.iter().take_while(|c| **c == ' ').count();
        let blank = line.iter().all(|c| c.is_whitespace());
        if !blank {
            let parent = text[line_start..].iter().take_while(|c| **c == ' ').count();
            let least = *indentation.get_or_insert(match explicit {
                Some(_) => parent + 1,
                None => spaces,
            });
            if spaces < least || spaces == 0 && parent > 0 {
                break;
            }
            end = next;
        }
        index = next;
    }
    // Blank lines after `|+` belong to it.
    if text[start..header_end]
        .iter()
        .take_while(|c| **c != '#')
        .any(|c| *c == '+')
    {
        index
    } else {
        end
    }
}

struct Open {
    anchor: Option<String>,
    tag: Option<String>,
    place: Place,
    column: usize,
    flow: bool,
    /// Of a block, its first leaf takes them.
    before: Vec<String>,
    children: Children,
}

enum Children {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<Box<(Node, String)>>),
}

struct Builder<'a> {
    name: &'a str,
    gaps: Gaps,
    characters: &'a [char],
    /// Remarks in lines of their own that no value has taken yet.
    pending: Vec<Remark>,
    stack: Vec<Open>,
    documents: Vec<Document>,
}

impl Builder<'_> {
    fn event(&mut self, event: &Event<'_>, span: Span, source: Range<usize>) {
        let start = if source.is_empty() {
            span.start.index()
        } else {
            source.start
        };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.remarks_before(start);
                let mut node = self.node(*anchor > 0, tag.is_some(), span);
                node.before = self.take_pending();
                let written = &self.characters[source];
                let scalar = scalar(text, *style, written);
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
                    && matches!(scalar, Scalar::Text(_))
                {
                    node.after = comment_of_header(written);
                }
                node.content = Content::Scalar(scalar);
                self.add(node, text);
            }
            Event::Alias(_) => {
                self.remarks_before(start);
                let mut node = self.node(false, false, span);
                node.before = self.take_pending();
                let name: String = self.characters[source].iter().skip(1).collect();
                node.content = Content::Alias(name);
                self.add(node, "");
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(*anchor > 0, tag.is_some(), span, Children::List(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                let children = Children::Map(Vec::new(), None);
                self.open(*anchor > 0, tag.is_some(), span, children);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::DocumentEnd => self.end_document(span.start.index()),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
    }

    fn node(&mut self, anchored: bool, tagged: bool, span: Span) -> Node {
        Node {
            anchor: anchored.then(|| self.gaps.anchors.pop_front()).flatten(),
            tag: tagged.then(|| self.gaps.tags.pop_front()).flatten(),
            place: Some(self.place(span)),
            ..Node::default()
        }
    }

    fn place(&self, span: Span) -> Place {
        Place {
            file: self.name.into(),
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }

    /// Takes the remarks up to `index`: one behind a value is its own, the others wait.
    fn remarks_before(&mut self, index: usize) {
        while self
            .gaps
            .remarks
            .front()
            .is_some_and(|remark| remark.index < index)
        {
            let Some(remark) = self.gaps.remarks.pop_front() else {
                return;
            };
            match self.last_value() {
                Some(value) if !remark.own_line && value.after.is_none() => {
                    value.after = Some(remark.text);
                }
                _ => self.pending.push(remark),
            }
        }
    }

    /// The value, or the key, that was written last.
    fn last_value(&mut self) -> Option<&mut Node> {
        let open = self.stack.last_mut()?;
        match &mut open.children {
            Children::List(items) => items.last_mut(),
            Children::Map(_, Some(key)) => Some(&mut key.0),
            Children::Map(entries, None) => entries.last_mut().map(|entry| &mut entry.value),
        }
    }

    fn take_pending(&mut self) -> Vec<String> {
        self.pending.drain(..).map(|remark| remark.text).collect()
    }

    fn open(&mut self, anchored: bool, tagged: bool, span: Span, children: Children) {
        self.remarks_before(span.start.index());
        let node = self.node(anchored, tagged, span);
        // Behind its properties stands its bracket, or its first value.
        let start = skip_properties(self.characters, span.start.index());
        let line_start = line_start(self.characters, start);
        let mut column = start - line_start;
        let bracket = match children {
            Children::List(_) => '[',
            Children::Map(..) => '{',
        };
        let mut flow = self.characters.get(start) == Some(&bracket);
        // The parser starts a list that is not indented under its key behind its first dash.
        let under_key = matches!(
            self.stack.last(),
            Some(Open {
                children: Children::Map(_, Some(_)),
                ..
            })
        );
        let before = &self.characters[line_start..start];
        if under_key
            && bracket == '['
            && let Some(dash) = before.iter().position(|c| !c.is_whitespace())
            && before[dash] == '-'
        {
            flow = false;
            column = dash;
        }
        let before = if flow {
            self.take_pending()
        } else {
            Vec::new()
        };
        self.stack.push(Open {
            anchor: node.anchor,
            tag: node.tag,
            place: self.place(span),
            column,
            flow,
            before,
            children,
        });
    }

    fn close(&mut self, span: Span) {
        let end = span.start.index();
        self.remarks_before(end);
        let parent_column = self.stack.iter().rev().nth(1).map(|open| open.column);
        let Some(open) = self.stack.pop() else { return };
        let taken = if open.flow {
            self.pending.len()
        } else {
            // What is indented as its entries are follows the last of them.
            let belongs = |remark: &Remark| {
                remark.column >= open.column
                    && parent_column.is_none_or(|column| column < open.column)
            };
            let mut taken = 0;
            for (index, remark) in self.pending.iter().enumerate() {
                if remark.text.is_empty() {
                    continue;
                }
                if !belongs(remark) {
                    break;
                }
                taken = index + 1;
            }
            if parent_column.is_none() { 0 } else { taken }
        };
        let tail = self
            .pending
            .drain(..taken)
            .map(|remark| remark.text)
            .collect();
        let layout = Layout {
            flow: open.flow,
            tail,
        };
        let node = Node {
            before: open.before,
            after: None,
            anchor: open.anchor,
            tag: open.tag,
            content: match open.children {
                Children::List(items) => Content::List(items, layout),
                Children::Map(entries, _) => Content::Map(entries, layout),
            },
            place: Some(open.place),
        };
        self.add(node, "");
    }

    fn add(&mut self, mut node: Node, text: &str) {
        let Some(open) = self.stack.last_mut() else {
            self.documents.push(Document {
                head: Vec::new(),
                root: node,
                tail: Vec::new(),
            });
            return;
        };
        match &mut open.children {
            Children::List(items) => items.push(node),
            Children::Map(_, key @ None) => {
                *key = Some(Box::new((node, show_templates(text))));
            }
            Children::Map(entries, key) => {
                if let Some((mut key, name)) = key.take().map(|key| *key) {
                    // Between a key and its value there is no place of its own.
                    key.before.append(&mut node.before);
                    entries.push(Entry {
                        key,
                        name,
                        value: node,
                    });
                }
            }
        }
    }

    fn end_document(&mut self, index: usize) {
        // The remarks of the next document start behind its `---`.
        let end = index.saturating_sub(1).min(self.characters.len());
        let next = self.characters[end..]
            .windows(4)
            .position(|window| window[0] == '\n' && window[1..] == ['-', '-', '-']);
        let limit = next.map_or(usize::MAX, |offset| end + offset + 1);
        self.remarks_before(limit);
        let tail = self.take_pending();
        if let Some(document) = self.documents.last_mut() {
            document.tail = tail;
            split_head(document);
        }
    }
}

/// Comments that a blank line parts from the first value are the file's.
fn split_head(document: &mut Document) {
    let Some(first) = super::write::first_leaf(&mut document.root) else {
        return;
    };
    if let Some(last) = first.before.iter().rposition(String::is_empty) {
        document.head = first.before.drain(..=last).collect();
    }
}

fn scalar(text: &str, style: ScalarStyle, written: &[char]) -> Scalar {
    match style {
        ScalarStyle::Literal | ScalarStyle::Folded => {
            block(written).unwrap_or_else(|| Scalar::Text(shown_or_kept(text)))
        }
        // A plain text of several lines may look like another type in one.
        _ if written.contains(&'\n') => Scalar::Text(shown_or_kept(text)),
        _ => Scalar::Source(written.iter().collect()),
    }
}

/// The comment behind a block's `|` or `>`.
fn comment_of_header(written: &[char]) -> Option<String> {
    let header: String = written.iter().take_while(|c| **c != '\n').collect();
    let (_, comment) = header.split_once('#')?;
    Some(format!("#{}", comment.trim_end()))
}

fn shown_or_kept(text: &str) -> String {
    if is_kept(text) {
        keep(text, false)
    } else {
        show_templates(text)
    }
}

/// A block scalar by its lines; `None` where it has none, or where blank lines at its end or its first spaces count.
fn block(written: &[char]) -> Option<Scalar> {
    let text: String = written.iter().collect();
    let (header, body) = text.split_once('\n').unwrap_or((&text, ""));
    let indicators = header.split(" #").next().unwrap_or_default();
    let is_odd = |c: char| c.is_ascii_digit() || c == '+';
    if indicators.contains(is_odd) || body.trim().is_empty() {
        return None;
    }
    let body = body.strip_suffix('\n').unwrap_or(body);
    let lines: Vec<&str> = body.split('\n').collect();
    let indentation = lines
        .iter()
        .find(|line| !line.trim().is_empty())
        .map_or(0, |line| line.len() - line.trim_start_matches(' ').len());
    let lines = lines
        .iter()
        .map(|line| line.get(indentation..).unwrap_or_default().to_owned())
        .collect();
    Some(Scalar::Block(header.trim_end().to_owned(), lines))
}

//! From a tree to a text, in one layout: two spaces, lists under their key, one blank line at most, comments where they were.

use std::fmt::Write as _;

use super::{Content, Document, Entry, File, Layout, Node, Scalar};
use crate::output::yaml;

/// The longest line that a list in brackets or a map in braces may make.
const WIDEST_FLOW: usize = 120;
const STEP: usize = 2;

/// The file as text.
pub(crate) fn write(file: &File) -> String {
    let mut writer = Writer::default();
    for (index, document) in file.documents.iter().enumerate() {
        if index > 0 || file.starts_marked {
            writer.line(0, "---");
        }
        writer.document(document);
    }
    let mut out = writer.out;
    let length = out.trim_end_matches('\n').len();
    out.truncate(length);
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// The first value of a node in the text, which has the lines above all of it.
pub(super) fn first_leaf(node: &mut Node) -> Option<&mut Node> {
    match &node.content {
        Content::List(items, layout) if !layout.flow && !items.is_empty() => {
            let Content::List(items, _) = &mut node.content else {
                return None;
            };
            first_leaf(items.first_mut()?)
        }
        Content::Map(entries, layout) if !layout.flow && !entries.is_empty() => {
            let Content::Map(entries, _) = &mut node.content else {
                return None;
            };
            Some(&mut entries.first_mut()?.key)
        }
        _ => Some(node),
    }
}

/// The lines above a node and all that is in it before its first value.
fn leading(node: &Node) -> Vec<&String> {
    let mut lines: Vec<&String> = node.before.iter().collect();
    match &node.content {
        Content::List(items, _) if is_block(node) => {
            lines.extend(items.first().map(leading).unwrap_or_default());
        }
        Content::Map(entries, _) if is_block(node) => {
            lines.extend(
                entries
                    .first()
                    .into_iter()
                    .flat_map(|first| &first.key.before),
            );
        }
        _ => {}
    }
    lines
}

/// Is the node a list or map that takes lines of its own?
fn is_block(node: &Node) -> bool {
    let (empty, layout) = match &node.content {
        Content::List(items, layout) => (items.is_empty(), layout),
        Content::Map(entries, layout) => (entries.is_empty(), layout),
        Content::Alias(_) | Content::Scalar(_) => return false,
    };
    if empty {
        return false;
    }
    !layout.flow || has_comments(node, true) || flow(node).chars().count() > WIDEST_FLOW
}

/// Has anything in the node a comment? Those around it do not count.
fn has_comments(node: &Node, outermost: bool) -> bool {
    let says = |lines: &[String]| lines.iter().any(|line| !line.is_empty());
    if !outermost && (says(&node.before) || node.after.is_some()) {
        return true;
    }
    match &node.content {
        Content::List(items, layout) => {
            says(&layout.tail) || items.iter().any(|item| has_comments(item, false))
        }
        Content::Map(entries, layout) => {
            says(&layout.tail)
                || entries.iter().any(|entry| {
                    has_comments(&entry.key, false) || has_comments(&entry.value, false)
                })
        }
        Content::Alias(_) | Content::Scalar(_) => false,
    }
}

/// The node in one line.
pub(super) fn flow(node: &Node) -> String {
    let mut out = properties(node);
    if !out.is_empty() {
        out.push(' ');
    }
    match &node.content {
        Content::Alias(name) => {
            out.push('*');
            out.push_str(name);
        }
        Content::Scalar(Scalar::Source(source)) if source.is_empty() => out.push_str("null"),
        Content::Scalar(Scalar::Source(source)) => out.push_str(source),
        Content::Scalar(Scalar::Block(_, lines)) => {
            out.push_str(&yaml::scalar(&lines.join("\n"), 0, true));
        }
        Content::Scalar(Scalar::Text(text)) => out.push_str(&yaml::scalar(text, 0, true)),
        Content::List(items, _) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            let _ = write!(out, "[{}]", items.join(", "));
        }
        Content::Map(entries, _) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|entry| {
                    // An alias would take the colon for a part of its name.
                    let space = if matches!(entry.key.content, Content::Alias(_)) {
                        " "
                    } else {
                        ""
                    };
                    format!("{}{space}: {}", flow(&entry.key), flow(&entry.value))
                })
                .collect();
            let _ = write!(out, "{{{}}}", entries.join(", "));
        }
    }
    out
}

fn properties(node: &Node) -> String {
    let anchor = node.anchor.as_ref().map(|name| format!("&{name}"));
    let parts: Vec<String> = anchor.into_iter().chain(node.tag.clone()).collect();
    parts.join(" ")
}

#[derive(Default)]
struct Writer {
    out: String,
}

impl Writer {
    fn document(&mut self, document: &Document) {
        self.lines(&document.head, 0);
        let root = &document.root;
        self.lines(leading(root), 0);
        if is_block(root) {
            let properties = properties(root);
            if !properties.is_empty() {
                self.line(0, &properties);
            }
            self.children(root, 0, false);
            self.lines(&root.after, 0);
        } else {
            let mut text = flow(root);
            if matches!(&root.content, Content::Scalar(Scalar::Source(source)) if source.is_empty())
            {
                text.clear();
            }
            if !text.is_empty() {
                self.line(0, &text);
                self.comment_behind(root.after.as_deref());
            }
        }
        self.lines(&document.tail, 0);
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.pad(indent);
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn pad(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    /// Comments and blank lines: never two blank ones, none where the file starts.
    fn lines<'a>(&mut self, lines: impl IntoIterator<Item = &'a String>, indent: usize) {
        for line in lines {
            if !line.is_empty() {
                self.line(indent, line);
            } else if !self.out.is_empty() && !self.out.ends_with("\n\n") {
                self.out.push('\n');
            }
        }
    }

    /// Puts a comment behind the line that was written last.
    fn comment_behind(&mut self, comment: Option<&str>) {
        if let Some(comment) = comment
            && self.out.ends_with('\n')
        {
            self.out.pop();
            self.out.push_str("  ");
            self.out.push_str(comment);
            self.out.push('\n');
        }
    }

    /// The entries of a list or map. `inline`: the first goes on in the line of its dash.
    fn children(&mut self, node: &Node, indent: usize, inline: bool) {
        let layout = match &node.content {
            Content::List(items, layout) => {
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.lines(leading(item), indent);
                    }
                    if index > 0 || !inline {
                        self.pad(indent);
                    }
                    self.item(item, indent);
                }
                layout
            }
            Content::Map(entries, layout) => {
                for (index, entry) in entries.iter().enumerate() {
                    if index > 0 {
                        self.lines(&entry.key.before, indent);
                    }
                    if index > 0 || !inline {
                        self.pad(indent);
                    }
                    self.entry(entry, indent);
                }
                layout
            }
            Content::Alias(_) | Content::Scalar(_) => return,
        };
        self.tail(layout, indent);
    }

    fn tail(&mut self, layout: &Layout, indent: usize) {
        let last = layout.tail.iter().rposition(|line| !line.is_empty());
        self.lines(
            layout.tail.iter().take(last.map_or(0, |last| last + 1)),
            indent,
        );
    }

    fn item(&mut self, item: &Node, indent: usize) {
        self.out.push('-');
        let properties = properties(item);
        if is_block(item) && properties.is_empty() && matches!(item.content, Content::Map(..)) {
            self.out.push(' ');
            self.children(item, indent + STEP, true);
            self.lines(&item.after, indent + STEP);
        } else if is_block(item) {
            self.space_and(&properties);
            self.out.push('\n');
            self.comment_behind(item.after.as_deref());
            self.children(item, indent + STEP, false);
        } else {
            self.scalar(item, indent, item.after.as_deref());
        }
    }

    fn entry(&mut self, entry: &Entry, indent: usize) {
        let Entry { key, value, .. } = entry;
        self.out.push_str(&flow(key));
        self.out.push(':');
        if is_block(value) {
            self.space_and(&properties(value));
            self.out.push('\n');
            // Brackets that end with a comment of their own end no line here.
            let (behind, below) = match &key.after {
                Some(comment) => (Some(comment), value.after.as_ref()),
                None => (value.after.as_ref(), None),
            };
            self.comment_behind(behind.map(String::as_str));
            let list = matches!(value.content, Content::List(..));
            let indent = if list { indent } else { indent + STEP };
            self.lines(leading(value), indent);
            self.children(value, indent, false);
            self.lines(below, indent);
        } else {
            let is_block = matches!(value.content, Content::Scalar(Scalar::Block(..)));
            let mut behind = value.after.as_deref();
            if key.after.is_some() && (behind.is_some() || is_block) {
                // Two comments take two lines.
                self.out.push('\n');
                self.comment_behind(key.after.as_deref());
                self.pad(indent + 1);
            } else {
                behind = behind.or(key.after.as_deref());
            }
            self.scalar(value, indent, behind);
        }
    }

    fn space_and(&mut self, text: &str) {
        if !text.is_empty() {
            self.out.push(' ');
            self.out.push_str(text);
        }
    }

    /// What follows a dash or a key in its line, with the comment behind it.
    fn scalar(&mut self, node: &Node, indent: usize, behind: Option<&str>) {
        let properties = properties(node);
        match &node.content {
            Content::Scalar(Scalar::Block(header, lines)) => {
                self.space_and(&properties);
                self.space_and(header);
                self.out.push('\n');
                for line in lines {
                    if line.is_empty() {
                        self.out.push('\n');
                    } else {
                        self.line(indent + STEP, line);
                    }
                }
            }
            Content::Scalar(Scalar::Source(source)) => {
                self.space_and(&properties);
                self.space_and(source);
                self.out.push('\n');
            }
            Content::Scalar(Scalar::Text(text)) => {
                self.space_and(&properties);
                // A comment behind a block would be a part of it.
                let one_line = behind.is_some();
                self.space_and(&yaml::scalar(text, indent, one_line));
                self.out.push('\n');
            }
            Content::Alias(_) | Content::List(..) | Content::Map(..) => {
                self.space_and(&flow(node));
                self.out.push('\n');
            }
        }
        self.comment_behind(behind);
    }
}

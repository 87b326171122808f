//! As much of PromQL as the dashboard and the alerts use: anything else is an error, not a guess.

/// Functions and aggregations.
const FUNCTIONS: [&str; 6] = [
    "sum",
    "min",
    "max",
    "rate",
    "increase",
    "histogram_quantile",
];
const OPERATORS: [&str; 2] = ["and", "unless"];

/// What a query selects and how it groups.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(crate) selectors: Vec<Selector>,
    /// The labels of all its `by`.
    pub(crate) grouped_by: Vec<String>,
}

/// A metric, and the values that its labels must have; each branch of an alternation is one.
#[derive(Debug)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matched: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// Without its quotes.
    Text(String),
    /// A number, or the time in brackets.
    Amount,
    Sign(char),
}

impl Query {
    pub(crate) fn parse(query: &str) -> Result<Self, String> {
        let tokens = tokens(query)?;
        let mut depth = 0_i32;
        for token in &tokens {
            match token {
                Token::Sign('(') => depth += 1,
                Token::Sign(')') => depth -= 1,
                _ => {}
            }
            if depth < 0 {
                break;
            }
        }
        if depth != 0 {
            return Err(format!("{query}: parentheses do not match"));
        }
        let mut parsed = Self::default();
        let mut rest = tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            rest = after;
            let Token::Word(word) = token else { continue };
            if word == "by" {
                let (labels, after) = list(rest, '(', ')')
                    .ok_or_else(|| format!("{query}: labels in parentheses follow `by`"))?;
                for label in labels.split(|token| *token == Token::Sign(',')) {
                    let [Token::Word(label)] = label else {
                        return Err(format!("{query}: `by` takes labels"));
                    };
                    parsed.grouped_by.push(label.clone());
                }
                rest = after;
            } else if FUNCTIONS.contains(&word.as_str()) || OPERATORS.contains(&word.as_str()) {
            } else if rest.first() == Some(&Token::Sign('(')) {
                return Err(format!("{word} is no function that is known here"));
            } else {
                let mut matched = Vec::new();
                if let Some((matchers, after)) = list(rest, '{', '}') {
                    for matcher in matchers.split(|token| *token == Token::Sign(',')) {
                        matched.extend(alternatives(matcher)?);
                    }
                    rest = after;
                }
                parsed.selectors.push(Selector {
                    metric: word.clone(),
                    matched,
                });
            }
        }
        if parsed.selectors.is_empty() {
            return Err(format!("{query}: no metric"));
        }
        Ok(parsed)
    }
}

/// The tokens between two signs, and those after them.
fn list(tokens: &[Token], open: char, close: char) -> Option<(&[Token], &[Token])> {
    let inner = tokens.strip_prefix(&[Token::Sign(open)])?;
    let end = inner
        .iter()
        .position(|token| *token == Token::Sign(close))?;
    Some((&inner[..end], &inner[end + 1..]))
}

fn alternatives(matcher: &[Token]) -> Result<Vec<(String, String)>, String> {
    let pair = |label: &String, value: &str| (label.clone(), value.to_owned());
    match matcher {
        [Token::Word(label), Token::Sign('='), Token::Text(value)] => Ok(vec![pair(label, value)]),
        [
            Token::Word(label),
            Token::Sign('='),
            Token::Sign('~'),
            Token::Text(values),
        ] => Ok(values.split('|').map(|value| pair(label, value)).collect()),
        _ => Err(format!(
            "{matcher:?}: a matcher is label=\"value\" or label=~\"one|two\""
        )),
    }
}

fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = |part: fn(char) -> bool| rest.find(|c| !part(c)).unwrap_or(rest.len());
        let (token, length) = match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                let length = end(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
                (Token::Word(rest[..length].to_owned()), length)
            }
            '0'..='9' => (
                Token::Amount,
                end(|c| c.is_ascii_alphanumeric() || c == '.'),
            ),
            '"' => {
                let text = rest[1..].split('"').next().unwrap_or_default();
                (Token::Text(text.to_owned()), text.len() + 2)
            }
            '[' => {
                let time = rest[1..].split(']').next().unwrap_or_default();
                let is_time = time == "$__rate_interval"
                    || time
                        .strip_suffix(['s', 'm', 'h'])
                        .is_some_and(|number| number.parse::<u32>().is_ok());
                if !is_time {
                    return Err(format!("{query}: [{time}] is no time"));
                }
                (Token::Amount, time.len() + 2)
            }
            '(' | ')' | '{' | '}' | ',' | '=' | '~' | '>' | '<' | '/' | '*' => {
                (Token::Sign(first), 1)
            }
            other => return Err(format!("{query}: {other:?} is not understood here")),
        };
        rest = rest
            .get(length..)
            .ok_or_else(|| format!("{query}: a text does not end"))?
            .trim_start();
        tokens.push(token);
    }
    Ok(tokens)
}

/// The labels that a legend or an annotation fills in: `{{label}}` or `{{ $labels.label }}`.
pub(crate) fn placeholders(text: &str) -> Vec<String> {
    text.split("{{")
        .skip(1)
        .filter_map(|rest| rest.split("}}").next())
        .map(|name| name.trim().trim_start_matches("$labels.").to_owned())
        .collect()
}

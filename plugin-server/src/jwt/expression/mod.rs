//! `expression`: one condition on claims and request in the Common Expression Language (CEL).
//!
//! # Model
//!
//! Three names are known: `claims`, the payload of the token; `method`, in capitals; `path`, as Kong normalizes it. The
//! token passes when the result is `true`; another result, or none (a claim that is absent, types that do not fit), is a
//! refusal.
//!
//! # Invariants
//!
//! 1. What is wrong with an expression whatever the token is found when the configuration loads: syntax, names,
//!    functions, nesting, cost.
//! 2. An evaluation takes at most `cost::BUDGET` steps. The interpreter cannot be stopped, so the cost is known
//!    before: `cost` bounds it by the weight of claims and request, and a heavier token is refused unevaluated.
//! 3. A refusal names members of the expression, never a claim's value.
//!
//! # Source
//!
//! <https://github.com/google/cel-spec/blob/master/doc/langdef.md>

mod cost;

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ExecutionError, Value as Cel};
use serde_json::Value;

use self::cost::{NotAllowed, allow, most_weight, weight};
use super::claims::Claims;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 2048;
/// How deep brackets may nest: parser and interpreter recurse.
const MAX_BRACKETS: usize = 16;

/// CEL's standard functions and macros, without optional values.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// A compiled expression. Equal texts are equal expressions.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    compiled: Arc<Compiled>,
}

struct Compiled {
    tree: cel::IdedExpr,
    most_weight: u64,
    reads_method: bool,
    reads_path: bool,
}

/// Why a text is not an expression that can be used: what, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct NotAnExpression {
    line: usize,
    column: usize,
    problem: String,
}

/// Why a token does not meet the expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// The result is `false`.
    #[error("it is false")]
    False,
    /// The result is neither `true` nor `false`.
    #[error("its result is no boolean")]
    NotBoolean,
    /// A member that the expression reads is not there.
    #[error("`{0}` is absent")]
    Absent(String),
    /// An operator or function does not take what the claims hold.
    #[error("`{0}` does not take values of these types")]
    Types(String),
    /// Another failure: an index beyond a list's end, an overflow, a number that is none.
    #[error("it cannot be computed from this token")]
    Failed,
    /// Claims and request are so large that it might take too long.
    #[error("the token is too large to evaluate it")]
    TooLarge,
}

/// What an expression reads beside the claims; empty where it does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestLine<'r> {
    /// The method, in capitals.
    pub method: &'r str,
    /// The path, normalized.
    pub path: &'r str,
}

impl Expression {
    /// Compiles `source`.
    ///
    /// # Errors
    ///
    /// When it has a mistake, reads what is not there, or could cost too much on an ordinary token.
    pub fn compile(source: &str) -> Result<Self, NotAnExpression> {
        let place = |offset: usize, problem: String| NotAnExpression::at(source, offset, problem);
        if source.len() > MAX_BYTES {
            let problem = format!("an expression has at most {MAX_BYTES} bytes");
            return Err(place(0, problem));
        }
        if let Some(offset) = too_deep(source) {
            let problem = format!("brackets nest at most {MAX_BRACKETS} deep");
            return Err(place(offset, problem));
        }
        let (tree, places) = ENVIRONMENT
            .parser()
            .parse_with_source_info(source)
            .map_err(|errors| NotAnExpression::of_parser(&errors))?;
        let reads = allow(&tree).map_err(|NotAllowed { node, problem }| {
            let offset = places.offset_for(node).map_or(0, |(start, _)| start);
            place(usize::try_from(offset).unwrap_or(0), problem)
        })?;
        let most_weight = most_weight(&tree).map_err(|problem| place(0, problem))?;
        Ok(Self {
            source: source.into(),
            compiled: Arc::new(Compiled {
                tree,
                most_weight,
                reads_method: reads.method,
                reads_path: reads.path,
            }),
        })
    }

    /// Whether the request's method matters.
    pub fn reads_method(&self) -> bool {
        self.compiled.reads_method
    }

    /// Whether the request's path matters.
    pub fn reads_path(&self) -> bool {
        self.compiled.reads_path
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    ///
    /// Unless the result is `true`.
    pub fn check(&self, claims: &Claims, request: RequestLine<'_>) -> Result<(), Unmet> {
        let RequestLine { method, path } = request;
        if weight(claims, &[method, path]) > self.compiled.most_weight {
            return Err(Unmet::TooLarge);
        }
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.add_variable_from_value("claims", to_map(claims));
        context.add_variable_from_value("method", method);
        context.add_variable_from_value("path", path);
        match Cel::resolve(&self.compiled.tree, &context) {
            Ok(Cel::Bool(true)) => Ok(()),
            Ok(Cel::Bool(false)) => Err(Unmet::False),
            Ok(_) => Err(Unmet::NotBoolean),
            Err(error) => Err(self.unmet(&error)),
        }
    }

    fn unmet(&self, error: &ExecutionError) -> Unmet {
        match error {
            // The key may be computed from claims: only what the expression itself says is repeated.
            ExecutionError::NoSuchKey(key) if self.source.contains(key.as_str()) => {
                Unmet::Absent(key.to_string())
            }
            ExecutionError::NoSuchKey(_) => Unmet::Absent("a member named by a claim".to_owned()),
            ExecutionError::NoSuchOverload(overload) => {
                Unmet::Types(cost::spelled(overload.function()).to_owned())
            }
            _ => Unmet::Failed,
        }
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

impl Hash for Expression {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Expression")
            .field(&self.source)
            .finish()
    }
}

impl NotAnExpression {
    /// `offset` counts characters of `source`.
    fn at(source: &str, offset: usize, problem: String) -> Self {
        let before: String = source.chars().take(offset).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Self {
            line,
            column,
            problem,
        }
    }

    fn of_parser(errors: &cel::ParseErrors) -> Self {
        let Some(first) = errors.errors.first() else {
            return Self::at("", 0, "not an expression".to_owned());
        };
        let (line, column) = first.pos;
        Self {
            line: usize::try_from(line).unwrap_or_default().max(1),
            column: usize::try_from(column).unwrap_or_default().max(1),
            problem: first.msg.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

/// Where brackets nest too deep, in characters. Brackets in string literals count too: a bound needs no exactness.
fn too_deep(source: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, character) in source.chars().enumerate() {
        match character {
            '(' | '[' | '{' | '?' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MAX_BRACKETS {
            return Some(at);
        }
    }
    None
}

fn to_map(claims: &Claims) -> Cel {
    let entries: HashMap<String, Cel> = claims
        .iter()
        .map(|(name, value)| (name.clone(), to_cel(value)))
        .collect();
    entries.into()
}

/// A claim as CEL sees it. A whole number is an `int` where it fits, so that arithmetic with literals works.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), ..) => Cel::Int(whole),
            (None, Some(whole), _) => Cel::UInt(whole),
            (None, None, fraction) => Cel::Float(fraction.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(list) => Cel::List(Arc::new(list.iter().map(to_cel).collect())),
        Value::Object(members) => to_map(members),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        match value {
            Value::Object(claims) => claims,
            other => panic!("not an object: {other}"),
        }
    }

    fn check(source: &str, value: Value) -> Result<(), Unmet> {
        let request = RequestLine {
            method: "POST",
            path: "/v1/chat/completions",
        };
        Expression::compile(source)
            .unwrap_or_else(|problem| panic!("{source}: {problem}"))
            .check(&claims(value), request)
    }

    fn problem(source: &str) -> String {
        Expression::compile(source)
            .expect_err("not an expression")
            .to_string()
    }

    #[test]
    fn claims_method_and_path_decide() {
        let member =
            json!({"groups": ["dev", "ml"], "org": {"tier": "gold"}, "level": 3, "ratio": 0.5});
        for source in [
            "'ml' in claims.groups",
            "claims.org.tier == 'gold' && claims.level >= 2",
            "claims.level + 1 == 4 && claims.ratio < 0.75",
            "method == 'POST' && path.startsWith('/v1/')",
            "claims.groups.exists(group, group == 'dev' || group == 'ops')",
            "claims.groups.all(group, size(group) < 10)",
            "claims.groups.filter(group, group.endsWith('v')) == ['dev']",
            "claims.groups.map(group, 'x-' + group).exists_one(name, name == 'x-ml')",
            "has(claims.org) && !has(claims.suspended)",
            "claims['org']['tier'].contains('ol')",
            "(has(claims.admin) ? claims.admin : false) || path == '/v1/chat/completions'",
            "{'gold': true}[claims.org.tier]",
        ] {
            assert_eq!(check(source, member.clone()), Ok(()), "{source}");
        }
    }

    #[test]
    fn anything_but_true_is_a_refusal_with_its_reason() {
        let value = || json!({"sub": "marker", "n": 1, "list": ["marker"], "marker": {}});
        for (source, reason) in [
            ("claims.n == 2", Unmet::False),
            ("claims.sub", Unmet::NotBoolean),
            ("claims.tier == 'gold'", Unmet::Absent("tier".into())),
            ("claims.n + 'a' == 'b'", Unmet::Types("+".into())),
            (
                "claims.n.startsWith('a')",
                Unmet::Types("startsWith".into()),
            ),
            ("claims.list[7] == 'a'", Unmet::Failed),
            ("claims.n / 0 == 1", Unmet::Failed),
            ("int(claims.sub) == 1", Unmet::Failed),
        ] {
            let unmet = check(source, value()).expect_err(source);
            // Some failures come as one kind or the other; what counts is that they say nothing.
            assert!(
                unmet == reason || matches!((&reason, &unmet), (Unmet::Types(_), Unmet::Failed)),
                "{source}: {unmet:?}"
            );
            assert!(!unmet.to_string().contains("marker"), "{source}: {unmet}");
        }
        let computed = check(
            "claims.marker_of[claims.sub] == 1",
            json!({"sub": "secret", "marker_of": {}}),
        );
        assert!(!computed.unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        assert!(
            problem("claims.sub ==").starts_with("line 1, column "),
            "{}",
            problem("claims.sub ==")
        );
        assert!(problem("claims.sub == 'a' &&\n  ) true").starts_with("line 2, column "));
        for (source, expected) in [
            ("claim.sub == 'a'", "line 1, column 1: `claim` is not known"),
            (
                "true &&\n headers.host == 'a'",
                "line 2, column 2: `headers` is not known",
            ),
            (
                "claims.sub.matches('a.*')",
                "column 19: there is no function `matches`",
            ),
            (
                "claims.list.exists(x, y == 1)",
                "column 23: `y` is not known",
            ),
            ("google.Type{a: 1}.a == 1", "no messages"),
        ] {
            assert!(
                problem(source).contains(expected),
                "{source}: {}",
                problem(source)
            );
        }
    }

    #[test]
    fn what_matters_of_the_request_is_known() {
        let reads = |source: &str| {
            let expression = Expression::compile(source).unwrap();
            (expression.reads_method(), expression.reads_path())
        };
        assert_eq!(reads("claims.method == claims.path"), (false, false));
        assert_eq!(reads("method == 'GET'"), (true, false));
        assert_eq!(
            reads("claims.paths.exists(p, path.startsWith(p))"),
            (false, true)
        );
    }

    #[test]
    fn a_token_that_would_take_too_long_is_refused_unevaluated() {
        let pairs = "claims.a.exists(x, claims.b.exists(y, x == y))";
        let list = |count: usize| (0..count).map(|at| json!(at)).collect::<Vec<_>>();
        assert_eq!(check(pairs, json!({"a": list(40), "b": list(40)})), Ok(()));
        let heavy = json!({"a": vec!["x"; 5000], "b": vec!["y"; 5000]});
        assert_eq!(check(pairs, heavy), Err(Unmet::TooLarge));
        let flat = json!({"a": list(2000)});
        assert_eq!(
            check("1999 in claims.a", flat),
            Ok(()),
            "a linear cost allows a large token"
        );
        let request = RequestLine {
            method: "GET",
            path: &"/a".repeat(10_000_000),
        };
        let expression = Expression::compile("path == '/'").unwrap();
        assert_eq!(
            expression.check(&claims(json!({})), request),
            Err(Unmet::TooLarge)
        );
    }

    #[test]
    fn an_expression_that_costs_too_much_on_any_token_is_a_mistake() {
        let nested = "claims.a.all(b, claims.a.all(c, claims.a.all(d, claims.a.all(e, b == e))))";
        assert!(
            problem(nested).contains("costs too much"),
            "{}",
            problem(nested)
        );
        let doubling = format!("claims.a{} == []", ".map(x, x + x)".repeat(40));
        assert!(
            problem(&doubling).contains("costs too much"),
            "{}",
            problem(&doubling)
        );
    }

    #[test]
    fn length_and_nesting_are_bounded_whatever_the_form() {
        let long = |part: &str| part.repeat(MAX_BYTES / part.len());
        for source in [
            long("("),
            long("["),
            long("{"),
            long("!"),
            long("-"),
            long("1+"),
            long("a."),
            long("a["),
            long("a?"),
            long("a?a:"),
            long("a&&"),
            long("a||"),
            long("a=="),
            long("a.b("),
            long("a in "),
            long("'"),
            long("\\"),
            format!("1{}", "+1".repeat(1000)),
            format!("claims{}", ".a".repeat(1000)),
            format!("{}true", "!".repeat(2000)),
            format!("{}true", "true && ".repeat(250)),
            format!("{}1", "-".repeat(2000)),
            format!("claims{}", "[0]".repeat(600)),
            format!("{}true", "true?true:".repeat(200)),
        ] {
            let _ = Expression::compile(&source);
        }
        assert!(problem(&"a".repeat(MAX_BYTES + 1)).contains("at most 2048 bytes"));
        assert!(problem(&"(".repeat(17)).contains("column 17: brackets nest at most 16 deep"));
        let conjunction = format!("{}true", "true && ".repeat(20));
        assert_eq!(check(&conjunction, json!({})), Ok(()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_compiler_panic(source in "[a-z.()\\[\\]{}!?:&|=<>+'\" 0-9-]{0,60}") {
            let _ = Expression::compile(&source);
        }
    }
}

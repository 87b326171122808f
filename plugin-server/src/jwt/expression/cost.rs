//! What an expression may use, and the most that it can cost.
//!
//! # Model
//!
//! A value's *size* is 1, plus 1 for each 16 bytes of text, plus the sizes of what lies within. The *weight* of a request is
//! the size of its claims and of its method and path: no value that an expression starts from is larger.
//!
//! A *step* is the visit of a node, or of one unit of size where a node goes through values (comparison, membership, `+`,
//! copying).
//!
//! # Algorithm
//!
//! From the leaves up, for a weight `w`: literals have their own size, the three names have size `w`; a node's result is at
//! most as large as all its parts together, and so is the work on it. A comprehension over a range of size `r` visits at
//! most `r` elements whose sizes sum up to `r`, so its body costs at most `r·body(1) + body(r)`: costs grow faster than
//! linearly or linearly, so one large element costs the most. Lists that a comprehension builds are copied at each element.
//! The cost rises with `w`, so the largest `w` within the budget is found once, by bisection.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue, operators};
use serde_json::Value;

use crate::jwt::claims::Claims;

/// The most steps of one evaluation.
pub(super) const BUDGET: u64 = 500_000;
/// The weight that an expression must be able to take: a token with some thirty short claims.
const LEAST_WEIGHT: u64 = 64;
/// The weight beyond which nothing is evaluated.
const HEAVIEST: u64 = 1 << 16;
/// How deep the tree may be: checks and interpreter recurse.
const MAX_DEPTH: usize = 48;
/// How deep comprehensions may nest.
const MAX_LOOPS: usize = 3;

/// What an expression reads of the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reads {
    pub(super) method: bool,
    pub(super) path: bool,
}

/// A node that may not be there.
#[derive(Debug)]
pub(super) struct NotAllowed {
    pub(super) node: u64,
    pub(super) problem: String,
}

/// Operators as the parser names them, and as they are written.
const OPERATORS: [(&str, &str); 19] = [
    (operators::CONDITIONAL, "?:"),
    (operators::LOGICAL_AND, "&&"),
    (operators::LOGICAL_OR, "||"),
    (operators::LOGICAL_NOT, "!"),
    (operators::SUBSTRACT, "-"),
    (operators::ADD, "+"),
    (operators::MULTIPLY, "*"),
    (operators::DIVIDE, "/"),
    (operators::MODULO, "%"),
    (operators::EQUALS, "=="),
    (operators::NOT_EQUALS, "!="),
    (operators::GREATER_EQUALS, ">="),
    (operators::LESS_EQUALS, "<="),
    (operators::GREATER, ">"),
    (operators::LESS, "<"),
    (operators::NEGATE, "-"),
    (operators::INDEX, "[]"),
    (operators::IN, "in"),
    (operators::NOT_STRICTLY_FALSE, "?"),
];

/// Functions whose work and result are at most linear in their arguments.
const FUNCTIONS: [&str; 9] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "uint",
    "double",
    "string",
    "bool",
];

/// Operators and functions whose result is a boolean or a number, however large what they look at.
const SCALAR: [&str; 19] = [
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::IN,
    operators::NOT_STRICTLY_FALSE,
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "uint",
    "double",
    "bool",
];

/// How the operator or function `name` is written.
pub(super) fn spelled(name: &str) -> &str {
    OPERATORS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(name, |(_, written)| written)
}

/// Whether every node is one that this module can price, and which of the request's parts they read.
pub(super) fn allow(tree: &IdedExpr) -> Result<Reads, NotAllowed> {
    let mut walk = Walk {
        names: Vec::new(),
        loops: 0,
        reads: Reads::default(),
    };
    walk.visit(tree, 0)?;
    Ok(walk.reads)
}

struct Walk<'e> {
    /// The variables of the comprehensions around.
    names: Vec<&'e str>,
    loops: usize,
    reads: Reads,
}

impl<'e> Walk<'e> {
    fn visit(&mut self, node: &'e IdedExpr, depth: usize) -> Result<(), NotAllowed> {
        let refuse = |problem: String| {
            Err(NotAllowed {
                node: node.id,
                problem,
            })
        };
        if depth > MAX_DEPTH {
            return refuse(format!("operations nest at most {MAX_DEPTH} deep"));
        }
        match &node.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => match name.as_str() {
                name if self.names.contains(&name) => Ok(()),
                "claims" => Ok(()),
                "method" => {
                    self.reads.method = true;
                    Ok(())
                }
                "path" => {
                    self.reads.path = true;
                    Ok(())
                }
                _ => refuse(format!(
                    "`{name}` is not known: there are claims, method and path"
                )),
            },
            Expr::Select(select) => self.visit(&select.operand, depth + 1),
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                if !OPERATORS.iter().any(|(known, _)| *known == name) && !FUNCTIONS.contains(&name)
                {
                    return refuse(format!(
                        "there is no function `{name}` here: there are {}",
                        FUNCTIONS.join(", ")
                    ));
                }
                call.target
                    .iter()
                    .map(|target| &**target)
                    .chain(&call.args)
                    .try_for_each(|part| self.visit(part, depth + 1))
            }
            Expr::List(list) => list
                .elements
                .iter()
                .try_for_each(|part| self.visit(part, depth + 1)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.visit(&entry.key, depth + 1)?;
                    self.visit(&entry.value, depth + 1)
                }
                EntryExpr::StructField(_) => refuse("there are no messages here".to_owned()),
            }),
            Expr::Comprehension(loops) => {
                self.visit(&loops.iter_range, depth + 1)?;
                self.visit(&loops.accu_init, depth + 1)?;
                if self.loops == MAX_LOOPS {
                    return refuse(format!(
                        "this costs too much: exists, all, filter and map nest at most {MAX_LOOPS} deep"
                    ));
                }
                let outside = self.names.len();
                self.names.push(&loops.iter_var);
                self.names.extend(loops.iter_var2.as_deref());
                self.names.push(&loops.accu_var);
                self.loops += 1;
                self.visit(&loops.loop_cond, depth + 1)?;
                self.visit(&loops.loop_step, depth + 1)?;
                self.loops -= 1;
                let visited = self.visit(&loops.result, depth + 1);
                self.names.truncate(outside);
                visited
            }
            Expr::Struct(_) | Expr::Unspecified => refuse("there are no messages here".to_owned()),
        }
    }
}

/// The largest weight on which the expression stays within the budget.
///
/// # Errors
///
/// When that is less than an ordinary token has.
pub(super) fn most_weight(tree: &IdedExpr) -> Result<u64, String> {
    let steps = |weight| price(tree, weight, &mut Vec::new()).work;
    if steps(LEAST_WEIGHT) > BUDGET {
        return Err(format!(
            "this costs too much: on a small token it may take {} steps, {BUDGET} are allowed",
            steps(LEAST_WEIGHT)
        ));
    }
    let (mut fits, mut exceeds) = (LEAST_WEIGHT, HEAVIEST + 1);
    while exceeds - fits > 1 {
        let middle = fits.midpoint(exceeds);
        if steps(middle) > BUDGET {
            exceeds = middle;
        } else {
            fits = middle;
        }
    }
    Ok(fits)
}

/// The weight of claims and texts.
pub(super) fn weight(claims: &Claims, texts: &[&str]) -> u64 {
    let members = claims
        .iter()
        .map(|(name, value)| text_size(name) + size(value));
    let texts = texts.iter().map(|text| text_size(text));
    members.chain(texts).fold(1, u64::saturating_add)
}

fn size(value: &Value) -> u64 {
    match value {
        Value::String(text) => text_size(text),
        Value::Array(list) => list.iter().map(size).fold(1, u64::saturating_add),
        Value::Object(members) => weight(members, &[]),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

fn text_size(text: &str) -> u64 {
    1 + text.len() as u64 / 16
}

/// The most work of a node, and the size of its result.
#[derive(Debug, Clone, Copy)]
struct Price {
    work: u64,
    size: u64,
}

fn price<'e>(node: &'e IdedExpr, weight: u64, names: &mut Vec<(&'e str, u64)>) -> Price {
    match &node.expr {
        Expr::Literal(literal) => {
            let size = match literal {
                LiteralValue::String(text) => text_size(text.inner()),
                LiteralValue::Bytes(bytes) => 1 + bytes.inner().len() as u64 / 16,
                _ => 1,
            };
            Price { work: size, size }
        }
        Expr::Ident(name) => {
            let bound = names.iter().rev().find(|(known, _)| known == name);
            let size = bound.map_or(weight, |(_, size)| *size);
            Price { work: size, size }
        }
        Expr::Select(select) => linear([price(&select.operand, weight, names)]),
        Expr::Call(call) => {
            let parts = call.target.iter().map(|target| &**target).chain(&call.args);
            let whole = linear(parts.map(|part| price(part, weight, names)));
            if SCALAR.contains(&call.func_name.as_str()) {
                Price { size: 1, ..whole }
            } else {
                whole
            }
        }
        Expr::List(list) => linear(list.elements.iter().map(|part| price(part, weight, names))),
        Expr::Map(map) => linear(map.entries.iter().flat_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => vec![
                price(&entry.key, weight, names),
                price(&entry.value, weight, names),
            ],
            EntryExpr::StructField(_) => vec![],
        })),
        Expr::Comprehension(loops) => {
            let range = price(&loops.iter_range, weight, names);
            let mut body = |element: u64| {
                let outside = names.len();
                names.push((&loops.iter_var, element));
                names.extend(loops.iter_var2.as_deref().map(|name| (name, element)));
                names.push((&loops.accu_var, 1));
                let steps = linear([
                    price(&loops.loop_cond, weight, names),
                    price(&loops.loop_step, weight, names),
                ]);
                names.truncate(outside);
                steps
            };
            let (light, heavy) = (body(1), body(range.size));
            let over_all =
                |light: u64, heavy: u64| range.size.saturating_mul(light).saturating_add(heavy);
            let builds = matches!(loops.accu_init.expr, Expr::List(_) | Expr::Map(_));
            let size = if builds {
                over_all(light.size, heavy.size)
            } else {
                1
            };
            let copies = if builds {
                range.size.saturating_mul(size)
            } else {
                0
            };
            let work = range
                .work
                .saturating_add(over_all(light.work, heavy.work))
                .saturating_add(copies);
            Price { work, size }
        }
        Expr::Struct(_) | Expr::Unspecified => Price {
            work: u64::MAX,
            size: u64::MAX,
        },
    }
}

/// A node whose work and result are at most as large as all its parts together.
fn linear(parts: impl IntoIterator<Item = Price>) -> Price {
    let sum = parts
        .into_iter()
        .fold(Price { work: 1, size: 1 }, |sum, part| Price {
            work: sum.work.saturating_add(part.work),
            size: sum.size.saturating_add(part.size),
        });
    Price {
        work: sum.work.saturating_add(sum.size),
        size: sum.size,
    }
}

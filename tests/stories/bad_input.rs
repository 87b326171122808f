//! Requests that nobody should send and answers that no provider should give: no error of ours, and no charge lost.

use anyhow::{Context, Result, ensure};
use sample_llm::fault::HEADER as FAULT;
use serde_json::{Value, json};
use stories::chat::question;
use stories::world::World;

use crate::limits::{LIMIT, charged, prompt_tokens, until_charged};

/// What a provider may say to caps that mean nothing.
const ANSWERED_OR_REFUSED: [u16; 2] = [200, 400];

/// What a request costs in the end.
enum Charge {
    /// What the answer says; nothing if it is none.
    Reported,
    /// So many tokens.
    Tokens(u64),
    /// What was used at the least: nobody says exactly.
    AtLeast(u64),
}

/// A request, its answer and its price.
struct Case {
    name: &'static str,
    media_type: &'static str,
    body: Vec<u8>,
    /// What the provider is asked to do wrong.
    fault: Option<&'static str>,
    statuses: &'static [u16],
    charge: Charge,
}

impl Case {
    /// A body that the provider refuses: nothing was used.
    fn refused_there(name: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            name,
            media_type: "application/json",
            body: body.into(),
            fault: None,
            statuses: &[400],
            charge: Charge::Tokens(0),
        }
    }

    /// A strange body that the provider answers all the same.
    fn answered(name: &'static str, body: &Value) -> Self {
        Self {
            statuses: &[200],
            charge: Charge::Reported,
            ..Self::refused_there(name, body.to_string())
        }
    }

    /// A cap on the answer that is none, which is the provider's business.
    fn capped(name: &'static str, cap: &str) -> Self {
        let body = with("max_tokens", 0).to_string();
        let body = body.replace("\"max_tokens\":0", &format!("\"max_tokens\":{cap}"));
        Self {
            statuses: &ANSWERED_OR_REFUSED,
            charge: Charge::Reported,
            ..Self::refused_there(name, body)
        }
    }

    /// A plain body, answered by a provider that reports something else than it did.
    fn misreported(name: &'static str, fault: &'static str, charge: u64) -> Self {
        Self {
            fault: Some(fault),
            charge: Charge::Tokens(charge),
            ..Self::answered(name, &question("What does this cost?", 40))
        }
    }
}

fn with(member: &str, value: impl Into<Value>) -> Value {
    let mut body = question("And this?", 8);
    body[member] = value.into();
    body
}

fn text(text: impl Into<String>) -> Value {
    question(&text.into(), 1)
}

fn cases() -> Vec<Case> {
    let asked = prompt_tokens(&question("What does this cost?", 40));
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    vec![
        Case::refused_there("nothing", ""),
        Case::refused_there(
            "half an object",
            r#"{"model": "gpt-4o", "messages": [{"role": "us"#,
        ),
        Case::refused_there("bytes that are no text", vec![0xff, 0xfe, 0x00, 0x80]),
        Case::refused_there("a list", r#"["model", "gpt-4o"]"#),
        Case::refused_there("a hundred thousand brackets", nested(100_000)),
        Case {
            media_type: "text/plain",
            ..Case::refused_there("no JSON at all", "Dear model, how are you?")
        },
        Case::answered(
            "a model that nobody knows",
            &with("model", "no-such-model-9"),
        ),
        Case::answered(
            "a megabyte and a half of prose",
            &text("all work and no play ".repeat(75_000)),
        ),
        Case::answered("one letter, again and again", &text("a".repeat(200_000))),
        Case::answered(
            "pictures, joined and turned around",
            &text("👩‍👩‍👧‍👦\u{202e}".repeat(2_000)),
        ),
        Case::answered(
            "control characters and end marks",
            &text("\u{0}\u{7f}<|endoftext|><|im_start|>"),
        ),
        Case::answered(
            "members that mean nothing",
            &with("\u{0}max_tokens", json!({"n": [[]]})),
        ),
        // As much is reserved as the limit has; then the bill comes.
        Case::capped("an absurd cap", "1000000000000000"),
        Case::capped("a cap that no integer holds", "99999999999999999999999"),
        Case::capped("a cap that no number holds", "1e999"),
        Case::capped("a small cap and a large one", "1,\"max_tokens\":1000000000"),
        Case::capped("a negative cap", "-5"),
        Case::capped("a part of a token", "1.5"),
        Case::capped("a word for a cap", "\"many\""),
        Case::capped("a list for a cap", "[]"),
        Case {
            charge: Charge::AtLeast(asked + 30),
            ..Case::misreported("a provider that reports nothing", "no-usage", 0)
        },
        // Who bills is believed: it is its bill that a budget is for.
        Case::misreported("a provider that reports too little", "lying-usage", 2),
        Case {
            statuses: &[503],
            ..Case::misreported("a provider that fails", "fail-503", 0)
        },
    ]
}

pub(crate) async fn bad_input_is_no_error_of_ours_and_no_charge_is_lost(
    world: &mut World,
) -> Result<()> {
    for (number, case) in cases().into_iter().enumerate() {
        let Case { name, .. } = case;
        let caller = world
            .tenant("/metered/v1", &format!("bad-input-{number}"))
            .await?;
        let sender = match case.fault {
            Some(fault) => caller.clone().with_header(FAULT, fault),
            None => caller.clone(),
        };
        let answer = sender
            .post_bytes(case.media_type, case.body)
            .await
            .context(name)?;
        ensure!(
            case.statuses.contains(&answer.status),
            "{name}: answered {}: {:.300}",
            answer.status,
            answer.body.to_string()
        );
        let charge = match case.charge {
            Charge::Tokens(tokens) => tokens,
            Charge::AtLeast(tokens) => {
                let charged = charged(&caller, LIMIT).await.context(name)?;
                ensure!(charged >= tokens, "{name}: charged {charged} of {tokens}");
                continue;
            }
            Charge::Reported if answer.status == 200 => {
                answer.total_tokens().context("no usage").context(name)?
            }
            Charge::Reported => 0,
        };
        until_charged(&caller, LIMIT, charge).await.context(name)?;
    }
    Ok(())
}

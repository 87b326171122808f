//! Embeddings.

use axum::response::Response;
use serde_json::{Value, json};

use super::{failed, incomplete};
use crate::exchange::{Asked, Call};
use crate::tokens;

/// Dimensions of an embedding.
const DIMENSIONS: usize = 8;

/// `POST /v1/embeddings`
pub(crate) async fn embeddings(call: Call) -> Response {
    let inputs: Vec<&str> = match &call.body["input"] {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let (Some(model), false) = (call.body["model"].as_str(), inputs.is_empty()) else {
        return incomplete("`model` and `input`");
    };
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": embedding(text)}))
        .collect();
    let mut body = json!({"object": "list", "data": data, "model": model});
    let asked = Asked {
        model: model.to_owned(),
        question: String::new(),
        prompt_tokens: inputs.iter().map(|text| tokens::count(text)).sum(),
        // Nothing is said.
        cap: Some(0),
        choices: None,
    };
    let exchange = match call.answer(asked) {
        Ok(exchange) => exchange,
        Err(status) => return failed(status),
    };
    if let Some(usage) = exchange.usage {
        body["usage"] = json!({"prompt_tokens": usage.prompt, "total_tokens": usage.prompt});
    }
    exchange.plain(body).await
}

/// A unit vector that depends on the text alone.
fn embedding(text: &str) -> [f64; DIMENSIONS] {
    let mut vector = [1.0; DIMENSIONS];
    for (position, byte) in text.bytes().enumerate() {
        vector[position % DIMENSIONS] += f64::from(byte) / 255.0;
    }
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    vector.map(|value| value / length)
}

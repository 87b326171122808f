use kong_pdk::PluginConfig;
use serde::Deserialize;

#[derive(Deserialize, PluginConfig)]
struct Short {
    /// Short.
    field: String,
}

#[derive(Deserialize, PluginConfig)]
struct Unknown {
    #[kong(colour = "red")]
    field: String,
}

#[derive(Deserialize, PluginConfig)]
struct Required {
    #[kong(required)]
    field: String,
}

#[derive(Deserialize, PluginConfig)]
#[kong(entity_check(some_of = ["field"]))]
struct Check {
    field: String,
}

#[derive(Deserialize, PluginConfig)]
enum Sum {
    A(String),
}

fn main() {}

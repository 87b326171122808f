//! kongctl and decK: whoever knows one can use the other, on the same files, and go back.
//!
//! For each case, on a node that both write to:
//!
//! 1. The state after decK's sync of the file from nothing is the state after kongctl's.
//! 2. After either's sync, the other finds no difference to the file.
//! 3. What decK dumps, kongctl takes, finds no difference and writes nothing; what kongctl dumps, decK takes and finds no difference.
//! 4. kongctl takes over: B from decK's A is B from nothing.
//!
//! decK does not take every file that kongctl takes. [`EXCEPTIONS`] tells which, and each exception is checked: there decK must fail, or
//! find a difference to what it made from that very file.

use anyhow::{Context as _, Result, ensure};
use stories::target::Target;
use stories::world::World;

use super::case::{Case, Spec};
use super::deck::Deck;
use super::laws::{Node, VARIABLES};
use super::state;

/// What decK does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// It does not take A as it is written; its canonical form, which kongctl dumps, it takes.
    Form,
    /// It takes A for something else, in silence; its canonical form it takes.
    Meaning,
    /// Neither A nor its canonical form.
    File,
    /// It cannot dump what it made, or does not take back what it dumps.
    Dump,
}

/// Cases that decK does not do, and why.
const EXCEPTIONS: &[(&str, Missing, &str)] = &[
    ("ca-certificates", Missing::Form, NO_FILES),
    ("certificates", Missing::Form, NO_FILES),
    ("certificates-of-services", Missing::Form, NO_FILES),
    ("certificates-of-upstreams", Missing::Form, NO_FILES),
    ("certificates-rotated", Missing::Form, NO_FILES),
    ("certificates-without-id", Missing::Form, NO_FILES),
    (
        "consumer-goes-with-credentials",
        Missing::Form,
        NO_ALGORITHM,
    ),
    ("custom-plugin-jwt", Missing::File, NO_PROTOCOLS),
    ("custom-plugin-limits", Missing::File, NO_PROTOCOLS),
    ("dbless-form", Missing::Form, WORDS),
    ("everything-goes", Missing::Form, NO_FILES),
    (
        "filter-chains",
        Missing::File,
        "a configuration whose keys Kong tells in another order differs from what it made",
    ),
    (
        "filter-chains-go-with-owners",
        Missing::Form,
        NO_DEFAULTS_OF_CHAINS,
    ),
    ("filter-chains-top-level", Missing::Form, WORDS),
    (
        "filters-as-plugins",
        Missing::File,
        "a plugin's configuration is a map",
    ),
    ("jwt-secrets", Missing::Form, NO_ALGORITHM),
    ("key-auth-top-level", Missing::Form, TOP_LEVEL),
    (
        "keys-in-sets",
        Missing::Form,
        "keys stand beside their sets, and there is no `!file`",
    ),
    (
        "keys-in-sets",
        Missing::Dump,
        "a key's set with tags differs from what it dumps",
    ),
    (
        "nulls-where-defaults-are",
        Missing::File,
        "fields with a default cannot be null",
    ),
    (
        "oauth2",
        Missing::Form,
        "a default that is not said differs from what it made",
    ),
    ("plugins-code", Missing::Form, NO_FILES),
    (
        "plugins-defaults-written",
        Missing::Form,
        "fields of services and routes cannot be null",
    ),
    (
        "plugins-reference-forms",
        Missing::Form,
        "a plugin refers by a word",
    ),
    ("routes-every-field", Missing::Form, OLD_BOOLEANS),
    ("routes-headers-emptied", Missing::Meaning, OLD_BOOLEANS),
    ("routes-order-of-lists", Missing::Form, OLD_BOOLEANS),
    ("routes-reference-forms", Missing::Form, WORDS),
    (
        "routes-unnamed",
        Missing::Form,
        "a route has a name or an id",
    ),
    ("snis-top-level", Missing::Form, TOP_LEVEL),
    (
        "tags-lookup",
        Missing::Dump,
        "the plugin's consumer is another's, and its dump looks for it among its own",
    ),
    (
        "tags-select",
        Missing::File,
        "what is another's and has no tags cannot be referred to",
    ),
    (
        "targets",
        Missing::Form,
        "a target without a port differs from what it made",
    ),
    ("targets-top-level", Missing::Form, TOP_LEVEL),
    (
        "texts-that-look-like-others",
        Missing::Form,
        "braces in a text are its template's",
    ),
    (
        "texts-that-look-like-others",
        Missing::Dump,
        "what it dumps has such braces again",
    ),
    (
        "upstreams-hashing",
        Missing::Form,
        "the algorithm that hashing brings differs from what it made",
    ),
    (
        "vaults",
        Missing::Form,
        "an empty configuration differs from what it made",
    ),
];

const NO_FILES: &str = "there is no `!file`";
const NO_ALGORITHM: &str = "a JWT's algorithm has to be said";
const NO_DEFAULTS_OF_CHAINS: &str =
    "that a filter chain is enabled, and each of its filters, has to be said";
const NO_PROTOCOLS: &str =
    "the protocols that Kong gives plugins of other processes differ from what it made";
const WORDS: &str = "a route refers by an object";
const TOP_LEVEL: &str = "it nests these, and knows them nowhere else";
const OLD_BOOLEANS: &str = "a plain `y` is true, whatever is expected";

/// The file, as decK is given it: with a version, and variables by the names that it allows.
fn written(text: &str) -> String {
    let version = if text.contains("_format_version") {
        ""
    } else {
        "_format_version: \"3.0\"\n"
    };
    let mut text = format!("{version}{text}");
    for (name, _) in VARIABLES {
        text = text.replace(&format!("env \"{name}\""), &format!("env \"DECK_{name}\""));
    }
    text
}

/// Why a case cannot be held against decK on this gateway.
pub(crate) fn beyond(case: &Case, target: Target) -> Option<&'static str> {
    // That decK misses it depends on Kong's order of keys, which is not the one in which they came.
    (case.name == "filter-chains" && !target.is_real_kong())
        .then_some("the stand-in tells a filter's configuration in the order in which it came")
}

/// Holds the case against decK.
pub(crate) async fn holds(world: &World, case: &Case, deck: &Deck) -> Result<()> {
    let exceptions = EXCEPTIONS.iter().filter(|(name, ..)| *name == case.name);
    let mut missing: Vec<Missing> = exceptions.map(|(_, missing, _)| *missing).collect();
    // decK knows no kinds but Kong's own.
    missing.extend(case.spec.kinds.then_some(Missing::File));
    let check = Check {
        world,
        case,
        deck,
        node: Node::prepare(world, case)?,
    };
    let canonical = case.canonical.as_deref().unwrap_or_default();
    let as_written = written(&case.a);
    let is_any = |wanted: &[Missing]| missing.iter().any(|missing| wanted.contains(missing));
    if is_any(&[Missing::Meaning]) {
        check.is_misread(&as_written).await?;
    } else if is_any(&[Missing::Form, Missing::File]) {
        check.is_not_decks(&as_written).await?;
    }
    if is_any(&[Missing::File]) {
        return check.is_not_decks(canonical).await;
    }
    let is_other = is_any(&[Missing::Form, Missing::Meaning]);
    let file = if is_other { canonical } else { &as_written };
    check.holds(file, is_any(&[Missing::Dump])).await
}

struct Check<'a> {
    world: &'a World,
    case: &'a Case,
    deck: &'a Deck,
    node: Node<'a>,
}

impl Check<'_> {
    async fn holds(&self, text: &str, cannot_dump: bool) -> Result<()> {
        let files = &self.files(text)?;
        if let Some(why) = self.decks_own(files).await? {
            anyhow::bail!("decK does not take the file: an exception is missing\n{why}");
        }
        let by_deck = state::read(self.world, text).await?;
        self.node
            .no_difference(files)
            .await
            .context("after decK's sync")?;

        let dumped = self.dumps_what_it_takes().await?;
        ensure!(
            cannot_dump == dumped.is_some(),
            "an exception is missing, or not needed: {dumped:?}"
        );
        if dumped.is_none() {
            self.node
                .no_difference("deck.yml")
                .await
                .context("decK's dump")?;
            self.node.writes_nothing("deck.yml").await?;
        }

        self.node.write("b.yml", &self.case.b)?;
        let sync = "sync --yes --journal off";
        self.node.run(&format!("{sync} b.yml")).await?;
        let taken_over = state::read(self.world, &self.case.b).await?;
        self.node.clear(self.case).await?;
        self.node.run(&format!("{sync} b.yml")).await?;
        let from_nothing = state::read(self.world, &self.case.b).await?;
        ensure!(
            taken_over == from_nothing,
            "B from decK's A is\n{taken_over:#?}\nB from nothing is\n{from_nothing:#?}"
        );

        self.node.clear(self.case).await?;
        self.node.run(&format!("{sync} {files}")).await?;
        let by_kongctl = state::read(self.world, text).await?;
        ensure!(
            by_deck == by_kongctl,
            "decK makes\n{by_deck:#?}\nkongctl makes\n{by_kongctl:#?}"
        );
        self.decks_agreement(files).await?;
        let dump = self.node.own_dump().await?;
        self.node.write("kongctl.yml", &dump)?;
        self.decks_agreement("kongctl.yml").await
    }

    /// Writes the case's file, or its files, and gives their names.
    fn files(&self, text: &str) -> Result<String> {
        let mut names = Vec::new();
        for (number, document) in text.split(SEPARATOR).enumerate() {
            let name = format!("a{number}.yml");
            self.node.write(&name, document)?;
            names.push(name);
        }
        Ok(names.join(" "))
    }

    /// Why decK does not do what this file says, or is not content with it.
    async fn decks_own(&self, files: &str) -> Result<Option<String>> {
        self.node.clear(self.case).await?;
        let at = &self.node.directory;
        let synced = self.deck.sync(self.world, at, files).await?;
        if !synced.content {
            return Ok(Some(synced.text));
        }
        let agrees = self.deck.agrees(self.world, at, files).await?;
        Ok((!agrees.content).then_some(agrees.text))
    }

    async fn is_not_decks(&self, text: &str) -> Result<()> {
        let files = self.files(text)?;
        ensure!(
            self.decks_own(&files).await?.is_some(),
            "decK takes it: no exception is needed"
        );
        Ok(())
    }

    async fn is_misread(&self, text: &str) -> Result<()> {
        let files = self.files(text)?;
        ensure!(
            self.decks_own(&files).await?.is_none(),
            "decK does not take it at all"
        );
        ensure!(
            self.node.no_difference(&files).await.is_err(),
            "decK reads it as kongctl does: no exception is needed"
        );
        Ok(())
    }

    /// Why decK's dump is none, or none for decK itself.
    async fn dumps_what_it_takes(&self) -> Result<Option<String>> {
        let at = &self.node.directory;
        let tag = self.case.spec.tag.as_deref();
        let dumped = self.deck.dump(self.world, at, tag, "deck.yml").await?;
        if !dumped.content {
            return Ok(Some(dumped.text));
        }
        let agrees = self.deck.agrees(self.world, at, "deck.yml").await?;
        Ok((!agrees.content).then_some(agrees.text))
    }

    async fn decks_agreement(&self, files: &str) -> Result<()> {
        let answer = self
            .deck
            .agrees(self.world, &self.node.directory, files)
            .await?;
        ensure!(
            answer.content,
            "decK differs from what kongctl made:\n{}",
            answer.text
        );
        Ok(())
    }
}

/// Between the files of a case that has several.
const SEPARATOR: &str = "\n=== another file\n";

/// What cases of one file cannot show.
pub(crate) fn several_files() -> Vec<Case> {
    let case = |name: &str, tag: Option<&str>, a: [&str; 2], b: &str| Case {
        name: name.to_owned(),
        spec: Spec {
            about: "several files".to_owned(),
            tag: tag.map(str::to_owned),
            ..Spec::default()
        },
        a: a.join(SEPARATOR),
        b: b.to_owned(),
        canonical: None,
    };
    vec![
        case(
            "files_that_refer_to_each_other",
            None,
            [
                "_format_version: \"3.0\"\n\
                 services:\n- {name: llm, host: '${{ env \"DECK_LLM_HOST\" }}', enabled: yes}\n\
                 consumers:\n- {username: alice, keyauth_credentials: [{key: a}]}\n",
                "_format_version: \"3.0\"\n\
                 routes:\n- {name: chat, paths: [/chat], strip_path: off, service: {name: llm}}\n\
                 plugins:\n- {name: key-auth, route: chat, config: {hide_credentials: yes, key_in_body: On, run_on_preflight: n}}\n\
                 - {name: request-termination, consumer: alice}\n",
            ],
            "services: [{name: llm, host: h}]\n",
        ),
        case(
            "files_with_plugin_configs_and_select_tags",
            Some("team-a"),
            [
                "_format_version: \"3.0\"\n_info: {select_tags: [team-a]}\n\
                 _plugin_configs:\n  gone: {status_code: 410, message: gone}\n\
                 services:\n- {name: a, host: h, plugins: [{name: request-termination, _config: gone}]}\n",
                "_format_version: \"3.0\"\n_info: {select_tags: [team-a]}\n\
                 _plugin_configs:\n  busy: {status_code: 503}\n\
                 services:\n- {name: b, host: h, tags: [x], plugins: [{name: request-termination, _config: busy}]}\n",
            ],
            "_info: {select_tags: [team-a]}\nservices: [{name: b, host: h}]\n",
        ),
    ]
}

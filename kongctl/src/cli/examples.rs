//! Each verb teaches by examples, and each example is a command line that this program takes.

use clap::{Command, CommandFactory as _};

use super::Cli;

/// The arguments of a line as a shell has them; what follows a pipe, a redirection or a comment left out.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quote, mut open) = (None, false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '\'' | '"') => (quote, open) = (Some(character), true),
            (Some(mark), _) if mark == character => quote = None,
            (Some('"'), '\\') => word.extend(characters.next()),
            (None, '|' | '&' | ';' | '>' | ')' | '<') => break,
            (None, ' ') => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                    open = false;
                }
                if characters.peek() == Some(&' ') {
                    break;
                }
            }
            _ => word.push(character),
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}

/// The command lines in a verb's help.
fn examples(command: &Command) -> Vec<Vec<String>> {
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    help.lines()
        .skip_while(|line| !line.starts_with("Examples:"))
        .filter_map(|line| line.strip_prefix("  "))
        // What follows several spaces is a comment.
        .map(|line| line.split("  ").next().unwrap_or(line))
        .flat_map(|line| {
            line.match_indices("kongctl ")
                // `xargs` says the rest.
                .filter(|(at, _)| !line[..*at].ends_with("xargs "))
                .map(|(at, _)| words(&line[at..]))
        })
        .collect()
}

fn verbs(command: &Command) -> Vec<Command> {
    let mut found = vec![command.clone()];
    for verb in command.get_subcommands() {
        if verb.get_name() != "help" {
            found.extend(verbs(verb));
        }
    }
    found
}

#[test]
fn each_verb_has_examples_and_each_of_them_is_understood() {
    let mut command = Cli::command();
    command.build();
    for verb in verbs(&command) {
        let name = verb.get_bin_name().unwrap_or(verb.get_name()).to_owned();
        let examples = examples(&verb);
        assert!(!examples.is_empty(), "{name} has no examples");
        let leaf: Vec<&str> = name.split(' ').collect();
        let own = examples.iter().any(|words| {
            leaf.iter()
                .all(|part| words.iter().any(|word| word == part))
        });
        assert!(own, "no example of {name} is one of it");
        for words in examples {
            let words = words.iter().map(|word| match word.as_str() {
                "KEY" => "0123456789abcdef0123456789abcdef",
                word => word,
            });
            let words: Vec<&str> = words.collect();
            let result = Cli::command().try_get_matches_from(&words);
            assert!(result.is_ok(), "{name}: {words:?}\n{}", result.unwrap_err());
        }
    }
}

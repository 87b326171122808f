use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Every way to write a comment, and every style of value.
const UNTIDY: &str = "\
# About the file.

_format_version:   '3.0'   # the format
services:      # all of them
  # the model
  -   name: llm     # its name
      url: http://h/v1


      tags: [ a,b ]
      routes:
        - {name: chat,  paths: [ /chat ]}   # short
        # the last of llm
      # also llm's
  - name: second
    host: \"${{ env \"HOST\" }}\"
    path: >-
        /a

        b
    # the end of second
routes: # nested: none
- &base
  name: r
  paths:
      - /x # x
      - /y
- <<: *base
  name: q
plugins:
- name: pre-function
  config:
    access:
    - |
        -- # no comment
          indented

        done
    header: { a: 1, # why
      b: !file x.pem }
    empty:
    none: {}
# the end
";

const TIDY: &str = "\
# About the file.

_format_version: '3.0'  # the format
services:  # all of them
# the model
- name: llm  # its name
  url: http://h/v1

  tags: [a, b]
  routes:
  - {name: chat, paths: [/chat]}  # short
  # the last of llm
  # also llm's
- name: second
  host: \"${{ env \"HOST\" }}\"
  path: >-
    /a

    b
  # the end of second
routes:  # nested: none
- &base
  name: r
  paths:
  - /x  # x
  - /y
- <<: *base
  name: q
plugins:
- name: pre-function
  config:
    access:
    - |
      -- # no comment
        indented

      done
    header:
      a: 1  # why
      b: !file x.pem
    empty:
    none: {}
# the end
";

fn formatted(text: &str) -> Result<String, String> {
    let mut diagnostics = Diagnostics::default();
    let new = format("kong.yml", text, &mut diagnostics);
    diagnostics
        .into_result()
        .map_err(|error| error.to_string())?;
    Ok(new.unwrap())
}

fn file(text: &str) -> File {
    read("kong.yml", text, &mut Diagnostics::default()).unwrap()
}

#[test]
fn a_file_is_tidied_and_keeps_its_comments() {
    assert_eq!(formatted(UNTIDY).unwrap(), TIDY);
}

#[test]
fn a_formatted_file_stays_as_it_is() {
    assert_eq!(formatted(TIDY).unwrap(), TIDY);
}

#[test]
fn json_stays_json() {
    assert_eq!(
        formatted("{\"services\":[{\"name\":\"a\"}]}").unwrap(),
        "{\n  \"services\": [\n    {\n      \"name\": \"a\"\n    }\n  ]\n}\n"
    );
}

#[test]
fn documents_stay_apart_and_windows_line_ends_go() {
    assert_eq!(
        formatted("---\r\na: 1\r\n# end of the first\r\n---\r\n# second\r\nb: 2\r\n").unwrap(),
        "---\na: 1\n# end of the first\n---\n# second\nb: 2\n"
    );
}

#[test]
fn texts_over_several_lines_and_odd_blocks_keep_their_value() {
    for text in [
        "a: \"one\n  two\"\n",
        "a: one\n  two # no\n",
        "a: |2\n    x\n   y\n",
        "a: |+\n  x\n\n\nb: 1\n",
        "- - a\n  - b\n-\n  - c\n",
        "a: &x !!str 5\nb: *x\n",
        "? a\n: b\n",
        "{a: , b: [1,2,], c: 'x, y'}\n",
        "a: '''quoted'' # no comment' # comment\n",
        "",
        "# only a comment\n",
        "- a\n\n a # c\n",
        "a: # c\n a # d\n",
        "a: # c\n  |\n  x\nb: # c\n  \"x\n  y\"\n",
        "- { a: 1, # x\n   b: 2 } # y\n- a: [1, # x\n   2] # y\n",
    ] {
        let new = formatted(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(formatted(&new).unwrap(), new, "{text}");
    }
}

#[test]
fn broken_yaml_is_told_with_its_place() {
    assert!(
        formatted("a: [1\nb: 2\n")
            .unwrap_err()
            .starts_with("kong.yml:2:")
    );
}

fn everywhere() -> Where {
    Where::Entities(Vec::new())
}

#[test]
fn tags_are_added_where_they_lack() {
    let mut file = file(
        "services:\n# kept\n- name: a  # here\n  tags: [x]\n- {name: b, routes: [{name: r, paths: [/]}]}\nconsumers:\n- username: c\n  tags:\n- {username: d, tags: Null}\n",
    );
    let mut diagnostics = Diagnostics::default();
    let tags = ["x".to_owned(), "team a".to_owned()];
    file.add_tags(&tags, &everywhere(), &mut diagnostics);
    diagnostics.into_result().unwrap();
    assert_eq!(
        write(&file),
        "services:\n# kept\n- name: a  # here\n  tags: [x, team a]\n\
         - {name: b, routes: [{name: r, paths: [/], tags: [x, team a]}], tags: [x, team a]}\n\
         consumers:\n- username: c\n  tags:\n  - x\n  - team a\n\
         - {username: d, tags: [x, team a]}\n"
    );
}

#[test]
fn tags_go_only_where_they_are_meant() {
    let mut file = file("services:\n- name: a\n  routes:\n  - name: r\n- name: b\n");
    let targets = ["services/b".parse().unwrap(), "routes".parse().unwrap()];
    let targets = Where::Entities(targets.into());
    file.add_tags(&["t".to_owned()], &targets, &mut Diagnostics::default());
    assert_eq!(
        write(&file),
        "services:\n- name: a\n  routes:\n  - name: r\n    tags:\n    - t\n- name: b\n  tags:\n  - t\n"
    );
}

#[test]
fn an_alias_is_not_changed_behind_the_users_back() {
    let mut file = file("services:\n- &a {name: a}\n- *a\n- <<: *a\n  name: c\n");
    let mut diagnostics = Diagnostics::default();
    file.add_tags(&["t".to_owned()], &everywhere(), &mut diagnostics);
    let error = diagnostics.into_result().unwrap_err().to_string();
    assert!(
        error.starts_with("kong.yml:3:3: this service is an alias of `a`"),
        "{error}"
    );
    assert!(
        error.contains("kong.yml:4:3: this entity may take its tags from `<<`"),
        "{error}"
    );
}

#[test]
fn plugins_are_added_once_and_replaced_when_asked() {
    let text = "services:\n- name: a\n  plugins:\n  - name: cors  # ours\n    config: {max_age: 1}\n- name: b\n";
    let plugin = [json!({"name": "cors", "config": {"max_age": 2}})];
    let targets = Where::Entities(vec!["services".parse().unwrap()]);
    let mut kept = file(text);
    let mut diagnostics = Diagnostics::default();
    kept.add_plugins(&plugin, &targets, false, &mut diagnostics);
    assert_eq!(
        write(&kept),
        format!("{text}  plugins:\n  - name: cors\n    config:\n      max_age: 2\n")
    );
    let mut replaced = file(text);
    replaced.add_plugins(&plugin, &targets, true, &mut diagnostics);
    assert!(!write(&replaced).contains("max_age: 1"));
    let mut global = file("plugins: [{name: cors, service: a}]\n");
    global.add_plugins(&plugin, &everywhere(), false, &mut diagnostics);
    assert_eq!(
        write(&global),
        "plugins: [{name: cors, service: a}, {name: cors, config: {max_age: 2}}]\n"
    );
}

#[test]
fn files_are_joined_with_their_comments_and_anchors() {
    let first = file(
        "# first\n_format_version: '3.0'\n_info: {select_tags: [a]}\nservices:\n- &s\n  name: a\n# end of first\n",
    );
    let second = file(
        "_format_version: '3.0'\n_info:\n  select_tags: [a, b]\n# of second\nservices:\n- &s {name: b}\n- *s\nroutes: # new\n- name: r\n",
    );
    let mut diagnostics = Diagnostics::default();
    let merged = merge(vec![first, second], &mut diagnostics);
    diagnostics.into_result().unwrap();
    assert_eq!(
        write(&merged),
        "# first\n_format_version: '3.0'\n_info: {select_tags: [a, b]}\nservices:\n- &s\n  name: a\n# of second\n\
         - &s-2 {name: b}\n- *s-2\nroutes:  # new\n- name: r\n# end of first\n"
    );
}

#[test]
fn files_that_contradict_each_other_are_not_joined() {
    let first = file("_format_version: '3.0'\n_info: {defaults: {service: {retries: 1}}}\n");
    let second = file(
        "_format_version: '1.1'\n_transform: false\n_info: {defaults: {service: {retries: 2}}}\n",
    );
    let mut diagnostics = Diagnostics::default();
    merge(vec![first, second], &mut diagnostics);
    let error = diagnostics.into_result().unwrap_err().to_string();
    for part in [
        "kong.yml:1:18: format 3.0 and 1.1 do not merge",
        "kong.yml:2:13: `_transform` is true in one file",
        "kong.yml:3:39: `retries` is said otherwise at kong.yml:2:39",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn paths_of_kong_2_are_marked() {
    let mut file = file(
        "_format_version: \"1.1\" # old\nservices:\n- name: a\n  routes:\n  - name: r\n    paths: [/plain, '/a/\\d+']  # both\n",
    );
    let marked = file.upgrade(&mut Diagnostics::default());
    assert_eq!(marked, [("r".to_owned(), 1)]);
    assert_eq!(
        write(&file),
        "_format_version: \"3.0\"  # old\nservices:\n- name: a\n  routes:\n  - name: r\n    paths: [/plain, \"~/a/\\\\d+\"]  # both\n"
    );
}

/// Something like a file: nested lists and maps with comments and blank lines in between.
fn texts() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => ("[ ]{0,6}", "(- )?", "[a-c]{1,2}", "(: ?)?", "(x|'q # r'|\"s\"|[0-9]|\\[a, b\\]|\\{c: d\\}|\\*a|&a z|\\|)?", "( # c[0-9])?")
            .prop_map(|(a, b, c, d, e, f)| format!("{a}{b}{c}{d}{e}{f}")),
        1 => Just(String::new()),
        1 => "[ ]{0,4}# [a-z]{1,3}",
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

fn comments(text: &str) -> usize {
    text.matches('#').count()
}

proptest! {
    #[test]
    fn writing_changes_no_value(text in texts()) {
        let mut diagnostics = Diagnostics::default();
        if let Some(before) = values("t", &text, &mut diagnostics) {
            let new = formatted(&text);
            prop_assert!(new.is_ok(), "{:?}\n{}", new, text);
            let new = new.unwrap();
            prop_assert_eq!(values("t", &new, &mut diagnostics), Some(before));
            prop_assert_eq!(formatted(&new), Ok(new.clone()), "{}", text);
            prop_assert_eq!(comments(&text), comments(&new), "{}\n---\n{}", text, new);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = formatted(&text);
    }

    #[test]
    fn nothing_that_looks_like_yaml_makes_it_panic(text in "[-a-c:\\[\\]{}&*!|>'\"#%@`,? \n\t$0~<]{0,48}") {
        let _ = formatted(&text);
    }
}

//! The page of hints, made of the texts in the sources; and what would not work as pasted.

use std::{collections::BTreeSet, fmt::Write as _};

use iscsi_initiator_dbus::shell::PROGRAMS;
use iscsi_initiator_tests::hints::{OBJECTS, commands, filled, names};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::{tree::Tree, visitor::line};

/// The page, from the workspace.
pub(crate) const PAGE: &str = "docs/hints.md";

const HEAD: &str = "\
<!-- Generated from the sources: UPDATE=1 make bus TEST=structure writes it anew. -->
# Hints

Every hint that has a command in it. The command can be pasted into bash and zsh as it is printed; a name in capitals in
it (`--user NAME`) is for a person to choose. `tests/tests/hints.rs` pastes each example into both.

";

/// These are the help of the program, with its own examples; and what a hint is made with.
const OTHERS: [&str; 2] = ["client/cli/src/args.rs", "dbus/src/shell.rs"];

/// Programs whose name and a blank are never prose.
const NEVER_PROSE: [&str; 6] = ["chmod", "iscsictl", "journalctl", "modprobe", "systemctl", "umount"];

/// A text in the sources.
#[derive(Debug)]
pub(crate) struct Text {
    file: String,
    line: usize,
    text: String,
    maker: Maker,
}

/// What the text is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    /// `hint!`, which quotes.
    Hint,
    /// `command`, which makes a command of words: those that are texts.
    Words,
    /// Anything else.
    Other,
}

/// The page as it has to be.
pub(crate) fn page(texts: &[Text]) -> String {
    let mut page = HEAD.to_owned();
    let code = |text: &str| format!("`{}`", text.replace('|', "\\|"));
    let is_with = |text: &&Text| text.maker == Maker::Hint;
    page.push_str("## With objects\n\n| hint | example | where |\n|---|---|---|\n");
    for (text, places) in by_text(texts.iter().filter(is_with).filter(|text| has_command(text))) {
        writeln!(page, "| {} | {} | {places} |", code(text), code(&filled(text))).unwrap();
    }
    page.push_str("\n## As they are\n\n| hint | where |\n|---|---|\n");
    let is_plain = |text: &&Text| text.maker == Maker::Other && has_command(text);
    for (text, places) in by_text(texts.iter().filter(is_plain)) {
        writeln!(page, "| {} | {places} |", code(text)).unwrap();
    }
    page.push_str("\n## Made of words that were typed or listed\n\n| words | where |\n|---|---|\n");
    let is_made = |text: &&Text| text.maker == Maker::Words && is_program(&text.text);
    for (text, places) in by_text(texts.iter().filter(is_made)) {
        writeln!(page, "| {} | {places} |", code(&format!("{text} …"))).unwrap();
    }
    page
}

/// A command in a text that was put together in another way than by what quotes, and one that stands where nobody
/// finds it.
pub(crate) fn complaints(texts: &[Text]) -> Vec<String> {
    let mut complaints = Vec::new();
    for Text { file, line, text, maker } in texts {
        let maker = *maker;
        let mut complain = |what: &str| complaints.push(format!("{file}:{line}: \"{text}\": {what}"));
        if maker == Maker::Words {
            continue;
        }
        let commands = commands(text);
        let known: BTreeSet<&str> = OBJECTS.iter().map(|(name, _)| *name).collect();
        if maker == Maker::Hint && names(text).any(|name| !known.contains(name)) {
            complain("an object without an example in tests/src/hints.rs");
        }
        if maker == Maker::Other && commands.iter().any(|command| command.contains('{')) {
            complain("what is put into a command is quoted by hint!");
        }
        if maker == Maker::Other && commands.iter().any(|command| command.ends_with(' ')) {
            complain("a command that goes on elsewhere: make it whole with hint! or command");
        }
        if commands
            .iter()
            .any(|command| [", then", ", or ", ", and "].iter().any(|word| command.contains(word)))
        {
            complain("prose behind a command: write it before the colon, or join two commands with &&");
        }
        let mut rest = text.clone();
        for command in &commands {
            rest = rest.replacen(command, "", 1);
        }
        let is_inside = |program: &&&str| {
            let after =
                format!(" {rest}").split_once(&format!(" {program} ")).map(|(_, after)| after.to_owned());
            // A program can be spoken of: "iscsictl is version 1".
            after.is_some_and(|after| !after.starts_with("is "))
        };
        // The name of a command as such: "with the option", "is not open-iscsi's".
        if (!commands.is_empty() || maker == Maker::Hint || rest.contains('{'))
            && let Some(program) = NEVER_PROSE.iter().find(is_inside)
        {
            complain(&format!("{program} stands in prose: put the command behind a colon"));
        }
    }
    complaints
}

fn has_command(text: &Text) -> bool {
    !commands(&text.text).is_empty()
}

fn is_program(text: &str) -> bool {
    PROGRAMS.contains(&text.split(' ').next().unwrap_or_default())
}

/// Each text once, with the files that have it.
fn by_text<'a>(texts: impl Iterator<Item = &'a Text>) -> Vec<(&'a str, String)> {
    let mut found: Vec<(&str, BTreeSet<&str>)> = Vec::new();
    for text in texts {
        match found.iter_mut().find(|(known, _)| *known == text.text) {
            Some((_, files)) => {
                files.insert(&text.file);
            }
            None => found.push((&text.text, BTreeSet::from([text.file.as_str()]))),
        }
    }
    let places = |files: BTreeSet<&str>| {
        files.into_iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", ")
    };
    found.into_iter().map(|(text, files)| (text, places(files))).collect()
}

/// All texts but those of tests, of attributes (comments are some) and of the log.
pub(crate) fn texts(tree: &Tree) -> Vec<Text> {
    let mut found = Vec::new();
    let is_read = |path: &&str| {
        path.ends_with(".rs")
            && !path.ends_with("tests.rs")
            && !OTHERS.contains(path)
            && !path.contains("/probe/")
    };
    for file in tree.paths().filter(is_read) {
        let text = tree.text(file).unwrap_or_default();
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        look(tokens, file, Maker::Other, &mut found);
    }
    found
}

fn look(tokens: TokenStream, file: &str, maker: Maker, found: &mut Vec<Text>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let (mut at, mut is_first) = (0, true);
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                let Some(TokenTree::Group(attribute)) = tokens.get(at) else { continue };
                at += 1;
                if attribute.delimiter() == Delimiter::Bracket && is_for_tests(attribute) {
                    at += tokens[at..].iter().position(ends_an_item).map_or(0, |end| end + 1);
                }
            }
            TokenTree::Ident(name) => {
                let name = name.to_string();
                let is_macro =
                    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == '!');
                let group = tokens.get(at + usize::from(is_macro));
                let Some(TokenTree::Group(group)) = group else { continue };
                let inner = match (name.as_str(), is_macro) {
                    ("trace" | "debug" | "info" | "warn" | "error", true) => {
                        at += 2;
                        continue;
                    }
                    ("hint", true) => Maker::Hint,
                    ("command", false) => Maker::Words,
                    _ => continue,
                };
                look(group.stream(), file, inner, found);
                at += 1 + usize::from(is_macro);
            }
            TokenTree::Group(group) => {
                let inner = if maker == Maker::Hint { Maker::Other } else { maker };
                look(group.stream(), file, inner, found);
            }
            TokenTree::Literal(literal) => {
                if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                    // Behind the text, hint! has values.
                    let maker = if maker == Maker::Hint && !is_first { Maker::Other } else { maker };
                    is_first = false;
                    let line = line(literal.span());
                    found.push(Text { file: file.to_owned(), line, text: text.value(), maker });
                }
            }
            TokenTree::Punct(_) => {}
        }
    }
}

fn is_for_tests(attribute: &Group) -> bool {
    attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

fn ends_an_item(token: &TokenTree) -> bool {
    match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    }
}

//! What may follow the words of a line: the commands, options and words that the arguments have, and whether a target,
//! a portal or the name of a holder is wanted.

use clap::{Arg, Args as Group, Command};
use iscsi_initiator_dbus::{Iqn, Portal};

use super::place::is_free;

#[derive(Debug, Group)]
pub(crate) struct Complete {
    /// The words of the line after the program's name, the unfinished one at the end
    #[arg(last = true)]
    pub(crate) words: Vec<String>,
}

/// What may stand in the place of the unfinished word.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) words: Vec<String>,
    pub(crate) is_target: bool,
    pub(crate) is_portal: bool,
    /// One that holds a target already.
    pub(crate) is_holder: bool,
    /// The target that a portal or a holder is wanted of.
    pub(crate) of: Option<Iqn>,
    /// The option and its sign, which begin the unfinished word and what may stand in its place.
    pub(crate) prefix: String,
}

impl Wanted {
    /// What may follow these words in a line of this program.
    pub(super) fn after(program: &Command, words: &[String]) -> Self {
        let Some((unfinished, before)) = words.split_last() else { return Self::default() };
        let (mut command, mut given, mut option) = (program, Vec::new(), None);
        for word in before {
            if let Some(taken) = option.take() {
                given.push((value_name(taken), word.as_str()));
            } else if let Some((name, value)) = assigned(word) {
                given.extend(option_of(command, name).map(|option| (value_name(option), value)));
            } else if word.starts_with('-') {
                option = option_of(command, word).filter(|option| option.get_action().takes_values());
            } else if let Some(inner) = command.find_subcommand(word) {
                command = inner;
            } else {
                given.push(("", word.as_str()));
            }
        }
        let target = given.iter().find_map(|(_, word)| word.parse::<Iqn>().ok());
        if let Some(option) = option {
            return Self::value(command, option, target);
        }
        if let Some((name, _)) = assigned(unfinished) {
            let option = option_of(command, name).filter(|option| option.get_action().takes_values());
            let wanted = option.map(|option| Self::value(command, option, target));
            return Self { prefix: format!("{name}="), ..wanted.unwrap_or_default() };
        }
        if unfinished.starts_with('-') {
            let options = command.get_arguments().filter(|argument| !argument.is_hide_set());
            let longs = options.filter_map(Arg::get_long).map(|long| format!("--{long}"));
            return Self { words: longs.collect(), ..Self::default() };
        }
        if command.has_subcommands() {
            let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
            return Self {
                words: commands.map(|command| command.get_name().to_owned()).collect(),
                ..Self::default()
            };
        }
        let place = given.iter().filter(|(name, _)| name.is_empty()).count();
        let mut places = command.get_positionals().skip(place);
        if let Some(argument) = places.next().filter(|argument| !argument.get_possible_values().is_empty()) {
            return Self::value(command, argument, target);
        }
        let takes = |id: &str| command.get_positionals().any(|argument| argument.get_id() == id);
        let has_portal = given
            .iter()
            .any(|(name, word)| *name == "PORTAL" || (name.is_empty() && word.parse::<Portal>().is_ok()));
        let is_target = takes("TARGET") && target.is_none();
        // Where a portal may come first, its command looks only; elsewhere it is the target's.
        let is_portal = takes("PORTAL") && !has_portal && (!is_target || is_free(command.get_name()));
        Self { is_target, is_portal, of: target, ..Self::default() }
    }

    fn value(command: &Command, argument: &Arg, of: Option<Iqn>) -> Self {
        let values = argument.get_possible_values();
        let words = values.iter().map(|value| value.get_name().to_owned()).collect();
        let name = value_name(argument);
        // A new holder has a name of its own.
        let is_holder = name == "HOLDER" && command.get_name() == "release";
        let (is_target, is_portal) = (name == "TARGET", name == "PORTAL");
        Self { words, is_target, is_portal, is_holder, of, ..Self::default() }
    }
}

/// A word that is a long option with its value.
fn assigned(word: &str) -> Option<(&str, &str)> {
    word.split_once('=').filter(|(name, _)| name.starts_with("--"))
}

/// The option that this word names.
fn option_of<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|argument| match word.strip_prefix("--") {
        Some(long) => argument.get_long() == Some(long),
        None => argument.get_short().is_some_and(|short| word.strip_prefix('-') == Some(&short.to_string())),
    })
}

fn value_name(argument: &Arg) -> &str {
    let names = argument.get_value_names().and_then(|names| names.first());
    names.map_or("", |name| name.as_str())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Args;

    const TARGET: &str = "iqn.2003-01.com.example:d";

    fn after(line: &str) -> Wanted {
        let mut program = Args::command();
        program.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Wanted::after(&program, &words)
    }

    #[test]
    fn commands_options_and_words_are_those_of_the_arguments() {
        let words = after("lo").words;
        assert!(["login", "logout", "monitor"].iter().all(|word| words.contains(&(*word).to_owned())));
        assert!(!words.contains(&"complete".to_owned()));
        let words = after("login --").words;
        assert!(["--timeout", "--no-wait", "--json"].iter().all(|word| words.contains(&(*word).to_owned())));
        assert_eq!(after("multipath ").words[..3], ["setup", "show", "undo"]);
        assert_eq!(after("startup ").words, ["manual", "automatic"]);
        assert_eq!(after("login --startup ").words, ["manual", "automatic"]);
        assert_eq!(after("login --timeout "), Wanted::default());
    }

    #[test]
    fn a_value_may_be_in_the_word_of_its_option() {
        let wanted = after("login --startup=a");
        assert_eq!((wanted.words, wanted.prefix.as_str()), (after("startup ").words, "--startup="));
        let wanted = after(&format!("login --target={TARGET} --portal="));
        assert!(wanted.is_portal && !wanted.is_target && wanted.prefix == "--portal=", "{wanted:?}");
        assert_eq!(wanted.of, TARGET.parse().ok());
        for line in ["login --no-wait=", "login --unknown=", "login --timeout=6"] {
            let Wanted { words, is_target, is_portal, .. } = after(line);
            assert!(words.is_empty() && !is_target && !is_portal, "{line}");
        }
    }

    #[test]
    fn a_holder_is_wanted_where_one_is_released() {
        let wanted = after(&format!("release {TARGET} --as "));
        assert!(wanted.is_holder && wanted.of == TARGET.parse().ok(), "{wanted:?}");
        assert!(after(&format!("release -T {TARGET} --as=b")).is_holder);
        assert!(after("release --as ").is_holder && !after("release ").is_holder);
        assert!(!after(&format!("hold {TARGET} --as ")).is_holder, "it is a name of its own");
    }

    #[test]
    fn a_target_or_a_portal_is_wanted_where_the_command_takes_it() {
        for (line, is_target, is_portal) in [
            ("login ", true, false),
            ("-q login iqn", true, false),
            (&format!("login {TARGET} "), false, true),
            (&format!("login {TARGET} 192.0.2.21 "), false, false),
            (&format!("login -T {TARGET} "), false, true),
            (&format!("login --target={TARGET} "), false, true),
            ("login --target=iqn", true, false),
            ("login -T ", true, false),
            ("login --portal ", false, true),
            ("login -p 192.0.2.21 ", true, false),
            ("paths ", true, true),
            ("monitor 192.0.2.21 ", true, false),
            ("discover ", false, true),
            ("hold ", true, false),
            ("startup manual ", true, false),
            ("connect 192.0.2.21 --target ", true, false),
            ("doctor ", false, false),
        ] {
            let wanted = after(line);
            assert_eq!((wanted.is_target, wanted.is_portal), (is_target, is_portal), "{line}: {wanted:?}");
        }
        assert_eq!(after(&format!("login {TARGET} ")).of, TARGET.parse().ok());
    }
}

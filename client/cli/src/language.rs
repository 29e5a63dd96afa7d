//! The language of what people read: English, or that of their locale as far as there is a catalogue of gettext for it.
//! Must not translate what programs read, or fail for a catalogue: what is not in one is English.
//!
//! | room | what it is |
//! |---|---|
//! | `catalogue` | a catalogue, as msgfmt writes it |
//! | `failure` | an error of the contract |
//! | `foreign` | words and sentences that come from elsewhere: the contract's words, the names of columns |
//! | `locale` | which languages a person reads, by the environment |

mod catalogue;
pub(crate) mod failure;
mod foreign;
mod locale;
#[cfg(test)]
mod po_tests;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use iscsi_initiator_model::text::{Message, Phrase, checks};

use self::catalogue::Catalogue;

/// The name of the catalogue: that of the applet, too.
const DOMAIN: &str = "iscsi-initiator";
/// Where catalogues are if they are not beside the program.
const LOCALES: &str = "/usr/share/locale";

/// The language that is spoken; none for English.
static SPOKEN: OnceLock<Catalogue> = OnceLock::new();

/// A text of this program in the language that is spoken, with its values: `say!("{target} is held", target)`. For
/// tests/translations, which has xgettext find it: the text is one literal on one line.
macro_rules! say {
    (@value $name:ident) => { $name.to_string() };
    (@value $name:ident $value:expr) => { $value.to_string() };
    ($text:literal $(, $name:ident $(= $value:expr)?)* $(,)?) => {
        $crate::language::filled(
            &$crate::language::translated($text),
            &[$((stringify!($name), say!(@value $name $($value)?))),*],
        )
    };
}

/// The same, where it depends on a number, which is `{n}` in it.
macro_rules! counted {
    ($one:literal, $many:literal, $n:expr) => {{
        let n: usize = $n;
        $crate::language::filled(&$crate::language::plural($one, $many, n), &[("n", n.to_string())])
    }};
}

pub(crate) use {counted, say};

/// Chooses the language, before the first word. Programs are answered in English.
pub(crate) fn begin(words: &[OsString]) {
    let is_for_programs = |word: &OsString| {
        word == "--json"
            || word == "--bundle"
            || word.to_str().is_some_and(|word| word.starts_with("--bundle="))
    };
    if words.iter().any(is_for_programs) {
        return;
    }
    let value = |name: &str| env::var(name).unwrap_or_default();
    let folders = folders();
    let found = locale::languages(value).into_iter().find_map(|language| {
        folders.iter().find_map(|folder| {
            let file = folder.join(&language).join("LC_MESSAGES").join(format!("{DOMAIN}.mo"));
            Catalogue::read(&file)
        })
    });
    if let Some(catalogue) = found {
        // Set once: this is called once.
        let _ = SPOKEN.set(catalogue);
    }
}

/// Where catalogues may be: `/usr/local/share/locale` for `/usr/local/bin/iscsictl`.
fn folders() -> Vec<PathBuf> {
    if let Some(folder) = env::var_os("ISCSICTL_LOCALES") {
        return vec![folder.into()];
    }
    let program = env::current_exe().unwrap_or_default();
    let beside = program.parent().and_then(Path::parent).map(|root| root.join("share/locale"));
    beside.into_iter().chain([LOCALES.into()]).collect()
}

pub(crate) fn is_english() -> bool {
    SPOKEN.get().is_none()
}

/// A text without its values.
pub(crate) fn translated(text: &str) -> Cow<'_, str> {
    SPOKEN.get().and_then(|catalogue| catalogue.get(text)).map_or(Cow::Borrowed(text), Cow::Borrowed)
}

/// A text for a number, without its values.
pub(crate) fn plural(one: &str, many: &str, n: usize) -> String {
    let translated = SPOKEN.get().and_then(|catalogue| catalogue.get_plural(one, n));
    translated.unwrap_or(if n == 1 { one } else { many }).to_owned()
}

/// The text with its values in place of `{name}`.
pub(crate) fn filled(text: &str, values: &[(&str, String)]) -> String {
    iscsi_initiator_model::text::filled(text, |name| {
        let value = values.iter().find(|(known, _)| *known == name);
        value.map(|(_, value)| value.clone())
    })
}

/// A phrase of the model.
pub(crate) fn spoken(phrase: &Phrase) -> String {
    phrase.translated(&|message: Message, n| match message.plural_id() {
        Some(many) => plural(message.id(), many, usize::try_from(n).unwrap_or(usize::MAX)),
        None => translated(message.id()).into_owned(),
    })
}

/// A word of the contract or the name of a column; one that is not known as it is.
pub(crate) fn word(word: impl ToString) -> String {
    let word = word.to_string();
    if foreign::is_known(&word) { translated(&word).into_owned() } else { word }
}

/// What a check or a finding looks at; in English, its name.
pub(crate) fn check(name: &str) -> String {
    match checks::title(name) {
        Some(title) if !is_english() => spoken(&title.into()),
        _ => word(name),
    }
}

/// The lines of a help text: paragraphs, examples with their remarks, numbers with their meanings.
pub(crate) fn help(text: &str) -> String {
    text.split('\n').map(help_line).collect::<Vec<_>>().join("\n")
}

fn help_line(line: &str) -> String {
    match help_parts(line) {
        (before, "") => before.to_owned(),
        (before, text) => format!("{before}{}", translated(text)),
    }
}

/// What stays as it is, and what is translated.
fn help_parts(line: &str) -> (&str, &str) {
    if !line.starts_with("  ") {
        return ("", line);
    }
    if let Some((place, mark)) = line.match_indices(" # ").next() {
        return line.split_at_checked(place + mark.len()).unwrap_or((line, ""));
    }
    // An entry of the exit codes: its meaning begins behind its number and two blanks.
    let entry = line.trim_start();
    match entry.starts_with(|c: char| c.is_ascii_digit()).then(|| entry.find("  ")).flatten() {
        Some(place) => line.split_at_checked(line.len() - entry.len() + place + 2).unwrap_or((line, "")),
        None => (line, ""),
    }
}

//! Texts in the person's language.
//! Must not read what the daemon says as markup: whoever shows a text sees to that.

use std::env;

pub(crate) use gettextrs::gettext;
use gettextrs::{LocaleCategory, bind_textdomain_codeset, bindtextdomain, ngettext, setlocale, textdomain};
use iscsi_initiator_model::text::{Message, Phrase};

/// The catalogue's name: that of `domain=` in the templates, too.
const DOMAIN: &str = "iscsi-initiator";
/// Where catalogues are, unless `ISCSI_APPLET_LOCALES` says otherwise.
const LOCALES: &str = match option_env!("LOCALEDIR") {
    Some(folder) => folder,
    None => "/usr/share/locale",
};

/// Chooses the language, before the first text. Without a catalogue everything is English.
pub(crate) fn begin() {
    setlocale(LocaleCategory::LcAll, "");
    let locales = env::var("ISCSI_APPLET_LOCALES").unwrap_or_else(|_| LOCALES.to_owned());
    // The only error is a lack of memory, or a NUL in the name.
    let _ = bindtextdomain(DOMAIN, locales);
    let _ = bind_textdomain_codeset(DOMAIN, "UTF-8");
    let _ = textdomain(DOMAIN);
}

/// A phrase of the model.
pub(crate) fn say(phrase: &Phrase) -> String {
    phrase.translated(&translated)
}

/// A text of the model that has no values.
pub(crate) fn word(message: Message) -> String {
    translated(message, 1)
}

fn translated(message: Message, n: u64) -> String {
    match message.plural_id() {
        Some(many) => ngettext(message.id(), many, u32::try_from(n).unwrap_or(u32::MAX)),
        None => gettext(message.id()),
    }
}

/// A text with its values in place of `{name}`. A value is not looked into for further names.
pub(crate) fn filled(text: &str, values: &[(&str, &str)]) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        whole.push_str(before);
        let known = after.split_once('}').and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((*value, after))
        });
        match known {
            Some((value, after)) => {
                whole.push_str(value);
                rest = after;
            }
            None => {
                whole.push('{');
                rest = after;
            }
        }
    }
    whole + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_where_its_name_is_and_is_not_looked_into() {
        assert_eq!(filled("{a} of {b}", &[("a", "{b}"), ("b", "2")]), "{b} of 2");
        assert_eq!(filled("{c}{", &[("a", "1")]), "{c}{");
    }
}

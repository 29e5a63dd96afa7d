//! A text with its values, which can be shown in any language.

use std::fmt;

use super::escape::escape;

/// A text as the sources have it: English, and the key of its translations (gettext's msgid).
///
/// `{name}` in it stands for a value, `{n}` for the number that a plural depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    one: &'static str,
    many: Option<&'static str>,
}

/// A text; for xgettext, `--keyword=message`.
pub(super) const fn message(text: &'static str) -> Message {
    Message { one: text, many: None }
}

/// A text that depends on a number; for xgettext, `--keyword=plural:1,2`.
pub(super) const fn plural(one: &'static str, many: &'static str) -> Message {
    Message { one, many: Some(many) }
}

impl Message {
    /// The text, in the singular.
    pub const fn id(&self) -> &'static str {
        self.one
    }

    /// The plural, if it has one.
    pub const fn plural_id(&self) -> Option<&'static str> {
        self.many
    }

    /// In English, for a number.
    pub fn english(&self, n: u64) -> &'static str {
        match self.many {
            Some(many) if n != 1 => many,
            _ => self.one,
        }
    }

    /// With a value for `{name}`.
    pub fn with(self, name: &'static str, value: impl Into<Phrase>) -> Phrase {
        Phrase::from(self).with(name, value)
    }

    /// For a number, which `{n}` stands for.
    pub fn of(self, n: usize) -> Phrase {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        Phrase(Form::Message { message: self, n, values: vec![("n", Phrase::from(n.to_string()))] })
    }
}

/// A text with its values. `Display` shows it in English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// As it is in every language: a name, a number, the daemon's words.
    Words(String),
    Message {
        message: Message,
        n: u64,
        values: Vec<(&'static str, Phrase)>,
    },
}

impl Phrase {
    /// No text.
    pub const EMPTY: Self = Self(Form::Words(String::new()));

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Form::Words(words) if words.is_empty())
    }

    /// With a value for `{name}`. It is not looked into for further names.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Self>) -> Self {
        if let Form::Message { values, .. } = &mut self.0 {
            values.push((name, value.into()));
        }
        self
    }

    /// What this is made of, unless it is the same in every language.
    pub fn message(&self) -> Option<Message> {
        match &self.0 {
            Form::Words(_) => None,
            Form::Message { message, .. } => Some(*message),
        }
    }

    /// What is the same in every language may come from elsewhere, and is [escaped](escape).
    ///
    /// In the language of `translate`, which gets each text and its number (1 if it has none). With gettext that is
    /// `ngettext` where [`Message::plural_id`] has a text, else `gettext`.
    pub fn translated(&self, translate: &dyn Fn(Message, u64) -> String) -> String {
        match &self.0 {
            Form::Words(words) => escape(words),
            Form::Message { message, n, values } => filled(&translate(*message, *n), |name| {
                let value = values.iter().find(|(known, _)| *known == name);
                value.map(|(_, value)| value.translated(translate))
            }),
        }
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.translated(&|message, n| message.english(n).to_owned()))
    }
}

impl From<Message> for Phrase {
    fn from(message: Message) -> Self {
        Self(Form::Message { message, n: 1, values: Vec::new() })
    }
}

impl From<String> for Phrase {
    fn from(words: String) -> Self {
        Self(Form::Words(words))
    }
}

impl From<&str> for Phrase {
    fn from(words: &str) -> Self {
        Self::from(words.to_owned())
    }
}

impl From<&String> for Phrase {
    fn from(words: &String) -> Self {
        Self::from(words.clone())
    }
}

/// The text with its values in place of `{name}`; what has no value stays as it is.
pub fn filled(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        whole.push_str(before);
        match after.split_once('}').and_then(|(name, after)| Some((value(name)?, after))) {
            Some((value, after)) => {
                whole.push_str(&value);
                rest = after;
            }
            None => {
                whole.push('{');
                rest = after;
            }
        }
    }
    whole.push_str(rest);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Message = plural("{n} disk of {target}", "{n} disks of {target}");

    #[test]
    fn a_value_stands_where_its_name_is_and_is_not_looked_into() {
        let phrase = SOME.of(2).with("target", "{n}{target}");
        assert_eq!(phrase.to_string(), "2 disks of {n}{target}");
        assert_eq!(SOME.of(1).with("target", "a").to_string(), "1 disk of a");
        for (text, shown) in [("{", "{"), ("a{b", "a{b"), ("{x}{n}", "{x}1"), ("}{n}{", "}1{")] {
            assert_eq!(filled(text, |name| (name == "n").then(|| "1".to_owned())), shown);
        }
    }

    #[test]
    fn a_translation_has_the_values_too_and_may_turn_them_round() {
        let phrase = SOME.of(3).with("target", message("down"));
        let chinese = |message: Message, n: u64| match message.id() {
            "down" => "断开".to_owned(),
            _ => format!("{{target}}（{n}）：{{n}} 个"),
        };
        assert_eq!(phrase.translated(&chinese), "断开（3）：3 个");
        let odd = SOME.of(1).with("target", "a\u{202e}b\x1b[2J\n");
        assert_eq!(
            odd.to_string(),
            "1 disk of a\\u{202e}b\\u{1b}[2J\\n",
            "no name hides or turns round what follows"
        );
        assert_eq!(Phrase::from("as it is").translated(&chinese), "as it is");
        assert!(Phrase::EMPTY.is_empty() && !phrase.is_empty());
    }
}

//! Which languages a person reads: by the environment, as gettext has it.

/// The names of catalogues, the best first; nothing for English, and for a terminal that does not show UTF-8.
pub(super) fn languages(value: impl Fn(&str) -> String) -> Vec<String> {
    let first =
        |names: [&str; 3]| names.into_iter().map(&value).find(|value| !value.is_empty()).unwrap_or_default();
    let characters = first(["LC_ALL", "LC_CTYPE", "LANG"]).to_ascii_lowercase();
    let messages = first(["LC_ALL", "LC_MESSAGES", "LANG"]);
    if !(characters.contains(".utf-8") || characters.contains(".utf8"))
        || is_english(&messages, &["C", "POSIX"])
    {
        return Vec::new();
    }
    let list = value("LANGUAGE");
    let wanted = if list.is_empty() { messages } else { list };
    let mut found = Vec::new();
    for name in wanted.split(':').filter(|name| !name.is_empty()) {
        let name = name.split(['.', '@']).next().unwrap_or_default();
        if is_english(name, &["C", "POSIX", "en"]) {
            break;
        }
        // It becomes a part of a file's name.
        if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty() {
            let language = name.split('_').next().unwrap_or_default();
            found.extend([name.to_owned(), language.to_owned()]);
        }
    }
    found.dedup();
    found
}

fn is_english(name: &str, names: &[&str]) -> bool {
    names.contains(&name.split(['.', '@', '_']).next().unwrap_or_default()) || name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_that_of_the_environment() {
        for (environment, wanted) in [
            ("", ""),
            ("LANG=C.UTF-8", ""),
            ("LANG=zh_CN.UTF-8", "zh_CN zh"),
            ("LANG=zh_CN.utf8", "zh_CN zh"),
            ("LANG=zh_CN.UTF-8 LC_ALL=C", ""),
            ("LANG=zh_CN.UTF-8 LC_ALL=C.UTF-8 LANGUAGE=zh_CN", ""),
            ("LANG=en_US.UTF-8 LC_MESSAGES=zh_CN.UTF-8", "zh_CN zh"),
            ("LANG=en_US.UTF-8 LANGUAGE=zh_CN:en", "zh_CN zh"),
            ("LANG=zh_CN.UTF-8 LANGUAGE=en:zh_CN", ""),
            ("LANG=zh_CN.UTF-8 LANGUAGE=de:zh_CN", "de zh_CN zh"),
            ("LANG=zh_CN.GB18030", ""),
            ("LANG=zh_CN", ""),
            ("LANG=zh_CN.UTF-8 LANGUAGE=../x", ""),
            ("LANG=de_DE.UTF-8@euro", "de_DE de"),
        ] {
            let value = |name: &str| {
                let pairs = environment.split(' ').filter_map(|pair| pair.split_once('='));
                pairs
                    .filter(|(known, _)| *known == name)
                    .map(|(_, value)| value.to_owned())
                    .next_back()
                    .unwrap_or_default()
            };
            assert_eq!(languages(value).join(" "), wanted, "{environment}");
        }
    }
}

//! multipath's configuration on the machine: read by multipathd, and judged by `multipath -t`.
//! Must not parse it: of all settings only `find_multipaths` is looked for.

use std::{fs, path::Path};

use super::{Core, FindMultipaths, Machine};

const FOLDER: &str = "etc/multipath";

impl Machine {
    /// multipathd reads its configuration anew. Where that says nothing, it stays as it is.
    pub fn reload_multipathd(&self) {
        let main = self.core.files.text(&format!("{FOLDER}.conf")).unwrap_or_default();
        let text = main + &configuration(&self.at(FOLDER));
        if let Some(find) = find_multipaths(&text) {
            self.core.model().multipathd.find = find;
        }
    }

    /// What a unit of its own runs, with `folder` in the place of multipath's: whether it ends well. It knows
    /// `multipath -t`, and `install` and `rm` of one file of the machine.
    pub(crate) fn run_apart(&self, words: &[String], folder: &str, output: (&str, &str)) -> bool {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [program, "-t"] if program.ends_with("/multipath") => {
                let text = configuration(Path::new(folder));
                let word = find_multipaths(&text).unwrap_or(FindMultipaths::Strict).word();
                // Its old word for it.
                let word = if word == "yes" { "on" } else { word };
                let complaint: String = unknown(&text).map(|line| format!("1.0 | {line}\n")).collect();
                let told = format!("defaults {{\n\tfind_multipaths \"{word}\"\n}}\n");
                self.core.write_inside(output.0, &told) && self.core.write_inside(output.1, &complaint)
            }
            ["/usr/bin/install", "-m", "0644", "/dev/null", path] => self.core.write_inside(path, ""),
            ["/usr/bin/rm", "-f", path] => {
                self.core.inside(path).inspect(|path| self.core.files.remove(path)).is_some()
            }
            _ => false,
        }
    }
}

impl Core {
    /// A path of the machine's, without its root.
    fn inside(&self, path: &str) -> Option<String> {
        Path::new(path).strip_prefix(self.files.root()).ok()?.to_str().map(str::to_owned)
    }

    fn write_inside(&self, path: &str, text: &str) -> bool {
        self.inside(path).inspect(|path| self.files.put(path, text, 0o644)).is_some()
    }
}

/// All files of the folder, in their order.
fn configuration(folder: &Path) -> String {
    let entries = fs::read_dir(folder.join("conf.d")).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// The last one counts.
fn find_multipaths(text: &str) -> Option<FindMultipaths> {
    let mut values = text.lines().filter_map(|line| line.trim().strip_prefix("find_multipaths "));
    values.next_back().map(|value| match value.trim().trim_matches('"') {
        "yes" | "on" => FindMultipaths::Yes,
        "no" | "off" | "greedy" | "smart" => FindMultipaths::Greedy,
        _ => FindMultipaths::Strict,
    })
}

/// What it finds fault with: lines with this word, so that a test can have some.
fn unknown(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.contains(".conf line "))
}

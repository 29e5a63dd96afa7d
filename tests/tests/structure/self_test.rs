//! Each check on a tiny crate that is wrong, and on the same one when it is right.

use crate::{circles, direction, facts::Facts, not_yet, rooms, tree::Tree, walls};

const TABLE: &str = "//! What it is.\n//!\n//! | room | what it is |\n//! |---|---|\n";

/// A workspace whose daemon has these files below `service/src`.
fn daemon(files: &[(&str, &str)]) -> Facts {
    let paths: Vec<String> = files.iter().map(|(name, _)| format!("service/src/{name}")).collect();
    let mut all = vec![
        ("Cargo.toml", "[workspace]\nmembers = [\"service\", \"tests\"]\n"),
        ("service/Cargo.toml", "[package]\nname = \"iscsi-initiatord\"\n"),
    ];
    all.extend(paths.iter().zip(files).map(|(path, (_, text))| (path.as_str(), *text)));
    Facts::of(&Tree::of(&all))
}

/// A workspace of a client, the contract and the daemon.
fn workspace(client: &str, client_code: &str, contract_code: &str) -> Facts {
    Facts::of(&Tree::of(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"dbus\", \"service\", \"client/cli\"]\n"),
        ("dbus/Cargo.toml", "[package]\nname = \"contract\"\n"),
        ("dbus/src/lib.rs", contract_code),
        (
            "service/Cargo.toml",
            "[package]\nname = \"the-daemon\"\n[dependencies]\ncontract.workspace = true\n",
        ),
        ("service/src/lib.rs", "use contract::Iqn;"),
        ("client/cli/Cargo.toml", client),
        ("client/cli/src/main.rs", client_code),
    ]))
}

/// Each circle's files, without their folder.
fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let found = circles::all(&daemon(files));
    let name = |path: &String| path.trim_start_matches("service/src/").to_owned();
    found.iter().map(|circle| circle.files.iter().map(name).collect()).collect()
}

fn walls(engine: &str) -> Vec<String> {
    let found = walls::broken(&daemon(&[("lib.rs", "mod engine;"), ("engine.rs", engine)]));
    found.into_iter().map(|finding| format!("{} {}", finding.line, finding.key)).collect()
}

fn tables(parent: &str) -> Vec<String> {
    let root = format!("{TABLE}//! | `a` | the parent |\nmod a;");
    let files = [("lib.rs", root.as_str()), ("a.rs", parent), ("a/b.rs", ""), ("a/c.rs", "")];
    let found = rooms::missing_tables(&daemon(&files));
    found
        .into_iter()
        .map(|finding| format!("{}:{}: {}", finding.file, finding.line, finding.message))
        .collect()
}

#[test]
fn files_that_use_each_other_are_a_circle() {
    let b = ("b.rs", "use crate::a::A; pub fn b(_: A) {}");
    let root = ("lib.rs", "mod a; mod b;");
    for a in [
        "use crate::b::b; pub struct A;",
        "pub struct A; fn f() { super::b::b(A) }",
        "use super::b; pub struct A; fn f() { b::b(A) }",
    ] {
        assert_eq!(circles(&[root, ("a.rs", a), b]), [["a.rs", "b.rs"]], "{a}");
    }
    assert!(circles(&[root, ("a.rs", "pub struct A;"), b]).is_empty());
}

#[test]
fn what_a_macro_is_given_ties_as_other_code_does() {
    let b = ("b.rs", "use crate::a::A; pub fn b(_: A) {}");
    let a = ("a.rs", "pub struct A; fn f() { tokio::select! { x = crate::b::b(A) => x } }");
    assert_eq!(circles(&[("lib.rs", "mod a; mod b;"), a, b]), [["a.rs", "b.rs"]]);
}

#[test]
fn a_declaration_and_what_only_tests_see_tie_nothing() {
    let child = ("a/child.rs", "use super::A; pub struct B(A);");
    assert!(circles(&[("lib.rs", "mod a;"), ("a.rs", "mod child; pub struct A;"), child]).is_empty());
    let tests =
        "mod child; pub struct A; #[cfg(test)] mod tests { use super::child::B; } #[cfg(test)] use child::B;";
    assert!(circles(&[("lib.rs", "mod a;"), ("a.rs", tests), child]).is_empty());
    let fuzz = "mod child; pub struct A; #[cfg(any(test, feature = \"fuzz\"))] use child::B;";
    assert_eq!(circles(&[("lib.rs", "mod a;"), ("a.rs", fuzz), child]), [["a.rs", "a/child.rs"]]);
}

#[test]
fn a_parent_that_exports_its_child_needs_it() {
    let child = ("a/child.rs", "use super::A; pub struct B(A);");
    let parent = ("a.rs", "mod child; pub(crate) use self::child::B; pub struct A;");
    assert_eq!(circles(&[("lib.rs", "mod a;"), parent, child]), [["a.rs", "a/child.rs"]]);
}

#[test]
fn a_name_is_taken_from_the_file_that_defines_it() {
    // Through the parent, but from its sibling: no circle with the parent.
    let parent = ("a.rs", "mod one; mod two; pub(crate) use self::{one::One, two::Two as Other};");
    let files = [("lib.rs", "mod a;"), parent, ("a/one.rs", "use super::Other; pub struct One(Other);")];
    assert!(circles(&[&files[..], &[("a/two.rs", "pub struct Two;")]].concat()).is_empty());
    let back = [("a/two.rs", "use super::*; pub struct Two(Box<One>);")];
    assert_eq!(circles(&[&files[..], &back].concat()), [["a.rs", "a/one.rs", "a/two.rs"]]);
    let back = [("a/two.rs", "use crate::a::One; pub struct Two(Box<One>);")];
    assert_eq!(circles(&[&files[..], &back].concat()), [["a/one.rs", "a/two.rs"]]);
}

#[test]
fn methods_of_one_type_in_two_files_can_be_a_circle() {
    let root = ("lib.rs", "mod engine;");
    let engine = ("engine.rs", "mod login; mod logout; pub struct Engine; impl Engine { fn new() {} }");
    let login = "use super::Engine; impl Engine { pub fn login(&self) { self.logout() } }";
    let calm = "use super::Engine; impl Engine { pub fn logout(&self) {} }";
    assert!(circles(&[root, engine, ("engine/login.rs", login), ("engine/logout.rs", calm)]).is_empty());
    for logout in [
        "use super::Engine; impl Engine { pub fn logout(&self) { self.login() } }",
        "use super::Engine; impl Engine { pub fn logout(&self) { tokio::join!(self.login()); } }",
        "use super::Engine; impl Engine { pub fn logout(self: Arc<Self>) { let at = Arc::clone(&self); at.login() } }",
        "use super::Engine; impl Engine { pub fn logout(&self) { Self::login(self) } }",
        "use super::Engine; impl Engine { pub fn logout(&self) { Engine::login(self) } }",
        "use super::Engine; impl Engine { pub fn logout(&self) { with(|it: &Engine| it.login()) } }",
        "use super::Engine; impl Engine { pub fn logout(&self) {} } fn f(it: &Arc<Engine>) { it.login() }",
        "use super::Engine; impl Engine { pub fn logout(&self) {} } fn f(call: &Call) { call.engine.login() }",
    ] {
        let found = circles(&[root, engine, ("engine/login.rs", login), ("engine/logout.rs", logout)]);
        assert_eq!(found, [["engine/login.rs", "engine/logout.rs"]], "{logout}");
    }
}

#[test]
fn methods_in_another_file_are_no_circle_unless_the_types_own_file_needs_them() {
    let root = ("lib.rs", "mod engine;");
    let room = ("engine/login.rs", "use super::Engine; impl Engine { pub fn login(&self) {} }");
    let helper =
        ("engine/login.rs", "use super::{Engine, help}; impl Engine { pub fn login(&self) { help() } }");
    let calm = ("engine.rs", "mod login; pub struct Engine; fn help() {}");
    assert!(circles(&[root, calm, room]).is_empty());
    assert!(circles(&[root, calm, helper]).is_empty());
    // Nor by way of a third file that the type's own file needs.
    let around = ("engine.rs", "mod login; mod wish; use self::wish::Wish; pub struct Engine(Wish);");
    let wish = ("engine/wish.rs", "use super::login::Place; pub struct Wish(Place);");
    let place = "pub struct Place; use super::Engine; impl Engine { pub fn login(&self) {} }";
    assert!(circles(&[root, around, wish, ("engine/login.rs", place)]).is_empty());
    let back = format!("{place} use super::Wish;");
    let found = circles(&[root, around, wish, ("engine/login.rs", &back)]);
    assert_eq!(found, [["engine/login.rs", "engine/wish.rs"]]);
    let calling =
        ("engine.rs", "mod login; pub struct Engine; impl Engine { fn new(&self) { self.login() } }");
    assert_eq!(circles(&[root, calling, room]), [["engine.rs", "engine/login.rs"]]);
}

#[test]
fn a_listed_circle_may_shrink_but_neither_grow_nor_stay_listed() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::a::A; pub struct B;"),
    ];
    let found = circles::all(&daemon(&files));
    let (a, b, c) = ("service/src/a.rs", "service/src/b.rs", "service/src/c.rs");
    assert!(circles::compare(&found, &[&[a, b]]).is_empty());
    let complaints = circles::compare(&found, &[]);
    assert!(complaints.iter().any(|line| line.contains("service/src/a.rs:1: takes B from service/src/b.rs")));
    assert!(!circles::compare(&found, &[&[a]]).is_empty(), "one file of it is not all of it");
    assert!(!circles::compare(&found, &[&[a, b, c]]).is_empty(), "c is in no circle");
    assert!(!circles::compare(&[], &[&[a, b]]).is_empty());
}

#[test]
fn the_engine_is_caught_at_files_sockets_and_programs() {
    let wrong = [
        ("use std::fs;", "1 std::fs"),
        ("use std::{path::Path, fs::{self, File}};", "1 std::fs"),
        ("fn f() { std::fs::read(\"x\"); }", "1 std::fs"),
        ("fn f() {\n    tracing::info!(x = std::fs::read(\"x\"));\n}", "2 std::fs"),
        ("use std::net::TcpStream;", "1 std::net"),
        ("use std::os::unix::net::UnixStream;", "1 std::os::unix::net"),
        ("use std::process::Command;", "1 std::process::Command"),
        ("fn f() { tokio::fs::read(\"x\"); }", "1 tokio::fs"),
        ("use tokio::net as nets;", "1 tokio::net"),
        ("use tokio::process::Command;", "1 tokio::process"),
        ("use rustix::fs::openat;", "1 rustix::fs"),
        ("use rustix::net::socket;", "1 rustix::net"),
        ("use rustix::process::kill_process;", "1 rustix::process"),
        ("use crate::backend::host::atomic::Dir;", "1 crate::backend::host::atomic"),
        ("use crate::backend::host::{resolve, program};", "1 crate::backend::host::program"),
        ("fn f(path: &Path) -> bool { path.exists() }", "1 exists()"),
        ("fn f(path: &Path) { assert!(path.join(\"x\").is_file()); }", "1 is_file()"),
        ("fn f(paths: &[PathBuf]) { paths.iter().any(|path| path.read_link().is_ok()) }", "1 read_link()"),
        ("use std::path::Path; fn f(paths: &[PathBuf]) { paths.iter().all(Path::is_dir) }", "1 is_dir()"),
    ];
    for (code, finding) in wrong {
        assert!(walls(code).contains(&finding.to_owned()), "{code}: {:?}", walls(code));
    }
    let hidden = "use crate::backend::host; fn f() { host::program::run() }";
    assert_eq!(walls(hidden), ["1 crate::backend::host::program"]);
    let right = "use std::{net::IpAddr, path::Path, process::ExitCode}; use crate::backend::host::resolve;
        fn f(list: &List, path: &Path) { list.metadata(path); path.join(\"x\"); }
        #[cfg(test)] mod tests { use std::fs; }";
    assert_eq!(walls(right), Vec::<String>::new());
    let below = [("lib.rs", "mod engine;"), ("engine.rs", "mod a;"), ("engine/a.rs", "use std::fs;")];
    assert_eq!(walls::broken(&daemon(&below)).len(), 1);
    let beside = [("lib.rs", "mod backend;"), ("backend.rs", "use std::fs;")];
    assert!(walls::broken(&daemon(&beside)).is_empty());
}

#[test]
fn what_is_listed_passes_and_what_is_listed_in_vain_does_not() {
    let found = walls::broken(&daemon(&[("lib.rs", "mod engine;"), ("engine.rs", "use std::fs;")]));
    let entry = ("service/src/engine.rs", "std::fs");
    assert!(not_yet::compare(&found, &[entry], "WALLS").is_empty());
    assert_eq!(not_yet::compare(&found, &[], "WALLS").len(), 1);
    assert_eq!(not_yet::compare(&found, &[entry, ("service/src/engine.rs", "tokio::fs")], "WALLS").len(), 1);
    assert_eq!(not_yet::compare(&[], &[entry], "WALLS").len(), 1);
}

#[test]
fn a_thirteenth_room_is_one_too_many() {
    let with = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("engine/r{number}.rs")).collect();
        let rooms: String = (0..count).map(|number| format!("mod r{number};")).collect();
        let rooms = format!("{rooms} #[cfg(test)] mod tests {{}}");
        let mut files =
            vec![("lib.rs", "mod backend; mod bus; mod engine;"), ("backend.rs", ""), ("bus.rs", "")];
        files.push(("engine.rs", &rooms));
        files.extend(names.iter().map(|name| (name.as_str(), "")));
        rooms::too_many(&daemon(&files))
    };
    assert!(with(12).is_empty());
    assert_eq!(with(13).len(), 1);
}

#[test]
fn a_table_has_one_line_for_each_room() {
    let code = "mod b;\nmod c;\n#[cfg(test)]\nmod tests {}\n";
    let b = "//! | `b` | this |\n";
    let right = format!(
        "{TABLE}{b}//! | [`c`] | that |\n//!\n//! | other | table |\n//! |---|---|\n//! | x | y |\n\n{code}"
    );
    assert_eq!(tables(&right), Vec::<String>::new());
    let long = "x".repeat(120);
    let cases = [
        (format!("//! No table.\n\n{code}"), "a.rs:1: begin with a table"),
        (format!("{TABLE}{b}\n{code}"), "a.rs:8: `c` is missing"),
        (
            format!("{TABLE}{b}//! | `c` | that |\n//! | `d` | what is not there |\n{code}"),
            "a.rs:7: the table lists `d`",
        ),
        (format!("{TABLE}{b}{b}//! | `c` | that |\n{code}"), "a.rs:6: the table lists `b`"),
        (format!("{TABLE}{b}//! | `c` | |\n{code}"), "a.rs:6: the table does not say what `c` is"),
        (format!("{TABLE}{b}//! | `c` | {long} |\n{code}"), "a.rs:6: the line of `c` is longer"),
        (
            format!("{TABLE}{b}//! | `c` | that |\n//! | `tests` | only tests |\n{code}"),
            "a.rs:7: the table lists `tests`",
        ),
        (format!("//! | room | what |\n{b}//! | `c` | that |\n{code}"), "a.rs:1: the table's second line"),
    ];
    for (text, complaint) in cases {
        assert!(tables(&text).iter().any(|found| found.contains(complaint)), "{text}\n{:?}", tables(&text));
    }
    assert!(tables("pub struct Alone;").is_empty(), "without rooms there is no table");
}

#[test]
fn the_parts_of_the_daemon_use_only_what_lies_below_them() {
    let root = ("lib.rs", "mod backend; mod bus; mod engine;");
    let with = |backend, engine, bus| {
        direction::reversed(&daemon(&[root, ("backend.rs", backend), ("engine.rs", engine), ("bus.rs", bus)]))
            .len()
    };
    assert_eq!(with("pub struct B;", "use crate::backend::B; pub struct E;", "use crate::engine::E;"), 0);
    assert_ne!(with("use crate::engine::E;", "pub struct E;", ""), 0);
    assert_ne!(with("use crate::engine;", "", ""), 0);
    assert_ne!(with("fn f() { super::bus::f() }", "", "pub fn f() {}"), 0);
    assert_ne!(with("", "use crate::bus::f;", "pub fn f() {}"), 0);
    assert_ne!(with("", "fn f() { format!(\"{}\", crate::bus::f()); }", "pub fn f() {}"), 0);
}

#[test]
fn a_client_needs_the_contract_alone_and_the_contract_nothing() {
    let client = "[package]\nname = \"client\"\n[dependencies]\ncontract = { workspace = true }\n";
    let tests = format!("{client}[dev-dependencies]\nthe-daemon.workspace = true\n");
    assert!(direction::reversed(&workspace(&tests, "use contract::Iqn;", "pub struct Iqn;")).is_empty());
    for dependency in [
        "the-daemon.workspace = true",
        "the-daemon = \"1\"",
        "d = { path = \"..\", package = \"the-daemon\" }",
        "[dependencies.the-daemon]",
        "[target.'cfg(unix)'.dependencies]\nthe-daemon = \"1\"",
    ] {
        let found = direction::reversed(&workspace(&format!("{client}{dependency}\n"), "", ""));
        assert_eq!(found.len(), 1, "{dependency}");
        assert!(found[0].starts_with("client/cli/Cargo.toml:"), "{}", found[0]);
    }
    assert_eq!(direction::reversed(&workspace(client, "fn f() { the_daemon::serve() }", "")).len(), 1);
    assert_eq!(direction::reversed(&workspace(client, "", "use the_daemon::serve;")).len(), 1);
    assert_eq!(direction::reversed(&workspace(client, "", "pub fn f() { client::main() }")).len(), 1);
}

#[test]
fn a_file_that_nobody_declares_is_seen() {
    assert_eq!(daemon(&[("lib.rs", "mod a;"), ("a.rs", ""), ("b.rs", "")]).unread, ["service/src/b.rs"]);
}

#[test]
fn a_page_that_names_what_is_not_there_is_found() {
    let tree = Tree::of(&[
        ("service/src/engine/login.rs", "pub fn log_in() {}\nimpl Engine {\n    fn login(&self) {}\n}"),
        ("service/src/engine/call.rs", "pub fn act<T>() {}"),
    ]);
    let right =
        "`login::log_in`, `Engine::login`, `call::act`, `engine/login.rs`, `x/y`, `a b`, `std::fs::read`";
    assert_eq!(crate::pages::missing(&tree, right), [""; 0]);
    for wrong in ["`login::act`", "`Engine::log_in_at`", "`engine/logout.rs`", "`ogin.rs`"] {
        assert_eq!(crate::pages::missing(&tree, wrong).len(), 1, "{wrong}");
    }
}

#[test]
fn a_deadline_is_found_with_what_is_said_above_it() {
    let tree = Tree::of(&[(
        "a/src/lib.rs",
        "/// How long\n/// it may take.\nconst ONE: Duration = Duration::from_secs(3);\n\
         const TWO: Duration = Duration::from_millis(5);\n/// x\nfn f() {}\n\
         #[cfg(test)]\nmod tests {\n    const T: Duration = Duration::from_secs(1);\n}\n",
    )]);
    let found = crate::deadlines::all(&tree);
    let shown: Vec<_> = found.iter().map(|d| (d.value.as_str(), d.says.as_str(), d.name.as_str())).collect();
    assert_eq!(shown, [("3 s", "How long it may take.", "ONE"), ("5 ms", "", "TWO")]);
    assert!(crate::deadlines::page(&tree).ends_with("| 5 ms |  | `a/src/lib.rs` (`TWO`) |\n"));
}

#[test]
fn a_phrase_is_found_with_its_line() {
    let found = crate::language::in_text("a.md", "One.\nHe says that he may.\n");
    assert_eq!(found, ["a.md:2: \"he\": write they, or the caller"]);
    assert!(crate::language::in_text("a.md", "the there then\n").is_empty());
}

#[test]
fn a_command_is_made_by_what_quotes_and_stands_where_it_is_found() {
    let complaints = |line: &str| {
        let text =
            format!("fn f() {{ {line} }}\n#[cfg(test)]\nmod tests {{ const T: &str = \"rm {{x}}\"; }}\n");
        crate::hints::complaints(&crate::hints::texts(&Tree::of(&[("a/src/lib.rs", &text)])))
    };
    for (line, what) in [
        ("format!(\"see it: iscsictl paths {target}\")", "what is put into a command is quoted by hint!"),
        ("format!(\"sudo rm {}\", path.display())", "what is put into a command is quoted by hint!"),
        ("\"log in: iscsictl login \".to_owned() + target", "a command that goes on elsewhere"),
        ("format!(\"set it with iscsictl set-chap {} now\", quoted(name))", "iscsictl stands in prose"),
        ("\"see it: iscsictl nodes, then iscsictl forget X\"", "prose behind a command"),
        ("hint!(\"rm {file}\", file = path)", "an object without an example"),
    ] {
        let found = complaints(line);
        assert!(found.len() == 1 && found[0].contains(what), "{line}: {found:?}");
    }
    for line in [
        "hint!(\"see it: iscsictl paths {TARGET} && rm {FILE}\", TARGET = a, FILE = b)",
        "format!(\"see it: {}\", hint!(\"iscsictl paths {TARGET}\", TARGET = a))",
        "\"see it: iscsictl nodes; then: iscsictl paths\"",
        "tracing::warn!(\"rm {path}\")",
        "format!(\"multipath {version} rejected it\")",
    ] {
        assert_eq!(complaints(line), [""; 0], "{line}");
    }
    let tree =
        Tree::of(&[("a/src/lib.rs", "fn f() { hint!(\"see: rm {FILE}\", FILE = x); g(\"try: ls -l /\"); }")]);
    let page = crate::hints::page(&crate::hints::texts(&tree));
    assert!(
        page.contains(
            "| `see: rm {FILE}` | `see: rm '/var/lib/iscsi/my secret'\\''s;id'` | `a/src/lib.rs` |\n"
        )
    );
    assert!(page.contains("| `try: ls -l /` | `a/src/lib.rs` |\n"));
}

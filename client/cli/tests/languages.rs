//! iscsictl in Chinese: what people read is translated and aligned, what programs read is not.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails, fails the test")]

#[path = "../src/language/po_tests.rs"]
mod po;

use std::process::{Command, Output};

/// Runs it with the catalogue of the sources.
fn run(words: &[&str], environment: &[(&str, &str)]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let messages = folder.path().join("zh_CN/LC_MESSAGES");
    std::fs::create_dir_all(&messages).unwrap();
    let catalogue = po::compiled(&po::read(include_str!("../../po/zh_CN.po")));
    #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
    std::fs::write(messages.join("iscsi-initiator.mo"), catalogue).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test starts the program")]
    let mut program = Command::new(env!("CARGO_BIN_EXE_iscsictl"));
    program.args(words).env_clear().env("ISCSICTL_LOCALES", folder.path());
    // No bus is there.
    program.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}/none", folder.path().display()));
    let output = program.envs(environment.iter().copied()).output().unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

const CHINESE: &[(&str, &str)] = &[("LANG", "zh_CN.UTF-8")];

#[test]
fn the_help_is_chinese_but_for_names_and_commands() {
    let (_, help) = run(&["--help"], CHINESE);
    for text in
        ["查找、登录和注销 iSCSI 目标", "用法： iscsictl", "命令:", "选项:", "退出码：", "已完成，或原本如此"]
    {
        assert!(help.contains(text), "{text}: {help}");
    }
    for command in ["connect", "login", "set-chap", "multipath", "doctor", "libvirt-hook"] {
        let (_, help) = run(&[command, "--help"], CHINESE);
        let english = |line: &&str| {
            let words = line
                .split([' ', ','])
                .filter(|word| word.len() > 3 && word.bytes().all(|b| b.is_ascii_lowercase()));
            !line.contains("iscsictl") && words.count() > 3
        };
        let lines: Vec<&str> = help.lines().filter(english).collect();
        assert!(lines.is_empty() && help.contains("用法："), "{command}: {lines:#?} of {help}");
    }
}

#[test]
fn a_mistake_is_explained_in_chinese_with_a_command_to_paste() {
    let (output, text) = run(&["login"], CHINESE);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text, "iscsictl: login 需要一个目标\n提示：查看已记录的目标：iscsictl nodes\n");
    let (_, text) = run(&["nodes"], CHINESE);
    assert!(text.starts_with("iscsictl: 无法连接系统总线："), "{text}");
}

#[test]
fn programs_and_other_locales_are_answered_in_english() {
    for (words, environment) in [
        (&["--json", "login"][..], CHINESE),
        (&["login"], &[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")]),
        (&["login"], &[("LANG", "zh_CN.UTF-8"), ("LANGUAGE", "en")]),
        (&["login"], &[("LANG", "zh_CN.UTF-8"), ("ISCSICTL_LOCALES", "/nowhere")]),
        (&["login"], &[("LANG", "zh_CN.GB18030")]),
        (&["login"], &[]),
    ] {
        let (output, text) = run(words, environment);
        assert_eq!(output.status.code(), Some(2));
        assert!(text.contains("login needs a target"), "{environment:?}: {text}");
    }
    let (_, words) = run(&["complete", "--", "lo"], CHINESE);
    assert_eq!(words, "login\nlogout\n");
}

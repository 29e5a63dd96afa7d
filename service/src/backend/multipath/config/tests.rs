//! Tests of multipath's configuration on a machine of files.

use super::*;

fn machine() -> (tempfile::TempDir, Multipath) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["multipath", "state", "run"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let layout = Layout {
        multipath: folder.path().join("multipath"),
        state: folder.path().join("state"),
        scratch: folder.path().join("run"),
        ..Layout::default()
    };
    let multipath = Multipath::new(&layout);
    (folder, multipath)
}

fn text() -> String {
    dropin::text(&Version(0, 11, 1), &MultipathOptions::default())
}

#[test]
fn our_file_is_written_known_again_and_removed() {
    let (folder, multipath) = machine();
    assert_eq!(multipath.own().unwrap(), Own::Missing);
    let (has_folder, lists) = multipath.back_up().unwrap();
    assert!(!has_folder && lists.iter().all(|(_, text)| text.is_none()));
    multipath.write(&text()).unwrap();
    assert_eq!(multipath.own().unwrap(), Own::Ours(text()));
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&multipath.file()), mode(multipath.file().parent().unwrap())), (0o644, 0o755));
    multipath.remove(true).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("multipath")).unwrap().count(), 0);
    multipath.remove(true).unwrap();
}

#[test]
fn what_somebody_else_wrote_is_not_ours() {
    let (_folder, multipath) = machine();
    multipath.write("defaults {\n}\n").unwrap();
    assert_eq!(multipath.own().unwrap(), Own::Foreign);
    multipath.remember(&Memory { text: text(), ..Memory::default() }).unwrap();
    multipath.write(&text()).unwrap();
    assert_eq!(multipath.own().unwrap(), Own::Ours(text()));
    multipath.write(&(text() + "# mine\n")).unwrap();
    assert_eq!(multipath.own().unwrap(), Own::Foreign, "edited since");
}

#[test]
fn the_lists_of_maps_go_back_to_the_byte() {
    let (folder, multipath) = machine();
    let dir = Dir::open(&folder.path().join("multipath")).unwrap();
    dir.replace("wwids", b"# before\n/3600/\n", 0o600).unwrap();
    let (_, lists) = multipath.back_up().unwrap();
    dir.replace("wwids", b"# before\n/3600/\n/3601/\n", 0o600).unwrap();
    dir.replace("bindings", b"mpatha 3601\n", 0o600).unwrap();
    assert_eq!(multipath.wwids().unwrap(), ["3600", "3601"]);
    multipath.put_lists_back(&lists).unwrap();
    assert_eq!(dir.read("wwids").unwrap().unwrap().as_slice(), b"# before\n/3600/\n");
    assert!(dir.read("bindings").unwrap().is_none());
}

#[test]
fn the_parser_sees_the_folder_as_it_will_be() {
    let (folder, multipath) = machine();
    let dir = Dir::open(&folder.path().join("multipath")).unwrap();
    dir.make_dirs("conf.d").unwrap();
    dir.replace("conf.d/10-site.conf", b"defaults {\n}\n", 0o644).unwrap();
    dir.replace("conf.d/readme", b"no configuration\n", 0o644).unwrap();
    multipath.write("old").unwrap();
    let stage = multipath.stage("new").unwrap();
    let mut names: Vec<_> =
        std::fs::read_dir(stage.join(FOLDER)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["10-site.conf", NAME]);
    assert_eq!(std::fs::read_to_string(stage.join(FOLDER).join(NAME)).unwrap(), "new");
    assert_eq!(std::fs::read_to_string(multipath.file()).unwrap(), "old");
}

#[test]
fn what_is_remembered_is_read_back_also_from_where_it_was_before() {
    let (folder, multipath) = machine();
    assert_eq!(multipath.memory().unwrap(), None);
    let service = Service { unit: "multipathd.service".into(), enabled: true, started: true };
    let memory = Memory {
        text: "text".into(),
        made_folder: true,
        lists: vec![("wwids".into(), None)],
        services: vec![service],
        ..Memory::default()
    };
    let state = Dir::open(&folder.path().join("state")).unwrap();
    let former = Memory { text: "former".into(), ..memory.clone() };
    state.replace(FORMER_MEMORY, &serde_json::to_vec_pretty(&former).unwrap(), 0o600).unwrap();
    assert_eq!(multipath.memory().unwrap(), Some(former.clone()));
    multipath.remember(&memory).unwrap();
    assert_eq!(multipath.memory().unwrap(), Some(memory));
    assert!(state.read(FORMER_MEMORY).unwrap().is_none());
    state.replace("undo/multipath.json", b"{", 0o600).unwrap();
    assert_eq!(multipath.memory().unwrap_err().kind(), Kind::InvalidConfiguration);
    state.replace(FORMER_MEMORY, b"{", 0o600).unwrap();
    multipath.forget().unwrap();
    multipath.forget().unwrap();
    assert_eq!(multipath.memory().unwrap(), None);
    state.replace(FORMER_MEMORY, b"{", 0o600).unwrap();
    assert_eq!(multipath.memory().unwrap_err().kind(), Kind::InvalidConfiguration);
}

#[test]
fn nothing_is_remembered_where_there_is_no_state() {
    let folder = tempfile::tempdir().unwrap();
    let multipath = Multipath::new(&Layout::below(&folder.path().join("none")));
    assert_eq!(multipath.memory().unwrap(), None);
    multipath.forget().unwrap();
}

#[test]
fn a_folder_that_the_unit_cannot_make_is_told_with_the_command_that_makes_it() {
    let (folder, multipath) = machine();
    std::fs::remove_dir(folder.path().join("multipath")).unwrap();
    let missing = multipath.write(&text()).unwrap_err();
    assert_eq!(missing.kind(), Kind::BackendUnavailable);
    assert!(
        missing.next_step().contains("systemd-tmpfiles --create iscsi-initiatord.conf && systemctl stop")
    );
    let late = fault(&multipath.file(), Errno::ROFS);
    assert!(late.next_step().ends_with("systemctl stop iscsi-initiatord.service"), "{late}");
}

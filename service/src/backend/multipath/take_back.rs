//! Undoes the file changes of a multipath setup that failed or was interrupted.

use iscsi_initiator_dbus::Fault;

use super::{
    config::{Lists, Multipath},
    memory::Setup,
};

impl Multipath {
    /// The state before a setup. Reads only.
    pub(crate) fn plan(&self, wanted: &str, before: Option<String>) -> Result<Setup, Fault> {
        let (has_folder, lists): (bool, Lists) = self.back_up()?;
        let memory = self.memory()?;
        let wanted = wanted.to_owned();
        Ok(Setup { wanted, before, made_folder: !has_folder, lists, memory, ..Setup::default() })
    }

    /// Restores the file, multipathd's lists and the memory, however far the setup came. A file
    /// that holds something else than the setup wrote has been edited since, and stays. The lists
    /// stay while there are maps, because multipathd uses them. systemd restores the units and the
    /// main file. May be called again.
    pub(crate) fn take_back(&self, setup: &Setup, has_maps: bool) -> Result<(), Fault> {
        let now = self.text()?;
        match (&now, &setup.before) {
            (Some(now), Some(before)) if now == before.as_bytes() => {}
            (Some(now), _) if now != setup.wanted.as_bytes() => {
                let file = self.file();
                tracing::warn!(file = %file.display(), "edited after an interrupted setup: left in place");
            }
            (_, Some(before)) => self.write(before)?,
            (_, None) => self.remove(setup.made_folder)?,
        }
        if setup.before.is_none() && !has_maps {
            self.put_lists_back(&setup.lists)?;
        }
        match &setup.memory {
            Some(memory) => self.remember(memory),
            None => self.forget(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use super::*;
    use crate::backend::{
        host::{
            atomic::{Dir, steps::at_every_step},
            layout::Layout,
        },
        multipath::memory::Memory,
    };

    const WANTED: &str = "wanted\n";

    /// Every file beneath a folder, except the turn of the journal.
    fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if entry.file_name() != ".lock" {
                    files.insert(path.display().to_string(), std::fs::read(path).unwrap());
                }
            }
        }
        files
    }

    struct World {
        folder: tempfile::TempDir,
        multipath: Multipath,
        setup: Setup,
        before: BTreeMap<String, Vec<u8>>,
    }

    fn world(has_setup: bool) -> World {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("etc/multipath")).unwrap();
        let multipath = Multipath::new(&Layout::below(folder.path()));
        let dir = Dir::open(&folder.path().join("etc/multipath")).unwrap();
        dir.replace("wwids", b"/3600/\n", 0o600).unwrap();
        if has_setup {
            multipath.write("former\n").unwrap();
            multipath.remember(&Memory { text: "former\n".into(), ..Memory::default() }).unwrap();
        }
        let setup = multipath.plan(WANTED, has_setup.then(|| "former\n".to_owned())).unwrap();
        let before = files(folder.path());
        World { folder, multipath, setup, before }
    }

    fn set_up(world: &World) -> Result<(), Fault> {
        world.multipath.remember(&Memory { text: WANTED.into(), ..Memory::default() })?;
        world.multipath.write(WANTED)
    }

    #[test]
    fn a_setup_or_its_undoing_cut_off_at_any_step_is_taken_back() {
        for has_setup in [false, true] {
            let check = |step: u64, world: &World, _| {
                for _ in 0..2 {
                    world.multipath.take_back(&world.setup, false).unwrap();
                    let left = Dir::open(&world.folder.path().join("etc/multipath")).unwrap();
                    left.remove_leftover().unwrap();
                    let undo = Dir::open(&world.folder.path().join("state/undo"));
                    undo.map_or(Ok(()), |undo| undo.remove_leftover()).unwrap();
                    assert_eq!(files(world.folder.path()), world.before, "step {step}");
                }
                let folder = world.folder.path().join("etc/multipath/conf.d");
                assert_eq!(folder.exists(), has_setup, "step {step}");
            };
            at_every_step(|| world(has_setup), |world| set_up(world).is_ok(), check);
            let done = || {
                let world = world(has_setup);
                set_up(&world).unwrap();
                let dir = Dir::open(&world.folder.path().join("etc/multipath")).unwrap();
                dir.replace("wwids", b"/3600/\n/3601/\n", 0o600).unwrap();
                if has_setup {
                    // The lists belong to multipathd since the first setup.
                    dir.replace("wwids", b"/3600/\n", 0o600).unwrap();
                }
                world
            };
            at_every_step(done, |world| world.multipath.take_back(&world.setup, false).is_ok(), check);
        }
    }

    #[test]
    fn what_was_edited_and_the_lists_of_maps_stay() {
        let world = world(false);
        set_up(&world).unwrap();
        world.multipath.write("edited\n").unwrap();
        let dir = Dir::open(&world.folder.path().join("etc/multipath")).unwrap();
        dir.replace("wwids", b"/3601/\n", 0o600).unwrap();
        world.multipath.take_back(&world.setup, true).unwrap();
        assert_eq!(world.multipath.text().unwrap().as_deref(), Some(b"edited\n".as_slice()));
        assert_eq!(dir.read("wwids").unwrap().unwrap().as_slice(), b"/3601/\n");
    }
}

//! Gives multipath maps the size of their paths.
//! Must not resize a map whose paths differ in size: multipathd uses the size of the first one.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::{fault::Result, hint};

use crate::{
    backend::{
        host::threads::asking_multipathd,
        kernel::sysfs::{Map, Scope, Sysfs},
        multipath::daemon::{Multipathd, MultipathdError},
    },
    engine::Engine,
};

/// The results of resizing, by map name. Unchanged maps are not in it.
#[derive(Default)]
pub(super) struct Sizes(BTreeMap<String, Size>);

enum Size {
    Changed,
    /// These paths have different sizes, or none.
    Disagreed(Vec<String>),
    Refused(String),
}

impl Sizes {
    pub(super) fn is_changed(&self, map: &str) -> bool {
        matches!(self.0.get(map), Some(Size::Changed))
    }

    /// The message about a map, and the next step.
    pub(super) fn remark(&self, map: &str, target: &str) -> Option<(String, String)> {
        match self.0.get(map)? {
            Size::Changed => None,
            Size::Disagreed(paths) => Some((
                format!("{map} keeps its size, since its paths differ in size: {}", paths.join(", ")),
                hint!("rescan all portals: iscsictl rescan {TARGET}", TARGET = target),
            )),
            Size::Refused(why) => Some((
                format!("{map} keeps its size, although its paths have another: {why}"),
                "see the details: journalctl -u multipathd".to_owned(),
            )),
        }
    }
}

/// Resizes every map over a disk of these sessions, if all its paths have the same size.
pub(super) async fn resize_all(engine: &Engine, sids: &[u32]) -> Result<Sizes> {
    let now = engine.state.sessions(Scope::numbered(sids.to_vec())).await?;
    let ours = sids.iter().filter_map(|sid| now.session(*sid)).flat_map(|session| &session.disks);
    let maps: BTreeSet<Map> = ours.filter_map(|disk| disk.map.clone()).collect();
    let (sysfs, multipathd) = (engine.state.sysfs.clone(), engine.state.multipathd.clone());
    asking_multipathd(move || {
        let resized = |map: Map| Some((map.name.clone(), resize(&sysfs, &multipathd, &map)?));
        Sizes(maps.into_iter().filter_map(resized).collect())
    })
    .await
}

/// `None` if there is nothing to do.
fn resize(sysfs: &Sysfs, multipathd: &Multipathd, map: &Map) -> Option<Size> {
    let size = sysfs.size(&map.device)?;
    let paths: Vec<(String, u64)> = sysfs
        .slaves(&map.device)
        .into_iter()
        .map(|path| {
            let size = sysfs.size(&path).unwrap_or_default();
            (path, size)
        })
        .collect();
    let wanted = paths.first()?.1;
    if paths.iter().any(|(_, size)| *size != wanted) {
        return Some(Size::Disagreed(
            paths.into_iter().map(|(path, size)| format!("{path} {size} bytes")).collect(),
        ));
    }
    // A path without a size has no LUN any more: the map keeps its size.
    if wanted == size || wanted == 0 {
        return None;
    }
    let refused = |error: MultipathdError| Some(Size::Refused(error.to_string()));
    if let Err(error) = multipathd.resize_map(&map.name) {
        return refused(error);
    }
    // Checks again: multipathd replies "ok" to many commands that it does not carry out.
    match sysfs.size(&map.device) {
        Some(now) if now == wanted => Some(Size::Changed),
        _ => Some(Size::Refused("multipathd reported success, but the size is unchanged".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::layout::Layout;
    use crate::backend::{host::atomic::Dir, kernel::sysfs::tests::sample};

    #[test]
    fn a_map_whose_paths_do_not_agree_is_left_alone() {
        let folder = sample();
        let root = folder.path();
        let set = |device: &str, sectors: &str| {
            Dir::open(&root.join("class/block").join(device).canonicalize().unwrap())
                .unwrap()
                .replace("size", sectors.as_bytes(), 0o644)
                .unwrap();
        };
        for path in ["sda", "sdb"] {
            std::fs::create_dir_all(root.join("block/dm-0/slaves").join(path)).unwrap();
        }
        let sysfs = Sysfs::new(root);
        let multipathd = Multipathd::new(&Layout::below(root));
        let map = Map { name: "mpatha".into(), device: "dm-0".into(), wwid: "3600140500000000".into() };
        set("dm-0", "131072\n");
        assert!(resize(&sysfs, &multipathd, &map).is_none(), "as it was");
        set("sda", "262144\n");
        let Some(Size::Disagreed(paths)) = resize(&sysfs, &multipathd, &map) else { panic!("resized") };
        assert_eq!(paths, ["sda 134217728 bytes", "sdb 67108864 bytes"]);
        set("sdb", "262144\n");
        let Some(Size::Refused(why)) = resize(&sysfs, &multipathd, &map) else {
            panic!("no multipathd runs")
        };
        assert_eq!(why, "multipathd is not running");
        let sizes = Sizes(BTreeMap::from([("mpatha".to_owned(), Size::Refused(why))]));
        assert!(!sizes.is_changed("mpatha") && sizes.remark("mpatha", "iqn.x").is_some());
        for path in ["sda", "sdb"] {
            set(path, "0\n");
        }
        assert!(resize(&sysfs, &multipathd, &map).is_none(), "a map is never made empty");
    }
}

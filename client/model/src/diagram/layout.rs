//! Where everything is.

use std::collections::BTreeMap;

use iscsi_initiator_dbus::objects::{Disk, Id, Model, Object};

use super::{
    metrics::Metrics,
    parts::{Diagram, Flow, Line, Node, Part, Point, Rect},
    words::words,
};
use crate::{
    health::{self, Level},
    overview::{Link, Target, disk_name, portal},
    text::{Phrase, states},
};

/// The picture of a target: its interfaces, portals, sessions and disks, a column each from the left, and the paths as
/// lines from a session to a disk, or from a portal where the [metrics](Metrics::has_sessions) leave the sessions out. Of
/// disks that are reached through other targets, too, only the paths of this one.
pub fn diagram(model: &Model, target: &Target, metrics: &Metrics) -> Diagram {
    let (mut interfaces, mut portals, mut sessions, mut disks) =
        <(Vec<Entry>, Vec<_>, Vec<_>, Vec<_>)>::default();
    let mut ties: Vec<Tie> = Vec::new();
    // Where the paths of a session begin.
    let mut begins: BTreeMap<&Id, (usize, usize)> = BTreeMap::new();
    for place in &target.places {
        let level = level_of(place.link);
        let interface =
            entry(&mut interfaces, Part::Interface(place.interface.clone()), level, || {
                match place.interface.as_str() {
                    "" => states::THIS_MACHINE.into(),
                    interface => interface.into(),
                }
            });
        let at =
            entry(&mut portals, Part::Portal(place.portal.clone()), level, || portal(&place.portal).into());
        let flow = Flow::of_link(place.link);
        tie(&mut ties, (0, interface), at, flow, "");
        let Some(id) = &place.session else { continue };
        begins.insert(id, (1, at));
        if metrics.has_sessions {
            let session = entry(&mut sessions, Part::Session(id.clone()), level, || id.name().into());
            tie(&mut ties, (1, at), session, flow, "");
            begins.insert(id, (2, session));
        }
    }
    for id in &target.disks {
        let Some(Object::Disk(disk)) = model.get(id) else { continue };
        let number = entry(&mut disks, Part::Disk(id.clone()), Level::of_disk(disk), || disk_label(disk));
        for path in disk.paths.iter().filter(|path| path.target == target.name) {
            let Some(begin) = begins.get(&Id::session(path.sid)) else { continue };
            let flow = Flow::of_verdict(health::path(path).verdict);
            tie(&mut ties, *begin, number, flow, &path.device);
        }
    }
    let columns = match metrics.has_sessions {
        true => vec![interfaces, portals, sessions, disks],
        false => vec![interfaces, portals, disks],
    };
    Diagram { words: words(model, target), ..placed(columns, ties, metrics) }
}

/// A box without a place.
struct Entry {
    part: Part,
    label: Phrase,
    /// The best and the worst of what goes through it.
    levels: (Level, Level),
}

impl Entry {
    /// What has lost one of several connections works with less reserve.
    fn level(&self) -> Level {
        match self.levels {
            (Level::Well | Level::Unknown, Level::Down) => Level::Degraded,
            (_, worst) => worst,
        }
    }
}

/// A line without a place: from an entry of a column to one of the next.
struct Tie {
    column: usize,
    from: usize,
    to: usize,
    flow: Flow,
    label: String,
}

/// The place of this part in its column, where it is put if it is new.
fn entry(column: &mut Vec<Entry>, part: Part, level: Level, label: impl FnOnce() -> Phrase) -> usize {
    if let Some(place) = column.iter().position(|entry| entry.part == part) {
        if let Some(entry) = column.get_mut(place) {
            // A connection that is not there is no better than one that is lost.
            let best = [entry.levels.0, level].into_iter().filter(|level| *level != Level::Idle).min();
            entry.levels = (best.unwrap_or_default(), entry.levels.1.max(level));
        }
        return place;
    }
    column.push(Entry { part, label: label(), levels: (level, level) });
    column.len() - 1
}

/// One line for each pair, unless it is a path; of several the worst counts.
fn tie(ties: &mut Vec<Tie>, (column, from): (usize, usize), to: usize, flow: Flow, label: &str) {
    let is_same = |tie: &&mut Tie| (tie.column, tie.from, tie.to) == (column, from, to) && label.is_empty();
    match ties.iter_mut().find(is_same) {
        Some(tie) => tie.flow = tie.flow.max(flow),
        None => ties.push(Tie { column, from, to, flow, label: label.to_owned() }),
    }
}

fn level_of(link: Link) -> Level {
    match link {
        Link::Off => Level::Idle,
        Link::Up => Level::Well,
        Link::Making => Level::Unknown,
        Link::Lost => Level::Down,
    }
}

fn disk_label(disk: &Disk) -> Phrase {
    let size = crate::text::units::size(disk.size);
    let words = [disk_name(disk), &size];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ").into()
}

/// A count as a coordinate.
fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn placed(columns: Vec<Vec<Entry>>, mut ties: Vec<Tie>, metrics: &Metrics) -> Diagram {
    let row = metrics.box_height + metrics.row_gap;
    let height_of = |count: usize| (number(count) * row - metrics.row_gap).max(0.0);
    let height = columns.iter().map(|column| height_of(column.len())).fold(0.0, f64::max);
    let step = metrics.box_width + metrics.column_gap;
    let used = columns.iter().rposition(|column| !column.is_empty()).map_or(0, |last| last + 1);
    let mut nodes = Vec::new();
    let mut firsts = Vec::new();
    for (number_of_column, column) in columns.into_iter().enumerate() {
        firsts.push(nodes.len());
        let top = (height - height_of(column.len())) / 2.0;
        for (place, entry) in column.into_iter().enumerate() {
            let corner = Point { x: number(number_of_column) * step, y: top + number(place) * row };
            let rect = Rect { corner, width: metrics.box_width, height: metrics.box_height };
            let level = entry.level();
            nodes.push(Node { part: entry.part, rect, label: entry.label, level });
        }
    }
    ties.sort_by_key(|tie| tie.flow);
    let line = |tie: Tie| {
        let (from, to) = (firsts.get(tie.column)? + tie.from, firsts.get(tie.column + 1)? + tie.to);
        let (begin, end) = (nodes.get(from)?.rect.right(), nodes.get(to)?.rect.left());
        Some(Line { from, to, begin, end, flow: tie.flow, label: tie.label })
    };
    let lines = ties.into_iter().filter_map(line).collect();
    let width = if used == 0 { 0.0 } else { number(used) * step - metrics.column_gap };
    Diagram { width, height, nodes, lines, words: Vec::new() }
}

#[cfg(test)]
mod tests;

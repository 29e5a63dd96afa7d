use iscsi_initiator_dbus::{
    objects::{Node as Record, Session},
    results::Health,
};
use proptest::prelude::*;

use super::*;
use crate::{
    for_tests::{Machine, TARGET, portal, put, take},
    memory::Memory,
    overview::overview,
};

fn drawn(model: &Model) -> Diagram {
    let seen = overview(model, &Memory::new());
    diagram(model, seen.target(TARGET).unwrap(), &Metrics::default())
}

/// How many boxes each column has.
fn counts(diagram: &Diagram) -> [usize; 4] {
    let count = |is: fn(&Part) -> bool| diagram.nodes.iter().filter(|node| is(&node.part)).count();
    [
        count(|part| matches!(part, Part::Interface(_))),
        count(|part| matches!(part, Part::Portal(_))),
        count(|part| matches!(part, Part::Session(_))),
        count(|part| matches!(part, Part::Disk(_))),
    ]
}

/// What must be so of every picture.
fn check(diagram: &Diagram, metrics: &Metrics) {
    let is_inside = |point: Point| {
        (0.0..=diagram.width + 0.001).contains(&point.x) && (0.0..=diagram.height + 0.001).contains(&point.y)
    };
    for (place, node) in diagram.nodes.iter().enumerate() {
        let end = Point { x: node.rect.corner.x + node.rect.width, y: node.rect.corner.y + node.rect.height };
        assert!(is_inside(node.rect.corner) && is_inside(end), "{node:?}");
        for other in &diagram.nodes[place + 1..] {
            let (one, other) = (node.rect, other.rect);
            let is_apart = one.corner.x + one.width <= other.corner.x
                || other.corner.x + other.width <= one.corner.x
                || one.corner.y + one.height <= other.corner.y + 0.001
                || other.corner.y + other.height <= one.corner.y + 0.001;
            assert!(is_apart, "{one:?} {other:?}");
        }
    }
    for line in &diagram.lines {
        assert_eq!(line.begin, diagram.nodes[line.from].rect.right());
        assert_eq!(line.end, diagram.nodes[line.to].rect.left());
        assert!((line.end.x - line.begin.x - metrics.column_gap).abs() < 0.001, "to the next column");
    }
    assert!(diagram.lines.is_sorted_by_key(|line| line.flow), "the worst is drawn last");
}

fn paths(diagram: &Diagram) -> Vec<&Line> {
    diagram.lines.iter().filter(|line| !line.label.is_empty()).collect()
}

#[test]
fn one_path_is_a_straight_line() {
    let machine = Machine::with(1, 1);
    let shown = drawn(&machine.model);
    check(&shown, &Metrics::default());
    assert_eq!(counts(&shown), [1, 1, 1, 1]);
    assert_eq!((shown.width, shown.height), (Metrics::default().width(), 36.0));
    assert_eq!(shown.lines.len(), 3);
    assert!(shown.lines.iter().all(|line| line.flow == Flow::Works && line.begin.y == line.end.y));
    let labels: Vec<String> = shown.nodes.iter().map(|node| node.label.to_string()).collect();
    assert_eq!(labels, ["this machine", "192.0.2.21", "1", "mpath1  64 MiB"]);
    let words: Vec<String> = shown.words.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["Path sd1x1 from this machine through 192.0.2.21 to mpath1: ok"]);
}

#[test]
fn every_path_is_drawn() {
    for (portals, disks) in [(2, 2), (8, 8), (1, 8), (8, 1)] {
        let mut machine = Machine::with(portals, disks);
        let shown = drawn(&machine.model);
        check(&shown, &Metrics::default());
        let (p, d) = (usize::try_from(portals).unwrap(), usize::try_from(disks).unwrap());
        assert_eq!(counts(&shown), [1, p, p, d]);
        assert_eq!(
            (paths(&shown).len(), shown.lines.len(), shown.words.len()),
            (p * d, p + p + p * d, p * d)
        );
        machine.cable(TARGET, 1, false);
        let shown = drawn(&machine.model);
        check(&shown, &Metrics::default());
        let failed = shown.lines.iter().filter(|line| line.flow == Flow::Failed).count();
        assert_eq!(failed, 2 + d, "{portals} × {disks}");
        assert!(shown.words[0].to_string().contains("FAILED"), "{}", shown.words[0]);
    }
}

#[test]
fn a_disk_without_a_map_is_drawn_by_its_device() {
    let mut machine = Machine::new();
    machine.log_in(TARGET, 2, 2, false);
    let shown = drawn(&machine.model);
    check(&shown, &Metrics::default());
    assert_eq!((counts(&shown), paths(&shown).len()), ([1, 2, 2, 2], 4));
    assert_eq!(shown.nodes.last().unwrap().label.to_string(), "sd1x2  64 MiB");
}

#[test]
fn a_map_without_a_path_and_a_session_without_a_disk_are_there_without_a_line() {
    let mut machine = Machine::with(1, 1);
    let id = Machine::disk_id(TARGET, 1);
    let mut disk = Disk::default();
    (disk.map, disk.health, disk.targets) = ("mpath1".to_owned(), Health::Queueing, vec![TARGET.to_owned()]);
    take(&mut machine.model, &id);
    put(&mut machine.model, &id, &Object::Disk(disk));
    let shown = drawn(&machine.model);
    check(&shown, &Metrics::default());
    assert_eq!((counts(&shown), paths(&shown).len(), shown.lines.len()), ([1, 1, 1, 1], 0, 2));
    assert_eq!(shown.nodes.last().unwrap().level, Level::Queueing);
    let words: Vec<String> = shown.words.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "Connection from this machine to 192.0.2.21, without a disk: Connected",
            "Disk mpath1, without a path: No path: reading and writing wait",
        ]
    );
}

#[test]
fn portals_that_are_not_connected_and_interfaces_are_drawn_too() {
    let mut model = Model::default();
    let mut record = Record::default();
    (record.target, record.portal) = (TARGET.to_owned(), portal(9));
    put(&mut model, &Id::node(TARGET, &portal(9), "default"), &Object::Node(record));
    let shown = drawn(&model);
    check(&shown, &Metrics::default());
    assert_eq!((counts(&shown), shown.lines[0].flow), ([1, 1, 0, 0], Flow::Off));
    assert_eq!(shown.words[0].to_string(), "Portal 192.0.2.29: not connected");
    for (sid, interface) in [(1, "eth0"), (2, "eth1")] {
        let mut session = Session::default();
        (session.sid, session.target, session.portal) = (sid, TARGET.to_owned(), portal(1));
        (session.interface, session.state) = (interface.to_owned(), "LOGGED_IN".to_owned());
        put(&mut model, &Id::session(sid), &Object::Session(session));
    }
    let shown = drawn(&model);
    check(&shown, &Metrics::default());
    assert_eq!(counts(&shown), [3, 2, 2, 0], "one portal, through two interfaces");
}

#[test]
fn what_has_lost_one_of_several_connections_works_with_less_reserve() {
    let mut machine = Machine::with(2, 1);
    let level = |machine: &Machine| drawn(&machine.model).nodes[0].level;
    assert_eq!(level(&machine), Level::Well);
    machine.cable(TARGET, 1, false);
    assert_eq!(level(&machine), Level::Degraded);
    let shown = drawn(&machine.model);
    let portals: Vec<Level> = shown.nodes[1..3].iter().map(|node| node.level).collect();
    assert_eq!(portals, [Level::Down, Level::Well]);
    machine.cable(TARGET, 2, false);
    assert_eq!(level(&machine), Level::Down);
}

#[test]
fn a_narrow_picture_has_no_sessions_and_every_path_all_the_same() {
    let machine = Machine::with(2, 2);
    let seen = overview(&machine.model, &Memory::new());
    let metrics = Metrics::default().fitted(310.0);
    let shown = diagram(&machine.model, &seen.targets[0], &metrics);
    check(&shown, &metrics);
    assert_eq!((counts(&shown), paths(&shown).len()), ([1, 2, 0, 2], 4));
    assert!(paths(&shown).iter().all(|line| matches!(shown.nodes[line.from].part, Part::Portal(_))));
    assert!(metrics.box_width > 80.0, "an address has its place: {metrics:?}");
    assert!(Metrics::default().fitted(600.0).has_sessions);
}

#[test]
fn it_fits_a_narrow_window() {
    let machine = Machine::with(8, 8);
    let seen = overview(&machine.model, &Memory::new());
    for width in [360.0, 200.0, 0.0] {
        let metrics = Metrics::default().fitted(width);
        let shown = diagram(&machine.model, &seen.targets[0], &metrics);
        assert!(shown.width <= width + 0.001, "{}", shown.width);
    }
    assert_eq!(Metrics::default().fitted(5000.0), Metrics::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_box_is_on_another_and_no_line_leads_nowhere(
        portals in 1..6_u32, disks in 0..6_u32, pulled in 0..7_u32, has_maps: bool, width in 100.0..900.0_f64
    ) {
        let mut machine = Machine::new();
        machine.log_in(TARGET, portals, disks, has_maps);
        (1..=portals.min(pulled)).for_each(|number| machine.cable(TARGET, number, false));
        let seen = overview(&machine.model, &Memory::new());
        let metrics = Metrics::default().fitted(width);
        check(&diagram(&machine.model, &seen.targets[0], &metrics), &metrics);
        let empty = diagram(&Model::default(), &seen.targets[0], &metrics);
        check(&empty, &metrics);
    }
}

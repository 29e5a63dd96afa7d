//! Where the lines with names end: below each other at the side of their box, so that every name stands on its own line.

use iscsi_initiator_model::diagram::Line;

/// The lines, those with names `slot` apart where they end, in the order of where they begin.
pub(super) fn parted(lines: &[Line], slot: f64) -> Vec<Line> {
    let named = |line: &&Line| !line.label.is_empty();
    let shift = |line: &Line| {
        let before = |other: &&Line| (other.begin.y, &other.label) < (line.begin.y, &line.label);
        let here = lines.iter().filter(named).filter(|other| other.to == line.to);
        let (all, above) = (here.clone().count(), here.filter(before).count());
        slot * (count(above) - (count(all) - 1.0) / 2.0)
    };
    let moved = |line: &Line| {
        let mut line = line.clone();
        if !line.label.is_empty() {
            line.end.y += shift(&line);
        }
        line
    };
    lines.iter().map(moved).collect()
}

fn count(lines: usize) -> f64 {
    u32::try_from(lines).map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_model::diagram::{Flow, Point};

    use super::*;

    fn line(label: &str, begin: f64, to: usize) -> Line {
        let (begin, end) = (Point { x: 0.0, y: begin }, Point { x: 50.0, y: 100.0 });
        Line { from: 0, to, begin, end, flow: Flow::Works, label: label.to_owned() }
    }

    #[test]
    fn lines_to_one_box_end_below_each_other_and_do_not_cross() {
        let lines = [line("sdb", 80.0, 7), line("sda", 20.0, 7), line("sdc", 20.0, 8), line("", 50.0, 7)];
        let ends: Vec<f64> = parted(&lines, 10.0).iter().map(|line| line.end.y).collect();
        assert_eq!(ends, [105.0, 95.0, 100.0, 100.0]);
    }
}

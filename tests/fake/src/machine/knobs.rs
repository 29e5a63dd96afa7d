//! Everything that can happen to the machine and its gateway, as a line of text: for who turns it by hand.
//! Must not do anything that a function of the machine does not do.

use std::{net::SocketAddr, time::Duration};

use super::{FindMultipaths, INITIATOR, Lun, Machine};
use crate::target::Chap;

/// The lines that it knows.
pub const HELP: &str = "\
pull-cable PORTAL            nothing gets there or back; its sessions fail
plug-cable PORTAL            it is back
silence PORTAL, speak PORTAL the portal takes connections and says nothing, or speaks again
close PORTAL, open PORTAL    connections are refused, or taken again
add-lun LUN MIB              the target gets a LUN (seen at the next rescan)
resize-lun LUN MIB           it gets another size
remove-lun LUN               it is not offered any more
swap-lun LUN NUMBER          another disk is behind it
refuse-chap, accept-chap     the target wants another secret, or the right one again
refuse-initiator, accept-initiator
                             the target does not know this machine, or does again
disable-target, enable-target, lose-target
slow-login MS                how long iscsid takes for a session
slow-map MS                  how long multipathd takes for a map
fail-login CODE, fail-logout CODE
                             iscsiadm exits with that code; 0: it works again
no-map, make-maps            multipathd does not come to make a map, or does again
find-multipaths strict|yes|greedy
stop-multipathd, start-multipathd, kill-iscsid, start-iscsid
hold DEVICE NAME             a process of that name has sda or dm-0 open; prints its number
release PID                  it ends
mount DEVICE PLACE, unmount PLACE, swap-on DEVICE, swap-off DEVICE
status                       sessions, disks and maps as they are";

impl Machine {
    /// Does what a line says; the answer, or what is wrong with the line.
    pub fn turn(&self, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let done = match words.as_slice() {
            [] => Some(()),
            ["status"] => return Ok(self.status()),
            ["pull-cable", portal] => self.portal(portal).map(|portal| self.pull_cable(portal)),
            ["plug-cable", portal] => self.portal(portal).map(|portal| self.plug_cable(portal)),
            ["silence", portal] => self.portal(portal).map(|portal| self.silence(portal, true)),
            ["speak", portal] => self.portal(portal).map(|portal| self.silence(portal, false)),
            ["close", portal] => self.portal(portal).map(|portal| self.close_portal(portal)),
            ["open", portal] => self.portal(portal).map(|portal| self.open_portal(portal)),
            ["find-multipaths", word] => find(word).map(|find| self.find_multipaths(find)),
            ["hold", device, name] if self.has(device).is_some() => {
                return Ok(self.hold(device, name).to_string());
            }
            ["mount", device, place] => self.has(device).map(|()| self.mount(device, place)),
            ["unmount", place] => {
                self.unmount(place);
                Some(())
            }
            ["swap-on", device] => self.has(device).map(|()| self.swap(device, true)),
            ["swap-off", device] => {
                self.swap(device, false);
                Some(())
            }
            [word, number] => number.parse().ok().and_then(|number| self.turn_to(word, number)),
            [word @ ("add-lun" | "resize-lun" | "swap-lun"), lun, number] => {
                let numbers = lun.parse().ok().zip(number.parse().ok());
                numbers
                    .zip(self.target())
                    .and_then(|((lun, number), target)| self.change_lun_by(word, &target, lun, number))
            }
            [word] => self.turn_word(word),
            _ => None,
        };
        done.map(|()| String::new()).ok_or_else(|| format!("not understood: {line}"))
    }

    fn turn_word(&self, word: &str) -> Option<()> {
        let target = self.target();
        match word {
            "no-map" => self.no_map(true),
            "make-maps" => self.no_map(false),
            "start-multipathd" => self.start_multipathd(),
            "stop-multipathd" => self.stop_multipathd(),
            "kill-iscsid" => self.kill_iscsid(),
            "start-iscsid" => self.start_iscsid(Duration::ZERO),
            "refuse-chap" => self.refuse_chap(&target?, true),
            "accept-chap" => self.refuse_chap(&target?, false),
            "refuse-initiator" => self.know_only(&target?, "iqn.2001-04.com.example:another-machine"),
            "accept-initiator" => self.know_only(&target?, INITIATOR),
            "disable-target" => self.disable_target(&target?, true),
            "enable-target" => self.disable_target(&target?, false),
            "lose-target" => self.lose_target(&target?),
            _ => return None,
        }
        Some(())
    }

    fn turn_to(&self, word: &str, number: u64) -> Option<()> {
        let time = Duration::from_millis(number);
        let code = Some(i32::try_from(number).ok()?).filter(|code| *code != 0);
        match word {
            "slow-login" => self.delay(|delays| delays.login = time),
            "slow-map" => self.delay(|delays| delays.map = time),
            "fail-login" => self.fail(|faults| faults.login = code),
            "fail-logout" => self.fail(|faults| faults.logout = code),
            "remove-lun" => self.remove_lun(&self.target()?, number),
            "release" => self.release(u32::try_from(number).ok()?),
            _ => return None,
        }
        Some(())
    }

    fn change_lun_by(&self, word: &str, target: &str, lun: u64, number: u64) -> Option<()> {
        let is_there = self.core.model().targets.get(target)?.luns.contains_key(&lun);
        match word {
            "add-lun" => self.add_lun(target, lun, Lun::disk(100 + lun, number)),
            "resize-lun" if is_there => self.resize_lun(target, lun, number),
            "swap-lun" if is_there => self.swap_lun(target, lun, number),
            _ => return None,
        }
        Some(())
    }

    /// The secret that the target wants becomes another one, and the right one again.
    fn refuse_chap(&self, target: &str, is_refused: bool) {
        const MARK: &str = "not-";
        let change = |chap: &mut Chap| {
            let right = chap.secret.trim_start_matches(MARK).to_owned();
            chap.secret = if is_refused { format!("{MARK}{right}") } else { right };
        };
        self.change_target(target, |target| target.initiators.values_mut().flatten().for_each(change));
    }

    /// Where a word says the address of a portal, with its port or without.
    fn portal(&self, word: &str) -> Option<SocketAddr> {
        let is_it = |at: &SocketAddr| at.to_string() == word || at.ip().to_string() == word;
        self.core.model().portals.keys().copied().find(is_it)
    }

    /// The first target.
    fn target(&self) -> Option<String> {
        self.core.model().targets.keys().next().cloned()
    }

    fn has(&self, device: &str) -> Option<()> {
        self.at("sys/class/block").join(device).exists().then_some(())
    }

    /// A line for each session, disk and map.
    pub fn status(&self) -> String {
        let model = self.core.model();
        let mut lines = Vec::new();
        for (sid, session) in &model.sessions {
            let (portal, state) = (format!("{}:{}", session.address, session.port), session.state);
            lines.push(format!("session {sid} to {} at {portal}: {state}", session.target));
            for disk in session.disks.values() {
                let map = model.map_over(disk.key).and_then(|minor| model.maps.get(&minor));
                let map = map.map_or("no map", |map| map.name.as_str());
                let name = disk.device().unwrap_or("no disk");
                let megabytes = disk.is.size >> 20;
                lines.push(format!("  LUN {}: {name}, {megabytes} MiB, {}, {map}", disk.lun, disk.state));
            }
        }
        for (minor, map) in &model.maps {
            let paths = map.paths.len();
            lines.push(format!("map {} is dm-{minor}: {paths} paths, {} MiB", map.name, map.size >> 20));
        }
        if lines.is_empty() { "nobody is logged in".to_owned() } else { lines.join("\n") }
    }
}

fn find(word: &str) -> Option<FindMultipaths> {
    match word {
        "strict" => Some(FindMultipaths::Strict),
        "yes" => Some(FindMultipaths::Yes),
        "greedy" => Some(FindMultipaths::Greedy),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_turns_a_knob_or_is_not_understood() {
        let machine = Machine::new();
        machine.add_gateway("iqn.2003-01.com.example:disks", Chap::new("libvirtd", "mypassword12"));
        for line in ["pull-cable 127.0.0.2", "refuse-chap", "resize-lun 0 256", "fail-login 8", "", "no-map"]
        {
            assert_eq!(machine.turn(line), Ok(String::new()), "{line}");
        }
        let secret = |machine: &Machine| {
            let model = machine.core.model();
            let target = model.targets.values().next().unwrap();
            target.initiators[INITIATOR].clone().unwrap().secret
        };
        assert_eq!(secret(&machine), "not-mypassword12");
        machine.turn("refuse-chap").unwrap();
        machine.turn("accept-chap").unwrap();
        assert_eq!(secret(&machine), "mypassword12");
        for line in ["pull-cable 192.0.2.1", "resize-lun 9 1", "dance", "mount sda /mnt", "slow-login soon"] {
            assert!(machine.turn(line).is_err(), "{line}");
        }
        assert_eq!(machine.status(), "nobody is logged in");
    }
}

"""The stories of the applet's window and tray, each on a display, a session bus and a machine of its own.
Must not know how the applet is built.

usage: stories.py APPLET DEV [STORY]...      (in the room; PICTURES=FOLDER keeps what was on the screen)"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))


def connects(person, machine):
    """From nothing to disks: the initiator name and then CHAP are put right from the window."""
    machine.turn("refuse-initiator")
    person.sees("No Targets")
    person.press("Connect to Portal…")
    person.press("Connect")
    person.sees("Enter the gateway’s address")
    person.type("Address of the Gateway", machine.portals[0])
    person.press("Connect")
    person.sees("does not know this machine’s name")
    person.picture("not-known")
    person.press("Change Initiator Name…")
    person.type("Initiator Name", "iqn.2001-04.com.example:another-machine")
    person.press("Change")
    person.sees("asks for a user name and a secret")
    person.sees("initiator name is iqn.2001-04.com.example:another-machine now")
    person.press("Enter User Name and Secret")
    person.type("User Name", machine.user)
    person.type("Secret", "not-the-right-one")
    person.picture("form")
    person.press("Connect")
    person.sees("rejected the user name or the secret")
    person.picture("chap-rejected")
    person.press("Enter User Name and Secret")
    person.type("Secret", machine.secret)
    person.press("Connect")
    person.press("Done")
    person.sees("2 disks, all paths work")
    person.picture("connected")


def disconnects(person, machine):
    """What uses a disk is named before anything is ended, and then it is disconnected."""
    machine.connect()
    machine.turn("mount dm-0 /mnt/data")
    person.sees("2 disks, all paths work")
    person.press("Disconnect…")
    person.sees("is in use")
    person.sees("mounted at /mnt/data")
    person.picture("in-use")
    machine.turn("unmount /mnt/data")
    person.press("Look Again")
    person.sees("Nothing uses")
    person.picture("disconnect")
    person.press("Disconnect Now")
    person.sees("Not connected")


def shows_a_lost_path(person, machine):
    """A cable is pulled, and plugged in again."""
    machine.connect()
    person.sees("2 disks, all paths work")
    machine.turn(f"pull-cable {machine.portals[0]}")
    person.sees("2 of 4 paths work")
    person.sees("A connection is lost")
    person.picture("path-lost")
    person.press("Diagnose")
    person.sees("check failed")
    person.picture("diagnosed")
    person.keys("Escape")
    machine.turn(f"plug-cable {machine.portals[0]}")
    person.sees("2 disks, all paths work")


def asks_before_it_uses_another_disk(person, machine):
    """Another disk than last time is only used after a question."""
    machine.connect()
    machine.iscsi("logout", machine.target)
    machine.turn("swap-lun 0 77")
    person.sees("Not connected")
    person.press("Connect")
    person.sees("not the one that was there before")
    person.picture("other-disk")
    person.press("Use the Changed Disk Anyway…")
    person.sees("data can be lost")
    person.press("Use the Changed Disk Anyway…")
    person.press("Done")
    person.sees("all paths work")


def says_nothing_of_a_dismissed_question(person, machine):
    """Who closes polkit's dialog is back where they were."""
    machine.turn("dismiss connect")
    person.sees("No Targets")
    person.press("Connect to Portal…")
    person.type("Address of the Gateway", machine.portals[0])
    person.press("Connect")
    person.sees("Address of the Gateway")
    person.sees_no("not allowed")
    machine.turn("allow connect")
    machine.connect()
    person.keys("Escape")
    person.sees("Connect at Startup")
    machine.turn("dismiss configure")
    machine.turn("dismiss login")
    before = person.is_on("Connect at Startup")
    person.press("Connect at Startup")
    person.wait("the switch is as before", lambda: person.is_on("Connect at Startup") == before)


def switches_the_startup(person, machine):
    """The switch says what the records say."""
    machine.connect()
    person.sees("Connect at Startup")
    before = person.is_on("Connect at Startup")
    person.press("Connect at Startup")
    person.wait("the switch has turned", lambda: person.is_on("Connect at Startup") != before)
    wanted = "manual" if before else "automatic"
    person.wait("the record says so", lambda: wanted in machine.iscsi("nodes"))


def survives_the_end_of_the_service(person, machine):
    """What is shown stays readable, with the way out beside it."""
    machine.connect()
    person.sees("2 disks, all paths work")
    machine.program.kill()
    person.sees("Try Again")
    person.picture("bus-gone")


def sees_the_service_come_back(person, machine):
    """The daemon is killed: what was known stays, marked as that, and is live again once the daemon is back."""
    machine.connect()
    person.sees("2 disks, all paths work")
    machine.turn("kill-daemon")
    person.sees("This is how it was last")
    person.sees("2 disks, all paths work")
    person.picture("daemon-killed")
    person.press("Disconnect…")
    person.sees("cannot be reached")
    person.picture("disconnect-without-daemon")
    person.keys("Escape")
    machine.turn("start-daemon")
    person.sees_no("This is how it was last")
    machine.turn(f"pull-cable {machine.portals[0]}")
    person.sees("2 of 4 paths work")


def is_told_that_it_is_not_allowed(person, machine):
    """Without permission there is a page that says what to do, and it goes away by itself."""
    person.sees("How to Get Access")
    person.picture("denied")
    person.press("How to Get Access")
    person.sees("adduser USER iscsi")
    person.keys("Escape")
    machine.turn("allow list-paths")
    person.press("Try Again")
    person.sees("No Targets")


def is_told_that_there_is_no_service(person, _):
    """Without the service, and without polkit, it is said how to get it."""
    person.sees("cannot be reached")
    person.picture("missing")
    person.press("How to Install It")
    person.sees("journalctl -u iscsi-initiatord")
    person.keys("Escape")
    person.press("Try Again")
    person.sees("cannot be reached")


def is_told_that_the_service_is_old(person, _):
    """A service without objects is named as that."""
    person.sees("too old")
    person.picture("old")
    person.press("Details", roles=("button", "push button", "toggle button"))
    person.sees("0.0.1")


def examines_this_machine(person, machine):
    """Name, multipath with its difference, and what Examine finds."""
    person.sees("No Targets")
    person.chooses("This Machine")
    person.sees("Initiator Name")
    person.press("Examine")
    person.sees("The services run")
    person.picture("examined")
    person.press("Set Up…")
    person.sees("conf.d/60-iscsi-initiatord.conf")
    person.sees("find_multipaths")
    person.picture("multipath")
    person.press("Set Up")
    person.sees("Multipath is set up")
    person.keys("Escape")


def works_by_keyboard_alone(person, machine):
    """No pointer: Ctrl+N, an address, Return, Escape."""
    person.sees("No Targets")
    person.keys("ctrl+n")
    person.find(("text", "entry"), "Address of the Gateway")
    person.wait("the focus is in the address", lambda: person.focused()[1] == "Address of the Gateway")
    person.writes(machine.portals[0])
    person.keys("Return")
    person.sees("asks for a user name and a secret")
    person.keys("Return")
    person.wait("the focus is in the user name", lambda: person.focused()[1] == "User Name")
    person.writes(machine.user)
    person.keys("Tab")
    person.wait("the focus is in the secret", lambda: person.focused()[1] == "Secret")
    person.writes(machine.secret)
    person.keys("Return")
    person.sees("Done")
    person.keys("Return")
    person.sees("2 disks, all paths work")
    person.keys("ctrl+n")
    person.sees("Address of the Gateway")
    person.keys("Escape")
    person.sees_no("Address of the Gateway")


def gives_everything_a_name(person, machine):
    """A screen reader can say of each thing what it is."""
    machine.connect()
    person.sees("2 disks, all paths work")
    roles = ("button", "push button", "toggle button", "check box", "switch", "text", "entry", "image", "icon", "menu button")

    def nameless():
        return [(role, name) for _, role, name in person.everything() if role in roles and not name]

    assert not nameless(), nameless()
    person.press("Connect to Portal…")
    person.sees("Address of the Gateway")
    assert not nameless(), nameless()


def speaks_chinese(person, machine):
    """No English word is left on any page, but names that have no other."""
    allowed = (
        r"iSCSI|iscsi\S*|CHAP|IP|iqn\.\S+|[0-9.:/\[\]-]+|mpath[a-z]|sd[a-z]|dm-\d|MiB|GiB|LIO-ORG|TCMU|device|LUN|"
        r"eth\d|lo|/dev/\S+|naa\.\S+|disks|multipathd?|multipath\S*|initiatord"
    )

    def english():
        odd = []
        for _, role, name in person.everything():
            if role in ("application", "filler"):
                continue
            rest = re.sub(allowed, " ", name)
            if re.search(r"[A-Za-z]{2,}", rest):
                odd.append(name)
        return odd

    person.sees("没有目标")
    person.press("连接到门户…")
    person.sees("网关地址")
    person.picture("form")
    assert not english(), english()
    person.keys("Escape")
    machine.connect()
    person.sees("2 块磁盘，所有路径正常")
    person.picture("target")
    assert not english(), english()
    machine.turn(f"pull-cable {machine.portals[0]}")
    person.sees("4 条路径中有 2 条正常")
    person.picture("path-lost")
    assert not english(), english()
    person.chooses("本机")
    person.sees("发起程序名称")
    person.picture("machine")


def shows_every_page(person, machine):
    """For the pictures: what a person sees most."""
    machine.connect()
    person.sees("2 disks, all paths work")
    person.picture("target")
    person.chooses("This Machine")
    person.sees("Initiator Name")
    person.picture("machine")


def fits_a_narrow_window(person, machine):
    """360 pixels: list and page one at a time, and nothing is wider than the window but the picture, which is scrolled."""
    width = int(os.environ["SIZE"].split("x")[0])

    def fits(name):
        person.picture(name)
        odd = [
            (role, text, place.x, place.width)
            for _, role, text, place in person.places()
            if role != "image" and (place.x < 0 or place.x + place.width > width)
        ]
        assert not odd, (name, odd)

    machine.connect()
    person.sees("2 disks, all paths work")
    fits("list")
    person.chooses("disks")
    person.sees("iqn.2003-01.com.example:disks")
    fits("target")
    machine.turn(f"pull-cable {machine.portals[0]}")
    person.sees("A connection is lost")
    fits("path-lost")
    person.press("Diagnose")
    person.sees("check failed")
    fits("diagnosed")
    person.keys("Escape")
    person.press("Disconnect…")
    person.sees("Disconnect Now")
    fits("disconnect")
    person.keys("Escape")
    person.press("Back")
    person.sees_no("iqn.2003-01.com.example:disks")
    person.chooses("This Machine")
    person.sees("Initiator Name")
    fits("machine")
    person.press("Set Up…")
    person.sees("find_multipaths")
    fits("multipath")
    person.keys("Escape")
    person.press("Back")
    person.press("Connect to Portal…")
    person.press("More")
    person.sees("Network Interface")
    fits("form")


def tells_in_the_tray(tray, machine):
    """Quiet while all is well; a notification for a lost path, replaced when it is back; a click opens the target."""
    desk = tray.desk
    tray.wait("the icon is registered", lambda: desk.items)
    machine.connect()
    tray.wait("the menu has the target", lambda: any("disks" in text for text in desk.menu().values()))
    assert desk.icon()["Status"] == "Passive", desk.icon()
    assert not desk.shown, desk.said()
    machine.turn(f"pull-cable {machine.portals[0]}")
    tray.wait("the icon asks for attention", lambda: desk.icon()["Status"] == "NeedsAttention")
    tray.wait("a notification", lambda: len(desk.shown) == 1)
    assert "a path has failed" in desk.shown[0]["title"], desk.said()
    desk.click(desk.shown[0]["id"])
    tray.wait("the target is opened", lambda: ("open-target", [machine.target]) in desk.opened)
    number = next(number for number, text in desk.menu().items() if text.startswith("disks"))
    desk.choose(number)
    tray.wait("the menu opens it, too", lambda: desk.opened.count(("open-target", [machine.target])) == 2)
    machine.turn(f"plug-cable {machine.portals[0]}")
    tray.wait("it is told that it is back", lambda: len(desk.shown) == 2)
    assert desk.shown[1]["id"] == desk.shown[0]["id"], desk.said()
    assert "all paths work again" in desk.shown[1]["title"], desk.said()
    tray.wait("the icon is quiet again", lambda: desk.icon()["Status"] == "Passive")


STORIES = {
    # name: (what happens, the language, knobs before the window opens or what is there instead, whether it is the tray)
    "connect": (connects, None, [], False),
    "disconnect": (disconnects, None, [], False),
    "lost-path": (shows_a_lost_path, None, [], False),
    "other-disk": (asks_before_it_uses_another_disk, None, [], False),
    "dismissed": (says_nothing_of_a_dismissed_question, None, [], False),
    "startup": (switches_the_startup, None, [], False),
    "gone": (survives_the_end_of_the_service, None, [], False),
    "killed": (sees_the_service_come_back, None, [], False),
    "denied": (is_told_that_it_is_not_allowed, None, ["deny list-paths"], False),
    "missing": (is_told_that_there_is_no_service, None, None, False),
    "old": (is_told_that_the_service_is_old, None, "old", False),
    "machine": (examines_this_machine, None, [], False),
    "keyboard": (works_by_keyboard_alone, None, [], False),
    "names": (gives_everything_a_name, None, [], False),
    "chinese": (speaks_chinese, "zh_CN.UTF-8", [], False),
    "pages": (shows_every_page, None, [], False),
    "narrow": (fits_a_narrow_window, None, [], False),
    "tray": (tells_in_the_tray, None, [], True),
}


# Of the window, where it is not as wide as usual.
SIZES = {"narrow": "360x720"}


def tell(name, applet, dev):
    """One story, with everything that it needs already around it."""
    from person import Person
    from world import Desk, EmptyBus, Machine

    story, language, knobs, is_tray = STORIES[name]
    environment = dict(os.environ)
    if language:
        environment["LC_ALL"] = language
    machine = Machine(dev) if isinstance(knobs, list) else EmptyBus(knobs == "old")
    environment["DBUS_SYSTEM_BUS_ADDRESS"] = machine.address
    for knob in knobs if isinstance(knobs, list) else []:
        machine.turn(knob)
    desk = Desk() if is_tray else None
    person = Person([applet] + (["--tray"] if is_tray else []), environment)
    person.desk = desk
    folder = os.environ.get("PICTURES")
    take = person.picture
    person.picture = lambda file: take(os.path.join(folder, f"{name}-{file}.png")) if folder else None
    try:
        if not is_tray:
            person.looks_at_the_window()
        story(person, machine)
    except BaseException:
        if folder:
            take(os.path.join(folder, f"{name}-FAILED.png"))
        raise
    finally:
        person.leave()
        machine.leave()


def around(name, applet, dev):
    """A display, a home and a session bus for a story; whether it went well."""
    work = tempfile.mkdtemp()
    reader, writer = os.pipe()
    size = SIZES.get(name) or os.environ.get("SIZE", "960x760")
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{size}x24", "-nolisten", "tcp"],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as said:
            display = said.readline().strip()
        os.makedirs(os.path.join(work, "config", "gtk-4.0"))
        with open(os.path.join(work, "config", "gtk-4.0", "settings.ini"), "w", encoding="utf-8") as settings:
            settings.write(
                "[Settings]\ngtk-enable-animations=false\ngtk-cursor-blink=false\ngtk-font-name=Cantarell 11\n"
            )
        environment = dict(
            os.environ,
            SIZE=size,
            DISPLAY=f":{display}",
            HOME=work,
            XDG_CONFIG_HOME=os.path.join(work, "config"),
            GDK_BACKEND="x11",
            GSK_RENDERER="cairo",
            GDK_DISABLE="gl,vulkan",
            NO_AT_BRIDGE="0",
        )
        command = ["dbus-run-session", "--", sys.executable, os.path.abspath(__file__), "--inside", name, applet, dev]
        return subprocess.run(command, env=environment, timeout=400, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"{name}: takes too long", flush=True)
        return False
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(work, ignore_errors=True)


def main():
    if sys.argv[1] == "--inside":
        try:
            tell(*sys.argv[2:5])
        except BaseException:
            traceback.print_exc()
            sys.exit(1)
        return
    applet, dev, *wanted = sys.argv[1:]
    failed = []
    for name in wanted or STORIES:
        began = time.monotonic()
        is_well = around(name, applet, dev)
        print(f"{'ok    ' if is_well else 'FAILED'} {name} ({time.monotonic() - began:.1f} s)", flush=True)
        if not is_well:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {' '.join(failed)}")


main()

"""The stories of the applet's window and tray: what a person does, and sees.
Must not look at anything that a person cannot."""

import gettext
import os
import re
import stat
from dataclasses import dataclass, field
from typing import Callable


def connects_to_the_first_portal(person, machine):
    person.sees("No Targets")
    person.press("Connect to Portal…")
    person.type("Address of the Gateway", machine.portals[0])
    person.press("Connect")


def closes_the_question(person, machine):
    """polkit asks before it connects; whoever closes that is back at the form."""
    machine.turn("ask connect")
    connects_to_the_first_portal(person, machine)
    person.is_asked("org.cloudatlas.IscsiInitiator.connect")
    person.sees("Address of the Gateway")


def texts(person):
    """The texts of the sources, as this person reads them."""
    if not person.language:
        return lambda text: text
    return gettext.translation("iscsi-initiator", os.environ["ISCSI_APPLET_LOCALES"], ["zh_CN"]).gettext


def underlined(text):
    """The name of a button with a letter for the keyboard, as it is read aloud."""
    return text.replace("_", "")


def connects(person, machine):
    """From nothing to disks: the initiator name and then CHAP are put right from the window."""
    machine.turn("refuse-initiator")
    person.sees("No Targets")
    person.picture("empty")
    person.press("Connect to Portal…")
    person.press("Connect")
    person.sees("Enter the gateway’s address")
    person.type("Address of the Gateway", machine.portals[0])
    person.press("Connect")
    person.sees("does not know this machine’s name")
    person.picture("not-known")
    person.press("Change Initiator Name…")
    person.type("Initiator Name", machine.known_name)
    person.press("Change")
    person.sees("asks for a user name and a secret")
    person.sees(f"initiator name is {machine.known_name} now")
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
    person.has_the_focus("Look Again")
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
    closes_the_question(person, machine)
    person.sees_no("not allowed")
    machine.turn("allow connect")
    machine.connect()
    person.keys("Escape")
    person.sees("Connect at Startup")
    machine.turn("ask configure")
    machine.turn("ask login")
    before = person.is_on("Connect at Startup")
    person.press("Connect at Startup")
    person.is_asked("org.cloudatlas.IscsiInitiator.login")
    person.wait("the switch is as before", lambda: person.is_on("Connect at Startup") == before)
    person.sees_no("not allowed")


def enters_a_password(person, machine):
    """polkit asks for an administrator's password; the wrong one is asked for again, and with the right one it goes on."""
    closes_the_question(person, machine)
    person.agent.will_enter("not-the-right-one", "root")
    person.press("Connect")
    person.sees("asks for a user name and a secret")
    person.is_asked("org.cloudatlas.IscsiInitiator.connect", 2)
    assert not person.agent.enters, "the wrong password was enough"
    message = person.agent.asked[-1][1]
    assert "Authentication is required" in message and machine.portals[0] in message, message
    person.agent.will_enter("root", "root")
    person.press("Enter User Name and Secret")
    person.type("User Name", machine.user)
    person.type("Secret", machine.secret)
    person.press("Connect")
    person.press("Done")
    person.sees("2 disks, all paths work")


def has_nobody_to_ask(person, machine):
    """polkit would ask for a password, and this session has no agent: it is said that it is not allowed, and why."""
    machine.turn("ask connect")
    connects_to_the_first_portal(person, machine)
    person.sees("not allowed")
    person.picture("nobody-to-ask")


def is_asked_in_chinese(person, machine):
    """polkit's question is in the person's language, too."""
    machine.turn("ask connect")
    person.sees("没有目标")
    person.press("连接到门户…")
    person.type("网关地址", machine.portals[0])
    person.press("连接")
    person.is_asked("org.cloudatlas.IscsiInitiator.connect")
    message = person.agent.asked[-1][1]
    assert "需要认证" in message or "身份验证" in message, message
    person.sees("网关地址")


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
    machine.end()
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
    person.sees("has gone away")
    person.picture("disconnect-without-daemon")
    person.keys("Escape")
    machine.turn("start-daemon")
    person.sees_no("This is how it was last")
    machine.turn(f"pull-cable {machine.portals[0]}")
    person.sees("2 of 4 paths work")


def is_told_that_it_is_not_allowed(person, machine):
    """Without permission there is a page that says what to do, and it goes away by itself."""
    say = texts(person)
    person.sees(say("You are not allowed to see the iSCSI targets"))
    person.picture("denied")
    person.press(say("How to Get Access"))
    person.sees("--groups iscsi USER")
    person.picture("access")
    person.keys("Escape")
    machine.turn("allow list-paths")
    person.press(underlined(say("_Try Again")))
    person.sees(say("No Targets"))


def is_told_that_there_is_no_service(person, _):
    """Without the service, and without polkit, it is said how to get it."""
    say = texts(person)
    person.sees(say(NO_SERVICE))
    person.picture("missing")
    person.press(say("How to Install It"))
    person.sees("journalctl -u iscsi-initiatord")
    person.keys("Escape")
    person.press(underlined(say("_Try Again")))
    person.sees(say(NO_SERVICE))


def is_told_that_the_service_is_old(person, _):
    """A service without objects is named as that."""
    say = texts(person)
    person.sees(say(OLD_SERVICE))
    person.picture("old")
    person.press(say("Details"), roles=("button", "push button", "toggle button"))
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
    person.has_the_focus("Address of the Gateway")
    person.writes(machine.portals[0])
    person.keys("Return")
    person.sees("asks for a user name and a secret")
    person.keys("Return")
    person.has_the_focus("User Name")
    person.writes(machine.user)
    person.keys("Tab")
    person.has_the_focus("Secret")
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
        r"/dev/\S+|iSCSI|iscsi\S*|CHAP|IP|iqn\.\S+|[0-9.:/\[\]-]+|mpath[a-z]|sd[a-z]|dm-\d|MiB|GiB|LIO-ORG|TCMU|device|LUN|"
        # What the kernel and multipathd call the states of a session, a disk and a path.
        r"FREE|transport-offline|failed|faulty|"
        r"eth\d|lo|naa\.\S+|disks|multipathd?|multipath\S*|initiatord"
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


def copies_the_path_of_a_disk(person, machine):
    """The path to copy is one that stays, and it can be pasted elsewhere."""
    machine.connect()
    person.press("Copy the Path of mpatha")
    person.sees("Copied")
    person.keys("ctrl+n")
    person.has_the_focus("Address of the Gateway")
    person.keys("ctrl+v")
    path = "/dev/disk/by-id/dm-uuid-mpath-3600140500000000000000000000000"
    person.wait("the path is pasted", lambda: person.reads("Address of the Gateway").startswith(path))


def says_that_it_loads(person, _):
    """A service that takes its time: after a moment it is said that something is being done."""
    person.sees(texts(person)("Loading"))
    person.picture("loading")


def shows_and_gives_up_a_hold(person, machine):
    """Who holds a target is shown, and a hold of one's own can be given up."""
    machine.connect()
    machine.iscsi("hold", machine.target, "--as", "libvirt:web")
    person.sees("Held By")
    person.sees("libvirt:web")
    person.picture("held")
    person.press("Disconnect…")
    person.sees("is in use")
    person.picture("in-use")
    person.press("Give Up…")
    person.sees("Give up the hold of libvirt:web")
    person.press("Give Up")
    person.sees("Nothing uses")
    person.press("Disconnect Now")
    person.sees("Not connected")


def looks_for_changes_and_forgets(person, machine):
    """A new disk is found; a target that is not wanted any more is forgotten, after a question."""
    machine.connect()
    person.sees("2 disks, all paths work")
    machine.turn("add-lun 2 256")
    person.press("More for This Target")
    person.is_offered("Look for Changes")
    person.picture("menu")
    person.picks("Look for Changes")
    # While it is looked for, the disks are there already, and the target is busy.
    person.sees("Looked for new disks and sizes")
    person.sees("3 disks, all paths work")
    machine.iscsi("logout", machine.target)
    person.sees("Not connected")
    person.press("More for This Target")
    person.picks("Forget Target…")
    person.sees("Nothing on its disks is changed")
    person.picture("question")
    person.press("Forget It")
    person.sees("No Targets")
    assert machine.target not in machine.iscsi("nodes")


def disconnects_what_is_in_use(person, machine):
    """What uses it is named twice before it is disconnected all the same."""
    machine.connect()
    machine.turn("mount dm-0 /mnt/data")
    person.press("Disconnect…")
    person.sees("mounted at /mnt/data")
    person.press("Disconnect Anyway…")
    person.sees("What is not written yet")
    person.picture("question")
    person.press("Disconnect Anyway")
    person.sees("Not connected")


def renames_this_machine(person, machine):
    """A name that is none is refused where it is typed; the other one is the machine's at once."""
    person.sees("No Targets")
    person.chooses("This Machine")
    person.press("Change…")
    person.type("Initiator Name", "not a name")
    person.wait("the button is off", lambda: not person.can_press("Change"))
    person.picture("bad-name")
    name = "iqn.2001-04.com.example:another-machine"
    person.type("Initiator Name", name)
    person.press("Change")
    person.sees("The initiator name is changed")
    person.sees(name)
    assert name in machine.iscsi("initiator-name")


def fixes_this_machine(person, machine):
    """What Examine finds and can fix is fixed with one button."""
    machine.turn("chmod etc/iscsid.conf 644")
    person.sees("No Targets")
    person.chooses("This Machine")
    person.press("Examine")
    person.sees("iscsid.conf")
    person.picture("found")
    person.press("Fix All")
    person.sees("This is fixed now")
    person.picture("fixed")
    assert machine.turn("chmod etc/iscsid.conf") == "600"


def saves_a_report(person, machine):
    """A file for who is asked for help: without a secret, and no one else's to read."""
    machine.connect()
    person.sees("2 disks, all paths work")
    person.chooses("This Machine")
    person.press("Save…")
    file = os.path.join(os.environ["HOME"], "iscsi-report.txt")
    person.press("Save")
    person.sees("Saved")
    with open(file, encoding="utf-8") as report:
        text = report.read()
    assert machine.target in text and machine.portals[1] in text, text
    assert machine.secret not in text and machine.user not in text, text
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600, oct(os.stat(file).st_mode)


def shows_every_page(person, machine):
    """For the pictures: every page in one language, one scheme of colours and one size of text; nothing is cut off."""
    say = texts(person)

    def shows(name):
        person.picture(name)
        fits(person, name)

    person.sees(say("No Targets"))
    shows("empty")
    person.press(say("Connect to Portal…"))
    person.sees(say("Address of the Gateway"))
    person.type(say("Address of the Gateway"), machine.portals[0])
    shows("form")
    person.press(say("Connect"))
    person.press(say("Enter User Name and Secret"))
    person.sees(say("User Name"))
    shows("chap")
    person.keys("Escape")
    machine.connect()
    person.sees("mpathb")
    shows("target")
    machine.turn(f"pull-cable {machine.portals[0]}")
    person.sees(say("A connection is lost"))
    shows("path-lost")
    person.press(say("Diagnose"))
    person.sees(say("{n} check failed").replace("{n}", "").strip())
    shows("diagnosed")
    person.keys("Escape")
    machine.turn("mount dm-0 /mnt/data")
    person.press(say("Disconnect…"))
    person.sees("/mnt/data")
    shows("in-use")
    person.keys("Escape")
    person.chooses(say("This Machine"))
    person.sees(say("Initiator Name"))
    shows("machine")
    person.press(say("Set Up…"))
    person.sees("find_multipaths")
    shows("multipath")
    person.keys("Escape")
    machine.end()
    person.sees(underlined(say("_Try Again")))
    shows("bus-gone")


def fits(person, name):
    """Nothing is wider than the window."""
    width = int(os.environ["SIZE"].split("x")[0])
    odd = [
        (role, text, place.width)
        for _, role, text, place in person.places()
        # What has no place says one that is none.
        if width < place.width < 32768
    ]
    assert not odd, (name, odd)


def fits_a_narrow_window(person, machine):
    """360 pixels: list and page one at a time, and nothing is wider than the window."""
    def shows(name):
        person.picture(name)
        fits(person, name)

    machine.connect()
    person.sees("2 disks, all paths work")
    shows("list")
    person.chooses("disks")
    person.sees("iqn.2003-01.com.example:disks")
    shows("target")
    machine.turn(f"pull-cable {machine.portals[0]}")
    person.sees("A connection is lost")
    shows("path-lost")
    person.press("Diagnose")
    person.sees("check failed")
    title, heading = (person.place(text) for text in ("Diagnose", "1 check failed"))
    assert heading.y >= title.y + title.height, (heading.y, title.y)
    shows("diagnosed")
    person.keys("Escape")
    person.press("Disconnect…")
    person.has_the_focus("Disconnect Now")
    shows("disconnect")
    person.keys("Escape")
    person.press("Back")
    person.sees_no("iqn.2003-01.com.example:disks")
    person.chooses("This Machine")
    person.sees("Initiator Name")
    shows("machine")
    person.press("Set Up…")
    person.sees("find_multipaths")
    shows("multipath")
    person.keys("Escape")
    person.press("Back")
    person.press("Connect to Portal…")
    person.chooses("More")
    person.sees("Network Interface")
    shows("form")


def tells_in_the_tray(tray, machine):
    """Quiet while all is well; a notification for a lost path, replaced when it is back; a click opens the target."""
    desk = tray.desk
    tray.wait("the icon is registered", lambda: desk.items)
    machine.connect()
    tray.wait("the menu has the target", lambda: any("disks" in text for text in desk.menu().values()))
    # While it is being logged in to, not all of it is there.
    tray.wait("the icon is quiet", lambda: desk.icon()["Status"] == "Passive")
    assert not desk.shown, desk.said()
    machine.turn(f"pull-cable {machine.portals[0]}")
    tray.wait("the icon asks for attention", lambda: desk.icon()["Status"] == "NeedsAttention")
    tray.wait("a notification", lambda: desk.shown)
    assert len(desk.shown) == 1, desk.said()
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


def comes_back_by_itself(person, machine):
    """The daemon is killed: the next call starts another, and what is shown is live again without anything being pressed."""
    machine.connect()
    person.sees("2 disks, all paths work")
    machine.turn("kill-daemon")
    person.sees_no("This is how it was last")
    person.sees("2 disks, all paths work")
    machine.turn(f"pull-cable {machine.portals[0]}")
    person.sees("2 of 4 paths work")
    machine.turn(f"plug-cable {machine.portals[0]}")
    person.sees("2 disks, all paths work")


def sets_multipath_up(person, machine):
    """A machine without a multipath configuration gets one, and then two paths are one disk."""
    person.sees("No Targets")
    person.chooses("This Machine")
    person.sees("Initiator Name")
    person.press("Set Up…")
    person.sees("conf.d/60-iscsi-initiatord.conf")
    person.sees("find_multipaths")
    person.picture("multipath")
    person.press("Set Up")
    person.sees("Multipath is set up")
    person.keys("Escape")
    machine.connect()
    person.sees("2 disks, all paths work")
    assert machine.turn("multipath") == "on"


@dataclass
class Story:
    """What happens, and what is around it."""

    happens: Callable
    # As LC_ALL has it.
    language: str = ""
    # Knobs of the fake machine, before the window opens.
    before: list = field(default_factory=list)
    # What is there instead of the service: `nothing`, an `old` one, one that is `silent`.
    instead: str = ""
    # Who is asked by polkit has an agent.
    has_agent: bool = False
    is_tray: bool = False
    size: str = "960x760"
    scheme: str = "light"
    has_contrast: bool = False
    # In per cent.
    text: int = 100


CHINESE = "zh_CN.UTF-8"

# As client/model/src/text/errors.rs has them.
NO_SERVICE = "The iSCSI service cannot be reached"
OLD_SERVICE = "The iSCSI service is too old for this"

# For the pictures: each language with each scheme of colours, but for English and light, which have stories of their own.
LOOKS = {
    "dark": {"scheme": "dark"},
    "chinese": {"language": CHINESE},
    "chinese-dark": {"language": CHINESE, "scheme": "dark"},
}

STORIES = {
    # Those that take longest come first.
    "lost-path": Story(shows_a_lost_path),
    "narrow": Story(fits_a_narrow_window, size="360x720"),
    "tray": Story(tells_in_the_tray, is_tray=True),
    "connect": Story(connects),
    "keyboard": Story(works_by_keyboard_alone),
    "machine": Story(examines_this_machine),
    "chinese": Story(speaks_chinese, CHINESE),
    "disconnect": Story(disconnects),
    "other-disk": Story(asks_before_it_uses_another_disk),
    "dismissed": Story(says_nothing_of_a_dismissed_question, has_agent=True),
    "password": Story(enters_a_password, has_agent=True),
    "nobody-to-ask": Story(has_nobody_to_ask),
    "asked-in-chinese": Story(is_asked_in_chinese, CHINESE, has_agent=True),
    "startup": Story(switches_the_startup),
    "gone": Story(survives_the_end_of_the_service),
    "killed": Story(sees_the_service_come_back),
    "denied": Story(is_told_that_it_is_not_allowed, before=["deny list-paths"]),
    "missing": Story(is_told_that_there_is_no_service, instead="nothing"),
    "old": Story(is_told_that_the_service_is_old, instead="old"),
    "names": Story(gives_everything_a_name),
    "copy": Story(copies_the_path_of_a_disk),
    "loading": Story(says_that_it_loads, instead="silent"),
    "hold": Story(shows_and_gives_up_a_hold),
    "forget": Story(looks_for_changes_and_forgets),
    "anyway": Story(disconnects_what_is_in_use),
    "rename": Story(renames_this_machine),
    "fix": Story(fixes_this_machine),
    "report": Story(saves_a_report),
    "pages": Story(shows_every_page),
    "pages-dark": Story(shows_every_page, scheme="dark"),
    "pages-chinese": Story(shows_every_page, CHINESE),
    "pages-chinese-dark": Story(shows_every_page, CHINESE, scheme="dark"),
    "pages-contrast": Story(shows_every_page, has_contrast=True),
    "pages-large": Story(shows_every_page, text=200, size="1440x1000"),
}

for look, changes in LOOKS.items():
    STORIES |= {
        f"denied-{look}": Story(is_told_that_it_is_not_allowed, before=["deny list-paths"], **changes),
        f"missing-{look}": Story(is_told_that_there_is_no_service, instead="nothing", **changes),
        f"old-{look}": Story(is_told_that_the_service_is_old, instead="old", **changes),
        f"loading-{look}": Story(says_that_it_loads, instead="silent", **changes),
    }

# On a real machine, whose bus is lent: Linux LIO, open-iscsi, multipathd and systemd are the real ones. One after the other.
TESTBED = {
    "testbed-connect": Story(connects, before=["fresh", "refuse-initiator"]),
    "testbed-disconnect": Story(disconnects, before=["fresh", "known"]),
    "testbed-lost-path": Story(shows_a_lost_path, before=["fresh", "known"]),
    "testbed-killed": Story(comes_back_by_itself, before=["fresh", "known"]),
    "testbed-startup": Story(switches_the_startup, before=["fresh", "known"]),
    "testbed-multipath": Story(sets_multipath_up, before=["fresh", "known", "no-multipath-file"]),
}

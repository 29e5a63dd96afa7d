"""Plays the stories of the applet's window and tray, each on a display, a home and a session bus of its own.
Must not know how the applet is built, or hide which story failed and what was on the screen then.

usage: run.py APPLET DEV FOLDER [STORY]...      (in the room, as root; FOLDER: what was on the screen, STORY-*.png)
       run.py --testbed PORTS APPLET DEV FOLDER [STORY]...      (PORTS: the folder with the sockets of a machine's ports)

The person is the user `person`: to polkit, root is nobody who could be asked. The machine is root's."""

import glob
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

# A story waits for each of its steps; this is for what waits for none.
LONGEST = 400
# The same on an emulated machine, and for one step there.
LONGEST_THERE, PATIENCE_THERE = 900, 180
# From its start until a busy host's emulated machine is ready.
BOOT = 900
# Where programs look for the system bus that cannot be told: polkit's helper, which is root's.
SYSTEM_BUS = "/run/dbus/system_bus_socket"


def person():
    """What makes a command the person's."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("person")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def give(path):
    """The person's, from now on."""
    if os.geteuid() == 0:
        user = pwd.getpwnam("person")
        os.chown(path, user.pw_uid, user.pw_gid)


def tell(name, applet, folder, facts, lines):
    """One story, with everything that it needs already around it."""
    from person import Person
    from stories import STORIES, TESTBED
    from world import Desk, EmptyBus, Machine

    story = {**STORIES, **TESTBED}[name]
    environment = dict(os.environ)
    if story.language:
        environment["LC_ALL"] = story.language
    if story.instead:
        machine = EmptyBus(story.instead)
    else:
        machine = Machine(socket.socket(fileno=int(lines)), json.loads(facts))
    environment["DBUS_SYSTEM_BUS_ADDRESS"] = machine.address
    for knob in story.before:
        machine.turn(knob)
    desk = Desk() if story.is_tray else None
    someone = Person([applet] + (["--tray"] if story.is_tray else []), environment)
    someone.desk = desk
    someone.pictures = os.path.join(folder, name)
    try:
        if story.has_agent:
            from agent import Agent

            someone.agent = Agent(machine.address, someone.program.pid, story.language)
        if not story.is_tray:
            someone.looks_at_the_window()
        story.happens(someone, machine)
    except BaseException:
        someone.picture("FAILED")
        raise
    finally:
        someone.leave()
        machine.leave()


# What GTK is told: no animation, no blinking, one font.
SETTINGS = "[Settings]\ngtk-enable-animations=false\ngtk-cursor-blink=false\ngtk-font-name=Cantarell 11\n"


@contextmanager
def running(command, **how):
    """A program of the person's, and the first line that it says."""
    reader, writer = os.pipe()
    command = [word.replace("{}", str(writer)) for word in command]
    program = subprocess.Popen([*person(), *command], pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)
    os.close(writer)
    try:
        with os.fdopen(reader) as said:
            yield said.readline().strip()
    finally:
        program.terminate()
        program.wait()


@contextmanager
def desktop(story):
    """A display, a session bus and a home for a story: what its programs find in their environment, and the home."""
    work = tempfile.mkdtemp()
    # Nobody else gets to it, being in a room of its own.
    screen = ["-screen", "0", f"{story.size}x24", "-nolisten", "tcp", "-noreset", "-ac"]
    try:
        give(work)
        with running(["Xvfb", "-displayfd", "{}", *screen]) as display:
            # The size of text is that of an inch, which GTK takes from the display.
            inch = ["-f", "RESOURCE_MANAGER", "8s", "-set", "RESOURCE_MANAGER", f"Xft.dpi:\t{96 * story.text // 100}\n"]
            subprocess.run(["xprop", "-display", f":{display}", "-root", *inch], check=True)
            for folder in ("config", "config/gtk-4.0", "pictures"):
                os.mkdir(os.path.join(work, folder))
                give(os.path.join(work, folder))
            with open(os.path.join(work, "config", "gtk-4.0", "settings.ini"), "w", encoding="utf-8") as file:
                file.write(SETTINGS)
            environment = dict(
                os.environ,
                SIZE=story.size,
                DISPLAY=f":{display}",
                HOME=work,
                XDG_CONFIG_HOME=os.path.join(work, "config"),
                XDG_RUNTIME_DIR=work,
                GDK_BACKEND="x11",
                GSK_RENDERER="cairo",
                GDK_DISABLE="gl,vulkan",
                ADW_DEBUG_COLOR_SCHEME=f"prefer-{story.scheme}",
                ADW_DEBUG_HIGH_CONTRAST="1" if story.has_contrast else "0",
            )
            bus = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address={}"]
            with running(bus, env=environment) as address:
                yield dict(environment, DBUS_SESSION_BUS_ADDRESS=address), work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def around(name, story, where, said):
    """A desktop for a story, beside its machine; whether it went well."""
    from world import Fake

    applet, dev, folder = where.arguments
    fake = None
    if not where.machine and not story.instead:
        fake = Fake(dev, "--polkit")
    machine = where.machine or fake
    try:
        with desktop(story) as (environment, work):
            command = [sys.executable, "-X", "faulthandler", os.path.abspath(__file__), "--inside", name, applet, os.path.join(work, "pictures")]
            command = [*person(), *command]
            lines = []
            if machine:
                lines = [machine.lines.fileno()]
                command += [json.dumps(machine.facts), str(*lines)]
                # Each story has a system bus of its own.
                bus = machine.facts["address"].removeprefix("unix:path=").split(",")[0]
                mount = f'mount --bind "$1" {SYSTEM_BUS} && shift && exec "$@"'
                command = ["unshare", "--mount", "--", "sh", "-c", mount, "sh", bus, *command]
            else:
                command += ["", ""]
            if where.machine:
                environment["PATIENCE"] = str(PATIENCE_THERE)
            try:
                # A file that is saved without a folder is in the home.
                ended = subprocess.run(
                    command,
                    env=environment,
                    cwd=work,
                    timeout=LONGEST_THERE if where.machine else LONGEST,
                    check=False,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    pass_fds=lines,
                )
            except subprocess.TimeoutExpired:
                said.write(f"{name}: it does not come to its end\n")
                return False
            finally:
                keep(glob.glob(os.path.join(work, "pictures", "*")), folder)
            if ended.returncode < 0:
                said.write(f"{name}: who tells it was ended by signal {-ended.returncode}\n")
            return ended.returncode == 0
    finally:
        if fake:
            fake.leave()


def keep(pictures, folder):
    """For whoever the folder belongs to."""
    owner = os.stat(folder)
    for picture in pictures:
        kept = os.path.join(folder, os.path.basename(picture))
        shutil.copyfile(picture, kept)
        os.chown(kept, owner.st_uid, owner.st_gid)


# What the programs around it say of themselves.
CHATTER = ("dbus-daemon[", "SpiRegistry daemon", "dbind-WARNING")


def play(name, story, where):
    """What is told of one story, and whether it went well."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        is_well = around(name, story, where, said)
        said.seek(0)
        lines = [line.rstrip("\n") for line in said if line.strip() and not any(word in line for word in CHATTER)]
    taken = f"{time.monotonic() - began:.1f} s"
    if is_well:
        print(f"ok      {name} ({taken})", flush=True)
        return True
    picture = os.path.join(where.arguments[2], f"{name}-FAILED.png")
    print(f"FAILED  {name} ({taken}); on the screen then: {picture}", flush=True)
    for line in lines:
        print(f"       | {line}", flush=True)
    return False


class Testbed:
    """A machine that is being booted, by its ports: its knobs, and its bus behind a door."""

    def __init__(self, ports, dev):
        self.knobs = os.path.join(ports, "knobs")
        self.lines = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.lines.connect(self.knobs)
                break
            except OSError:
                assert time.monotonic() < deadline, "the machine does not start"
                time.sleep(0.1)
        bus = os.path.join(ports, "door")
        door = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "testbed", "door")
        self.door = subprocess.Popen([sys.executable, door, "outside", os.path.join(ports, "bus"), bus])
        self.facts = {
            "address": f"unix:path={bus}",
            "portals": ["192.0.2.21:3260", "192.0.2.37:3260"],
            "iscsictl": os.path.join(os.path.dirname(dev), "iscsictl"),
            "target": "iqn.2001-07.com.ceph:1711700000",
            "user": "libvirtd",
            "secret": "mypassword12",
            "known-name": "iqn.1989-06.io.cloud-atlas:libvirt-client",
        }
        self.answer("start")

    def answer(self, word):
        """Waits until it listens: what it was asked before, and by whom, does not count."""
        self.lines.settimeout(BOOT)
        word = f"sync {word}"
        self.lines.sendall(f"{word}\n".encode())
        said = b""
        while not said.endswith(f"{word}\n".encode()):
            some = self.lines.recv(4096)
            assert some, "the machine has gone"
            said += some
        # It goes to the stories, who have deadlines of their own.
        self.lines.settimeout(None)

    def leave(self):
        self.lines.sendall(b"quit\n")
        self.door.terminate()
        self.door.wait()


class Where:
    """The programs, where pictures go, and the machine that all stories have, if any."""

    def __init__(self, arguments, machine):
        self.arguments, self.machine = arguments, machine


def is_readable(paths):
    return all(subprocess.run([*person(), "test", "-r", path], check=False).returncode == 0 for path in paths)


def main():
    if sys.argv[1] == "--inside":
        try:
            tell(*sys.argv[2:7])
        except BaseException:
            traceback.print_exc()
            sys.exit(1)
        return
    from stories import STORIES, TESTBED

    words, ports, known = sys.argv[1:], None, STORIES
    if words[0] == "--testbed":
        ports, words, known = words[1], words[2:], TESTBED
    arguments, names = words[:3], words[3:]
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no such story: {' '.join(unknown)} (there are {' '.join(known)})")
    if not is_readable([arguments[0], os.path.abspath(__file__)]):
        sys.exit("the person of the stories cannot read this checkout: it must be open to others where root tests it")
    os.makedirs(os.path.dirname(SYSTEM_BUS), exist_ok=True)
    with open(SYSTEM_BUS, "w", encoding="utf-8"):
        pass
    os.makedirs("/tmp/.X11-unix", exist_ok=True)
    os.chmod("/tmp/.X11-unix", 0o1777)
    wanted = names or list(known)
    began = time.monotonic()
    if ports:
        machine = Testbed(ports, arguments[1])
        print(f"the machine is ready ({time.monotonic() - began:.0f} s)", flush=True)
        ended = []
        for name in wanted:
            machine.answer(name)
            ended.append(play(name, known[name], Where(arguments, machine)))
        machine.leave()
    else:
        # Most of a story is a wait.
        with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 4)) as players:
            ended = list(players.map(lambda name: play(name, known[name], Where(arguments, None)), wanted))
    failed = [name for name, is_well in zip(wanted, ended) if not is_well]
    print(f"{len(wanted) - len(failed)} stories passed, {len(failed)} failed, in {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        sys.exit(f"failed: {' '.join(failed)}")


if __name__ == "__main__":
    main()

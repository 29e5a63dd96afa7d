"""Plays the stories of the applet's window and tray, each on a display, a home and a session bus of its own.
Must not know how the applet is built, or hide which story failed and what was on the screen then.

usage: run.py APPLET DEV FOLDER [STORY]...      (in the room; FOLDER: what was on the screen, STORY-*.png)"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

# A story waits for each of its steps; this is for what waits for none.
LONGEST = 400


def tell(name, applet, dev, folder):
    """One story, with everything that it needs already around it."""
    from person import Person
    from stories import STORIES
    from world import Desk, EmptyBus, Machine

    story = STORIES[name]
    environment = dict(os.environ)
    if story.language:
        environment["LC_ALL"] = story.language
    machine = EmptyBus(story.instead) if story.instead else Machine(dev)
    environment["DBUS_SYSTEM_BUS_ADDRESS"] = machine.address
    for knob in story.before:
        machine.turn(knob)
    desk = Desk() if story.is_tray else None
    person = Person([applet] + (["--tray"] if story.is_tray else []), environment)
    person.desk = desk
    person.pictures = os.path.join(folder, name)
    try:
        if not story.is_tray:
            person.looks_at_the_window()
        story.happens(person, machine)
    except BaseException:
        person.picture("FAILED")
        raise
    finally:
        person.leave()
        machine.leave()


# What GTK is told: no animation, no blinking, one font.
SETTINGS = "[Settings]\ngtk-enable-animations=false\ngtk-cursor-blink=false\ngtk-font-name=Cantarell 11\n"


@contextmanager
def desktop(story):
    """A display and a home for a story: what its programs find in their environment, and the home."""
    work = tempfile.mkdtemp()
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{story.size}x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as ready:
            display = ready.readline().strip()
        # The size of text is that of an inch, which GTK takes from the display.
        inch = ["-f", "RESOURCE_MANAGER", "8s", "-set", "RESOURCE_MANAGER", f"Xft.dpi:\t{96 * story.text // 100}\n"]
        subprocess.run(["xprop", "-display", f":{display}", "-root", *inch], check=True)
        os.makedirs(os.path.join(work, "config", "gtk-4.0"))
        with open(os.path.join(work, "config", "gtk-4.0", "settings.ini"), "w", encoding="utf-8") as file:
            file.write(SETTINGS)
        yield dict(
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
        ), work
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(work, ignore_errors=True)


def around(name, story, arguments, said):
    """A desktop and a session bus for a story; whether it went well."""
    with desktop(story) as (environment, work):
        command = ["dbus-run-session", "--", sys.executable, os.path.abspath(__file__), "--inside", name, *arguments]
        try:
            # A file that is saved without a folder is in the home.
            ended = subprocess.run(
                command, env=environment, cwd=work, timeout=LONGEST, check=False, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        except subprocess.TimeoutExpired:
            said.write(f"{name}: it takes longer than {LONGEST} s\n")
            return False
        return ended.returncode == 0


# What the programs around it say of themselves.
CHATTER = ("dbus-daemon[", "SpiRegistry daemon", "dbind-WARNING")


def play(name, story, arguments):
    """What is told of one story, and whether it went well."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        is_well = around(name, story, arguments, said)
        said.seek(0)
        lines = [line.rstrip("\n") for line in said if line.strip() and not any(word in line for word in CHATTER)]
    taken = f"{time.monotonic() - began:.1f} s"
    if is_well:
        print(f"ok      {name} ({taken})", flush=True)
        return True
    picture = os.path.join(arguments[2], f"{name}-FAILED.png")
    print(f"FAILED  {name} ({taken}); on the screen then: {picture}", flush=True)
    for line in lines:
        print(f"       | {line}", flush=True)
    return False


def main():
    if sys.argv[1] == "--inside":
        try:
            tell(*sys.argv[2:6])
        except BaseException:
            traceback.print_exc()
            sys.exit(1)
        return
    from stories import STORIES

    *arguments, names = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    unknown = [name for name in names if name not in STORIES]
    if unknown:
        sys.exit(f"no such story: {' '.join(unknown)} (there are {' '.join(STORIES)})")
    wanted = names or list(STORIES)
    began = time.monotonic()
    # Most of a story is a wait.
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 4)) as players:
        ended = list(players.map(lambda name: play(name, STORIES[name], arguments), wanted))
    failed = [name for name, is_well in zip(wanted, ended) if not is_well]
    print(f"{len(wanted) - len(failed)} stories passed, {len(failed)} failed, in {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        sys.exit(f"failed: {' '.join(failed)}")


if __name__ == "__main__":
    main()

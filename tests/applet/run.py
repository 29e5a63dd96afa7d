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

HERE = os.path.dirname(os.path.abspath(__file__))
# A story waits for each of its steps; this is for what waits for none.
LONGEST = 400
# As the theme takes it: points for an inch, in 1024ths.
WHOLE = 96 * 1024


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


def settings(story):
    """What GTK and libadwaita are told: no animation, no blinking, one font."""
    return (
        "[Settings]\ngtk-enable-animations=false\ngtk-cursor-blink=false\ngtk-font-name=Cantarell 11\n"
        f"gtk-xft-dpi={WHOLE * story.text // 100}\n"
    )


def around(name, story, arguments, said):
    """A display, a home and a session bus for a story; whether it went well."""
    work = tempfile.mkdtemp()
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{story.size}x24", "-nolisten", "tcp"],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as ready:
            display = ready.readline().strip()
        os.makedirs(os.path.join(work, "config", "gtk-4.0"))
        with open(os.path.join(work, "config", "gtk-4.0", "settings.ini"), "w", encoding="utf-8") as file:
            file.write(settings(story))
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
            # A file that is saved without a folder is there.
            PWD=work,
        )
        command = ["dbus-run-session", "--", sys.executable, os.path.abspath(__file__), "--inside", name, *arguments]
        ended = subprocess.run(
            command, env=environment, cwd=work, timeout=LONGEST, check=False, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        return ended.returncode == 0
    except subprocess.TimeoutExpired:
        said.write(f"{name}: it takes longer than {LONGEST} s\n")
        return False
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(work, ignore_errors=True)


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
    sys.path.insert(0, HERE)
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


main()

"""A person at the applet's window: finds, presses, types and reads by the accessibility tree, as a screen reader does.
Must not sleep for a fixed time, or look at anything that a person cannot see."""

import os
import subprocess
import time

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # noqa: E402

# Beside a build on two processors everything takes its time; on an emulated machine, much more.
PATIENCE = int(os.environ.get("PATIENCE", "40"))


class Missing(AssertionError):
    """What a person would have waited for in vain."""


class Person:
    """Somebody who looks at one program."""

    def __init__(self, program, environment):
        self.program = subprocess.Popen(program, env=environment)
        self.desk = self.agent = None
        self.language = environment.get("LC_ALL", "")
        # The beginning of the pictures' names.
        self.pictures = None

    def looks_at_the_window(self):
        """Without a window manager, the keys have to be sent there."""

        def look():
            found = subprocess.run(
                ["xdotool", "search", "--onlyvisible", "--pid", str(self.program.pid)], capture_output=True, text=True, check=False
            ).stdout.split()
            if not found:
                return None
            width, height = os.environ["SIZE"].split("x")
            place = ["windowmove", found[-1], "0", "0", "windowsize", found[-1], width, height, "windowfocus", found[-1]]
            return subprocess.run(["xdotool", *place], check=False).returncode == 0

        self.wait("the window", look)
        self.wait("its tree", self._application)

    def leave(self):
        self.program.terminate()
        try:
            self.program.wait(10)
        except subprocess.TimeoutExpired:
            self.program.kill()
            self.program.wait()

    # ---- looking -----------------------------------------------------------------------------------------------------
    def _application(self):
        desktop = Atspi.get_desktop(0)
        for place in range(desktop.get_child_count()):
            application = desktop.get_child_at_index(place)
            if application and application.get_process_id() == self.program.pid:
                return application
        return None

    def everything(self):
        """Each thing that is shown, as (thing, role, name)."""
        return self._below(self._application())

    def within_reach(self):
        """What the pointer and the keys get at: the topmost dialog, where there is one."""
        shown = self.everything()
        dialogs = [thing for thing, role, _ in shown if role in ("dialog", "alert")]
        return self._below(dialogs[-1]) if dialogs else shown

    @staticmethod
    def _below(root):
        found = []

        def walk(thing, depth):
            try:
                if thing is None or depth > 60:
                    return
                role = thing.get_role_name()
                is_shown = thing.get_state_set().contains(Atspi.StateType.SHOWING)
                if role != "application" and not is_shown:
                    return
                found.append((thing, role, thing.get_name() or ""))
                for place in range(thing.get_child_count()):
                    walk(thing.get_child_at_index(place), depth + 1)
            except GLib.Error:
                # It went away meanwhile.
                return

        walk(root, 0)
        return found

    def wait(self, what, look):
        """The first true answer of a look."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if self.program.poll() is not None:
                raise Missing(f"{what}: the program has ended with {self.program.returncode}")
            try:
                answer = look()
            except GLib.Error:
                answer = None
            if answer:
                return answer
            if time.monotonic() > deadline:
                shown = self.desk.said() if self.desk else self.texts()
                raise Missing(f"{what}: not there; what is shown: {shown}")
            time.sleep(0.05)

    def places(self):
        """What is within reach, with its place in the window."""
        found = []
        for thing, role, name in self.within_reach():
            try:
                component = thing.get_component_iface()
                if component is not None:
                    found.append((thing, role, name, component.get_extents(Atspi.CoordType.WINDOW)))
            except GLib.Error:
                # It went away meanwhile.
                continue
        return found

    def place(self, text):
        """Where this text stands in the window."""
        look = lambda: [place for _, role, name, place in self.places() if role == "label" and name == text]
        return self.wait(f"label {text!r}", look)[0]

    def texts(self):
        return [name for _, _, name in self.everything() if name]

    def sees(self, text):
        """A text somewhere on the screen."""
        return self.wait(f"text {text!r}", lambda: any(text in name for name in self.texts()))

    def sees_no(self, text):
        return self.wait(f"no text {text!r}", lambda: not any(text in name for name in self.texts()))

    def find(self, roles, name):
        def look():
            for thing, role, its_name in self.everything():
                if role in roles and its_name == name:
                    return thing
            return None

        return self.wait(f"{'/'.join(roles)} {name!r}", look)

    def is_asked(self, action, times=1):
        """polkit's question for this action, so often since the beginning."""
        look = lambda: [asked for asked, _ in self.agent.asked].count(action) >= times
        self.wait(f"polkit's question for {action}, {times} times", look)

    # ---- doing -------------------------------------------------------------------------------------------------------
    def press(self, name, roles=("button", "push button", "toggle button", "check box", "switch", "menu item")):
        """Presses the first thing of that name that can be pressed."""

        def look():
            for thing, role, its_name in self.within_reach():
                if role not in roles or its_name != name:
                    continue
                states = thing.get_state_set()
                action = thing.get_action_iface()
                if action is None or action.get_n_actions() == 0:
                    continue
                if not states.contains(Atspi.StateType.SENSITIVE):
                    continue
                return action.do_action(0)
            return None

        self.wait(f"press {name!r}", look)

    def can_press(self, name):
        """Whether the button of that name does something."""
        for thing, role, its_name in self.within_reach():
            if its_name == name and role in ("button", "push button"):
                return thing.get_state_set().contains(Atspi.StateType.SENSITIVE)
        return False

    def type(self, field, text):
        """Writes into the field of that name, in place of what is there."""

        def look():
            for thing, _, its_name in self.within_reach():
                if its_name != field:
                    continue
                editable = thing.get_editable_text_iface()
                if editable is not None and thing.get_state_set().contains(Atspi.StateType.EDITABLE):
                    return editable.set_text_contents(text)
            return None

        self.wait(f"field {field!r}", look)

    def reads(self, field):
        """What stands in the field of that name."""
        for thing, _, its_name in self.within_reach():
            text = thing.get_text_iface() if its_name == field else None
            if text is not None and thing.get_state_set().contains(Atspi.StateType.EDITABLE):
                return Atspi.Text.get_text(text, 0, -1)
        return ""

    def is_on(self, name):
        def look():
            for thing, role, its_name in self.everything():
                if its_name == name and role in ("check box", "switch", "toggle button"):
                    action = thing.get_action_iface()
                    if action is not None and action.get_n_actions() > 0:
                        return (thing.get_state_set().contains(Atspi.StateType.CHECKED),)
            return None

        return self.wait(f"switch {name!r}", look)[0]

    def chooses(self, text):
        """Clicks on the row whose name begins so."""

        def look():
            for thing, role, its_name in self.within_reach():
                if role in ("list item", "table row") and its_name.startswith(text):
                    place = thing.get_component_iface().get_extents(Atspi.CoordType.WINDOW)
                    return place if place.width > 0 else None
            return None

        # The window is in the corner of the screen.
        place = self.wait(f"row {text!r}", look)
        x, y = place.x + place.width // 2, place.y + place.height // 2
        subprocess.run(["xdotool", "mousemove", str(x), str(y), "click", "1", "mousemove", "0", "0"], check=True)

    def _entry(self, entry):
        """An entry of the menu that is open, or nothing."""
        for thing, role, _ in self.within_reach():
            if role == "menu item" and self._label(thing) == entry:
                return thing
        return None

    def is_offered(self, entry):
        """A menu is open that has this entry, and all of it is drawn."""
        self.wait(f"entry {entry!r}", lambda: self._entry(entry))
        before = None

        def is_still():
            nonlocal before
            before, last = subprocess.run(["import", "-window", "root", "rgb:-"], capture_output=True, check=True).stdout, before
            return before == last

        self.wait("a screen on which nothing moves", is_still)

    def picks(self, entry):
        """An entry of the menu that is open."""

        def look():
            thing = self._entry(entry)
            return thing and thing.get_action_iface().do_action(0)

        self.wait(f"entry {entry!r}", look)

    @staticmethod
    def _label(thing):
        """What something is labelled by: GTK's entries of menus have no name of their own."""
        for relation in thing.get_relation_set():
            if relation.get_relation_type() == Atspi.RelationType.LABELLED_BY and relation.get_n_targets():
                target = relation.get_target(0)
                text = target.get_text_iface()
                return Atspi.Text.get_text(text, 0, -1) if text is not None else target.get_name()
        return thing.get_name()

    def keys(self, *keys):
        subprocess.run(["xdotool", "key", "--delay", "40", *keys], check=True)

    def writes(self, text):
        subprocess.run(["xdotool", "type", "--delay", "20", text], check=True)

    def focused(self):
        for thing, role, name in self.everything():
            if thing.get_state_set().contains(Atspi.StateType.FOCUSED):
                return role, name
        return None, None

    def has_the_focus(self, name):
        """What the next key goes to is called so."""
        try:
            self.wait(f"the focus on {name!r}", lambda: self.focused()[1] == name)
        except Missing as missing:
            raise Missing(f"it is on {self.focused()}; {missing}") from missing

    def picture(self, name):
        """What is on the screen, for who looks at it afterwards."""
        subprocess.run(["import", "-window", "root", f"{self.pictures}-{name}.png"], check=False)

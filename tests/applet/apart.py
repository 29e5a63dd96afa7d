"""Answers by a thread of its own, for what is around the window.
Must not share a main context with the person: in the common one such a thread would get the person's events of what is on the
screen as well, while the person looks at it, and at-spi's library is not made for two threads."""

import contextlib
import threading

from gi.repository import GLib


@contextlib.contextmanager
def answered_apart():
    """What is registered within is answered by a thread that lives as long as the program."""
    context = GLib.MainContext()
    context.push_thread_default()
    try:
        yield
    finally:
        context.pop_thread_default()
    threading.Thread(target=_answer, args=(context,), daemon=True).start()


def _answer(context):
    # For what the answers themselves begin, too.
    context.push_thread_default()
    GLib.MainLoop(context).run()

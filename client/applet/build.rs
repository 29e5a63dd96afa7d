//! Packs what `data/` has for the program itself: its style and its icons.

fn main() {
    glib_build_tools::compile_resources(&["data"], "data/applet.gresource.xml", "applet.gresource");
}

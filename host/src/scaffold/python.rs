//! Python: a module that componentize-py builds.

use super::{FUEL_BASE, Kit, WIT};

pub(super) const KIT: Kit = Kit {
    component: "@CRATE@.wasm",
    ignored: "/.venv\n__pycache__/\n/*.wasm\n/*.wasm.new",
    fuel_base: FUEL_BASE,
    readme: include_str!("../../templates/python/README.md"),
    own: &[("Makefile", include_str!("../../templates/python/Makefile"))],
    copied: &[
        (
            "plugin.py",
            include_str!("../../templates/python/plugin.py"),
        ),
        (
            "requirements.txt",
            include_str!("../../templates/python/requirements.txt"),
        ),
        (
            "sdk/linemill.py",
            include_str!("../../../guest-sdk/python/linemill.py"),
        ),
        (
            "sdk/build.py",
            include_str!("../../../guest-sdk/python/build.py"),
        ),
        WIT,
    ],
};

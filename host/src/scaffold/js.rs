//! JavaScript: a package that componentize-js builds.

use super::{Kit, WIT};

pub(super) const KIT: Kit = Kit {
    component: "@CRATE@.wasm",
    ignored: "/node_modules\n/*.wasm",
    fuel_base: concat!(
        "# Ten times the default: JavaScript takes many instructions for each line, and for a reason why one failed.\n",
        "fuel_base = 1_000_000_000      # instructions, roughly, for a batch",
    ),
    readme: include_str!("../../templates/js/README.md"),
    own: &[(
        "package.json",
        include_str!("../../templates/js/package.json"),
    )],
    copied: &[
        ("plugin.js", include_str!("../../templates/js/plugin.js")),
        (
            "sdk/linemill.js",
            include_str!("../../../guest-sdk/js/linemill.js"),
        ),
        (
            "sdk/linemill.d.ts",
            include_str!("../../../guest-sdk/js/linemill.d.ts"),
        ),
        WIT,
    ],
};

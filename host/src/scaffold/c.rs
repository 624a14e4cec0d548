//! C: sources that a clang for WASI builds, with the bindings that were generated from the contract.

use super::{FUEL_BASE, Kit, WIT};

macro_rules! sdk {
    ($file:literal) => {
        (
            concat!("sdk/", $file),
            include_str!(concat!("../../../guest-sdk/c/", $file)),
        )
    };
}

pub(super) const KIT: Kit = Kit {
    component: "@CRATE@.wasm",
    ignored: "/*.wasm\n/*.wasm.new",
    fuel_base: FUEL_BASE,
    readme: include_str!("../../templates/c/README.md"),
    own: &[("Makefile", include_str!("../../templates/c/Makefile"))],
    copied: &[
        ("plugin.c", include_str!("../../templates/c/plugin.c")),
        sdk!("linemill.c"),
        sdk!("linemill.h"),
        sdk!("reducing_plugin.c"),
        sdk!("reducing_plugin.h"),
        sdk!("component_type.c"),
        WIT,
    ],
};

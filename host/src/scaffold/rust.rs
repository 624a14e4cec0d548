//! Rust: a crate that has the SDK in `vendor/`, since that is not published.

use super::{FUEL_BASE, Kit};

macro_rules! sdk {
    ($($file:literal)*) => {
        &[
            $((
                concat!("vendor/linemill-sdk/", $file),
                include_str!(concat!("../../../guest-sdk/", $file)),
            ),)*
            ("vendor/wit/plugin.wit", include_str!("../../../wit/plugin.wit")),
            (".cargo/config.toml", include_str!("../../templates/rust/cargo-config.toml")),
        ]
    };
}

pub(super) const KIT: Kit = Kit {
    component: "target/wasm32-wasip2/release/@CRATE@.wasm",
    ignored: "/target",
    fuel_base: FUEL_BASE,
    readme: include_str!("../../templates/rust/README.md"),
    own: &[
        (
            "Cargo.toml",
            include_str!("../../templates/rust/package.toml"),
        ),
        ("src/lib.rs", include_str!("../../templates/rust/lib.rs")),
        (
            "vendor/linemill-sdk/Cargo.toml",
            include_str!("../../templates/rust/sdk.toml"),
        ),
    ],
    copied: sdk! {
        "src/batch.rs"
        "src/bindings.rs"
        "src/closing.rs"
        "src/component.rs"
        "src/effects.rs"
        "src/error.rs"
        "src/host.rs"
        "src/http.rs"
        "src/http/component.rs"
        "src/integer.rs"
        "src/lib.rs"
        "src/line.rs"
        "src/metrics.rs"
        "src/output.rs"
        "src/pace.rs"
        "src/processor.rs"
        "src/request.rs"
        "src/testing.rs"
        "wit/http.wit"
        "wit/deps/clocks.wit"
        "wit/deps/http.wit"
        "wit/deps/io.wit"
    },
};

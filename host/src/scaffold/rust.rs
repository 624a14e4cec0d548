//! Rust: a crate that has the SDK in `vendor/`, since that is not published.

use super::Kit;

macro_rules! sdk {
    ($($file:literal),* $(,)?) => {
        &[
            $((
                concat!("vendor/linemill-sdk/src/", $file, ".rs"),
                include_str!(concat!("../../../guest-sdk/src/", $file, ".rs")),
            ),)*
            ("vendor/linemill-sdk/wit/http.wit", include_str!("../../../guest-sdk/wit/http.wit")),
            ("vendor/linemill-sdk/wit/deps/clocks.wit", include_str!("../../../guest-sdk/wit/deps/clocks.wit")),
            ("vendor/linemill-sdk/wit/deps/http.wit", include_str!("../../../guest-sdk/wit/deps/http.wit")),
            ("vendor/linemill-sdk/wit/deps/io.wit", include_str!("../../../guest-sdk/wit/deps/io.wit")),
            ("vendor/wit/plugin.wit", include_str!("../../../wit/plugin.wit")),
            (".cargo/config.toml", include_str!("../../templates/rust/cargo-config.toml")),
        ]
    };
}

pub(super) const KIT: Kit = Kit {
    component: "target/wasm32-wasip2/release/@CRATE@.wasm",
    ignored: "/target",
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
    copied: sdk![
        "batch",
        "bindings",
        "closing",
        "component",
        "effects",
        "error",
        "host",
        "http",
        "http/component",
        "integer",
        "lib",
        "line",
        "metrics",
        "output",
        "pace",
        "processor",
        "request",
        "testing",
    ],
};

//! End-to-end tests: the real binary, real plugins, real files; nothing of linemill is linked in.
//!
//! `LINEMILL_TEST_BIN` (the binary) and `LINEMILL_TEST_PLUGINS` (a folder of `.wasm` files) say what is tested;
//! without them both are built first.

mod deadlines;
mod sources;
mod support;

#[test]
fn first() {
    support::Case::new("sum")
        .input("data/numbers.txt", "1\n2\n3\n5\nasd\n373\n23")
        .set("concurrency", 5)
        .check(
            "
            exit 1
            corrupted: loaded 7, processed 6, corrupted 1
            out/corruption/data/numbers.txt: asd
              5 corrupt: not a valid integer: `asd`
            out/destination/data/numbers.txt: 407
            ",
        );
}

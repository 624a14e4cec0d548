//! Tests of what is taken for a capsule, and what is not.

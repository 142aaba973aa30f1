//! The `scimd` program.

fn main() {}

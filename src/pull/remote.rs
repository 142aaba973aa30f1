//! Files at an https address.
